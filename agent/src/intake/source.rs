//! A source: an input, or one connection of it, as the queue sees it. It counts what was accepted and refused.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_protocol::{id::Lane, loss::LossReason, sample::Row};

use crate::batcher::{Manner, Stamped, check_row};

use super::{
    Inner, Item, QueuedRow, Refused, Shared, Shown, SyncRequest, Untold, Why,
    queue::{Queue, memory_bytes},
};

/// An input, or one connection of it. Dropping it says that nothing more comes.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    origin: Origin,
}

/// Where a row came from: the identity and the counters of a [`Source`], which live as long as its rows.
#[derive(Clone)]
pub struct Origin(Arc<OriginState>);

struct OriginState {
    input: Arc<str>,
    manner: Manner,
    /// The input of which this is a connection. It counts what its connections count.
    whole: Option<Origin>,
    /// Rows and lines refused where they were read.
    refused_early: AtomicU64,
    /// Rows that the recorder put into a batch.
    recorded: AtomicU64,
    /// Rows refused by the recorder.
    refused_late: AtomicU64,
    /// Rows in batches that the spool refused in the end: part of `recorded`.
    given_back: AtomicU64,
}

/// What is left of a row without the values that are none.
#[derive(PartialEq, Eq)]
enum Rest {
    Samples,
    Nothing,
}

/// Rows, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows taken in: written to the spool, or about to be. They are accepted where the answer to a sync carries this
    /// count; while the spool's disk fails they are in memory alone, or recorded as lost.
    pub accepted: u64,
    /// Rows and lines refused.
    pub refused: u64,
}

impl fmt::Display for Counts {
    /// Writes `120 rows taken in, 3 refused`: that they are accepted, only the answer to a sync may say.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} rows taken in, {} refused", self.accepted, self.refused)
    }
}

impl Source {
    pub(super) fn new(shared: &Arc<Shared>, input: Arc<str>, manner: Manner) -> Self {
        Self::of(shared, input, manner, None)
    }

    fn of(shared: &Arc<Shared>, input: Arc<str>, manner: Manner, whole: Option<Origin>) -> Self {
        shared.inner().sources += 1;
        let state = OriginState {
            input,
            manner,
            whole,
            refused_early: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            refused_late: AtomicU64::new(0),
            given_back: AtomicU64::new(0),
        };
        Self { shared: Arc::clone(shared), origin: Origin(Arc::new(state)) }
    }

    /// Registers a connection of this input, with counts of its own that are part of this one's.
    #[must_use]
    pub fn connection(&self) -> Self {
        let whole = self.origin.clone();
        Self::of(&self.shared, Arc::clone(&whole.0.input), whole.0.manner, Some(whole))
    }

    /// Puts a row into the queue. A source that waits blocks here until there is room; a live one never blocks. A
    /// refusal is counted and shown before it is returned. Of a row whose values are all declared to be none nothing is
    /// left: like a line of nulls it is neither taken nor refused.
    pub fn push(&self, mut row: Stamped, shown: Shown<'_>) -> Result<(), Refused> {
        if self.leave_out(&mut row.row) == Rest::Nothing {
            return Ok(());
        }
        let (samples, t, named) = (row.row.fields.len() as u64, row.t, row.row.lane);
        let result = check_row(&row.row).map_err(Refused::from).and_then(|()| self.enqueue(row, shown.line));
        // A file that is not read to its end has not been refused anything: its rows are still in it.
        let left = result == Err(Refused::Closed) && self.origin.0.manner == Manner::Wait;
        if let Err(refused) = result
            && !left
        {
            self.note(Why { reason: refused.kind(), lane: refused.lane(), sentence: &refused }, shown);
            if let Some(reason) = refused.loss() {
                let lane = refused.lane().or(named).unwrap_or(Lane::Live);
                self.lose(Untold { reason, lane, samples, span: Some((t, t)) });
            }
        }
        result
    }

    /// Counts and shows a line that never became a row. With `loss`, a loss record will tell of it as one sample.
    pub fn refuse(
        &self,
        reason: &'static str,
        loss: Option<LossReason>,
        sentence: &dyn fmt::Display,
        shown: Shown<'_>,
    ) {
        self.note(Why { reason, lane: None, sentence }, shown);
        if let Some(reason) = loss {
            self.lose(Untold { reason, lane: Lane::Live, samples: 1, span: None });
        }
    }

