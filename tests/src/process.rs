//! Programs as processes of their own, none of which outlives its test.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use crate::patience::{PATIENCE, wait_for, wait_within};

/// The executable that can be each of Muster's programs.
#[derive(Clone, Debug)]
pub struct Programs {
    path: PathBuf,
}

/// One of Muster's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `muster-gateway`
    Gateway,
    /// `muster-agent`
    Agent,
    /// `muster`
    Muster,
}

/// A running program. Dropping it ends it at once, by its own id, and shows what it said if the test has failed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stderr: PathBuf,
}

impl Programs {
    /// Takes the path of this crate's `program`, which cargo tells integration tests alone.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Takes this executable, whose `main` has to begin with [`be_one`].
    pub fn this() -> Self {
        Self::new(std::env::current_exe().expect("a program knows where it is"))
    }

    /// Returns a command for one of the programs, with an environment that says nothing to it.
    pub fn command(&self, which: Which) -> Command {
        self.command_by(&[], which)
    }

    /// Returns a command for one of the programs, started by another that becomes it.
    pub(crate) fn command_by(&self, starter: &[String], which: Which) -> Command {
        let mut command = match starter {
            [] => Command::new(&self.path),
            [starter, args @ ..] => {
                let mut command = Command::new(starter);
                command.args(args).arg(&self.path);
                command
            }
        };
        command.env_clear().arg(which.argument());
        command
    }
}

/// Is the program that the first argument names; `None` if it names none.
pub fn be_one() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let which = args.next()?;
    let named = |name: &str| std::iter::once(OsString::from(name)).chain(args).collect::<Vec<_>>();
    let (main, name): (fn(Vec<OsString>) -> ExitCode, _) = match which.to_str()? {
        "gateway" => (muster_gateway::cli::main, "muster-gateway"),
        "agent" => (muster_agent::cli::main, "muster-agent"),
        "muster" => (muster_gateway::muster::cli::main, "muster"),
        _ => return None,
    };
    die_with_parent();
    Some(main(named(name)))
}

/// Has the kernel end this process when the thread that started it ends, which also a killed test or benchmark does.
fn die_with_parent() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).expect("Linux has a signal for this");
}

impl Which {
    fn argument(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Agent => "agent",
            Self::Muster => "muster",
        }
    }
}

impl Process {
    /// Starts a command with its standard error in a file.
    pub fn start(mut command: Command, name: impl Into<String>, stderr: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(stderr).context("create the log file")?;
        let name = name.into();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self { child, name, stderr: stderr.to_owned() })
    }

    /// Returns its standard output, once.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("taken once")
    }

    /// Returns its standard input, once; dropping it ends the input.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("taken once")
    }

    /// Ends it with SIGKILL, as a power cut would, and waits for that.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end with SIGTERM and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        // The standard library cannot send this signal; each Unix has a program that can.
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("`kill` runs");
        assert!(sent.success(), "{} could not be asked to end", self.name);
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_within(PATIENCE)
    }

    /// Waits until it ends by itself, for so long.
    pub fn wait_within(&mut self, patience: Duration) -> ExitStatus {
        let ended = wait_within(patience, || self.ended());
        ended.unwrap_or_else(|| {
            panic!("{} has not ended within {patience:?}; it said:\n{}", self.name, self.said())
        })
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Returns what it wrote to standard error so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Waits until it has written this to standard error.
    pub fn wait_to_say(&self, words: &str) {
        let what = format!("{} says `{words}`", self.name);
        wait_for(&what, || self.said().contains(words).then_some(()));
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the most memory that it has had resident, in KiB, while it runs on a Linux.
    pub fn memory_peak_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let tail: Vec<&str> = said.lines().rev().take(SHOWN_LINES).collect();
            eprintln!("--- the last that {} said:", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Lines of a program that are shown when its test has failed.
const SHOWN_LINES: usize = 30;
