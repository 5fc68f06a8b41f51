//! Since when each condition holds, and how often it came and went.
//!
//! A cause that is there becomes a condition once it has settled ([`Code`] says how long that is, mostly at once), and
//! the condition clears with its cause. Only one that comes and goes is damped: after [`FLAPS`] times within
//! [`FLAP_WINDOW`] it stays until its cause has been gone for [`FLAP_QUIET`], and says how often it came.
//!
//! ```text
//!            found                   settled                       not found
//!   (none) --------> settling -----------------> shown ------------------------------> remembered for FLAP_WINDOW
//!                       '--not found--> (none)     ^                                        |
//!                                                  '-------------- found, settled ----------'
//! ```

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use muster_protocol::{
    id::RobotId,
    time::{MonoTime, WallTime},
};

use super::{Code, Condition, Found, Moment, SinceFrom};

/// How long a condition that cleared is remembered.
pub const FLAP_WINDOW: Duration = Duration::from_secs(600);

/// A condition that came so often within [`FLAP_WINDOW`] comes and goes.
pub const FLAPS: usize = 3;

/// How long the cause of a condition that comes and goes has to be gone.
pub const FLAP_QUIET: Duration = Duration::from_secs(60);

/// Most conditions that are known at once, each some hundred bytes. Further ones are counted and not listed.
pub const TRACKED_MAX: usize = 65_536;

/// Remembers conditions from one evaluation to the next.
#[derive(Debug, Default)]
pub struct Tracker {
    known: HashMap<(Code, Option<RobotId>), Known>,
}

/// What one evaluation comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracked {
    /// The conditions, the gravest first, those of the gateway before those of robots.
    pub conditions: Vec<Condition>,
    /// Causes that are not listed because [`TRACKED_MAX`] are known.
    pub not_listed: u64,
}

#[derive(Debug)]
struct Known {
    /// The last evaluation at which the cause was there.
    seen: MonoTime,
    /// Whether it was there at this evaluation.
    is_there: bool,
    /// Whether it was there at the one before.
    was_there: bool,
    /// When the cause came, this time.
    came: Moment,
    since: (WallTime, SinceFrom),
    detail: String,
    is_shown: bool,
    /// When it came, the last times: when it was shown, and while it was shown when its cause was back.
    shown: VecDeque<MonoTime>,
}

impl Tracker {
    /// Takes everything that is found at one evaluation.
    pub fn track(&mut self, found: Vec<Found>, now: Moment) -> Tracked {
        for known in self.known.values_mut() {
            known.was_there = std::mem::take(&mut known.is_there);
        }
        let mut not_listed = 0;
        for cause in found {
            not_listed += u64::from(!self.take(cause, now));
        }
        self.known.retain(|(code, _), known| known.handle_time(*code, now.mono));
        let shown = self.known.iter().filter(|(_, known)| known.is_shown);
        let mut conditions: Vec<Condition> = shown.map(|(key, known)| known.condition(key)).collect();
        conditions.sort_unstable_by(|a, b| (a.code, &a.robot).cmp(&(b.code, &b.robot)));
        Tracked { conditions, not_listed }
    }

    /// Returns false if there is no room for it.
    fn take(&mut self, cause: Found, now: Moment) -> bool {
        let Found { code, robot, since, detail } = cause;
        let is_full = self.known.len() >= TRACKED_MAX;
        let key = (code, robot);
        if let Some(known) = self.known.get_mut(&key) {
            known.take(since, detail, now);
        } else if is_full {
            return false;
        } else {
            self.known.insert(key, Known::new(since, detail, now));
        }
        true
    }
}

impl Known {
    fn new(since: Option<(WallTime, SinceFrom)>, detail: String, now: Moment) -> Self {
        Self {
            seen: now.mono,
            is_there: true,
            was_there: false,
            came: now,
            since: since.unwrap_or((now.wall, SinceFrom::Seen)),
            detail,
            is_shown: false,
            shown: VecDeque::new(),
        }
    }

    fn take(&mut self, since: Option<(WallTime, SinceFrom)>, detail: String, now: Moment) {
        match (self.was_there, self.is_shown) {
            (true, _) => {}
            (false, false) => self.came = now,
            (false, true) => self.note_shown(now.mono),
        }
        self.is_there = true;
        self.seen = now.mono;
        self.since = since.unwrap_or((self.came.wall, SinceFrom::Seen));
        self.detail = detail;
    }

    fn note_shown(&mut self, now: MonoTime) {
        self.shown.push_back(now);
        if self.shown.len() > TIMES_MAX {
            self.shown.pop_front();
        }
    }

    /// Decides whether it is shown now, and returns whether it is to be remembered.
    fn handle_time(&mut self, code: Code, now: MonoTime) -> bool {
        while self.shown.front().is_some_and(|at| now.since(*at) > FLAP_WINDOW) {
            self.shown.pop_front();
        }
        if self.is_there {
            if !self.is_shown && now.since(self.came.mono) >= code.settles_after() {
                self.is_shown = true;
                self.note_shown(now);
            }
            return true;
        }
        let holds = if self.shown.len() >= FLAPS { FLAP_QUIET } else { Duration::ZERO };
        if now.since(self.seen) >= holds {
            self.is_shown = false;
        }
        self.is_shown || !self.shown.is_empty()
    }

    fn condition(&self, (code, robot): &(Code, Option<RobotId>)) -> Condition {
        let (since, since_from) = self.since;
        let times = u32::try_from(self.shown.len()).unwrap_or(u32::MAX).max(1);
        Condition { code: *code, robot: robot.clone(), since, since_from, times, detail: self.detail.clone() }
    }
}

