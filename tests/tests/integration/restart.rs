//! What a gateway serves after a restart is what it served before.

use muster_tests::{
    facts::lasting,
    gateway::{Gateway, Transport},
    logs,
    outside::publish_by_hand,
    patience::wait_until,
};
use serde_json::Value;

use crate::scene;

const ROBOTS: [&str; 4] = ["restart/quic", "restart/mqtt", "restart/plain", "restart/bad"];

#[test]
fn what_is_served_after_a_restart_and_after_a_kill_is_what_was_served_before() {
    let scene = scene();
    // A client of plain JSON may connect for each line, so that only silence says that it is gone.
    let mut gateway = scene.gateway_plan().set("SESSION__SILENCE", "5s").start();
    let log = logs::one(&scene, "ground_husky");
    scene.agent(ROBOTS[0]).to(&gateway, Transport::Quic).file(&log).once().deliver();
    let mixed = scene.file(
        "mixed.ndjson",
        "{\"ch\":\"a\",\"v\":[1,2.5,\"x\",true]}\nnot json\n{\"ch\":\"a\",\"v\":null}\n",
    );
    scene.agent(ROBOTS[1]).to(&gateway, Transport::Mqtt).file(&mixed).once().deliver();
    let payloads: [&[u8]; 2] = [br#"{"ch":"battery","v":{"soc":0.5}}"#, b"{"];
    for (robot, payload) in ROBOTS[2..].iter().zip(payloads) {
        publish_by_hand(gateway.mqtt_port(), &format!("muster/1/{robot}/json"), payload);
    }
    // Each session has a record of its start, its end, and at least one between.
    let ended = |robot: &&str| gateway.robot(robot).unwrap()["log"]["records"].as_u64() >= Some(3);
    wait_until("all sessions have ended", || {
        gateway.ask("/v1/fleet")["sessions"] == 0 && ROBOTS.iter().all(|robot| ended(&robot))
    });

    let before = Served::by(&gateway);
    gateway.kill();
    gateway.start_again();
    before.assert_equals(&Served::by(&gateway), "after a kill");
    gateway.stop();
    gateway.start_again();
    before.assert_equals(&Served::by(&gateway), "after a restart in order");
}

/// Everything that a gateway serves of its robots.
struct Served {
    fleet: Value,
    robots: Vec<Value>,
    samples: Vec<String>,
}

impl Served {
    fn by(gateway: &Gateway) -> Self {
        Self {
            fleet: lasting(gateway.ask("/v1/fleet")),
            robots: ROBOTS.iter().map(|robot| lasting(gateway.robot(robot).unwrap())).collect(),
            samples: ROBOTS.iter().map(|robot| gateway.sample_lines(robot)).collect(),
        }
    }

    fn assert_equals(&self, other: &Self, when: &str) {
        assert_eq!(self.fleet, other.fleet, "{when}: the fleet");
        for (one, other) in self.robots.iter().zip(&other.robots) {
            assert_eq!(one, other, "{when}: a robot");
        }
        for (n, (one, other)) in self.samples.iter().zip(&other.samples).enumerate() {
            assert!(one == other, "{when}: the samples of {}", ROBOTS[n]);
        }
        assert!(self.samples[0].lines().count() > 1000, "there was something to serve");
    }
}
