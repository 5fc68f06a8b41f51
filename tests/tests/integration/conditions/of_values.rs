//! What values say: health channels and thresholds.

use muster_gateway::conditions::Code;
use muster_tests::{
    agent::AgentPlan,
    conditions::raises,
    feeder::Feeder,
    gateway::{Gateway, Transport},
    process::Process,
    scene::Scene,
};
use serde_json::json;

use super::{doctor, holds};
use crate::scene;

const ROBOT: &str = "cond/r1";

/// Starts a robot whose values stay fresh for longer than a test takes.
fn robot(scene: &Scene, gateway: &Gateway) -> (Process, Feeder) {
    let socket = scene.path("input.sock");
    let plan: AgentPlan = scene.agent(ROBOT).to(gateway, Transport::Mqtt);
    let plan = plan.set("CHANNEL", "[{ match = \"*\", interval = \"1h\" }]");
    let agent = plan.input(format!("unix:{}", socket.display())).start();
    (agent, Feeder::new(&socket))
}

#[test]
fn what_a_robot_says_of_its_own_health_is_told_until_it_is_well() {
    let scene = scene();
    let gateway = scene.gateway();
    let (_agent, mut feeder) = robot(&scene, &gateway);
    feeder.send(0, &[json!({"ch": "health", "v": "warn"})]);
    let warned = raises(&gateway, Code::HealthWarn, Some(ROBOT)).says(&["health says warn ("]);
    assert_eq!(doctor(&scene, &gateway, &[]).0, Some(0), "it only warns");
    feeder.send(1, &[json!({"ch": "health", "v": "error"})]);
    let broken = raises(&gateway, Code::HealthError, Some(ROBOT)).says(&["health says error ("]);
    warned.clears(&gateway);
    assert_eq!(doctor(&scene, &gateway, &[]).0, Some(1));
    feeder.send(2, &[json!({"ch": "health", "v": "ok"})]);
    broken.clears(&gateway);
    assert!(!holds(&gateway, Code::HealthWarn, Some(ROBOT)));
}

#[test]
fn a_value_out_of_bounds_is_told_with_its_bound_and_its_age_until_it_is_back() {
    let scene = scene();
    let rules = "[{ name = \"low battery\", channel = \"battery.soc\", below = 0.2 }, \
                  { name = \"motor\", channel = \"motor.celsius\", above = 60.0, level = \"error\" }]";
    let gateway = scene.gateway_plan().set("THRESHOLD", rules).start();
    let (_agent, mut feeder) = robot(&scene, &gateway);
    let mut send = |row: i64, soc: f64, celsius: i64| {
        let motor = json!({"ch": "motor", "v": {"celsius": celsius}});
        feeder.send(2 * row, &[json!({"ch": "battery", "v": {"soc": soc}}), motor]);
    };
    send(0, 0.12, 40);
    let low = raises(&gateway, Code::ThresholdWarn, Some(ROBOT));
    let low = low.says(&["low battery: battery.soc is 0.12, below 0.2 (", " old)"]);
    send(1, 0.12, 87);
    let hot = raises(&gateway, Code::ThresholdError, Some(ROBOT));
    let hot = hot.says(&["motor: motor.celsius is 87, above 60 ("]);
    low.goes_on(&gateway);
    assert!(!holds(&gateway, Code::HealthError, Some(ROBOT)), "the robot itself says nothing");
    send(2, 0.2, 60);
    low.clears(&gateway);
    hot.clears(&gateway);
}
