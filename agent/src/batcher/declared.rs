//! What the configuration declares of channels, by glob: lane, unit, interval, on-change. Pure.
//!
//! Declarations are asked in their order, and the first that matches *and* says something about an attribute decides
//! that attribute. So a line for `imu.*` may set a lane, and a later one for `*` the unit of all.

use muster_protocol::{
    id::{ChannelName, Lane},
    schema::ChannelDef,
};

/// What one glob declares. `None` leaves the attribute to later declarations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Which channels: `*` is any text, `?` one character, everything else literal, brackets too.
    pub channels: String,
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
        self.of(name).find_map(|declared| declared.lane)
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
        let declared_unit = || self.of(name).find_map(|declared| declared.unit.clone());
        ChannelDef {
            name: name.clone(),
            unit: unit.map(str::to_owned).or_else(declared_unit),
            interval_ns: self.of(name).find_map(|declared| declared.interval_ns),
            on_change: self.of(name).find_map(|declared| declared.on_change).unwrap_or(false),
        }
    }

    fn of(&self, name: &ChannelName) -> impl Iterator<Item = &Declaration> {
        self.list.iter().filter(|declared| glob_matches(&declared.channels, name.as_str()))
    }
}

/// Returns whether `text` matches `glob`, in which `*` is any text and `?` one character.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (mut glob, mut text) = (glob.chars(), text.chars());
    // Where to go on after a mismatch: behind the last star, with one character more given to it.
    let mut retry = None;
    loop {
        let text_before = text.clone();
        match (glob.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = text_before;
                retry = Some((glob.clone(), text.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(want), Some(found)) if want == found => {}
            _ => {
                let Some((behind_star, mut later)) = retry.take() else { return false };
                if later.next().is_none() {
                    return false;
                }
                (glob, text) = (behind_star.clone(), later.clone());
                retry = Some((behind_star, later));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn lane(channels: &str, lane: Lane) -> Declaration {
        Declaration { channels: channels.to_owned(), lane: Some(lane), ..Declaration::default() }
    }

    #[test]
    fn globs_know_star_and_question_mark_only() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("*", "anything", true),
            ("imu.*", "imu.x", true),
            ("imu.*", "imu", false),
            ("*.soc", "battery.soc", true),
            ("*.soc", "battery.soc.x", false),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--b--b--", false),
            ("?", "ü", true),
            ("?", "", false),
            ("cells[?]", "cells[0]", true),
            ("cells[0]", "cells0", false),
            ("", "", true),
            ("", "x", false),
            ("a**", "a", true),
        ] {
            assert_eq!(glob_matches(glob, text), matches, "{glob} {text}");
        }
    }

    #[test]
    fn the_first_declaration_that_says_something_decides_each_attribute() {
        let declarations = Declarations::new(vec![
            lane("imu.*", Lane::Bulk),
            Declaration { channels: "*".to_owned(), unit: Some("1".to_owned()), ..Declaration::default() },
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

    /// The definition of a glob, without any cleverness.
    fn matches_by_definition(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| matches_by_definition(rest, &text[skip..])),
            Some((want, rest)) => text.split_first().is_some_and(|(found, after)| {
                (*want == '?' || want == found) && matches_by_definition(rest, after)
            }),
        }
    }

    proptest! {
        #[test]
        fn globs_match_as_defined(glob in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let (globbed, letters): (Vec<_>, Vec<_>) = (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(glob_matches(&glob, &text), matches_by_definition(&globbed, &letters));
        }
    }
}
