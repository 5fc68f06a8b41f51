//! What waits for the committer, bounded by the memory that it holds.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::Duration,
};

use muster_protocol::time::MonoTime;

use super::{CommitError, Entry, SealedUpTo};
use crate::clock::Clock;

/// The queue between those who submit and the committer's thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    bytes_max: usize,
    clock: Clock,
}

/// A record that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    /// Since when.
    pub(super) since: MonoTime,
}

/// A record was not taken.
#[derive(Debug)]
pub struct Rejected {
    /// The record, unchanged.
    pub entry: Box<Entry>,
    /// Why.
    pub why: RejectReason,
}

/// Why the committer does not take a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// The queue is full; some commits later it is not.
    QueueFull,
    /// The log had no room when the committer looked last; this record made it look again.
    DiskFull,
    /// The committer has ended or is ending.
    Closed,
}

/// What the thread is to do next.
pub(super) enum Work {
    /// Commit these.
    Group(Vec<Waiting>),
    /// See whether there is room again.
    LookForRoom,
    /// Write into the log what was lost.
    Account,
    /// End the partition that is written, and answer.
    Seal(SyncSender<SealedUpTo>),
    /// End: nothing waits and nothing more will come.
    Ended,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "what the committer is asked for, in any combination")]
struct State {
    entries: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
    refusing: bool,
    look_for_room: bool,
    account: bool,
    seal: Option<SyncSender<SealedUpTo>>,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, clock: Clock) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), bytes_max, clock }
    }

    pub(super) fn push(&self, entry: Entry) -> Result<(), Rejected> {
        let since = self.clock.mono();
        let mut state = self.lock();
        let cost = entry.cost();
        match self.make_room(&mut state, cost) {
            Ok(()) => state.entries.push_back(Waiting { entry, since }),
            Err(why) => return Err(Rejected { entry: Box::new(entry), why }),
        }
        Ok(())
    }

    /// Takes all of these or none. Whatever their size, they are taken into an empty queue.
    pub(super) fn push_all(&self, entries: Vec<Entry>) -> Result<(), RejectReason> {
        let since = self.clock.mono();
        let mut state = self.lock();
        self.make_room(&mut state, entries.iter().map(Entry::cost).sum())?;
        state.entries.extend(entries.into_iter().map(|entry| Waiting { entry, since }));
        Ok(())
    }

    /// Sets aside what records cost that are about to be queued, and wakes the committer, which waits for the lock.
    fn make_room(&self, state: &mut State, cost: usize) -> Result<(), RejectReason> {
        if state.closed {
            return Err(RejectReason::Closed);
        }
        if state.refusing {
            state.look_for_room = true;
            self.changed.notify_one();
            return Err(RejectReason::DiskFull);
        }
        if state.bytes + cost > self.bytes_max && !state.entries.is_empty() {
            return Err(RejectReason::QueueFull);
        }
        state.bytes += cost;
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work, and takes a group of at least one record and about `group_bytes`. While records are refused it
    /// is work to look for room again and again.
    pub(super) fn wait(&self, group_bytes: usize) -> Work {
        let mut state = self.lock();
        loop {
            if !state.entries.is_empty() && state.seal.is_none() && !state.account {
                return Work::Group(state.take(group_bytes));
            }
            if std::mem::take(&mut state.account) {
                return Work::Account;
            }
            if let Some(answer) = state.seal.take() {
                return Work::Seal(answer);
            }
            if state.closed {
                return Work::Ended;
            }
            if std::mem::take(&mut state.look_for_room) {
                return Work::LookForRoom;
            }
            if state.refusing {
                let waited = self.changed.wait_timeout(state, LOOK_FOR_ROOM_EVERY);
                let (woken, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                state.look_for_room |= waited.timed_out();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Asks for what was lost to be written into the log.
    pub(super) fn account(&self) {
        self.lock().account = true;
        self.changed.notify_one();
    }

    /// Asks for the partition that is written to be ended, before what waits is committed. One asks at a time.
    /// A closed queue drops the answer.
    pub(super) fn seal(&self, answer: SyncSender<SealedUpTo>) {
        let mut state = self.lock();
        if !state.closed {
            state.seal = Some(answer);
            self.changed.notify_one();
        }
    }

    pub(super) fn set_refusing(&self, refusing: bool) {
        self.lock().refusing = refusing;
    }

    /// Takes nothing more. What waits is still committed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Answers everything that waits: it will not be committed.
    pub(super) fn fail_all(&self) {
        let mut state = self.lock();
        let failed = std::mem::take(&mut state.entries);
        state.bytes = 0;
        state.seal = None;
        drop(state);
        for waiting in failed {
            (waiting.entry.done)(Err(CommitError::Failed));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, group_bytes: usize) -> Vec<Waiting> {
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < group_bytes
            && let Some(waiting) = self.entries.pop_front()
        {
            bytes += waiting.entry.payload_bytes();
            self.bytes = self.bytes.saturating_sub(waiting.entry.cost());
            group.push(waiting);
        }
        group
    }
}

/// How often to look for room while there is none. Whoever was refused asks again only after much longer, and should
/// then not be the one who finds the room and is refused once more.
const LOOK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);
