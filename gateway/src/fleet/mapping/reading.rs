//! What a mapping reads of one robot at one moment.

use std::borrow::Cow;

use muster_protocol::{sample::Value, time::WallTime};

use super::{
    BatterySource, Frame, Heading, Mapping, PoseSource, PositionSource, Source,
    source::Quantity,
    threshold::{Said, SaidBy, level_of},
};
use crate::fleet::{
    freshness::Freshness, health::Level, link::LinkReading, reading::ChannelReading, robot::RobotState,
};

/// From where and when a mapped value is. One of several channels is as old as its oldest part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The channel; of several parts the first.
    pub channel: &'a str,
    /// The value's time, repaired as everywhere.
    pub t: WallTime,
    /// Its age; `None` if nobody knows.
    pub age_ns: Option<i64>,
    /// Whether it is recent enough to be believed.
    pub freshness: Freshness,
}

/// A place on earth, in WGS 84.
#[derive(Clone, Debug, PartialEq)]
pub struct Position<'a> {
    /// Degrees from -90 to 90, north is positive.
    pub latitude: f64,
    /// Degrees from -180 to 180, east is positive.
    pub longitude: f64,
    /// Metres, if it is known as recently.
    pub altitude: Option<f64>,
    /// From where and when it is.
    pub seen: Seen<'a>,
}

/// A place on a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Pose<'a> {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
    /// Radians from the x axis towards the y axis, if it is known as recently.
    pub heading: Option<f64>,
    /// The map's name, if it has one.
    pub map: Option<&'a str>,
    /// From where and when it is.
    pub seen: Seen<'a>,
}

/// A battery.
#[derive(Clone, Debug, PartialEq)]
pub struct Battery<'a> {
    /// From 0, empty, to 1, full; `None` if what is told is no such fraction.
    pub charge: Option<f64>,
    /// Whether it charges, if that is known as recently.
    pub charging: Option<bool>,
    /// What is wrong with what is told, and what to do.
    pub problem: Option<String>,
    /// From where and when it is.
    pub seen: Seen<'a>,
}

/// The version of a robot's software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// The version as it is told.
    pub v: Cow<'a, str>,
    /// From where and when it is.
    pub seen: Seen<'a>,
}

/// Reads channels of one robot at one moment.
pub(super) struct Reader<'a, 'l> {
    pub(super) state: &'a RobotState,
    pub(super) now: WallTime,
    pub(super) link: &'l LinkReading,
}

/// A charge may be off by this much and still be one: measured batteries are fuller than full.
const CHARGE_SLACK: f64 = 0.02;

impl RobotState {
    /// Returns where the robot is on earth, if a mapped channel ever said so. `link` is its link at `now`.
    pub fn position(&self, now: WallTime, link: &LinkReading) -> Option<Position<'_>> {
        let reader = Reader { state: self, now, link };
        let found = self.mapping()?.positions.iter().filter_map(|source| reader.position(source));
        recent(found, |position| position.seen.freshness)
    }

    /// Returns where the robot is on a map, if a mapped channel ever said so. `link` is its link at `now`.
    pub fn pose(&self, now: WallTime, link: &LinkReading) -> Option<Pose<'_>> {
        let reader = Reader { state: self, now, link };
        let found = self.mapping()?.poses.iter().filter_map(|source| reader.pose(source));
        recent(found, |pose| pose.seen.freshness)
    }

    /// Returns how full the robot's battery is, if a mapped channel ever said so. `link` is its link at `now`.
    pub fn battery(&self, now: WallTime, link: &LinkReading) -> Option<Battery<'_>> {
        let reader = Reader { state: self, now, link };
        let found = self.mapping()?.batteries.iter().filter_map(|source| reader.battery(source));
        recent(found, |battery| battery.seen.freshness)
    }

    /// Returns the version of the robot's software, if a mapped channel ever said so. `link` is its link at `now`.
    pub fn version(&self, now: WallTime, link: &LinkReading) -> Option<Version<'_>> {
        let reader = Reader { state: self, now, link };
        let found = self.mapping()?.versions.iter().filter_map(|source| reader.version(source));
        recent(found, |version| version.seen.freshness)
    }

    /// Returns what mapped values say of the robot's health now.
    pub(in crate::fleet) fn said_of_health(&self, now: WallTime, link: &LinkReading) -> Vec<Said> {
        let Some(mapping) = self.mapping() else { return Vec::new() };
        let reader = Reader { state: self, now, link };
        let own = reader.own_health(mapping);
        own.into_iter().chain(mapping.thresholds.iter().filter_map(|rule| rule.judge(&reader))).collect()
    }
}

