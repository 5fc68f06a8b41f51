//! Whether a value is recent enough to be believed: the one rule of OPERATIONS.md, "Freshness".

use serde::Serialize;

/// How recent a channel's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// As recent as the channel's pace promises.
    Fresh,
    /// Overdue.
    Late,
    /// Too old to say anything about now.
    Stale,
    /// There is no value.
    Never,
}

/// When a channel's next value is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every so many nanoseconds, declared or measured; `None` while nothing is known yet.
    Every(Option<u64>),
    /// Whenever the value changes: it holds for as long as the link is up.
    OnChange,
}

/// Whether the robot can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// A session is open and was heard within [`SILENCE_NS_MAX`].
    Up,
    /// It closed, or is silent.
    Down,
}

/// A value counts as fresh up to this many expected intervals of age, or [`FRESH_NS_MIN`] if that is more.
const FRESH_INTERVALS: u64 = 2;

/// Any value is fresh up to this age.
pub const FRESH_NS_MIN: u64 = 2_000_000_000;

/// A value counts as late up to this many expected intervals of age, or [`LATE_NS_MIN`] if that is more.
const LATE_INTERVALS: u64 = 5;

/// No value is stale up to this age.
pub const LATE_NS_MIN: u64 = 5_000_000_000;

/// A link that was silent for longer is down.
pub const SILENCE_NS_MAX: i64 = 45_000_000_000;

/// Applies the rule to a value of this age in nanoseconds. An age that nobody knows is stale: an old value never
/// looks live.
pub fn freshness(age_ns: Option<i64>, pace: Pace, link: LinkState) -> Freshness {
    let [fresh_ns, late_ns] = match (pace, link) {
        (Pace::OnChange, LinkState::Up) => return Freshness::Fresh,
        (Pace::OnChange, LinkState::Down) => return Freshness::Stale,
        (Pace::Every(every), _) => bounds(every),
    };
    let Some(age_ns) = age_ns else { return Freshness::Stale };
    let age_ns = u64::try_from(age_ns).unwrap_or(0);
    if age_ns <= fresh_ns {
        Freshness::Fresh
    } else if age_ns <= late_ns {
        Freshness::Late
    } else {
        Freshness::Stale
    }
}

/// Returns the age from which on a value of this age is less fresh than it is now; `None` if it stays as it is.
pub(super) fn age_of_change(age_ns: i64, pace: Pace) -> Option<i64> {
    let Pace::Every(every) = pace else { return None };
    let age_ns = u64::try_from(age_ns).unwrap_or(0);
    let last_age = bounds(every).into_iter().find(|bound| age_ns <= *bound)?;
    i64::try_from(last_age).ok()?.checked_add(1)
}

/// Returns up to which age a value with this pace is fresh, and up to which it is late.
fn bounds(every: Option<u64>) -> [u64; 2] {
    let intervals = |count: u64| every.unwrap_or(0).saturating_mul(count);
    [intervals(FRESH_INTERVALS).max(FRESH_NS_MIN), intervals(LATE_INTERVALS).max(LATE_NS_MIN)]
}

impl Freshness {
    /// Returns the name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Late => "late",
            Self::Stale => "stale",
            Self::Never => "never",
        }
    }
}

impl LinkState {
    /// Returns the name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Freshness::*, LinkState::*, *};

    const MS: i64 = 1_000_000;

    #[test]
    fn the_rule_as_a_table() {
        let every = |ms: u64| Pace::Every(Some(ms * 1_000_000));
        let unknown = Pace::Every(None);
        let table = [
            // Quick channels: the floors of 2 s and 5 s decide.
            (every(10), 0, Fresh),
            (every(10), 2_000, Fresh),
            (every(10), 2_001, Late),
            (every(10), 5_000, Late),
            (every(10), 5_001, Stale),
            // At one second both say the same.
            (every(1_000), 2_000, Fresh),
            (every(1_000), 5_000, Late),
            (every(1_000), 5_001, Stale),
            // Slow channels: 2 E and 5 E decide.
            (every(60_000), 120_000, Fresh),
            (every(60_000), 120_001, Late),
            (every(60_000), 300_000, Late),
            (every(60_000), 300_001, Stale),
            // Nothing known of the pace yet.
            (unknown, 2_000, Fresh),
            (unknown, 5_000, Late),
            (unknown, 5_001, Stale),
            // A value from the near future has no age yet.
            (every(10), -60_000, Fresh),
        ];
        for (pace, age_ms, expected) in table {
            for link in [Up, Down] {
                assert_eq!(freshness(Some(age_ms * MS), pace, link), expected, "{pace:?} at {age_ms} ms");
            }
        }
    }

    #[test]
    fn a_channel_that_reports_changes_follows_the_link() {
        for age in [Some(0), Some(i64::MAX), None] {
            assert_eq!(freshness(age, Pace::OnChange, Up), Fresh);
            assert_eq!(freshness(age, Pace::OnChange, Down), Stale);
        }
    }

    #[test]
    fn an_unknown_age_is_stale() {
        assert_eq!(freshness(None, Pace::Every(Some(u64::MAX)), Up), Stale);
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        assert_eq!(freshness(Some(i64::MAX), Pace::Every(Some(u64::MAX)), Up), Fresh);
    }
}
