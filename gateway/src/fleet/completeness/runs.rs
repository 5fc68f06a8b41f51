//! Which seqs of one lane of one epoch the log accounts for, in runs without a gap.

use serde::{Deserialize, Serialize};

use muster_protocol::{id::Seq, message::SeqRange};

use crate::fleet::channel::Origin;

/// A set of seqs that remembers, for each run, the last batch in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runs {
    /// Ascending, none empty, not touching.
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    first: Seq,
    end: Seq,
    tail: Option<Tail>,
}

/// The last batch of a run, by its seq. Losses have no clock of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tail {
    seq: Seq,
    pub(super) origin: Origin,
}

/// Most runs of a lane. A receive window has at most half as many, so only losses that leave every second batch in
/// place come here; then the two lowest runs become one, and what lies between them counts as accounted for.
const RUNS_MAX: usize = 1024;

impl Runs {
    /// Adds a seq, with the batch's origin if it is one. Returns false if the seq was there.
    pub(super) fn insert(&mut self, seq: Seq, origin: Option<&Origin>) -> bool {
        let tail = origin.map(|origin| Tail { seq, origin: *origin });
        self.join(Run { first: seq, end: seq.next(), tail })
    }

    /// Adds a range of seqs that are no batches. Returns false if all of it was there.
    pub(super) fn insert_range(&mut self, range: SeqRange) -> bool {
        self.join(Run { first: range.first, end: range.end, tail: None })
    }

    fn join(&mut self, run: Run) -> bool {
        let from = self.runs.partition_point(|known| known.end < run.first);
        let until = from + self.runs[from..].partition_point(|known| known.first <= run.end);
        let touched = &self.runs[from..until];
        if touched.iter().any(|known| known.first <= run.first && run.end <= known.end) {
            return false;
        }
        let joined = touched.iter().fold(run, |run, known| Run {
            first: run.first.min(known.first),
            end: run.end.max(known.end),
            tail: later(run.tail, known.tail),
        });
        self.runs.splice(from..until, [joined]);
        if self.runs.len() > RUNS_MAX {
            let next = self.runs.remove(1);
            let lowest = &mut self.runs[0];
            lowest.end = next.end;
            lowest.tail = later(lowest.tail, next.tail);
        }
        true
    }

    /// Returns the seq after the greatest, 1 if there is none.
    pub(super) fn end(&self) -> Seq {
        self.runs.last().map_or(Seq::FIRST, |run| run.end)
    }

    /// Returns the runs as ranges.
    pub(super) fn ranges(&self) -> impl Iterator<Item = SeqRange> {
        self.runs.iter().map(|run| SeqRange { first: run.first, end: run.end })
    }

    /// Returns the last batch below `seq`, which no run holds.
    pub(super) fn before(&self, seq: Seq) -> Option<&Tail> {
        let below = self.runs.partition_point(|run| run.end <= seq);
        self.runs[..below].iter().rev().find_map(|run| run.tail.as_ref())
    }

    /// Returns the last batch of all.
    pub(super) fn last(&self) -> Option<&Tail> {
        self.before(Seq(u64::MAX))
    }
}

fn later(a: Option<Tail>, b: Option<Tail>) -> Option<Tail> {
    if a.map(|tail| tail.seq) < b.map(|tail| tail.seq) { b } else { a }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_protocol::{
        message::Clock,
        time::{MonoTime, WallTime},
    };
    use proptest::prelude::*;

    use super::*;

    fn origin(seq: u64) -> Origin {
        let clock = Clock { boot: 1, mono: MonoTime(seq), wall: WallTime(0), synchronised: false };
        Origin { session: 1, received_at: WallTime(0), clock }
    }

    fn insert(runs: &mut Runs, seq: u64, is_batch: bool) -> bool {
        runs.insert(Seq(seq), is_batch.then(|| origin(seq)).as_ref())
    }

    proptest! {
        #[test]
        fn it_is_a_set_that_knows_the_last_batch_below_each_gap(
            seqs in prop::collection::btree_map(1u64..60, any::<bool>(), 0..50),
            order in any::<prop::sample::Index>(),
        ) {
            let mut runs = Runs::default();
            let shuffled: Vec<_> = seqs.iter().map(|(seq, is_batch)| (*seq, *is_batch)).collect();
            let cut = if shuffled.is_empty() { 0 } else { order.index(shuffled.len()) };
            for (seq, is_batch) in shuffled[cut..].iter().chain(shuffled[..cut].iter().rev()) {
                prop_assert!(insert(&mut runs, *seq, *is_batch));
                prop_assert!(!insert(&mut runs, *seq, !*is_batch));
                let again = runs.insert_range(SeqRange { first: Seq(*seq), end: Seq(seq + 1) });
                prop_assert!(!again);
            }
            let held: Vec<u64> = runs.ranges().flat_map(|range| range.first.0..range.end.0).collect();
            prop_assert_eq!(&held, &seqs.keys().copied().collect::<Vec<_>>());
            let batches: BTreeSet<u64> =
                seqs.iter().filter(|(_, is_batch)| **is_batch).map(|(seq, _)| *seq).collect();
            for gap in (1..70).filter(|seq| !seqs.contains_key(seq)) {
                let expected = batches.range(..gap).next_back().copied();
                prop_assert_eq!(runs.before(Seq(gap)).map(|tail| tail.seq.0), expected, "below {}", gap);
            }
        }
    }

    #[test]
    fn the_number_of_runs_is_bounded() {
        let mut runs = Runs::default();
        for n in 1..=2 * RUNS_MAX as u64 {
            insert(&mut runs, 2 * n, true);
        }
        assert_eq!(runs.ranges().count(), RUNS_MAX);
        assert!(!insert(&mut runs, 3, true));
    }
}
