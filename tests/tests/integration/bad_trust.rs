//! A gateway that cannot be trusted is not talked to, and a reason is given; the agent keeps everything meanwhile.

use muster_tests::{
    agent::AgentPlan, feeder::Feeder, gateway::Transport, patience::wait_until, scene::Scene,
};
use serde_json::json;

use crate::scene;

#[test]
fn an_agent_with_the_ca_of_another_gateway_says_so_and_keeps_what_it_takes() {
    let scene = scene();
    let gateway = scene.gateway();
    let other = scene.gateway_plan().on(scene.path("other")).start();
    let plan = scene.agent("trust/wrong").arg("--gateway").arg(gateway.url(Transport::Quic));
    let wrong = plan.clone().arg("--ca").arg(other.ca().to_str().unwrap());
    keeps(&scene, &wrong, &["certificate", "ca.pem"]);
    assert!(gateway.robot("trust/wrong").is_none());
    plan.to(&gateway, Transport::Quic).once().deliver();
    assert_eq!(gateway.robot("trust/wrong").unwrap()["samples"], 1, "delivered once it trusts the right one");
}

#[test]
fn an_agent_whose_ca_file_is_missing_names_it_and_keeps_what_it_takes() {
    let scene = scene();
    let gateway = scene.gateway();
    let plan = scene.agent("trust/missing").arg("--gateway").arg(gateway.url(Transport::Quic));
    let missing = scene.path("no-such.pem");
    let missing = missing.to_str().unwrap();
    keeps(
        &scene,
        &plan.clone().arg("--ca").arg(missing),
        &[missing, "copy ca.pem from the gateway's data folder"],
    );
    keeps(&scene, &plan, &["needs --ca FILE, the ca.pem of the gateway's data folder"]);
    plan.to(&gateway, Transport::Quic).once().deliver();
    assert_eq!(gateway.robot("trust/missing").unwrap()["samples"], 2);
}

/// Starts an agent that finds no gateway to trust: it accepts a row, and says what is wrong.
fn keeps(scene: &Scene, plan: &AgentPlan, words: &[&str]) {
    let socket = scene.path("input.sock");
    let mut agent = plan.clone().input(format!("unix:{}", socket.display())).start();
    let mut feeder = Feeder::new(&socket);
    feeder.send(0, &[json!({"ch": "a", "v": 1})]);
    assert_eq!(feeder.accepted().len(), 1);
    let named = |line: &str| line.contains("no link: ") && words.iter().all(|word| line.contains(word));
    wait_until(&format!("a line about the link has {words:?}"), || agent.said().lines().any(named));
    assert_eq!(agent.terminate().code(), Some(0), "what is kept is not lost");
}
