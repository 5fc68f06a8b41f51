//! What a user meets first: help, the version, printed settings, and one clear sentence for each mistake.
#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::net::UnixStream,
    process::{Command, Output, Stdio},
};

use muster_agent::inputs::unix::CLIENTS_MAX;

/// Runs the agent with nothing in its environment but what is given.
fn agent(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
    command.env_clear().envs(environment.iter().copied()).args(args);
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the sentence of a run that was refused for its usage or configuration.
fn refused(args: &[&str], environment: &[(&str, &str)]) -> String {
    let output = agent(args, environment);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("muster-agent: "), "{text}");
    text
}

/// The same, for a mistake that is told in one line.
fn refused_in_a_line(args: &[&str], environment: &[(&str, &str)]) -> String {
    let text = refused(args, environment);
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn help_shows_every_flag_and_input_of_the_contract() {
    let text = printed(&agent(&["--help"], &[]));
    for flag in ["--config", "--robot", "--gateway", "--ca", "--spool", "--input", "--once", "--print-config"]
    {
        assert!(text.contains(flag), "{flag} in {text}");
    }
    for words in ["host", "stdin", "file:PATH", "unix:PATH", "udp:", "--log-format", "Exit codes"] {
        assert!(text.contains(words), "{words} in {text}");
    }
}

#[test]
fn what_exit_code_3_means_is_said_in_the_help() {
    let text = printed(&agent(&["--help"], &[])).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("3 done, but accepted samples were lost."), "{text}");
}

/// Runs an agent that nobody listens to, to its end. Returns its exit code and its log.
fn run_to_its_end(input: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let mut args = vec!["--robot", "f/r", "--gateway", "mqtt://127.0.0.1:9", "--once"];
    args.extend(["--spool", spool.to_str().unwrap()]);
    args.extend(input);
    let output = agent(&args, &[("NO_COLOR", "1")]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_agent_without_an_input_says_so() {
    let (code, log) = run_to_its_end(&[]);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("no input: only what the spool holds is delivered spool=").count(), 1, "{log}");
}

/// Guards: each program that a full socket turned away was a line of the log, hundreds in a few milliseconds.
#[test]
fn programs_that_are_turned_away_do_not_fill_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (spool, input) = (path("spool"), format!("unix:{}", path("input.sock")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
    command.env_clear().args(["--robot", "f/r", "--gateway", "mqtt://127.0.0.1:9"]);
    command.args(["--spool", &spool, "--input", &input]).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut log = BufReader::new(running.stderr.take().unwrap());
    let mut text = String::new();
    // It has tried to reach its gateway: its inputs are there.
    while !text.contains("no link") {
        assert!(log.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let connect = || UnixStream::connect(path("input.sock")).unwrap();
    let _connected: Vec<_> = (0..CLIENTS_MAX).map(|_| connect()).collect();
    for _ in 0..50 {
        let mut told = String::new();
        connect().read_to_string(&mut told).unwrap();
        assert!(told.contains("too many programs"), "{told}");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("a program was turned away: 64 are connected").count(), 1, "{text}");
}

#[test]
fn the_version_is_that_of_the_crate() {
    let text = printed(&agent(&["--version"], &[]));
    assert_eq!(text.trim(), format!("muster-agent {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_is_refused_with_usage() {
    let text = refused(&["--robto", "f/r"], &[]);
    assert!(text.contains("unexpected argument '--robto'") && text.contains("--robot"), "{text}");
}

#[test]
fn an_agent_without_a_robot_is_told_how_to_give_one() {
    let text = refused_in_a_line(&[], &[]);
    assert!(text.contains("robot is not set") && text.contains("--robot FLEET/ROBOT"), "{text}");
}

#[test]
fn a_bad_robot_gateway_or_input_is_named_with_its_remedy() {
    for (args, expected) in [
        (["--robot", "r17"], "robot = \"r17\" from --robot: `r17` is not a robot; write FLEET/ROBOT"),
        (["--robot", "a/b/c"], "`b/c` is not a name"),
        (["--gateway", "http://gw:80"], "`http://gw:80` is not a gateway's URL; write quic://HOST:PORT"),
        (["--gateway", "quic://gw"], "`quic://gw` names no port; write quic://gw:4443"),
        (["--input", "tcp:80"], "`tcp:80` is not an input; write host, stdin, file:PATH"),
        (["--input", "file:x?sped=1"], "has the parameter `sped=1`; a file knows speed=N"),
        (["--log-format", "xml"], "log.format = \"xml\" from --log-format: "),
    ] {
        let text = refused_in_a_line(&args, &[]);
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn an_unknown_key_of_the_file_is_refused_with_the_nearest() {
    let (_dir, path) = file("robot = \"f/r\"\n[spool]\nlimmit = \"1GiB\"\n");
    let text = refused_in_a_line(&["--config", &path], &[]);
    assert!(text.contains("unknown key `spool.limmit`"), "{text}");
    assert!(text.contains(&format!("{path}, line 3")), "{text}");
    assert!(text.contains("the nearest known key is `spool.limit`"), "{text}");
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest() {
    let text = refused_in_a_line(&[], &[("MUSTER_AGENT_ROBOTS", "f/r")]);
    assert!(text.contains("MUSTER_AGENT_ROBOTS; the nearest known key is `robot`"), "{text}");
}

#[test]
fn a_file_that_is_absent_or_not_toml_is_named() {
    let text = refused_in_a_line(&["--config", "/nowhere/agent.toml"], &[]);
    assert!(text.contains("cannot read the configuration file /nowhere/agent.toml: "), "{text}");
    let (_dir, path) = file("robot = \n");
    let text = refused_in_a_line(&["--config", &path], &[]);
    assert!(text.contains("line 1: not TOML"), "{text}");
}

#[test]
fn a_bad_rust_log_is_refused() {
    let text = refused_in_a_line(&["--robot", "f/r"], &[("RUST_LOG", "muster=loud")]);
    assert!(text.contains("RUST_LOG is no log filter"), "{text}");
}

#[test]
fn what_is_printed_can_be_read_again_and_names_who_set_what() {
    let (_dir, path) = file("robot = \"f/r\"\n[[channel]]\nmatch = \"alarm.*\"\nlane = \"urgent\"\n");
    let args = ["--config", &path, "--input", "host", "--input", "file:/a,b?speed=1", "--print-config"];
    let first = printed(&agent(&args, &[("MUSTER_AGENT_SPOOL__SYNC_EVERY", "250ms")]));
    assert!(
        first.contains(
            "sync_every = \"250ms\" # from the environment variable MUSTER_AGENT_SPOOL__SYNC_EVERY"
        )
    );
    assert!(first.contains("input = [\"host\", \"file:/a,b?speed=1\"] # from --input"), "{first}");

    let (_dir, path) = file(&first);
    let second = printed(&agent(&["--config", &path, "--print-config"], &[]));
    let values = |text: &str| -> Vec<String> {
        let values = text.lines().filter(|line| !line.starts_with('#'));
        values.map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
}

#[test]
fn settings_can_be_printed_before_there_is_a_robot() {
    let text = printed(&agent(&["--print-config"], &[]));
    assert!(text.contains("# robot is not set"), "{text}");
    assert!(text.contains("limit = \"1GiB\""), "{text}");
}
