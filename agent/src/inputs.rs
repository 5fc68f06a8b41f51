//! Where samples come from: files, pipes, sockets, the machine itself.
//!
//! | input | kind | when the spool is full |
//! |---|---|---|
//! | `stdin`, `file:PATH` | a thread each, reads to the end | waits |
//! | `unix:PATH`, `udp:ADDR` | tasks, until stopped | never waits: the oldest data makes room |
//! | `host` | a thread, once a second | never waits |
//!
//! An input that cannot start is an error of the agent's start: it does not run without its input. One that fails
//! later ends with a sentence; the others go on. Every end is logged with what was accepted and refused.

pub mod feed;
mod file;
pub mod host;
pub mod lines;
mod reader;
pub mod replay;
mod stdin;
pub mod stop;
pub mod udp;
pub mod unix;

use std::{
    fmt,
    io::{Error, ErrorKind},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use tokio::{sync::watch, task::JoinSet};

use crate::{
    batcher::Manner,
    clock::Clock,
    intake::{Counts, Intake, Origin, Source},
};

use feed::{Feeder, Syncs};
use reader::LineReader;
use replay::{Replay, ReplayConfig};
use stop::{ThreadStop, ThreadStopper, thread_stop};
use udp::UdpInput;
use unix::UnixInput;

/// What an input is.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// This machine's own figures, once a second.
    Host,
    /// NDJSON lines on standard input.
    Stdin,
    /// A recording.
    File {
        /// Where it is.
        path: PathBuf,
        /// At which pace.
        replay: ReplayConfig,
    },
    /// A stream socket for local programs.
    Unix {
        /// Where it is.
        path: PathBuf,
    },
    /// Datagrams.
    Udp {
        /// Where to listen.
        address: SocketAddr,
    },
}

/// How an input ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was read.
    Whole,
    /// The agent stopped it.
    Stopped,
    /// It broke; what came before was taken.
    Failed {
        /// What broke, and the remedy where there is one.
        why: String,
    },
}

/// What became of an input.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The input, as configured.
    pub input: String,
    /// How it ended.
    pub end: End,
    /// What was accepted and refused. Final when the recorder has drained.
    origin: Origin,
}

/// Why an input does not start. Each sentence names the input and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// There is nothing at the path.
    #[error("input {input}: {missing} does not exist; check the path, a relative one starts at the working folder")]
    NotFound {
        /// The input, as configured.
        input: String,
        /// What is not there.
        missing: String,
    },
    /// The path may not be used by this user.
    #[error("input {input}: no permission; let the agent's user read it (a socket: write to its folder), or choose another path")]
    NotAllowed {
        /// The input, as configured.
        input: String,
    },
    /// A folder stands where a file is expected.
    #[error("input {input}: this is a folder; name one file in it")]
    IsFolder {
        /// The input, as configured.
        input: String,
    },
    /// Another program has the port.
    #[error("input {input}: the address is in use; stop the other program or choose another port")]
    AddressInUse {
        /// The input, as configured.
        input: String,
    },
    /// Another program listens on the socket.
    #[error("input {input}: another program listens on this socket; stop it or choose another path")]
    SocketInUse {
        /// The input, as configured.
        input: String,
    },
    /// Something else stands where the socket should be.
    #[error("input {input}: a file that is not a socket is in the way; remove it or choose another path")]
    NotASocket {
        /// The input, as configured.
        input: String,
    },
    /// Everything else, in the system's words.
    #[error("input {input}: {source}")]
    Io {
        /// The input, as configured.
        input: String,
        /// What the system says.
        source: Error,
    },
}

/// The running inputs. Dropping it stops them without waiting.
#[derive(Debug, Default)]
pub struct Inputs {
    stoppers: Vec<ThreadStopper>,
    tasks_stopper: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
    summaries: Arc<Mutex<Vec<Summary>>>,
}

/// Starts inputs, one after the other.
struct Starter<'a> {
    intake: &'a Intake,
    clock: Clock,
    stopped: watch::Receiver<()>,
    inputs: Inputs,
}

impl Inputs {
    /// Starts all inputs, or none: if one cannot start, those before it are stopped again. Call it within a tokio
    /// runtime. The intake is not sealed: an embedding program may still register its own source.
    pub fn start(list: &[Input], intake: &Intake, clock: Clock) -> Result<Self, InputError> {
        let (tasks_stopper, stopped) = watch::channel(());
        let inputs = Self { tasks_stopper: Some(tasks_stopper), ..Self::default() };
        let mut starter = Starter { intake, clock, stopped, inputs };
        list.iter().try_for_each(|input| starter.start(input))?;
        Ok(starter.inputs)
    }

    /// Tells all inputs to stop. They take no more; what they took stays in the queue.
    pub fn stop(&mut self) {
        self.stoppers.clear();
        self.tasks_stopper = None;
    }

