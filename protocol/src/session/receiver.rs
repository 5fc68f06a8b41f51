//! The gateway's end of the delivery session: one [`Receiver`] per robot, shared by all its connections.
//!
//! It keeps, per (epoch, lane), which seqs are *claimed* (queued for commit) and which are *committed* (synced). A
//! claim is handed out once; whoever holds it must bring it back by [`Receiver::handle_committed`] or
//! [`Receiver::handle_failed`]. Nothing else makes a seq acknowledgeable.
//!
//! Invariant: a seq is stored or lost, never both. A loss record claims only the lost seqs that are neither committed
//! nor claimed, and from then on a late copy of such a batch is a duplicate.
//!
//! Epochs that a Hello no longer lists are closed: their batches are refused. Their ranges are kept, boundedly, for a
//! spool that comes back (a restored disk image), so that it cannot store anything twice.
//!
//! What an agent says is gone, and the log lacks, will never come: [`Receiver::poll_absent`] says so; see
//! the file `absence` for when.

mod absence;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::{
    absence::Judgement,
    window::{LaneWindow, Told},
};
use super::ranges::RangeSet;
use crate::{
    id::{Epoch, Lane, Seq},
    limits::{DRAINED_LANES_MAX, HELD_LANES_MAX, RANGES_PER_ACK_MAX},
    loss::{Absence, AbsenceReason, Loss, LostSeq},
    message::{DrainedLane, HeldLane, LaneRanges, NumberedHead, RefuseReason, SeqRange},
};

/// Most closed epochs whose ranges are kept for one robot. At one restart a minute this is four hours of them.
pub const CLOSED_EPOCHS_MAX: usize = 256;

/// Most ranges of one robot, all lanes together, to which loss records may bring it: 1 MiB of memory.
const RANGES_PER_ROBOT_MAX: usize = 64 * 1024;

/// Most lanes of which it is remembered what an agent said; beyond it the oldest that drained are not judged before its
/// next Hello.
const LISTED_MAX: usize = HELD_LANES_MAX + DRAINED_LANES_MAX;

/// Most ranges in a Welcome, all lanes together, so that it fits a frame.
pub const RANGES_PER_WELCOME_MAX: usize = 1024;

/// Which seqs of one robot are claimed or committed.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    lanes: BTreeMap<(Epoch, Lane), LaneWindow>,
    open: BTreeSet<Epoch>,
    /// What the agent said last, since its Hello, of lanes that it holds and of drained ones that may lack something.
    listed: BTreeMap<(Epoch, Lane), Listed>,
    judgement: Option<Judgement>,
}

/// A lane as the agent listed it last.
#[derive(Clone, Copy, Debug)]
struct Listed {
    /// How far it came.
    lane: DrainedLane,
    /// Whether nothing of it is held any more.
    is_drained: bool,
}

impl Listed {
    fn key(&self) -> (Epoch, Lane) {
        (self.lane.epoch, self.lane.lane)
    }
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Commit it, then bring the claim back.
    Commit(Claim),
    /// It is committed already: acknowledge it again.
    Committed,
    /// It is on its way to the log: its ack follows the claim that it repeats.
    Claimed,
    /// It was not taken.
    Refuse(RefuseReason),
}

/// What to do with a loss record.
#[derive(Debug, PartialEq, Eq)]
pub enum LossVerdict {
    /// Commit this record, which lists only what the log lacks, then bring the claim back.
    Commit(Claim, Loss),
    /// As for batches.
    Committed,
    /// As for batches.
    Claimed,
    /// As for batches.
    Refuse(RefuseReason),
}

/// The right and duty to commit one record. Made only by a [`Receiver`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is not brought back leaves its seqs neither stored nor free"]
pub struct Claim {
    /// The record's own number and samples; `None` if the gateway makes it itself.
    head: Option<(NumberedHead, u64)>,
    /// What it declares gone, each with its samples.
    gone: Vec<(Epoch, Lane, SeqRange, u64)>,
}

/// The committed seqs of one lane of one epoch, as a checkpoint keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedLane {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Half-open ranges, ascending.
    pub ranges: Vec<SeqRange>,
    /// Samples of these ranges, stored or lost.
    pub samples: u64,
    /// Whether an agent ever said what it holds of the lane.
    pub told: bool,
    /// What was gone before the robot first came to this log, while that is not decided: see [`Receiver::poll_absent`].
    pub before: Vec<SeqRange>,
}

