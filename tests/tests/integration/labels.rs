//! What a robot is called by: the agent's configuration and operators, over the real programs.

use muster_tests::{
    gateway::{Gateway, Transport},
    patience::wait_until,
    process::Which,
    scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

const ROBOT: &str = "yard/r1";

/// Runs `muster label` and returns what it printed as JSON.
fn label(scene: &Scene, gateway: &Gateway, changes: &[&str]) -> Value {
    let url = gateway.http();
    let args = ["--url", &url, "label", ROBOT, "-o", "json"];
    let output = scene.run(Which::Muster, &[&args, changes].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "muster label {changes:?} said {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn served(gateway: &Gateway) -> (Value, Value) {
    let robot = gateway.robot(ROBOT).unwrap();
    (robot["labels"].clone(), robot["label_sources"].clone())
}

#[test]
fn labels_of_the_agent_and_of_operators_outlive_a_kill_and_each_shows_when_it_should() {
    let scene = scene();
    let mut gateway = scene.gateway();
    let log = scene.file("log.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    let config = scene.file("agent.toml", "[labels]\nsite = \"berlin\"\n\"rack/row\" = \"3, left\"\n");
    let deliver = || {
        let plan = scene.agent(ROBOT).to(&gateway, Transport::Quic).file(&log).once();
        plan.arg("--config").arg(config.to_str().unwrap()).deliver();
    };
    deliver();
    let of_agent =
        (json!({"rack/row": "3, left", "site": "berlin"}), json!({"rack/row": "agent", "site": "agent"}));
    wait_until("the agent's labels are served", || served(&gateway) == of_agent);

    let told = label(&scene, &gateway, &["site=kiel", "owner=ann", "old-"]);
    let both = (
        json!({"owner": "ann", "rack/row": "3, left", "site": "kiel"}),
        json!({"owner": "operator", "rack/row": "agent", "site": "operator"}),
    );
    assert_eq!((told["labels"].clone(), told["label_sources"].clone()), both);
    gateway.kill();
    gateway.start_again();
    assert_eq!(served(&gateway), both, "what was answered is durable");

    let records = |gateway: &Gateway| gateway.robot(ROBOT).unwrap()["log"]["records"].as_u64().unwrap();
    let before = records(&gateway);
    label(&scene, &gateway, &["owner=ann", "never-"]);
    assert_eq!(records(&gateway), before, "what changes nothing is not recorded");

    let told = label(&scene, &gateway, &["site-", "owner-"]);
    assert_eq!((told["labels"].clone(), told["label_sources"].clone()), of_agent);
    gateway.stop();
    gateway.start_again();
    assert_eq!(served(&gateway), of_agent, "after a restart in order");
    assert_eq!(label(&scene, &gateway, &[])["labels"], of_agent.0);
}

#[test]
fn an_agent_whose_configuration_no_longer_has_a_label_takes_it_back() {
    let scene = scene();
    let gateway = scene.gateway();
    let log = scene.file("log.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    for (transport, labels, expected) in [
        (Transport::Quic, "site=berlin,line=3", json!({"line": "3", "site": "berlin"})),
        (Transport::Mqtt, "line=4", json!({"line": "4"})),
        (Transport::Quic, "", json!({})),
    ] {
        let plan = scene.agent(ROBOT).to(&gateway, transport).file(&log).once();
        plan.set("LABELS", labels).deliver();
        wait_until("the labels are those of the last session", || served(&gateway).0 == expected);
    }
}

#[test]
fn a_wrong_label_is_refused_by_each_program_with_what_would_be_right() {
    let scene = scene();
    let gateway = scene.gateway();
    let (code, said) = scene.agent(ROBOT).set("LABELS", "a b=x").run();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("\"a b\" is not a label's name"), "{said}");
    for (args, code, words) in [
        (&["label", ROBOT, "site=x"][..], 1, "no robot yard/r1 has ever reported"),
        (&["label", ROBOT, "site"], 2, "write KEY=VALUE to set a label, or KEY- to remove it"),
        (&["label", ROBOT, "site=x", "site-"], 2, "the label site is given twice"),
    ] {
        let output = scene.run(Which::Muster, &[&["--url", &gateway.http()], args].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

/// Guards: a label was in the log once, and gone with the partition that held it when the state was folded anew.
#[test]
fn an_operators_label_outlives_the_partition_that_it_was_written_to() {
    let scene = scene();
    let plan =
        scene.gateway_plan().set("STORE__PARTITION_SIZE", "256KiB").set("STORE__RETENTION_SIZE", "6MiB");
    // Nothing is dropped that only an older checkpoint covers.
    let plan = plan.set("STORE__CHECKPOINT_EVERY", "1s").set("STORE__QUOTA_SIZE", "1GiB");
    let mut gateway = plan.start();
    // Texts that hardly compress: about a partition's worth.
    let noise = |seed: u64| {
        let mut state = seed;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:08x}", state >> 32)
        };
        let line = |text: String| format!("{{\"ch\":\"noise\",\"v\":\"{text}\"}}\n");
        (0..80).map(|_| line((0..1000).map(|_| word()).collect())).collect::<String>()
    };
    let deliver = |gateway: &Gateway, seed: u64| {
        let log = scene.file("noise.ndjson", noise(seed));
        scene.agent(ROBOT).to(gateway, Transport::Quic).file(&log).once().deliver();
    };
    let records = |gateway: &Gateway| gateway.robot(ROBOT).unwrap()["log"]["records"].as_u64().unwrap();
    deliver(&gateway, 1);
    label(&scene, &gateway, &["site=kiel"]);
    let written = gateway.robot(ROBOT).unwrap()["log"]["last_offset"].as_u64().unwrap();
    deliver(&gateway, 2);
    deliver(&gateway, 3);
    let before = records(&gateway);
    wait_until("the label is carried on", || records(&gateway) > before);
    let first = |gateway: &Gateway| gateway.ask("/v1/fleet")["log"]["first"].as_u64().unwrap();
    for seed in 4.. {
        if first(&gateway) > written {
            break;
        }
        assert!(seed < 100, "retention drops the partition");
        deliver(&gateway, seed);
    }
    gateway.kill();
    std::fs::remove_dir_all(gateway.data().join("checkpoints")).unwrap();
    gateway.start_again();
    assert_eq!(served(&gateway), (json!({"site": "kiel"}), json!({"site": "operator"})));
}
