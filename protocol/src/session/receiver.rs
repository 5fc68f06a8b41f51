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

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ranges::RangeSet;
use crate::{
    id::{Epoch, Lane, Seq},
    limits::{RANGES_PER_ACK_MAX, RANGES_PER_LANE_MAX},
    loss::{Loss, LostSeq},
    message::{HeldLane, LaneRanges, NumberedHead, RefuseReason, SeqRange},
};

/// Most closed epochs whose ranges are kept for one robot. At one restart a minute this is four hours of them.
pub const CLOSED_EPOCHS_MAX: usize = 256;

/// Most ranges in a Welcome, all lanes together, so that it fits a frame.
pub const RANGES_PER_WELCOME_MAX: usize = 1024;

/// Where even the oldest gap is not filled from its start: an agent whose first held seq leaps has no right to more.
const RANGES_AT_MOST: usize = 2 * RANGES_PER_LANE_MAX;

/// Which seqs of one robot are claimed or committed.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    lanes: BTreeMap<(Epoch, Lane), LaneWindow>,
    open: BTreeSet<Epoch>,
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
    head: NumberedHead,
    lost: Vec<(Epoch, Lane, Seq)>,
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
}

#[derive(Clone, Debug)]
struct LaneWindow {
    claimed: RangeSet,
    committed: RangeSet,
    /// The first seq that the agent still holds, as it last said.
    first_held: Seq,
}

impl Receiver {
    /// Makes the receiver of a robot from the committed seqs of a checkpoint.
    pub fn from_committed(lanes: Vec<CommittedLane>) -> Self {
        let window = |ranges: Vec<SeqRange>| LaneWindow {
            committed: ranges.into_iter().collect(),
            ..LaneWindow::default()
        };
        let lanes = lanes.into_iter().map(|lane| ((lane.epoch, lane.lane), window(lane.ranges))).collect();
        Self { lanes, open: BTreeSet::new() }
    }

    /// Returns the committed seqs, for a checkpoint.
    pub fn committed(&self) -> Vec<CommittedLane> {
        let lane = |(&(epoch, lane), window): (&(Epoch, Lane), &LaneWindow)| CommittedLane {
            epoch,
            lane,
            ranges: window.committed.ranges().to_vec(),
        };
        self.lanes.iter().filter(|(_, window)| !window.committed.is_empty()).map(lane).collect()
    }

    /// Takes a record that the log already holds, while windows are rebuilt at start.
    pub fn replay(&mut self, head: NumberedHead, loss: Option<&Loss>) {
        self.window(head.epoch, head.lane).committed.insert(head.seq);
        for (epoch, lane, seq) in loss.map(lost_seqs).into_iter().flatten() {
            self.window(epoch, lane).committed.insert(seq);
        }
    }

    /// Opens the epochs that the agent holds, closes all others, and returns what is committed of them already.
    pub fn handle_hello(&mut self, held: &[HeldLane]) -> Vec<LaneRanges> {
        self.handle_heartbeat(held);
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
        self.open = held.iter().map(|lane| lane.epoch).collect();
        for lane in held {
            self.window(lane.epoch, lane.lane).first_held = lane.first;
        }
        self.forget_oldest_closed();
    }

    /// Decides on a batch that arrived.
    pub fn handle_batch(&mut self, head: NumberedHead) -> Verdict {
        if !self.open.contains(&head.epoch) {
            return Verdict::Refuse(RefuseReason::EpochClosed);
        }
        let window = self.window(head.epoch, head.lane);
        match window.holds(head.seq) {
            Some(verdict) => verdict,
            None if !window.has_room_for(head.seq) => Verdict::Refuse(RefuseReason::WindowFull),
            None => {
                window.claimed.insert(head.seq);
                Verdict::Commit(Claim { head, lost: Vec::new() })
            }
        }
    }

