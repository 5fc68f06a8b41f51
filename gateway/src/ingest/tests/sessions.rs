//! Sessions: who speaks for a robot, and how a session ends.

use super::*;
use crate::link::port::Closed;

/// Lets the monotonic clock move on, so that a silence of zero is exceeded.
fn let_time_pass(world: &World) {
    let clock = world.ingest.0.clock;
    let before = clock.mono();
    while clock.mono() == before {
        std::hint::spin_loop();
    }
}

fn down(why: DownReason) -> SessionEvent {
    SessionEvent::Down { why }
}

#[test]
fn a_newer_process_takes_over_and_the_older_one_stays_away() {
    let world = World::new();
    let mut old = world.agent(1);
    let mut new = world.agent(2);
    let [Message::Bye(bye)] = &old.heard()[..] else { panic!() };
    assert_eq!(bye.reason, ByeReason::Superseded);
    assert!(bye.retry_after_ms >= 60_000);
    assert_eq!(new.heard(), []);
    assert_eq!(world.ingest.count(), 1);
}

#[test]
fn the_same_process_may_reconnect_at_once() {
    let world = World::new();
    let mut old = world.agent(1);
    let mut new = world.agent(1);
    assert_eq!((old.heard(), new.heard()), (vec![bye(ByeReason::Superseded, 0)], vec![]));
}

#[test]
fn frames_of_a_superseded_session_are_not_taken() {
    let world = World::new();
    let mut old = world.ready_agent();
    let mut new = world.agent(2);
    // A ticket that failed would end an MQTT link before its Bye.
    assert_eq!(poll(&mut old.say(&batch(1))), Some(Ok(())));
    assert_eq!(world.log.commit_all(), 0);
    world.send_acks();
    assert_eq!(new.heard(), []);
    world.log.take_events();
    old.session.closed(Closed::BySession);
    assert_eq!((world.log.take_events(), world.ingest.count()), (vec![], 1));
}

#[test]
fn a_commit_from_the_old_session_is_acknowledged_to_the_new_one() {
    let world = World::new();
    let mut old = world.ready_agent();
    old.say(&batch(1));
    let mut new = world.agent(1);
    world.log.commit_all();
    world.send_acks();
    assert_eq!(new.heard(), [ack(1, 2)]);
}

#[test]
fn a_hello_for_another_robot_than_the_connection_proved_is_refused() {
    let world = World::new();
    let mut agent = world.connect(Some("yard/r2".parse().unwrap()));
    assert_eq!(poll(&mut agent.say(&hello(1))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::IdentityMismatch, 60_000)]);
    assert_eq!((world.ingest.count(), world.log.take_events()), (0, vec![]));

    let mut agent = world.connect(Some(robot()));
    let _ = agent.welcome(1);
}

#[test]
fn a_session_begins_with_one_hello() {
    let world = World::new();
    let mut agent = world.connect(None);
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::ProtocolError, 60_000)]);

    let mut agent = world.agent(1);
    agent.say(&hello(1));
    assert_eq!(agent.heard(), [bye(ByeReason::ProtocolError, 60_000)]);
}

#[test]
fn what_only_a_gateway_says_ends_the_session() {
    let world = World::new();
    let mut agent = world.agent(1);
    assert_eq!(poll(&mut agent.say(&ack(1, 2))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::ProtocolError, 60_000)]);
    agent.session.closed(Closed::BySession);
    assert_eq!(world.ingest.count(), 0);
}

#[test]
fn a_silent_session_ends_and_may_come_back_at_once() {
    let world = World::with_silence(Duration::ZERO);
    let mut agent = world.ready_agent();
    world.log.take_events();
    let_time_pass(&world);
    world.ingest.end_silent_sessions();
    assert_eq!(world.log.take_events(), [down(DownReason::Silent)]);
    assert_eq!((world.ingest.count(), world.ingest.live(&robot())), (0, None));
    assert_eq!(poll(&mut agent.say(&batch(1))), Some(Ok(())));
    assert_eq!(agent.heard(), [bye(ByeReason::Superseded, 0)]);
    assert_eq!(world.log.commit_all(), 0);
    agent.session.closed(Closed::BySession);
    assert_eq!(world.log.take_events(), []);
}

#[test]
fn a_session_that_is_heard_does_not_end() {
    let world = World::new();
    let _agent = world.agent(1);
    world.log.take_events();
    world.ingest.end_silent_sessions();
    assert_eq!((world.log.take_events(), world.ingest.count()), (vec![], 1));
}

#[test]
fn each_end_is_in_the_log_once_with_its_reason() {
    for (closed, why) in [
        (Closed::ByPeer, DownReason::Closed),
        (Closed::Lost, DownReason::Lost),
        (Closed::Silent, DownReason::Silent),
        (Closed::BrokeProtocol, DownReason::ProtocolError),
        (Closed::SlowReader, DownReason::Lost),
        (Closed::Superseded, DownReason::Superseded),
        (Closed::Shutdown, DownReason::GatewayShutdown),
    ] {
        let world = World::new();
        let agent = world.agent(1);
        world.log.take_events();
        agent.session.closed(closed);
        world.ingest.end_all_sessions();
        assert_eq!(world.log.take_events(), [down(why)]);
    }
}

