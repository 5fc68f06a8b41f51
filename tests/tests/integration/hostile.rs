//! Clients that keep to the formats and to nothing else: each hurts nobody but itself.

use std::{io::Write as _, net::TcpStream};

use muster_protocol::{
    id::{Epoch, InstanceId, Lane, Seq},
    label::Labels,
    limits::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX},
    loss::{Loss, LossReason, LostSeq},
    message::{Clock, DrainedLane, Heartbeat, HeldLane, Hello, Message, Numbered, NumberedHead, SeqRange},
    time::{MonoTime, WallTime},
};
use muster_tests::{
    facts::Words,
    outside::{Answered, ByHand, publish_by_hand},
    patience::wait_for,
};

use crate::scene;

const EPOCH: Epoch = Epoch { start: 1, random: 7 };

const CLOCK: Clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(1), synchronised: true };

/// What no spool can hold: everything at its greatest, and twice the same lane.
fn held() -> Vec<HeldLane> {
    let gone = vec![SeqRange { first: Seq(2), end: Seq(u64::MAX) }];
    let (first, next) = (Seq(1), Seq(u64::MAX));
    let lane =
        HeldLane { epoch: EPOCH, lane: Lane::Live, first, next, samples: u64::MAX, spooled: u64::MAX, gone };
    let none = HeldLane { first: next, samples: 0, gone: Vec::new(), ..lane.clone() };
    vec![lane.clone(), none.clone(), lane, HeldLane { lane: Lane::Urgent, ..none }]
}

fn hello(robot: &str) -> Message {
    let epoch = Epoch { start: u64::MAX, random: 0 };
    let drained = DrainedLane { epoch, lane: Lane::Bulk, next: Seq(u64::MAX), spooled: u64::MAX };
    Message::Hello(Hello {
        robot: robot.parse().unwrap(),
        instance: InstanceId([7; 16]),
        version: "hostile".to_owned(),
        held: held(),
        drained: vec![drained, drained],
        clock: CLOCK,
        labels: most_labels(),
    })
}

/// As many labels as there may be, as long as they may be.
fn most_labels() -> Labels {
    let key = |n| format!("{n:0LABEL_KEY_BYTES_MAX$}").parse().unwrap();
    let value = "x".repeat(LABEL_VALUE_BYTES_MAX);
    Labels::new((0..LABELS_MAX).map(|n| (key(n), value.parse().unwrap())).collect()).unwrap()
}

fn loss(seq: u64) -> Message {
    let lost = vec![LostSeq { seq: Seq(seq * 10), samples: u32::MAX }];
    let (unnumbered, reason) = (u64::MAX, LossReason::Corrupt);
    let times = (Some(WallTime(i64::MAX)), Some(WallTime(i64::MIN)));
    let loss =
        Loss { epoch: EPOCH, lane: Lane::Bulk, lost, unnumbered, t_min: times.0, t_max: times.1, reason };
    let head = NumberedHead { epoch: EPOCH, lane: Lane::Urgent, seq: Seq(seq) };
    Message::Loss(Numbered::from_loss(head, &loss))
}

/// Guards: sums of what an agent says overflowed, in the committer and at each start anew.
#[test]
fn numbers_at_their_ends_leave_the_gateway_counting() {
    let scene = scene();
    let mut gateway = scene.gateway();
    let topic = |lane: &str| format!("muster/1/hostile/numbers/up/{lane}");
    let mut agent = ByHand::connect(gateway.mqtt_port());
    let mut say = |lane: &str, message: &Message| agent.publish(&topic(lane), &message.to_frame().encode());
    assert_eq!(say("control", &hello("hostile/numbers")), Answered::Puback);
    for seq in 1..5 {
        assert_eq!(say("urgent", &loss(seq)), Answered::Puback, "{seq}");
        let beat = Message::Heartbeat(Heartbeat { held: held(), clock: CLOCK });
        assert_eq!(say("control", &beat), Answered::Puback, "{seq}");
    }
    let head = NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(u64::MAX) };
    let last = Message::Batch(Numbered { head, payload: b"none"[..].into() });
    // No range of seqs can hold this one. The frame is handled, by the Bye that ends the session a moment later.
    assert!((0..1000).any(|_| say("live", &last) == Answered::Closed));

    let good = |gateway: &muster_tests::gateway::Gateway| {
        let payload = br#"{"ch":"a","v":1}"#;
        publish_by_hand(gateway.mqtt_port(), "muster/1/hostile/neighbour/json", payload)
    };
    assert_eq!(good(&gateway), Answered::Puback);
    for path in ["/v1/fleet", "/v1/robots", "/v1/robots/hostile/numbers"] {
        gateway.ask(path);
    }
    gateway.stop();
    gateway.start_again();
    assert_eq!(good(&gateway), Answered::Puback);
    gateway.ask("/v1/robots/hostile/numbers");
    assert_eq!(gateway.samples("hostile/neighbour", &mut Words::default()).len(), 2);
    assert!(!gateway.said().contains("panicked"), "{}", gateway.said());
}

/// Guards: a row of more channels than a schema holds ended the connection, at each redelivery anew.
#[test]
fn a_row_that_no_schema_holds_is_counted_and_the_others_are_stored() {
    let scene = scene();
    let gateway = scene.gateway();
    let wide: Vec<String> = (0..5000).map(|n| format!("\"{n}\":true")).collect();
    let payload = format!(
        "{{\"ch\":\"a\",\"v\":1}}\n{{\"ch\":\"wide\",\"v\":{{{}}}}}\n{{\"ch\":\"b\",\"v\":2}}",
        wide.join(",")
    );
    let topic = "muster/1/hostile/wide/json";
    assert_eq!(publish_by_hand(gateway.mqtt_port(), topic, payload.as_bytes()), Answered::Puback);
    assert_eq!(gateway.samples("hostile/wide", &mut Words::default()).len(), 2);
    let refused = wait_for("the row is counted", || {
        gateway.robot("hostile/wide")?["loss"]["by_reason"]["malformed"].as_u64()
    });
    assert_eq!(refused, 1);
    assert!(!gateway.said().contains("panicked"), "{}", gateway.said());
}

/// Guards: connections that never said a whole request took every file descriptor, and the store found none.
#[test]
fn more_silent_connections_than_the_api_takes_keep_no_robot_out() {
    let scene = scene();
    let gateway = scene.gateway();
    let address = gateway.http().replace("http://", "");
    let silent = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        stream
    };
    let silent: Vec<TcpStream> = (0..600).map(silent).collect();
    let payload = br#"{"ch":"a","v":1}"#;
    let topic = "muster/1/hostile/neighbour/json";
    assert_eq!(publish_by_hand(gateway.mqtt_port(), topic, payload), Answered::Puback);
    drop(silent);
    assert_eq!(gateway.samples("hostile/neighbour", &mut Words::default()).len(), 1);
}
