//! Windows through a checkpoint, and robots that come back from the log.

use super::*;

/// A batch of a robot as the log keeps it.
fn stored(robot: RobotId) -> Envelope {
    let Message::Batch(Numbered { head, payload }) = batch(1) else { unreachable!() };
    let info = muster_protocol::batch::peek(&payload).unwrap();
    Envelope { received_at: WallTime(1), robot, session: 1, body: Body::Batch { head, info, payload } }
}

/// A Hello of a robot that had spooled seqs 1 to 8, and released those below `first`.
fn hello_after(first: u64) -> Message {
    let Message::Hello(mut hello) = hello(1) else { unreachable!() };
    hello.held[0] = HeldLane { first: Seq(first), samples: 9 - first, ..hello.held[0].clone() };
    Message::Hello(hello)
}

#[test]
fn what_a_restored_gateway_lacks_becomes_a_record_of_the_log() {
    let before = World::new();
    let mut agent = before.ready_agent();
    agent.say(&batch(1));
    before.log.commit_all();
    let backup = before.ingest.windows();

    let after = World::over(Arc::clone(&before.log), Duration::from_secs(3600));
    after.ingest.restore(&backup).unwrap();
    let mut agent = after.connect(None);
    agent.say(&hello_after(4));
    let record = after.log.take_record();
    let ranges = vec![SeqRange { first: Seq(2), end: Seq(4) }];
    let reason = AbsenceReason::Restored;
    let absence = Absence { epoch: EPOCH, lane: Lane::Live, ranges, samples: 2, reason };
    assert_eq!(record.envelope.body, Body::Absence(absence));

    // A late copy of one of them waits for the record, and is acknowledged with it.
    agent.say(&schema_message());
    agent.heard();
    let mut copy = agent.say(&batch(3));
    assert_eq!(poll(&mut copy), None);
    after.log.commit(record);
    after.send_acks();
    assert_eq!((poll(&mut copy), agent.heard()), (Some(Ok(())), vec![ack(1, 4)]));
}

#[test]
fn an_absence_that_finds_no_room_is_recorded_with_the_next_heartbeat() {
    let world = World::new();
    let mut agent = world.connect(None);
    world.log.refuse(Some(RejectReason::QueueFull));
    agent.say(&hello_after(3));
    world.log.refuse(None);
    assert_eq!(world.log.take_records().len(), 0);
    let Message::Hello(hello) = hello_after(3) else { unreachable!() };
    agent.say(&Message::Heartbeat(Heartbeat { held: hello.held, clock: clock_reading() }));
    let Body::Absence(absence) = world.log.take_record().envelope.body else { panic!() };
    assert_eq!((absence.samples, absence.reason), (2, AbsenceReason::BeforeThisGateway));
}

#[test]
fn a_checkpoint_keeps_what_is_committed_and_forgets_claims() {
    let before = World::new();
    let mut agent = before.ready_agent();
    agent.say(&batch(1));
    before.log.commit_all();
    agent.say(&batch(2));
    let windows = before.ingest.windows();
    before.log.take_records();

    let after = World::over(Arc::clone(&before.log), Duration::from_secs(3600));
    after.ingest.restore(&windows).unwrap();
    let mut agent = after.connect(None);
    let have =
        LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges: vec![SeqRange { first: Seq(1), end: Seq(2) }] };
    assert_eq!(agent.welcome(1).have, [have]);
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
    after.send_acks();
    assert_eq!((agent.heard(), after.log.commit_all()), (vec![ack(1, 2)], 0));
    let mut second = agent.say(&batch(2));
    assert_eq!((poll(&mut second), after.log.commit_all()), (None, 1));
    assert_eq!(poll(&mut second), Some(Ok(())));
}

#[test]
fn what_is_replayed_from_the_log_is_not_stored_twice() {
    let world = World::new();
    world.ingest.replay(&stored(robot()));
    let mut agent = world.ready_agent();
    agent.say(&batch(1));
    world.send_acks();
    assert_eq!((agent.heard(), world.log.commit_all()), (vec![ack(1, 2)], 0));
}

#[test]
fn windows_that_do_not_decode_are_an_error() {
    assert!(World::new().ingest.restore(b"\xff").is_err());
}

#[test]
fn one_robot_too_many_is_refused_and_those_of_the_log_are_not() {
    let world = World::new();
    for number in 0..=ROBOTS_MAX {
        world.ingest.replay(&stored(format!("yard/n{number}").parse().unwrap()));
    }
    let mut agent = world.connect(None);
    assert_eq!(poll(&mut agent.say(&hello(1))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::TooManySessions, 60_000)]);
    let line = Bytes::from_static(br#"{"ch": "battery.soc", "v": 0.5}"#);
    assert_eq!(poll(&mut world.ingest.json(&robot(), line.clone())), Some(Err(Unhandled::FullOfRobots)));
    assert_eq!(world.log.queue.lock().unwrap().len(), 0);
    assert_eq!(poll(&mut world.ingest.json_once(&robot(), line.clone())), Some(Ok(())));
    assert!(world.counts("muster_json_given_up_samples_total{reason=\"full_of_robots\"} 1"));
    assert_eq!(world.ingest.turned_away_ever(), 3);

    let held = format!("yard/n{ROBOTS_MAX}").parse().unwrap();
    let mut ticket = world.ingest.json(&held, line);
    assert_eq!(world.log.commit_all(), 1);
    assert_eq!(poll(&mut ticket), Some(Ok(())));
}
