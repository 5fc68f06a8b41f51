//! How much may be on its way at once on a link whose lanes share one queue, so that a fresh batch never waits long
//! behind a backlog, and the backlog still fills the link.
//!
//! ```text
//!   bytes in flight <= rate x max(queue time, 1.5 x empty-path time)      or two batches, if both pass within 600 ms
//! ```
//!
//! The *rate* is what acks confirm, over spans of 250 ms or more. It is lowered only by spans in which the bound held
//! batches back: an agent with little to say has not measured its link. The *empty-path time* is what an ack takes
//! when nothing else was in flight; without it, a path with a long delay would be taken for a queue. To know it, the backlog stands back for one ack every 10 s, at a cost of about a hundredth.
//!
//! Until the first span is measured two batches are in flight; each span then multiplies what may be, so that a fast
//! link is filled within a second or two.

use std::time::Duration;

use crate::{id::Lane, limits::BATCH_BYTES_MAX, time::MonoTime};

/// The bound on what is in flight; one per sender.
#[derive(Debug)]
pub(super) struct Pace {
    /// How much may wait on the link, in time; `None` where nothing is shared, and nothing is bounded here.
    queue_time: Option<Duration>,
    /// Acknowledged bytes per second.
    rate: Option<u64>,
    span: Option<Span>,
    /// What an ack takes on an empty path.
    path_time: Option<Duration>,
    /// When the path's time was last measured, or given up to be measured.
    measured_at: Option<MonoTime>,
    /// Since when the backlog stands back to measure it.
    standing_back: Option<MonoTime>,
    /// Smoothed size of a lane's batches.
    typical: [Option<usize>; 3],
}

/// A batch on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) at: MonoTime,
    pub(super) bytes: usize,
    /// Whether it was sent as fresh.
    pub(super) fresh: bool,
    /// Whether nothing but urgent batches was in flight when it was sent.
    pub(super) alone: bool,
}

/// What is in flight of some kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) bytes: usize,
    pub(super) batches: usize,
}

/// Acks since one of them.
#[derive(Clone, Copy, Debug)]
struct Span {
    since: MonoTime,
    last: MonoTime,
    bytes: usize,
    /// Whether the bound held something back all the while.
    limited: bool,
}

impl Span {
    fn starting(now: MonoTime) -> Self {
        Self { since: now, last: now, bytes: 0, limited: false }
    }
}

/// Shortest span that a rate is taken from.
const SPAN: Duration = Duration::from_millis(250);

/// A path that was empty for so long was not waited for.
const IDLE: Duration = Duration::from_millis(100);

/// Two batches may be in flight if both pass within this time: with one alone the link idles while its ack comes.
const PAIR_TIME_MAX: Duration = Duration::from_millis(600);

/// How often the path's time is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// The same in times of the path, so that it costs a few hundredths of a path with a long delay, not more.
const MEASURE_PATHS: u32 = 40;

/// How long the backlog stands back for it at most: fresh batches may never leave the path empty.
const STAND_BACK_MAX: Duration = Duration::from_secs(1);

impl Pace {
    pub(super) fn new(queue_time: Option<Duration>) -> Self {
        Self {
            queue_time,
            rate: None,
            span: None,
            path_time: None,
            measured_at: None,
            standing_back: None,
            typical: [None; 3],
        }
    }

    /// Forgets the link; what batches are like stays known.
    pub(super) fn reset(&mut self, queue_time: Option<Duration>) {
        *self = Self { typical: self.typical, ..Self::new(queue_time) };
    }

    pub(super) fn queue_time(&self) -> Option<Duration> {
        self.queue_time
    }

    /// Returns how large the next batch of a lane will be, as far as can be told.
    pub(super) fn expected_bytes(&self, lane: Lane) -> usize {
        self.typical.get(lane.index()).copied().flatten().unwrap_or(BATCH_BYTES_MAX / 2)
    }

    /// Learns how large a batch is.
    pub(super) fn handle_loaded(&mut self, lane: Lane, bytes: usize) {
        if let Some(typical) = self.typical.get_mut(lane.index()) {
            *typical = Some(typical.map_or(bytes, |smooth| (smooth * 7 + bytes) / 8));
        }
    }

    /// Returns whether one more batch of the lane may join what is in flight.
    pub(super) fn has_room(&mut self, lane: Lane, load: Load) -> bool {
        let Some(queue_time) = self.queue_time else { return true };
        let bytes = load.bytes + self.expected_bytes(lane);
        let room = match (load.batches, self.rate) {
            (0, _) | (1, None) => true,
            (_, None) => false,
            (batches, Some(rate)) => {
                let path = self.path_time.unwrap_or_default();
                let queued = bytes_in(rate, queue_time.max(path + path / 2));
                bytes <= queued || batches == 1 && bytes <= bytes_in(rate, PAIR_TIME_MAX)
            }
        };
        if let (false, Some(span)) = (room, &mut self.span) {
            span.limited = true;
        }
        room
    }

    /// Returns whether the backlog waits until nothing is in flight, so that the path's time can be measured.
    pub(super) fn stands_back(&mut self, load: Load, now: MonoTime) -> bool {
        let every = MEASURE_EVERY.max(self.path_time.unwrap_or_default() * MEASURE_PATHS);
        let due = self.measured_at.is_some_and(|at| at + every <= now);
        if self.queue_time.is_none() || !due || load.batches == 0 {
            if self.standing_back.take().is_some() {
                // The pause is none of the link's doing.
                self.span = None;
            }
            return false;
        }
        let since = *self.standing_back.get_or_insert(now);
        if since + STAND_BACK_MAX <= now {
            self.measured_at = Some(now);
            self.standing_back = None;
            return false;
        }
        true
    }

