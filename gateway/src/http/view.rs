//! The state of the fleet and of its robots as JSON.

use std::sync::PoisonError;

use muster_protocol::{id::RobotId, sample::StampedBy, time::WallTime};
use serde_json::{Map, Value, json};

use super::json::{Ints, ms};
use crate::{
    fleet::{
        Channel, ChannelReading, Fleet, Freshnesses, Level, LinkReading, LinkState, LiveLink, LiveLinks,
        Pace, RobotReading, RobotState,
    },
    record::Transport,
};

/// The moment that an answer is about, and how it prints integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: WallTime,
    pub(super) ints: Ints,
}

/// The fleet in counts.
#[derive(Debug, Default)]
pub(super) struct FleetCounts {
    robots: u64,
    up: u64,
    freshness: Freshnesses,
    /// Robots by [`Level`], in its order.
    health: [u64; 4],
    samples: u64,
    lost: u64,
    on_robots: u64,
}

impl FleetCounts {
    /// Counts all robots at `now`.
    pub(super) fn of(fleet: &Fleet, live: &dyn LiveLinks, now: WallTime) -> Self {
        let mut counts = Self::default();
        for (id, robot) in fleet.robots(None) {
            let live = live.live(&id);
            let state = robot.read().unwrap_or_else(PoisonError::into_inner);
            let reading = state.read(now, live.as_ref());
            counts.robots += 1;
            counts.up += u64::from(reading.link.state == LinkState::Up);
            counts.freshness += reading.freshness;
            counts.health[reading.health.level as usize] += 1;
            counts.samples += state.totals().samples;
            counts.lost = counts.lost.saturating_add(state.totals().lost_samples());
            let on_robot = reading.backlog.map_or(0, |told| told.samples);
            counts.on_robots = counts.on_robots.saturating_add(on_robot);
        }
        counts
    }

    /// Returns the members of the fleet's answer that are counts.
    pub(super) fn json(&self, ints: Ints) -> Map<String, Value> {
        let health = |level: Level| self.health[level as usize];
        let members = json!({
            "robots": self.robots,
            "link": {"up": self.up, "down": self.robots - self.up},
            "freshness": freshnesses(&self.freshness),
            "health": {
                "ok": health(Level::Ok),
                "warn": health(Level::Warn),
                "error": health(Level::Error),
                "stale": health(Level::Stale),
            },
            "samples": ints.count(self.samples),
            "loss": {"samples": ints.count(self.lost)},
            "on_robots": ints.count(self.on_robots),
        });
        object(members)
    }
}

impl Moment {
    /// Returns a robot as it stands in a list.
    pub(super) fn summary(self, id: &RobotId, state: &RobotState, live: Option<&LiveLink>) -> Value {
        let reading = state.read(self.now, live);
        let mut robot = self.members_of_both(id, state, &reading);
        let newest = state
            .channels()
            .filter_map(|(_, channel)| state.read_channel(channel, self.now, &reading.link).age_ns);
        robot.insert("newest_age_ms".to_owned(), ms(newest.min()));
        robot.insert("channels".to_owned(), state.channel_count().into());
        Value::Object(robot)
    }

    /// Returns everything that is known of a robot.
    pub(super) fn whole(self, id: &RobotId, state: &RobotState, live: Option<&LiveLink>) -> Value {
        let reading = state.read(self.now, live);
        let mut robot = self.members_of_both(id, state, &reading);
        let channels = state.channels().map(|(name, channel)| {
            let read = state.read_channel(channel, self.now, &reading.link);
            (name.as_str().to_owned(), self.channel(channel, &read))
        });
        robot.insert("channels".to_owned(), Value::Object(channels.collect()));
        robot.insert("log".to_owned(), self.log(state));
        robot.insert("now".to_owned(), self.ints.time(Some(self.now)));
        Value::Object(robot)
    }

