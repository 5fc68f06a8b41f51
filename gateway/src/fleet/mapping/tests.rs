//! What mappings read, with the names that the gateway knows without configuration.

use muster_protocol::{
    batch::{self, BatchBuilder},
    id::ChannelName,
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::WallTime,
};

use std::sync::Arc;

use super::{super::rehearsal::*, *};
use crate::{
    config::Config,
    fleet::{Fleet, Freshness, Level, LinkReading, RobotReading, RobotState},
};

/// A fleet of one robot, read through a mapping.
struct Yard {
    fleet: Fleet,
    offset: u64,
}

impl Yard {
    fn new() -> Self {
        Self::mapped(Config::default().mapping())
    }

    fn mapped(mapping: Mapping) -> Self {
        let mut fleet = Fleet::default();
        fleet.map(mapping);
        Self { fleet, offset: 0 }
    }

    /// Takes one sample of each channel, all at `t`.
    fn row(&mut self, t: i64, row: &[(&str, Value)]) -> &mut Self {
        let row: Vec<_> = row.iter().map(|(name, value)| (*name, value.clone(), None)).collect();
        self.units(t, &row)
    }

    /// Takes one sample of each channel with its declared unit.
    fn units(&mut self, t: i64, row: &[(&str, Value, Option<&str>)]) -> &mut Self {
        self.offset += 1;
        let define = |(name, _, unit): &(&str, Value, Option<&str>)| ChannelDef {
            unit: unit.map(str::to_owned),
            ..ChannelDef::named(ChannelName::new(name).unwrap())
        };
        let schema = Arc::new(Schema::new(row.iter().map(define).collect()).unwrap());
        let fields: Vec<(u32, Value)> = (0..).zip(row.iter().map(|(_, value, _)| value.clone())).collect();
        let mut builder = BatchBuilder::new();
        builder.push_row(WallTime(t), StampedBy::Input, &fields).unwrap();
        let encoded = builder.finish(&schema, clock(1, t)).remove(0);
        let decoded = batch::decode(&encoded.bytes, &schema).unwrap();
        batch_record(self.offset, head(1, self.offset), t, (decoded, schema)).apply_to(&self.fleet);
        self
    }

    fn at<T>(&self, now: i64, look: impl FnOnce(&RobotState, WallTime, &LinkReading) -> T) -> T {
        let robot = self.fleet.robot(&robot(1)).unwrap();
        let state = robot.read().unwrap();
        let link = state.read_link(WallTime(now), Some(&heard(now)));
        look(&state, WallTime(now), &link)
    }

    fn read(&self, now: i64) -> RobotReading {
        self.at(now, |state, now, _| state.read(now, Some(&heard(now.0))))
    }
}

/// Numbers as values.
trait Told {
    fn v(self) -> Value;
}

impl Told for f64 {
    fn v(self) -> Value {
        Value::Float(self)
    }
}

