//! `[map]` and `[[threshold]]`: which channels say what everybody asks for, and what of them is worth a warning.
//!
//! Channels that belong together stand side by side: the first `latitude` goes with the first `longitude` and the first
//! `altitude`. `-` stands for a part that is not there.

use muster_protocol::id::ChannelName;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::fleet::{
    BatterySource, Bounds, Frame, Heading, Level, Mapping, PoseSource, PositionSource, Source, Threshold,
};

/// Which channels say what everybody asks for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapConfig {
    /// Degrees north.
    pub latitude: Vec<Source>,
    /// Degrees east, one beside each latitude.
    pub longitude: Vec<Source>,
    /// Metres, beside the latitudes.
    pub altitude: Vec<Source>,
    /// Metres on a map.
    pub x: Vec<Source>,
    /// Metres on a map, one beside each x.
    pub y: Vec<Source>,
    /// Radians from x towards y, beside the x.
    pub heading: Vec<Heading>,
    /// The map's names, beside the x.
    pub frame: Vec<Frame>,
    /// From 0 to 1.
    pub charge: Vec<Source>,
    /// Whether it charges, beside the charges.
    pub charging: Vec<Source>,
    /// The version of the software.
    pub version: Vec<Source>,
    /// How the robot says that it is.
    pub health: Vec<Source>,
}

/// A rule for a robot's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdConfig {
    /// What a person calls it.
    pub name: ThresholdName,
    /// What is judged.
    pub channel: Source,
    /// Less is out of bounds.
    pub below: Option<f64>,
    /// More is out of bounds.
    pub above: Option<f64>,
    /// How bad it is out of bounds.
    #[serde(default)]
    pub level: ThresholdLevel,
}

/// How bad a value out of bounds is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdLevel {
    /// Someone should look.
    #[default]
    Warn,
    /// Something is broken.
    Error,
}

/// 1 to 63 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ThresholdName(String);

/// A text is no name of a threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a threshold's name has 1 to {NAME_CHARS_MAX} characters, none of them a control character")]
pub struct ParseThresholdNameError;

impl MapConfig {
    /// Returns the mapping, with the thresholds beside it.
    pub fn mapping(&self, thresholds: &[ThresholdConfig]) -> Result<Mapping, ConfigError> {
        let positions = beside(("map.latitude", &self.latitude), ("map.longitude", &self.longitude))?;
        let positions = positions.map(|(at, latitude, longitude)| PositionSource {
            latitude: latitude.clone(),
            longitude: longitude.clone(),
            altitude: part(&self.altitude, at, |source| is_there(&source.channel)),
        });
        let poses = beside(("map.x", &self.x), ("map.y", &self.y))?.map(|(at, x, y)| PoseSource {
            x: x.clone(),
            y: y.clone(),
            heading: part(&self.heading, at, |heading| match heading {
                Heading::Angle(source) => is_there(&source.channel),
                Heading::Quaternion(_) => true,
            }),
            frame: part(&self.frame, at, |frame| match frame {
                Frame::Channel(channel) => is_there(channel),
                Frame::Name(_) => true,
            }),
        });
        let batteries = self.charge.iter().enumerate().map(|(at, charge)| BatterySource {
            charge: charge.clone(),
            charging: part(&self.charging, at, |source| is_there(&source.channel)),
        });
        let mapping = Mapping {
            positions: positions.collect(),
            poses: poses.collect(),
            batteries: batteries.collect(),
            versions: self.version.clone(),
            healths: self.health.clone(),
            thresholds: thresholds.iter().map(ThresholdConfig::threshold).collect::<Result<_, _>>()?,
        };
        self.check_parts()?;
        check_counts(&mapping)?;
        Ok(mapping)
    }

    /// Checks that nothing stands beside what is not there.
    fn check_parts(&self) -> Result<(), ConfigError> {
        for (part, has, whole, most) in [
            ("map.altitude", self.altitude.len(), "map.latitude", self.latitude.len()),
            ("map.heading", self.heading.len(), "map.x", self.x.len()),
            ("map.frame", self.frame.len(), "map.x", self.x.len()),
            ("map.charging", self.charging.len(), "map.charge", self.charge.len()),
        ] {
            if has > most {
                return Err(ConfigError::NotBeside { part, has, whole, most });
            }
        }
        Ok(())
    }
}

impl ThresholdConfig {
    fn threshold(&self) -> Result<Threshold, ConfigError> {
        let ThresholdName(name) = &self.name;
        let bounds = Bounds { below: self.below, above: self.above };
        let ends = [self.below, self.above].into_iter().flatten();
        if ends.clone().count() == 0 || ends.clone().any(f64::is_nan) {
            return Err(ConfigError::NoBound { name: name.clone() });
        }
        let level = match self.level {
            ThresholdLevel::Warn => Level::Warn,
            ThresholdLevel::Error => Level::Error,
        };
        Ok(Threshold { name: name.clone(), source: self.channel.clone(), bounds, level })
    }
}

impl TryFrom<String> for ThresholdName {
    type Error = ParseThresholdNameError;

    fn try_from(text: String) -> Result<Self, ParseThresholdNameError> {
        let is_name =
            (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if is_name { Ok(Self(text)) } else { Err(ParseThresholdNameError) }
    }
}

impl From<ThresholdName> for String {
    fn from(name: ThresholdName) -> Self {
        name.0
    }
}

/// Walks over two lists that belong together.
fn beside<'a>(
    (part, parts): (&'static str, &'a [Source]),
    (whole, wholes): (&'static str, &'a [Source]),
) -> Result<impl Iterator<Item = (usize, &'a Source, &'a Source)>, ConfigError> {
    if parts.len() != wholes.len() {
        return Err(ConfigError::NotBeside { part, has: parts.len(), whole, most: wholes.len() });
    }
    Ok(parts.iter().zip(wholes).enumerate().map(|(at, (one, other))| (at, one, other)))
}

/// Returns what stands in this place of a list, if it is a part that is there.
fn part<T: Clone>(parts: &[T], at: usize, is_there: impl Fn(&T) -> bool) -> Option<T> {
    parts.get(at).filter(|part| is_there(part)).cloned()
}

fn is_there(channel: &ChannelName) -> bool {
    channel.as_str() != NOT_THERE
}

fn check_counts(mapping: &Mapping) -> Result<(), ConfigError> {
    for (key, count, most) in [
        ("map.latitude", mapping.positions.len(), SOURCES_MAX),
        ("map.x", mapping.poses.len(), SOURCES_MAX),
        ("map.charge", mapping.batteries.len(), SOURCES_MAX),
        ("map.version", mapping.versions.len(), SOURCES_MAX),
        ("map.health", mapping.healths.len(), SOURCES_MAX),
        ("threshold", mapping.thresholds.len(), THRESHOLDS_MAX),
    ] {
        if count > most {
            return Err(ConfigError::TooMany { key, count, most });
        }
    }
    Ok(())
}

/// Stands for a part that is not there.
const NOT_THERE: &str = "-";

/// Most channels of one list: each is looked for when a robot is read, and a fleet is read for a query.
const SOURCES_MAX: usize = 32;

/// Most thresholds, for the same reason.
const THRESHOLDS_MAX: usize = 64;

/// Longest name of a threshold: it stands in front of a sentence.
const NAME_CHARS_MAX: usize = 63;