    /// Waits for the sockets' tasks to end: after [`Inputs::stop`], and after the recorder gave its last answers.
    /// Threads are not waited for: one may stand in a read that never returns.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Returns the inputs that ended so far, in that order.
    pub fn summaries(&self) -> Vec<Summary> {
        self.summaries.lock().expect(UNPOISONED).clone()
    }
}

impl Starter<'_> {
    fn start(&mut self, input: &Input) -> Result<(), InputError> {
        let name = input.to_string();
        match input {
            Input::Host => {
                let source = self.intake.source(&name, Manner::Live);
                let origin = source.origin().clone();
                let clock = self.clock;
                self.thread(&name, origin, move |stop| host::run(&source, clock, &stop))
            }
            Input::Stdin => self.reader(&name, ReplayConfig::default(), stdin::run),
            Input::File { path, replay } => {
                let file = file::open(&name, path)?;
                let path = path.clone();
                self.reader(&name, *replay, move |reader| file::run(reader, file, &path))
            }
            Input::Unix { path } => {
                let socket = UnixInput::bind(&name, path)?;
                let source = self.intake.source(&name, Manner::Live);
                let (clock, stopped) = (self.clock, self.stopped.clone());
                self.task(source.origin().clone(), name, async move {
                    socket.run(source, clock, stopped).await;
                    End::Stopped
                });
                Ok(())
            }
            Input::Udp { address } => {
                let socket = UdpInput::bind(&name, *address)?;
                let source = self.intake.source(&name, Manner::Live);
                let (clock, stopped) = (self.clock, self.stopped.clone());
                self.task(source.origin().clone(), name, socket.run(source, clock, stopped));
                Ok(())
            }
        }
    }

    fn reader(
        &mut self,
        name: &str,
        replay: ReplayConfig,
        run: impl FnOnce(LineReader) -> End + Send + 'static,
    ) -> Result<(), InputError> {
        let source = self.intake.source(name, Manner::Wait);
        let origin = source.origin().clone();
        let feeder = Feeder::new(source, self.clock, Syncs::NoWayBack);
        let replay = Replay::new(replay);
        self.thread(name, origin, move |stop| run(LineReader { feeder, replay, stop }))
    }

    fn thread(
        &mut self,
        name: &str,
        origin: Origin,
        run: impl FnOnce(ThreadStop) -> End + Send + 'static,
    ) -> Result<(), InputError> {
        let (stopper, stop) = thread_stop();
        let input = name.to_owned();
        let summaries = Arc::clone(&self.inputs.summaries);
        let body = move || {
            let end = run(stop);
            note_end(&summaries, Summary { input, end, origin });
        };
        let thread = std::thread::Builder::new()
            .name("input".to_owned())
            .spawn(body)
            .map_err(|source| InputError::Io { input: name.to_owned(), source })?;
        self.inputs.stoppers.push(stopper);
        self.inputs.threads.push(thread);
        Ok(())
    }

    fn task(&mut self, origin: Origin, input: String, run: impl Future<Output = End> + Send + 'static) {
        let summaries = Arc::clone(&self.inputs.summaries);
        self.inputs.tasks.spawn(async move {
            let end = run.await;
            note_end(&summaries, Summary { input, end, origin });
        });
    }
}

impl Summary {
    /// Returns what was accepted and refused; final when the recorder has drained.
    pub fn counts(&self) -> Counts {
        self.origin.counts()
    }
}

impl InputError {
    fn from_io(input: &str, path: &Path, source: Error) -> Self {
        let input = input.to_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        match source.kind() {
            ErrorKind::NotFound => {
                let missing = folder.map_or("the file".to_owned(), |folder| format!("the folder {}", folder.display()));
                Self::NotFound { input, missing }
            }
            ErrorKind::PermissionDenied => Self::NotAllowed { input },
            ErrorKind::AddrInUse => Self::SocketInUse { input },
            _ => Self::Io { input, source },
        }
    }

    fn from_bind(input: &str, source: Error) -> Self {
        let input = input.to_owned();
        match source.kind() {
            ErrorKind::AddrInUse => Self::AddressInUse { input },
            ErrorKind::PermissionDenied => Self::NotAllowed { input },
            _ => Self::Io { input, source },
        }
    }
}

impl fmt::Display for Input {
    /// Writes the input as it is configured.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => out.write_str("host"),
            Self::Stdin => out.write_str("stdin"),
            Self::File { path, .. } => write!(out, "file:{}", path.display()),
            Self::Unix { path } => write!(out, "unix:{}", path.display()),
            Self::Udp { address } => write!(out, "udp:{address}"),
        }
    }
}

const UNPOISONED: &str = "nothing panics while it holds the summaries";

fn note_end(summaries: &Mutex<Vec<Summary>>, summary: Summary) {
    match &summary.end {
        End::Failed { why } => tracing::error!("input {}: {why}", summary.input),
        End::Whole => tracing::info!("input {} was read to its end", summary.input),
        End::Stopped => tracing::debug!("input {} stopped", summary.input),
    }
    summaries.lock().expect(UNPOISONED).push(summary);
}

#[cfg(test)]
mod tests;
