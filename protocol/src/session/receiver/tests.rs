use super::*;
use crate::{limits::RANGES_PER_LANE_MAX, loss::LossReason};

const EPOCH: Epoch = Epoch { start: 3, random: 7 };

fn head(seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
}

fn held(first: u64, next: u64) -> HeldLane {
    HeldLane {
        epoch: EPOCH,
        lane: Lane::Live,
        first: Seq(first),
        next: Seq(next),
        samples: 0,
        spooled: 0,
        gone: Vec::new(),
    }
}

fn receiver() -> Receiver {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held(1, 1)], &[]);
    receiver
}

fn claim(receiver: &mut Receiver, seq: u64) -> Claim {
    match receiver.handle_batch(head(seq), 10) {
        Verdict::Commit(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn commit(receiver: &mut Receiver, seq: u64) {
    let claim = claim(receiver, seq);
    receiver.handle_committed(claim);
}

fn lost(seqs: &[u64]) -> Loss {
    let lost = seqs.iter().map(|seq| LostSeq { seq: Seq(*seq), samples: 10 }).collect();
    let reason = LossReason::SpoolFull;
    Loss { epoch: EPOCH, lane: Lane::Live, lost, unnumbered: 0, t_min: None, t_max: None, reason }
}

#[test]
fn a_claimed_batch_is_not_acknowledged_before_its_commit() {
    let mut receiver = receiver();
    let first = claim(&mut receiver, 1);
    assert_eq!(receiver.handle_batch(head(1), 10), Verdict::Claimed);
    assert_eq!(receiver.ack([(EPOCH, Lane::Live, Seq(1))]), []);
    receiver.handle_committed(first);
    assert_eq!(receiver.handle_batch(head(1), 10), Verdict::Committed);
    let ranges = vec![SeqRange { first: Seq(1), end: Seq(2) }];
    assert_eq!(
        receiver.ack([(EPOCH, Lane::Live, Seq(1))]),
        [LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }]
    );
}

#[test]
fn a_failed_commit_lets_the_batch_come_again() {
    let mut receiver = receiver();
    let first = claim(&mut receiver, 1);
    receiver.handle_failed(first);
    assert!(matches!(receiver.handle_batch(head(1), 10), Verdict::Commit(_)));
}

#[test]
fn an_epoch_that_no_hello_listed_is_refused() {
    let mut receiver = Receiver::default();
    assert_eq!(receiver.handle_batch(head(1), 10), Verdict::Refuse(RefuseReason::EpochClosed));
}

#[test]
fn a_closed_epoch_that_comes_back_stores_nothing_twice() {
    let mut receiver = receiver();
    commit(&mut receiver, 1);
    let other = HeldLane { epoch: Epoch { start: 4, random: 1 }, ..held(1, 1) };
    receiver.handle_hello(&[other], &[]);
    assert_eq!(receiver.handle_batch(head(1), 10), Verdict::Refuse(RefuseReason::EpochClosed));
    receiver.handle_hello(&[held(1, 2)], &[]);
    assert_eq!(receiver.handle_batch(head(1), 10), Verdict::Committed);
}

#[test]
fn a_loss_record_takes_only_what_the_log_lacks_and_late_copies_are_duplicates() {
    let mut receiver = receiver();
    commit(&mut receiver, 1);
    let LossVerdict::Commit(claim, loss) = receiver.handle_loss(head(5), &lost(&[1, 2, 3])) else { panic!() };
    assert_eq!(loss.lost.iter().map(|lost| lost.seq.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(receiver.handle_batch(head(2), 10), Verdict::Claimed);
    receiver.handle_committed(claim);
    assert_eq!(receiver.handle_batch(head(3), 10), Verdict::Committed);
    assert_eq!(receiver.handle_loss(head(5), &lost(&[1, 2, 3])), LossVerdict::Committed);
}

#[test]
fn at_the_bound_only_batches_that_join_ranges_are_taken() {
    let mut receiver = receiver();
    for n in 1..=RANGES_PER_LANE_MAX as u64 {
        commit(&mut receiver, 2 * n);
    }
    assert_eq!(receiver.handle_batch(head(10_000), 10), Verdict::Refuse(RefuseReason::WindowFull));
    commit(&mut receiver, 3);
    assert!(matches!(receiver.handle_batch(head(10_000), 10), Verdict::Commit(_)));
}

/// Guards: a loss record left out a batch that was being committed; that commit failed, and the batch was neither
/// stored nor lost.
#[test]
fn a_loss_record_waits_until_what_it_lists_is_decided() {
    let mut receiver = receiver();
    let first = claim(&mut receiver, 1);
    let busy = LossVerdict::Refuse(RefuseReason::Busy);
    assert_eq!(receiver.handle_loss(head(5), &lost(&[1])), busy);
    receiver.handle_failed(first);
    let LossVerdict::Commit(claim, loss) = receiver.handle_loss(head(5), &lost(&[1])) else { panic!() };
    assert_eq!(loss.lost.len(), 1);
    receiver.handle_failed(claim);
}

/// Guards: a backlog below a full set of ranges joined none of them, and was refused for ever.
#[test]
fn at_the_bound_the_first_batch_that_the_agent_holds_is_taken() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held(10, 9000)], &[]);
    for n in 1..=RANGES_PER_LANE_MAX as u64 {
        commit(&mut receiver, 1000 + 2 * n);
    }
    assert_eq!(receiver.handle_batch(head(11), 10), Verdict::Refuse(RefuseReason::WindowFull));
    commit(&mut receiver, 10);
    commit(&mut receiver, 11);
}

#[test]
fn a_heartbeat_opens_the_epochs_that_a_hello_had_no_room_for() {
    let mut receiver = receiver();
    let epoch = Epoch { start: 9, random: 9 };
    let later = NumberedHead { epoch, ..head(1) };
    assert_eq!(receiver.handle_batch(later, 10), Verdict::Refuse(RefuseReason::EpochClosed));
    receiver.handle_heartbeat(&[held(1, 1), HeldLane { epoch, ..held(1, 2) }]);
    assert!(matches!(receiver.handle_batch(later, 10), Verdict::Commit(_)));
}

#[test]
fn a_checkpoint_keeps_what_is_committed_and_forgets_claims() {
    let mut receiver = receiver();
    commit(&mut receiver, 1);
    let open = claim(&mut receiver, 2);
    let mut restored = Receiver::from_committed(receiver.committed());
    receiver.handle_failed(open);
    let have = restored.handle_hello(&[held(1, 3)], &[]);
    assert_eq!(have[0].ranges, [SeqRange { first: Seq(1), end: Seq(2) }]);
    assert!(matches!(restored.handle_batch(head(2), 10), Verdict::Commit(_)));
}

#[test]
fn a_welcome_leaves_out_what_the_agent_has_released() {
    let mut receiver = receiver();
    for seq in 1..10 {
        commit(&mut receiver, seq);
    }
    let have = receiver.handle_hello(&[held(6, 12)], &[]);
    assert_eq!(have[0].ranges, [SeqRange { first: Seq(6), end: Seq(10) }]);
}

/// A lane that holds `first..next`, each seq of ten samples.
fn held_of(lane: Lane, first: u64, next: u64) -> HeldLane {
    let (spooled, samples) = ((next - 1) * 10, (next - first) * 10);
    HeldLane { lane, samples, spooled, ..held(first, next) }
}

fn absent(receiver: &mut Receiver) -> Option<Absence> {
    let (claim, absence) = receiver.poll_absent(AbsenceReason::Restored)?;
    receiver.handle_committed(claim);
    Some(absence)
}

fn absence(first: u64, end: u64, reason: AbsenceReason) -> Absence {
    let ranges = vec![SeqRange { first: Seq(first), end: Seq(end) }];
    Absence { epoch: EPOCH, lane: Lane::Live, ranges, samples: (end - first) * 10, reason }
}

#[test]
fn what_a_robot_had_released_before_it_first_came_is_not_lost_here() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 41, 50)], &[]);
    assert_eq!(absent(&mut receiver), Some(absence(1, 41, AbsenceReason::BeforeThisGateway)));
    assert_eq!(absent(&mut receiver), None);
    receiver.handle_heartbeat(&[held_of(Lane::Live, 41, 50)]);
    assert_eq!(absent(&mut receiver), None);
}

