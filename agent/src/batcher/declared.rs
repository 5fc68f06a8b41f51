//! What the configuration declares of channels, by glob: lane, unit, interval, on-change. Pure.
//!
//! Declarations are asked in their order, and the first that matches *and* says something about an attribute decides
//! that attribute. So a line for `imu.*` may set a lane, and a later one for `*` the unit of all.

use std::time::Duration;

use muster_protocol::{
    glob::Glob,
    id::{ChannelName, Lane},
    schema::ChannelDef,
};

use crate::config::ChannelRule;

/// What one glob declares. `None` leaves the attribute to later declarations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Which channels.
    pub channels: Glob,
    /// The lane of rows with such a channel, unless the line names one.
    pub lane: Option<Lane>,
    /// The unit, unless the line names one.
    pub unit: Option<String>,
    /// How often a sample is expected, in nanoseconds.
    pub interval_ns: Option<u64>,
    /// Whether samples come only when the value changes.
    pub on_change: Option<bool>,
}

/// All declarations of an agent, in order.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    list: Vec<Declaration>,
}

impl Declaration {
    /// Declares nothing yet of these channels.
    pub fn of(channels: Glob) -> Self {
        Self { channels, lane: None, unit: None, interval_ns: None, on_change: None }
    }
}

impl From<&ChannelRule> for Declaration {
    fn from(rule: &ChannelRule) -> Self {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self {
            channels: rule.matching.clone(),
            lane: rule.lane,
            unit: rule.unit.as_ref().map(|unit| unit.as_str().to_owned()),
            interval_ns: rule.interval.map(|span| nanos(span.duration())),
            on_change: rule.on_change,
        }
    }
}

impl Declarations {
    /// Takes declarations; earlier ones win.
    pub fn new(list: Vec<Declaration>) -> Self {
        Self { list }
    }

    /// Returns whether any declaration names a lane: if not, no name needs to be looked at.
    pub fn name_lanes(&self) -> bool {
        self.list.iter().any(|declared| declared.lane.is_some())
    }

    /// Returns the declared lane of a channel.
    pub fn lane(&self, name: &ChannelName) -> Option<Lane> {
        self.matching(name).find_map(|declared| declared.lane)
    }

    /// Returns the lane of a row that names none: the most urgent lane of its channels, where [`Lane::Live`] is that
    /// of a channel without a declared one. A row is never split, and an alarm in it is still an alarm.
    pub fn lane_of_all<'a>(&self, names: impl Iterator<Item = &'a ChannelName>) -> Lane {
        if !self.name_lanes() {
            return Lane::Live;
        }
        names.map(|name| self.lane(name).unwrap_or(Lane::Live)).min().unwrap_or(Lane::Live)
    }

    /// Returns a channel's definition; the `unit` that the line named goes before the declared one.
    pub fn define(&self, name: &ChannelName, unit: Option<&str>) -> ChannelDef {
        let declared_unit = || self.matching(name).find_map(|declared| declared.unit.clone());
        ChannelDef {
            name: name.clone(),
            unit: unit.map(str::to_owned).or_else(declared_unit),
            interval_ns: self.matching(name).find_map(|declared| declared.interval_ns),
            on_change: self.matching(name).find_map(|declared| declared.on_change).unwrap_or(false),
        }
    }

    fn matching(&self, name: &ChannelName) -> impl Iterator<Item = &Declaration> {
        self.list.iter().filter(|declared| declared.channels.matches(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn lane(channels: &str, lane: Lane) -> Declaration {
        Declaration { lane: Some(lane), ..Declaration::of(channels.parse().unwrap()) }
    }

    #[test]
    fn the_first_declaration_that_says_something_decides_each_attribute() {
        let declarations = Declarations::new(vec![
            lane("imu.*", Lane::Bulk),
            Declaration { unit: Some("1".to_owned()), ..Declaration::of("*".parse().unwrap()) },
            lane("imu.x", Lane::Urgent),
        ]);
        assert_eq!(declarations.lane(&name("imu.x")), Some(Lane::Bulk));
        assert_eq!(declarations.define(&name("imu.x"), None).unit.as_deref(), Some("1"));
        assert_eq!(declarations.define(&name("imu.x"), Some("m")).unit.as_deref(), Some("m"));
    }

    #[test]
    fn a_row_takes_the_most_urgent_lane_of_its_channels() {
        let declarations = Declarations::new(vec![lane("imu.*", Lane::Bulk), lane("alarm", Lane::Urgent)]);
        let lane_of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|text| name(text)).collect();
            declarations.lane_of_all(names.iter())
        };
        assert_eq!(lane_of(&["imu.x", "imu.y"]), Lane::Bulk);
        assert_eq!(lane_of(&["imu.x", "other"]), Lane::Live);
        assert_eq!(lane_of(&["imu.x", "other", "alarm"]), Lane::Urgent);
    }
}
