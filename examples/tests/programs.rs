//! The example programs as a person starts them, without a terminal, against the real gateway and agent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixListener,
    process::Command,
};

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
    assert_eq!(rest, "lines accepted, 0 refused");
    // One event, then pairs of an arm with three values and a battery with four.
    let pairs = (accepted.parse::<u64>().unwrap() - 1) / 2;
    assert!(pairs > 5, "{told}");
    bench.wait_for_samples("demo/python", 1 + 7 * pairs);
}

/// Guards: the robot waited five seconds for an answer that it had, and took it for a missing agent.
#[test]
fn the_python_robot_asks_again_on_its_connection_while_the_agents_disk_fails() {
    if !seen_or_skipped("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Plays an agent whose disk is back after the first question.
    let agent = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut answers = stream.try_clone().unwrap();
        let (mut questions, mut starts) = (0, 0);
        for line in BufReader::new(stream).lines().map(Result::unwrap) {
            starts += u32::from(line.contains("started"));
            if line.contains("\"sync\"") {
                questions += 1;
                let answer = if questions == 1 {
                    "{\"sync\":1,\"error\":\"not on disk: it failed\"}\n".to_owned()
                } else {
                    format!("{{\"synced\":{questions},\"accepted\":7,\"refused\":0}}\n")
                };
                answers.write_all(answer.as_bytes()).unwrap();
            }
        }
        (questions, starts)
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python_robot.py");
    let text = run(Command::new("python3").arg(script).arg(&socket).args(["--seconds", "2.5"]));
    assert!(text.starts_with("kept in memory, not yet on disk (not on disk: it failed)\n"), "{text}");
    assert!(text.ends_with("done: 7 lines accepted, 0 refused\n"), "{text}");
    assert_eq!(agent.join().unwrap(), (2, 1), "one connection, and nothing is sent again");
}

#[test]
fn what_mosquitto_pub_sent_is_durable_when_it_returns() {
    if !seen_or_skipped("mosquitto_pub") {
        return;
    }
    let bench = Bench::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/mosquitto_robot.sh");
    let text = run(Command::new(script).args(["demo/mosquitto", "127.0.0.1", &bench.mqtt_port(), "2"]));
    assert_eq!(text, "durable: message 1\ndurable: message 2\n");
    bench.wait_for_samples("demo/mosquitto", 2 * 3);
}

#[test]
fn what_the_embedded_agent_has_on_disk_arrives_and_what_it_refused_is_told() {
    let bench = Bench::start();
    let robot = format!("demo/embedded-{}", std::process::id());
    let text = run(Command::new(env!("CARGO_BIN_EXE_embedded")).args([&bench.mqtt_url(), &robot, "2"]));
    assert!(text.contains("refused 1 times: ") && text.contains("control character"), "{text}");
    assert!(text.contains("103 rows on disk, 1 refused, 1 of them seen here"), "{text}");
    // What is on disk when the program ends may still be on its way: whoever opens the spool next delivers it.
    let spool = std::env::temp_dir().join(format!("muster-embedded-{}", robot.replace('/', "-")));
    bench.deliver_rest(&robot, &spool);
    bench.wait_for_samples(&robot, 1 + 2 * 100 + 2);
}
