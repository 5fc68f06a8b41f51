//! The gateway's committer in virtual time: a bounded queue, groups under one sync that takes its time, and a disk that
//! may be full. The bytes are kept by the store's own log in memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_gateway::{
    committer::{CommitError, Entry, RejectReason, Rejected},
    ingest,
    projection::History,
    record::{Body, Envelope},
    store::{Committed, Encoded, ReadError, simulated::SimulatedLog},
};
use muster_protocol::{
    id::{Offset, RobotId, SchemaHash},
    schema::Schema,
};

/// What ingest submits to, and what a start reads.
#[derive(Clone)]
pub(super) struct WorldLog {
    kept: SimulatedLog,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    full: bool,
    group: Vec<Entry>,
    rejected: u64,
}

impl WorldLog {
    pub(super) fn new(kept: SimulatedLog, bytes_max: usize) -> Self {
        let state = State { bytes_max, ..State::default() };
        Self { kept, state: Arc::new(Mutex::new(state)) }
    }

    /// Takes the next group and writes it, unsynced. Returns whether there was one.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.lock();
        if !state.group.is_empty() || state.queue.is_empty() {
            return false;
        }
        let group: Vec<Entry> = std::mem::take(&mut state.queue).into();
        state.bytes = 0;
        self.kept
            .write(group.iter().map(|entry| Encoded::new(&entry.envelope, entry.schema.clone())).collect());
        state.group = group;
        true
    }

    /// Ends the group that was begun: synced.
    pub(super) fn end(&self) -> Vec<(Committed, Entry)> {
        let group = std::mem::take(&mut self.lock().group);
        self.kept.sync().into_iter().zip(group).collect()
    }

    /// Ends the group that was begun: there was no room for it.
    pub(super) fn end_full(&self) {
        let group = std::mem::take(&mut self.lock().group);
        self.kept.crash(0);
        for entry in group {
            (entry.done)(Err(CommitError::DiskFull));
        }
    }

    pub(super) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.group.is_empty()
    }

    pub(super) fn queued_bytes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.bytes, state.bytes_max)
    }

    /// Returns how often the queue was full.
    pub(super) fn rejected(&self) -> u64 {
        self.lock().rejected
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ingest::Log for WorldLog {
    fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        let mut state = self.lock();
        let bytes = cost(&entry);
        if state.full {
            return Err(Rejected { entry: Box::new(entry), why: RejectReason::DiskFull });
        }
        // One record is taken into an empty queue, whatever its size.
        if !state.queue.is_empty() && state.bytes + bytes > state.bytes_max {
            state.rejected += 1;
            return Err(Rejected { entry: Box::new(entry), why: RejectReason::QueueFull });
        }
        state.bytes += bytes;
        state.queue.push_back(entry);
        Ok(())
    }

    fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.kept.schema(robot, hash)
    }
}

impl History for WorldLog {
    fn first(&self) -> Offset {
        Offset::FIRST
    }

    fn scan(&self, from: Offset) -> impl Iterator<Item = Result<(Offset, Envelope), ReadError>> {
        self.kept.records(from).into_iter()
    }

    fn schema_at(&self, _offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.kept.schema(robot, hash)
    }
}

fn cost(entry: &Entry) -> usize {
    let payload = match &entry.envelope.body {
        Body::Batch { payload, .. } => payload.len(),
        _ => 0,
    };
    ENTRY_BYTES + payload
}

const ENTRY_BYTES: usize = 512;