    fn members_of_both(self, id: &RobotId, state: &RobotState, reading: &RobotReading) -> Map<String, Value> {
        let totals = state.totals();
        let by_reason: Map<String, Value> = totals
            .lost
            .iter()
            .map(|(reason, samples)| (reason.as_str().to_owned(), self.ints.count(*samples)))
            .collect();
        object(json!({
            "robot": id.as_str(),
            "fleet": id.fleet(),
            "name": id.robot(),
            "link": self.link(&reading.link),
            "health": {"level": reading.health.level.as_str(), "reasons": reading.health.reasons},
            "freshness": freshnesses(&reading.freshness),
            "completeness": self.completeness(reading),
            "loss": {
                "samples": self.ints.count(totals.lost_samples()),
                "by_reason": by_reason,
                "last_at": self.ints.time(totals.last_loss),
            },
            "clock": {
                "skew_ms": ms(reading.skew_ns),
                "synchronised": reading.synchronised,
                "marked": {"before_2020": reading.marks.before_2020, "ahead": reading.marks.ahead},
            },
            "agent": {"version": state.agent_version()},
            "samples": self.ints.count(totals.samples),
        }))
    }

    fn link(self, link: &LinkReading) -> Value {
        let last_heard = link.last_heard.map(|at| self.now.nanos_since(at));
        json!({
            "state": link.state.as_str(),
            "since": self.ints.time(link.since),
            "transport": link.transport.map(Transport::as_str),
            "address": link.address,
            "evidence": link.evidence,
            "last_heard_age_ms": ms(last_heard),
        })
    }

    /// `whole_up_to` is claimed only when the robot said that nothing is left on it.
    fn completeness(self, reading: &RobotReading) -> Value {
        let told = reading.backlog.as_ref();
        let whole = told.filter(|told| told.samples == 0).map(|told| told.at);
        json!({
            "whole_up_to": self.ints.time(whole),
            "on_robot": told.map(|told| self.ints.count(told.samples)),
            "age_ms": ms(told.map(|told| self.now.nanos_since(told.at))),
        })
    }

    fn channel(self, channel: &Channel, reading: &ChannelReading) -> Value {
        let interval = match channel.pace() {
            Pace::Every(interval) => interval,
            Pace::OnChange => None,
        };
        let mut members = object(json!({
            "t": self.ints.time(Some(channel.t())),
            "age_ms": ms(reading.age_ns),
            "freshness": reading.freshness.as_str(),
            "interval_ms": interval.map(|nanos| nanos as f64 / 1e6),
            "on_change": channel.pace() == Pace::OnChange,
            "unit": channel.unit(),
            "type": type_name(channel),
            "received_at": self.ints.time(Some(channel.received_at())),
            "stamped_by": match channel.stamped_by() {
                StampedBy::Agent => "agent",
                StampedBy::Input => "input",
            },
            "samples": self.ints.count(channel.samples()),
        }));
        self.ints.set_value(channel.value(), &mut members);
        if let Some(mark) = reading.mark {
            members.insert("marked".to_owned(), mark.as_str().into());
        }
        Value::Object(members)
    }

    fn log(self, state: &RobotState) -> Value {
        let totals = state.totals();
        json!({
            "first_offset": totals.offsets.map(|(first, _)| self.ints.offset(first)),
            "last_offset": totals.offsets.map(|(_, last)| self.ints.offset(last)),
            "first_received": self.ints.time(totals.received.map(|(first, _)| first)),
            "last_received": self.ints.time(totals.received.map(|(_, last)| last)),
            "records": self.ints.count(totals.records),
            "batches": self.ints.count(totals.batches),
            "samples": self.ints.count(totals.samples),
        })
    }
}

fn freshnesses(counts: &Freshnesses) -> Value {
    json!({"fresh": counts.fresh, "late": counts.late, "stale": counts.stale, "never": counts.never})
}

fn type_name(channel: &Channel) -> &'static str {
    use muster_protocol::sample::ValueType;
    match channel.value().kind() {
        ValueType::Bool => "bool",
        ValueType::Int => "int",
        ValueType::Float => "float",
        ValueType::Text => "text",
        ValueType::Bytes => "bytes",
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => unreachable!("made as an object"),
    }
}