impl Receiver {
    /// Makes the receiver of a robot from the committed seqs of a checkpoint.
    pub fn from_committed(lanes: Vec<CommittedLane>) -> Self {
        let lanes = lanes.into_iter().map(|lane| ((lane.epoch, lane.lane), LaneWindow::from(lane))).collect();
        Self { lanes, ..Self::default() }
    }

    /// Returns the committed seqs, for a checkpoint.
    pub fn committed(&self) -> Vec<CommittedLane> {
        let kept = self.lanes.iter().filter(|(_, window)| window.is_worth_keeping());
        kept.map(|(&(epoch, lane), window)| window.to_committed(epoch, lane)).collect()
    }

    /// Takes a record that the log already holds, while windows are rebuilt at start: its number, the samples of a
    /// batch, and what a loss record lists.
    pub fn replay(&mut self, head: NumberedHead, samples: u64, loss: Option<&Loss>) {
        let gone = loss.map(lost_ranges).into_iter().flatten().collect();
        self.settle(&Claim { head: Some((head, samples)), gone });
    }

    /// Takes a loss record that the gateway made itself and the log holds: what it lists is decided.
    pub fn replay_lost(&mut self, loss: &Loss) {
        self.settle(&Claim { head: None, gone: lost_ranges(loss).collect() });
    }

    /// Takes an absence that the log already holds, while windows are rebuilt at start.
    pub fn replay_absence(&mut self, absence: &Absence) {
        self.settle(&Claim { head: None, gone: absent_ranges(absence) });
    }

    /// Takes what an agent once said that it holds, while windows are rebuilt at start.
    pub fn replay_told(&mut self, held: &[HeldLane]) {
        self.learn_lanes(held.iter().map(Told::from).collect());
    }

    /// Opens the epochs that the agent holds, closes all others, and returns what is committed of them already.
    pub fn handle_hello(&mut self, held: &[HeldLane], drained: &[DrainedLane]) -> Vec<LaneRanges> {
        self.judgement = None;
        let drained = drained.iter().map(|lane| Listed { lane: *lane, is_drained: true });
        self.listed = drained.map(|listed| (listed.key(), listed)).collect();
        self.handle_told(held);
        let mut budget = RANGES_PER_WELCOME_MAX;
        let mut have = Vec::new();
        for lane in held {
            let mut committed = self.window(lane.epoch, lane.lane).committed.clone();
            committed.remove_below(lane.first);
            let count = committed.ranges().len().min(RANGES_PER_ACK_MAX).min(budget);
            budget -= count;
            let ranges: Vec<_> = committed.ranges().iter().take(count).copied().collect();
            if !ranges.is_empty() {
                have.push(LaneRanges { epoch: lane.epoch, lane: lane.lane, ranges });
            }
        }
        have
    }

    /// Opens the epochs that the agent holds now, and closes all others. A spool with more of them than a message
    /// lists moves on to its next ones as the first drain.
    pub fn handle_heartbeat(&mut self, held: &[HeldLane]) {
        self.handle_told(held);
    }

    /// Returns the next absence to commit, with its claim; call it after whatever arrived and after each commit.
    /// `lost` is why a log that once held something may lack it: [`AbsenceReason::Restored`] or
    /// [`AbsenceReason::Quarantined`].
    pub fn poll_absent(&mut self, lost: AbsenceReason) -> Option<(Claim, Absence)> {
        let judgement = self.judgement.as_mut()?;
        let absence = judgement.poll(&self.lanes, lost);
        if judgement.is_over() {
            self.judgement = None;
        }
        let absence = absence?;
        let window = self.window(absence.epoch, absence.lane);
        absence.ranges.iter().for_each(|range| window.claimed.insert_range(*range));
        Some((Claim { head: None, gone: absent_ranges(&absence) }, absence))
    }

    /// Decides on a batch of so many samples that arrived.
    pub fn handle_batch(&mut self, head: NumberedHead, samples: u32) -> Verdict {
        if !self.open.contains(&head.epoch) {
            return Verdict::Refuse(RefuseReason::EpochClosed);
        }
        let window = self.window(head.epoch, head.lane);
        match window.holds(head.seq) {
            Some(verdict) => verdict,
            None if !window.has_room_for(head.seq) => Verdict::Refuse(RefuseReason::WindowFull),
            None => {
                window.claimed.insert(head.seq);
                Verdict::Commit(Claim { head: Some((head, samples.into())), gone: Vec::new() })
            }
        }
    }

