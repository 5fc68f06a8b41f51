//! When a recorded row is due, and which time it gets. Pure.
//!
//! At a speed, the first row is due at once, and each later one as long after it as its `t` is later, divided by the
//! speed. Rows without `t` are due at once. A step of more than an hour, forward or back, is a clock that was set
//! during the recording: it is not waited out, and the pace goes on from there.

use std::time::Duration;

use muster_protocol::{
    sample::Row,
    time::{MonoTime, WallTime},
};

/// Longest pause of a recording that is waited out, and longest step back that is taken for disorder.
const STEP_MAX: Duration = Duration::from_secs(3600);

/// How a recording is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReplayConfig {
    /// How many times faster than recorded; `None` as fast as it is taken. Finite and above zero.
    pub speed: Option<f64>,
    /// Move all `t` by one constant, so that the first is now.
    pub shift_now: bool,
}

/// Decides over the rows of one recording, in order.
#[derive(Debug)]
pub struct Replay {
    config: ReplayConfig,
    /// A recorded time and when it was due.
    anchor: Option<(WallTime, MonoTime)>,
    /// The recorded time of the row before.
    last: Option<WallTime>,
    /// What is added to every `t`, once the first is known.
    shift_nanos: Option<i64>,
}

impl Replay {
    /// Starts before the first row.
    pub fn new(config: ReplayConfig) -> Self {
        Self { config, anchor: None, last: None, shift_nanos: None }
    }

    /// Returns when the row is due, if it is not due at once, and moves its time.
    pub fn place(&mut self, row: &mut Row, now: MonoTime, wall: WallTime) -> Option<MonoTime> {
        let recorded = row.t?;
        if self.config.shift_now {
            let shift = *self.shift_nanos.get_or_insert(wall.nanos_since(recorded));
            row.t = Some(recorded.shifted(shift));
        }
        self.due(recorded, now)
    }

    fn due(&mut self, recorded: WallTime, now: MonoTime) -> Option<MonoTime> {
        let speed = self.config.speed?;
        let last = self.last.replace(recorded).unwrap_or(recorded);
        let step = Duration::from_nanos(recorded.nanos_since(last).unsigned_abs());
        let (start, due_at_start) = match self.anchor {
            Some(anchor) if step <= STEP_MAX => anchor,
            _ => *self.anchor.insert((recorded, now)),
        };
        let since_start = u64::try_from(recorded.nanos_since(start)).unwrap_or(0);
        // A speed near zero makes a pause longer than any; then it is due never, which is what was asked for.
        let span = Duration::try_from_secs_f64(Duration::from_nanos(since_start).as_secs_f64() / speed);
        Some(due_at_start + span.unwrap_or(Duration::MAX)).filter(|due| *due > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(seconds: i64) -> Row {
        Row { t: Some(WallTime(seconds * SECOND)), lane: None, unit: None, fields: Vec::new() }
    }

    fn mono(seconds: u64) -> MonoTime {
        MonoTime::default() + Duration::from_secs(seconds)
    }

    fn replay(speed: Option<f64>, shift_now: bool) -> Replay {
        Replay::new(ReplayConfig { speed, shift_now })
    }

    #[test]
    fn rows_are_due_as_far_apart_as_recorded_divided_by_the_speed() {
        let mut replay = replay(Some(2.0), false);
        let due = [0, 4, 2, 10].map(|t| replay.place(&mut at(t), mono(100), WallTime(0)));
        assert_eq!(due, [None, Some(mono(102)), Some(mono(101)), Some(mono(105))]);
        assert_eq!(replay.place(&mut at(10), mono(106), WallTime(0)), None, "late rows are due at once");
    }

    #[test]
    fn lateness_does_not_add_up() {
        let mut replay = replay(Some(1.0), false);
        replay.place(&mut at(0), mono(100), WallTime(0));
        assert_eq!(replay.place(&mut at(5), mono(200), WallTime(0)), None);
        assert_eq!(replay.place(&mut at(101), mono(200), WallTime(0)), Some(mono(201)));
    }

    #[test]
    fn without_speed_everything_is_due_at_once() {
        let mut replay = replay(None, false);
        assert!([0, 5000, 1].iter().all(|t| replay.place(&mut at(*t), mono(1), WallTime(0)).is_none()));
    }

    #[test]
    fn a_clock_that_was_set_during_the_recording_is_not_waited_out() {
        let mut replay = replay(Some(1.0), false);
        let fifty_years = 50 * 365 * 86_400;
        assert_eq!(replay.place(&mut at(0), mono(1), WallTime(0)), None);
        assert_eq!(replay.place(&mut at(fifty_years), mono(2), WallTime(0)), None);
        assert_eq!(replay.place(&mut at(fifty_years + 1), mono(2), WallTime(0)), Some(mono(3)));
        assert_eq!(replay.place(&mut at(10), mono(3), WallTime(0)), None);
        assert_eq!(replay.place(&mut at(11), mono(3), WallTime(0)), Some(mono(4)));
    }

    #[test]
    fn shift_moves_all_times_by_one_constant_so_that_the_first_is_now() {
        let mut replay = replay(Some(8.0), true);
        let now = WallTime(1_000_000 * SECOND);
        let mut rows = [at(50), at(47), at(60)];
        for (row, seconds) in rows.iter_mut().zip(0..) {
            replay.place(row, mono(1), now.shifted(seconds));
        }
        assert_eq!(rows.map(|row| row.t.unwrap().nanos_since(now) / SECOND), [0, -3, 10]);
    }

    #[test]
    fn a_row_without_time_is_due_at_once_and_keeps_none() {
        let mut replay = replay(Some(1.0), true);
        replay.place(&mut at(0), mono(0), WallTime(0));
        let mut row = Row { t: None, ..at(0) };
        assert_eq!(replay.place(&mut row, mono(0), WallTime(0)), None);
        assert_eq!(row.t, None);
    }
}
