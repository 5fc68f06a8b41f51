//! A set of seqs as ascending, disjoint, non-touching ranges.

use crate::{id::Seq, message::SeqRange};

/// A set of seqs. Memory follows the number of gaps, not of seqs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<SeqRange>,
}

impl RangeSet {
    /// Returns the ranges, ascending.
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }

    /// Returns whether the set holds `seq`.
    pub fn contains(&self, seq: Seq) -> bool {
        self.range_of(seq).is_some()
    }

    /// Returns the range that holds `seq`.
    pub fn range_of(&self, seq: Seq) -> Option<SeqRange> {
        let after = self.ranges.partition_point(|range| range.first <= seq);
        self.ranges.get(after.checked_sub(1)?).copied().filter(|range| seq < range.end)
    }

    /// Returns the first seq at or after `seq` that the set lacks.
    pub fn next_absent(&self, seq: Seq) -> Seq {
        self.range_of(seq).map_or(seq, |range| range.end)
    }

    /// Returns whether adding `seq` would need no further range: it is held, or touches one that is.
    pub fn touches(&self, seq: Seq) -> bool {
        self.contains(seq) || self.contains(seq.next()) || seq.0 > 0 && self.contains(Seq(seq.0 - 1))
    }

    /// Adds one seq.
    pub fn insert(&mut self, seq: Seq) {
        self.insert_range(SeqRange { first: seq, end: seq.next() });
    }

    /// Adds a range; an empty one changes nothing.
    pub fn insert_range(&mut self, range: SeqRange) {
        if range.end <= range.first {
            return;
        }
        let from = self.ranges.partition_point(|held| held.end < range.first);
        let until = self.ranges.partition_point(|held| held.first <= range.end);
        let joined = self.ranges.get(from..until).unwrap_or_default();
        let first = joined.first().map_or(range.first, |held| held.first.min(range.first));
        let end = joined.last().map_or(range.end, |held| held.end.max(range.end));
        self.ranges.splice(from..until, [SeqRange { first, end }]);
    }

    /// Removes one seq.
    pub fn remove(&mut self, seq: Seq) {
        let Some(range) = self.range_of(seq) else { return };
        let at = self.ranges.partition_point(|held| held.end <= seq);
        let left = SeqRange { first: range.first, end: seq };
        let right = SeqRange { first: seq.next(), end: range.end };
        let rest = [left, right].into_iter().filter(|range| range.first < range.end);
        self.ranges.splice(at..=at, rest);
    }

    /// Removes every seq below `first`.
    pub fn remove_below(&mut self, first: Seq) {
        self.ranges.retain(|range| range.end > first);
        if let Some(lowest) = self.ranges.first_mut() {
            lowest.first = lowest.first.max(first);
        }
    }

    /// Removes a range; an empty one changes nothing.
    pub fn remove_range(&mut self, range: SeqRange) {
        if range.end <= range.first {
            return;
        }
        let from = self.ranges.partition_point(|held| held.end <= range.first);
        let until = self.ranges.partition_point(|held| held.first < range.end);
        let cut = self.ranges.get(from..until).unwrap_or_default();
        let left = cut.first().map(|held| SeqRange { first: held.first, end: range.first });
        let right = cut.last().map(|held| SeqRange { first: range.end, end: held.end });
        let rest: Vec<_> = [left, right].into_iter().flatten().filter(|rest| rest.first < rest.end).collect();
        self.ranges.splice(from..until, rest);
    }

    /// Returns what this set holds and the other does not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for range in &other.ranges {
            rest.remove_range(*range);
        }
        rest
    }

    /// Returns whether both sets hold a seq.
    pub fn intersects(&self, other: &Self) -> bool {
        let shares = |range: &SeqRange| {
            let after = other.ranges.partition_point(|held| held.end <= range.first);
            other.ranges.get(after).is_some_and(|held| held.first < range.end)
        };
        self.ranges.iter().any(shares)
    }

    /// Returns whether the set holds every seq of `first..end`.
    pub fn covers(&self, first: Seq, end: Seq) -> bool {
        end <= first || self.range_of(first).is_some_and(|range| range.end >= end)
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns how many seqs the set holds.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.end.0 - range.first.0).sum()
    }
}

impl FromIterator<SeqRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert_range(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Remove(u64),
        Below(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..60_u64, 0..6_u64).prop_map(|(first, len)| Step::Insert(first, first + len)),
            2 => (1..60_u64).prop_map(Step::Remove),
            1 => (1..60_u64).prop_map(Step::Below),
        ]
    }

    proptest! {
        #[test]
        fn behaves_as_a_set_of_seqs(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(first, end) => {
                        set.insert_range(SeqRange { first: Seq(first), end: Seq(end) });
                        model.extend(first..end);
                    }
                    Step::Remove(seq) => {
                        set.remove(Seq(seq));
                        model.remove(&seq);
                    }
                    Step::Below(first) => {
                        set.remove_below(Seq(first));
                        model.retain(|seq| *seq >= first);
                    }
                }
            }
            let held: Vec<u64> = set.ranges().iter().flat_map(|range| range.first.0..range.end.0).collect();
            prop_assert_eq!(&held, &model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert!(set.ranges().windows(2).all(|pair| pair[0].end < pair[1].first), "ranges do not touch");
            for seq in 1..70 {
                prop_assert_eq!(set.contains(Seq(seq)), model.contains(&seq));
                let absent = (seq..100).find(|seq| !model.contains(seq)).unwrap();
                prop_assert_eq!(set.next_absent(Seq(seq)), Seq(absent));
                let touches = (seq - 1..=seq + 1).any(|near| model.contains(&near));
                prop_assert_eq!(set.touches(Seq(seq)), touches);
            }
        }
    }
}
