//! What the log has of all that a robot accepted: "whole up to T", what is still on the robot, what went to an earlier
//! gateway, and what nobody will ever know.
//!
//! A robot numbers its batches, and tells with each Hello and heartbeat what its spool holds, how many samples it ever
//! numbered, and what is gone. Set against the batches, losses and absences in the log, that leaves for each seq one of
//! these: *stored*, *lost*, *before this gateway*, *still on the robot*; or *unknown*, if the spool that held it is there
//! no more.
//!
//! It is a fold: a set of seqs, sums, and what was told last, so the order of records does not matter. Bounds are exceptions: an epoch of which nothing is missing is summarised when there are more than
//! [`EPOCHS_MAX`] others that were heard of later, and each part of a lane has its own.

mod lane;
mod reading;
mod runs;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{Epoch, Lane, Offset, Seq},
    limits::HELD_LANES_MAX,
    loss::{Absence, AbsenceReason, Loss},
    message::{HeldLane, NumberedHead},
};

use super::channel::Origin;
use lane::{LaneTale, ToldLane};

pub use reading::{Completeness, Standing};

/// The fold of what one robot numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holdings {
    epochs: BTreeMap<Epoch, EpochTale>,
    /// Where the lanes of summarised epochs ended.
    closed: BTreeMap<Epoch, [Seq; 3]>,
    closed_unknown: u64,
    before: Amount,
    told: Option<LastTold>,
    hello: Option<HelloTold>,
}

/// The record that told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LastTold {
    at: Offset,
    origin: Origin,
}

/// The first record of the last session that told. It lists every epoch that the robot's spool knows, drained ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HelloTold {
    session: u64,
    at: Offset,
    /// Whether the spool has more epochs than a message lists: then it says nothing of those that it does not.
    is_full: bool,
}

/// What is known of one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct EpochTale {
    lanes: [Option<LaneTale>; 3],
    /// The last record that has to do with it.
    touched: Offset,
}

/// So many samples, in so many batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Samples.
    pub samples: u64,
    /// Batches.
    pub batches: u64,
}

/// Most epochs that are kept in full: each takes some hundred bytes, and few are not drained at a time.
const EPOCHS_MAX: usize = 16;

/// Most epochs that are kept if something is missing of each. Then the one that was heard of longest ago is summarised,
/// and what is missing of it becomes unknown.
const EPOCHS_MISSING_MAX: usize = 64;

/// Most summarised epochs whose ends are known, so that a robot that still lists them is not counted twice. A robot
/// lists the last sixteen.
const CLOSED_MAX: usize = 64;

impl Holdings {
    /// Takes a batch.
    pub(super) fn saw_batch(&mut self, at: Offset, head: &NumberedHead, samples: u32, origin: &Origin) {
        if let Some(lane) = self.lane(at, head.epoch, head.lane, head.seq.next()) {
            lane.account(at, head.seq, samples, Some(origin));
        }
    }

    /// Takes a loss: the seqs that it names, and its own.
    pub(super) fn saw_loss(&mut self, at: Offset, head: Option<&NumberedHead>, loss: &Loss) {
        if let Some(head) = head
            && let Some(lane) = self.lane(at, head.epoch, head.lane, head.seq.next())
        {
            lane.account(at, head.seq, 0, None);
        }
        let Some(last) = loss.lost.last() else { return };
        if let Some(lane) = self.lane(at, loss.epoch, loss.lane, last.seq.next()) {
            for lost in &loss.lost {
                lane.account(at, lost.seq, lost.samples, None);
            }
        }
    }

    /// Takes seqs that the log lacks for good.
    pub(super) fn saw_absence(&mut self, at: Offset, absence: &Absence) {
        let Absence { epoch, lane, ranges, samples, reason } = absence;
        if *reason == AbsenceReason::BeforeThisGateway {
            self.before += Amount::of(absence);
        }
        let Some(last) = ranges.last() else { return };
        if let Some(lane) = self.lane(at, *epoch, *lane, last.end) {
            lane.account_absent(ranges, *samples);
        }
    }

    /// Takes what the agent told: in which session, when it came, and what the agent's clocks showed.
    pub(super) fn saw_told(&mut self, at: Offset, origin: &Origin, held: &[HeldLane]) {
        if self.told.is_none_or(|known| at > known.at) {
            self.told = Some(LastTold { at, origin: *origin });
        }
        let hello = HelloTold { session: origin.session, at, is_full: held.len() >= HELD_LANES_MAX };
        if self.hello.is_none_or(|known| hello.is_rather_than(&known)) {
            self.hello = Some(hello);
        }
        for lane in held {
            let told = ToldLane::from(lane);
            let Some(tale) = self.lane(at, lane.epoch, lane.lane, told.next()) else { continue };
            tale.tell(at, told);
        }
        self.summarise();
    }

    /// Returns the lane for a record that reaches up to `end`; `None` if its epoch is summarised.
    fn lane(&mut self, at: Offset, epoch: Epoch, lane: Lane, end: Seq) -> Option<&mut LaneTale> {
        let is_closed = |ends: &[Seq; 3]| end <= ends[lane.index()];
        if !self.epochs.contains_key(&epoch) && self.closed.get(&epoch).is_some_and(is_closed) {
            return None;
        }
        let tale = self.epochs.entry(epoch).or_default();
        tale.touched = tale.touched.max(at);
        Some(tale.lanes[lane.index()].get_or_insert_default())
    }

    /// Returns whether the spool that held a lane is gone: the last Hello names it neither as held nor as drained.
    fn is_forgotten(&self, tale: &LaneTale) -> bool {
        let hello = self.hello.filter(|hello| !hello.is_full);
        hello.is_some_and(|hello| tale.told_at().is_some_and(|told| told < hello.at))
    }

    fn summarise(&mut self) {
        while self.epochs.len() > EPOCHS_MAX {
            let longest_ago = |(epoch, tale): &(&Epoch, &EpochTale)| (tale.touched, **epoch);
            let whole = self.epochs.iter().filter(|(_, tale)| tale.is_whole()).min_by_key(longest_ago);
            let crowded = self.epochs.len() > EPOCHS_MISSING_MAX;
            let any = || self.epochs.iter().min_by_key(longest_ago).filter(|_| crowded);
            let Some((&epoch, _)) = whole.or_else(any) else { return };
            let Some(tale) = self.epochs.remove(&epoch) else { return };
            for lane in tale.lanes.iter().flatten() {
                let view = lane.view(None);
                let unknown = view.still.saturating_add(view.forgotten);
                self.closed_unknown = self.closed_unknown.saturating_add(unknown);
            }
            let end = |lane: &Option<LaneTale>| lane.as_ref().map_or(Seq::FIRST, LaneTale::end);
            self.closed.insert(epoch, tale.lanes.each_ref().map(end));
            if self.closed.len() > CLOSED_MAX {
                self.closed.pop_first();
            }
        }
    }
}

impl EpochTale {
    fn is_whole(&self) -> bool {
        !self.lanes.iter().flatten().any(|lane| lane.view(None).is_behind)
    }
}

impl HelloTold {
    /// Returns whether this is the Hello of a later session, or earlier in the same one.
    fn is_rather_than(&self, other: &Self) -> bool {
        self.session > other.session || self.session == other.session && self.at < other.at
    }
}

impl Amount {
    /// Returns what an absence names.
    pub(super) fn of(absence: &Absence) -> Self {
        let batches = absence.ranges.iter().map(|range| range.end.0 - range.first.0).sum();
        Self { samples: absence.samples, batches }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.batches = self.batches.saturating_add(other.batches);
    }
}
