//! Programs as processes of their own, none of which outlives the one that started it.
//!
//! This executable is started again with a hidden first argument that says which program to be. Each child holds the
//! read end of a pipe from its parent as standard input, its lifeline: when the parent lets go of it, or is killed with
//! SIGKILL and cannot, the child sees the end of the pipe and shuts itself down in order, by SIGTERM.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use crate::clock;

/// Which program a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `muster-gateway`
    Gateway,
    /// `muster-agent`
    Agent,
}

/// A running child; dropping it ends the process by its own id and waits for that.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Program {
    /// Starts the program with its standard error in `log`. A gateway's standard output, the ready line, is handed out.
    pub fn start(self, args: &[OsString], log: &Path) -> anyhow::Result<Running> {
        let stderr = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let executable = std::env::current_exe().context("find this executable")?;
        let mut child = Command::new(executable)
            .arg(self.hidden_argument())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(self.output())
            .stderr(stderr)
            .process_group(0) // Ctrl-C at the terminal reaches the parent alone, which ends its children in order
            .spawn()
            .with_context(|| format!("start {}", self.name()))?;
        let lifeline = child.stdin.take();
        Ok(Running { child, lifeline, log: log.to_owned() })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "muster-gateway",
            Self::Agent => "muster-agent",
        }
    }

    fn output(self) -> Stdio {
        match self {
            Self::Gateway => Stdio::piped(),
            Self::Agent => Stdio::null(),
        }
    }

    fn hidden_argument(self) -> &'static str {
        match self {
            Self::Gateway => "__gateway",
            Self::Agent => "__agent",
        }
    }
}

/// Runs the program that the hidden first argument asks for; `None` without one.
pub fn run_hidden() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let first = args.next()?;
    let program = [Program::Gateway, Program::Agent].into_iter().find(|p| first == p.hidden_argument())?;
    thread::spawn(end_with_parent);
    let args = std::iter::once(program.name().into()).chain(args);
    Some(match program {
        Program::Gateway => muster_gateway::cli::main(args),
        Program::Agent => muster_agent::cli::main(args),
    })
}

impl Running {
    /// Returns the child's standard output, once.
    pub fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Returns how the child ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends the child at once, without a chance to tidy up, as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the child to shut down, without waiting for it.
    pub fn ask_to_end(&mut self) {
        self.lifeline = None;
    }

    /// Returns the last line that the child logged.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        last.map_or_else(|| format!("see {}", self.log.display()), str::to_owned)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_end();
        let deadline = clock::now() + END_WAIT;
        while let Ok(None) = self.child.try_wait() {
            if clock::now() >= deadline {
                return self.kill();
            }
            clock::pause(LOOK_EVERY);
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

/// How long a program may take to shut down in order before it is killed.
const END_WAIT: Duration = Duration::from_secs(8);

/// How often to look whether a child has ended: the standard library has no wait with a deadline.
const LOOK_EVERY: Duration = Duration::from_millis(10);
