//! The example programs as a person starts them, without a terminal, against the real gateway and agent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;

use std::process::Command;

use bench::{Bench, fleet, run, seen_or_skipped};

#[test]
fn five_robots_are_up_and_fresh_and_a_killed_one_turns_late_and_stale() {
    let text = run(fleet().args(["--simulate", "--for", "20s", "--kill", "this-machine", "--after", "6s"]));
    let lines = |robot: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains(robot)).map(str::to_owned).collect()
    };
    for robot in
        ["demo/this-machine", "demo/simulated-1", "demo/simulated-2", "demo/simulated-3", "demo/simulated-4"]
    {
        let was_live = |line: &String| line.contains("link up") && line.contains("mostly fresh");
        assert!(lines(robot).iter().any(was_live), "{robot}:\n{text}");
    }
    let killed = lines("demo/this-machine");
    assert!(
        killed.iter().any(|line| line.contains("mostly late") && line.contains("agent killed")),
        "{text}"
    );
    assert!(
        killed.iter().any(|line| line.contains("mostly stale") && line.contains("agent killed")),
        "{text}"
    );
}

#[test]
fn a_robot_to_kill_that_is_not_there_is_refused_with_those_that_are() {
    let output = fleet().args(["--simulate", "--kill", "nobody"]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nobody") && text.contains("demo/simulated-1"), "{text}");
}

#[test]
fn what_the_python_robot_was_told_is_safe_arrives() {
    if !seen_or_skipped("python3") {
        return;
    }
    let bench = Bench::start();
    let socket = bench.agent("demo/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python_robot.py");
    let text = run(Command::new("python3").arg(script).arg(&socket).args(["--seconds", "2"]));
    let told = text.lines().find_map(|line| line.strip_prefix("done: ")).unwrap_or_else(|| panic!("{text}"));
    let (accepted, rest) = told.split_once(' ').unwrap();
    assert_eq!(rest, "samples accepted, 0 refused");
    let accepted: u64 = accepted.parse().unwrap();
    assert!(accepted > 50, "{accepted}");
    bench.wait_for_samples("demo/python", accepted);
}

#[test]
fn what_mosquitto_pub_sent_is_durable_when_it_returns() {
    if !seen_or_skipped("mosquitto_pub") {
        return;
    }
    let bench = Bench::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/mosquitto_robot.sh");
    let port = bench.mqtt_port().to_string();
    let text = run(Command::new(script).args(["demo/mosquitto", "127.0.0.1", &port, "2"]));
    assert_eq!(text, "durable: message 1\ndurable: message 2\n");
    bench.wait_for_samples("demo/mosquitto", 2 * 3);
}
