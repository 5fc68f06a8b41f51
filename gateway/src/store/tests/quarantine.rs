//! What a damaged partition held becomes loss records, once.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;

use muster_protocol::{
    batch::BatchBuilder,
    id::{ChannelName, Epoch, Lane, SchemaHash, Seq},
    loss::{Loss, LossReason, LostSeq},
    message::{Clock, NumberedHead, Window},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::MonoTime,
};

use super::{damage::ruin, *};
use crate::{
    clock,
    committer::{Entry, Rejected},
    ingest::{self, Ingest, IngestConfig},
    instance::Instance,
    projection,
    store::{Checkpoint, Disk, Forgetting},
};

const EPOCH: Epoch = Epoch { start: 5, random: 6 };

/// Every seq that the log stores or calls lost, with how often and its samples.
pub(super) type Known = BTreeMap<(RobotId, Lane, Seq), (u32, u32)>;

fn schema() -> Schema {
    Schema::new(vec![ChannelDef::named(ChannelName::new("soc").unwrap())]).unwrap()
}

/// A batch whose number of samples follows from its seq.
fn batch(of: u8, lane: Lane, seq: u64) -> Encoded {
    let mut builder = BatchBuilder::new();
    for row in 0..=seq % 3 {
        let t = i64::try_from(seq * 100 + row).unwrap();
        builder.push_row(WallTime(t), StampedBy::Input, &[(0, Value::Text("x".repeat(700)))]).unwrap();
    }
    let clock = Clock { boot: 7, mono: MonoTime(9), wall: WallTime(10), synchronised: true };
    let schema = schema();
    let encoded = builder.finish(&schema, clock).remove(0);
    let head = NumberedHead { epoch: EPOCH, lane, seq: Seq(seq) };
    let body = Body::Batch { head, info: encoded.info, payload: encoded.bytes };
    let envelope = Envelope { received_at: WallTime(1), robot: robot(of), session: 3, body };
    Encoded::new(&envelope, Some((schema.hash(), schema.encoded().clone())))
}

fn spool_full(seq: u64, lost: u64) -> Envelope {
    let head = NumberedHead { epoch: EPOCH, lane: Lane::Urgent, seq: Seq(seq) };
    let lost = vec![LostSeq { seq: Seq(lost), samples: 9 }];
    let (t_min, t_max) = (Some(WallTime(3)), Some(WallTime(4)));
    let reason = LossReason::SpoolFull;
    let loss = Loss { epoch: EPOCH, lane: Lane::Bulk, lost, unnumbered: 2, t_min, t_max, reason };
    let body = Body::Loss { head: Some(head), loss };
    Envelope { received_at: WallTime(8), robot: robot(2), session: 3, body }
}

/// Appends batches of two robots in two lanes, and a loss record with each group, until there are so many partitions.
pub(super) fn fill_with_batches(opened: &mut Opened, partitions: usize) {
    let mut seq = 1;
    while opened.reader.status().partitions < partitions {
        let mut group: Vec<Encoded> = [0, 1].map(|of| batch(of, Lane::Live, seq)).into();
        group.extend([0, 1].map(|of| batch(of, Lane::Bulk, seq)));
        group.extend((0..20).map(|t| Encoded::new(&record(1, t, 600), None)));
        group.push(Encoded::new(&spool_full(seq, 10_000 + seq), None));
        opened.store.append(&group).unwrap();
        seq += 1;
    }
}