impl Told for i64 {
    fn v(self) -> Value {
        Value::Int(self)
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-9
}

#[test]
fn a_fix_and_an_odometry_as_ros_names_them_are_a_position_and_a_pose() {
    let mut yard = Yard::new();
    yard.row(NOW, &[("/fix.lat", 42.375.v()), ("/fix.lon", (-71.147).v()), ("/fix.alt", 7.3.v())]);
    let quarter = std::f64::consts::FRAC_PI_4;
    yard.row(
        NOW - S,
        &[
            ("/husky_velocity_controller/odom.px", 8.25.v()),
            ("/husky_velocity_controller/odom.py", (-0.5).v()),
            ("/husky_velocity_controller/odom.qx", 0.0.v()),
            ("/husky_velocity_controller/odom.qy", 0.0.v()),
            ("/husky_velocity_controller/odom.qz", quarter.sin().v()),
            ("/husky_velocity_controller/odom.qw", quarter.cos().v()),
            ("/husky_velocity_controller/odom.frame", text("odom")),
        ],
    );
    yard.at(NOW + S, |state, now, link| {
        let position = state.position(now, link).unwrap();
        assert_eq!((position.latitude, position.longitude, position.altitude), (42.375, -71.147, Some(7.3)));
        let seen =
            Seen { channel: "/fix.lat", t: WallTime(NOW), age_ns: Some(S), freshness: Freshness::Fresh };
        assert_eq!(position.seen, seen);
        let pose = state.pose(now, link).unwrap();
        assert_eq!((pose.x, pose.y, pose.map), (8.25, -0.5, Some("odom")));
        assert!(near(pose.heading.unwrap(), std::f64::consts::FRAC_PI_2), "{pose:?}");
        assert_eq!(pose.seen.age_ns, Some(2 * S));
    });
}

#[test]
fn an_old_position_says_so_and_a_newer_source_goes_before_it() {
    let mut yard = Yard::new();
    yard.row(NOW, &[("/fix.lat", 1.0.v()), ("/fix.lon", 2.0.v())]);
    let read = |yard: &Yard, now| {
        yard.at(now, |state, now, link| {
            let position = state.position(now, link).unwrap();
            (position.latitude, position.seen.freshness)
        })
    };
    assert_eq!(read(&yard, NOW + 3600 * S), (1.0, Freshness::Stale));
    yard.row(NOW + 3600 * S, &[("gps.latitude", 3.0.v()), ("gps.longitude", 4.0.v())]);
    assert_eq!(read(&yard, NOW + 3600 * S), (3.0, Freshness::Fresh));
    assert_eq!(read(&yard, NOW + 7200 * S), (1.0, Freshness::Stale), "of two that are stale the first");
}

#[test]
fn a_place_is_as_old_as_its_oldest_part_and_has_no_older_altitude() {
    let mut yard = Yard::new();
    yard.row(NOW - 4 * S, &[("/fix.lat", 1.0.v()), ("/fix.alt", 9.0.v())]);
    yard.row(NOW, &[("/fix.lon", 2.0.v())]);
    yard.at(NOW, |state, now, link| {
        let position = state.position(now, link).unwrap();
        assert_eq!((position.seen.t, position.seen.freshness), (WallTime(NOW - 4 * S), Freshness::Late));
        assert_eq!(position.altitude, Some(9.0));
    });
    yard.row(NOW, &[("/fix.lat", 1.0.v())]);
    yard.at(NOW, |state, now, link| {
        let position = state.position(now, link).unwrap();
        assert_eq!((position.seen.freshness, position.altitude), (Freshness::Fresh, None));
    });
}

#[test]
fn what_is_no_place_is_none() {
    for (latitude, longitude) in [
        (Value::Float(f64::NAN), Value::Float(1.0)),
        (text("52"), Value::Float(1.0)),
        (Value::Float(90.5), Value::Float(1.0)),
        (Value::Float(0.0), Value::Int(181)),
    ] {
        let mut yard = Yard::new();
        yard.row(NOW, &[("/fix.lat", latitude), ("/fix.lon", longitude)]);
        yard.at(NOW, |state, now, link| assert_eq!(state.position(now, link), None));
    }
    let mut unset = Yard::new();
    unset.row(NOW, &[("pose.x", 1.v()), ("pose.y", 2.v()), ("pose.heading", f64::NAN.v())]);
    unset.at(NOW, |state, now, link| assert_eq!(state.pose(now, link).unwrap().heading, None));
    assert_eq!(Fleet::default().robot(&robot(1)).map(drop), None);
}

#[test]
fn a_charge_is_a_fraction_whatever_it_was_told_as() {
    let charge = |name: &str, value: Value, unit: Option<&str>| {
        let mut yard = Yard::new();
        yard.units(NOW, &[(name, value, unit)]);
        yard.at(NOW, |state, now, link| {
            let battery = state.battery(now, link).unwrap();
            (battery.charge, battery.problem)
        })
    };
    assert_eq!(charge("host.battery.soc", 0.75.v(), Some("1")), (Some(0.75), None));
    assert_eq!(charge("battery.soc", 81.v(), Some("%")), (Some(0.81), None));
    assert_eq!(charge("battery.percent", 81.v(), None), (Some(0.81), None));
    assert_eq!(charge("/battery_state.percentage", 1.01.v(), None), (Some(1.0), None));
    let (none, problem) = charge("battery.soc", 81.v(), None);
    assert_eq!(none, None);
    assert!(problem.unwrap().contains(
        "says 81, which is no fraction from 0 to 1; if it counts percent, map it as battery.soc*0.01"
    ));
}

#[test]
fn a_battery_charges_if_it_says_so_as_recently() {
    for (said, charging) in [
        (Value::Bool(true), true),
        (Value::Int(1), true),
        (text("Charging"), true),
        (Value::Int(2), false),
        (text("full"), false),
    ] {
        let mut yard = Yard::new();
        yard.row(NOW, &[("battery.soc", 0.5.v()), ("battery.charging", said)]);
        yard.at(NOW, |state, now, link| {
            assert_eq!(state.battery(now, link).unwrap().charging, Some(charging));
        });
        yard.row(NOW + 3600 * S, &[("battery.soc", 0.5.v())]);
        yard.at(NOW + 3600 * S, |state, now, link| {
            assert_eq!(state.battery(now, link).unwrap().charging, None, "an hour ago says nothing of now");
        });
    }
}

#[test]
fn a_version_is_what_is_told_as_text() {
    let mut yard = Yard::new();
    yard.row(NOW, &[("software.version", text("2.3.1-rc1"))]);
    yard.at(NOW, |state, now, link| assert_eq!(state.version(now, link).unwrap().v, "2.3.1-rc1"));
    let mut yard = Yard::new();
    yard.row(NOW, &[("version", 7.v())]);
    yard.at(NOW, |state, now, link| assert_eq!(state.version(now, link).unwrap().v, "7"));
}

#[test]
fn what_a_robot_says_of_itself_counts_while_it_is_not_stale() {
    for (said, level) in [
        (Value::Int(0), Level::Ok),
        (Value::Int(1), Level::Warn),
        (Value::Float(2.0), Level::Error),
        (Value::Int(3), Level::Stale),
        (text("ERROR"), Level::Error),
        (Value::Int(87), Level::Ok),
        (text("fine"), Level::Ok),
    ] {
        let mut yard = Yard::new();
        yard.row(NOW, &[("health", said.clone()), ("other", 1.v())]);
        let health = yard.read(NOW).health;
        assert_eq!(health.level, level, "{said:?}");
        if level != Level::Ok {
            assert_eq!(health.reasons, [format!("health says {}", level.as_str())]);
        }
    }
    let mut yard = Yard::new();
    yard.row(NOW, &[("health", text("error"))]);
    assert_eq!(yard.read(NOW + 4 * S).health.reasons, ["no value is fresh", "health says error (4 s ago)"]);
    yard.row(NOW + 3600 * S, &[("other", 1.v())]);
    assert_eq!(yard.read(NOW + 3600 * S).health.level, Level::Ok);
}

#[test]
fn a_threshold_judges_what_is_current_and_says_so() {
    let rule = |name: &str, channel: &str, bounds, level| Threshold {
        name: name.to_owned(),
        source: channel.parse().unwrap(),
        bounds,
        level,
    };
    let below = Bounds { below: Some(0.2), above: None };
    let between = Bounds { below: Some(-10.0), above: Some(60.0) };
    let thresholds = vec![
        rule("low battery", "battery.soc", below, Level::Warn),
        rule("motor", "motor.celsius", between, Level::Error),
    ];
    let mut yard = Yard::mapped(Mapping { thresholds, ..Mapping::default() });
    yard.row(NOW, &[("battery.soc", 0.2.v()), ("motor.celsius", 60.v())]);
    assert_eq!(yard.read(NOW).health.reasons, Vec::<String>::new(), "the bounds are allowed");
    yard.row(NOW + 3600 * S, &[("battery.soc", 0.12.v()), ("motor.celsius", 61.5.v())]);
    let health = yard.read(NOW + 3600 * S).health;
    assert_eq!(health.level, Level::Error);
    assert_eq!(
        health.reasons,
        ["low battery: battery.soc is 0.12, below 0.2", "motor: motor.celsius is 61.5, above 60"]
    );
    // Late enough for a channel that comes every hour.
    let later = NOW + 100_000 * S;
    yard.row(later, &[("battery.soc", f64::NAN.v()), ("other", 1.v())]);
    assert_eq!(yard.read(later).health.level, Level::Ok, "stale and NaN say nothing");
}

#[test]
fn sources_are_printed_as_they_are_written() {
    for text in ["battery.percent*0.01", "a*b", "odd*", "temp*-1.5", "/fix.lat"] {
        assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
    }
    assert_eq!("a*b".parse::<Source>().unwrap().factor, None);
    assert_eq!(
        "a * 2".parse::<Source>().unwrap(),
        Source { channel: "a".parse().unwrap(), factor: Some(2.0) }
    );
    for text in [
        "pose.heading",
        "yaw*0.017453292519943295",
        "/odom.q{}",
        "odom.pose.orientation.{}",
        "{}.q",
        "wx{}xw",
    ] {
        assert_eq!(text.parse::<Heading>().unwrap().to_string(), text);
    }
    for text in ["odom.frame", "=hall 3"] {
        assert_eq!(text.parse::<Frame>().unwrap().to_string(), text);
    }
    for text in ["a*0", "a*inf", "*2", ""] {
        text.parse::<Source>().unwrap_err();
    }
    "=".parse::<Frame>().unwrap_err();
}

#[test]
fn declared_units_are_understood() {
    let mut yard = Yard::new();
    yard.units(
        NOW,
        &[
            ("pose.x", 150.v(), Some("cm")),
            ("pose.y", 2.v(), Some("m")),
            ("pose.heading", 180.v(), Some("deg")),
        ],
    );
    yard.at(NOW, |state, now, link| {
        let pose = state.pose(now, link).unwrap();
        assert!(near(pose.x, 1.5) && near(pose.y, 2.0) && near(pose.heading.unwrap(), std::f64::consts::PI));
    });
}
