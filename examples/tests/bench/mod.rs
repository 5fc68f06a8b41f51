//! A gateway and agents for one test: the fleet demo's executable plays both programs, and they end with the test.

use std::{
    cell::RefCell,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use muster_examples::clock;
use muster_gateway::muster::client::{Access, Client, Query};

/// A gateway on free ports, and the agents of its robots.
pub(crate) struct Bench {
    programs: RefCell<Vec<Program>>,
    folder: tempfile::TempDir,
    ready: String,
    client: Client,
}

struct Program {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.child.wait();
    }
}

impl Bench {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("gateway");
        let mut command = fleet();
        command.arg("__gateway").arg("--data-dir").arg(&data);
        command.args(["--http", "127.0.0.1:0", "--quic", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lifeline = child.stdin.take();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let programs = vec![Program { child, lifeline }].into();
        let url = format!("http://{}", address(&ready, "http="));
        let client = Client::new(Access { url, ..Access::default() }).unwrap();
        Self { programs, folder, ready, client }
    }

    /// Starts an agent over MQTT and returns the socket that it takes NDJSON on, once it does.
    pub(crate) fn agent(&self, robot: &str) -> PathBuf {
        let socket = self.folder.path().join("agent.sock");
        let mut command = fleet();
        command.args([
            "__agent",
            "--robot",
            robot,
            "--gateway",
            &format!("mqtt://{}", address(&self.ready, "mqtt=")),
        ]);
        command.arg("--spool").arg(self.folder.path().join("spool"));
        command.arg("--input").arg(format!("unix:{}", socket.display()));
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let lifeline = child.stdin.take();
        self.programs.borrow_mut().push(Program { child, lifeline });
        until("the agent's socket", || socket.exists());
        socket
    }

    /// Runs an agent on the spool that a program left, until everything in it is acknowledged.
    pub(crate) fn deliver_rest(&self, robot: &str, spool: &Path) {
        let mut command = fleet();
        command.args(["__agent", "--robot", robot, "--gateway", &self.mqtt_url(), "--once", "--spool"]);
        let mut child = command.arg(spool).stdin(Stdio::piped()).spawn().unwrap();
        // The agent ends with this pipe, also when the test fails.
        let lifeline = child.stdin.take();
        until("the rest to be delivered", || child.try_wait().unwrap().is_some());
        drop(lifeline);
    }

    pub(crate) fn mqtt_url(&self) -> String {
        format!("mqtt://{}", address(&self.ready, "mqtt="))
    }

    pub(crate) fn mqtt_port(&self) -> String {
        address(&self.ready, "mqtt=").rsplit(':').next().unwrap().to_owned()
    }

    /// Waits until the gateway has exactly so many samples of the robot.
    pub(crate) fn wait_for_samples(&self, robot: &str, samples: u64) {
        let path = format!("/v1/robots/{robot}");
        let mut seen = 0;
        until("the samples", || {
            let state = self.client.json(&path, &Query::new()).unwrap_or_default();
            seen = state["samples"].as_u64().unwrap_or(0);
            seen >= samples
        });
        assert_eq!(seen, samples);
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // The agents end before the gateway.
        while self.programs.borrow_mut().pop().is_some() {}
    }
}

/// Returns the demo's executable as a command.
pub(crate) fn fleet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_fleet"))
}

/// Runs a command that has to succeed and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [text, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{command:?}: {errors}\n{text}");
    text
}

/// Tells whether a program outside can be called; without it the test fails, or is skipped aloud if that was asked for.
pub(crate) fn seen_or_skipped(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap().status.success();
    let may_skip = std::env::var_os("MUSTER_SKIP_EXTERNAL").is_some_and(|value| value == "1");
    assert!(found || may_skip, "{program} is missing: ./tests/run installs it or says how");
    if !found {
        let _ = writeln!(io::stderr(), "SKIPPED: {program} is missing and MUSTER_SKIP_EXTERNAL=1");
    }
    found
}

fn address(ready: &str, name: &str) -> String {
    let found = ready.split_whitespace().find_map(|part| part.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in the ready line {ready:?}")).to_owned()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(clock::now() < deadline, "waited in vain for {what}");
        clock::pause(Duration::from_millis(20));
    }
}
