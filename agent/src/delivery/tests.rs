use muster_protocol::{
    id::{Epoch, LogId, Seq},
    message::{Ack, LaneRanges, SeqRange, Welcome, Window},
    session::sender::SenderConfig,
};

use super::*;

const EPOCH: Epoch = Epoch { start: 1, random: 9 };
const CLOCK: Clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: false };

fn at(seconds: u64) -> MonoTime {
    MonoTime(seconds * 1_000_000_000)
}

fn delivery(urls: usize) -> Delivery {
    let who = Who {
        robot: "a/b".parse().unwrap(),
        instance: InstanceId([1; 16]),
        version: "1",
        labels: Labels::default(),
    };
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), 1);
    Delivery::new(who, Sender::new(SenderConfig::DEFAULT), backoff, urls, Duration::from_secs(15))
}

fn drain(delivery: &mut Delivery, now: MonoTime) -> Vec<Action> {
    std::iter::from_fn(|| delivery.poll_action(now)).collect()
}

fn head(seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
}

fn welcome() -> Frame {
    Message::Welcome(Welcome {
        instance: InstanceId([2; 16]),
        log: LogId([3; 16]),
        session: 1,
        window: Window { bytes: 1 << 20, batches: 100 },
        have: vec![],
        schemas: vec![],
        now: WallTime(0),
    })
    .to_frame()
}

fn connect(delivery: &mut Delivery, now: MonoTime) {
    delivery.handle_timeout(CLOCK, now);
    assert!(matches!(drain(delivery, now)[..], [Action::Connect(_)]));
    delivery.handle_connected(None, CLOCK, now);
    assert!(matches!(drain(delivery, now)[..], [Action::Send(Stream::Control, _)]));
    delivery.handle_frame(&welcome(), now).unwrap();
}

#[test]
fn nothing_is_loaded_before_the_welcome() {
    let mut delivery = delivery(1);
    delivery.sender().handle_spooled(head(1), 1);
    delivery.handle_timeout(CLOCK, at(0));
    assert_eq!(drain(&mut delivery, at(0)), [Action::Connect(0)]);
    delivery.handle_connected(None, CLOCK, at(0));
    assert_eq!(drain(&mut delivery, at(0)).len(), 1, "the Hello alone");
    delivery.handle_frame(&welcome(), at(0)).unwrap();
    assert_eq!(drain(&mut delivery, at(0)), [Action::Load(vec![head(1)])]);
}

#[test]
fn schema_and_batch_go_on_the_lane_and_the_ack_releases() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    delivery.sender().handle_spooled(head(1), 1);
    drain(&mut delivery, at(0));
    let schema = Some((SchemaHash([5; 16]), Bytes::from_static(b"schema")));
    delivery
        .handle_loaded(vec![(head(1), Some(Loaded { payload: Bytes::from_static(b"x"), schema }))], at(0));
    let kinds: Vec<_> = drain(&mut delivery, at(0))
        .into_iter()
        .map(|action| match action {
            Action::Send(Stream::Lane(Lane::Live), frame) => frame.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [muster_protocol::frame::Kind::Schema, muster_protocol::frame::Kind::Batch]);
    let ranges = vec![SeqRange { first: Seq(1), end: Seq(2) }];
    let ack = Ack { lanes: vec![LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }] };
    delivery.handle_frame(&Message::Ack(ack).to_frame(), at(1)).unwrap();
    assert!(matches!(drain(&mut delivery, at(1))[..], [Action::Release(_)]));
    assert!(delivery.is_drained());
}

/// Guards: batches of an epoch that began in memory were refused until the next heartbeat told of it.
#[test]
fn an_epoch_that_begins_in_a_session_is_told_at_once() {
    let lane = |start| HeldLane {
        epoch: Epoch { start, random: 9 },
        lane: Lane::Live,
        first: Seq(1),
        next: Seq(1),
        samples: 0,
        spooled: 0,
        gone: vec![],
    };
    let holding =
        |starts: &[u64]| Holding { held: starts.iter().copied().map(lane).collect(), drained: vec![] };
    let mut delivery = delivery(1);
    delivery.handle_held(holding(&[1]));
    connect(&mut delivery, at(0));
    delivery.handle_held(holding(&[1]));
    assert_eq!(delivery.poll_timeout(), Some(at(15)));
    delivery.handle_held(holding(&[1, 2]));
    assert!(delivery.poll_timeout() <= Some(at(1)));
    delivery.handle_timeout(CLOCK, at(1));
    let [Action::Send(Stream::Control, frame)] = &drain(&mut delivery, at(1))[..] else { panic!() };
    let Ok(Message::Heartbeat(heartbeat)) = Message::from_frame(frame) else { panic!() };
    assert_eq!(heartbeat.held.len(), 2);
    assert_eq!(delivery.poll_timeout(), Some(at(16)));
}