    /// Asks for an answer when everything that this source sent before is synced. `respond` is called on the recorder
    /// thread and must not block; it is dropped without a call if the agent ends first.
    pub fn sync(&self, respond: impl FnOnce(Counts) + Send + 'static) -> Result<(), Refused> {
        let request = SyncRequest {
            origin: self.origin.clone(),
            refused_early: self.origin.0.refused_early.load(Ordering::Relaxed),
            at_recorder: Counts::default(),
            respond: Box::new(respond),
        };
        let mut inner = self.shared.inner();
        if inner.closed {
            return Err(Refused::Closed);
        }
        let queue = inner.queue(self.origin.0.manner);
        if !queue.has_room_for_sync() {
            return Err(Refused::QueueFull { lane: Lane::Urgent });
        }
        queue.push(Item::Sync(request));
        drop(inner);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Returns the input's name, as configured.
    pub fn input(&self) -> &str {
        &self.origin.0.input
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.origin.counts()
    }

    /// Returns the identity that its rows carry.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn enqueue(&self, row: Stamped, line: u64) -> Result<(), Refused> {
        let bytes = memory_bytes(&row.row);
        let manner = self.origin.0.manner;
        let mut inner = self.shared.inner();
        loop {
            if inner.closed {
                return Err(Refused::Closed);
            }
            if inner.queue(manner).has_room(bytes, || self.lane_of(&row.row)) {
                break;
            }
            if manner == Manner::Live {
                return Err(Refused::QueueFull { lane: self.lane_of(&row.row) });
            }
            inner = self.shared.room.wait(inner).expect("nothing panics while it holds the queue");
        }
        let queue = inner.queue(manner);
        let was_empty = queue.is_empty();
        queue.push(Item::Row(QueuedRow { row, origin: self.origin.clone(), line, bytes }));
        drop(inner);
        if was_empty {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    fn lane_of(&self, row: &Row) -> Lane {
        let names = row.fields.iter().map(|(name, _)| name);
        row.lane.unwrap_or_else(|| self.shared.declarations.lane_of_all(names))
    }

    /// Takes out of a row what is declared to be none, and counts it.
    fn leave_out(&self, row: &mut Row) -> Rest {
        let before = row.fields.len();
        let Shared { declarations, absent, .. } = &*self.shared;
        declarations.leave_out(row, |channel, value| absent.note(channel, value));
        if row.fields.is_empty() && before > 0 { Rest::Nothing } else { Rest::Samples }
    }

    /// Hands what was refused to the recorder, for a loss record.
    fn lose(&self, lost: Untold) {
        if self.shared.ledger.lose(lost) {
            self.shared.inner().poked = true;
            self.shared.work.notify_one();
        }
    }

    fn note(&self, why: Why<'_>, shown: Shown<'_>) {
        self.origin.count(1, |state| &state.refused_early);
        self.shared.ledger.note(&self.origin.0.input, why, shown, 1);
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.shared.inner().sources -= 1;
        self.shared.work.notify_one();
    }
}

impl Origin {
    /// Returns whether it can wait for room.
    pub fn manner(&self) -> Manner {
        self.0.manner
    }

    /// Counts a row that went into a batch.
    pub fn count_recorded(&self) {
        self.count(1, |state| &state.recorded);
    }

    /// Returns all counts so far.
    pub fn counts(&self) -> Counts {
        let Counts { accepted, refused } = self.at_recorder();
        let given_back = self.given_back().min(accepted);
        let early = self.0.refused_early.load(Ordering::Relaxed);
        Counts { accepted: accepted - given_back, refused: refused + early + given_back }
    }

    pub(super) fn at_recorder(&self) -> Counts {
        let accepted = self.0.recorded.load(Ordering::Relaxed);
        Counts { accepted, refused: self.0.refused_late.load(Ordering::Relaxed) }
    }

    pub(super) fn given_back(&self) -> u64 {
        self.0.given_back.load(Ordering::Relaxed)
    }

    pub(super) fn count_given_back(&self, rows: u64) {
        self.count(rows, |state| &state.given_back);
    }

    pub(super) fn count_refused_late(&self) {
        self.count(1, |state| &state.refused_late);
    }

    fn count(&self, rows: u64, counter: fn(&OriginState) -> &AtomicU64) {
        counter(&self.0).fetch_add(rows, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.count(rows, counter);
        }
    }

    pub(super) fn input(&self) -> &Arc<str> {
        &self.0.input
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Origin({})", self.0.input)
    }
}

impl Inner {
    fn queue(&mut self, manner: Manner) -> &mut Queue {
        match manner {
            Manner::Live => &mut self.live,
            Manner::Wait => &mut self.wait,
        }
    }
}

impl Refused {
    fn lane(&self) -> Option<Lane> {
        match self {
            Self::QueueFull { lane } => Some(*lane),
            Self::Row(_) | Self::Closed => None,
        }
    }
}
