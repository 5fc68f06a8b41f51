//! Batches and losses: when they are acknowledged, and when they are not taken.

use muster_protocol::{
    loss::{LossReason, LostSeq},
    message::{NeedSchema, Refuse, RefuseReason},
};

use super::*;

fn loss(seq: u64, lost: &[u64]) -> Message {
    let lost = lost.iter().map(|seq| LostSeq { seq: Seq(*seq), samples: 10 }).collect();
    let reason = LossReason::SpoolFull;
    let loss = Loss { epoch: EPOCH, lane: Lane::Live, lost, unnumbered: 0, t_min: None, t_max: None, reason };
    Message::Loss(Numbered::from_loss(head(seq), &loss))
}

fn lost_seqs(entry: &Entry) -> Vec<u64> {
    match &entry.envelope.body {
        Body::Loss { loss, .. } => loss.lost.iter().map(|lost| lost.seq.0).collect(),
        other => panic!("{other:?}"),
    }
}

fn refuse(head: NumberedHead, reason: RefuseReason, retry_after_ms: Option<u32>) -> Message {
    Message::Refuse(Refuse { batch: head, reason, retry_after_ms })
}

#[test]
fn nothing_is_acknowledged_before_its_commit() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let mut ticket = agent.say(&batch(1));
    world.send_acks();
    assert_eq!((poll(&mut ticket), agent.heard()), (None, vec![]));
    let record = world.log.take_record();
    world.send_acks();
    assert_eq!((poll(&mut ticket), agent.heard()), (None, vec![]));
    world.log.commit(record);
    world.send_acks();
    assert_eq!((poll(&mut ticket), agent.heard()), (Some(Ok(())), vec![ack(1, 2)]));
}

#[test]
fn what_was_committed_since_is_acknowledged_in_one_frame() {
    let world = World::new();
    let mut agent = world.ready_agent();
    for seq in 1..=3 {
        agent.say(&batch(seq));
    }
    assert_eq!(world.log.commit_all(), 3);
    world.send_acks();
    assert_eq!(agent.heard(), [ack(1, 4)]);
    world.send_acks();
    assert_eq!(agent.heard(), []);
}

#[test]
fn a_gap_stays_open_in_the_ack_until_it_is_committed() {
    let world = World::new();
    let mut agent = world.ready_agent();
    agent.say(&batch(1));
    agent.say(&batch(2));
    let mut records = world.log.take_records();
    world.log.commit(records.remove(1));
    world.send_acks();
    assert_eq!(agent.heard(), [ack(2, 3)]);
    world.log.commit(records.remove(0));
    world.send_acks();
    assert_eq!(agent.heard(), [ack(1, 3)]);
}

#[test]
fn a_copy_of_a_claimed_batch_is_handled_together_with_it() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let mut first = agent.say(&batch(1));
    let mut copy = agent.say(&batch(1));
    let record = world.log.take_record();
    assert_eq!((poll(&mut first), poll(&mut copy)), (None, None));
    world.log.commit(record);
    assert_eq!((poll(&mut first), poll(&mut copy)), (Some(Ok(())), Some(Ok(()))));
    world.send_acks();
    assert_eq!(agent.heard(), [ack(1, 2)]);
    assert!(world.counts("muster_ingest_duplicates_total 1"));
}

#[test]
fn a_copy_of_a_committed_batch_is_acknowledged_again_without_a_commit() {
    let world = World::new();
    let mut agent = world.ready_agent();
    agent.say(&batch(1));
    world.log.commit_all();
    world.send_acks();
    assert_eq!(agent.heard(), [ack(1, 2)]);
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
    world.send_acks();
    assert_eq!((agent.heard(), world.log.commit_all()), (vec![ack(1, 2)], 0));
}

#[test]
fn a_batch_whose_commit_failed_is_not_acknowledged_and_taken_again() {
    for (error, unhandled) in
        [(CommitError::Failed, Unhandled::Stopping), (CommitError::DiskFull, Unhandled::DiskFull)]
    {
        let world = World::new();
        let mut agent = world.ready_agent();
        let mut first = agent.say(&batch(1));
        let mut copy = agent.say(&batch(1));
        (world.log.take_record().done)(Err(error));
        world.send_acks();
        assert_eq!((poll(&mut first), poll(&mut copy)), (Some(Err(unhandled)), Some(Err(unhandled))));
        assert_eq!(agent.heard(), []);
        let mut again = agent.say(&batch(1));
        assert_eq!(world.log.commit_all(), 1);
        world.send_acks();
        assert_eq!((poll(&mut again), agent.heard()), (Some(Ok(())), vec![ack(1, 2)]));
    }
}

#[test]
fn a_batch_is_committed_only_after_its_schema_has_come() {
    let world = World::new();
    let mut agent = world.agent(1);
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
    let need = NeedSchema { batch: head(1), hash: schema().hash() };
    assert_eq!((agent.heard(), world.log.commit_all()), (vec![Message::NeedSchema(need)], 0));
    agent.say(&schema_message());
    let mut ticket = agent.say(&batch(1));
    let record = world.log.take_record();
    assert_eq!(record.schema, Some((schema().hash(), schema().encoded().clone())));
    world.log.commit(record);
    world.send_acks();
    assert_eq!((poll(&mut ticket), agent.heard()), (Some(Ok(())), vec![ack(1, 2)]));
}

