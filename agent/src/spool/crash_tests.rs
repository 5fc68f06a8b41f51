//! Damage, refusals and failures, each with what the spool does then.

use std::{collections::BTreeMap, io::ErrorKind, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{ChannelName, Epoch, Lane, Seq},
    loss::{Loss, LossReason},
    message::{NumberedHead, SeqRange},
    schema::{ChannelDef, Schema},
    time::WallTime,
};

use super::{
    AppendError, Entry, LIMIT_BYTES_MIN, OpenError, ReadError, Recovered, Spool, SpoolConfig, StoredKind,
    fake_disk::{FakeDisk, Faults, Operation},
};

fn config() -> SpoolConfig {
    SpoolConfig {
        limit_bytes: LIMIT_BYTES_MIN,
        segment_bytes: 64 * 1024,
        robot: "fleet/robot".parse().unwrap(),
    }
}

pub(super) fn open(disk: &FakeDisk) -> (Spool, Recovered) {
    Spool::open(Arc::new(disk.clone()), config(), 7).unwrap()
}

pub(super) fn killed(disk: &FakeDisk) -> (Spool, Recovered) {
    disk.set_faults(Faults::default());
    disk.kill();
    open(disk)
}

pub(super) fn batch(samples: u32, bytes: usize) -> Entry {
    batch_of("a.channel", samples, bytes)
}

pub(super) fn batch_of(channel: &str, samples: u32, bytes: usize) -> Entry {
    let schema = Schema::new(vec![ChannelDef::named(ChannelName::new(channel).unwrap())]).unwrap();
    let (t_min, t_max) = (WallTime(i64::from(samples)), WallTime(i64::from(samples) + 1));
    let payload = Bytes::from(vec![u8::try_from(samples % 256).unwrap(); bytes]);
    Entry::Batch { bytes: payload, samples, t_min, t_max, schema: Arc::new(schema) }
}

/// Appends and syncs one batch each; the samples are distinct powers of two, so that a sum says which are in it.
pub(super) fn fill(spool: &mut Spool, count: u32) -> u64 {
    for power in 0..count {
        spool.append(Lane::Live, &batch(1 << power, 40 + power as usize)).unwrap();
        assert_eq!(spool.sync().unwrap().len(), 1);
    }
    (1 << count) - 1
}

fn head(lane: Lane, epoch: Epoch, seq: u64) -> NumberedHead {
    NumberedHead { epoch, lane, seq: Seq(seq) }
}

/// Reads all that is held; returns the samples of the batches that can be read and of those that cannot.
pub(super) fn read_all(spool: &Spool) -> (u64, Vec<NumberedHead>, Vec<Loss>) {
    let (mut samples, mut corrupt, mut losses) = (0, Vec::new(), Vec::new());
    for span in spool.spans() {
        for seq in span.first.0..span.next.0 {
            match spool.reader().read(head(span.lane, span.epoch, seq)) {
                Ok(Some(stored)) if stored.kind == StoredKind::Loss => {
                    losses.push(postcard::from_bytes(&stored.payload).unwrap());
                }
                Ok(Some(stored)) => samples += u64::from(stored.samples),
                Ok(None) => {}
                Err(ReadError::Corrupt { .. }) => corrupt.push(head(span.lane, span.epoch, seq)),
                Err(error) => panic!("{error}"),
            }
        }
    }
    (samples, corrupt, losses)
}

pub(super) fn live_path(disk: &FakeDisk) -> String {
    disk.files().into_keys().find(|path| path.starts_with("live/")).unwrap()
}

