//! The recorder: one thread that turns rows into accepted batches. It alone owns the spool and the batcher.
//!
//! ```text
//!  outlet -> batcher -> Spool::append -> sync, in groups -> Spooled --> events, to the driver
//!                            | full                      \-> answers to sync requests
//!                            +-- live inputs: make_room -> Evicted --> events
//!                            +-- waiting inputs: kept back until room is released
//! ```
//!
//! What it promises: no [`RecorderEvent::Spooled`] and no answer to a sync request before the sync that covers it has
//! returned. It syncs every [`RecorderConfig::sync_every`], after [`UNSYNCED_BYTES_MAX`] bytes, the urgent lane after
//! each batch of rows that it takes, and everything at once when all inputs have ended.
//!
//! When the spool is full, each batch is treated by the manner of its inputs, which never share one. A batch of live
//! inputs evicts the oldest data by lane. A batch of waiting inputs is *parked*, and until there is room for it no more
//! rows of waiting inputs are taken: their queue fills, and a file stops where it is. Both may happen side by side.
//!
//! When the disk fails, the recorder goes on in memory, loudly: [`RecorderEvent::Failed`] says why, and sync requests get
//! no answer until the disk works again and what was in memory alone is delivered. What was accepted stays readable for
//! the driver, and what comes is delivered from memory, or becomes a loss record when the memory is full.
//!
//! Rows and lines that were refused before they came into a batch are told by loss records too, summed up.

pub mod steps;

mod core;
mod events;
pub(crate) mod group_sync;
mod spools;

use std::{fmt, io, sync::Arc, thread::JoinHandle, time::Duration};

use muster_protocol::{
    loss::LossReason,
    message::{Clock as ClockReading, NumberedHead},
    session::sender::Released,
};
use tokio::sync::mpsc;

use crate::{
    batcher::{BatcherConfig, Declarations},
    clock::Clock,
    config::Config,
    intake::{Intake, Outlet},
    spool::{Evicted, Holding, Span, Spool, SpoolFault, Spooled},
    uplink::channels::ChannelCosts,
};

pub use events::RecorderEvents;

use events::Outbox;
use steps::{Flow, Reader, Steps};

/// Bytes of batches that may wait for a sync, so that a file is recorded at the disk's speed and not at the pace of
/// the group sync.
pub const UNSYNCED_BYTES_MAX: usize = 1024 * 1024;

/// Commands that may wait. The recorder takes them between two looks at the queue, so few ever do.
const COMMANDS_MAX: usize = 256;

/// How rows become accepted batches.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// How long a written batch waits for others to share a sync with.
    pub sync_every: Duration,
    /// How rows become batches.
    pub batcher: BatcherConfig,
    /// Bytes that may be kept in memory while the disk fails; beyond them the oldest is lost, and recorded so.
    pub memory_bytes: u64,
    /// Where each batch is counted by channel.
    pub costs: Arc<ChannelCosts>,
}

/// The machine's time, as the recorder needs it.
#[derive(Clone)]
pub struct Clocks {
    /// Decides when something is due.
    pub mono: Clock,
    /// Reads the robot's clocks together; each batch carries such a reading.
    pub read: Arc<dyn Fn() -> ClockReading + Send + Sync>,
}

/// What happened. Each token moves on to the driver, which alone may act on it.
#[derive(Debug)]
pub enum RecorderEvent {
    /// Accepted: synced to the spool, and may be sent.
    Spooled(Vec<Spooled>),
    /// Lost for want of room or by damage; the loss records are synced and come as [`RecorderEvent::Spooled`].
    Evicted(Vec<Evicted>),
    /// What the spools hold now, for Hello and heartbeats.
    Held(Holding),
    /// The disk failed. What comes is kept in memory only, until [`RecorderEvent::Mended`].
    Failed(SpoolFault),
    /// The disk works again.
    Mended,
    /// The spool holds these too, which the disk did not show before.
    Found(Vec<Span>),
    /// Every input has ended, and everything that they sent is accepted or refused.
    InputsDrained,
}

