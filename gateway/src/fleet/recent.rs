//! How often a channel speaks: the median gap between its last distinct times, as far as that is a pace at all.

use serde::{Deserialize, Serialize, Serializer};

/// The newest distinct times of a channel, newest first, at most [`TIMES_MAX`]. Which times those are does not depend
/// on the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Packed")]
pub(super) struct RecentTimes {
    times: Box<[i64]>,
    median_gap: Option<u64>,
}

/// Gaps between this many times make the median of the last 32.
const TIMES_MAX: usize = 33;

/// A longer gap is no pace but a pause, or a clock that was set: a value that waits for the next one for days would look
/// live all the while. A channel that speaks more rarely declares its interval.
const GAP_NS_MAX: u64 = 3_600_000_000_000;

/// What a checkpoint holds: the newest time and the gaps behind it, which are short numbers.
#[derive(Serialize, Deserialize)]
struct Packed {
    newest: Option<i64>,
    gaps: Vec<u64>,
}

impl RecentTimes {
    /// Picks the newest distinct of `times`, which come in any order.
    pub(super) fn of(times: impl DoubleEndedIterator<Item = i64> + Clone) -> Self {
        let mut newest: Vec<i64> = Vec::with_capacity(TIMES_MAX);
        // Rows almost always come in the order of time: then their end is all that has to be looked at.
        let mut ascending = times.clone().zip(times.clone().skip(1));
        if ascending.all(|(earlier, later)| earlier <= later) {
            for t in times.rev() {
                if newest.last() != Some(&t) {
                    newest.push(t);
                    if newest.len() == TIMES_MAX {
                        break;
                    }
                }
            }
        } else {
            newest.extend(times);
            newest.sort_unstable_by(|a, b| b.cmp(a));
            newest.dedup();
            newest.truncate(TIMES_MAX);
        }
        Self::from_sorted(newest)
    }

    /// Returns the newest times of both.
    #[must_use]
    pub(super) fn merged(&self, other: &Self) -> Self {
        let mut merged = Vec::with_capacity(TIMES_MAX);
        let (mut ours, mut theirs) = (self.times.iter().peekable(), other.times.iter().peekable());
        while merged.len() < TIMES_MAX {
            let next = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a == b => {
                    ours.next();
                    theirs.next()
                }
                (Some(a), Some(b)) if a > b => ours.next(),
                (Some(_), None) => ours.next(),
                _ => theirs.next(),
            };
            merged.extend(next);
        }
        Self::from_sorted(merged)
    }

    /// Returns the median gap in nanoseconds (the upper one of two) of those that are no longer than an hour, or `None`
    /// without such a gap.
    pub(super) fn interval(&self) -> Option<u64> {
        self.median_gap
    }

    fn from_sorted(times: Vec<i64>) -> Self {
        let mut gaps = [0; TIMES_MAX - 1];
        let mut count = 0;
        let all = times.windows(2).map(|pair| pair[0].abs_diff(pair[1]));
        for (place, gap) in gaps.iter_mut().zip(all.filter(|gap| *gap <= GAP_NS_MAX)) {
            *place = gap;
            count += 1;
        }
        let median_gap = (count > 0).then(|| *gaps[..count].select_nth_unstable(count / 2).1);
        Self { times: times.into(), median_gap }
    }
}

impl From<Packed> for RecentTimes {
    fn from(packed: Packed) -> Self {
        let mut times: Vec<i64> = packed.newest.into_iter().collect();
        let mut last = packed.newest.unwrap_or_default();
        for gap in packed.gaps.into_iter().take(TIMES_MAX - 1) {
            last = last.saturating_sub_unsigned(gap);
            times.push(last);
        }
        Self::from_sorted(times)
    }
}

impl Serialize for RecentTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gaps = self.times.windows(2).map(|pair| pair[0].abs_diff(pair[1])).collect();
        Packed { newest: self.times.first().copied(), gaps }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_time_says_nothing_about_the_interval() {
        assert_eq!(RecentTimes::of([7, 7].into_iter()).interval(), None);
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let times = (0..40).map(|i| i * 100).chain([1_000_000]);
        let times: Vec<i64> = times.collect();
        assert_eq!(RecentTimes::of(times.into_iter()).interval(), Some(100));
    }

    /// Guards: a sample with the time 0 and one of today made an interval of 56 years, and the value fresh for ever.
    #[test]
    fn a_gap_of_more_than_an_hour_is_no_pace() {
        let hour = i64::try_from(GAP_NS_MAX).unwrap();
        let today = 1_800_000_000_000_000_000;
        let interval = |times: &[i64]| RecentTimes::of(times.iter().copied()).interval();
        assert_eq!(interval(&[0, today]), None);
        assert_eq!(interval(&[i64::MIN, -1, i64::MAX]), None);
        assert_eq!(interval(&[0, today, today + 100]), Some(100));
        assert_eq!(interval(&[0, hour]), Some(GAP_NS_MAX));
        assert_eq!(interval(&[0, hour + 1]), None);
    }

    proptest! {
        #[test]
        fn neither_order_nor_splitting_nor_repetition_matters(
            times in prop::collection::vec(-50i64..50, 1..120),
            cuts in prop::collection::vec(0usize..120, 0..6),
        ) {
            let whole = RecentTimes::of(times.iter().copied());
            let mut sorted = times.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&RecentTimes::of(sorted.iter().copied()), &whole);
            let mut parts = RecentTimes::default();
            for cut in cuts.into_iter().chain([0, 0]) {
                let (head, tail) = times.split_at(cut.min(times.len()));
                parts = parts.merged(&RecentTimes::of(tail.iter().copied()));
                parts = parts.merged(&RecentTimes::of(head.iter().copied()));
            }
            prop_assert_eq!(&parts, &whole);
        }

        #[test]
        fn checkpoints_keep_it(times in prop::collection::vec(any::<i64>(), 0..50)) {
            let recent = RecentTimes::of(times.into_iter());
            let bytes = postcard::to_stdvec(&recent).unwrap();
            prop_assert_eq!(postcard::from_bytes::<RecentTimes>(&bytes).unwrap(), recent);
        }
    }
}
