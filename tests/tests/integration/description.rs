//! The API as it is described, asked everything that the description allows and much that it does not.

use std::{io::BufRead as _, path::Path, process::Command};

use muster_tests::{
    gateway::{Gateway, Transport},
    logs,
    outside::{Answered, publish_by_hand},
    patience::wait_until,
    process::Process,
    python::Environment,
    scene::Scene,
};

use crate::scene;

/// What asks. A newer one may ask more: renew it together with what it finds.
const SCHEMATHESIS: &str = "4.32.5";

/// Lines of a log that a robot sends: enough for batches and many channels, and few enough to be read a thousand times.
const LINES: usize = 300;

/// Requests for each path and method in the last phase.
const EXAMPLES: &str = "60";

#[test]
fn a_real_gateway_answers_as_its_description_says() {
    let Some(python) =
        Environment::with("schemathesis", SCHEMATHESIS, Path::new(env!("CARGO_TARGET_TMPDIR")))
    else {
        return;
    };
    let scene = scene();
    let gateway = scene.gateway();
    let _agents = fleet(&scene, &gateway);
    let mut command = python.command("schemathesis");
    command.arg("run").arg(format!("{}/openapi.json", gateway.http()));
    command.args(["--url", &gateway.http(), "--max-examples", EXAMPLES, "--seed", "4"]);
    command.args(["--continue-on-failure", "--request-timeout", "20", "--no-color", "--warnings", "off"]);
    command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis"));
    command.env("SCHEMATHESIS_HOOKS", "muster_hooks").current_dir(scene.path(""));
    assert_passes(command);
    assert!(gateway.ask("/v1/fleet")["robots"].as_u64().unwrap() >= 4, "it is still there");
}

/// Brings four robots: one over QUIC and one over MQTT that stay, one that speaks plain JSON, and one that lost lines.
fn fleet(scene: &Scene, gateway: &Gateway) -> Vec<Process> {
    let recorded = ["ground_frc", "drone_px4"].map(|name| {
        let lines: Result<Vec<String>, _> = logs::open(&logs::one(scene, name)).lines().take(LINES).collect();
        scene.file(&format!("{name}.part"), lines.unwrap().join("\n"))
    });
    let robots = ["warehouse/r17", "warehouse/r18"].into_iter().zip(Transport::ALL).zip(&recorded);
    let agents: Vec<_> = robots
        .map(|((robot, transport), log)| scene.agent(robot).to(gateway, transport).file(log).start())
        .collect();
    for (robot, line) in [
        ("plain/json", r#"{"ch":"battery","v":{"soc":0.81,"cells":[3.7,3.8],"charging":false}}"#),
        ("plain/lossy", "{\"ch\":\"a\",\"v\":1}\nno JSON"),
    ] {
        let topic = format!("muster/1/{robot}/json");
        assert_eq!(publish_by_hand(gateway.mqtt_port(), &topic, line.as_bytes()), Answered::Puback);
    }
    wait_until("all robots are known with what they sent", || {
        let lost = gateway.robot("plain/lossy").is_some_and(|robot| robot["loss"]["samples"] != 0);
        let stored = |robot| gateway.robot(robot).is_some_and(|robot| robot["samples"].as_u64() > Some(100));
        lost && stored("warehouse/r17") && stored("warehouse/r18")
    });
    agents
}

/// Fails with what a command said unless it ends well.
fn assert_passes(mut command: Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
