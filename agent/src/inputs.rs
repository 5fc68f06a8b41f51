//! Where samples come from: files, pipes, sockets, the machine itself.
//!
//! | input | kind | when the spool is full |
//! |---|---|---|
//! | `stdin`, `file:PATH` | a thread each, reads to the end | waits |
//! | `unix:PATH`, `udp:ADDR` | tasks, until stopped | never waits: the oldest data makes room |
//! | `host` | a thread, once a second | never waits |
//!
//! An input that cannot start is an error of the agent's start: it does not run without its input. One that fails
//! later ends with a sentence; the others go on. Every end is logged with what was taken in and refused.

mod error;
pub mod feed;
mod file;
pub mod host;
pub mod lines;
mod reader;
pub mod replay;
mod start;
mod stdin;
pub mod stop;
pub mod udp;
pub mod unix;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use muster_protocol::ndjson::ParserLimits;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    batcher::{Declaration, Declarations},
    clock::Clock,
    config::{ChannelRule, Config, Input},
    intake::{Counts, Intake, Origin},
};

pub use error::InputError;

use start::Starter;
use stop::ThreadStopper;

/// What every input is given.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where rows go.
    pub intake: Intake,
    /// Who stamps rows that have no time.
    pub clock: Clock,
    /// What a line may hold.
    pub limits: ParserLimits,
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
    /// What was taken in and refused. Final when the recorder has drained.
    origin: Origin,
}

/// The running inputs. Dropping it stops them without waiting.
#[derive(Debug, Default)]
pub struct Inputs {
    stoppers: Vec<ThreadStopper>,
    tasks_stopper: Option<watch::Sender<()>>,
    tasks: JoinSet<()>,
    summaries: Arc<Mutex<Vec<Summary>>>,
}

/// Returns what is declared of channels: by the configuration, and behind it by who records them.
pub fn declarations(rules: &[ChannelRule], own: Vec<Declaration>) -> Declarations {
    Declarations::new(rules.iter().map(Declaration::from).chain(host::declarations()).chain(own).collect())
}

/// Returns what a line may hold.
pub fn parser_limits(config: &Config) -> ParserLimits {
    let array_elements_max = config.sample.array_elements_max as usize;
    ParserLimits { array_elements_max, ..ParserLimits::default() }
}

impl Inputs {
    /// Starts all inputs, or none: if one cannot start, those before it are stopped again. Call it within a tokio
    /// runtime. The intake is not sealed: an embedding program may still register its own source.
    pub fn start(list: &[Input], setting: &Setting) -> Result<Self, InputError> {
        let (tasks_stopper, stopped) = watch::channel(());
        let inputs = Self { tasks_stopper: Some(tasks_stopper), ..Self::default() };
        let mut starter = Starter { setting, stopped, inputs };
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

    /// Logs what became of each input, with its counts; when the recorder has drained. Returns whether one failed.
    pub fn log_summaries(&self) -> bool {
        let summaries = self.summaries();
        for summary in &summaries {
            tracing::info!("{summary}");
        }
        summaries.iter().any(|summary| matches!(summary.end, End::Failed { .. }))
    }

    /// Returns the inputs that ended so far, in that order.
    pub fn summaries(&self) -> Vec<Summary> {
        lock(&self.summaries).clone()
    }
}

impl fmt::Display for Summary {
    /// Writes a sentence, as in `input stdin was read to its end: 120 rows taken in, 3 refused`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Whole => write!(out, "input {} was read to its end", self.input)?,
            End::Stopped => write!(out, "input {} was stopped", self.input)?,
            End::Failed { why } => write!(out, "input {} failed: {why}", self.input)?,
        }
        write!(out, ": {}", self.counts())
    }
}

impl Summary {
    /// Returns what was taken in and refused; final when the recorder has drained.
    pub fn counts(&self) -> Counts {
        self.origin.counts()
    }
}

fn lock(summaries: &Mutex<Vec<Summary>>) -> MutexGuard<'_, Vec<Summary>> {
    summaries.lock().expect("nothing panics while it holds the summaries")
}

#[cfg(test)]
mod tests;
