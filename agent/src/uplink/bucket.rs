//! A limit per second: tokens that come back evenly, with a part kept for what is urgent.

use std::time::Duration;

use muster_protocol::{session::sender::Priority, time::MonoTime};

use super::Share;

/// Bytes that may go now. A batch may overdraw it once; then it waits until the debt is paid, so the limit holds over
/// any longer time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    general: Tokens,
    reserve: Tokens,
    at: Option<MonoTime>,
}

#[derive(Clone, Copy, Debug)]
struct Tokens {
    per_second: f64,
    most: f64,
    left: f64,
}

/// How long the reserve is saved up for, so that a burst of urgent batches passes.
const RESERVE_SECONDS: f64 = 10.0;

/// What bulk and backlog leave in the bucket for what is worth more.
const LEFT_BY_BULK: f64 = 0.5;
const LEFT_BY_BACKLOG: f64 = 0.25;

impl Bucket {
    pub(super) fn new(bytes_per_second: u64, reserve: Share) -> Self {
        let kept = reserve.of(bytes_per_second) as f64;
        let general = bytes_per_second as f64 - kept;
        Self {
            general: Tokens::full(general, general),
            reserve: Tokens::full(kept, kept * RESERVE_SECONDS),
            at: None,
        }
    }

    pub(super) fn refill(&mut self, now: MonoTime) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.since(at)).as_secs_f64();
        self.at = Some(now);
        self.general.refill(passed);
        self.reserve.refill(passed);
    }

    pub(super) fn spend(&mut self, bytes: u64, priority: Priority) {
        let from_reserve = priority == Priority::Urgent && self.general.left <= 0.0;
        let tokens = if from_reserve { &mut self.reserve } else { &mut self.general };
        tokens.left -= bytes as f64;
    }

    pub(super) fn allows(&self, priority: Priority) -> bool {
        let general = self.general.left > self.left_by(priority);
        general || priority == Priority::Urgent && self.reserve.left > 0.0
    }

    /// Returns how long it takes until the next thing that has to wait may go; `None` if nothing has to.
    pub(super) fn wait(&self) -> Option<Duration> {
        let waits = [Priority::Urgent, Priority::Live, Priority::Backlog, Priority::Bulk];
        let next = waits.into_iter().find(|priority| !self.allows(*priority))?;
        let missing = |tokens: &Tokens, left: f64| (left - tokens.left).max(0.0) / tokens.per_second.max(1.0);
        let mut seconds = missing(&self.general, self.left_by(next));
        if next == Priority::Urgent && self.reserve.per_second > 0.0 {
            seconds = seconds.min(missing(&self.reserve, 0.0));
        }
        // A little later than exactly then, so that it is true then.
        Some(Duration::from_secs_f64(seconds.min(3600.0)) + Duration::from_millis(1))
    }

    fn left_by(&self, priority: Priority) -> f64 {
        match priority {
            Priority::Urgent | Priority::Live => 0.0,
            Priority::Backlog => self.general.most * LEFT_BY_BACKLOG,
            Priority::Bulk => self.general.most * LEFT_BY_BULK,
        }
    }
}

impl Tokens {
    fn full(per_second: f64, most: f64) -> Self {
        Self { per_second, most, left: most }
    }

    fn refill(&mut self, seconds: f64) {
        self.left = (self.left + self.per_second * seconds).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonoTime {
        MonoTime(millis * 1_000_000)
    }

    fn bucket() -> Bucket {
        let mut bucket = Bucket::new(10_000, Share::percent(10));
        bucket.refill(at(0));
        bucket
    }

    #[test]
    fn bulk_waits_first_then_backlog_then_live_and_urgent_goes_on_from_the_reserve() {
        let mut bucket = bucket();
        let allowed = |bucket: &Bucket| {
            [Priority::Bulk, Priority::Backlog, Priority::Live, Priority::Urgent]
                .map(|one| bucket.allows(one))
        };
        assert_eq!(allowed(&bucket), [true; 4]);
        bucket.spend(4600, Priority::Bulk);
        assert_eq!(allowed(&bucket), [false, true, true, true]);
        bucket.spend(2500, Priority::Backlog);
        assert_eq!(allowed(&bucket), [false, false, true, true]);
        bucket.spend(2000, Priority::Live);
        assert_eq!(allowed(&bucket), [false, false, false, true]);
        bucket.spend(10_000, Priority::Urgent);
        assert_eq!(allowed(&bucket), [false; 4]);
    }

    #[test]
    fn over_a_minute_no_more_goes_than_the_limit_and_what_was_saved_up() {
        let mut bucket = bucket();
        let (mut sent, mut now) = (0, at(0));
        while now < at(60_000) {
            bucket.refill(now);
            if bucket.allows(Priority::Live) {
                bucket.spend(3000, Priority::Live);
                sent += 3000;
            } else {
                now = now + bucket.wait().unwrap();
            }
        }
        assert!((9000 * 58..=9000 * 61 + 3000).contains(&sent), "{sent}");
    }

    #[test]
    fn an_overdraft_of_urgent_is_paid_back() {
        let mut bucket = bucket();
        bucket.spend(9000, Priority::Live);
        bucket.spend(30_000, Priority::Urgent);
        bucket.refill(at(100));
        assert!(bucket.allows(Priority::Urgent), "what comes back to all comes back to urgent");
        bucket.spend(1000, Priority::Urgent);
        assert!(!bucket.allows(Priority::Urgent));
        assert!(bucket.wait().unwrap() < Duration::from_secs(1));
    }
}