#[test]
fn what_a_restored_log_lacks_is_lost_and_counted() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 4)], &[]);
    for seq in 1..4 {
        commit(&mut receiver, seq);
    }
    let mut restored = Receiver::from_committed(receiver.committed());
    let have = restored.handle_hello(&[held_of(Lane::Live, 9, 12)], &[]);
    assert_eq!(have, []);
    assert_eq!(absent(&mut restored), Some(absence(4, 9, AbsenceReason::Restored)));
    assert_eq!(restored.handle_batch(head(5), 10), Verdict::Committed, "a late copy");
}

#[test]
fn an_epoch_that_drained_after_the_backup_is_lost_whole() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 2)], &[]);
    commit(&mut receiver, 1);
    let mut restored = Receiver::from_committed(receiver.committed());
    let epoch = Epoch { start: 4, random: 8 };
    let drained = DrainedLane { epoch, lane: Lane::Bulk, next: Seq(6), spooled: 50 };
    let current = HeldLane { epoch: Epoch { start: 5, random: 1 }, ..held(1, 1) };
    restored.handle_hello(&[current], &[drained]);
    let expected = Absence { epoch, lane: Lane::Bulk, ..absence(1, 6, AbsenceReason::Restored) };
    assert_eq!(absent(&mut restored), Some(expected));
}

