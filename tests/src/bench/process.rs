//! The programs as processes of their own, none of which outlives the benchmark.
//!
//! This executable is started again with a hidden first argument that says which program to be. The child's standard
//! input is a lifeline: when its other end closes, the child shuts down in order.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use super::{clock, paced, reconnect, usage::Usage};

/// Which program a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// `muster-gateway`
    Gateway,
    /// `muster-agent`
    Agent,
    /// A program that embeds the agent and records at a fixed pace.
    Paced,
    /// A fleet's links, without spools.
    Fleet,
}

/// A running child. Dropping it ends the process by its own id.
#[derive(Debug)]
pub(super) struct Process {
    program: Program,
    child: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

/// Runs the program that the hidden first argument asks for; `None` without one.
pub(super) fn run_hidden() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next()?;
    let program = Program::ALL.into_iter().find(|program| first == program.hidden_argument())?;
    thread::spawn(end_with_parent);
    let args = std::iter::once(program.name().into()).chain(args);
    Some(match program {
        Program::Gateway => muster_gateway::cli::main(args),
        Program::Agent => muster_agent::cli::main(args),
        Program::Paced => paced::main(args),
        Program::Fleet => reconnect::main(args),
    })
}

impl Program {
    const ALL: [Self; 4] = [Self::Gateway, Self::Agent, Self::Paced, Self::Fleet];

    /// Starts the program with its standard error in `log`.
    pub(super) fn start(self, args: &[OsString], log: &Path) -> anyhow::Result<Process> {
        let stderr = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let executable = std::env::current_exe().context("find this executable")?;
        let mut command = Command::new(executable);
        if self == Self::Fleet {
            command.env(MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
        } else {
            command.env_remove(MMAP_THRESHOLD);
        }
        let mut child = command
            .arg(self.hidden_argument())
            .args(args)
            .env("RUST_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(if self == Self::Agent { Stdio::null() } else { Stdio::piped() })
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("start {}", self.name()))?;
        let lifeline = child.stdin.take();
        Ok(Process { program: self, child, lifeline, log: log.to_owned() })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "muster-gateway",
            Self::Agent => "muster-agent",
            Self::Paced => "paced",
            Self::Fleet => "fleet",
        }
    }

    fn hidden_argument(self) -> &'static str {
        match self {
            Self::Gateway => "__gateway",
            Self::Agent => "__agent",
            Self::Paced => "__paced",
            Self::Fleet => "__fleet",
        }
    }
}

impl Process {
    /// Returns the child's standard output, once.
    pub(super) fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Returns what the process used so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Waits for the process to end by itself with success, and returns what it used.
    pub(super) fn finish(mut self, patience: Duration) -> anyhow::Result<Usage> {
        let start = clock::now();
        let mut peak = 0;
        let usage = loop {
            let usage = self.usage()?;
            peak = peak.max(usage.peak);
            if usage.ended {
                break usage;
            }
            ensure!(clock::since(start) < patience, "{} did not end: {}", self.program.name(), self.words());
            clock::pause(LOOK_EVERY);
        };
        let status = self.child.wait().context("collect the child")?;
        ensure!(status.success(), "{} ended with {status}: {}", self.program.name(), self.words());
        Ok(Usage { peak, ..usage })
    }

    /// Asks the process to shut down in order, and waits for that.
    pub(super) fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.lifeline = None;
        let start = clock::now();
        while clock::since(start) < END_WAIT {
            if let Some(status) = self.child.try_wait().context("look at the child")? {
                return Ok(status);
            }
            clock::pause(LOOK_EVERY);
        }
        bail!("{} did not shut down within {END_WAIT:?}: {}", self.program.name(), self.words())
    }

    /// Ends the process at once, as a power cut would, but for what the kernel still holds.
    pub(super) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the child")?;
        self.child.wait().context("collect the child")?;
        Ok(())
    }

    /// Returns the last line that the process logged.
    pub(super) fn words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it logged nothing").to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for the end of the lifeline and then shuts this process down.
fn end_with_parent() {
    let mut stdin = io::stdin().lock();
    let mut byte = [0; 1];
    while !matches!(stdin.read(&mut byte), Ok(0) | Err(_)) {}
    // The standard library cannot send a signal; each Unix has a shell that can.
    let own = process::id().to_string();
    let _ = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &own]).status();
    clock::pause(END_WAIT);
    process::exit(1);
}

/// How often to look whether a child has ended: also how exact the wall time of a run is.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long a program may take to shut down in order.
const END_WAIT: Duration = Duration::from_secs(60);

/// Each QUIC socket has a receive buffer of some MiB of which little is ever touched. A glibc that has freed one takes
/// the next from its heap and touches all of it: thousands in one process, as no robot has them, would fill the memory.
const MMAP_THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
const MMAP_THRESHOLD_BYTES: &str = "1048576";
