//! Values that a source writes where it has none: left out of every input alike, and counted where the robot's operator looks.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    os::unix::net::UnixStream,
};

use muster_agent::{
    config::{AbsentValue, AbsentValues, ChannelRule, Config},
    handle::Agent,
    program::Outcome,
};
use muster_tests::{
    gateway::{Gateway, Transport},
    patience::{PATIENCE, wait_for, wait_until},
    process::{Process, Which},
    scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

const ROBOT: &str = "absent/r1";

const RULES: &str = "[[channel]]\nmatch = \"*.volts\"\nabsent = [255.5, -1]\n\n[[channel]]\nmatch = \"*.mode\"\nabsent = [\"n/a\", false]\n";

/// Of an input: a row with two values that are none, one with nothing else, one whose values are none elsewhere only, and
/// one that is no row at all.
fn lines(input: &str) -> String {
    [
        format!(r#"{{"t":1800000000000000000,"ch":"{input}","v":{{"volts":255.5,"mode":"n/a","n":1}}}}"#),
        format!(r#"{{"t":1800000001000000000,"ch":"{input}","v":{{"volts":-1.0,"mode":false}}}}"#),
        format!(r#"{{"t":1800000002000000000,"ch":"{input}","v":{{"volts":12.5,"mode":"auto","n":-1}}}}"#),
        "not json\n".to_owned(),
    ]
    .join("\n")
}

const LEFT_OUT_OF_EACH: [(&str, u64); 2] = [("mode", 2), ("volts", 2)];
const STORED_OF_EACH: usize = 4;

fn status(scene: &Scene) -> Value {
    let spool = scene.path("spool-absent-r1");
    let output = scene.run(Which::Agent, &["status", "-o", "json", "--spool", spool.to_str().unwrap()]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Sends the lines over each live input. Returns what the unix socket answers.
fn send_live(scene: &Scene, agent: &mut Process) -> Value {
    agent.take_stdin().write_all(lines("stdin").as_bytes()).unwrap();
    let address = wait_for("the agent says where it listens", || {
        let said = agent.said();
        let behind = said.split("input udp:127.0.0.1:0 listens on ").nth(1)?;
        Some(behind.split_whitespace().next()?.to_owned())
    });
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(lines("udp").as_bytes(), address).unwrap();
    let socket = scene.path("input.sock");
    let mut unix = wait_for("the agent takes connections", || UnixStream::connect(&socket).ok());
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    writeln!(unix, "{}{{\"sync\":7}}", lines("unix")).unwrap();
    let mut answer = String::new();
    BufReader::new(unix).read_line(&mut answer).unwrap();
    answer.parse().unwrap()
}

#[test]
fn from_every_input_a_value_that_is_none_is_left_out_and_counted_by_channel() {
    let scene = scene();
    let gateway = scene.gateway();
    let (config, log) = (scene.file("agent.toml", RULES), scene.file("log.ndjson", lines("file")));
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Quic).set("SELF__EVERY", "1s").file(&log);
    let plan = plan.input("stdin").input("udp:127.0.0.1:0");
    let plan = plan.input(format!("unix:{}", scene.path("input.sock").display()));
    let mut agent = plan.arg("--config").arg(config.to_str().unwrap()).start();
    let answer = send_live(&scene, &mut agent);
    assert_eq!(
        answer,
        json!({"synced": 7, "accepted": 2, "refused": 1}),
        "a row of which nothing is left is neither"
    );

    let inputs = ["file", "stdin", "udp", "unix"];
    let stored = || {
        let lines = gateway.sample_lines(ROBOT);
        let samples = lines.lines().map(|line| line.parse::<Value>().unwrap());
        samples.filter(|sample| !sample["ch"].as_str().unwrap().starts_with("muster.")).collect::<Vec<_>>()
    };
    let all = inputs.len() * STORED_OF_EACH;
    wait_until("all is stored", || gateway.robot(ROBOT).is_some() && stored().len() == all);
    for input in inputs {
        let of_input: Vec<_> =
            stored().into_iter().filter(|sample| sample["ch"].as_str().unwrap().starts_with(input)).collect();
        let values: Vec<_> = of_input.iter().map(|sample| &sample["v"]).collect();
        assert_eq!(values, [&json!(1), &json!(12.5), &json!("auto"), &json!(-1)], "{input}");
    }

    let counted: Vec<Value> = inputs
        .iter()
        .flat_map(|input| {
            LEFT_OUT_OF_EACH
                .map(|(name, samples)| json!({"channel": format!("{input}.{name}"), "samples": samples}))
        })
        .collect();
    let status = status(&scene);
    assert_eq!(status["absent"], json!({"samples": 16, "channels": counted}), "{status}");
    wait_until("the agent's own figures tell of it", || {
        gateway.robot(ROBOT).is_some_and(|robot| robot["channels"]["muster.agent.absent"]["v"] == 16)
    });
    let lost: Vec<_> = status["lanes"].as_array().unwrap().iter().map(|lane| &lane["lost"]).collect();
    assert_eq!(lost, [0, 0, 0], "what is no sample is not lost");
    agent.terminate();
    let said = agent.said();
    assert!(said.contains("left out: unix.volts = 255.5, declared as absent"), "{said}");
    assert!(said.contains("16 samples were left out, declared as absent: "), "{said}");
}

#[test]
fn a_program_that_embeds_the_agent_may_record_nan_where_it_has_none() {
    let scene = scene();
    let gateway = scene.gateway();
    let mut config = Config::new(&ROBOT.parse().unwrap());
    config.gateway = vec![gateway.url(Transport::Mqtt).parse().unwrap()];
    config.ca = Some(gateway.ca());
    config.spool.dir = scene.path("spool");
    config.channel = vec![ChannelRule {
        matching: "range.*".parse().unwrap(),
        lane: None,
        unit: None,
        interval: None,
        on_change: None,
        absent: Some(AbsentValues::try_from(vec![AbsentValue::Float(f64::NAN)]).unwrap()),
    }];
    let agent = Agent::start(config).unwrap();
    let recorder = agent.recorder();
    recorder.row().field("range.left", f64::NAN).field("range.right", 1.5).record().unwrap();
    recorder.record("range.left", -f64::NAN).unwrap();
    recorder.record("heading", f64::NAN).unwrap();
    let counts = agent.flush(PATIENCE).unwrap();
    assert_eq!((counts.accepted, counts.refused), (2, 0));
    wait_until("the rows are stored", || samples(&gateway) == Some(2));
    let channels = gateway.robot(ROBOT).unwrap()["channels"].clone();
    let names: Vec<_> =
        channels.as_object().unwrap().keys().filter(|name| !name.starts_with("muster.")).collect();
    assert_eq!(names, ["heading", "range.right"]);
    assert_eq!(agent.shutdown().unwrap(), Outcome::Done);
}

fn samples(gateway: &Gateway) -> Option<usize> {
    gateway.robot(ROBOT)?;
    let lines = gateway.sample_lines(ROBOT);
    Some(lines.lines().filter(|line| !line.contains("\"muster.agent.")).count())
}
