//! What happened lately: counters that only grow, turned into episodes, and figures of the last half minute.

use std::{collections::VecDeque, time::Duration};

use muster_protocol::time::{MonoTime, WallTime};

use super::Moment;
use crate::committer::CommitFigures;

/// A commit counts as recent for so long.
pub const COMMITS_WITHIN: Duration = Duration::from_secs(30);

/// A run of events that follow each other: it is over when none came for as long as *lately* is, which an operator
/// decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// When the first was seen.
    pub since: WallTime,
    /// When the last was seen, in monotonic time.
    pub last: MonoTime,
    /// How many there were.
    pub count: u64,
}

/// Turns a counter that only grows into episodes. What it counted before the first look is of an earlier time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Episodes {
    seen: Option<u64>,
    episode: Option<Episode>,
}

/// The committer's figures of [`COMMITS_WITHIN`].
#[derive(Clone, Debug, Default)]
pub struct RecentCommits {
    /// Ascending. Evaluations are seconds apart, so there are few.
    figures: VecDeque<(MonoTime, CommitFigures)>,
}

impl Episode {
    /// Adds events to an episode, or begins another.
    pub fn add(episode: Option<Self>, count: u64, now: Moment, lately: Duration) -> Self {
        match episode.filter(|episode| episode.lasts(now.mono, lately)) {
            Some(episode) => Self { last: now.mono, count: episode.count.saturating_add(count), ..episode },
            None => Self { since: now.wall, last: now.mono, count },
        }
    }

    /// Returns whether it is not over.
    pub fn lasts(&self, now: MonoTime, lately: Duration) -> bool {
        now.since(self.last) <= lately
    }
}

impl Episodes {
    /// Looks at a counter from its beginning: whatever it has counted by the first look is new.
    pub fn from_zero() -> Self {
        Self { seen: Some(0), episode: None }
    }

    /// Looks at the counter, and returns the episode that goes on.
    pub fn look(&mut self, counter: u64, now: Moment, lately: Duration) -> Option<Episode> {
        let new = counter.saturating_sub(self.seen.unwrap_or(counter));
        self.seen = Some(counter);
        if new > 0 {
            self.episode = Some(Episode::add(self.episode, new, now, lately));
        }
        self.episode = self.episode.filter(|episode| episode.lasts(now.mono, lately));
        self.episode
    }
}

impl RecentCommits {
    /// Takes what was done since the last call, and returns what was done lately.
    pub fn look(&mut self, new: CommitFigures, now: MonoTime) -> CommitFigures {
        if new.groups > 0 {
            self.figures.push_back((now, new));
        }
        while self.figures.front().is_some_and(|(at, _)| now.since(*at) > COMMITS_WITHIN) {
            self.figures.pop_front();
        }
        if self.figures.len() > FIGURES_MAX {
            self.figures.pop_front();
        }
        self.figures.iter().fold(CommitFigures::default(), |sum, (_, figures)| sum.joined(figures))
    }
}

/// Evaluations are two seconds apart or more; whoever asks more often loses the oldest figures.
const FIGURES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        let wall = WallTime(i64::try_from(seconds).unwrap() * 1_000_000_000);
        Moment { mono: MonoTime::default() + Duration::from_secs(seconds), wall }
    }

    #[test]
    fn an_episode_goes_on_while_events_follow_each_other_and_ends_by_itself() {
        let mut episodes = Episodes::default();
        let mut look = |counter, now| episodes.look(counter, now, Duration::from_secs(300));
        assert_eq!(look(7, at(0)), None, "of an earlier time");
        assert_eq!(look(9, at(10)).unwrap().count, 2);
        let goes_on = look(10, at(300)).unwrap();
        assert_eq!((goes_on.since, goes_on.count), (at(10).wall, 3));
        assert!(look(10, at(600)).is_some());
        assert_eq!(look(10, at(601)), None);
        assert_eq!(look(11, at(602)).unwrap().since, at(602).wall);
        assert_eq!(Episodes::from_zero().look(7, at(0), Duration::ZERO).unwrap().count, 7);
    }

    #[test]
    fn commits_count_for_half_a_minute() {
        let mut recent = RecentCommits::default();
        let millis = Duration::from_millis;
        let slow =
            CommitFigures { groups: 1, sync_max: millis(900), sync_sum: millis(900), wait_max: millis(950) };
        let quick =
            CommitFigures { groups: 3, sync_max: millis(2), sync_sum: millis(5), wait_max: millis(3) };
        recent.look(slow, at(0).mono);
        let both = recent.look(quick, at(30).mono);
        assert_eq!((both.groups, both.sync_max, both.sync_sum), (4, millis(900), millis(905)));
        assert_eq!(recent.look(CommitFigures::default(), at(31).mono), quick);
        for second in 100..1000 {
            recent.look(quick, at(second).mono);
        }
        assert!(recent.figures.len() <= FIGURES_MAX);
    }
}