    /// Decides on a loss record that arrived.
    ///
    /// While a batch that it lists is on its way to the log, nobody knows yet whether that one is stored or lost: the
    /// record has to come again.
    pub fn handle_loss(&mut self, head: NumberedHead, loss: &Loss) -> LossVerdict {
        let undecided = self.lanes.get(&(loss.epoch, loss.lane)).is_some_and(|window| {
            let is_new = |lost: &LostSeq| !window.committed.contains(lost.seq);
            loss.lost.iter().any(|lost| is_new(lost) && window.claimed.contains(lost.seq))
        });
        if undecided && self.holds(head).is_none() {
            return LossVerdict::Refuse(RefuseReason::Busy);
        }
        let mut claim = match self.handle_batch(head) {
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
        claim.lost = lost_seqs(&loss).collect();
        LossVerdict::Commit(claim, loss)
    }

    /// Takes back a claim whose record is committed and synced.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is brought back once")]
    pub fn handle_committed(&mut self, claim: Claim) {
        for (epoch, lane, seq) in claim.seqs() {
            let window = self.window(epoch, lane);
            window.claimed.remove(seq);
            window.committed.insert(seq);
        }
    }

    /// Takes back a claim whose record was not committed: its seqs may come again.
    #[expect(clippy::needless_pass_by_value, reason = "a claim is brought back once")]
    pub fn handle_failed(&mut self, claim: Claim) {
        for (epoch, lane, seq) in claim.seqs() {
            self.window(epoch, lane).claimed.remove(seq);
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
    /// Returns the record's number.
    pub fn head(&self) -> NumberedHead {
        self.head
    }

    /// Returns every seq that the claim covers: the record's own, and those that it declares lost.
    pub fn seqs(&self) -> impl Iterator<Item = (Epoch, Lane, Seq)> + use<> {
        let own = (self.head.epoch, self.head.lane, self.head.seq);
        let lost = self.lost.clone();
        std::iter::once(own).chain(lost)
    }
}

impl Default for LaneWindow {
    fn default() -> Self {
        Self { claimed: RangeSet::default(), committed: RangeSet::default(), first_held: Seq::FIRST }
    }
}

impl LaneWindow {
    fn holds(&self, seq: Seq) -> Option<Verdict> {
        if self.committed.contains(seq) {
            Some(Verdict::Committed)
        } else if self.claimed.contains(seq) {
            Some(Verdict::Claimed)
        } else {
            None
        }
    }

    fn has_room_for(&self, seq: Seq) -> bool {
        let ranges = self.committed.ranges().len() + self.claimed.ranges().len();
        let joins = self.committed.touches(seq) || self.claimed.touches(seq);
        ranges < RANGES_PER_LANE_MAX || joins || ranges < RANGES_AT_MOST && seq == self.oldest_gap()
    }

    /// Returns the first seq that the agent holds and the log lacks. It is taken even where it joins no range: else a
    /// backlog below a full set of ranges could never go on.
    fn oldest_gap(&self) -> Seq {
        let mut seq = self.first_held;
        while let Some(range) = self.committed.range_of(seq).or_else(|| self.claimed.range_of(seq)) {
            seq = range.end;
        }
        seq
    }
}

fn lost_seqs(loss: &Loss) -> impl Iterator<Item = (Epoch, Lane, Seq)> + '_ {
    loss.lost.iter().map(|lost| (loss.epoch, loss.lane, lost.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::LossReason;

    const EPOCH: Epoch = Epoch { start: 3, random: 7 };

    fn head(seq: u64) -> NumberedHead {
        NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
    }

    fn held(first: u64, next: u64) -> HeldLane {
        HeldLane {
            epoch: EPOCH,
            lane: Lane::Live,
            first: Seq(first),
            next: Seq(next),
            samples: 0,
            spooled: 0,
            gone: Vec::new(),
        }
    }

    fn receiver() -> Receiver {
        let mut receiver = Receiver::default();
        receiver.handle_hello(&[held(1, 1)]);
        receiver
    }

    fn claim(receiver: &mut Receiver, seq: u64) -> Claim {
        match receiver.handle_batch(head(seq)) {
            Verdict::Commit(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn commit(receiver: &mut Receiver, seq: u64) {
        let claim = claim(receiver, seq);
        receiver.handle_committed(claim);
    }

    fn lost(seqs: &[u64]) -> Loss {
        let lost = seqs.iter().map(|seq| LostSeq { seq: Seq(*seq), samples: 10 }).collect();
        let reason = LossReason::SpoolFull;
        Loss { epoch: EPOCH, lane: Lane::Live, lost, unnumbered: 0, t_min: None, t_max: None, reason }
    }

    #[test]
    fn a_claimed_batch_is_not_acknowledged_before_its_commit() {
        let mut receiver = receiver();
        let first = claim(&mut receiver, 1);
        assert_eq!(receiver.handle_batch(head(1)), Verdict::Claimed);
        assert_eq!(receiver.ack([(EPOCH, Lane::Live, Seq(1))]), []);
        receiver.handle_committed(first);
        assert_eq!(receiver.handle_batch(head(1)), Verdict::Committed);
        let ranges = vec![SeqRange { first: Seq(1), end: Seq(2) }];
        assert_eq!(
            receiver.ack([(EPOCH, Lane::Live, Seq(1))]),
            [LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }]
        );
    }

    #[test]
    fn a_failed_commit_lets_the_batch_come_again() {
        let mut receiver = receiver();
        let first = claim(&mut receiver, 1);
        receiver.handle_failed(first);
        assert!(matches!(receiver.handle_batch(head(1)), Verdict::Commit(_)));
    }

    #[test]
    fn an_epoch_that_no_hello_listed_is_refused() {
        let mut receiver = Receiver::default();
        assert_eq!(receiver.handle_batch(head(1)), Verdict::Refuse(RefuseReason::EpochClosed));
    }

    #[test]
    fn a_closed_epoch_that_comes_back_stores_nothing_twice() {
        let mut receiver = receiver();
        commit(&mut receiver, 1);
        let other = HeldLane { epoch: Epoch { start: 4, random: 1 }, ..held(1, 1) };
        receiver.handle_hello(&[other]);
        assert_eq!(receiver.handle_batch(head(1)), Verdict::Refuse(RefuseReason::EpochClosed));
        receiver.handle_hello(&[held(1, 2)]);
        assert_eq!(receiver.handle_batch(head(1)), Verdict::Committed);
    }

    #[test]
    fn a_loss_record_takes_only_what_the_log_lacks_and_late_copies_are_duplicates() {
        let mut receiver = receiver();
        commit(&mut receiver, 1);
        let LossVerdict::Commit(claim, loss) = receiver.handle_loss(head(5), &lost(&[1, 2, 3])) else {
            panic!()
        };
        assert_eq!(loss.lost.iter().map(|lost| lost.seq.0).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(receiver.handle_batch(head(2)), Verdict::Claimed);
        receiver.handle_committed(claim);
        assert_eq!(receiver.handle_batch(head(3)), Verdict::Committed);
        assert_eq!(receiver.handle_loss(head(5), &lost(&[1, 2, 3])), LossVerdict::Committed);
    }

    #[test]
    fn at_the_bound_only_batches_that_join_ranges_are_taken() {
        let mut receiver = receiver();
        for n in 1..=RANGES_PER_LANE_MAX as u64 {
            commit(&mut receiver, 2 * n);
        }
        assert_eq!(receiver.handle_batch(head(10_000)), Verdict::Refuse(RefuseReason::WindowFull));
        commit(&mut receiver, 3);
        assert!(matches!(receiver.handle_batch(head(10_000)), Verdict::Commit(_)));
    }

    /// Guards: a loss record left out a batch that was being committed; that commit failed, and the batch was neither
    /// stored nor lost.
    #[test]
    fn a_loss_record_waits_until_what_it_lists_is_decided() {
        let mut receiver = receiver();
        let first = claim(&mut receiver, 1);
        let busy = LossVerdict::Refuse(RefuseReason::Busy);
        assert_eq!(receiver.handle_loss(head(5), &lost(&[1])), busy);
        receiver.handle_failed(first);
        let LossVerdict::Commit(claim, loss) = receiver.handle_loss(head(5), &lost(&[1])) else { panic!() };
        assert_eq!(loss.lost.len(), 1);
        receiver.handle_failed(claim);
    }

    /// Guards: a backlog below a full set of ranges joined none of them, and was refused for ever.
    #[test]
    fn at_the_bound_the_first_batch_that_the_agent_holds_is_taken() {
        let mut receiver = Receiver::default();
        receiver.handle_hello(&[held(10, 9000)]);
        for n in 1..=RANGES_PER_LANE_MAX as u64 {
            commit(&mut receiver, 1000 + 2 * n);
        }
        assert_eq!(receiver.handle_batch(head(11)), Verdict::Refuse(RefuseReason::WindowFull));
        commit(&mut receiver, 10);
        commit(&mut receiver, 11);
    }

    #[test]
    fn a_heartbeat_opens_the_epochs_that_a_hello_had_no_room_for() {
        let mut receiver = receiver();
        let epoch = Epoch { start: 9, random: 9 };
        let later = NumberedHead { epoch, ..head(1) };
        assert_eq!(receiver.handle_batch(later), Verdict::Refuse(RefuseReason::EpochClosed));
        receiver.handle_heartbeat(&[held(1, 1), HeldLane { epoch, ..held(1, 2) }]);
        assert!(matches!(receiver.handle_batch(later), Verdict::Commit(_)));
    }

    #[test]
    fn a_checkpoint_keeps_what_is_committed_and_forgets_claims() {
        let mut receiver = receiver();
        commit(&mut receiver, 1);
        let open = claim(&mut receiver, 2);
        let mut restored = Receiver::from_committed(receiver.committed());
        receiver.handle_failed(open);
        let have = restored.handle_hello(&[held(1, 3)]);
        assert_eq!(have[0].ranges, [SeqRange { first: Seq(1), end: Seq(2) }]);
        assert!(matches!(restored.handle_batch(head(2)), Verdict::Commit(_)));
    }

    #[test]
    fn a_welcome_leaves_out_what_the_agent_has_released() {
        let mut receiver = receiver();
        for seq in 1..10 {
            commit(&mut receiver, seq);
        }
        let have = receiver.handle_hello(&[held(6, 12)]);
        assert_eq!(have[0].ranges, [SeqRange { first: Seq(6), end: Seq(10) }]);
    }
}
