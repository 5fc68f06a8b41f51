//! What the configuration declares of channels, by glob: lane, unit, interval, on-change, and which values are none. Pure.
//!
//! Declarations are asked in their order, and the first that matches *and* says something about an attribute decides
//! that attribute. So a line for `imu.*` may set a lane, and a later one for `*` the unit of all.

use std::time::Duration;

use muster_protocol::{
    glob::Glob,
    id::{ChannelName, Lane},
    sample::{Row, Value},
    schema::ChannelDef,
};

use crate::config::{AbsentValues, ChannelRule};

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
    /// The values that the source writes where it has none.
    pub absent: Option<AbsentValues>,
}

/// All declarations of an agent, in order.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    list: Vec<Declaration>,
    /// What is declared of values that are none, in the same order: few or no declarations say anything of it, and every
    /// sample is asked.
    absent: Vec<(Glob, AbsentValues)>,
}

impl Declaration {
    /// Declares nothing yet of these channels.
    pub fn of(channels: Glob) -> Self {
        Self { channels, lane: None, unit: None, interval_ns: None, on_change: None, absent: None }
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
            absent: rule.absent.clone(),
        }
    }
}

impl Declarations {
    /// Takes declarations; earlier ones win.
    pub fn new(list: Vec<Declaration>) -> Self {
        let absent =
            list.iter().filter_map(|declared| Some((declared.channels.clone(), declared.absent.clone()?)));
        Self { absent: absent.collect(), list }
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

    /// Takes the samples out of a row whose value is declared to be none, and says each to `left_out`. The agent's own
    /// figures stay: it knows what it says. A row without such a value is not touched, and its names are not looked at.
    pub fn leave_out(&self, row: &mut Row, mut left_out: impl FnMut(&ChannelName, &Value)) {
        if !row.fields.iter().any(|(_, value)| self.may_be_absent(value)) {
            return;
        }
        row.fields.retain(|(name, value)| {
            let is_absent = self.may_be_absent(value) && self.is_absent(name, value);
            if is_absent {
                left_out(name, value);
            }
            !is_absent
        });
    }

    /// Returns whether any declaration names values that are none.
    pub fn name_absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Whether any declaration names this value, be it of another channel: values are cheaper to compare than names.
    fn may_be_absent(&self, value: &Value) -> bool {
        self.absent.iter().any(|(_, absent)| absent.hold(value))
    }

    fn is_absent(&self, name: &ChannelName, value: &Value) -> bool {
        let first = self.absent.iter().find(|(channels, _)| channels.matches(name.as_str()));
        first.is_some_and(|(_, absent)| absent.hold(value)) && !name.is_of_agent()
    }

    fn matching(&self, name: &ChannelName) -> impl Iterator<Item = &Declaration> {
        self.list.iter().filter(|declared| declared.channels.matches(name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AbsentValue;

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

    fn absent(channels: &str, values: &[AbsentValue]) -> Declaration {
        let values = AbsentValues::try_from(values.to_vec()).unwrap();
        Declaration { absent: Some(values), ..Declaration::of(channels.parse().unwrap()) }
    }

    fn row(fields: &[(&str, Value)]) -> Row {
        let fields = fields.iter().map(|(channel, value)| (name(channel), value.clone())).collect();
        Row { t: None, lane: None, unit: None, fields }
    }

    fn leave_out(declarations: &Declarations, row: &mut Row) -> Vec<String> {
        let mut left_out = Vec::new();
        declarations.leave_out(row, |name, value| left_out.push(format!("{name}={value:?}")));
        left_out
    }

    #[test]
    fn a_value_that_is_none_is_left_out_of_its_channel_and_stays_in_others() {
        let declarations = Declarations::new(vec![
            absent("cell.0", &[]),
            absent("cell.*", &[AbsentValue::Float(256.0), AbsentValue::Text("n/a".to_owned())]),
            absent("*", &[AbsentValue::Int(-1)]),
        ]);
        let mut seen = row(&[
            ("cell.0", Value::Float(256.0)),
            ("cell.1", Value::Int(256)),
            ("cell.2", Value::Text("n/a".to_owned())),
            ("cell.3", Value::Int(-1)),
            ("amps", Value::Float(256.0)),
            ("amps", Value::Float(-1.0)),
            ("muster.agent.lost", Value::Int(-1)),
        ]);
        let left_out = leave_out(&declarations, &mut seen);
        assert_eq!(left_out, ["cell.1=Int(256)", "cell.2=Text(\"n/a\")", "amps=Float(-1.0)"]);
        let kept: Vec<_> = seen.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            kept,
            ["cell.0", "cell.3", "amps", "muster.agent.lost"],
            "the first rule of a channel decides"
        );
    }

    /// Guards: what a channel without such values pays. Its row keeps its memory, and no name is compared.
    #[test]
    fn a_row_without_a_value_that_is_none_is_not_touched() {
        let none = Declarations::new(vec![lane("*", Lane::Bulk)]);
        assert!(!none.name_absent() && none.absent.is_empty());
        let some = Declarations::new(vec![lane("*", Lane::Bulk), absent("b", &[AbsentValue::Int(7)])]);
        assert_eq!(
            (some.name_absent(), some.absent.len()),
            (true, 1),
            "declarations of other things are not asked"
        );
        for declarations in [none, some] {
            let mut seen = row(&[("a", Value::Int(1)), ("b", Value::Float(7.5))]);
            let before = (seen.clone(), seen.fields.as_ptr(), seen.fields.capacity());
            assert_eq!(leave_out(&declarations, &mut seen), [""; 0]);
            assert_eq!((seen.clone(), seen.fields.as_ptr(), seen.fields.capacity()), before);
            // Nothing of it goes over the air.
            assert_eq!(declarations.define(&name("b"), None), none_of("b"));
        }
    }

    fn none_of(channel: &str) -> ChannelDef {
        Declarations::default().define(&name(channel), None)
    }
}
