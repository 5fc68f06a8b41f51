//! Sessions of agents: frames in, records and acks out.

use super::*;

/// A connected agent whose schema is known, with the session's first record committed.
fn ready(bench: &Bench) -> Agent {
    let mut agent = bench.connect(1);
    agent.welcome();
    assert_eq!(agent.send(&schema()), Some(Ok(())));
    bench.commit();
    assert_eq!(agent.received(), []);
    agent
}

#[test]
fn nothing_is_acknowledged_before_its_commit() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let mut ticket = pin!(agent.give(&batch(1)));
    bench.ingest.0.acks.send_all();
    assert_eq!(agent.received(), []);
    assert_eq!(now_or_never(ticket.as_mut()), None);
    let committed = bench.commit();
    assert!(matches!(committed[..], [Envelope { body: Body::Batch { .. }, .. }]));
    assert_eq!(now_or_never(ticket), Some(Ok(())));
    assert_eq!(agent.acked(), [(1, 2)]);
}

#[test]
fn a_copy_of_a_claimed_batch_is_handled_with_its_claim_and_stored_once() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let first = agent.give(&batch(1));
    let mut copy = pin!(agent.give(&batch(1)));
    assert_eq!(bench.log.waiting(), 1);
    assert_eq!(now_or_never(copy.as_mut()), None);
    bench.commit();
    assert_eq!((now_or_never(first), now_or_never(copy)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(agent.acked(), [(1, 2)]);
    assert_eq!(agent.send(&batch(1)), Some(Ok(())), "committed already");
    assert_eq!(bench.log.waiting(), 0);
    bench.commit();
    assert_eq!(agent.acked(), [(1, 2)], "said again");
    assert!(bench.metric("muster_ingest_duplicates_total 2"));
}

#[test]
fn a_failed_commit_acknowledges_nothing_and_the_batch_is_taken_again() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let (first, copy) = (agent.give(&batch(1)), agent.give(&batch(1)));
    bench.log.fail(CommitError::DiskFull);
    bench.commit();
    assert_eq!(now_or_never(first), Some(Err(Unhandled::DiskFull)));
    assert_eq!(now_or_never(copy), Some(Err(Unhandled::DiskFull)));
    assert_eq!(agent.received(), []);
    let again = agent.give(&batch(1));
    bench.commit();
    assert_eq!(now_or_never(again), Some(Ok(())));
    assert_eq!(agent.acked(), [(1, 2)]);
}

/// Guards: the ticket of a late copy of a lost batch never resolved, and its PUBACK never came.
#[test]
fn a_late_copy_of_a_batch_declared_lost_is_handled_with_the_loss_record() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let lost = vec![LostSeq { seq: Seq(1), samples: 1 }];
    let (lane, reason) = (Lane::Live, LossReason::SpoolFull);
    let loss = Loss { epoch: EPOCH, lane, lost, unnumbered: 0, t_min: None, t_max: None, reason };
    let record = agent.give(&Message::Loss(Numbered::from_loss(head(2), &loss)));
    let copy = agent.give(&batch(1));
    let committed = bench.commit();
    assert!(matches!(committed[..], [Envelope { body: Body::Loss { .. }, .. }]));
    assert_eq!((now_or_never(record), now_or_never(copy)), (Some(Ok(())), Some(Ok(()))));
    assert_eq!(agent.acked(), [(1, 3)]);
}

#[test]
fn a_loss_record_of_a_batch_that_is_being_committed_has_to_come_again() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let _first = agent.give(&batch(1));
    let lost = vec![LostSeq { seq: Seq(1), samples: 1 }];
    let (lane, reason) = (Lane::Live, LossReason::SpoolFull);
    let loss = Loss { epoch: EPOCH, lane, lost, unnumbered: 0, t_min: None, t_max: None, reason };
    let record = Message::Loss(Numbered::from_loss(head(2), &loss));
    assert_eq!(agent.send(&record), Some(Ok(())));
    assert!(refused(&mut agent, RefuseReason::Busy).is_some());
    bench.log.fail(CommitError::DiskFull);
    let again = agent.give(&record);
    bench.commit();
    assert_eq!(now_or_never(again), Some(Ok(())));
    assert_eq!(agent.acked(), [(1, 3)]);
}

