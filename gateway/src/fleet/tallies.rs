//! The fleet in counts.

use super::{
    completeness::Standing, freshness::LinkState, reading::RobotReading, robot::Totals, survey::Freshnesses,
};

/// Robots, counted one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// All of them.
    pub robots: u64,
    /// Those whose link is up.
    pub up: u64,
    /// Their channels.
    pub freshness: Freshnesses,
    /// Robots by [`Level`](super::Level), in its order.
    pub health: [u64; 4],
    /// Samples that were ever stored.
    pub samples: u64,
    /// Samples that are lost.
    pub lost: u64,
    /// Robots that lost anything.
    pub losers: u64,
    /// Samples that are still on robots.
    pub on_robots: u64,
    /// Robots by [`Standing`], in its order.
    pub standings: [u64; Standing::ALL.len()],
    /// Samples that robots had released before this log first heard of them.
    pub before: u64,
    /// Samples of spools that are there no more, at most.
    pub unknown: u64,
    /// Robots for which two processes speak.
    pub conflicts: u64,
}

impl Tallies {
    /// Counts one robot.
    pub fn count(&mut self, reading: &RobotReading, totals: &Totals) {
        let (completeness, lost) = (&reading.completeness, totals.lost_samples());
        self.robots += 1;
        self.up += u64::from(reading.link.state == LinkState::Up);
        self.freshness += reading.freshness;
        self.health[reading.health.level as usize] += 1;
        self.samples += totals.samples;
        self.lost = self.lost.saturating_add(lost);
        self.losers += u64::from(lost > 0);
        self.standings[completeness.standing as usize] += 1;
        self.on_robots = self.on_robots.saturating_add(completeness.on_robot.map_or(0, |told| told.samples));
        self.before = self.before.saturating_add(completeness.before.samples);
        self.unknown = self.unknown.saturating_add(completeness.unknown_up_to);
        self.conflicts += u64::from(reading.conflict.is_some());
    }

    /// Adds what was counted of other robots.
    pub fn add(&mut self, other: &Self) {
        self.robots += other.robots;
        self.up += other.up;
        self.freshness += other.freshness;
        let counts = self.health.iter_mut().chain(&mut self.standings);
        counts.zip(other.health.iter().chain(&other.standings)).for_each(|(ours, theirs)| *ours += theirs);
        self.samples += other.samples;
        self.losers += other.losers;
        self.conflicts += other.conflicts;
        for (ours, theirs) in [
            (&mut self.lost, other.lost),
            (&mut self.on_robots, other.on_robots),
            (&mut self.before, other.before),
            (&mut self.unknown, other.unknown),
        ] {
            *ours = ours.saturating_add(theirs);
        }
    }
}