    /// Decides on a loss record that arrived.
    ///
    /// While a batch that it lists is on its way to the log, nobody knows yet whether that one is stored or lost: the
    /// record has to come again.
    pub fn handle_loss(&mut self, head: NumberedHead, loss: &Loss) -> LossVerdict {
        if !self.has_room_for_loss(loss) && self.holds(head).is_none() {
            return LossVerdict::Refuse(RefuseReason::WindowFull);
        }
        let undecided = self.lanes.get(&(loss.epoch, loss.lane)).is_some_and(|window| {
            let is_new = |lost: &LostSeq| !window.committed.contains(lost.seq);
            loss.lost.iter().any(|lost| is_new(lost) && window.claimed.contains(lost.seq))
        });
        if undecided && self.holds(head).is_none() {
            return LossVerdict::Refuse(RefuseReason::Busy);
        }
        let mut claim = match self.handle_batch(head, 0) {
            Verdict::Commit(claim) => claim,
            Verdict::Committed => return LossVerdict::Committed,
            Verdict::Claimed => return LossVerdict::Claimed,
            Verdict::Refuse(reason) => return LossVerdict::Refuse(reason),
        };
        let window = self.window(loss.epoch, loss.lane);
        let lacks = |lost: &&LostSeq| window.holds(lost.seq).is_none();
        let lost: Vec<LostSeq> = loss.lost.iter().filter(lacks).copied().collect();
        for gone in &lost {
            window.claimed.insert(gone.seq);
        }
        let loss = Loss { lost, ..loss.clone() };
        claim.gone = lost_ranges(&loss).collect();
        LossVerdict::Commit(claim, loss)
    }

    /// Takes back a claim whose record is committed and synced.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is brought back once")]
    pub fn handle_committed(&mut self, claim: Claim) {
        self.settle(&claim);
        for (epoch, lane, range) in claim.ranges() {
            self.window(epoch, lane).claimed.remove_range(range);
        }
    }

    /// Takes back a claim whose record was not committed: its seqs may come again.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is brought back once")]
    pub fn handle_failed(&mut self, claim: Claim) {
        for (epoch, lane, range) in claim.ranges() {
            self.window(epoch, lane).claimed.remove_range(range);
        }
        if claim.head.is_none() {
            self.judgement = None;
        }
    }

    /// Returns what to acknowledge for `heads`: the committed ranges that hold them.
    pub fn ack(&self, heads: impl IntoIterator<Item = (Epoch, Lane, Seq)>) -> Vec<LaneRanges> {
        let mut lanes: BTreeMap<(Epoch, Lane), RangeSet> = BTreeMap::new();
        for (epoch, lane, seq) in heads {
            let committed = self.lanes.get(&(epoch, lane)).and_then(|window| window.committed.range_of(seq));
            if let Some(range) = committed {
                lanes.entry((epoch, lane)).or_default().insert_range(range);
            }
        }
        let lane = |((epoch, lane), ranges): (_, RangeSet)| LaneRanges {
            epoch,
            lane,
            ranges: ranges.ranges().iter().take(RANGES_PER_ACK_MAX).copied().collect(),
        };
        lanes.into_iter().map(lane).collect()
    }

    fn handle_told(&mut self, held: &[HeldLane]) {
        self.open = held.iter().map(|lane| lane.epoch).collect();
        for lane in held {
            self.window(lane.epoch, lane.lane).first_held = lane.first;
        }
        let told = self.told(held);
        let told = self.learn_lanes(told);
        match &mut self.judgement {
            Some(judgement) => judgement.handle_told(&self.lanes, &told),
            None => self.judgement = Judgement::begin(&self.lanes, told),
        }
        self.forget_oldest_closed();
    }

    /// Returns what is held and gone of each lane. A lane that was listed and is no more has drained: heartbeats do not say
    /// so, and what it lacks may not have been judged yet.
    fn told(&mut self, held: &[HeldLane]) -> Vec<Told> {
        // With more lanes than a message lists, one that is not listed may be held all the same.
        let is_full = held.len() >= HELD_LANES_MAX;
        self.listed.values_mut().for_each(|listed| listed.is_drained |= !is_full);
        for lane in held {
            let HeldLane { epoch, lane, next, spooled, .. } = *lane;
            let lane = DrainedLane { epoch, lane, next, spooled };
            self.listed.insert((epoch, lane.lane), Listed { lane, is_drained: false });
        }
        let Self { listed, lanes, .. } = self;
        listed.retain(|key, listed| {
            let gone = Told::from(&listed.lane).gone;
            !listed.is_drained || lanes.get(key).is_none_or(|window| !window.lacks(&gone).is_empty())
        });
        while listed.len() > LISTED_MAX {
            listed.pop_first();
        }
        let drained = listed.values().filter(|listed| listed.is_drained);
        held.iter().map(Told::from).chain(drained.map(|listed| Told::from(&listed.lane))).collect()
    }

