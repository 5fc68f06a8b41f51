//! Two sessions of one robot at once: a take-over by the same process, and two processes with one identity.

use muster_protocol::message::DrainedLane;

use super::*;

/// The epoch of a clone that was started elsewhere.
const OTHER: Epoch = Epoch { start: 3, random: 8 };

/// A Hello of a spool that wrote in `epoch`.
fn hello_of(instance: u8, epoch: Epoch) -> Message {
    let Message::Hello(mut hello) = hello(instance) else { unreachable!() };
    hello.held[0].epoch = epoch;
    Message::Hello(hello)
}

fn in_other(seq: u64) -> Message {
    batch_at(NumberedHead { epoch: OTHER, ..head(seq) })
}

/// Connects an agent that says this Hello, and returns it with what its Welcome says is there.
fn connect(world: &World, hello: &Message) -> (Agent, Vec<LaneRanges>) {
    let mut agent = world.connect(None);
    agent.say(hello);
    let heard = agent.heard();
    let [Message::Welcome(welcome)] = &heard[..] else { panic!("{heard:?}") };
    let have = welcome.have.clone();
    agent.say(&schema_message());
    (agent, have)
}

fn range(first: u64, end: u64) -> Vec<SeqRange> {
    vec![SeqRange { first: Seq(first), end: Seq(end) }]
}

fn is_told(event: &SessionEvent) -> bool {
    matches!(event, SessionEvent::Told { .. })
}

#[test]
fn what_a_robot_says_that_it_holds_follows_its_start_in_the_log() {
    let world = World::new();
    let mut agent = world.agent(1);
    let Message::Hello(hello) = hello(1) else { unreachable!() };
    let events = world.log.take_events();
    let told = SessionEvent::told(&hello.held, &[], hello.clock);
    assert!(matches!(&events[..], [SessionEvent::Up { .. }, then] if *then == told), "{events:?}");
    // Something changed, but only just.
    let held = vec![HeldLane { next: Seq(10), ..hello.held[0].clone() }];
    agent.say(&Message::Heartbeat(Heartbeat { held, clock: hello.clock }));
    assert_eq!(world.log.take_events(), []);
}

#[test]
fn another_process_with_another_spool_is_a_conflict_and_is_recorded() {
    let world = World::new();
    let (mut old, _) = connect(&world, &hello_of(1, EPOCH));
    world.log.take_events();
    let (mut new, _) = connect(&world, &hello_of(2, OTHER));
    let events = world.log.take_events();
    let down = SessionEvent::Down { why: DownReason::Superseded };
    let conflict =
        SessionEvent::Conflict { instance: InstanceId([1; 16]), address: "127.0.0.1:1".to_owned() };
    assert!(matches!(events[0], SessionEvent::Up { .. }) && is_told(&events[1]), "{events:?}");
    assert_eq!(events[2..], [down, conflict]);
    assert_eq!((old.heard(), new.heard()), (vec![bye(ByeReason::Superseded, 180_000)], vec![]));
}

/// Guards: until its first heartbeat a new spool was taken for one that had written nothing.
#[test]
fn a_process_whose_batches_came_before_its_first_heartbeat_has_written_something() {
    for (sent, conflict) in [(false, false), (true, true)] {
        let world = World::new();
        let Message::Hello(mut fresh) = hello_of(1, EPOCH) else { unreachable!() };
        (fresh.held[0].first, fresh.held[0].next) = (Seq(1), Seq(1));
        let (mut old, _) = connect(&world, &Message::Hello(fresh));
        if sent {
            old.say(&batch(1));
        }
        let _new = connect(&world, &hello_of(2, OTHER));
        let events = world.log.take_events();
        let found = events.iter().any(|event| matches!(event, SessionEvent::Conflict { .. }));
        assert_eq!(found, conflict, "{events:?}");
    }
}

