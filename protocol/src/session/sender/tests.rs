use super::*;
use crate::{
    id::{InstanceId, LogId},
    time::WallTime,
};

const EPOCH: Epoch = Epoch { start: 1, random: 1 };
const NOW: MonoTime = MonoTime(1_000_000_000);

fn head(lane: Lane, seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane, seq: Seq(seq) }
}

fn range(first: u64, end: u64) -> SeqRange {
    SeqRange { first: Seq(first), end: Seq(end) }
}

fn welcome(batches: u32, have: Vec<LaneRanges>) -> Welcome {
    Welcome {
        instance: InstanceId([0; 16]),
        log: LogId([0; 16]),
        session: 1,
        window: Window { bytes: 1 << 20, batches },
        have,
        schemas: vec![],
        now: WallTime(0),
    }
}

fn ack(lane: Lane, first: u64, end: u64) -> Ack {
    Ack { lanes: vec![LaneRanges { epoch: EPOCH, lane, ranges: vec![range(first, end)] }] }
}

fn sender(batches: u32) -> Sender {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_welcome(&welcome(batches, vec![]), NOW);
    sender
}

fn drain(sender: &mut Sender, now: MonoTime) -> Vec<(Lane, u64)> {
    let mut sent = Vec::new();
    while let Some(head) = sender.poll_transmit(now) {
        sender.handle_loaded(head, 1000, now);
        sent.push((head.lane, head.seq.0));
    }
    sent
}

#[test]
fn nothing_is_sent_without_a_session() {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    assert_eq!(sender.poll_transmit(NOW), None);
}

#[test]
fn urgent_goes_before_fresh_before_backlog_newest_segment_first_before_bulk() {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 3));
    sender.handle_recovered(Lane::Live, EPOCH, 3, range(3, 5));
    sender.handle_recovered(Lane::Bulk, EPOCH, 1, range(1, 2));
    sender.handle_welcome(&welcome(100, vec![]), NOW);
    sender.handle_spooled(head(Lane::Live, 5), 5);
    sender.handle_spooled(head(Lane::Urgent, 1), 1);
    let live = |seq| (Lane::Live, seq);
    let sent = [(Lane::Urgent, 1), live(5), live(3), live(4), live(1), live(2), (Lane::Bulk, 1)];
    assert_eq!(drain(&mut sender, NOW), sent);
}

#[test]
fn the_window_bounds_what_is_in_flight_but_not_urgent_batches() {
    let mut sender = sender(2);
    for seq in 1..=5 {
        sender.handle_spooled(head(Lane::Live, seq), 1);
    }
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 1), (Lane::Live, 2)]);
    sender.handle_spooled(head(Lane::Urgent, 1), 1);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Urgent, 1)]);
    sender.handle_ack(&ack(Lane::Live, 1, 2), NOW);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 3)]);
}

#[test]
fn an_ack_releases_once() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    sender.handle_spooled(head(Lane::Live, 2), 1);
    drain(&mut sender, NOW);
    let released = sender.handle_ack(&ack(Lane::Live, 1, 2), NOW);
    assert_eq!(released, [Released { lane: Lane::Live, epoch: EPOCH, ranges: vec![range(1, 2)] }]);
    assert_eq!(sender.handle_ack(&ack(Lane::Live, 1, 2), NOW), []);
    let released = sender.handle_ack(&ack(Lane::Live, 1, 3), NOW);
    assert_eq!(released[0].ranges(), [range(2, 3)]);
    assert!(sender.is_drained());
}

#[test]
fn an_ack_for_what_was_never_held_releases_nothing() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    assert_eq!(sender.handle_ack(&ack(Lane::Live, 2, 90), NOW), []);
    assert_eq!(sender.handle_ack(&ack(Lane::Bulk, 1, 90), NOW), []);
    assert!(!sender.is_drained());
}

#[test]
fn a_batch_without_its_ack_goes_again_after_the_timeout() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    drain(&mut sender, NOW);
    let at = sender.poll_timeout().unwrap();
    assert_eq!(at, NOW + SenderConfig::DEFAULT.ack_timeout_min);
    sender.handle_timeout(at);
    assert_eq!(drain(&mut sender, at), [(Lane::Live, 1)]);
}

