//! A real agent: what it is told, started in the background or run to its end.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    gateway::{Gateway, Transport},
    process::{Process, Programs, Which},
};

/// How to start an agent.
#[derive(Clone, Debug)]
pub struct AgentPlan {
    programs: Programs,
    robot: String,
    spool: PathBuf,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    /// The program that starts it, with its arguments.
    starter: Vec<String>,
}

impl AgentPlan {
    pub(crate) fn new(programs: Programs, robot: &str, spool: PathBuf) -> Self {
        let (args, environment, starter) = (Vec::new(), Vec::new(), Vec::new());
        let plan = Self { programs, robot: robot.to_owned(), spool, args, environment, starter };
        // A test does not wait as long between attempts as a robot on a bad road does.
        plan.set("LINK__BACKOFF_MIN", "50ms")
            .set("LINK__BACKOFF_MAX", "500ms")
            .set("LINK__RETURN_SPREAD", "500ms")
            // What a test puts in is what it wants to find.
            .set("SELF__EVERY", "none")
    }

    /// Sends to this gateway, and trusts it.
    #[must_use]
    pub fn to(self, gateway: &Gateway, transport: Transport) -> Self {
        let plan = self.arg("--gateway").arg(gateway.url(transport));
        plan.arg("--ca").arg(gateway.ca().to_str().expect("temporary paths are text"))
    }

    /// Takes this input.
    #[must_use]
    pub fn input(self, input: impl Into<String>) -> Self {
        self.arg("--input").arg(input)
    }

    /// Takes this file as an input.
    #[must_use]
    pub fn file(self, path: &Path) -> Self {
        self.input(format!("file:{}", path.display()))
    }

    /// Stops when everything is delivered.
    #[must_use]
    pub fn once(self) -> Self {
        self.arg("--once")
    }

    /// Is started by this program, which becomes it.
    #[must_use]
    pub fn started_by(mut self, starter: &[&str]) -> Self {
        self.starter = starter.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a key by its environment variable, without the prefix.
    #[must_use]
    pub fn set(mut self, variable: &str, text: &str) -> Self {
        self.environment.push((format!("MUSTER_AGENT_{variable}"), text.to_owned()));
        self
    }

    /// Says more or less in its log, as `RUST_LOG` does.
    #[must_use]
    pub fn logging(mut self, filter: &str) -> Self {
        self.environment.push(("RUST_LOG".to_owned(), filter.to_owned()));
        self
    }

    /// Starts it.
    pub fn start(&self) -> Process {
        let name = format!("muster-agent of {}", self.robot);
        Process::start(self.command(), name, &self.spool.with_extension("stderr")).unwrap()
    }

    /// Runs it to its end. Returns its exit code and what it said.
    pub fn run(&self) -> (Option<i32>, String) {
        let mut process = self.start();
        drop(process.take_stdin());
        let status = process.wait();
        (status.code(), process.said())
    }

    /// Runs it to its end, which has to be a good one.
    pub fn deliver(&self) {
        let (code, said) = self.run();
        assert_eq!(code, Some(0), "the agent of {} said:\n{said}", self.robot);
    }

    fn command(&self) -> Command {
        let mut command = self.programs.command_by(&self.starter, Which::Agent);
        command.args(["--robot", &self.robot, "--spool"]).arg(&self.spool).args(&self.args);
        command.envs(self.environment.iter().cloned());
        command
    }
}
