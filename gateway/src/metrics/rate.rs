//! How many per second, over the last ten whole seconds.

use std::sync::{Mutex, PoisonError};

use muster_protocol::time::MonoTime;

/// Counts by second. Time only goes forward: what is counted late goes into the newest second.
#[derive(Debug, Default)]
pub(super) struct Rate {
    seconds: Mutex<Seconds>,
}

#[derive(Debug, Default)]
struct Seconds {
    /// The second that is being counted.
    now: u64,
    /// Counts by second modulo the length: the current one and those of the span.
    counts: [u64; SLOTS],
}

/// How many seconds count.
const SPAN_S: u64 = 10;

/// One for the current second, and one for each of the span.
const SLOTS: usize = 11;

impl Rate {
    /// Counts `n` at `now`.
    pub(super) fn add(&self, now: MonoTime, n: u64) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.advance(now);
        let slot = slot(seconds.now);
        seconds.counts[slot] += n;
    }

    /// Returns the mean of the last whole seconds, fewer if the clock is younger.
    pub(super) fn per_second(&self, now: MonoTime) -> f64 {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.advance(now);
        let current = seconds.counts[slot(seconds.now)];
        let whole = seconds.counts.iter().sum::<u64>() - current;
        whole as f64 / seconds.now.clamp(1, SPAN_S) as f64
    }
}

impl Seconds {
    fn advance(&mut self, now: MonoTime) {
        let now = now.0 / 1_000_000_000;
        let passed = now.saturating_sub(self.now).min(SPAN_S + 1);
        for second in 0..passed {
            self.counts[slot(now - second)] = 0;
        }
        self.now = self.now.max(now);
    }
}

fn slot(second: u64) -> usize {
    usize::try_from(second % SLOTS as u64).expect("below the number of slots")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime(ms * 1_000_000)
    }

    #[test]
    fn only_the_last_ten_whole_seconds_count() {
        let rate = Rate::default();
        for second in 0..100 {
            rate.add(at(second * 1000 + 500), 50);
            rate.add(at(second * 1000 + 900), 50);
        }
        assert!((rate.per_second(at(99_999)) - 100.0).abs() < 1e-9);
        assert!((rate.per_second(at(104_000)) - 60.0).abs() < 1e-9);
        assert!(rate.per_second(at(500_000)).abs() < 1e-9);
    }

    #[test]
    fn a_young_clock_divides_by_its_age() {
        let rate = Rate::default();
        rate.add(at(100), 30);
        rate.add(at(1_100), 30);
        assert!((rate.per_second(at(2_500)) - 30.0).abs() < 1e-9);
    }
}