#[test]
fn a_flipped_bit_after_a_kill_loses_a_known_number_and_nothing_around_it() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 8);
    let path = live_path(&disk);
    let bytes = disk.files()[&path].clone();
    // The last group cannot be told from a torn tail; all before it is known to have been synced.
    let last = u64::from(1_u32 << 7);
    for bit in (0..bytes.len() * 8).step_by(13) {
        let disk = FakeDisk::new();
        disk.put(&path, &bytes);
        disk.flip_bit(&path, bit);
        let (spool, recovered) = open(&disk);
        let (read, corrupt, losses) = read_all(&spool);
        let lost: u64 = losses.iter().map(Loss::samples).sum();
        assert_eq!(corrupt, [], "bit {bit}");
        assert_eq!(recovered.losses, losses);
        assert_eq!(recovered.samples, read);
        assert!(
            read + lost == all || read + lost == all - last && recovered.torn_bytes > 0,
            "bit {bit}: {read} + {lost}"
        );
        assert!(lost.count_ones() <= 1, "one record at most");
    }
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_found_at_the_latest_when_read() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 8);
    spool.close().unwrap();
    let path = live_path(&disk);
    let bytes = disk.files()[&path].clone();
    for bit in (0..bytes.len() * 8).step_by(13) {
        let disk = FakeDisk::new();
        disk.put(&path, &bytes);
        disk.flip_bit(&path, bit);
        let (mut spool, _) = open(&disk);
        let (read, corrupt, losses) = read_all(&spool);
        let mut lost: u64 = losses.iter().map(Loss::samples).sum();
        for head in &corrupt {
            lost += spool.report_lost(*head, LossReason::Corrupt).unwrap().unwrap().samples();
            assert_eq!(spool.reader().read(*head).unwrap(), None, "reported, so no longer held");
            assert!(spool.report_lost(*head, LossReason::Corrupt).unwrap().is_none());
        }
        assert_eq!(read + lost, all, "bit {bit}");
        assert_eq!(spool.samples_held(), read);
    }
}

#[test]
fn damage_found_at_one_open_is_not_found_again_at_the_next() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    fill(&mut spool, 4);
    let body_of_second =
        disk.files()[&live_path(&disk)].windows(41).position(|window| window == [2; 41]).unwrap();
    disk.flip_bit(&live_path(&disk), body_of_second * 8);
    let (_, recovered) = killed(&disk);
    let [loss] = &recovered.losses[..] else { panic!("{:?}", recovered.losses) };
    assert_eq!((loss.samples(), loss.lost[0].seq, loss.reason), (2, Seq(2), LossReason::Corrupt));
    assert_eq!((loss.t_min, loss.t_max), (Some(WallTime(2)), Some(WallTime(3))));
    let (spool, recovered) = killed(&disk);
    assert_eq!((recovered.losses, spool.samples_held()), (vec![], 1 + 4 + 8));
    assert_eq!(read_all(&spool).2.len(), 1, "the record of it is still held");
}

/// Guards: damage behind a seal that knew of earlier damage, and whose index was damaged too, went without a record.
#[test]
fn damage_is_told_where_an_index_with_damage_is_damaged_itself() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    fill(&mut spool, 4);
    let path = live_path(&disk);
    let body = |byte: u8| disk.files()[&path].windows(40).position(|window| window == [byte; 40]).unwrap();
    disk.flip_bit(&path, body(2) * 8);
    drop(killed(&disk));
    disk.flip_bit(&path, body(4) * 8);
    disk.flip_bit(&path, (disk.files()[&path].len() - 30) * 8);
    let (spool, recovered) = killed(&disk);
    let lost: Vec<_> = recovered.losses.iter().flat_map(|loss| &loss.lost).map(|lost| lost.seq.0).collect();
    assert_eq!((lost, spool.samples_held()), (vec![2, 3], 1 + 8));
    drop(spool);
    let (spool, recovered) = killed(&disk);
    assert_eq!((recovered.losses, spool.samples_held()), (vec![], 1 + 8));
}

#[test]
fn a_file_cut_anywhere_behind_what_was_synced_keeps_what_was_synced() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 3);
    let path = live_path(&disk);
    let synced = disk.files()[&path].len();
    spool.append(Lane::Live, &batch(500, 300)).unwrap();
    spool.append(Lane::Live, &batch(600, 300)).unwrap();
    let bytes = disk.files()[&path].clone();
    for cut in synced..bytes.len() {
        let disk = FakeDisk::new();
        disk.put(&path, &bytes[..cut]);
        let (spool, recovered) = open(&disk);
        assert_eq!(recovered.losses, []);
        assert!([all, all + 500].contains(&spool.samples_held()), "cut at {cut}");
        drop(spool);
        let (spool, recovered) = open(&disk);
        assert_eq!(recovered.torn_bytes, 0, "cut once");
        assert!(spool.samples_held() >= all);
    }
}

#[test]
fn a_lost_schema_is_replaced_by_the_copy_in_another_segment() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    for _ in 0..5 {
        spool.append(Lane::Live, &batch(1, 30_000)).unwrap();
    }
    spool.sync().unwrap();
    let epoch = spool.epoch();
    disk.flip_bit(&live_path(&disk), (192 + 100) * 8);
    let first = head(Lane::Live, epoch, 1);
    let StoredKind::Batch { schema } = spool.reader().read(first).unwrap().unwrap().kind else {
        panic!("a batch")
    };
    let Entry::Batch { schema: expected, .. } = batch(1, 0) else { panic!("a batch") };
    assert_eq!(spool.reader().schema(first, schema).unwrap().as_ref(), Some(expected.encoded()));
}