#[test]
fn a_new_session_resends_only_what_was_not_acknowledged() {
    let mut sender = sender(10);
    for seq in 1..=4 {
        sender.handle_spooled(head(Lane::Live, seq), 1);
    }
    drain(&mut sender, NOW);
    sender.handle_ack(&ack(Lane::Live, 1, 2), NOW);
    let have = ack(Lane::Live, 3, 4).lanes;
    let released = sender.handle_welcome(&welcome(10, have), NOW);
    assert_eq!(released[0].ranges(), [range(3, 4)]);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 2), (Lane::Live, 4)]);
}

#[test]
fn a_refused_lane_pauses_and_others_go_on() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    sender.handle_spooled(head(Lane::Bulk, 1), 1);
    drain(&mut sender, NOW);
    let batch = head(Lane::Live, 1);
    let refuse = Refuse { batch, reason: RefuseReason::Busy, retry_after_ms: Some(100) };
    assert_eq!(sender.handle_refuse(&refuse, NOW), None);
    sender.handle_spooled(head(Lane::Bulk, 2), 1);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Bulk, 2)]);
    let at = sender.poll_timeout().unwrap();
    sender.handle_timeout(at);
    assert_eq!(drain(&mut sender, at), [(Lane::Live, 1)]);
}

#[test]
fn a_batch_refused_for_good_is_given_up_once_and_released_by_its_loss_records_ack() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    drain(&mut sender, NOW);
    let batch = head(Lane::Live, 1);
    let refuse = Refuse { batch, reason: RefuseReason::Malformed, retry_after_ms: None };
    assert!(sender.handle_refuse(&refuse, NOW).is_some());
    assert!(sender.handle_refuse(&refuse, NOW).is_none());
    assert_eq!(drain(&mut sender, NOW), []);
    assert!(!sender.is_drained());
    sender.handle_ack(&ack(Lane::Live, 1, 2), NOW);
    assert!(sender.is_drained());
}

#[test]
fn a_schema_goes_once_per_lane_and_again_on_demand() {
    let mut sender = sender(10);
    let hash = SchemaHash([7; 16]);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    drain(&mut sender, NOW);
    assert!(sender.claim_schema(Lane::Live, hash));
    assert!(!sender.claim_schema(Lane::Live, hash));
    assert!(sender.claim_schema(Lane::Bulk, hash));
    sender.handle_need_schema(&NeedSchema { batch: head(Lane::Live, 1), hash });
    assert!(sender.claim_schema(Lane::Live, hash));
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 1)]);
}

#[test]
fn a_full_receive_window_is_answered_with_the_oldest_gap() {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 3));
    sender.handle_recovered(Lane::Live, EPOCH, 3, range(3, 5));
    sender.handle_welcome(&welcome(1, vec![]), NOW);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 3)]);
    let batch = head(Lane::Live, 3);
    sender.handle_refuse(&Refuse { batch, reason: RefuseReason::WindowFull, retry_after_ms: Some(0) }, NOW);
    sender.handle_timeout(NOW);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 1)]);
}

#[test]
fn on_a_shared_connection_two_batches_go_before_the_rate_is_known() {
    let mut sender = sender(10_000);
    sender.set_queue_time(Some(Duration::from_millis(250)));
    for seq in 1..=500 {
        sender.handle_spooled(head(Lane::Bulk, seq), 1);
    }
    assert_eq!(drain(&mut sender, NOW).len(), 2);
}

#[test]
fn a_fresh_batch_does_not_wait_for_the_acks_of_a_backlog() {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 100));
    sender.set_queue_time(Some(Duration::from_millis(250)));
    sender.handle_welcome(&welcome(1000, vec![]), NOW);
    assert_eq!(drain(&mut sender, NOW).len(), 2);
    sender.handle_spooled(head(Lane::Live, 100), 1);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 100)]);
}