#[test]
fn an_agent_that_stops_says_what_it_leaves_behind() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    delivery.handle_stop(CLOCK);
    let said: Vec<_> = drain(&mut delivery, at(1))
        .iter()
        .map(|action| match action {
            Action::Send(Stream::Control, frame) => Message::from_frame(frame).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(&said[..], [Message::Heartbeat(_), Message::Bye(_)]), "{said:?}");
}

#[test]
fn several_gateways_are_tried_in_turn_and_the_first_again_after_a_session() {
    let mut delivery = delivery(2);
    let mut tried = Vec::new();
    let mut now = at(0);
    for _ in 0..4 {
        delivery.handle_timeout(CLOCK, now);
        if let [Action::Connect(url)] = drain(&mut delivery, now)[..] {
            tried.push(url);
        }
        delivery.handle_closed(now);
        now = delivery.poll_timeout().unwrap();
    }
    assert_eq!(tried, [0, 1, 0, 1]);
    connect(&mut delivery, now);
    assert_eq!(delivery.url, 0);
}

#[test]
fn a_silent_gateway_is_left_after_its_heartbeats_went_unanswered() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    assert_eq!(delivery.poll_timeout(), Some(at(15)));
    delivery.handle_timeout(CLOCK, at(15));
    assert!(matches!(drain(&mut delivery, at(15))[..], [Action::Send(Stream::Control, _)]));
    delivery.handle_timeout(CLOCK, at(30));
    delivery.handle_timeout(CLOCK, at(45));
    assert!(drain(&mut delivery, at(45)).contains(&Action::Disconnect));
    assert!(!delivery.figures().up);
}

#[test]
fn behind_a_broker_hello_is_said_again_every_few_seconds_until_a_gateway_answers() {
    for (urls, leaves_after) in [(1, 600), (2, 45)] {
        say_hello_until_left(delivery(urls), leaves_after);
    }
}

fn say_hello_until_left(mut delivery: Delivery, leaves_after: u64) {
    delivery.set_hello_every(Some(Duration::from_secs(4)));
    delivery.handle_timeout(CLOCK, at(0));
    drain(&mut delivery, at(0));
    delivery.handle_connected(None, CLOCK, at(0));
    let mut said = Vec::new();
    let mut now = at(0);
    while let [Action::Send(Stream::Control, hello)] = &drain(&mut delivery, now)[..] {
        assert_eq!(hello.kind, muster_protocol::frame::Kind::Hello);
        said.push(now);
        now = delivery.poll_timeout().unwrap();
        delivery.handle_timeout(CLOCK, now);
    }
    let waits: Vec<_> = said.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(waits.iter().all(|wait| (Duration::from_secs(2)..Duration::from_secs(6)).contains(wait)));
    assert!(
        waits.len() as u64 >= leaves_after / 6 - 1 && waits.iter().max() != waits.iter().min(),
        "{said:?}"
    );
    assert_eq!(now, at(leaves_after), "then the way itself is in doubt");
    let again = delivery.poll_timeout().unwrap();
    connect(&mut delivery, again);
    assert!(delivery.figures().up);
}

#[test]
fn a_farewell_keeps_the_agent_away_as_long_as_it_says() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    let bye = Bye { reason: ByeReason::Superseded, retry_after_ms: 180_000 };
    delivery.handle_frame(&Message::Bye(bye).to_frame(), at(1)).unwrap();
    assert_eq!(drain(&mut delivery, at(1)), [Action::Disconnect]);
    assert!(delivery.poll_timeout().unwrap() >= at(181));
}

#[test]
fn what_was_acknowledged_is_released_even_if_the_link_breaks_then() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    delivery.sender().handle_spooled(head(1), 1);
    let ranges = vec![SeqRange { first: Seq(1), end: Seq(2) }];
    let ack = Ack { lanes: vec![LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }] };
    delivery.handle_frame(&Message::Ack(ack).to_frame(), at(1)).unwrap();
    delivery.handle_closed(at(1));
    assert!(matches!(drain(&mut delivery, at(1))[..], [Action::Release(_)]));
}

#[test]
fn bytes_that_are_no_message_end_the_link() {
    let mut delivery = delivery(1);
    connect(&mut delivery, at(0));
    let frame = Frame { kind: muster_protocol::frame::Kind::Ack, body: Bytes::from_static(&[255; 3]) };
    assert!(delivery.handle_frame(&frame, at(1)).is_err());
    assert!(drain(&mut delivery, at(1)).contains(&Action::Disconnect));
}
