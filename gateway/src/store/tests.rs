//! The store as its users see it, on real folders with small partitions.

use std::{fs, ops::Range, path::Path, sync::Arc};

use muster_protocol::id::{LogId, Offset, RobotId};
use tempfile::TempDir;

use super::{Encoded, Opened, ReadError, Store, StoreConfig, StoreError, StoreReader};
use crate::record::{Body, Envelope, SessionEvent, Transport};
use muster_protocol::time::WallTime;

mod check;
mod checkpoints;
mod damage;
mod durability;
mod fixture;
mod full;
mod milestones;
mod model;
mod quarantine;
mod restore;
mod retention;
mod schemas;
mod trim;

const LOG: LogId = LogId([0x4c; 16]);

/// Partitions so small that a few appends fill one.
fn small() -> StoreConfig {
    StoreConfig {
        partition_bytes: 64 << 10,
        ballast_bytes: 4 << 10,
        write_cache_bytes: 1 << 20,
        read_cache_bytes: 1 << 20,
        sealed_open_max: 2,
        milestone_log_bytes: 64 << 10,
        ..StoreConfig::default()
    }
}

fn open(root: &Path) -> Opened {
    Store::open(root, small(), LOG).unwrap()
}

fn robot(number: u8) -> RobotId {
    format!("yard/r{number}").parse().unwrap()
}

/// A record of about `size` bytes whose only time is `t`.
fn record(of: u8, t: i64, size: usize) -> Envelope {
    let event = SessionEvent::Up {
        transport: Transport::Quic,
        address: "a".repeat(size),
        version: t.to_string(),
        clock: None,
        instance: None,
    };
    Envelope { received_at: WallTime(t), robot: robot(of), session: 1, body: Body::Session(event) }
}

fn records(times: Range<i64>, size: usize) -> Vec<Envelope> {
    times.map(|t| record(u8::try_from(t.rem_euclid(3)).unwrap(), t, size)).collect()
}

fn append(store: &mut Store, records: &[Envelope]) -> Result<Vec<Offset>, StoreError> {
    let encoded: Vec<Encoded> = records.iter().map(|record| Encoded::new(record, None)).collect();
    Ok(store.append(&encoded)?.into_iter().map(super::Committed::offset).collect())
}

/// Appends records of 1 KiB in groups of 8 until the log has this many partitions.
fn fill(opened: &mut Opened, partitions: usize) {
    while opened.reader.status().partitions < partitions {
        let next = i64::try_from(opened.reader.next().0).unwrap();
        append(&mut opened.store, &records(next..next + 8, 1024)).unwrap();
    }
}

/// Closes the store, so that everything that housekeeping was given is done, and opens it again.
fn reopen(opened: Opened, root: &Path) -> Opened {
    drop(opened);
    open(root)
}

fn scan(reader: &StoreReader, from: Offset) -> Vec<(Offset, Envelope)> {
    reader.scan(from).map(|item| item.unwrap()).collect()
}

/// Checks that the log holds exactly the records of [`fill`] from `from` to what is next.
fn assert_holds_all(reader: &StoreReader, from: Offset) {
    let held = scan(reader, from);
    let times: Vec<i64> = held.iter().map(|(_, envelope)| envelope.received_at.0).collect();
    let expected: Vec<i64> = (from.0..reader.next().0).map(|offset| i64::try_from(offset).unwrap()).collect();
    assert_eq!(times, expected);
    assert!(held.iter().zip(from.0..).all(|((offset, _), expected)| offset.0 == expected));
}

/// Copies a folder as it is, which is what a process that is killed leaves. Nothing may write it meanwhile.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy_one(&entry.path(), &to.join(entry.file_name()));
    }
}