/// Times that are remembered; more often makes no difference.
const TIMES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        let wall = WallTime(i64::try_from(seconds).unwrap() * 1_000_000_000);
        Moment { mono: MonoTime::default() + Duration::from_secs(seconds), wall }
    }

    fn found(code: Code) -> Found {
        Found { code, robot: None, since: None, detail: code.title().to_owned() }
    }

    fn of(robot: &str, code: Code) -> Found {
        Found { robot: Some(robot.parse().unwrap()), ..found(code) }
    }

    fn shown(tracker: &mut Tracker, found: &[Found], second: u64) -> Vec<Condition> {
        tracker.track(found.to_vec(), at(second)).conditions
    }

    #[test]
    fn a_condition_holds_since_it_was_first_seen_and_clears_with_its_cause() {
        let mut tracker = Tracker::default();
        let cause = [found(Code::StoreFull)];
        assert_eq!(shown(&mut tracker, &cause, 100)[0].since, at(100).wall);
        let still = &shown(&mut tracker, &cause, 160)[0];
        assert_eq!((still.since, still.since_from, still.times), (at(100).wall, SinceFrom::Seen, 1));
        assert_eq!(shown(&mut tracker, &[], 162), []);
        assert_eq!(shown(&mut tracker, &cause, 200)[0].since, at(200).wall, "another time");
    }

    #[test]
    fn what_the_log_knows_wins() {
        let mut tracker = Tracker::default();
        let logged = Some((at(7).wall, SinceFrom::Log));
        let cause = [Found { since: logged, ..found(Code::IdentityConflict) }];
        let condition = &shown(&mut tracker, &cause, 100)[0];
        assert_eq!((condition.since, condition.since_from), (at(7).wall, SinceFrom::Log));
    }

    #[test]
    fn what_passes_in_a_moment_is_not_told() {
        let mut tracker = Tracker::default();
        let cause = [of("f/r", Code::LinkDown)];
        assert_eq!(shown(&mut tracker, &cause, 100), []);
        assert_eq!(shown(&mut tracker, &cause, 108), []);
        assert_eq!(shown(&mut tracker, &[], 109), []);
        assert_eq!(shown(&mut tracker, &cause, 112), [], "it begins anew");
        let condition = &shown(&mut tracker, &cause, 122)[0];
        assert_eq!(condition.since, at(112).wall);
    }

    #[test]
    fn what_comes_and_goes_stays_until_it_is_quiet_and_says_how_often_it_came() {
        let mut tracker = Tracker::default();
        let cause = [found(Code::CommitSlow)];
        for (second, there) in [(0, true), (10, false), (20, true), (30, false), (40, true)] {
            let conditions = shown(&mut tracker, if there { &cause } else { &[] }, second);
            assert_eq!(conditions.len(), usize::from(there), "{second}");
        }
        assert_eq!(shown(&mut tracker, &[], 50)[0].times, 3);
        assert_eq!(shown(&mut tracker, &[], 99).len(), 1);
        assert_eq!(shown(&mut tracker, &[], 100), [], "quiet for a minute");
        assert_eq!(shown(&mut tracker, &cause, 2000)[0].times, 1, "forgotten");
        shown(&mut tracker, &[], 2001);
        assert!(tracker.track(Vec::new(), at(3000)).conditions.is_empty() && tracker.known.is_empty());
    }

    /// Guards: after ten minutes of it the condition came and went again as if it had never been damped, and it said
    /// that it had come three times however often it had.
    #[test]
    fn what_comes_and_goes_for_long_stays_for_as_long_and_counts_each_time() {
        let mut tracker = Tracker::default();
        let cause = [found(Code::CommitSlow)];
        for second in (0..3600).step_by(10) {
            let there = second % 20 == 0;
            let conditions = shown(&mut tracker, if there { &cause } else { &[] }, second);
            if second >= 40 {
                assert_eq!(conditions.len(), 1, "{second}");
            }
            if second >= 600 {
                assert!(conditions[0].times >= 30, "{second}: {}", conditions[0].times);
            }
        }
        assert_eq!(shown(&mut tracker, &[], 3580 + 60), []);
    }

    #[test]
    fn the_gravest_come_first_and_the_gateway_before_its_robots() {
        let mut tracker = Tracker::default();
        let causes = [
            of("f/b", Code::SamplesLost),
            found(Code::Refusals),
            of("f/a", Code::SamplesLost),
            of("f/z", Code::IdentityConflict),
            found(Code::StoreFull),
        ];
        let order: Vec<_> = shown(&mut tracker, &causes, 0)
            .iter()
            .map(|condition| (condition.code.as_str(), condition.robot.as_ref().map(RobotId::to_string)))
            .collect();
        let robot = |id: &str| Some(id.to_owned());
        let expected = [
            ("store_full", None),
            ("identity_conflict", robot("f/z")),
            ("samples_lost", robot("f/a")),
            ("samples_lost", robot("f/b")),
            ("refusals", None),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn what_is_known_is_bounded_and_the_rest_is_counted() {
        let mut tracker = Tracker::default();
        let causes: Vec<_> =
            (0..=TRACKED_MAX).map(|robot| of(&format!("f/r{robot}"), Code::SamplesLost)).collect();
        let tracked = tracker.track(causes, at(0));
        assert_eq!((tracked.conditions.len(), tracked.not_listed), (TRACKED_MAX, 1));
        assert_eq!(tracker.known.len(), TRACKED_MAX);
    }
}
