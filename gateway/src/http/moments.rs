//! Fleets of the past that lists are read from page by page, so that each page shows the same state and only the first one
//! folds it.
//!
//! The log may say more of a moment by the time of the second page, where what is known now is told. A list goes on in the
//! fleet that it began with, as long as that is kept; afterwards the moment is folded anew, and the list goes on behind
//! the same robot.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_protocol::time::MonoTime;

use super::past::Past;
use crate::fleet::{AsOf, Fleet};

/// The fleets of the last lists about the past that have more than a page, the one that was kept last at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Moments(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The number of the next one.
    next: u64,
    moments: VecDeque<Moment>,
}

#[derive(Debug)]
struct Moment {
    number: u64,
    as_of: AsOf,
    past: Arc<Past<Fleet>>,
    /// How much it holds.
    channels: usize,
    used_at: MonoTime,
}

/// How long a fleet is kept after its last page: programs ask for the next one at once. Folding it again costs seconds,
/// and keeping it costs as much memory as the fleet of now.
const KEPT_MAX: Duration = Duration::from_secs(60);

/// Channels of all fleets that are kept: one fleet of 10,000 robots with 100 channels each, or several smaller ones.
/// Beyond that the oldest goes, and a larger one is not kept at all.
const CHANNELS_KEPT_MAX: usize = 1_000_000;

impl Moments {
    /// Keeps a fleet of so many channels as it was, and returns its number; `None` if it is too large.
    pub(super) fn keep(
        &self,
        as_of: AsOf,
        past: &Arc<Past<Fleet>>,
        channels: usize,
        now: MonoTime,
    ) -> Option<u64> {
        if channels > CHANNELS_KEPT_MAX {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        let mut held: usize = kept.moments.iter().map(|moment| moment.channels).sum();
        while held + channels > CHANNELS_KEPT_MAX
            && let Some(oldest) = kept.moments.pop_front()
        {
            held -= oldest.channels;
        }
        let number = kept.next;
        kept.next += 1;
        kept.moments.push_back(Moment { number, as_of, past: past.clone(), channels, used_at: now });
        Some(number)
    }

    /// Returns a fleet that is kept, and keeps it for longer; of another moment there is none under this number.
    pub(super) fn find(&self, number: u64, as_of: AsOf, now: MonoTime) -> Option<Arc<Past<Fleet>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget(now);
        let found =
            kept.moments.iter_mut().find(|moment| moment.number == number && moment.as_of == as_of)?;
        found.used_at = now;
        Some(found.past.clone())
    }

    /// Lets go of what was not used for long; other requests do it when nobody asks about the past any more.
    pub(super) fn forget(&self, now: MonoTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).forget(now);
    }
}

impl Kept {
    fn forget(&mut self, now: MonoTime) {
        self.moments.retain(|moment| now.since(moment.used_at) <= KEPT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::time::WallTime;

    use super::*;
    use crate::fleet::Known;

    const THEN: AsOf = AsOf { at: WallTime(5), known: Known::Now };

    fn past() -> Arc<Past<Fleet>> {
        Arc::new(Past { state: Fleet::default(), unreadable: 0 })
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_fleet_is_kept_until_a_while_after_its_last_page() {
        let (moments, past) = (Moments::default(), past());
        let number = moments.keep(THEN, &past, 1, at(0)).unwrap();
        for second in [60, 120, 180] {
            assert!(Arc::ptr_eq(&moments.find(number, THEN, at(second)).unwrap(), &past));
        }
        let other = AsOf { known: Known::Then, ..THEN };
        assert!(moments.find(number, other, at(180)).is_none(), "it is another question");
        assert!(moments.find(number, THEN, at(241)).is_none());
        assert_eq!(Arc::strong_count(&past), 1, "its memory is free");
    }

    #[test]
    fn what_is_not_asked_for_any_more_is_let_go() {
        let (moments, past) = (Moments::default(), past());
        moments.keep(THEN, &past, 1, at(0)).unwrap();
        moments.forget(at(60));
        assert_eq!(Arc::strong_count(&past), 2);
        moments.forget(at(61));
        assert_eq!(Arc::strong_count(&past), 1);
    }

    #[test]
    fn the_oldest_fleet_makes_room_and_one_that_is_too_large_is_not_kept() {
        let moments = Moments::default();
        let keep = |channels, second| moments.keep(THEN, &past(), channels, at(second));
        assert_eq!(keep(CHANNELS_KEPT_MAX + 1, 0), None);
        let numbers: Vec<_> = (0..3).map(|n| keep(CHANNELS_KEPT_MAX / 2, n).unwrap()).collect();
        let found: Vec<_> =
            numbers.iter().map(|number| moments.find(*number, THEN, at(3)).is_some()).collect();
        assert_eq!(found, [false, true, true]);
    }
}