fn copy_one(from: &Path, to: &Path) {
    if from.is_dir() {
        copy(from, to);
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn check_whole(root: &Path) {
    let report = super::check::Report::of(root, super::check::Depth::Check, false).unwrap();
    assert!(report.is_whole(), "{report:?}");
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn offsets_start_at_one_and_go_on_after_a_restart() {
    let root = folder();
    let mut opened = open(root.path());
    assert_eq!(append(&mut opened.store, &records(1..4, 10)).unwrap(), [Offset(1), Offset(2), Offset(3)]);
    let mut opened = reopen(opened, root.path());
    assert_eq!(append(&mut opened.store, &records(4..5, 10)).unwrap(), [Offset(4)]);
    assert_eq!(opened.reader.log_id(), LOG);
    assert_holds_all(&opened.reader, Offset(1));
}

#[test]
fn records_of_any_size_come_back_as_they_were() {
    let root = folder();
    let mut opened = open(root.path());
    let written: Vec<_> = (0..40).map(|t| record(1, t, usize::try_from(t * 811).unwrap())).collect();
    append(&mut opened.store, &written).unwrap();
    let read = |reader: &StoreReader| {
        scan(reader, Offset(1)).into_iter().map(|(_, record)| record).collect::<Vec<_>>()
    };
    assert_eq!(read(&opened.reader), written);
    assert_eq!(read(&reopen(opened, root.path()).reader), written);
}

#[test]
fn a_killed_process_leaves_everything_that_was_committed() {
    let root = folder();
    let copied = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 3);
    opened.store.housekeeping.settle();
    copy(root.path(), &copied.path().join("data"));
    let again = open(&copied.path().join("data"));
    assert_eq!(again.reader.next(), opened.reader.next());
    assert_holds_all(&again.reader, Offset(1));
    assert!(again.reader.status().damaged.is_empty());
}

#[test]
fn a_scan_goes_on_with_what_was_committed_since() {
    let root = folder();
    let mut opened = open(root.path());
    append(&mut opened.store, &records(1..3, 10)).unwrap();
    let mut scan = opened.reader.scan(Offset(2));
    assert_eq!(scan.next().unwrap().unwrap().0, Offset(2));
    assert!(scan.next().is_none());
    fill(&mut opened, 2);
    assert_eq!(scan.next().unwrap().unwrap().0, Offset(3));
    assert_eq!(scan.map(|item| item.unwrap().0).last().unwrap().next(), opened.reader.next());
}

#[test]
fn sealed_partitions_are_opened_only_to_be_read_and_few_stay_open() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 6);
    let opened = reopen(opened, root.path());
    assert_eq!(opened.reader.status().sealed_open, 0);
    assert_holds_all(&opened.reader, Offset(1));
    assert_eq!(opened.reader.status().sealed_open, 2);
}

#[test]
fn a_partition_that_was_read_for_long_is_closed_so_that_its_cache_is_given_back() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 4);
    drop(opened);
    let config = StoreConfig { read_cache_bytes: 8 << 10, ..small() };
    let opened = Store::open(root.path(), config, LOG).unwrap();
    assert_holds_all(&opened.reader, Offset(1));
    assert_eq!(opened.reader.status().sealed_open, 0);
    let records = opened.reader.robot_records(&robot(1), WallTime(0), None, None);
    assert_eq!(records.map(Result::unwrap).count() as u64, (opened.reader.next().0 + 1) / 3);
}

#[test]
fn readers_on_other_threads_see_whole_prefixes_while_the_log_is_written_and_sealed() {
    let root = folder();
    let mut opened = open(root.path());
    let reader = opened.reader.clone();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let watcher = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Acquire) {
            assert_holds_all_committed(&reader);
        }
    });
    fill(&mut opened, 5);
    done.store(true, std::sync::atomic::Ordering::Release);
    watcher.join().unwrap();
}

fn assert_holds_all_committed(reader: &StoreReader) {
    let at_least = reader.next();
    let offsets: Vec<u64> = reader.scan(Offset(1)).map(|item| item.unwrap().0.0).collect();
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
    assert!(offsets.len() as u64 >= at_least.0 - 1);
}

#[test]
fn a_second_gateway_on_the_folder_is_refused() {
    let root = folder();
    let _opened = open(root.path());
    let error = Store::open(root.path(), small(), LOG).unwrap_err();
    assert!(error.to_string().contains("in use by another gateway"), "{error}");
}

#[test]
fn values_never_go_into_files_of_their_own() {
    let root = folder();
    let config = StoreConfig { partition_bytes: 4 << 20, ..small() };
    let mut opened = Store::open(root.path(), config, LOG).unwrap();
    for at in 0..40 {
        let mixed: Vec<_> =
            (0..8).flat_map(|t| [record(1, at, 32_000 - t * 4_000), record(2, at, t * 37)]).collect();
        append(&mut opened.store, &mixed).unwrap();
    }
    let status = opened.reader.status();
    assert!(status.record_bytes > 5 << 20 && status.partitions >= 2, "{status:?}");
    assert_eq!(status.blobs, 0);
    drop(opened);
    assert_eq!(open(root.path()).reader.status().blobs, 0);
}