#[test]
fn eviction_takes_from_who_borrowed_and_records_the_loss_before_it_removes() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let mut accepted: BTreeMap<Lane, u64> = BTreeMap::new();
    let mut evicted = Vec::new();
    for step in 0_u32..120 {
        let lane = if step < 25 { Lane::Bulk } else { Lane::Live };
        let entry = batch(step + 1, 20_000);
        if let Err(AppendError::Full { needed_bytes, .. }) = spool.append(lane, &entry) {
            evicted.extend(spool.make_room(lane, needed_bytes).unwrap());
            spool.append(lane, &entry).unwrap();
        }
        spool.sync().unwrap();
        *accepted.entry(lane).or_default() += u64::from(step) + 1;
        assert!(spool.used_bytes() <= spool.limit_bytes());
    }
    assert_eq!(
        evicted.first().map(super::Evicted::lane),
        Some(Lane::Bulk),
        "bulk had borrowed from the others"
    );
    assert_eq!(evicted.last().map(super::Evicted::lane), Some(Lane::Live));
    let bulk = spool.held().iter().find(|held| held.lane == Lane::Bulk).map(|held| held.samples).unwrap();
    assert!(bulk > 0, "bulk keeps its own share");
    let (read, _, losses) = read_all(&spool);
    let lost: u64 = losses.iter().map(Loss::samples).sum();
    assert_eq!(lost, evicted.iter().map(super::Evicted::samples).sum::<u64>());
    assert_eq!(read + lost, accepted.values().sum::<u64>());
    assert_removed_after_recorded(&disk.log());
}

/// Between each removal and the one before it, the urgent lane was appended to and then synced.
fn assert_removed_after_recorded(log: &[Operation]) {
    let mut recorded = false;
    let mut appended = false;
    let mut removals = 0;
    for operation in log {
        match operation {
            Operation::Append(path, _) if path.starts_with("urgent/") => appended = true,
            Operation::SyncData(path) if path.starts_with("urgent/") => {
                recorded = std::mem::take(&mut appended);
            }
            Operation::Remove(path) if path != "SPOOL.new" => {
                assert!(
                    std::mem::take(&mut recorded),
                    "{path} was removed before its loss record was synced"
                );
                removals += 1;
            }
            _ => {}
        }
    }
    assert!(removals > 3);
}

#[test]
fn a_full_disk_latches_and_keeps_what_was_accepted() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 4);
    disk.set_faults(Faults { capacity_bytes: Some(5_000), ..Faults::default() });
    let Err(AppendError::Fault(fault)) = spool.append(Lane::Live, &batch(99, 20_000)) else {
        panic!("it fits")
    };
    assert_eq!(fault.kind, ErrorKind::StorageFull);
    assert!(fault.to_string().contains("free disk space"), "{fault}");
    disk.set_faults(Faults::default());
    assert_eq!(spool.append(Lane::Live, &batch(1, 10)), Err(AppendError::Fault(fault.clone())));
    assert_eq!(spool.sync(), Err(fault));
    assert_eq!(read_all(&spool).0, all);
    let (spool, recovered) = killed(&disk);
    assert_eq!((spool.samples_held(), recovered.losses.len()), (all, 0));
    assert!(recovered.torn_bytes > 0);
}

#[test]
fn a_failed_sync_latches_and_accepts_nothing() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 2);
    spool.append(Lane::Live, &batch(99, 10)).unwrap();
    disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
    assert!(spool.sync().is_err());
    disk.set_faults(Faults::default());
    assert!(spool.sync().is_err(), "not tried again");
    assert!(spool.is_failed());
    assert_eq!(read_all(&spool).0, all, "what is not accepted is not readable");
    let epoch = spool.epoch();
    let range = SeqRange { first: Seq(1), end: Seq(2) };
    spool.release_ranges(Lane::Live, epoch, &[range]).unwrap();
    assert_eq!(spool.samples_held(), all - 1, "acknowledgements still count");
}