#[test]
fn below_the_floor_nothing_is_sent_and_it_is_found_again_above_it() {
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 2));
    sender.handle_recovered(Lane::Bulk, EPOCH, 1, range(1, 2));
    sender.handle_welcome(&welcome(100, vec![]), NOW);
    sender.handle_spooled(head(Lane::Live, 2), 1);
    sender.handle_spooled(head(Lane::Urgent, 1), 1);
    sender.set_floor(None);
    assert_eq!(drain(&mut sender, NOW), []);
    let floors = [Priority::Urgent, Priority::Live, Priority::Backlog, Priority::Bulk];
    let sent = floors.map(|floor| {
        sender.set_floor(Some(floor));
        drain(&mut sender, NOW)
    });
    assert_eq!(
        sent,
        [vec![(Lane::Urgent, 1)], vec![(Lane::Live, 2)], vec![(Lane::Live, 1)], vec![(Lane::Bulk, 1)]]
    );
}

#[test]
fn a_closed_epoch_waits_and_the_others_go_on() {
    let old = Epoch { start: 0, random: 5 };
    let mut sender = Sender::new(SenderConfig::DEFAULT);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 3));
    sender.handle_recovered(Lane::Live, old, 1, range(1, 2));
    sender.handle_welcome(&welcome(1, vec![]), NOW);
    let batch = NumberedHead { epoch: old, ..head(Lane::Live, 1) };
    assert_eq!(sender.poll_transmit(NOW), Some(batch));
    let refuse = Refuse { batch, reason: RefuseReason::EpochClosed, retry_after_ms: Some(5000) };
    assert_eq!(sender.handle_refuse(&refuse, NOW), None);
    assert_eq!(sender.poll_transmit(NOW), Some(head(Lane::Live, 1)));
    sender.handle_ack(&ack(Lane::Live, 1, 3), NOW);
    assert_eq!(sender.poll_transmit(NOW), None);
    let at = sender.poll_timeout().unwrap();
    assert_eq!(at, NOW + Duration::from_secs(5));
    sender.handle_timeout(at);
    assert_eq!(sender.poll_transmit(at), Some(batch));
}

/// Guards: a late copy of a refusal gave up a batch that was released, and its loss record declared it lost.
#[test]
fn a_refusal_of_what_is_acknowledged_gives_nothing_up() {
    let mut sender = sender(10);
    sender.handle_spooled(head(Lane::Live, 1), 1);
    sender.handle_spooled(head(Lane::Live, 2), 1);
    drain(&mut sender, NOW);
    sender.handle_ack(&ack(Lane::Live, 1, 2), NOW);
    let batch = head(Lane::Live, 1);
    let refuse = Refuse { batch, reason: RefuseReason::Malformed, retry_after_ms: None };
    assert_eq!(sender.handle_refuse(&refuse, NOW), None);
}

/// Guards: fresh batches went before the oldest gap for ever, were all refused, and nothing ever drained.
#[test]
fn while_the_oldest_gap_is_filled_nothing_fresh_goes_before_it() {
    let mut sender = sender(1);
    for seq in 1..=4 {
        sender.handle_spooled(head(Lane::Live, seq), 1);
    }
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 1)]);
    let batch = head(Lane::Live, 1);
    sender.handle_refuse(&Refuse { batch, reason: RefuseReason::WindowFull, retry_after_ms: Some(0) }, NOW);
    sender.handle_timeout(NOW);
    assert_eq!(drain(&mut sender, NOW), [(Lane::Live, 1)]);
}

/// Guards: a seq that was recorded as lost when the spool was opened, and whose segment was removed since, was waited
/// for without end.
#[test]
fn what_the_spool_no_longer_has_is_not_waited_for_and_what_is_damaged_is() {
    let mut sender = sender(10);
    sender.handle_recovered(Lane::Live, EPOCH, 1, range(1, 3));
    drain(&mut sender, NOW);
    sender.handle_missing(head(Lane::Live, 1));
    sender.handle_damaged(head(Lane::Live, 2));
    assert!(!sender.is_drained());
    sender.handle_evicted(Lane::Live, EPOCH, range(2, 3));
    assert!(sender.is_drained());
}