/// What the driver asks of the recorder.
#[derive(Debug)]
pub enum RecorderCommand {
    /// Acknowledged: the spool may remove it.
    Release(Released),
    /// Damaged in the spool, or refused by the gateway for good: it becomes a loss record.
    GiveUp(NumberedHead, LossReason),
}

/// The driver's end of the recorder thread. The thread ends when the intake is closed and all is recorded; dropping
/// this closes it without waiting.
#[derive(Debug)]
pub struct Recording {
    commands: mpsc::Sender<RecorderCommand>,
    intake: Intake,
    thread: Option<JoinHandle<bool>>,
}

/// The recorder thread has ended; the command came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder has ended")]
pub struct RecorderEnded;

struct RecorderThread {
    steps: Steps,
    commands: mpsc::Receiver<RecorderCommand>,
    outbox: Arc<Outbox>,
    clocks: Clocks,
}

/// Starts the recorder thread on an open spool.
pub fn start(
    spool: Spool,
    (intake, outlet): (Intake, Outlet),
    config: RecorderConfig,
    clocks: Clocks,
) -> io::Result<(Recording, RecorderEvents)> {
    let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
    let outbox = Arc::new(Outbox::default());
    let events = RecorderEvents::new(Arc::clone(&outbox), intake.clone());
    let thread =
        RecorderThread { steps: Steps::new(spool, outlet, config), commands: waiting, outbox, clocks };
    let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || thread.run())?;
    Ok((Recording { commands, intake, thread: Some(thread) }, events))
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            sync_every: Duration::from_millis(500),
            batcher: BatcherConfig::default(),
            memory_bytes: 8 * 1024 * 1024,
            costs: Arc::default(),
        }
    }
}

impl RecorderConfig {
    /// Takes what the configuration says, with all declarations. The bulk lane waits at least its usual time: that is
    /// what it is for.
    pub fn new(config: &Config, declarations: Arc<Declarations>) -> Self {
        let linger_live = config.batch.linger.duration();
        let linger_bulk = BatcherConfig::default().linger_bulk.max(linger_live);
        let batcher = BatcherConfig { linger_live, linger_bulk, declarations };
        let memory_bytes = config.spool.memory_limit.bytes();
        let sync_every = config.spool.sync_every.duration();
        Self { sync_every, batcher, memory_bytes, costs: Arc::default() }
    }
}

impl Recording {
    /// Sends a command; waits while the disk is busy and many wait already.
    pub async fn command(&self, command: RecorderCommand) -> Result<(), RecorderEnded> {
        self.commands.send(command).await.map_err(|_| RecorderEnded)?;
        self.intake.poke();
        Ok(())
    }

    /// Closes the intake, and waits until what was taken is synced and the spool is closed. The last events are then
    /// to be had. Returns whether samples are lost that were only in memory. Blocks.
    pub fn finish(mut self) -> bool {
        self.intake.close();
        // A panic there was reported when it happened; the spool recovers from it at the next start.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(false)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.intake.close();
    }
}

impl RecorderThread {
    fn run(mut self) -> bool {
        let _end = EndOnDrop(Arc::clone(&self.outbox));
        loop {
            let now = self.clocks.mono.mono();
            while let Ok(command) = self.commands.try_recv() {
                self.steps.handle_command(command, now);
            }
            let behind = self.outbox.put(self.steps.handle_timeout(now, &*self.clocks.read));
            let reader = if behind { Reader::Behind } else { Reader::KeepsUp };
            let patience = self.steps.poll_timeout().map(|at| at.since(now));
            if self.steps.take(reader, patience, || self.clocks.mono.mono()) == Flow::Closed {
                break;
            }
        }
        let last = self.steps.finish(&*self.clocks.read);
        self.outbox.put(last.events);
        last.lost
    }
}

/// Ends the events however the thread ends, so that the driver never waits for a thread that is gone.
struct EndOnDrop(Arc<Outbox>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for Clocks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Clocks({:?})", self.mono)
    }
}

#[cfg(test)]
mod tests;
