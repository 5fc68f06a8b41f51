//! One lane of one epoch: what the robot said of it against what the log has of it.
//!
//! ```text
//!   seqs   1 ................ first ................. next ...............
//!          |<- gone from the spool ->|<- held by it ->|<- spooled since ->
//! ```
//!
//! Whatever is below the last seq that is known of and not in the log is missing: on the robot, or gone from there and
//! not yet judged. Sums of samples come from the running count that the robot tells: all samples of the seqs below
//! `next`, less those that the log accounts for, are missing.

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{Offset, Seq},
    message::{HeldLane, SeqRange},
    session::ranges::RangeSet,
};

use super::{
    runs::{Runs, Tail},
    weights::Weights,
};
use crate::fleet::channel::Origin;

/// The fold of one lane's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneTale {
    runs: Runs,
    /// Samples of everything in the runs.
    samples: u64,
    /// What was told last.
    told: Option<(Offset, ToldLane)>,
    /// The greatest `next` that was told.
    next: Seq,
    /// Samples of all seqs below `next`, as was told with it.
    spooled: u64,
    /// What the log accounts for from `next` on.
    beyond: Weights,
    /// The last seq that came, and the first record of it.
    came: Option<(Seq, Offset)>,
}

/// What a robot says of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldLane {
    first: Seq,
    next: Seq,
    samples: u64,
    spooled: u64,
    gone: Vec<SeqRange>,
}

/// A lane at one moment, by everything that is known.
pub(super) struct LaneView<'a> {
    /// Whether something is missing.
    pub(super) is_behind: bool,
    /// The last batch before the first one that is missing.
    pub(super) before_missing: Option<&'a Tail>,
    /// Samples that the robot's spool holds, as it told last, and that have not come since.
    pub(super) still: u64,
    /// At most so many samples had numbers of which the robot knows nothing any more, and have not come: they were in
    /// memory alone when its program ended.
    pub(super) forgotten: u64,
}

impl Default for LaneTale {
    fn default() -> Self {
        Self {
            runs: Runs::default(),
            samples: 0,
            told: None,
            next: Seq::FIRST,
            spooled: 0,
            beyond: Weights::default(),
            came: None,
        }
    }
}

impl LaneTale {
    /// Takes a seq that is in the log: a batch with its origin, or a loss.
    pub(super) fn account(&mut self, at: Offset, seq: Seq, samples: u32, origin: Option<&Origin>) {
        self.came = match self.came {
            Some((last, first)) if seq == last => Some((last, first.min(at))),
            Some((last, first)) if seq < last => Some((last, first)),
            _ => Some((seq, at)),
        };
        if self.runs.insert(seq, origin) {
            self.add(seq, u64::from(samples));
        }
    }

    /// Takes seqs that the log lacks for good, with their samples together.
    pub(super) fn account_absent(&mut self, ranges: &[SeqRange], samples: u64) {
        let mut is_new = false;
        for range in ranges {
            is_new |= self.runs.insert_range(*range);
        }
        if let (true, Some(last)) = (is_new, ranges.last()) {
            self.add(Seq(last.end.0 - 1), samples);
        }
    }

    fn add(&mut self, seq: Seq, samples: u64) {
        self.samples = self.samples.saturating_add(samples);
        if seq >= self.next {
            self.beyond.insert(seq, samples);
        }
    }

    /// Takes what the record at `at` tells.
    pub(super) fn tell(&mut self, at: Offset, lane: ToldLane) {
        if lane.next > self.next {
            self.next = lane.next;
            self.beyond.forget_below(lane.next);
        }
        if lane.next == self.next {
            self.spooled = self.spooled.max(lane.spooled);
        }
        if self.told.as_ref().is_none_or(|(known, _)| at > *known) {
            self.told = Some((at, lane));
        }
    }

    /// Returns the last record that told of this lane.
    pub(super) fn told_at(&self) -> Option<Offset> {
        self.told.as_ref().map(|(at, _)| *at)
    }

    /// Returns the seq after the last that is known of.
    pub(super) fn end(&self) -> Seq {
        self.next.max(self.runs.end())
    }

    /// Returns the last batch that is in the log.
    pub(super) fn last(&self) -> Option<&Tail> {
        self.runs.last()
    }

    /// Judges the lane; `live` is what an open session says of it, which is newer than any record.
    pub(super) fn view(&self, live: Option<&ToldLane>) -> LaneView<'_> {
        let here: RangeSet = self.runs.ranges().collect();
        let first_missing = here.next_absent(Seq::FIRST);
        let told = live.or(self.told.as_ref().map(|(_, told)| told));
        // A robot that tells of less than it told, or sent, before that has forgotten the rest: nothing more comes of it.
        let sent_before = |told: &&ToldLane| {
            self.came.is_some_and(|(last, at)| told.next <= last && Some(at) < self.told_at())
        };
        let shrunk = told.filter(|told| told.next < self.next || sent_before(told));
        let end = shrunk.map_or(self.end().max(told.map_or(Seq::FIRST, |told| told.next)), |told| told.next);
        LaneView {
            is_behind: first_missing < end,
            before_missing: self.runs.before(first_missing),
            still: told.map_or(0, |told| self.still(told, &here)),
            forgotten: shrunk.map_or(0, |told| self.forgotten(told, &here)),
        }
    }

    fn forgotten(&self, told: &ToldLane, here: &RangeSet) -> u64 {
        if here.covers(told.next, self.next) {
            return 0;
        }
        let accounted = self.samples.saturating_sub(self.beyond.samples_from(self.next));
        let missing = self.spooled.saturating_sub(accounted);
        missing.min(self.spooled.saturating_sub(told.spooled))
    }

    /// Returns how many samples the spool holds that have not come. Where the counts contradict each other, it is what
    /// the robot said.
    fn still(&self, told: &ToldLane, here: &RangeSet) -> u64 {
        if told.held().all(|range| here.covers(range.first, range.end)) {
            return 0;
        }
        let accounted = self.samples.saturating_sub(self.beyond.samples_from(told.next));
        let missing = told.spooled.checked_sub(accounted).filter(|missing| *missing > 0);
        missing.map_or(told.samples, |missing| missing.min(told.samples))
    }
}

impl From<&HeldLane> for ToldLane {
    fn from(lane: &HeldLane) -> Self {
        let HeldLane { first, next, samples, spooled, .. } = *lane;
        Self { first, next, samples, spooled, gone: lane.gone.clone() }
    }
}

impl ToldLane {
    /// Returns the seq after the last that was told.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// Returns what is held.
    fn held(&self) -> impl Iterator<Item = SeqRange> {
        let starts = std::iter::once(self.first).chain(self.gone.iter().map(|gone| gone.end));
        let ends = self.gone.iter().map(|gone| gone.first).chain([self.next]);
        starts.zip(ends).map(|(first, end)| SeqRange { first, end })
    }
}