#[test]
fn a_batch_of_an_unknown_schema_is_not_taken_until_the_schema_came() {
    let bench = Bench::new();
    let mut agent = bench.connect(1);
    agent.welcome();
    bench.commit();
    assert_eq!(agent.send(&batch(1)), Some(Ok(())));
    assert_eq!(bench.log.waiting(), 0);
    let hash = sample().0.hash();
    let need = Message::NeedSchema(muster_protocol::message::NeedSchema { batch: head(1), hash });
    assert_eq!(agent.received(), [need]);
    agent.send(&schema());
    agent.give(&batch(1));
    bench.commit();
    assert_eq!(agent.acked(), [(1, 2)]);
}

#[test]
fn a_malformed_payload_is_refused_for_good() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    for payload in [Bytes::from_static(b"junk"), Bytes::new(), sample().1.slice(..sample().1.len() - 3)] {
        assert_eq!(agent.send(&Message::Batch(Numbered { head: head(1), payload })), Some(Ok(())));
        assert_eq!(refused(&mut agent, RefuseReason::Malformed), Some(None));
    }
    assert_eq!(bench.log.waiting(), 0);
    assert!(bench.metric("muster_ingest_refusals_total{reason=\"malformed\"} 3"));
}

#[test]
fn a_full_queue_and_a_full_disk_are_said_and_the_batch_may_come_again() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    let cases =
        [(RejectReason::QueueFull, RefuseReason::Busy), (RejectReason::DiskFull, RefuseReason::DiskFull)];
    for (why, reason) in cases {
        bench.log.refuse(Some(why));
        assert_eq!(agent.send(&batch(1)), Some(Ok(())));
        assert!(refused(&mut agent, reason).flatten().is_some());
    }
    bench.log.refuse(None);
    agent.give(&batch(1));
    bench.commit();
    assert_eq!(agent.acked(), [(1, 2)]);
}

#[test]
fn another_process_of_a_robot_sends_the_older_one_away_for_minutes() {
    let bench = Bench::new();
    let mut old = ready(&bench);
    let mut new = bench.connect(2);
    let bye = old.received();
    assert!(
        matches!(&bye[..], [Message::Bye(bye)] if bye.reason == ByeReason::Superseded && bye.retry_after_ms >= 60_000)
    );
    assert_eq!(old.send(&batch(1)), Some(Err(Unhandled::Stopping)), "it speaks for the robot no more");
    assert_eq!(new.welcome().have, []);
    old.session.closed(Closed::BySession);
    assert_eq!(bench.ingest.count(), 1, "the end of the old one does not end the new one");
    assert!(bench.metric("muster_sessions{transport=\"quic\"} 1"));
    assert!(bench.metric("muster_sessions_opened_total{transport=\"quic\"} 2"));
}

#[test]
fn a_reconnect_of_the_same_process_may_come_at_once_and_learns_what_is_committed() {
    let bench = Bench::new();
    let mut old = ready(&bench);
    old.give(&batch(1));
    let mut waiting = pin!(old.give(&batch(2)));
    let first = bench.log.entries.lock().unwrap().remove(0);
    (first.done)(Ok(Committed::for_test(Offset(1))));
    let mut new = bench.connect(1);
    assert!(old.received().iter().any(|said| matches!(said, Message::Bye(bye) if bye.retry_after_ms == 0)));
    let have: Vec<_> = new.welcome().have.into_iter().flat_map(|lane| lane.ranges).collect();
    assert_eq!(have.iter().map(|range| (range.first.0, range.end.0)).collect::<Vec<_>>(), [(1, 2)]);
    bench.commit();
    assert_eq!(now_or_never(waiting.as_mut()), Some(Ok(())));
    assert_eq!(new.acked(), [(1, 3)], "what the old one sent is said to the new one");
}

