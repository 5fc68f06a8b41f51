//! The committer: the one thread that writes the log, and the only maker of acknowledgements.
//!
//! Records queue up; the thread takes what is there, up to a bound, commits it as one group under one sync, shows the
//! group to the fold of the fleet's state, and then answers whoever waits, in order. While one group syncs the next
//! one gathers: many robots share one sync, and a lone record waits for nobody.
//!
//! ```text
//!   submit --> queue, bounded by bytes --> group --> Store::append --> on_commit(group) --> done(Ok), in order
//!                                                       |-- full:    done(DiskFull), refuse until there is room
//!                                                       `-- failed:  done(Failed) for all, on_fatal, the end
//! ```
//!
//! It promises that `done` gets `Ok` only after the sync that covers the record, and that after a failed write or
//! sync nothing is acknowledged any more. It never waits for a reader, a subscriber or a robot.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use muster_protocol::{
    batch::DecodedBatch,
    id::{Offset, SchemaHash},
    schema::Schema,
    time::MonoTime,
};

use crate::{
    clock::Clock,
    record::{Body, Envelope},
    store::{Committed, Encoded, Store, StoreError},
};

mod figures;
mod queue;
#[cfg(test)]
mod tests;

pub use figures::CommitFigures;
use figures::Figures;
use queue::{Queue, Waiting, Work};
pub use queue::{RejectReason, Rejected};

/// A record on its way into the log.
pub struct Entry {
    /// The record.
    pub envelope: Envelope,
    /// The schema that a batch refers to, encoded. Give it with each batch: it is written only where it is lacking.
    pub schema: Option<(SchemaHash, Bytes)>,
    /// The batch as it was checked, so that nobody decodes it twice.
    pub decoded: Option<Arc<Decoded>>,
    /// Is called once, on the committer's thread, when the record is synced or will never be. It must not block.
    pub done: Done,
}

/// What waits for a record's commit.
pub type Done = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// A decoded batch and the channels that it refers to.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The channels.
    pub schema: Arc<Schema>,
    /// The samples.
    pub batch: DecodedBatch,
}

/// Why a record is not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// There is no room. Later there may be.
    #[error("the log has no room")]
    DiskFull,
    /// The batch came without its schema, and the log does not have it.
    #[error("the log does not have the batch's schema")]
    NoSchema,
    /// A write or sync failed, and the gateway stops. Whether the record is in the log is not known.
    #[error("the log cannot be written")]
    Failed,
}

/// What one sync made durable.
#[derive(Debug)]
pub struct CommittedGroup<'a> {
    /// The records, in the order of the log.
    pub records: Vec<(Committed, &'a Envelope, Option<&'a Decoded>)>,
    /// Bytes of them, as encoded.
    pub bytes: usize,
    /// How long it took from the first write to the end of the sync.
    pub took: Duration,
    /// How long each record took from its arrival to the end of the sync; empty for what the committer wrote by itself.
    pub latencies: Vec<Duration>,
}

/// How much the committer takes at once, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitterConfig {
    /// A group is closed at about this many bytes.
    pub group_bytes: usize,
    /// Most bytes that wait in memory, decoded batches included.
    pub queue_bytes: usize,
}