    /// Learns from an ack.
    pub(super) fn handle_acked(&mut self, flight: &Flight, now: MonoTime) {
        self.count(flight, now);
        let took = now.since(flight.at);
        if flight.alone {
            self.path_time = Some(took);
            self.measured_at = Some(now);
        } else if let Some(path) = &mut self.path_time {
            *path = took.min(*path);
        }
    }

    fn count(&mut self, flight: &Flight, now: MonoTime) {
        // A span begins with an ack and ends with one, so the first one's bytes are not of it.
        let Some(span) = &mut self.span else {
            self.span = Some(Span::starting(now));
            return;
        };
        span.bytes += flight.bytes;
        span.limited &= !(flight.alone && span.last + IDLE < flight.at);
        span.last = now;
        let took = now.since(span.since);
        if took < SPAN {
            return;
        }
        let measured = u64::try_from(span.bytes as u128 * 1_000_000 / took.as_micros()).unwrap_or(u64::MAX);
        let rate = self.rate.unwrap_or(measured);
        if span.limited || measured >= rate {
            self.rate = Some(rate.midpoint(measured).max(1));
        }
        self.span = Some(Span::starting(now));
    }
}

fn bytes_in(rate: u64, time: Duration) -> usize {
    usize::try_from(u128::from(rate) * time.as_micros() / 1_000_000).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE_TIME: Option<Duration> = Some(Duration::from_millis(250));

    fn at(millis: u64) -> MonoTime {
        MonoTime(millis * 1_000_000)
    }

    /// Acks of `bytes` each, every `every` milliseconds up to `end`, while more waits.
    fn saturated(pace: &mut Pace, bytes: usize, every: u64, end: u64) {
        for now in (0..=end).step_by(usize::try_from(every).unwrap()) {
            pace.has_room(Lane::Live, Load { bytes: usize::MAX / 2, batches: 99 });
            let flight = Flight { at: at(now.saturating_sub(100)), bytes, fresh: false, alone: now == 0 };
            pace.handle_acked(&flight, at(now));
        }
    }

    #[test]
    fn a_slow_link_has_two_batches_in_flight_at_most_and_a_fast_one_what_its_queue_time_holds() {
        let mut slow = Pace::new(QUEUE_TIME);
        slow.handle_loaded(Lane::Live, 4000);
        saturated(&mut slow, 4000, 250, 2000);
        assert_eq!(slow.rate, Some(16_000));
        assert!(slow.has_room(Lane::Live, Load { bytes: 4000, batches: 1 }));
        assert!(!slow.has_room(Lane::Live, Load { bytes: 8000, batches: 2 }));
        let mut fast = Pace::new(QUEUE_TIME);
        fast.handle_loaded(Lane::Live, 32_000);
        saturated(&mut fast, 32_000, 32, 2000);
        assert!(fast.has_room(Lane::Live, Load { bytes: 6 * 32_000, batches: 6 }));
        assert!(!fast.has_room(Lane::Live, Load { bytes: 8 * 32_000, batches: 8 }));
    }

    #[test]
    fn a_batch_that_takes_long_by_itself_goes_alone() {
        let mut pace = Pace::new(QUEUE_TIME);
        pace.handle_loaded(Lane::Live, 32_000);
        saturated(&mut pace, 32_000, 2000, 20_000);
        assert!(pace.has_room(Lane::Live, Load::default()));
        assert!(!pace.has_room(Lane::Live, Load { bytes: 32_000, batches: 1 }));
    }

    #[test]
    fn an_agent_with_little_to_say_does_not_forget_how_fast_its_link_is() {
        let mut pace = Pace::new(QUEUE_TIME);
        saturated(&mut pace, 32_000, 32, 2000);
        let rate = pace.rate;
        for now in (3000..60_000).step_by(500) {
            pace.handle_acked(&Flight { at: at(now - 100), bytes: 100, fresh: true, alone: true }, at(now));
        }
        assert_eq!(pace.rate, rate);
    }

    /// Guards: the bound followed the queue time alone, so a path with a longer delay shrank it round by round.
    #[test]
    fn a_path_with_a_long_delay_is_not_taken_for_a_queue() {
        let mut pace = Pace::new(QUEUE_TIME);
        pace.handle_loaded(Lane::Live, 10_000);
        saturated(&mut pace, 10_000, 100, 900);
        let far = Flight { at: at(900), bytes: 10_000, fresh: false, alone: true };
        pace.handle_acked(&far, at(1600));
        assert!(pace.has_room(Lane::Live, Load { bytes: 70_000, batches: 7 }));
    }

    #[test]
    fn the_backlog_stands_back_for_a_measurement_but_not_for_long() {
        let mut pace = Pace::new(QUEUE_TIME);
        saturated(&mut pace, 4000, 250, 9000);
        let some = Load { bytes: 4000, batches: 1 };
        assert!(!pace.stands_back(some, at(9500)));
        assert!(pace.stands_back(some, at(10_500)));
        assert!(!pace.stands_back(Load::default(), at(10_600)));
        assert!(pace.stands_back(some, at(10_700)));
        assert!(!pace.stands_back(some, at(11_800)));
        assert!(!pace.stands_back(some, at(11_900)));
    }

    #[test]
    fn where_nothing_is_shared_nothing_is_bounded() {
        assert!(Pace::new(None).has_room(Lane::Bulk, Load { bytes: usize::MAX / 2, batches: 1 << 20 }));
    }
}
