//! Sealed partitions are opened when someone reads them, and only so many stay open.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
};

use super::database::{Database, DatabaseError};
use muster_protocol::id::Offset;

/// The databases of sealed partitions that were read lately. The bound counts those that nobody reads right now, so
/// at most that many plus the number of readers are open.
#[derive(Debug)]
pub(super) struct Handles {
    recent: Mutex<VecDeque<(Offset, Arc<Database>)>>,
    open_max: usize,
}

/// Lets at most one handle of one database exist: sled locks its file.
#[derive(Debug, Default)]
pub(super) struct Slot {
    state: Mutex<SlotState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum SlotState {
    #[default]
    Closed,
    /// Being opened, or in use by others than readers.
    Busy,
    Open(Weak<Database>),
    /// Never to be opened again.
    Gone,
}

/// The database is not to be opened any more: the partition was dropped or set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Handles {
    pub(super) fn new(open_max: usize) -> Self {
        Self { recent: Mutex::default(), open_max }
    }

    /// Keeps a database open, and lets the longest unused one go.
    pub(super) fn keep(&self, first: Offset, database: &Arc<Database>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(other, _)| *other != first);
        recent.push_back((first, Arc::clone(database)));
        let let_go = if recent.len() > self.open_max { recent.pop_front() } else { None };
        drop(recent);
        drop(let_go); // closing syncs: not under the lock
    }

    /// Lets a database go.
    pub(super) fn forget(&self, first: Offset) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(other, _)| *other == first);
        let let_go = at.and_then(|at| recent.remove(at));
        drop(recent);
        drop(let_go);
    }

    /// Returns how many are kept open.
    pub(super) fn len(&self) -> usize {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Slot {
    /// Returns the open database, or opens it with `open`, while other callers wait.
    pub(super) fn open(
        &self,
        open: impl FnOnce() -> Result<Database, DatabaseError>,
    ) -> Result<Result<Arc<Database>, DatabaseError>, Gone> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*state {
                SlotState::Gone => return Err(Gone),
                SlotState::Closed => break,
                SlotState::Busy => {}
                SlotState::Open(weak) => match weak.upgrade() {
                    Some(database) => return Ok(Ok(database)),
                    None => break,
                },
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state = SlotState::Busy;
        drop(state);
        let opened = open().map(Arc::new);
        let after = match &opened {
            Ok(database) => SlotState::Open(Arc::downgrade(database)),
            Err(_) => SlotState::Closed,
        };
        self.set(after);
        Ok(opened)
    }

    /// Says that the database is open as the one that is written.
    pub(super) fn set_open(&self, database: &Arc<Database>) {
        self.set(SlotState::Open(Arc::downgrade(database)));
    }

    /// Waits until nobody is opening it, and lets nobody open it again.
    pub(super) fn close_for_good(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while matches!(*state, SlotState::Busy) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        *state = SlotState::Gone;
        self.changed.notify_all();
    }

    fn set(&self, to: SlotState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // a partition that was dropped while it was being opened stays dropped
        if !matches!(*state, SlotState::Gone) {
            *state = to;
        }
        self.changed.notify_all();
    }
}