impl<'a> Reader<'a, '_> {
    /// Reads a channel, if it ever had a value.
    fn read(&self, name: &'a str) -> Option<(ChannelReading<'a>, Seen<'a>)> {
        let reading = self.state.read_channel(self.state.channel(name)?, self.now, self.link);
        let ChannelReading { t, age_ns, freshness, .. } = reading;
        Some((reading, Seen { channel: name, t, age_ns, freshness }))
    }

    /// Reads a channel if its value says something of now.
    pub(super) fn current(&self, source: &'a Source) -> Option<(ChannelReading<'a>, Seen<'a>)> {
        self.read(source.channel.as_str()).filter(|(_, seen)| seen.freshness < Freshness::Stale)
    }

    /// Reads a channel's number, if that is what it is.
    fn number(&self, source: &'a Source, quantity: Quantity) -> Option<(f64, Seen<'a>)> {
        let (reading, seen) = self.read(source.channel.as_str())?;
        Some((number(&reading, source, quantity)?, seen))
    }

    /// Reads a number that goes with something else, if it is as recent as that.
    fn beside(&self, source: &'a Source, quantity: Quantity, seen: &Seen<'_>) -> Option<f64> {
        let (value, of_part) = self.number(source, quantity)?;
        (of_part.freshness <= seen.freshness).then_some(value)
    }

    fn position(&self, source: &'a PositionSource) -> Option<Position<'a>> {
        let (latitude, seen) = self.number(&source.latitude, Quantity::Degrees)?;
        let (longitude, of_longitude) = self.number(&source.longitude, Quantity::Degrees)?;
        if latitude.abs() > 90.0 || longitude.abs() > 180.0 {
            return None;
        }
        let seen = seen.and(of_longitude);
        let altitude =
            source.altitude.as_ref().and_then(|source| self.beside(source, Quantity::Metres, &seen));
        Some(Position { latitude, longitude, altitude, seen })
    }

    fn pose(&self, source: &'a PoseSource) -> Option<Pose<'a>> {
        let (x, seen) = self.number(&source.x, Quantity::Metres)?;
        let (y, of_y) = self.number(&source.y, Quantity::Metres)?;
        let seen = seen.and(of_y);
        let heading = source.heading.as_ref().and_then(|heading| self.heading(heading, &seen));
        let map = source.frame.as_ref().and_then(|frame| self.frame(frame));
        Some(Pose { x, y, heading, map, seen })
    }

    fn heading(&self, heading: &'a Heading, seen: &Seen<'_>) -> Option<f64> {
        let parts = match heading {
            Heading::Angle(source) => return self.beside(source, Quantity::Radians, seen),
            Heading::Quaternion(parts) => parts,
        };
        let part = |at: usize| {
            let (reading, of_part) = self.read(parts[at].as_str())?;
            (of_part.freshness <= seen.freshness).then(|| plain(reading.value())).flatten()
        };
        yaw([part(0)?, part(1)?, part(2)?, part(3)?])
    }

    /// Reads a map's name. It is a text that rarely changes, so its age does not count.
    fn frame(&self, frame: &'a Frame) -> Option<&'a str> {
        match frame {
            Frame::Name(name) => Some(name),
            Frame::Channel(channel) => match self.read(channel.as_str())?.0.value() {
                Value::Text(name) => Some(name.as_str()).filter(|name| !name.is_empty()),
                _ => None,
            },
        }
    }

    fn battery(&self, source: &'a BatterySource) -> Option<Battery<'a>> {
        let (told, seen) = self.number(&source.charge, Quantity::Fraction)?;
        let is_charge = (-CHARGE_SLACK..=1.0 + CHARGE_SLACK).contains(&told);
        let charge = is_charge.then_some(told.clamp(0.0, 1.0));
        let problem = (!is_charge).then(|| {
            let channel = seen.channel;
            format!("{channel} says {told}, which is no fraction from 0 to 1; if it counts percent, map it as {channel}*0.01")
        });
        let charging = source.charging.as_ref().and_then(|source| {
            let (reading, of_part) = self.read(source.channel.as_str())?;
            (of_part.freshness <= seen.freshness).then(|| is_charging(reading.value()))
        });
        Some(Battery { charge, charging, problem, seen })
    }

    fn version(&self, source: &'a Source) -> Option<Version<'a>> {
        let (reading, seen) = self.read(source.channel.as_str())?;
        let v = match reading.value() {
            Value::Text(text) => Cow::Borrowed(text.as_str()),
            Value::Int(number) => Cow::Owned(number.to_string()),
            Value::Float(number) => Cow::Owned(number.to_string()),
            Value::Bool(_) | Value::Bytes(_) => return None,
        };
        Some(Version { v, seen })
    }

    /// Returns what the robot says of itself, if it is not well.
    fn own_health(&self, mapping: &'a Mapping) -> Option<Said> {
        let (level, seen) = mapping.healths.iter().find_map(|source| {
            let (reading, seen) = self.current(source)?;
            Some((level_of(reading.value())?, seen))
        })?;
        let told = |age: &str| format!("{} says {}{age}", seen.channel, level.as_str());
        let (by, t) = (SaidBy::Robot, seen.aged_from(self.now));
        let said = || Said { level, by, words: told(""), t, reason: told(&seen.late_words()) };
        (level != Level::Ok).then(said)
    }
}

impl Seen<'_> {
    /// Joins another part of the same value, which is as old as its oldest part.
    fn and(self, other: Self) -> Self {
        let age_ns = self.age_ns.zip(other.age_ns).map(|(one, other)| one.max(other));
        Self { t: self.t.min(other.t), age_ns, freshness: self.freshness.max(other.freshness), ..self }
    }

    /// Returns from when its age counts: its time, or when it was accepted if its time is not believed.
    pub(super) fn aged_from(&self, now: WallTime) -> Option<WallTime> {
        self.age_ns.map(|age_ns| now.shifted(age_ns.saturating_neg()))
    }

    /// Says how old a value is that is late; nothing of one that is fresh.
    pub(super) fn late_words(&self) -> String {
        match (self.freshness, self.age_ns) {
            (Freshness::Fresh, _) | (_, None) => String::new(),
            (_, Some(age_ns)) => format!(" ({} s ago)", age_ns / 1_000_000_000),
        }
    }
}

/// Returns the first that is not stale, or else the first.
fn recent<T>(found: impl Iterator<Item = T>, freshness: impl Fn(&T) -> Freshness) -> Option<T> {
    let mut first = None;
    for one in found {
        if freshness(&one) < Freshness::Stale {
            return Some(one);
        }
        first = first.or(Some(one));
    }
    first
}

/// Returns a channel's number in the quantity's unit.
pub(super) fn number(reading: &ChannelReading<'_>, source: &Source, quantity: Quantity) -> Option<f64> {
    let factor = source.factor.unwrap_or_else(|| quantity.factor(reading.unit()));
    Some(plain(reading.value())? * factor)
}

/// Returns a value that is a finite number.
fn plain(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Bool(_) | Value::Text(_) | Value::Bytes(_) => None,
    }
}

/// Whether a value says that a battery charges: true, its word, or 1, which ROS's `sensor_msgs/BatteryState` has for it.
fn is_charging(value: &Value) -> bool {
    match value {
        Value::Bool(charging) => *charging,
        Value::Text(word) => word.eq_ignore_ascii_case("charging"),
        value => plain(value) == Some(1.0),
    }
}

/// Returns the angle around the z axis of an orientation; `None` if it is none.
fn yaw([x, y, z, w]: [f64; 4]) -> Option<f64> {
    let norm = x * x + y * y + z * z + w * w;
    // A quaternion that was never set is all zeros.
    (norm > f64::EPSILON).then(|| (2.0 * (w * z + x * y)).atan2(w * w + x * x - y * y - z * z))
}