#[test]
fn an_agents_bye_ends_its_session_in_order() {
    let world = World::new();
    let mut agent = world.agent(1);
    world.log.take_events();
    assert_eq!(poll(&mut agent.say(&bye(ByeReason::Shutdown, 0))), Some(Ok(())));
    agent.session.closed(Closed::Lost);
    assert_eq!(world.log.take_events(), [down(DownReason::Closed)]);
}

/// A heartbeat after which the agent holds so many seqs of the live lane.
fn heartbeat(next: u64) -> (Message, SessionEvent) {
    let Message::Hello(hello) = hello(1) else { unreachable!() };
    let held = vec![HeldLane { next: Seq(next), ..hello.held[0].clone() }];
    let told = SessionEvent::told(&held, &[], hello.clock);
    (Message::Heartbeat(Heartbeat { held, clock: hello.clock }), told)
}

/// Guards: a robot that went down within a minute of its Hello was shown as it had been then, whole and without a backlog.
#[test]
fn what_an_agent_said_last_is_recorded_before_its_session_ends() {
    let ends: [fn(&World, Agent); 3] = [
        |_, agent| agent.session.closed(Closed::Lost),
        |_, mut agent| drop(agent.say(&bye(ByeReason::Shutdown, 0))),
        |world, _| world.ingest.end_all_sessions(),
    ];
    for end in ends {
        let world = World::new();
        let mut agent = world.ready_agent();
        let (beat, told) = heartbeat(10);
        agent.say(&beat);
        // It was held when the heartbeat was said, so that heartbeat still says all.
        agent.say(&batch(9));
        world.log.take_events();
        end(&world, agent);
        let events = world.log.take_events();
        assert!(matches!(&events[..], [last, SessionEvent::Down { .. }] if *last == told), "{events:?}");
    }
}

#[test]
fn what_was_spooled_after_the_last_heartbeat_makes_it_outdated() {
    let world = World::new();
    let mut agent = world.ready_agent();
    agent.say(&heartbeat(10).0);
    agent.say(&batch(10));
    world.log.take_events();
    agent.session.closed(Closed::Lost);
    assert_eq!(world.log.take_events(), [down(DownReason::Lost)]);
}

#[test]
fn the_gauge_follows_sessions_however_they_end() {
    let world = World::with_silence(Duration::ZERO);
    let open = |count| world.counts(&format!("muster_sessions{{transport=\"quic\"}} {count}"));
    let old = world.agent(1);
    assert!(open(1));
    let newer = world.agent(2);
    assert!(open(1), "the superseded one is closed");
    old.session.closed(Closed::BySession);
    assert!(open(1), "and not counted twice");
    newer.session.closed(Closed::Lost);
    assert!(open(0));
    let mut third = world.agent(3);
    third.say(&bye(ByeReason::Shutdown, 0));
    assert!(open(0));
    let _silent = world.agent(4);
    let_time_pass(&world);
    world.ingest.end_silent_sessions();
    assert!(open(0));
    let _last = world.agent(5);
    world.ingest.end_all_sessions();
    assert!(open(0));
    assert!(world.counts("muster_sessions_opened_total{transport=\"quic\"} 5"));
}

/// Guards: a robot that said Hello while the gateway's disk was full stayed what it was before, as far as the log knew.
#[test]
fn what_became_of_a_session_is_recorded_once_the_log_takes_it() {
    let world = World::new();
    world.log.refuse(Some(RejectReason::DiskFull));
    let agent = world.agent(1);
    world.ingest.end_silent_sessions();
    assert_eq!(world.log.take_events(), []);
    world.log.refuse(None);
    world.ingest.end_silent_sessions();
    // The commit itself may fail, too.
    let waiting: Vec<Entry> = std::mem::take(&mut *world.log.queue.lock().unwrap()).into();
    assert_eq!(waiting.len(), 2);
    for entry in waiting {
        (entry.done)(Err(CommitError::Failed));
    }
    agent.session.closed(Closed::Lost);
    let events = world.log.take_events();
    let [SessionEvent::Up { .. }, SessionEvent::Told { .. }, SessionEvent::Down { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    world.ingest.end_silent_sessions();
    assert_eq!(world.log.take_events(), []);
}

#[test]
fn a_log_that_takes_nothing_for_long_keeps_the_last_of_what_became_of_a_robot() {
    let world = World::new();
    world.log.refuse(Some(RejectReason::DiskFull));
    for _ in 0..20 {
        let agent = world.agent(1);
        agent.session.closed(Closed::Lost);
    }
    world.log.refuse(None);
    world.ingest.end_silent_sessions();
    let events = world.log.take_events();
    assert_eq!((events.len(), events.last()), (8, Some(&down(DownReason::Lost))));
}