/// Follows the log on the committer's thread. It holds up all commits: it must be quick.
pub trait Follow: Send {
    /// Is shown each group after its sync and before its acknowledgements.
    fn handle_committed(&mut self, group: &CommittedGroup<'_>);

    /// Is told that the log was sealed up to and including this record, before anything follows it.
    fn handle_sealed(&mut self, _last: Offset) {}
}

impl<F: FnMut(&CommittedGroup<'_>) + Send> Follow for F {
    fn handle_committed(&mut self, group: &CommittedGroup<'_>) {
        self(group);
    }
}

/// What follows the log.
pub type OnCommit = Box<dyn Follow>;

/// The answer to [`CommitterHandle::seal`].
#[derive(Debug)]
pub struct SealedUpTo {
    /// Every record below stands in a partition that is not written any more.
    pub end: Offset,
    /// Answers when all those partitions are sealed.
    pub settled: mpsc::Receiver<()>,
}

/// Is called once if the log cannot be written any more: the process has to stop.
pub type OnFatal = Box<dyn FnOnce(StoreError) + Send>;

/// The committer's thread. Dropping it shuts it down in order.
#[derive(Debug)]
pub struct Committer {
    queue: Arc<Queue>,
    figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

/// Hands records to the committer. Clones share the queue.
#[derive(Clone, Debug)]
pub struct CommitterHandle {
    queue: Arc<Queue>,
    figures: Arc<Figures>,
}

impl Default for CommitterConfig {
    fn default() -> Self {
        Self { group_bytes: 4 << 20, queue_bytes: 32 << 20 }
    }
}

impl Committer {
    /// Starts the thread that owns the store from now on. Returns when the log says what the last run left unsaid of
    /// damaged partitions, or has no room for it: a robot that speaks later finds those seqs decided.
    pub fn spawn(
        store: Store,
        clock: Clock,
        config: CommitterConfig,
        on_commit: OnCommit,
        on_fatal: OnFatal,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(config.queue_bytes, clock));
        let figures = Arc::<Figures>::default();
        let woken = Arc::clone(&queue);
        store.wake_unaccounted(Box::new(move || woken.account()));
        let group_bytes = config.group_bytes;
        let worker = Worker { store, clock, group_bytes, on_commit, figures: Arc::clone(&figures) };
        let shared = Arc::clone(&queue);
        let builder = std::thread::Builder::new().name("committer".to_owned());
        let (ready, accounted) = mpsc::sync_channel::<()>(0);
        let thread = builder.spawn(move || run(worker, &shared, ready, on_fatal))?;
        let _ = accounted.recv(); // nothing is sent: it returns when the thread lets go of the other end
        Ok(Self { queue, figures, thread: Some(thread) })
    }

    /// Returns what records are handed in with.
    pub fn handle(&self) -> CommitterHandle {
        CommitterHandle { queue: Arc::clone(&self.queue), figures: Arc::clone(&self.figures) }
    }

    /// Takes nothing more, commits what waits, answers, and closes the log.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic was reported through `on_fatal`
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl CommitterHandle {
    /// Queues a record, without waiting. If it is not taken it comes back, and its `done` was not called.
    pub fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        self.queue.push(entry)
    }

    /// Queues all of these records or none, without waiting. Those not taken are dropped, and no `done` was called.
    pub fn submit_all(&self, entries: Vec<Entry>) -> Result<(), RejectReason> {
        self.queue.push_all(entries)
    }

    /// Ends the partition that is written, so that all that is committed can be copied. Blocks the thread until the
    /// committer gets to it; `None` if it has ended.
    pub fn seal(&self) -> Option<SealedUpTo> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.queue.seal(answer);
        answered.recv().ok()
    }

    /// Takes what was committed since the last call, and since when the group is begun that is committed now. Who asks is
    /// one.
    pub fn take_figures(&self) -> (CommitFigures, Option<MonoTime>) {
        self.figures.take()
    }

    /// Returns how many bytes wait.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Returns how many bytes may wait.
    pub fn queue_bytes_max(&self) -> usize {
        self.queue.bytes_max()
    }
}

impl Entry {
    /// Returns about how much memory the entry holds.
    fn cost(&self) -> usize {
        const ENTRY_BYTES: usize = 512;
        const DECODED_SAMPLE_BYTES: usize = 32;
        let decoded = self.decoded.as_ref().map_or(0, |decoded| decoded.batch.info.samples as usize);
        ENTRY_BYTES + self.payload_bytes() + decoded * DECODED_SAMPLE_BYTES
    }

    fn payload_bytes(&self) -> usize {
        match &self.envelope.body {
            Body::Batch { payload, .. } => payload.len(),
            Body::Loss { loss, .. } => size_of_val(&loss.lost[..]),
            Body::Labels(set) => {
                set.labels.iter().map(|(key, value)| key.as_str().len() + value.as_str().len()).sum()
            }
            Body::Session(_) | Body::Absence(_) | Body::ClockFix(_) => 0,
        }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Entry").field("envelope", &self.envelope).finish_non_exhaustive()
    }
}

struct Worker {
    store: Store,
    clock: Clock,
    group_bytes: usize,
    on_commit: OnCommit,
    figures: Arc<Figures>,
}

fn run(mut worker: Worker, queue: &Queue, ready: mpsc::SyncSender<()>, on_fatal: OnFatal) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        worker.account(queue)?;
        drop(ready);
        worker.work(queue)
    }));
    queue.close();
    let error = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => {
            let why = "the committer panicked; the panic is in the log".to_owned();
            StoreError::Failed { action: "commit to", path: PathBuf::from("the log"), why }
        }
    };
    tracing::error!(%error, "nothing is committed any more");
    queue.fail_all();
    on_fatal(error);
}

