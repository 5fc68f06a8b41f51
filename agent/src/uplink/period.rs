//! A day or a month of the limits: which one it is, and what was used of it.
//!
//! Periods are those of UTC, by the robot's wall clock, which may be wrong or step. What it shows is believed forwards
//! and never backwards:
//!
//! - A later day than the one that is counted begins a new count.
//! - An earlier day, or the same one again, changes nothing: what was used stays used. So a step back gives no budget
//!   twice.
//! - A clock that was never set (before 2020) and is set now begins no new count either: it is the same day, which only
//!   had no name yet.
//! - If the clock fell behind what is counted, or stands, a new count begins after 25 hours (32 days) in which the agent
//!   ran. The day (month) after the one that the clock then shows is taken as given too.

use std::time::Duration;

use muster_protocol::time::WallTime;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calendar {
    /// Days since 1970-01-01.
    Day,
    /// Months since January 1970.
    Month,
}

/// One count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Which day or month.
    pub number: i64,
    /// Bytes used in it.
    pub used: u64,
    /// How long the agent ran in it.
    pub ran: Duration,
}

const DAY_NANOS: i64 = 86_400 * 1_000_000_000;

/// 2020-01-01 in days since 1970: before it a clock was never set.
const PLAUSIBLE_DAY: i64 = 18_262;

impl Calendar {
    /// Returns the number of the period that a clock shows.
    pub fn number(self, wall: WallTime) -> i64 {
        let day = wall.0.div_euclid(DAY_NANOS);
        match self {
            Self::Day => day,
            Self::Month => {
                let (year, month, _) = civil(day);
                (year - 1970) * 12 + month - 1
            }
        }
    }

    /// Returns how much of its period has passed, from 0 to below 1.
    pub fn elapsed(self, wall: WallTime) -> f64 {
        let of_day = wall.0.rem_euclid(DAY_NANOS) as f64 / DAY_NANOS as f64;
        match self {
            Self::Day => of_day,
            Self::Month => {
                let (year, month, day) = civil(wall.0.div_euclid(DAY_NANOS));
                ((day - 1) as f64 + of_day) / days_of(year, month) as f64
            }
        }
    }

    /// How long the agent runs before a count ends whatever the clock shows: longer than any day or month.
    fn ran_max(self) -> Duration {
        match self {
            Self::Day => Duration::from_hours(25),
            Self::Month => Duration::from_hours(32 * 24),
        }
    }

    fn first_plausible(self) -> i64 {
        self.number(WallTime(PLAUSIBLE_DAY * DAY_NANOS))
    }
}

impl Period {
    /// Begins a count.
    pub fn starting(number: i64) -> Self {
        Self { number, used: 0, ran: Duration::ZERO }
    }

    /// Takes the clock as it stands, after the agent ran for a while. Returns whether a new count began.
    pub fn advance(&mut self, calendar: Calendar, wall: WallTime, ran: Duration) -> bool {
        self.ran += ran;
        let shown = calendar.number(wall);
        if shown > self.number {
            let plausible = calendar.first_plausible();
            if self.number < plausible && shown >= plausible {
                self.number = shown;
                return false;
            }
            *self = Self::starting(shown);
            return true;
        }
        if self.ran >= calendar.ran_max() {
            *self = Self::starting(shown + 1);
            return true;
        }
        false
    }
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_based = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_based + 2) / 5 + 1;
    let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(text: &str) -> WallTime {
        text.parse().unwrap()
    }

    fn advance(period: &mut Period, at: &str) -> bool {
        period.advance(Calendar::Day, wall(at), Duration::from_secs(1))
    }

    #[test]
    fn days_and_months_have_the_numbers_of_the_calendar() {
        for (text, day, month) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("1969-12-31T23:59:59Z", -1, -1),
            ("2000-02-29T12:00:00Z", 11_016, 361),
            ("2020-01-01T00:00:00Z", PLAUSIBLE_DAY, 600),
            ("2026-11-23T06:00:00Z", 20_780, 682),
            ("2100-03-01T00:00:00Z", 47_541, 1562),
        ] {
            assert_eq!(Calendar::Day.number(wall(text)), day, "{text}");
            assert_eq!(Calendar::Month.number(wall(text)), month, "{text}");
        }
    }

    #[test]
    fn what_has_passed_of_a_month_follows_its_length() {
        assert!((Calendar::Day.elapsed(wall("2026-11-23T06:00:00Z")) - 0.25).abs() < 1e-9);
        assert!((Calendar::Month.elapsed(wall("2026-02-15T00:00:00Z")) - 0.5).abs() < 1e-9);
        assert!((Calendar::Month.elapsed(wall("2024-02-15T12:00:00Z")) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_new_day_begins_a_new_count_and_a_step_back_gives_none_back() {
        let mut day = Period { number: 20_780, used: 77, ran: Duration::ZERO };
        assert!(!advance(&mut day, "2026-11-23T23:59:59Z"));
        assert!(advance(&mut day, "2026-11-24T00:00:01Z"));
        day.used = 5;
        assert!(!advance(&mut day, "2026-11-23T23:00:00Z"));
        assert!(!advance(&mut day, "2026-11-24T00:00:01Z"));
        assert_eq!((day.number, day.used), (20_781, 5));
    }

    #[test]
    fn a_clock_that_is_set_for_the_first_time_names_the_day_and_does_not_begin_it() {
        let mut day = Period { number: 0, used: 77, ran: Duration::ZERO };
        assert!(!advance(&mut day, "2026-11-23T12:00:00Z"));
        assert_eq!((day.number, day.used), (20_780, 77));
        let mut never_set = Period { number: 0, used: 77, ran: Duration::ZERO };
        assert!(advance(&mut never_set, "1970-01-02T00:00:01Z"));
    }

    #[test]
    fn a_count_from_the_future_ends_after_a_day_in_which_the_agent_ran() {
        let mut day = Period { number: 30_000, used: 77, ran: Duration::ZERO };
        let mut began = Vec::new();
        for hour in 0..60 {
            let at = wall("2026-11-23T12:00:00Z").shifted(hour * 3_600_000_000_000);
            if day.advance(Calendar::Day, at, Duration::from_hours(1)) {
                began.push(hour);
            }
        }
        // Noon of the second day, then not at the midnight that follows but at the one after it.
        assert_eq!(began, [24, 36 + 13]);
    }

    #[test]
    fn clocks_that_step_back_every_hour_give_one_count_in_25_hours() {
        let mut day = Period::starting(20_780);
        let began = (0..100)
            .filter(|_| day.advance(Calendar::Day, wall("2026-11-23T22:30:00Z"), Duration::from_hours(1)));
        assert_eq!(began.count(), 4);
    }
}
