//! The fleet and what is wrong, as the last evaluation found them.

use std::time::Duration;

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{
    gauges::NumberGauge,
    labels::{Ages, Coded, Feels, Links, Stands},
};
use crate::{
    conditions::Code,
    fleet::{Freshness, Level, LinkState, Standing, Tallies},
};

/// What is set after each evaluation.
#[derive(Debug, Default)]
pub(super) struct FleetGauges {
    robots: NumberGauge,
    links: Family<Links, NumberGauge>,
    health: Family<Feels, NumberGauge>,
    complete: Family<Stands, NumberGauge>,
    channels: Family<Ages, NumberGauge>,
    conflicts: NumberGauge,
    lost: NumberGauge,
    losers: NumberGauge,
    on_robots: NumberGauge,
    unknown: NumberGauge,
    outbox_frames: NumberGauge,
    outbox_bound: NumberGauge,
    conditions: Family<Coded, NumberGauge>,
    not_listed: NumberGauge,
    took: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl FleetGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("robots_link", "Robots by link", self.links.clone());
        registry.register("robots_health", "Robots by health", self.health.clone());
        registry.register("robots_complete", "Robots by completeness", self.complete.clone());
        registry.register("channels", "Channels by freshness", self.channels.clone());
        registry.register("conditions", "Conditions by code", self.conditions.clone());
        let numbers = [
            ("robots", "Robots that the log names", &self.robots),
            ("robots_conflicts", "Robots with two processes", &self.conflicts),
            ("robots_lost_any", "Robots that lost samples", &self.losers),
            ("robots_lost_samples", "Samples that robots lost, ever", &self.lost),
            ("robots_backlog_samples", "Samples that are still on robots", &self.on_robots),
            ("robots_unknown_samples", "Samples of spools that are gone, at most", &self.unknown),
            ("outbox_fullest_frames", "Frames in the fullest outbox of a session", &self.outbox_frames),
            ("outbox_bound_frames", "Most frames in an outbox", &self.outbox_bound),
            ("conditions_not_listed", "Causes beyond those that are listed", &self.not_listed),
        ];
        for (name, help, gauge) in numbers {
            registry.register(name, help, gauge.clone());
        }
        let took = self.took.clone();
        registry.register_with_unit("evaluation", "Time of the last evaluation", Unit::Seconds, took);
    }

    /// Shows the fleet.
    pub(super) fn set_fleet(&self, tallies: &Tallies) {
        self.robots.set(tallies.robots);
        let down = tallies.robots.saturating_sub(tallies.up);
        for (state, robots) in [(LinkState::Up, tallies.up), (LinkState::Down, down)] {
            self.links.get_or_create(&Links { state: state.as_str() }).set(robots);
        }
        for (level, robots) in
            [Level::Ok, Level::Warn, Level::Error, Level::Stale].into_iter().zip(tallies.health)
        {
            self.health.get_or_create(&Feels { level: level.as_str() }).set(robots);
        }
        for (standing, robots) in Standing::ALL.into_iter().zip(tallies.standings) {
            self.complete.get_or_create(&Stands { standing: standing.as_str() }).set(robots);
        }
        let channels = [
            (Freshness::Fresh, tallies.freshness.fresh),
            (Freshness::Late, tallies.freshness.late),
            (Freshness::Stale, tallies.freshness.stale),
            (Freshness::Never, tallies.freshness.never),
        ];
        for (freshness, count) in channels {
            self.channels.get_or_create(&Ages { freshness: freshness.as_str() }).set(count);
        }
        self.conflicts.set(tallies.conflicts);
        self.lost.set(tallies.lost);
        self.losers.set(tallies.losers);
        self.on_robots.set(tallies.on_robots);
        self.unknown.set(tallies.unknown);
    }

    /// Shows how many conditions there are of each code, and how long it took to find out.
    pub(super) fn set_conditions(&self, count: impl Fn(Code) -> u64, not_listed: u64, took: Duration) {
        for code in Code::all() {
            let labels = Coded { code: code.as_str(), severity: code.severity().as_str() };
            self.conditions.get_or_create(&labels).set(count(code));
        }
        self.not_listed.set(not_listed);
        self.took.set(took.as_secs_f64());
    }

    /// Shows the fullest queue of frames towards a robot.
    pub(super) fn set_outbox(&self, frames: usize, frames_max: usize) {
        self.outbox_frames.set(frames as u64);
        self.outbox_bound.set(frames_max as u64);
    }
}