#[test]
fn data_of_a_newer_version_is_refused_untouched() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    fill(&mut spool, 2);
    drop(spool);
    for path in ["SPOOL".to_owned(), live_path(&disk)] {
        let newer = FakeDisk::new();
        disk.files().iter().for_each(|(path, bytes)| newer.put(path, bytes));
        let mut bytes = disk.files()[&path].clone();
        bytes[4..8].copy_from_slice(b"\x02\x00\xfd\xff");
        newer.put(&path, &bytes);
        let before = newer.files();
        let refused = Spool::open(Arc::new(newer.clone()), config(), 1).map(|_| ()).unwrap_err();
        assert!(
            matches!(&refused, OpenError::Newer { found: 2, known: 1, file, .. } if *file == path),
            "{refused}"
        );
        assert!(refused.to_string().contains("update the agent"), "{refused}");
        assert_eq!((newer.files(), newer.log()), (before, vec![]));
    }
}

#[test]
fn a_spool_belongs_to_one_agent_and_one_robot() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let in_use = Spool::open(Arc::new(disk.clone()), config(), 1).map(|_| ()).unwrap_err();
    assert!(matches!(in_use, OpenError::InUse { .. }), "{in_use}");
    fill(&mut spool, 1);
    let epoch = spool.epoch();
    drop(spool);
    let other = SpoolConfig { robot: "fleet/other".parse().unwrap(), ..config() };
    let refused = Spool::open(Arc::new(disk.clone()), other.clone(), 1).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("--robot fleet/robot"), "{refused}");
    let (mut spool, _) = open(&disk);
    spool.release_ranges(Lane::Live, epoch, &[SeqRange { first: Seq(1), end: Seq(2) }]).unwrap();
    drop(spool);
    assert!(Spool::open(Arc::new(disk.clone()), other, 1).is_ok(), "an empty spool takes any robot");
}

#[test]
fn each_open_starts_a_greater_epoch_even_when_the_marker_is_damaged() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    assert_eq!(spool.epoch(), Epoch { start: 1, random: 7 });
    fill(&mut spool, 1);
    let (spool, _) = killed(&disk);
    assert_eq!(spool.epoch().start, 3, "starts on a disk are odd");
    drop(spool);
    disk.flip_bit("SPOOL", 70);
    let (spool, _) = killed(&disk);
    assert!(spool.epoch().start >= 3, "above what the segments tell");
    assert_eq!(spool.samples_held(), 1);
}

#[test]
fn a_segment_that_the_disk_cannot_read_is_named_and_left() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    fill(&mut spool, 2);
    drop(spool);
    let path = live_path(&disk);
    disk.set_faults(Faults { no_reads_of: Some(path.clone()), ..Faults::default() });
    let (spool, recovered) = open(&disk);
    assert_eq!((recovered.unreadable, recovered.samples), (vec![path.clone()], 0));
    drop(spool);
    assert!(disk.files().contains_key(&path));
    let (_, recovered) = killed(&disk);
    assert_eq!(recovered.samples, 3, "read at the next open");
}

#[test]
fn a_segment_whose_index_cannot_be_read_can_be_given_up_whole() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 3);
    let epoch = spool.epoch();
    spool.close().unwrap();
    disk.kill();
    let (mut spool, _) = open(&disk);
    let path = live_path(&disk);
    disk.set_faults(Faults { no_reads_of: Some(path.clone()), ..Faults::default() });
    let second = head(Lane::Live, epoch, 2);
    assert!(matches!(spool.reader().read(second), Err(ReadError::Io { .. })));
    let gone = spool.report_lost(second, LossReason::Corrupt).unwrap().unwrap();
    assert_eq!((gone.samples(), gone.range()), (all, SeqRange { first: Seq(1), end: Seq(4) }));
    assert!(!disk.files().contains_key(&path));
    assert_eq!(read_all(&spool).2.iter().map(Loss::samples).sum::<u64>(), all);
}

