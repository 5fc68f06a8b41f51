//! What the gateway knows of one lane of one epoch: what is claimed, what is committed, and what the agent said of it.

use std::collections::BTreeMap;

use super::{CommittedLane, Verdict};
use crate::{
    id::{Epoch, Lane, Seq},
    limits::RANGES_PER_LANE_MAX,
    loss::Loss,
    message::{DrainedLane, HeldLane, SeqRange},
    session::ranges::RangeSet,
};

/// Where even the oldest gap is not filled from its start: an agent whose first held seq leaps has no right to more.
const RANGES_AT_MOST: usize = 2 * RANGES_PER_LANE_MAX;

/// Most ranges that a loss record may bring a lane to. What an honest one lists joins what is committed around it.
const RANGES_WITH_LOSS_MAX: usize = 4096;

/// Most seqs of a lane whose samples are remembered until the agent says that they are gone: minutes of a busy lane.
/// Beyond it nothing is judged absent before the agent has released them.
const UNRELEASED_MAX: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub(super) struct LaneWindow {
    pub(super) claimed: RangeSet,
    pub(super) committed: RangeSet,
    /// Samples of the committed seqs.
    pub(super) samples: u64,
    /// The first seq that the agent still holds, as it last said.
    pub(super) first_held: Seq,
    /// Whether an agent ever said what it holds.
    pub(super) told: bool,
    /// What was gone when this log first heard of the robot, until that is judged.
    pub(super) before: RangeSet,
    /// Committed in this life of the gateway and not yet said to be gone, with their samples.
    unreleased: BTreeMap<Seq, u64>,
}

/// What an agent says of one lane.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) epoch: Epoch,
    pub(super) lane: Lane,
    /// The seq after the last that there was.
    pub(super) next: Seq,
    /// What is not held any more.
    pub(super) gone: RangeSet,
    /// Its samples.
    pub(super) gone_samples: u64,
}

impl From<&HeldLane> for Told {
    fn from(held: &HeldLane) -> Self {
        let below = SeqRange { first: Seq::FIRST, end: held.first };
        Self {
            epoch: held.epoch,
            lane: held.lane,
            next: held.next,
            gone: std::iter::once(below).chain(held.gone.iter().copied()).collect(),
            gone_samples: held.spooled.saturating_sub(held.samples),
        }
    }
}

impl From<&DrainedLane> for Told {
    fn from(drained: &DrainedLane) -> Self {
        let all = SeqRange { first: Seq::FIRST, end: drained.next };
        Self {
            epoch: drained.epoch,
            lane: drained.lane,
            next: drained.next,
            gone: std::iter::once(all).collect(),
            gone_samples: drained.spooled,
        }
    }
}

impl Default for LaneWindow {
    fn default() -> Self {
        Self {
            claimed: RangeSet::default(),
            committed: RangeSet::default(),
            samples: 0,
            first_held: Seq::FIRST,
            told: false,
            before: RangeSet::default(),
            unreleased: BTreeMap::new(),
        }
    }
}

impl From<CommittedLane> for LaneWindow {
    fn from(lane: CommittedLane) -> Self {
        Self {
            committed: lane.ranges.into_iter().collect(),
            samples: lane.samples,
            told: lane.told,
            before: lane.before.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl LaneWindow {
    pub(super) fn to_committed(&self, epoch: Epoch, lane: Lane) -> CommittedLane {
        CommittedLane {
            epoch,
            lane,
            ranges: self.committed.ranges().to_vec(),
            samples: self.samples,
            told: self.told,
            before: self.before.ranges().to_vec(),
        }
    }

    pub(super) fn is_worth_keeping(&self) -> bool {
        self.told || !self.committed.is_empty()
    }

    /// Takes what the agent says is gone; `known` is whether it ever said something of any lane.
    pub(super) fn learn(&mut self, gone: &RangeSet, known: bool) {
        if !self.told && !known {
            self.before = gone.without(&self.committed);
        }
        self.told = true;
        self.unreleased.retain(|seq, _| !gone.contains(*seq));
    }

    /// Takes committed seqs. Returns false if they were committed already.
    pub(super) fn settle(&mut self, range: SeqRange, samples: u64) -> bool {
        if self.committed.contains(range.first) {
            return false;
        }
        self.committed.insert_range(range);
        self.before.remove_range(range);
        self.samples = self.samples.saturating_add(samples);
        if range.end == range.first.next() && self.unreleased.len() < UNRELEASED_MAX {
            self.unreleased.insert(range.first, samples);
        }
        true
    }

    /// Returns what the log lacks of what is gone.
    pub(super) fn lacks(&self, gone: &RangeSet) -> RangeSet {
        gone.without(&self.committed)
    }

    /// Returns the samples of what is committed and gone; `None` while the samples of something that the agent still
    /// holds are not known apart. If it holds nothing any more, what is committed besides came from a clone of it, and
    /// may count as well: nothing will tell it apart.
    pub(super) fn settled_samples(&self, told: &Told) -> Option<u64> {
        let still_held = self.committed.without(&told.gone).count();
        let known_apart = still_held == self.unreleased.len() as u64;
        let holds_nothing = told.gone.covers(Seq::FIRST, told.next);
        (known_apart || holds_nothing).then(|| self.samples.saturating_sub(self.unreleased.values().sum()))
    }

    pub(super) fn holds(&self, seq: Seq) -> Option<Verdict> {
        if self.committed.contains(seq) {
            Some(Verdict::Committed)
        } else if self.claimed.contains(seq) {
            Some(Verdict::Claimed)
        } else {
            None
        }
    }

    /// Returns how many ranges are kept.
    pub(super) fn ranges(&self) -> usize {
        self.committed.ranges().len() + self.claimed.ranges().len()
    }

    pub(super) fn has_room_for(&self, seq: Seq) -> bool {
        let ranges = self.ranges();
        let joins = self.committed.touches(seq) || self.claimed.touches(seq);
        ranges < RANGES_PER_LANE_MAX || joins || ranges < RANGES_AT_MOST && seq == self.oldest_gap()
    }

    /// Says whether the seqs that a loss record lists may join the lane.
    pub(super) fn has_room_for_loss(&self, loss: &Loss) -> bool {
        let apart = loss.lost.iter().filter(|lost| !self.committed.touches(lost.seq));
        self.ranges() + apart.count() <= RANGES_WITH_LOSS_MAX
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
