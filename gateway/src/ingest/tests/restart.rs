//! Windows through a checkpoint, and robots that come back from the log.

use super::*;

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
    world.ingest.replay(&robot(), head(1), None);
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
        world.ingest.replay(&format!("yard/n{number}").parse().unwrap(), head(1), None);
    }
    let mut agent = world.connect(None);
    assert_eq!(poll(&mut agent.say(&hello(1))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::TooManySessions, 60_000)]);
    let line = Bytes::from_static(br#"{"ch": "battery.soc", "v": 0.5}"#);
    assert_eq!(poll(&mut world.ingest.json(&robot(), line.clone())), Some(Err(Unhandled::Busy)));
    assert_eq!(world.log.queue.lock().unwrap().len(), 0);

    let held = format!("yard/n{ROBOTS_MAX}").parse().unwrap();
    let mut ticket = world.ingest.json(&held, line);
    assert_eq!(world.log.commit_all(), 1);
    assert_eq!(poll(&mut ticket), Some(Ok(())));
}