#[test]
fn a_payload_that_does_not_decode_is_refused_for_good() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let Message::Batch(Numbered { payload, .. }) = batch(1) else { unreachable!() };
    let cut = payload.slice(..payload.len() - 1);
    let kinds: [fn(Numbered) -> Message; 2] = [Message::Batch, Message::Loss];
    for (kind, payload) in [(kinds[0], cut), (kinds[0], Bytes::from_static(b"?")), (kinds[1], payload)] {
        let mut ticket = agent.say(&kind(Numbered { head: head(1), payload }));
        assert_eq!(poll(&mut ticket), Some(Ok(())));
        assert_eq!(agent.heard(), [refuse(head(1), RefuseReason::Malformed, None)]);
    }
    assert_eq!(world.log.commit_all(), 0);
    assert!(world.counts("muster_ingest_refusals_total{reason=\"malformed\",transport=\"quic\"} 3"));
}

#[test]
fn an_epoch_that_the_hello_did_not_list_is_refused() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let other = NumberedHead { epoch: Epoch { start: 4, random: 1 }, ..head(1) };
    assert_eq!(poll(&mut agent.say(&batch_at(other))), Some(Ok(())));
    let [Message::Refuse(refuse)] = agent.heard()[..] else { panic!() };
    assert_eq!((refuse.batch, refuse.reason), (other, RefuseReason::EpochClosed));
    assert_eq!(world.log.commit_all(), 0);
}

#[test]
fn a_full_log_asks_for_the_batch_again_later() {
    for (why, reason) in
        [(RejectReason::QueueFull, RefuseReason::Busy), (RejectReason::DiskFull, RefuseReason::DiskFull)]
    {
        let world = World::new();
        let mut agent = world.ready_agent();
        world.log.refuse(Some(why));
        assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
        let [Message::Refuse(refuse)] = agent.heard()[..] else { panic!() };
        assert_eq!((refuse.batch, refuse.reason), (head(1), reason));
        assert!(refuse.retry_after_ms.is_some_and(|wait| wait > 0));
        world.log.refuse(None);
        agent.say(&batch(1));
        assert_eq!(world.log.commit_all(), 1);
    }
}

#[test]
fn a_log_that_is_closed_promises_nothing() {
    let world = World::new();
    let mut agent = world.ready_agent();
    world.log.refuse(Some(RejectReason::Closed));
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Err(Unhandled::Stopping)));
    world.send_acks();
    assert_eq!(agent.heard(), []);
}

#[test]
fn a_loss_takes_only_what_the_log_lacks_and_late_copies_are_acknowledged() {
    let world = World::new();
    let mut agent = world.ready_agent();
    agent.say(&batch(1));
    world.log.commit_all();
    let mut ticket = agent.say(&loss(5, &[1, 2, 3]));
    let record = world.log.take_record();
    assert_eq!((lost_seqs(&record), poll(&mut ticket)), (vec![2, 3], None));
    world.log.commit(record);
    assert_eq!(poll(&mut ticket), Some(Ok(())));
    world.send_acks();
    agent.heard();
    agent.say(&batch(3));
    agent.say(&loss(5, &[1, 2, 3]));
    world.send_acks();
    let ranges = vec![SeqRange { first: Seq(1), end: Seq(4) }, SeqRange { first: Seq(5), end: Seq(6) }];
    let lanes = vec![LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }];
    assert_eq!((agent.heard(), world.log.commit_all()), (vec![Message::Ack(Ack { lanes })], 0));
}

/// Guards a ticket that waited for ever: it was kept under the batch's number, and looked for under the loss record's.
#[test]
fn a_late_copy_of_what_a_claimed_loss_names_is_handled_with_the_loss() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let mut ticket = agent.say(&loss(5, &[2, 3]));
    let mut copies = [agent.say(&batch(2)), agent.say(&batch(3)), agent.say(&loss(5, &[2, 3]))];
    let record = world.log.take_record();
    assert_eq!(copies.each_mut().map(poll), [None; 3]);
    world.log.commit(record);
    assert_eq!(copies.each_mut().map(poll), [Some(Ok(())); 3]);
    assert_eq!(poll(&mut ticket), Some(Ok(())));
}

#[test]
fn a_loss_whose_commit_failed_lets_its_batches_come() {
    let world = World::new();
    let mut agent = world.ready_agent();
    let mut ticket = agent.say(&loss(5, &[2]));
    (world.log.take_record().done)(Err(CommitError::DiskFull));
    assert_eq!(poll(&mut ticket), Some(Err(Unhandled::DiskFull)));
    agent.say(&batch(2));
    assert!(matches!(world.log.take_record().envelope.body, Body::Batch { .. }));
}
