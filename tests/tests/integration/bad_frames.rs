//! Frames that are none: the gateway closes that connection, says why, and serves everybody else.

use muster_protocol::{
    frame::HEADER_BYTES,
    id::InstanceId,
    label::Labels,
    message::{Clock, Hello, Message},
    time::{MonoTime, WallTime},
};
use muster_tests::{
    gateway::Transport,
    outside::{Answered, publish_by_hand},
    patience::wait_until,
};

use crate::scene;

/// A whole first frame of an agent.
fn hello(robot: &str) -> Vec<u8> {
    let clock = Clock { boot: 1, mono: MonoTime::default(), wall: WallTime(1), synchronised: true };
    let robot = robot.parse().unwrap();
    let hello = Hello {
        robot,
        instance: InstanceId([7; 16]),
        version: "test".to_owned(),
        held: Vec::new(),
        drained: Vec::new(),
        clock,
        labels: Labels::default(),
    };
    Message::Hello(hello).to_frame().encode().to_vec()
}

#[test]
fn frames_that_are_damaged_cut_or_of_another_version_end_their_own_connection_only() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent("frames/good").to(&gateway, Transport::Mqtt);
    let good = plan.input(format!("unix:{}", socket.display())).start();
    good.wait_to_say("session up");

    let whole = hello("frames/bad");
    let topic = "muster/1/frames/bad/up/control";
    let with = |at: usize, change: fn(u8) -> u8| {
        let mut bytes = whole.clone();
        bytes[at] = change(bytes[at]);
        bytes
    };
    let bad = [
        (with(4, |_| 9), "frame version 9, but this program speaks version 1; update the older side"),
        (with(HEADER_BYTES + 3, |byte| byte ^ 0x10), "frame check sum"),
        (with(12, |byte| byte ^ 1), "frame check sum"),
        (with(0, |_| b'X'), "not a Muster frame"),
        (with(5, |_| 200), "unknown frame kind 200"),
        (whole[..whole.len() - 1].to_vec(), "the frame ends after"),
        (whole[..7].to_vec(), "the frame ends after"),
        ([&whole[..], b"x"].concat(), "1 bytes follow the frame"),
    ];
    for (bytes, why) in &bad {
        assert_eq!(publish_by_hand(gateway.mqtt_port(), topic, bytes), Answered::Closed, "{why}");
        wait_until(why, || gateway.said().contains(why));
    }
    assert!(gateway.said().contains(topic), "the topic is named");
    for at in 0..whole.len() {
        publish_by_hand(gateway.mqtt_port(), topic, &with(at, |byte| !byte));
    }
    assert!(gateway.robot("frames/bad").is_none(), "nothing of it is believed");
    assert!(!gateway.said().contains("panicked"), "{}", gateway.said());

    assert!(!good.said().contains("link down"), "the others are not disturbed: {}", good.said());
    let mut feeder = muster_tests::feeder::Feeder::new(&socket);
    feeder.send(0, &[serde_json::json!({"ch": "a", "v": 1})]);
    wait_until("a good sample is stored", || {
        gateway.robot("frames/good").is_some_and(|robot| robot["samples"] == 1)
    });
}
