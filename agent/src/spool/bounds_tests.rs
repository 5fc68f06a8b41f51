//! What opening costs, and what a Hello may say: by count, over a fake disk.

use std::sync::Arc;

use bytes::Bytes;
use muster_protocol::{
    id::{ChannelName, Lane, Seq},
    limits::{DRAINED_LANES_MAX, GONE_RANGES_MAX},
    message::SeqRange,
    schema::{ChannelDef, Schema},
    time::WallTime,
};

use super::{
    Entry, Holding, Spool, SpoolConfig,
    fake_disk::{FakeDisk, Operation},
    format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, TRAILER_BYTES},
};

fn open(disk: &FakeDisk, random: u64) -> Spool {
    let robot = "fleet/robot".parse().unwrap();
    let config = SpoolConfig { limit_bytes: 64 * 1024 * 1024, segment_bytes: 64 * 1024, robot };
    Spool::open(Arc::new(disk.clone()), config, random).unwrap().0
}

fn batch(samples: u32, bytes: usize) -> Entry {
    let schema = Schema::new(vec![ChannelDef::named(ChannelName::new("a.channel").unwrap())]).unwrap();
    let (t_min, t_max) = (WallTime(1), WallTime(2));
    Entry::Batch { bytes: Bytes::from(vec![7; bytes]), samples, t_min, t_max, schema: Arc::new(schema) }
}

#[test]
fn opening_reads_a_constant_of_each_sealed_segment_and_holds_none_of_it() {
    let disk = FakeDisk::new();
    let mut spool = open(&disk, 1);
    for _ in 0..2000 {
        spool.append(Lane::Live, &batch(1, 10_000)).unwrap();
    }
    spool.close().unwrap();
    let segments = disk.files().keys().filter(|path| path.starts_with("live/")).count() as u64;
    assert!(segments > 300);
    disk.kill();
    let read_before = disk.bytes_read();
    let spool = open(&disk, 2);
    let read = disk.bytes_read() - read_before;
    let each = (SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES + TRAILER_BYTES) as u64;
    assert!(read <= segments * each + 4096, "{read} bytes of {segments} segments");
    assert_eq!(spool.samples_held(), 2000);
}

#[test]
fn a_killed_run_costs_its_last_segments_and_no_more() {
    let disk = FakeDisk::new();
    let mut spool = open(&disk, 1);
    for _ in 0..2000 {
        spool.append(Lane::Live, &batch(1, 10_000)).unwrap();
    }
    spool.sync().unwrap();
    disk.kill();
    let read_before = disk.bytes_read();
    open(&disk, 2);
    let read = disk.bytes_read() - read_before;
    let segments = disk.files().keys().filter(|path| path.starts_with("live/")).count() as u64;
    assert!(read <= segments * 400 + 2 * 64 * 1024, "{read} bytes of {segments} segments");
}

#[test]
fn a_hello_lists_no_more_of_what_is_gone_than_it_may() {
    let disk = FakeDisk::new();
    let mut spool = open(&disk, 1);
    for _ in 0..3 * GONE_RANGES_MAX {
        spool.append(Lane::Live, &batch(1, 10)).unwrap();
    }
    spool.sync().unwrap();
    let every_second = (1..=3 * GONE_RANGES_MAX as u64).step_by(2);
    let ranges: Vec<_> = every_second.map(|seq| SeqRange { first: Seq(seq), end: Seq(seq + 1) }).collect();
    spool.release_ranges(Lane::Live, spool.epoch(), &ranges).unwrap();
    let holding = Holding::of([&spool]);
    assert_eq!(holding.held[1].gone.len(), GONE_RANGES_MAX);
    assert_eq!((holding.held[1].first, holding.held[1].spooled), (Seq(2), 3 * GONE_RANGES_MAX as u64));
}

#[test]
fn lanes_that_drained_are_told_across_restarts_and_the_newest_are_kept() {
    let disk = FakeDisk::new();
    for start in 0..60_u32 {
        let mut spool = open(&disk, start.into());
        for lane in Lane::ALL {
            for _ in 0..=start {
                spool.append(lane, &batch(2, 10)).unwrap();
            }
        }
        spool.sync().unwrap();
        let all = [SeqRange { first: Seq::FIRST, end: Seq(u64::MAX) }];
        for lane in Lane::ALL {
            spool.release_ranges(lane, spool.epoch(), &all).unwrap();
        }
        spool.drop_released().unwrap();
        // Killed: nothing is written when an epoch ends.
        drop(spool);
        disk.kill();
    }
    let spool = open(&disk, 99);
    let drained = Holding::of([&spool]).drained;
    assert_eq!(drained.len(), DRAINED_LANES_MAX);
    let last = drained.last().unwrap();
    assert_eq!((last.epoch.start, last.lane, last.next, last.spooled), (119, Lane::Bulk, Seq(61), 120));
    assert!(spool.held().iter().all(|lane| lane.epoch == spool.epoch()));
}

/// The busiest robot must not wear its flash out with notes: they are written when a lane ends, and when it is idle.
#[test]
fn a_robot_that_is_always_connected_writes_no_notes() {
    let disk = FakeDisk::new();
    let mut spool = open(&disk, 1);
    for seq in 1..500 {
        spool.append(Lane::Live, &batch(1, 10_000)).unwrap();
        spool.sync().unwrap();
        let acked = [SeqRange { first: Seq(seq), end: Seq(seq + 1) }];
        spool.release_ranges(Lane::Live, spool.epoch(), &acked).unwrap();
    }
    let notes = |done: &&Operation| matches!(done, Operation::Create(path) if path.starts_with("DRAINED"));
    assert_eq!(disk.log().iter().filter(notes).count(), 0);
}