#[test]
fn nothing_is_absent_while_its_loss_record_may_be_on_its_way() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 9)], &[]);
    // Seqs 1 to 4 were evicted, and seq 1 of urgent says so.
    let urgent = HeldLane { lane: Lane::Urgent, ..held(1, 2) };
    receiver.handle_heartbeat(&[urgent, held_of(Lane::Live, 5, 9)]);
    assert_eq!(absent(&mut receiver), None);
    let record = NumberedHead { lane: Lane::Urgent, ..head(1) };
    let LossVerdict::Commit(claim, loss) = receiver.handle_loss(record, &lost(&[1, 2, 3, 4])) else {
        panic!()
    };
    assert_eq!((loss.lost.len(), absent(&mut receiver)), (4, None));
    receiver.handle_committed(claim);
    assert_eq!(absent(&mut receiver), None);
}

#[test]
fn a_loss_record_that_was_evicted_itself_is_awaited_where_it_travels_on() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 9)], &[]);
    let urgent = HeldLane { lane: Lane::Urgent, ..held(1, 2) };
    receiver.handle_heartbeat(&[urgent.clone(), held_of(Lane::Live, 5, 9)]);
    // Its segment was evicted; seq 7 carries on what it said.
    let later = HeldLane { first: Seq(7), next: Seq(8), ..urgent };
    receiver.handle_heartbeat(&[later, held_of(Lane::Live, 5, 9)]);
    assert_eq!(absent(&mut receiver), None);
    let record = NumberedHead { lane: Lane::Urgent, ..head(7) };
    let LossVerdict::Commit(claim, _) = receiver.handle_loss(record, &lost(&[1, 2, 3, 4])) else { panic!() };
    receiver.handle_committed(claim);
    assert_eq!(absent(&mut receiver), None);
}

#[test]
fn an_absence_waits_until_its_samples_can_be_counted() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 3)], &[]);
    commit(&mut receiver, 1);
    commit(&mut receiver, 2);
    let mut restored = Receiver::from_committed(receiver.committed());
    // The agent still holds seq 2, because its ack was lost; nobody knows how many samples the log has of it alone.
    let mut lane = held_of(Lane::Live, 2, 9);
    lane.gone = vec![SeqRange { first: Seq(3), end: Seq(6) }];
    lane.samples = 40;
    restored.handle_hello(&[lane], &[]);
    assert_eq!(absent(&mut restored), None);
    restored.handle_heartbeat(&[held_of(Lane::Live, 6, 9)]);
    assert_eq!(absent(&mut restored), Some(absence(3, 6, AbsenceReason::Restored)));
}

#[test]
fn an_absence_that_was_not_committed_is_found_again() {
    let mut receiver = Receiver::default();
    let lanes = [held_of(Lane::Live, 41, 50)];
    receiver.handle_hello(&lanes, &[]);
    let (claim, _) = receiver.poll_absent(AbsenceReason::Restored).unwrap();
    receiver.handle_failed(claim);
    assert_eq!(absent(&mut receiver), None);
    receiver.handle_heartbeat(&lanes);
    assert_eq!(absent(&mut receiver), Some(absence(1, 41, AbsenceReason::BeforeThisGateway)));
}