pub(super) fn account(opened: &mut Opened) -> Result<usize, StoreError> {
    let mut count = 0;
    loop {
        match opened.store.account_next(WallTime(77))?.len() {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

/// Reads the whole log around damage.
pub(super) fn known(reader: &StoreReader) -> Known {
    let mut known = Known::new();
    for (_, envelope) in reader.scan(Offset(1)).filter_map(Result::ok) {
        let robot = envelope.robot;
        let mut add = |lane, seq, samples| {
            let entry = known.entry((robot.clone(), lane, seq)).or_insert((0, samples));
            entry.0 += 1;
            assert_eq!(entry.1, samples);
        };
        match envelope.body {
            Body::Batch { head, info, .. } => add(head.lane, head.seq, info.samples),
            Body::Loss { head, loss } => {
                if let Some(head) = head {
                    add(head.lane, head.seq, 0);
                }
                loss.lost.iter().for_each(|lost| add(loss.lane, lost.seq, lost.samples));
            }
            _ => {}
        }
    }
    known
}

pub(super) fn partition(root: &Path, number: usize) -> PathBuf {
    let mut folders: Vec<_> =
        fs::read_dir(root.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.swap_remove(number)
}

fn losses(reader: &StoreReader, reason: LossReason) -> Vec<Loss> {
    let records = reader.scan(Offset(1)).filter_map(Result::ok);
    let of = |(_, envelope): (Offset, Envelope)| match envelope.body {
        Body::Loss { loss, .. } if loss.reason == reason => Some(loss),
        _ => None,
    };
    records.filter_map(of).collect()
}

#[test]
fn a_partition_that_is_set_aside_becomes_exact_loss_records_once() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 4);
    let before = known(&opened.reader);
    drop(opened);
    ruin(&partition(root.path(), 1));
    let mut opened = open(root.path());
    assert!(known(&opened.reader).len() < before.len(), "a reader finds the damage");
    assert_eq!(opened.reader.status().unaccounted, 1);
    assert!(account(&mut opened).unwrap() > 4);
    assert_eq!(known(&opened.reader), before);
    assert!(before.values().all(|(times, _)| *times == 1));
    assert_eq!(opened.reader.status().unaccounted, 0);
    assert_eq!(opened.reader.forgetting(), Forgetting::None, "a manifest lists all that is gone");

    let quarantined = losses(&opened.reader, LossReason::Quarantined);
    assert_eq!(quarantined.len(), 4, "two robots, two lanes");
    assert!(quarantined.iter().all(|loss| loss.check().is_ok() && loss.t_min < loss.t_max));
    let mut opened = reopen(opened, root.path());
    assert_eq!(account(&mut opened).unwrap(), 0);
    assert_eq!(known(&opened.reader), before);
}

/// A disk on which the syncs after so many fail, until it is a new one.
#[derive(Debug)]
struct Dying {
    left: AtomicU64,
}

impl Dying {
    fn step(&self) -> io::Result<()> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| io::Error::other("the disk died"))
    }
}

impl Disk for Dying {
    fn sync_file(&self, file: &File, _: &Path) -> io::Result<()> {
        self.step()?;
        file.sync_data()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.step()
    }
}

#[test]
fn a_crash_at_any_sync_of_the_accounting_loses_and_doubles_nothing() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 3);
    let before = known(&opened.reader);
    drop(opened);
    ruin(&partition(root.path(), 0));
    let mut finished = false;
    for steps in 0..60 {
        let copied = folder();
        copy(root.path(), copied.path());
        let disk = Arc::new(Dying { left: AtomicU64::new(u64::MAX) });
        let mut opened = Store::open_on(disk.clone(), copied.path(), small(), LOG).unwrap();
        known(&opened.reader);
        disk.left.store(steps, Ordering::Relaxed);
        finished = account(&mut opened).is_ok() && disk.left.load(Ordering::Relaxed) > 0;
        disk.left.store(u64::MAX, Ordering::Relaxed);
        let mut opened = reopen(opened, copied.path());
        append(&mut opened.store, &records(0..2, 10)).unwrap(); // something else may come first
        account(&mut opened).unwrap();
        assert_eq!(known(&opened.reader), before, "died after {steps} syncs");
        if finished {
            break;
        }
    }
    assert!(finished, "all moments were tried");
}

pub(super) fn checkpoint_now(opened: &mut Opened) {
    let at = Offset(opened.reader.next().0 - 1);
    opened.checkpoints.write(&Checkpoint { at, sections: vec![("s".to_owned(), Bytes::new())] }).unwrap();
}

#[test]
fn a_damaged_partition_without_a_manifest_is_known_up_to_the_last_checkpoint() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 2);
    opened.store.append(&[batch(0, Lane::Live, 500), batch(1, Lane::Live, 500)]).unwrap();
    opened.store.append(&[Encoded::new(&spool_full(501, 10_501), None)]).unwrap();
    checkpoint_now(&mut opened);
    let before = known(&opened.reader);
    opened.store.append(&[batch(0, Lane::Live, 502)]).unwrap();
    drop(opened);
    let newest = partition(root.path(), 1);
    ruin(&newest);
    for entry in fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry).unwrap();
        }
    }
    let mut opened = open(root.path());
    account(&mut opened).unwrap();
    assert_eq!(
        known(&opened.reader),
        before,
        "the last batch is unknown: the robot will say that it is gone"
    );
    let forgetting = opened.reader.forgetting();
    assert!(matches!(forgetting, Forgetting::Quarantined { .. }), "{forgetting:?}");
    let mut opened = reopen(opened, root.path());
    assert_eq!(account(&mut opened).unwrap(), 0);
    assert_eq!(opened.reader.forgetting(), forgetting);
}

