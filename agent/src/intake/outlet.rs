//! The recorder's end of the queue.

use std::{
    collections::VecDeque,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use super::{Inner, Item, Origin, Shared, Shown, Untold, Why};

/// The recorder's end of the queue. There is one.
#[derive(Debug)]
pub struct Outlet {
    shared: Arc<Shared>,
    /// What the last [`Outlet::take`] returned, so that a lasting state does not wake it again.
    seen: State,
}

/// Which rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Of all sources.
    All,
    /// Of live sources only: the spool has no room for the others.
    Live,
    /// None: whoever takes what is recorded has to catch up first.
    Nothing,
}

/// What is known of the queue after taking from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Every input ended, and everything that they sent was taken.
    pub drained: bool,
    /// Nothing comes in any more, and everything was taken.
    pub closed: bool,
}

impl Outlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, seen: State::default() }
    }

    /// Waits until there are wanted items, at most for `patience`, and moves a bounded number of them to
    /// `out`. Also returns when the state changes and when it is poked, and may return early with nothing.
    pub fn take(&mut self, want: Want, patience: Option<Duration>, out: &mut VecDeque<Item>) -> State {
        let mut inner = self.shared.inner();
        for last_look in [patience == Some(Duration::ZERO), true] {
            // At the end everything is taken: nobody will come for it later.
            let want = if inner.closed { Want::All } else { want };
            let took_live = want != Want::Nothing && inner.live.take(out);
            let took_wait = want == Want::All && inner.wait.take(out);
            if took_wait {
                self.shared.room.notify_all();
            }
            let state = inner.state();
            let poked = std::mem::take(&mut inner.poked);
            if took_live || took_wait || poked || state != self.seen || last_look {
                self.seen = state;
                return state;
            }
            inner = self.shared.wait_for_work(inner, patience);
        }
        self.seen
    }

    /// Counts and shows a row that the recorder refused.
    pub fn refuse(&self, origin: &Origin, why: Why<'_>, shown: Shown<'_>) {
        origin.count_refused_late();
        self.shared.ledger.note(origin.input(), why, shown, 1);
    }

    /// Counts samples that were refused, for a loss record.
    pub fn lose(&self, lost: Untold) {
        self.shared.ledger.lose(lost);
    }

    /// Returns whether samples were refused since [`Outlet::take_untold`].
    pub fn has_untold(&self) -> bool {
        self.shared.ledger.has_untold()
    }

    /// Returns what was refused since the last call and has to be told by loss records.
    pub fn take_untold(&self) -> Vec<Untold> {
        self.shared.ledger.take_untold()
    }

    /// Counts and shows rows that went into a batch which the spool refused in the end.
    pub fn give_back(&self, origin: &Origin, rows: u64, why: Why<'_>) {
        origin.count_given_back(rows);
        self.shared.ledger.note(origin.input(), why, Shown { line: 0, text: b"a whole batch" }, rows);
    }
}

impl Shared {
    fn wait_for_work<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, Inner> {
        const UNPOISONED: &str = "nothing panics while it holds the queue";
        match patience {
            None => self.work.wait(inner).expect(UNPOISONED),
            Some(span) => self.work.wait_timeout(inner, span).expect(UNPOISONED).0,
        }
    }
}

impl Inner {
    fn state(&self) -> State {
        let empty = self.live.is_empty() && self.wait.is_empty();
        State { drained: self.sealed && self.sources == 0 && empty, closed: self.closed && empty }
    }
}
