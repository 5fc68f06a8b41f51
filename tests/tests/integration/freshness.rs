//! A robot whose agent is killed turns late, then stale, and its link goes down, by the rule of the contract.

use muster_tests::{
    feeder::Feeder,
    gateway::{Gateway, Transport},
    patience::{wait_for, wait_until},
};
use serde_json::{Value, json};

use crate::scene;

const ROBOT: &str = "freshness/r1";

#[test]
fn over_mqtt_a_robot_whose_agent_is_killed_turns_late_then_stale_and_its_link_goes_down() {
    fades(Transport::Mqtt);
}

#[test]
fn over_quic_a_robot_whose_agent_is_killed_turns_late_then_stale_and_its_link_goes_down() {
    fades(Transport::Quic);
}

fn fades(transport: Transport) {
    let scene = scene();
    // QUIC does not tell that the other end is gone: silence does.
    let gateway = scene.gateway_plan().set("SESSION__SILENCE", "5s").start();
    let declared = "[[channel]]\nmatch = \"imu\"\ninterval = \"100ms\"\n\n[[channel]]\nmatch = \"mode\"\non_change = true\n";
    let config = scene.file("agent.toml", declared);
    let socket = scene.path("input.sock");
    let plan = scene.agent(ROBOT).to(&gateway, transport).input(format!("unix:{}", socket.display()));
    let plan = plan.arg("--config").arg(config.to_str().unwrap()).set("LINK__HEARTBEAT_EVERY", "1s");
    let mut agent = plan.start();
    let mut feeder = Feeder::new(&socket);
    feeder.send(0, &[json!({"ch": "mode", "v": "docking"})]);
    wait_until("the robot is up and fresh", || {
        feeder.send(0, &[json!({"ch": "imu", "v": 0.5})]);
        let all_fresh = ["imu", "mode"].iter().all(|channel| freshness(&gateway, channel) == "fresh");
        all_fresh && link(&gateway) == "up"
    });
    let fleet = gateway.ask("/v1/fleet");
    assert_eq!((&fleet["link"]["up"], &fleet["freshness"]["fresh"]), (&1.into(), &2.into()), "{fleet}");

    agent.kill();
    let mut seen = vec!["fresh".to_owned()];
    wait_until("the robot turns stale", || {
        let now = freshness(&gateway, "imu");
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        seen.last().is_some_and(|last| last == "stale")
    });
    assert_eq!(seen, ["fresh", "late", "stale"]);
    let robot = wait_for("the link goes down", || {
        let robot = gateway.robot(ROBOT)?;
        (robot["link"]["state"] == "down").then_some(robot)
    });
    assert_eq!(
        robot["channels"]["mode"]["freshness"], "stale",
        "what holds on change holds while the link does"
    );
    assert!(robot["link"]["evidence"].as_str().is_some_and(|why| !why.is_empty()), "{robot}");
    assert_eq!(gateway.ask("/v1/fleet")["link"]["down"], 1);
}

fn freshness(gateway: &Gateway, channel: &str) -> String {
    let robot = gateway.robot(ROBOT).unwrap_or(Value::Null);
    robot["channels"][channel]["freshness"].as_str().unwrap_or_default().to_owned()
}

fn link(gateway: &Gateway) -> String {
    gateway.robot(ROBOT).unwrap_or(Value::Null)["link"]["state"].as_str().unwrap_or_default().to_owned()
}