#[test]
fn acknowledged_segments_go_and_an_idle_spool_becomes_empty() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    for _ in 0..10 {
        spool.append(Lane::Live, &batch(1, 20_000)).unwrap();
    }
    assert_eq!(spool.sync().unwrap().len(), 10);
    let epoch = spool.epoch();
    let range = |first, end| SeqRange { first: Seq(first), end: Seq(end) };
    assert_eq!(spool.release_ranges(Lane::Live, epoch, &[range(2, 8)]).unwrap().len(), 1, "seqs 4 to 6");
    let held = spool.held().remove(1);
    assert_eq!((held.first, held.next, held.samples), (Seq(1), Seq(11), 4));
    assert_eq!(spool.release_ranges(Lane::Live, epoch, &[range(1, 2), range(8, 11)]).unwrap().len(), 2);
    assert!(spool.is_drained());
    assert_eq!(spool.held()[1].first, Seq(11));
    assert!(spool.used_bytes() > 0, "the active segment stays until the robot is idle");
    assert_eq!(spool.drop_released().unwrap().len(), 1);
    assert_eq!((spool.used_bytes(), spool.spans()), (0, vec![]));
    assert_eq!(spool.append(Lane::Live, &batch(1, 10)), Ok(Seq(11)));
    spool.sync().unwrap();
    let (spool, recovered) = killed(&disk);
    assert_eq!((recovered.samples, recovered.spans[0].first), (1, Seq(11)));
    assert_eq!(spool.held().len(), 4, "one lane of the first epoch, and the current three");
}

#[test]
fn what_is_too_large_or_too_small_is_refused() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    assert!(matches!(
        spool.append(Lane::Live, &batch(1, 40_000)),
        Err(AppendError::TooLarge { bytes: 40_000, .. })
    ));
    drop(spool);
    let small = SpoolConfig { limit_bytes: 1000, ..config() };
    let refused = Spool::open(Arc::new(disk), small, 1).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::LimitTooSmall { given: 1000, .. }));
}

#[test]
fn a_real_folder_is_filled_closed_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(super::disk::RealDisk::new(folder.path().join("deep/spool")));
    let (mut spool, _) = Spool::open(disk.clone(), config(), 1).unwrap();
    let all = fill(&mut spool, 5);
    let epoch = spool.epoch();
    spool.close().unwrap();
    let (spool, recovered) = Spool::open(disk.clone(), config(), 2).unwrap();
    assert_eq!((recovered.samples, recovered.torn_bytes), (all, 0));
    assert_eq!(spool.reader().read(head(Lane::Live, epoch, 2)).unwrap().unwrap().payload, vec![2; 41]);
    let in_use = Spool::open(disk, config(), 3).map(|_| ()).unwrap_err();
    assert!(in_use.to_string().contains("deep/spool"), "{in_use}");
}

/// Written by version 1: a first run that was closed, with one bulk batch given up, and a second one that was killed
/// while it wrote.
const VERSION_1: [(&str, &[u8]); 5] = [
    ("SPOOL", include_bytes!("../../fixtures/spool-v1/SPOOL")),
    (
        "live/1-0123456789abcdef-1.seg",
        include_bytes!("../../fixtures/spool-v1/live/1-0123456789abcdef-1.seg"),
    ),
    (
        "live/2-fedcba9876543210-1.seg",
        include_bytes!("../../fixtures/spool-v1/live/2-fedcba9876543210-1.seg"),
    ),
    (
        "urgent/1-0123456789abcdef-1.seg",
        include_bytes!("../../fixtures/spool-v1/urgent/1-0123456789abcdef-1.seg"),
    ),
    (
        "urgent/2-fedcba9876543210-1.seg",
        include_bytes!("../../fixtures/spool-v1/urgent/2-fedcba9876543210-1.seg"),
    ),
];

#[test]
fn a_folder_of_version_1_stays_readable() {
    let disk = FakeDisk::new();
    for (path, bytes) in VERSION_1 {
        disk.put(path, bytes);
    }
    let (spool, recovered) = open(&disk);
    assert_eq!((spool.epoch().start, recovered.samples, recovered.torn_bytes), (3, 7 + 3 + 9, 50));
    let (read, corrupt, losses) = read_all(&spool);
    assert_eq!((read, corrupt), (7 + 3 + 9, vec![]));
    let [loss] = &losses[..] else { panic!("{losses:?}") };
    assert_eq!((loss.lane, loss.samples(), loss.reason), (Lane::Bulk, 50, LossReason::Refused));
    let first = head(Lane::Live, Epoch { start: 1, random: 0x0123_4567_89ab_cdef }, 1);
    let stored = spool.reader().read(first).unwrap().unwrap();
    assert_eq!(stored.payload, vec![1; 40]);
    let StoredKind::Batch { schema } = stored.kind else { panic!("a batch") };
    let encoded = spool.reader().schema(first, schema).unwrap().unwrap();
    assert_eq!(Schema::decode(&encoded).unwrap().channels()[0].name.as_str(), "a.channel");
}
