//! The state of the fleet and of its robots as JSON.

use std::sync::PoisonError;

use muster_protocol::{
    id::RobotId,
    sample::{StampedBy, Value as Sample, ValueType},
    time::WallTime,
};
use serde_json::{Map, Value, json};

use super::json::{Ints, ms};
use crate::{
    fleet::{
        Channel, ChannelReading, Fleet, Freshnesses, Level, LinkReading, LinkState, LiveLink, LiveLinks,
        Pace, RobotReading, RobotState, Standing,
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
    /// Robots that lost anything.
    losers: u64,
    on_robots: u64,
    /// Robots by [`Standing`], in its order.
    standings: [u64; Standing::ALL.len()],
    before: u64,
    unknown: u64,
    conflicts: u64,
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
            counts.count_completeness(&reading, state.totals().lost_samples());
        }
        counts
    }

    fn count_completeness(&mut self, reading: &RobotReading, lost: u64) {
        let completeness = &reading.completeness;
        self.lost = self.lost.saturating_add(lost);
        self.losers += u64::from(lost > 0);
        self.standings[completeness.standing as usize] += 1;
        self.on_robots = self.on_robots.saturating_add(completeness.on_robot.map_or(0, |told| told.samples));
        self.before = self.before.saturating_add(completeness.before.samples);
        self.unknown = self.unknown.saturating_add(completeness.unknown_up_to);
        self.conflicts += u64::from(reading.conflict.is_some());
    }

    /// Returns the members of the fleet's answer that are counts.
    pub(super) fn json(&self, ints: Ints) -> Map<String, Value> {
        let health = |level: Level| self.health[level as usize];
        let standing = |standing: Standing| self.standings[standing as usize];
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
            "loss": {"samples": ints.count(self.lost), "robots": self.losers},
            "completeness": {
                "whole": standing(Standing::Whole),
                "behind": standing(Standing::Behind),
                "not_told": standing(Standing::NotTold),
                "before_this_gateway": ints.count(self.before),
                "unknown_up_to": ints.count(self.unknown),
            },
            "conflicts": self.conflicts,
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
            .filter(|(name, _)| !name.is_of_agent())
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
        if let Some(Value::Object(loss)) = robot.get_mut("loss") {
            loss.insert("recent".to_owned(), self.recent_losses(state.losses()));
        }
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
            "completeness": self.completeness(&reading.completeness, state.losses()),
            "conflict": self.conflict(reading.conflict.as_ref()),
            "loss": {
                "samples": self.ints.count(totals.lost_samples()),
                "by_reason": by_reason,
                "last_at": self.ints.time(totals.last_loss),
            },
            "clock": clock(reading),
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

    fn channel(self, channel: &Channel, reading: &ChannelReading<'_>) -> Value {
        let interval = match reading.pace {
            Pace::Every(interval) => interval,
            Pace::OnChange => None,
        };
        let mut members = object(json!({
            "t": self.ints.time(Some(reading.t)),
            "age_ms": ms(reading.age_ns),
            "freshness": reading.freshness.as_str(),
            "interval_ms": interval.map(|nanos| nanos as f64 / 1e6),
            "on_change": reading.pace == Pace::OnChange,
            "unit": reading.unit(),
            "type": type_name(reading.value()),
            "received_at": self.ints.time(Some(reading.received_at())),
            "stamped_by": match reading.stamped_by() {
                StampedBy::Agent => "agent",
                StampedBy::Input => "input",
            },
            "samples": self.ints.count(channel.samples()),
        }));
        self.ints.set_value(reading.value(), &mut members);
        if let Some(raw_t) = reading.raw_t() {
            members.insert("raw_t".to_owned(), self.ints.time(Some(raw_t)));
        }
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

fn clock(reading: &RobotReading) -> Value {
    let (told, marks) = (reading.clock.as_ref(), &reading.marks);
    json!({
        "skew_ms": ms(reading.skew_ns),
        "synchronised": told.map(|clock| clock.synchronised),
        "boot": told.map(|clock| format!("{:016x}", clock.boot)),
        "repaired": marks.repaired,
        "marked": {"before_2020": marks.before_2020, "ahead": marks.ahead},
    })
}

fn freshnesses(counts: &Freshnesses) -> Value {
    json!({"fresh": counts.fresh, "late": counts.late, "stale": counts.stale, "never": counts.never})
}

fn type_name(value: &Sample) -> &'static str {
    match value.kind() {
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
