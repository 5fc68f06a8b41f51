//! When what is on the disk is synced together.
//!
//! A batch waits for a sync, and its rows have waited in it before. So the sync comes when a batch closes, as soon as
//! three quarters of the interval are over: in a regular stream this is the batch that closes at its end, and it
//! does not wait at all. Batches that close earlier in the interval wait for it, a quarter of the interval beyond its end at
//! most. An interval is never much shorter, so the disk is synced as often as the configuration says.

use std::time::Duration;

use muster_protocol::time::MonoTime;

/// When to sync next; one per recorder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupSync {
    every: Duration,
    /// When the last sync began.
    last: Option<MonoTime>,
    due: Option<MonoTime>,
}

impl GroupSync {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, last: None, due: None }
    }

    /// Returns when the next sync is due; `None` if nothing waits for one.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        self.due
    }

    /// Asks for a sync at a time, or earlier.
    pub(crate) fn by(&mut self, at: MonoTime) {
        self.due = Some(self.due.map_or(at, |earlier| earlier.min(at)));
    }

    /// Asks for a sync within the interval.
    pub(crate) fn soon(&mut self, now: MonoTime) {
        self.by(now + self.every);
    }

    /// Asks for a sync that covers a batch which has just closed.
    pub(crate) fn handle_closed(&mut self, now: MonoTime) {
        let quarter = self.every / 4;
        self.by(match self.last {
            Some(last) if last + quarter * 3 <= now => now,
            Some(last) => last + self.every + quarter,
            None => now + self.every,
        });
    }

    /// Notes that a sync begins, and returns when one was due.
    pub(crate) fn start(&mut self, now: MonoTime) -> Option<MonoTime> {
        self.last = Some(now);
        self.due.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: u64 = 1_000_000;

    /// Lets batches close at these times, in ascending order, and returns when syncs began, for an interval of 500 ms.
    /// All times are in milliseconds.
    fn syncs(closed: &[u64]) -> Vec<u64> {
        let mut group = GroupSync::new(Duration::from_millis(500));
        let mut began = Vec::new();
        let mut sync_until = |group: &mut GroupSync, until: u64| {
            while let Some(due) = group.due().filter(|due| due.0 <= until) {
                group.start(due);
                began.push(due.0 / MILLIS);
            }
        };
        for close in closed.iter().map(|close| close * MILLIS) {
            sync_until(&mut group, close - 1);
            group.handle_closed(MonoTime(close));
            sync_until(&mut group, close);
        }
        sync_until(&mut group, u64::MAX);
        began
    }

    #[test]
    fn in_a_regular_stream_a_sync_comes_as_a_batch_closes_and_the_interval_is_kept() {
        assert_eq!(syncs(&[1000, 1250, 1500, 1750, 2000]), [1500, 2000]);
        // Timers are late now and then, and never shift the batches past their sync.
        assert_eq!(syncs(&[1000, 1251, 1499, 1752, 2001]), [1500, 2001]);
    }

    #[test]
    fn a_batch_after_a_pause_is_synced_at_once() {
        assert_eq!(syncs(&[1000, 9000]), [1500, 9000]);
    }

    #[test]
    fn a_batch_that_closes_early_waits_a_quarter_beyond_the_interval_at_most() {
        assert_eq!(syncs(&[1000, 1501]), [1500, 2125]);
    }

    #[test]
    fn what_is_asked_for_earlier_comes_earlier() {
        let mut group = GroupSync::new(Duration::from_millis(500));
        group.soon(MonoTime(0));
        group.by(MonoTime(7));
        group.by(MonoTime(8));
        assert_eq!(group.due(), Some(MonoTime(7)));
        assert_eq!((group.start(MonoTime(7)), group.due()), (Some(MonoTime(7)), None));
    }
}