impl Worker {
    fn work(&mut self, queue: &Queue) -> Result<(), StoreError> {
        loop {
            match queue.wait(self.group_bytes) {
                Work::Group(group) => self.commit(group, queue)?,
                Work::LookForRoom => {
                    let has_room = self.store.has_room();
                    queue.set_refusing(!has_room);
                    if has_room && self.store.has_unaccounted() {
                        self.account(queue)?;
                    }
                }
                Work::Account => self.account(queue)?,
                Work::Seal(answer) => {
                    let (end, settled) = self.store.seal()?;
                    if let Some(last) = end.0.checked_sub(1).filter(|last| *last > 0) {
                        self.on_commit.handle_sealed(Offset(last));
                    }
                    let _ = answer.send(SealedUpTo { end, settled }); // whoever asked may have gone
                }
                Work::Ended => return Ok(()),
            }
        }
    }

    /// Writes into the log what damaged partitions held.
    fn account(&mut self, queue: &Queue) -> Result<(), StoreError> {
        loop {
            let start = self.clock.mono();
            let committed = match self.store.account_next(self.clock.wall()) {
                Ok(committed) if committed.is_empty() => return Ok(()),
                Ok(committed) => committed,
                Err(error @ StoreError::DiskFull { .. }) => {
                    tracing::warn!(%error, "a loss is not in the log yet");
                    queue.set_refusing(true);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let took = self.clock.mono().since(start);
            let records = committed.iter().map(|(token, envelope)| (*token, envelope, None)).collect();
            self.on_commit.handle_committed(&CommittedGroup {
                records,
                bytes: 0,
                took,
                latencies: Vec::new(),
            });
        }
    }

    fn commit(&mut self, group: Vec<Waiting>, queue: &Queue) -> Result<(), StoreError> {
        let start = self.clock.mono();
        self.figures.began(start);
        let committed = self.commit_group(group, start, queue);
        self.figures.ended(committed.as_ref().ok().copied().flatten());
        committed.map(drop)
    }

    /// Returns what there is to say of the group, if it was committed.
    fn commit_group(
        &mut self,
        group: Vec<Waiting>,
        start: MonoTime,
        queue: &Queue,
    ) -> Result<Option<CommitFigures>, StoreError> {
        let (arrived, group): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.since, waiting.entry)).unzip();
        let (group, mut encoded) = self.encode(group);
        let outcome = self.store.append(&encoded);
        let end = self.clock.mono();
        let took = end.since(start);
        let bytes = encoded.iter().map(Encoded::len).sum();
        encoded.clear();
        let committed = match outcome {
            Ok(committed) => committed,
            Err(error) => {
                let full = matches!(error, StoreError::DiskFull { .. } | StoreError::NoSchema { .. });
                if full {
                    tracing::warn!(%error, "records are refused");
                    queue.set_refusing(matches!(error, StoreError::DiskFull { .. }));
                }
                let why = if full { CommitError::DiskFull } else { CommitError::Failed };
                for entry in group {
                    (entry.done)(Err(why));
                }
                return if full { Ok(None) } else { Err(error) };
            }
        };
        let records = committed.iter().zip(&group).map(|(token, entry)| seen(*token, entry)).collect();
        let latencies: Vec<Duration> = arrived.into_iter().map(|arrived| end.since(arrived)).collect();
        let wait_max = latencies.iter().max().copied().unwrap_or_default();
        self.on_commit.handle_committed(&CommittedGroup { records, bytes, took, latencies });
        for (token, entry) in committed.into_iter().zip(group) {
            (entry.done)(Ok(token));
        }
        Ok(Some(CommitFigures { groups: 1, sync_max: took, sync_sum: took, wait_max }))
    }

    /// Encodes a group and turns away what could not be read again.
    fn encode(&self, group: Vec<Entry>) -> (Vec<Entry>, Vec<Encoded>) {
        let mut kept = Vec::with_capacity(group.len());
        let mut encoded = Vec::with_capacity(group.len());
        for entry in group {
            let record = Encoded::new(&entry.envelope, entry.schema.clone());
            if self.store.lacks_schema(&record) {
                (entry.done)(Err(CommitError::NoSchema));
            } else {
                kept.push(entry);
                encoded.push(record);
            }
        }
        (kept, encoded)
    }
}

fn seen(token: Committed, entry: &Entry) -> (Committed, &Envelope, Option<&Decoded>) {
    (token, &entry.envelope, entry.decoded.as_deref())
}