#[test]
fn a_hello_for_another_robot_than_the_connection_proved_is_refused() {
    let bench = Bench::new();
    let mut agent = bench.open(Some("yard/other".parse().unwrap()));
    assert_eq!(agent.send(&hello(1)), Some(Err(Unhandled::Stopping)));
    assert!(
        matches!(&agent.received()[..], [Message::Bye(bye)] if bye.reason == ByeReason::IdentityMismatch)
    );
    assert_eq!(bench.ingest.count(), 0);
    assert!(bench.log.commit().is_empty());
}

#[test]
fn a_session_that_does_not_begin_with_hello_or_speaks_as_a_gateway_is_ended() {
    let bench = Bench::new();
    let mut agent = bench.open(None);
    assert_eq!(agent.send(&batch(1)), Some(Err(Unhandled::Stopping)));
    assert!(matches!(&agent.received()[..], [Message::Bye(bye)] if bye.reason == ByeReason::ProtocolError));
    let mut agent = ready(&bench);
    let frame = Frame { kind: muster_protocol::frame::Kind::Heartbeat, body: Bytes::from_static(b"\xff") };
    assert_eq!(now_or_never(agent.session.handle_frame(frame)), Some(Err(Unhandled::Stopping)));
    assert!(matches!(&agent.received()[..], [Message::Bye(bye)] if bye.reason == ByeReason::ProtocolError));
}

#[test]
fn a_silent_session_ends_and_the_log_says_so() {
    let bench = Bench::with_silence(Duration::ZERO);
    let _agent = bench.connect(1);
    bench.commit();
    bench.ingest.end_silent_sessions();
    assert_eq!(bench.ingest.count(), 0);
    let committed = bench.commit();
    let down = Body::Session(SessionEvent::Down { why: DownReason::Silent });
    assert_eq!(committed.into_iter().map(|envelope| envelope.body).collect::<Vec<_>>(), [down]);
    assert!(bench.metric("muster_sessions{transport=\"quic\"} 0"));
}

#[test]
fn a_session_that_is_heard_goes_on() {
    let bench = Bench::new();
    let agent = bench.connect(1);
    bench.ingest.end_silent_sessions();
    assert_eq!(bench.ingest.count(), 1);
    agent.session.closed(Closed::Lost);
    assert_eq!(bench.ingest.count(), 0);
    bench.ingest.end_all_sessions();
    let ends = bench.commit().into_iter().filter(|envelope| {
        matches!(envelope.body, Body::Session(SessionEvent::Down { why: DownReason::Lost }))
    });
    assert_eq!(ends.count(), 1);
}

#[test]
fn windows_come_back_as_they_were_saved_and_from_the_log() {
    let bench = Bench::new();
    let mut agent = ready(&bench);
    for seq in [1, 2, 5] {
        agent.give(&batch(seq));
    }
    let records = bench.commit();
    agent.give(&batch(3));
    let saved = bench.ingest.windows();
    let restored = Bench::new();
    restored.ingest.restore(&saved).unwrap();
    assert_eq!(restored.ingest.windows(), saved);
    let replayed = Bench::new();
    for Envelope { robot, body, .. } in &records {
        if let Body::Batch { head, .. } = body {
            replayed.ingest.replay(robot, *head, None);
        }
    }
    assert_eq!(replayed.ingest.windows(), saved);
    let have: Vec<_> = restored.connect(1).welcome().have.into_iter().flat_map(|lane| lane.ranges).collect();
    assert_eq!(have.iter().map(|range| (range.first.0, range.end.0)).collect::<Vec<_>>(), [(1, 3), (5, 6)]);
    assert!(restored.ingest.restore(b"\xff\xff\xff").is_err());
}

/// Returns the time until the batch may come again, if the gateway has just refused one for this reason.
fn refused(agent: &mut Agent, reason: RefuseReason) -> Option<Option<u32>> {
    match &agent.received()[..] {
        [Message::Refuse(refuse)] if refuse.reason == reason => Some(refuse.retry_after_ms),
        other => panic!("{other:?}"),
    }
}
