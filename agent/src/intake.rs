//! The bounded queue between the inputs and the recorder thread.
//!
//! ```text
//!  stdin, file            --wait-> | queue of 1 MiB, blocks when full                | \
//!  unix, udp, host, lib   --live-> | queue of 2 MiB, an eighth of it for urgent rows | --> recorder
//! ```
//!
//! An input registers as a [`Source`] with one [`Manner`]. A source that waits blocks its own thread until there is
//! room. A live source never blocks: a row that finds no room is refused, counted and named. Either way the row is
//! only *taken* here; it is accepted when the recorder has synced it to the spool, and a [`Source::sync`] tells when.
//! A sample whose value is declared to be none (`[[channel]] absent`) ends here, before anything is counted or refused,
//! as a JSON null ends in the parser: this is the one door that all inputs share.
//!
//! The recorder is the one consumer, through the [`Outlet`]. It always takes live rows, and rows of waiting sources
//! as long as the spool has room: so a slow or absent gateway slows down a file, and never a robot.

mod absent;
mod ledger;
mod outlet;
mod queue;
mod source;

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use muster_protocol::{id::Lane, loss::LossReason};

use crate::batcher::{Declarations, Manner, RowRefused, Stamped};

pub use absent::{AbsentLedger, LeftOut};
pub use ledger::{Example, Refusal, RefusalLedger, Shown, Untold, Why};
pub use outlet::{Outlet, State, Want};
pub use source::{Counts, Origin, Source};

use queue::Queue;

/// The bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most rows.
    pub rows_max: usize,
    /// Most bytes of memory.
    pub bytes_max: usize,
}

/// The bounds of both queues, and what is declared of channels.
#[derive(Clone, Debug)]
pub struct IntakeConfig {
    /// Of the rows of live sources. At the bound rows are refused; the last eighth takes only urgent ones.
    pub live: Limits,
    /// Of the rows of waiting sources. At the bound the sources wait.
    pub wait: Limits,
    /// What is declared of channels: the lanes matter here, and which values are none.
    pub declarations: Arc<Declarations>,
}

/// The inputs' end of the queue. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
}

/// A row or marker in the queue.
#[derive(Debug)]
pub enum Item {
    /// A row.
    Row(QueuedRow),
    /// Everything that this source sent before it is to be synced.
    Sync(SyncRequest),
}

/// A row with where it came from.
#[derive(Debug)]
pub struct QueuedRow {
    /// The row.
    pub row: Stamped,
    /// Its source.
    pub origin: Origin,
    /// Its line number in its source.
    pub line: u64,
    /// What it costs in memory.
    bytes: usize,
}

/// Asks for an answer when everything that its source sent before is synced to the spool.
pub struct SyncRequest {
    origin: Origin,
    /// What the source was refused where its lines were read, before the request.
    refused_early: u64,
    /// What the recorder took and refused before the request; known once it is [`reached`](SyncRequest::reached).
    at_recorder: Counts,
    respond: Respond,
}

type Respond = Box<dyn FnOnce(Counts) + Send>;

/// Why a row was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What the row itself is.
    #[error(transparent)]
    Row(#[from] RowRefused),
    /// The queue has no room, because the disk or the processor is slower than the inputs.
    #[error(
        "the queue to the spool is full for lane {lane}: the disk or the processor is slower than the inputs"
    )]
    QueueFull {
        /// The row's lane.
        lane: Lane,
    },
    /// The agent shuts down.
    #[error("the agent shuts down")]
    Closed,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Signalled when the recorder has something to do.
    work: Condvar,
    /// Signalled when waiting sources may try again.
    room: Condvar,
    declarations: Arc<Declarations>,
    ledger: RefusalLedger,
    absent: AbsentLedger,
}

#[derive(Debug)]
struct Inner {
    live: Queue,
    wait: Queue,
    /// Sources that were not dropped yet.
    sources: usize,
    /// No more inputs will be registered.
    sealed: bool,
    /// Nothing is taken any more.
    closed: bool,
    /// Someone wants the recorder to look around.
    poked: bool,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            live: Limits { rows_max: 8192, bytes_max: 2 * 1024 * 1024 },
            wait: Limits { rows_max: 4096, bytes_max: 1024 * 1024 },
            declarations: Arc::default(),
        }
    }
}

impl Refused {
    /// Returns the short stable name of the refusal, as in counters and in `status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Row(row) => row.kind(),
            Self::QueueFull { .. } => "queue_full",
            Self::Closed => "closed",
        }
    }

    /// Returns why the samples are lost; `None` if there were none.
    pub fn loss(&self) -> Option<LossReason> {
        match self {
            Self::Row(row) => row.loss(),
            Self::QueueFull { .. } | Self::Closed => Some(LossReason::Overrun),
        }
    }
}

impl Intake {
    /// Makes a queue. There is one outlet, for the recorder.
    pub fn new(config: &IntakeConfig) -> (Self, Outlet) {
        let inner = Inner {
            live: Queue::new(Manner::Live, config.live),
            wait: Queue::new(Manner::Wait, config.wait),
            sources: 0,
            sealed: false,
            closed: false,
            poked: false,
        };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            work: Condvar::new(),
            room: Condvar::new(),
            declarations: Arc::clone(&config.declarations),
            ledger: RefusalLedger::default(),
            absent: AbsentLedger::default(),
        });
        (Self { shared: Arc::clone(&shared) }, Outlet::new(shared))
    }

    /// Registers an input, or one connection of it. The queue is not drained before the source is dropped.
    pub fn source(&self, input: &str, manner: Manner) -> Source {
        Source::new(&self.shared, input.into(), manner)
    }

    /// Says that every input is registered: from now on, the queue is drained when all sources are dropped and all
    /// that they sent is synced.
    pub fn seal(&self) {
        self.shared.inner().sealed = true;
        self.shared.work.notify_one();
    }

    /// Takes nothing any more. What is in the queue is still recorded.
    pub fn close(&self) {
        self.shared.inner().closed = true;
        self.shared.work.notify_one();
        self.shared.room.notify_all();
    }

    /// Makes the recorder look at what does not come through the queue.
    pub fn poke(&self) {
        self.shared.inner().poked = true;
        self.shared.work.notify_one();
    }

    /// Returns about how much memory the rows take that were not taken yet.
    pub fn queued_bytes(&self) -> usize {
        let inner = self.shared.inner();
        inner.live.bytes() + inner.wait.bytes()
    }

    /// Returns what was refused.
    pub fn ledger(&self) -> &RefusalLedger {
        &self.shared.ledger
    }

    /// Returns what was left out because its value is declared to be none; `None` if no channel declares one.
    pub fn left_out(&self) -> Option<LeftOut> {
        self.shared.declarations.name_absent().then(|| self.shared.absent.left_out())
    }
}

impl SyncRequest {
    /// Returns whose rows it is about.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Notes that everything the source sent before has gone into batches, and nothing that it sent later.
    pub fn reached(&mut self) {
        self.at_recorder = self.origin.at_recorder();
    }

    /// Answers: everything before is synced, but for what the spool refused in the end.
    pub fn answer(self) {
        let Counts { accepted, refused } = self.at_recorder;
        let given_back = self.origin.given_back().min(accepted);
        let refused = refused + self.refused_early + given_back;
        (self.respond)(Counts { accepted: accepted - given_back, refused });
    }
}

impl fmt::Debug for SyncRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SyncRequest({:?})", self.origin)
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the queue")
    }
}

#[cfg(test)]
mod tests;
