//! What the committer says of its own pace.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_protocol::time::MonoTime;

/// What the committer has done since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitFigures {
    /// Groups committed.
    pub groups: u64,
    /// The longest sync of them.
    pub sync_max: Duration,
    /// All their syncs.
    pub sync_sum: Duration,
    /// The longest that a record waited from its arrival to the end of its sync.
    pub wait_max: Duration,
}

/// The figures between the committer's thread and whoever asks.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    figures: CommitFigures,
    busy_since: Option<MonoTime>,
}

impl CommitFigures {
    /// Returns the figures of both spans.
    #[must_use]
    pub fn joined(self, other: &Self) -> Self {
        Self {
            groups: self.groups + other.groups,
            sync_max: self.sync_max.max(other.sync_max),
            sync_sum: self.sync_sum.saturating_add(other.sync_sum),
            wait_max: self.wait_max.max(other.wait_max),
        }
    }
}

impl Figures {
    /// Notes that a group is begun.
    pub(super) fn began(&self, now: MonoTime) {
        self.lock().busy_since = Some(now);
    }

    /// Notes that the group has ended, and what there is to say of it; nothing if it was not committed.
    pub(super) fn ended(&self, of_group: Option<CommitFigures>) {
        let mut state = self.lock();
        state.busy_since = None;
        if let Some(figures) = of_group {
            state.figures = state.figures.joined(&figures);
        }
    }

    /// Takes the figures since the last call, and since when the group is begun that is committed now.
    pub(super) fn take(&self) -> (CommitFigures, Option<MonoTime>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.figures), state.busy_since)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in it can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
