//! A Rust program that embeds the agent and records through its handle.

use std::thread;

use muster_agent::{
    config::Config,
    handle::{Agent, RecordError},
    program::Outcome,
};
use muster_protocol::time::WallTime;
use muster_tests::{
    gateway::{Gateway, Transport},
    patience::{PATIENCE, wait_until},
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

const ROBOT: &str = "embedded/r1";

fn config(scene: &Scene, gateway: &Gateway, transport: Transport) -> Config {
    let mut config = Config::new(&ROBOT.parse().unwrap());
    config.gateway = vec![gateway.url(transport).parse().unwrap()];
    config.ca = Some(gateway.ca());
    config.spool.dir = scene.path("spool");
    config
}

fn stored(gateway: &Gateway) -> Vec<Value> {
    gateway.sample_lines(ROBOT).lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn what_a_program_records_through_its_handle_is_stored_with_types_times_and_non_finite_values() {
    let scene = scene();
    let gateway = scene.gateway();
    let agent = Agent::start(config(&scene, &gateway, Transport::Quic)).unwrap();
    let recorder = agent.recorder();
    let row = recorder
        .row()
        .at(WallTime(7))
        .field("pose.x", 1.5)
        .field("mode", "docking")
        .field("raw", &b"\x00\xff"[..]);
    row.record().unwrap();
    recorder
        .row()
        .at(WallTime(8))
        .field("pose.x", f64::NAN)
        .field("n", -3_i64)
        .field("ok", true)
        .record()
        .unwrap();
    let refused = recorder.record("bad\nname", 1.0);
    assert!(matches!(refused, Err(RecordError::Name(_))), "{refused:?}");
    assert_eq!(agent.refusals().len(), 1, "what was refused is counted as for every input");
    let counts = agent.flush(PATIENCE).unwrap();
    assert_eq!((counts.accepted, counts.refused), (2, 1));
    wait_until("the rows are stored", || gateway.robot(ROBOT).is_some_and(|robot| robot["samples"] == 6));

    let fields = |sample: &Value| {
        let kind = ["f", "b"].iter().find_map(|key| sample.get(key)).cloned().unwrap_or(Value::Null);
        (sample["t"].as_i64().unwrap(), sample["ch"].as_str().unwrap().to_owned(), sample["v"].clone(), kind)
    };
    let expected = [
        (7, "pose.x", Value::from(1.5), Value::Null),
        (7, "mode", "docking".into(), Value::Null),
        (7, "raw", Value::Null, "AP8=".into()),
        (8, "pose.x", Value::Null, "NaN".into()),
        (8, "n", (-3).into(), Value::Null),
        (8, "ok", true.into(), Value::Null),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(t, ch, v, kind)| (t, ch.to_owned(), v, kind)).collect();
    assert_eq!(stored(&gateway).iter().map(fields).collect::<Vec<_>>(), expected);
    assert_eq!(agent.shutdown().unwrap(), Outcome::Done);
}

#[test]
fn what_several_threads_record_while_the_gateway_is_away_arrives_after_a_restart_of_the_program() {
    const THREADS: i64 = 4;
    const ROWS: i64 = 250;
    let scene = scene();
    let mut gateway = scene.gateway();
    gateway.kill();
    let agent = Agent::start(config(&scene, &gateway, Transport::Mqtt)).unwrap();
    thread::scope(|threads| {
        for thread in 0..THREADS {
            let recorder = agent.recorder();
            threads.spawn(move || {
                for n in 0..ROWS {
                    recorder.record("n", thread * ROWS + n).unwrap();
                }
            });
        }
    });
    assert_eq!(agent.shutdown().unwrap(), Outcome::Done);

    gateway.start_again();
    let agent = Agent::start(config(&scene, &gateway, Transport::Mqtt)).unwrap();
    let all = u64::try_from(THREADS * ROWS).unwrap();
    wait_until("all rows are stored", || gateway.robot(ROBOT).is_some_and(|robot| robot["samples"] == all));
    agent.shutdown().unwrap();
    let mut numbers: Vec<_> = stored(&gateway).iter().map(|sample| sample["v"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..THREADS * ROWS).collect::<Vec<_>>(), "each once");
}