/// Guards: heartbeats list no drained lanes, so what could not be judged at the Hello was never judged.
#[test]
fn what_drained_is_judged_after_a_heartbeat_too() {
    let mut receiver = Receiver::default();
    let current = HeldLane { epoch: Epoch { start: 5, random: 1 }, ..held(1, 1) };
    receiver.handle_hello(&[held_of(Lane::Live, 1, 9), current.clone()], &[]);
    commit(&mut receiver, 1);
    // It went from the spool between two heartbeats, and only seq 1 ever came.
    receiver.handle_heartbeat(std::slice::from_ref(&current));
    let (claim, judged) = receiver.poll_absent(AbsenceReason::Quarantined).unwrap();
    assert_eq!(judged, absence(2, 9, AbsenceReason::Quarantined));
    receiver.handle_failed(claim);
    receiver.handle_heartbeat(std::slice::from_ref(&current));
    assert_eq!(absent(&mut receiver), Some(absence(2, 9, AbsenceReason::Restored)));
    receiver.handle_heartbeat(&[current]);
    assert_eq!((absent(&mut receiver), receiver.listed.len()), (None, 1), "nothing more is remembered of it");
}

/// Guards: one lane that cannot be counted kept all others from being judged.
#[test]
fn a_lane_that_cannot_be_counted_yet_holds_up_no_other() {
    let mut receiver = Receiver::default();
    receiver.handle_hello(&[held_of(Lane::Live, 1, 3), held_of(Lane::Bulk, 1, 3)], &[]);
    commit(&mut receiver, 2);
    let mut restored = Receiver::from_committed(receiver.committed());
    let uncounted = HeldLane { gone: vec![], ..held_of(Lane::Live, 2, 9) };
    restored.handle_hello(&[uncounted, held_of(Lane::Bulk, 3, 3)], &[]);
    let expected = Absence { lane: Lane::Bulk, ..absence(1, 3, AbsenceReason::Restored) };
    assert_eq!((absent(&mut restored), absent(&mut restored)), (Some(expected), None));
}

#[test]
fn what_is_rebuilt_from_the_log_judges_as_before() {
    let lanes = [held_of(Lane::Live, 41, 50)];
    let mut receiver = Receiver::default();
    receiver.handle_hello(&lanes, &[]);
    let (claim, judged) = receiver.poll_absent(AbsenceReason::Restored).unwrap();
    receiver.handle_committed(claim);
    let mut rebuilt = Receiver::default();
    rebuilt.replay_told(&lanes);
    rebuilt.replay_absence(&judged);
    rebuilt.replay_absence(&judged);
    assert_eq!(rebuilt.committed(), receiver.committed());
    // Without the absence in the log, it is judged anew, and is still not a loss.
    let mut before = Receiver::default();
    before.replay_told(&lanes);
    before.replay(head(41), 10, None);
    before.handle_hello(&[held_of(Lane::Live, 42, 50)], &[]);
    assert_eq!(absent(&mut before), Some(absence(1, 41, AbsenceReason::BeforeThisGateway)));
}

#[test]
fn a_robot_that_claims_to_have_released_everything_costs_one_range() {
    let mut receiver = Receiver::default();
    let end = u64::MAX - 1;
    receiver.handle_hello(&[HeldLane { spooled: u64::MAX, ..held(end, end) }], &[]);
    let found = absent(&mut receiver).unwrap();
    assert_eq!((found.ranges.len(), found.samples), (1, u64::MAX));
    assert_eq!(receiver.handle_batch(head(7), 1), Verdict::Committed);
}

#[test]
fn loss_records_cannot_tear_a_lane_into_pieces_without_end() {
    let mut receiver = receiver();
    let mut refused = 0;
    for n in 0..4 {
        let seqs: Vec<u64> = (0..2048).map(|seq| 100_000 * (n + 1) + 2 * seq).collect();
        match receiver.handle_loss(NumberedHead { lane: Lane::Urgent, ..head(n + 1) }, &lost(&seqs)) {
            LossVerdict::Commit(claim, _) => receiver.handle_committed(claim),
            LossVerdict::Refuse(RefuseReason::WindowFull) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 2);
}

/// Guards: loss records of epochs that nobody told of grew the receiver without a bound.
#[test]
fn loss_records_of_epochs_that_were_never_told_do_not_grow_the_receiver() {
    let mut receiver = receiver();
    let every_other: Vec<u64> = (1..2000).step_by(2).collect();
    for n in 1..200 {
        let loss = Loss { epoch: Epoch { start: 1000 + n, random: 1 }, ..lost(&every_other) };
        if let LossVerdict::Commit(claim, _) = receiver.handle_loss(head(n), &loss) {
            receiver.handle_committed(claim);
        }
    }
    let ranges: usize = receiver.committed().iter().map(|lane| lane.ranges.len()).sum();
    assert!((60_000..=RANGES_PER_ROBOT_MAX).contains(&ranges), "{ranges}");
}