#[test]
fn an_end_that_is_gone_is_listed_and_what_is_left_is_kept() {
    let root = folder();
    let mut opened = open(root.path());
    opened.store.append(&[batch(0, Lane::Live, 1), batch(0, Lane::Live, 2)]).unwrap();
    opened.store.housekeeping.settle();
    let earlier = folder();
    copy(root.path(), earlier.path());
    opened.store.append(&[batch(0, Lane::Live, 3), Encoded::new(&spool_full(4, 10_004), None)]).unwrap();
    checkpoint_now(&mut opened);
    let before = known(&opened.reader);
    drop(opened);
    // a database that opens as it was before, beside notes that say that there was more
    let (now, then) = (partition(root.path(), 0), partition(earlier.path(), 0));
    for entry in fs::read_dir(&now).unwrap().map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        if name == "db" || name.starts_with("snap.") {
            fs::remove_file(&entry).unwrap();
        }
    }
    fs::copy(then.join("db"), now.join("db")).unwrap();
    let mut opened = open(root.path());
    assert_eq!(losses(&opened.reader, LossReason::Quarantined), []);
    account(&mut opened).unwrap();
    let lost: Vec<_> =
        losses(&opened.reader, LossReason::Quarantined).into_iter().flat_map(|loss| loss.lost).collect();
    assert_eq!(lost, [LostSeq { seq: Seq(3), samples: 1 }]);
    assert_eq!(known(&opened.reader), before);
    assert!(matches!(opened.reader.forgetting(), Forgetting::Quarantined { .. }));
    let mut opened = reopen(opened, root.path());
    assert_eq!(account(&mut opened).unwrap(), 0);
}

#[test]
fn a_quarantine_of_the_first_version_is_accounted_for_too() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 3);
    drop(opened);
    fs::write(partition(root.path(), 0).join("quarantined"), "sled panicked").unwrap();
    let mut opened = open(root.path());
    assert!(account(&mut opened).unwrap() > 0);
}

/// Nothing is submitted while the state is restored.
struct NoLog;

impl ingest::Log for NoLog {
    fn submit(&self, _: Entry) -> Result<(), Rejected> {
        unreachable!("nobody speaks")
    }

    fn schema(&self, _: &RobotId, _: SchemaHash) -> Option<Arc<Schema>> {
        None
    }
}

#[test]
fn windows_that_are_folded_anew_hold_what_a_damaged_partition_held() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 3);
    let before = known(&opened.reader);
    drop(opened);
    ruin(&partition(root.path(), 0));
    let mut opened = open(root.path());
    assert_ne!(known(&opened.reader), before);
    account(&mut opened).unwrap();
    let config = IngestConfig {
        window: Window { bytes: 1 << 20, batches: 256 },
        silence: Duration::from_secs(45),
        instance: Instance::begin(folder().path()).unwrap(),
        log: LOG,
        forgot: opened.reader.forgetting().absence_reason(),
        robots_max: 1000,
        lately: Duration::from_secs(300),
    };
    let ingest = Ingest::new(config, clock::Clock::new(), Arc::new(NoLog), Arc::default());
    let restored = projection::restore(None, &opened.reader, &ingest).unwrap();
    for (robot, lane, seq) in before.keys() {
        assert!(
            ingest.has(robot, NumberedHead { epoch: EPOCH, lane: *lane, seq: *seq }),
            "{robot} {lane} {seq}"
        );
    }
    let lost = restored.fleet.robot(&robot(2)).unwrap().read().unwrap().totals().lost_samples();
    let spool_full = losses(&opened.reader, LossReason::SpoolFull).iter().map(Loss::samples).sum::<u64>();
    assert_eq!(lost, spool_full, "a repeated record is counted once");
}