#[test]
fn a_process_that_was_started_anew_on_the_same_spool_is_no_conflict() {
    let drained = DrainedLane { epoch: EPOCH, lane: Lane::Live, next: Seq(9), spooled: 8 };
    let Message::Hello(mut anew) = hello_of(2, Epoch { start: 4, random: 1 }) else { unreachable!() };
    anew.drained.push(drained);
    let mut still_holds = anew.clone();
    let Message::Hello(before) = hello(2) else { unreachable!() };
    (still_holds.held, still_holds.drained) = ([anew.held.clone(), before.held].concat(), Vec::new());
    for hello in [anew, still_holds] {
        let world = World::new();
        let _old = connect(&world, &hello_of(1, EPOCH));
        world.log.take_events();
        let _new = connect(&world, &Message::Hello(hello));
        let events = world.log.take_events();
        assert!(!events.iter().any(|event| matches!(event, SessionEvent::Conflict { .. })), "{events:?}");
    }
}

#[test]
fn two_processes_that_take_turns_lose_and_mix_nothing() {
    let world = World::new();
    let (mut a, _) = connect(&world, &hello_of(1, EPOCH));
    a.say(&batch(1));
    let (mut b, have) = connect(&world, &hello_of(2, OTHER));
    assert_eq!(have, []);
    // The same seqs again, of another epoch: they are other batches. What the older one still says is not taken.
    b.say(&in_other(1));
    a.say(&batch(2));
    b.say(&in_other(2));
    let records = world.log.take_records();
    let numbers = records.iter().map(|entry| match entry.envelope.body {
        Body::Batch { head, .. } => (entry.envelope.session & 0xffff, head.epoch, head.seq.0),
        _ => panic!(),
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [(0, EPOCH, 1), (1, OTHER, 1), (1, OTHER, 2)]);
    for record in records {
        world.log.commit(record);
    }
    let (mut a, have) = connect(&world, &hello_of(1, EPOCH));
    assert_eq!(have, [LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges: range(1, 2) }]);
    a.say(&batch(2));
    assert_eq!(world.log.commit_all(), 1);
    let (_, have) = connect(&world, &hello_of(2, OTHER));
    assert_eq!(have, [LaneRanges { epoch: OTHER, lane: Lane::Live, ranges: range(1, 3) }]);
}

#[test]
fn copies_that_are_queued_through_both_sessions_are_committed_once() {
    let world = World::new();
    let mut old = world.ready_agent();
    let mut first = old.say(&batch(1));
    let mut new = world.ready_agent();
    let mut copy = new.say(&batch(1));
    let record = world.log.take_record();
    assert_eq!((poll(&mut first), poll(&mut copy)), (None, None));
    world.send_acks();
    assert_eq!(new.heard(), [], "nothing is acknowledged before the commit");
    world.log.commit(record);
    assert_eq!((poll(&mut first), poll(&mut copy)), (Some(Ok(())), Some(Ok(()))));
    world.send_acks();
    assert_eq!(new.heard(), [ack(1, 2)]);
    assert!(world.counts("muster_ingest_duplicates_total 1"));
}

#[test]
fn a_copy_of_what_failed_through_the_older_session_is_taken_from_the_newer_one() {
    let world = World::new();
    let mut old = world.ready_agent();
    old.say(&batch(1));
    let mut new = world.ready_agent();
    let mut copy = new.say(&batch(1));
    (world.log.take_record().done)(Err(CommitError::DiskFull));
    assert_eq!(poll(&mut copy), Some(Err(Unhandled::DiskFull)));
    new.say(&batch(1));
    assert_eq!(world.log.commit_all(), 1);
    world.send_acks();
    assert_eq!(new.heard(), [ack(1, 2)]);
}

#[test]
fn what_is_committed_is_acknowledged_while_the_copy_of_another_is_claimed() {
    let world = World::new();
    let mut old = world.ready_agent();
    old.say(&batch(1));
    old.say(&batch(2));
    let mut records = world.log.take_records();
    world.log.commit(records.remove(0));
    let mut new = world.ready_agent();
    let (mut committed, mut claimed) = (new.say(&batch(1)), new.say(&batch(2)));
    world.send_acks();
    assert_eq!((poll(&mut committed), poll(&mut claimed)), (Some(Ok(())), None));
    assert_eq!(new.heard(), [ack(1, 2)]);
    world.log.commit(records.remove(0));
    world.send_acks();
    assert_eq!((poll(&mut claimed), new.heard()), (Some(Ok(())), vec![ack(1, 3)]));
    assert_eq!(world.log.commit_all(), 0);
}
