//! Which offsets of the log are folded in. Applying a record twice changes nothing, in whatever order records come.

use serde::{Deserialize, Serialize};

use muster_protocol::id::Offset;

/// A set of offsets, kept as half-open ranges in ascending order.
///
/// A gateway folds its log in order, so this is one range in an ordinary life and one more for each quarantined
/// partition. At [`RANGES_MAX`] the two lowest ranges become one: what lies between them counts as applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Applied {
    ranges: Vec<(u64, u64)>,
}

/// Most ranges that are kept. Far beyond the partitions that a log has.
const RANGES_MAX: usize = 4096;

impl Applied {
    /// Adds an offset. Returns false if it was there already.
    pub(super) fn insert(&mut self, offset: Offset) -> bool {
        let Offset(at) = offset;
        let after = self.ranges.partition_point(|&(first, _)| first <= at);
        let joins_next = self.ranges.get(after).is_some_and(|&(first, _)| first == at + 1);
        let before = after.checked_sub(1).map(|index| (index, self.ranges[index].1));
        match before {
            Some((_, end)) if at < end => return false,
            Some((index, end)) if at == end && joins_next => {
                self.ranges[index].1 = self.ranges[after].1;
                self.ranges.remove(after);
            }
            Some((index, end)) if at == end => self.ranges[index].1 = at + 1,
            _ if joins_next => self.ranges[after].0 = at,
            _ => self.ranges.insert(after, (at, at + 1)),
        }
        if self.ranges.len() > RANGES_MAX {
            let (first, _) = self.ranges.remove(0);
            self.ranges[0].0 = first;
        }
        true
    }

    /// Returns the offset after the greatest one in the set: where a fold in order goes on.
    pub(super) fn next(&self) -> Offset {
        self.ranges.last().map_or(Offset::FIRST, |&(_, end)| Offset(end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(offsets in prop::collection::vec(1u64..60, 0..80)) {
            let mut applied = Applied::default();
            let mut model = BTreeSet::new();
            for &offset in &offsets {
                prop_assert_eq!(applied.insert(Offset(offset)), model.insert(offset));
            }
            prop_assert_eq!(applied.next().0, model.last().map_or(1, |last| last + 1));
            for pair in applied.ranges.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0);
            }
        }
    }

    #[test]
    fn a_log_in_order_is_one_range() {
        let mut applied = Applied::default();
        for offset in 5000..6000 {
            assert!(applied.insert(Offset(offset)));
        }
        assert_eq!(applied.ranges, [(5000, 6000)]);
    }

    #[test]
    fn the_number_of_ranges_is_bounded() {
        let mut applied = Applied::default();
        for offset in 0..2 * RANGES_MAX as u64 {
            applied.insert(Offset(1 + 2 * offset));
        }
        assert_eq!(applied.ranges.len(), RANGES_MAX);
        assert!(!applied.insert(Offset(2)));
    }
}
