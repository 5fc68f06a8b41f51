//! The example programs as a person starts them, without a terminal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

fn fleet(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fleet")).args(args).output().unwrap()
}

/// Returns the row of the last table that names the robot.
fn last_row<'a>(text: &'a str, robot: &str) -> &'a str {
    text.lines().rfind(|line| line.contains(robot)).unwrap_or_else(|| panic!("no row of {robot} in:\n{text}"))
}

#[test]
fn five_robots_are_up_and_fresh_and_a_killed_one_is_late_and_stale() {
    let output = fleet(&["--simulate", "--for", "20s", "--kill", "this-machine", "--after", "6s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}\n{text}");
    for robot in ["demo/this-machine", "demo/simulated-1", "demo/simulated-2", "demo/simulated-3", "demo/simulated-4"] {
        let lines = || text.lines().filter(|line| line.contains(robot));
        assert!(lines().any(|line| line.contains("link up") && line.contains("mostly fresh")), "{robot}:\n{text}");
    }
    let killed: Vec<_> = text.lines().filter(|line| line.contains("demo/this-machine")).collect();
    assert!(killed.iter().any(|line| line.contains("agent killed")), "{text}");
    assert!(killed.iter().any(|line| line.contains("late")), "{text}");
    assert!(last_row(&text, "demo/this-machine").contains("stale"), "{text}");
}

#[test]
fn wrong_usage_names_what_there_is() {
    let output = fleet(&["--simulate", "--kill", "nobody"]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("nobody") && text.contains("demo/simulated-1"), "{text}");
}
