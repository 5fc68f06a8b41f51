//! What a mapping of channels says of a robot: where it is, how full its battery is, what it runs. Each says from which
//! channel and how old it is.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Moment, Time, ms, word};
use crate::{
    fleet::{self, Seen},
    query::View,
};

/// What everybody asks for, whatever the robot calls it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Mapped {
    /// Where the robot is on earth; null if no mapped channel ever said so.
    #[schema(required = true)]
    position: Option<RobotPosition>,
    /// Where the robot is on a map; null if no mapped channel ever said so.
    #[schema(required = true)]
    pose: Option<RobotPose>,
    /// How full its battery is; null if no mapped channel ever said so.
    #[schema(required = true)]
    battery: Option<RobotBattery>,
    /// The version of its software; null if no mapped channel ever said so.
    #[schema(required = true)]
    version: Option<RobotVersion>,
}

/// A place on earth, in WGS 84.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotPosition {
    /// Degrees, north is positive.
    #[schema(examples(52.5163), minimum = -90, maximum = 90)]
    latitude: f64,
    /// Degrees, east is positive.
    #[schema(examples(13.3777), minimum = -180, maximum = 180)]
    longitude: f64,
    /// Metres; null if it is not known, or only from before.
    #[schema(required = true, examples(34.5))]
    altitude: Option<f64>,
    #[serde(flatten)]
    source: MappedFrom,
}

/// A place on a map.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotPose {
    /// Metres.
    #[schema(examples(8.25))]
    x: f64,
    /// Metres.
    #[schema(examples(-0.3))]
    y: f64,
    /// Radians from the x axis towards the y axis; null if it is not known, or only from before.
    #[schema(required = true, examples(1.57))]
    heading: Option<f64>,
    /// The map's name; null if it has none.
    #[schema(required = true, examples("hall-3"))]
    map: Option<String>,
    #[serde(flatten)]
    source: MappedFrom,
}

/// A battery.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotBattery {
    /// From 0, empty, to 1, full; null if what the channel says is no such fraction.
    #[schema(required = true, examples(0.81), minimum = 0, maximum = 1)]
    charge: Option<f64>,
    /// Whether it charges; null if it is not known, or only from before.
    #[schema(required = true, examples(false))]
    charging: Option<bool>,
    /// What is wrong with what the channel says and what to do; null if nothing is.
    #[schema(
        required = true,
        examples(
            "battery.soc says 81, which is no fraction from 0 to 1; if it counts percent, map it as battery.soc*0.01"
        )
    )]
    problem: Option<String>,
    #[serde(flatten)]
    source: MappedFrom,
}

/// The version of a robot's software.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotVersion {
    /// The version as the robot tells it.
    #[schema(examples("2.3.1"))]
    v: String,
    #[serde(flatten)]
    source: MappedFrom,
}

/// From where and when a mapped value is: as old as the oldest of its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct MappedFrom {
    /// The channel; of several parts the first.
    #[schema(examples("battery.soc"))]
    channel: String,
    /// The value's time, repaired where the agent stamped it by a clock that was off.
    t: Time,
    /// How old the value is; null if nobody knows.
    #[schema(required = true, examples(430))]
    age_ms: Option<i64>,
    #[schema(schema_with = word::freshness)]
    freshness: &'static str,
}

impl Mapped {
    /// Reads what is mapped of a robot.
    pub(super) fn of(view: &View<'_>, moment: Moment) -> Self {
        let from = |seen: &Seen<'_>| MappedFrom::of(seen, moment);
        let position = view.position().map(|position| {
            let fleet::Position { latitude, longitude, altitude, ref seen } = *position;
            RobotPosition { latitude, longitude, altitude, source: from(seen) }
        });
        let pose = view.pose().map(|pose| {
            let fleet::Pose { x, y, heading, map, ref seen } = *pose;
            RobotPose { x, y, heading, map: map.map(str::to_owned), source: from(seen) }
        });
        let battery = view.battery().map(|battery| {
            let fleet::Battery { charge, charging, ref problem, ref seen } = *battery;
            RobotBattery { charge, charging, problem: problem.clone(), source: from(seen) }
        });
        let version = view
            .version()
            .map(|version| RobotVersion { v: version.v.to_string(), source: from(&version.seen) });
        Self { position, pose, battery, version }
    }
}

impl MappedFrom {
    fn of(seen: &Seen<'_>, moment: Moment) -> Self {
        Self {
            channel: seen.channel.to_owned(),
            t: moment.ints.time(seen.t),
            age_ms: seen.age_ns.map(ms),
            freshness: seen.freshness.as_str(),
        }
    }
}
