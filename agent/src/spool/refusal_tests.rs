//! What a disk that refused something leaves behind, once it works again.

use muster_protocol::{
    id::{Lane, Seq},
    loss::{Loss, LossReason},
    message::{NumberedHead, SeqRange},
};

use super::{
    crash_tests::{batch, batch_of, fill, killed, live_path, open, read_all},
    fake_disk::{FakeDisk, Faults},
};

/// Guards: a seal that was written and not synced was taken for a promise after a kill, and the next power cut broke it.
#[test]
fn what_a_restart_shows_survives_a_power_cut_also_behind_a_seal_that_was_not_synced() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
    let mut appended = 0;
    while spool.append(Lane::Live, &batch(1, 20_000)).is_ok() {
        appended += 1;
    }
    assert!(appended > 1, "the next one needed another segment, and sealed this one");
    drop(spool);
    let (spool, recovered) = killed(&disk);
    assert_eq!(recovered.samples, appended);
    drop(spool);
    for seed in 0..8 {
        let disk = disk.image();
        disk.power_cut(seed);
        let (spool, _) = open(&disk);
        assert_eq!(read_all(&spool).0, appended, "seed {seed}");
    }
}

/// Guards: on a full disk, what was known of drained lanes was forgotten with the process.
#[test]
fn how_far_a_drained_lane_came_is_noted_as_soon_as_the_disk_takes_it() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 4);
    let epoch = spool.epoch();
    disk.set_faults(Faults { capacity_bytes: Some(disk.used_bytes()), ..Faults::default() });
    spool.release_ranges(Lane::Live, epoch, &[SeqRange { first: Seq(1), end: Seq(5) }]).unwrap();
    spool.drop_released().unwrap();
    drop(spool);
    let (spool, _) = killed(&disk);
    let drained = spool.drained();
    assert_eq!(
        drained.iter().map(|lane| (lane.epoch, lane.next, lane.spooled)).collect::<Vec<_>>(),
        [(epoch, Seq(5), all)]
    );
}

/// Guards: the sum of a segment whose index cannot be read stood at its first seq, and went with it once that was
/// released. It counts what was released while nobody could read how much that was.
#[test]
fn a_segment_that_cannot_be_read_is_given_up_with_its_sum() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 4);
    let epoch = spool.epoch();
    spool.close().unwrap();
    let (mut spool, _) = killed(&disk);
    disk.set_faults(Faults { no_reads_of: Some(".seg".to_owned()), ..Faults::default() });
    spool.release_ranges(Lane::Live, epoch, &[SeqRange { first: Seq(1), end: Seq(3) }]).unwrap();
    let head = NumberedHead { epoch, lane: Lane::Live, seq: Seq(3) };
    let evicted = spool.report_lost(head, LossReason::Corrupt).unwrap().unwrap();
    assert_eq!(evicted.samples(), all);
    disk.set_faults(Faults::default());
    spool.sync().unwrap();
    let told = read_all(&spool).2.into_iter().flat_map(|loss| loss.lost);
    let told: Vec<_> = told.map(|lost| (lost.seq, u64::from(lost.samples))).collect();
    assert_eq!(told, [(Seq(3), all), (Seq(4), 0)]);
}

/// Guards: a damaged batch was taken for torn although the schema of the next one, torn itself, says that it was synced.
#[test]
fn a_torn_schema_tells_what_was_synced_before_it() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    let all = fill(&mut spool, 1);
    let path = live_path(&disk);
    let first = disk.files()[&path].clone();
    spool.append(Lane::Live, &batch_of("another", 9, 40)).unwrap();
    let record = first.windows(4).rposition(|bytes| bytes == b"MREC").unwrap();
    let torn = disk.files()[&path][..first.len() + 100].to_vec();
    drop(spool);
    disk.kill();
    disk.put(&path, &torn);
    disk.flip_bit(&path, 8 * (record + 44));
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.losses.iter().map(Loss::samples).sum::<u64>(), all);
}

/// Guards: what a resume had found when the disk failed once more was in the spool, and nobody was told of it.
#[test]
fn what_a_resume_finds_is_told_whenever_it_succeeds_and_once() {
    for changes in 0..20 {
        let disk = FakeDisk::new();
        let (mut spool, _) = open(&disk);
        fill(&mut spool, 3);
        let epoch = spool.epoch();
        drop(spool);
        disk.kill();
        disk.set_faults(Faults { no_reads_of: Some("live/".to_owned()), ..Faults::default() });
        let (mut spool, recovered) = open(&disk);
        assert!(!recovered.unreadable.is_empty());
        disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
        spool.append(Lane::Urgent, &batch(1, 40)).unwrap();
        spool.sync().unwrap_err();
        let mut told = 0;
        for changes_left in [Some(changes), None, None] {
            disk.set_faults(Faults { changes_left, ..Faults::default() });
            let found = spool.resume(spool.epoch()).map_or(Vec::new(), |recovered| recovered.spans);
            told += found.iter().filter(|span| span.epoch == epoch).count();
        }
        assert_eq!(told, 1, "after {changes} changes");
    }
}

/// Guards: of segments that could not be read, only the first seqs counted as held, and the gateway was told that the
/// others were gone.
#[test]
fn segments_that_cannot_be_read_are_held_from_the_first_to_the_last() {
    let disk = FakeDisk::new();
    let (mut spool, _) = open(&disk);
    for _ in 0..12 {
        spool.append(Lane::Live, &batch(1, 20_000)).unwrap();
    }
    spool.sync().unwrap();
    let epoch = spool.epoch();
    drop(spool);
    disk.kill();
    disk.set_faults(Faults { no_reads_of: Some("live/".to_owned()), ..Faults::default() });
    let (spool, recovered) = open(&disk);
    assert!(recovered.unreadable.len() > 2);
    let held = spool.held();
    let lane = held.iter().find(|lane| lane.epoch == epoch && lane.lane == Lane::Live).unwrap();
    assert_eq!((lane.first, lane.gone.len()), (Seq(1), 0));
    assert!((Seq(5)..=Seq(13)).contains(&lane.next), "{lane:?}");
}