    /// Notes what is gone of each lane. What was gone before this log first heard of the robot is not its loss.
    fn learn_lanes(&mut self, told: Vec<Told>) -> Vec<Told> {
        let known = self.lanes.values().any(|window| window.told);
        for lane in &told {
            self.window(lane.epoch, lane.lane).learn(&lane.gone, known);
        }
        told
    }

    fn settle(&mut self, claim: &Claim) {
        let own = claim.head.map(|(head, samples)| (head.epoch, head.lane, one(head.seq), samples));
        for (epoch, lane, range, samples) in own.into_iter().chain(claim.gone.iter().copied()) {
            if self.window(epoch, lane).settle(range, samples)
                && let Some(judgement) = &mut self.judgement
            {
                judgement.handle_settled((epoch, lane), range, samples);
            }
        }
    }

    /// Says whether a loss record may bring what it lists; it may name any epoch, also one that nobody told of.
    fn has_room_for_loss(&self, loss: &Loss) -> bool {
        let ranges: usize = self.lanes.values().map(LaneWindow::ranges).sum();
        let fits = ranges + loss.lost.len() <= RANGES_PER_ROBOT_MAX;
        let lane = self.lanes.get(&(loss.epoch, loss.lane));
        fits && lane.is_none_or(|window| window.has_room_for_loss(loss))
    }

    fn holds(&self, head: NumberedHead) -> Option<Verdict> {
        self.lanes.get(&(head.epoch, head.lane))?.holds(head.seq)
    }

    fn window(&mut self, epoch: Epoch, lane: Lane) -> &mut LaneWindow {
        self.lanes.entry((epoch, lane)).or_default()
    }

    fn forget_oldest_closed(&mut self) {
        let epochs: BTreeSet<Epoch> = self.lanes.keys().map(|(epoch, _)| *epoch).collect();
        let busy = |epoch: &Epoch| {
            let mut windows = self.lanes.range((*epoch, Lane::Urgent)..=(*epoch, Lane::Bulk));
            windows.any(|(_, window)| !window.claimed.is_empty())
        };
        let closed: Vec<Epoch> = epochs.into_iter().filter(|e| !self.open.contains(e) && !busy(e)).collect();
        let excess = closed.len().saturating_sub(CLOSED_EPOCHS_MAX);
        for epoch in closed.into_iter().take(excess) {
            for lane in Lane::ALL {
                self.lanes.remove(&(epoch, lane));
            }
        }
    }
}

impl Claim {
    /// Returns the record's number; `None` if the gateway makes the record itself.
    pub fn head(&self) -> Option<NumberedHead> {
        self.head.map(|(head, _)| head)
    }

    /// Returns whether the claim decides about this number: its own, or one that it declares gone.
    pub fn covers(&self, number: NumberedHead) -> bool {
        let holds = |range: SeqRange| (range.first..range.end).contains(&number.seq);
        self.ranges().any(|(epoch, lane, range)| (epoch, lane) == (number.epoch, number.lane) && holds(range))
    }

    fn ranges(&self) -> impl Iterator<Item = (Epoch, Lane, SeqRange)> + '_ {
        let own = self.head.map(|(head, _)| (head.epoch, head.lane, one(head.seq)));
        own.into_iter().chain(self.gone.iter().map(|(epoch, lane, range, _)| (*epoch, *lane, *range)))
    }
}

fn one(seq: Seq) -> SeqRange {
    SeqRange { first: seq, end: seq.next() }
}

fn lost_ranges(loss: &Loss) -> impl Iterator<Item = (Epoch, Lane, SeqRange, u64)> + '_ {
    loss.lost.iter().map(|lost| (loss.epoch, loss.lane, one(lost.seq), lost.samples.into()))
}

/// The samples are known for all ranges together; they stand at the first.
fn absent_ranges(absence: &Absence) -> Vec<(Epoch, Lane, SeqRange, u64)> {
    let samples = std::iter::once(absence.samples).chain(std::iter::repeat(0));
    let ranges = absence.ranges.iter().zip(samples);
    ranges.map(|(range, samples)| (absence.epoch, absence.lane, *range, samples)).collect()
}

#[cfg(test)]
mod tests;
