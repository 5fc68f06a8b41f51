//! The agent inside another Rust program: start it, and record samples through a handle that never blocks.
//!
//! ```no_run
//! use muster_agent::{config::Config, handle::Agent};
//!
//! let mut config = Config::new(&"demo/r1".parse()?);
//! config.spool.dir = "/var/lib/my-robot/spool".into();
//! let agent = Agent::start(config)?;
//! let recorder = agent.recorder();
//! recorder.record("battery.soc", 0.81)?;
//! recorder.row().field("pose.x", 1.5).field("pose.y", -0.5).record()?;
//! agent.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What was recorded is accepted when the spool has synced it, usually within a second; [`Agent::flush`] waits for
//! that. It is sent whenever a gateway can be reached, also after a restart of the program. What had to be refused is
//! returned to the caller, and counted as for every input.

mod row;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use muster_protocol::id::ParseIdError;
use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
};

use crate::{
    batcher::Manner,
    clock::Clock,
    config::Config,
    intake::{Counts, Intake, Refusal, Refused, Source},
    own::Host,
    program::{Outcome, Running},
};

pub use row::{IntoValue, RowRecorder};

/// The input's name in counters and logs.
const INPUT: &str = "program";

/// A running agent, on a thread of its own. Dropping it shuts it down without waiting.
#[derive(Debug)]
pub struct Agent {
    recorder: Recorder,
    intake: Intake,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<Outcome>>,
}

/// Records samples. Cheap to clone, and shared by any number of threads. It never blocks.
#[derive(Clone, Debug)]
pub struct Recorder {
    source: Arc<Source>,
    clock: Clock,
    rows: Arc<AtomicU64>,
}

/// Why a row was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A channel's name is not one.
    #[error(transparent)]
    Name(#[from] ParseIdError),
    /// The row is too large, the queue is full, or the agent shuts down.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Why it is not known that everything before is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlushError {
    /// The disk did not answer in time. The rows are not lost: they are accepted later.
    #[error("the spool did not sync within {0:?}")]
    Timeout(Duration),
    /// The agent has ended, or its disk has failed.
    #[error("the agent has ended, or its spool has failed; its log says why")]
    Ended,
}

impl Agent {
    /// Starts an agent, with the inputs of the configuration and a handle beside them. Returns when it records, whether
    /// or not a gateway can be reached. Signals are left to the program.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let (started, start) = sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("muster".to_owned())
            .spawn(move || run(&config, &started, stopped))
            .context("start the agent's thread")?;
        match start.recv() {
            Ok((intake, recorder)) => Ok(Self { recorder, intake, stop, thread }),
            // It ended before it started: its result says why.
            Err(_) => {
                Err(joined(thread).err().unwrap_or_else(|| anyhow::anyhow!("the agent ended at its start")))
            }
        }
    }

    /// Returns a handle to record with.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Waits until everything that was recorded before is accepted: synced to the spool. Returns the handle's counts.
    pub fn flush(&self, patience: Duration) -> Result<Counts, FlushError> {
        let answer = self.recorder.ask_for_sync().map_err(|_| FlushError::Ended)?;
        answer.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => FlushError::Timeout(patience),
            RecvTimeoutError::Disconnected => FlushError::Ended,
        })
    }

    /// Returns what was refused so far, of all inputs, with the first example of each kind.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.intake.ledger().refusals()
    }

    /// Shuts down in order and waits for it: inputs first, disks last. What was recorded is accepted then; what was not
    /// delivered is sent after the next start.
    pub fn shutdown(self) -> anyhow::Result<Outcome> {
        // An agent that has ended by itself hears nothing more.
        let _ = self.stop.send(());
        joined(self.thread)
    }
}

impl Recorder {
    fn new(intake: &Intake, clock: Clock) -> Self {
        let source = Arc::new(intake.source(INPUT, Manner::Live));
        Self { source, clock, rows: Arc::default() }
    }

    /// Records one sample now, on the declared or default lane.
    pub fn record(&self, channel: &str, value: impl IntoValue) -> Result<(), RecordError> {
        self.row().field(channel, value).record()
    }

    /// Starts a row: samples of one time that stay together.
    pub fn row(&self) -> RowRecorder<'_> {
        RowRecorder::new(self)
    }

    /// Returns how many rows of this program were accepted and refused so far.
    pub fn counts(&self) -> Counts {
        self.source.counts()
    }

    fn number_row(&self) -> u64 {
        self.rows.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn ask_for_sync(&self) -> Result<Receiver<Counts>, Refused> {
        let (respond, answer) = sync_channel(1);
        self.source.sync(move |counts| {
            // Nobody waits any more after a timeout.
            let _ = respond.try_send(counts);
        })?;
        Ok(answer)
    }
}

impl RecordError {
    /// Returns the short stable name of the refusal, as in counters and in `status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Name(_) => "bad_name",
            Self::Refused(refused) => refused.kind(),
        }
    }
}

type Started = SyncSender<(Intake, Recorder)>;

/// The agent's thread.
fn run(config: &Config, started: &Started, stopped: oneshot::Receiver<()>) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut running = Running::start(config, Host::Embedded)?;
        let recorder = Recorder::new(running.intake(), Clock::new());
        running.seal();
        // Nobody is there to be told if the program has gone on without the agent.
        let _ = started.send((running.intake().clone(), recorder));
        tokio::select! {
            () = running.done() => {}
            // Sent, or dropped with the agent's handle: both mean the end.
            _ = stopped => {}
        }
        running.finish().await
    });
    runtime.shutdown_background();
    outcome
}

fn runtime() -> anyhow::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build().context("start the agent's runtime")
}

fn joined(thread: JoinHandle<anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    thread.join().unwrap_or_else(|_| {
        Err(anyhow::anyhow!("the agent's thread panicked; what was accepted is in the spool"))
    })
}

impl fmt::Display for Recorder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(INPUT)
    }
}

#[cfg(test)]
mod tests;
