//! The agent's own figures, `muster.agent.*`, through the same pipe as every sample.

use muster_agent::own::FIGURES;
use muster_tests::{
    facts::Words, feeder::Feeder, gateway::Transport, patience::wait_for, process::Which, scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

/// Returns the channels of a robot in which its agent tells of itself.
fn own_channels(state: &Value) -> Vec<(String, Value)> {
    let channels = state["channels"].as_object().unwrap();
    let own = channels.iter().filter(|(name, _)| name.starts_with("muster.agent."));
    own.map(|(name, channel)| (name.clone(), channel.clone())).collect()
}

#[test]
fn an_agent_tells_of_itself_over_either_transport_with_units_and_intervals() {
    let scene = scene();
    let gateway = scene.gateway();
    for transport in Transport::ALL {
        let robot = format!("own/{}", transport.name());
        let socket = scene.path(format!("{}.sock", transport.name()));
        let plan = scene.agent(&robot).to(&gateway, transport).set("SELF__EVERY", "1s");
        let plan = plan.set("CHANNEL", "[{ match = \"a\", absent = [-1] }]");
        let mut agent = plan.input(format!("unix:{}", socket.display())).start();
        let mut feeder = Feeder::new(&socket);
        feeder.send(0, &[json!({"ch": "a", "v": 1}), json!({"ch": "a", "v": 2})]);
        let state = wait_for("figures with an acknowledgement arrive", || {
            let state = gateway.robot(&robot)?;
            state["channels"].get("muster.agent.link.ack_ms").is_some().then_some(state)
        });
        for figure in FIGURES.iter().filter(|figure| !figure.channel.ends_with('*')) {
            let channel = &state["channels"][figure.channel];
            let missing = transport == Transport::Mqtt && figure.channel.ends_with("rtt_ms");
            assert_eq!(channel.is_null(), missing, "{} over {robot}: {state}", figure.channel);
            assert_eq!(channel.get("unit").and_then(Value::as_str), figure.unit.filter(|_| !missing));
        }
        let value = |name: &str| state["channels"][&format!("muster.agent.{name}")]["v"].clone();
        assert!(value("recorded").as_u64().unwrap() >= 2 && value("rss_bytes").as_u64().unwrap() > 1 << 20);
        assert_eq!((value("link.connects"), value("spool.memory_mode")), (json!(1), json!(false)));
        assert_eq!(value("spool.limit_bytes"), json!(1_u64 << 30));
        assert_eq!(own_channels(&state).len() + 1, state["channels"].as_object().unwrap().len());
        agent.terminate();
    }
}

/// Guards the comparison of a log with what is stored of it: neither a replay nor a run that ends by itself adds anything.
#[test]
fn a_replay_and_a_run_that_ends_by_itself_store_what_they_read_and_nothing_else() {
    let scene = scene();
    let gateway = scene.gateway();
    let log =
        scene.file("log.ndjson", "{\"t\":1,\"ch\":\"a\",\"v\":1}\n{\"t\":2500000000,\"ch\":\"a\",\"v\":2}\n");
    let paced = format!("file:{}?speed=1", log.display());
    let once = scene.agent("own/once").to(&gateway, Transport::Quic).set("SELF__EVERY", "1s");
    once.input(&paced).once().deliver();
    let replay = scene.agent("own/replay").to(&gateway, Transport::Quic).set("SELF__EVERY", "1s");
    let mut replay = replay.input(&paced).start();
    for robot in ["own/once", "own/replay"] {
        let state =
            wait_for("both samples arrive", || gateway.robot(robot).filter(|state| state["samples"] == 2));
        assert_eq!(own_channels(&state), [], "{robot}");
        assert_eq!(gateway.samples(robot, &mut Words::default()).len(), 2);
    }
    replay.terminate();
}

#[test]
fn a_robot_that_is_silent_and_cut_off_spools_nothing_of_itself() {
    let scene = scene();
    let mut gateway = scene.gateway();
    gateway.kill();
    let socket = scene.path("input.sock");
    let plan = scene.agent("own/silent").to(&gateway, Transport::Quic).set("SELF__EVERY", "1s");
    let mut agent = plan.input(format!("unix:{}", socket.display())).start();
    let mut feeder = Feeder::new(&socket);
    feeder.send(0, &[json!({"ch": "a", "v": 1})]);
    // One row tells of the sample. After that there is nothing to tell, however long it lasts.
    let spooled = || status(&scene, "own/silent")["lanes"][1]["samples"].as_u64();
    let first = wait_for("the first figures are spooled", || spooled().filter(|samples| *samples > 1));
    let later = |millis: u64| status(&scene, "own/silent")["running_ms"].as_u64() > Some(millis);
    let running = status(&scene, "own/silent")["running_ms"].as_u64().unwrap();
    wait_for("three more rows would be due", || later(running + 3_500).then_some(()));
    assert_eq!(spooled(), Some(first));
    agent.terminate();
}

fn status(scene: &Scene, robot: &str) -> Value {
    let spool = scene.path(format!("spool-{}", robot.replace('/', "-")));
    let output = scene.run(Which::Agent, &["status", "-o", "json", "--spool", spool.to_str().unwrap()]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}
