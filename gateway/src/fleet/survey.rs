//! What a look at each channel of a robot finds, and for how long that holds.
//!
//! A robot with a hundred channels is a lot of memory to look at, and is looked at for every line that tells of it, by
//! each walk over the fleet, and by whoever watches for what is wrong. Between two records nothing changes but the
//! values' age, and from one age to another none of them turns late or stale: until then what was found is kept.

use std::sync::{Mutex, PoisonError};

use muster_protocol::time::WallTime;

use super::{
    channel::{Judge, Mark},
    freshness::{Freshness, LinkState, age_of_change},
    reading::ChannelReading,
    robot::RobotState,
};

/// How many channels are how fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshnesses {
    /// [`Freshness::Fresh`]
    pub fresh: u64,
    /// [`Freshness::Late`]
    pub late: u64,
    /// [`Freshness::Stale`]
    pub stale: u64,
    /// [`Freshness::Never`]
    pub never: u64,
}

/// What a look at each channel of a robot finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// The channels by freshness.
    pub freshness: Freshnesses,
    /// The channels by what is wrong with their times.
    pub marks: Marks,
    /// The age of the newest value of all; `None` without one of which anybody knows.
    pub newest_age_ns: Option<i64>,
}

/// How many channels have a newest time that is not believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// [`Mark::Before2020`]
    pub before_2020: u64,
    /// [`Mark::Ahead`]
    pub ahead: u64,
    /// Channels whose newest time was repaired; those are not marked.
    pub repaired: u64,
}

/// The last survey of a robot, for as long as it holds. It is no part of what the log says: robots are equal whatever
/// was asked of them.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<Held>>);

/// A survey, and of which moments and of which link it is true.
#[derive(Clone, Copy, Debug)]
struct Held {
    freshness: Freshnesses,
    marks: Marks,
    /// The time of the newest value of all.
    newest: Option<WallTime>,
    link: LinkState,
    from: WallTime,
    /// This moment and all between.
    until: WallTime,
}

impl RobotState {
    /// Looks at each channel. What an agent tells of itself goes on when the robot has fallen silent, and is left out.
    pub(super) fn survey(&self, now: WallTime, link: LinkState) -> Survey {
        let mut kept = self.surveyed.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kept.filter(|held| held.holds(now, link)).unwrap_or_else(|| self.look_at_each(now, link));
        *kept = Some(held);
        held.at(now)
    }

    fn look_at_each(&self, now: WallTime, link: LinkState) -> Held {
        let (mut freshness, mut marks) = (Freshnesses::default(), Marks::default());
        let (mut newest, mut left_ns) = (None, i64::MAX);
        let judge = Judge::new(&self.anchors);
        for channel in self.channels.of_robot() {
            let reading = ChannelReading::of(channel, &judge, now, link);
            freshness.count(reading.freshness);
            marks.count(&reading);
            newest = newest.max(reading.since);
            if let Some(age_ns) = reading.age_ns {
                let change = age_of_change(age_ns, reading.pace);
                left_ns = change.map_or(left_ns, |change| left_ns.min(change.saturating_sub(age_ns)));
            }
        }
        let until = now.shifted(left_ns.saturating_sub(1));
        Held { freshness, marks, newest, link, from: now, until }
    }
}

impl Held {
    fn holds(&self, now: WallTime, link: LinkState) -> bool {
        link == self.link && (self.from..=self.until).contains(&now)
    }

    /// Returns what is found at a moment at which it holds.
    fn at(&self, now: WallTime) -> Survey {
        let newest_age_ns = self.newest.map(|newest| now.nanos_since(newest));
        Survey { freshness: self.freshness, marks: self.marks, newest_age_ns }
    }
}

impl Kept {
    /// Forgets it: a record has come.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Freshnesses {
    /// Counts one channel.
    pub fn count(&mut self, freshness: Freshness) {
        match freshness {
            Freshness::Fresh => self.fresh += 1,
            Freshness::Late => self.late += 1,
            Freshness::Stale => self.stale += 1,
            Freshness::Never => self.never += 1,
        }
    }
}

impl std::ops::AddAssign for Freshnesses {
    fn add_assign(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.late += other.late;
        self.stale += other.stale;
        self.never += other.never;
    }
}

impl Marks {
    fn count(&mut self, reading: &ChannelReading<'_>) {
        self.repaired += u64::from(reading.raw_t().is_some());
        match reading.mark {
            Some(Mark::Before2020) => self.before_2020 += 1,
            Some(Mark::Ahead) => self.ahead += 1,
            None => {}
        }
    }
}
