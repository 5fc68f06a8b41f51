//! Thresholds: what of a robot's values is worth a word about its health.

use muster_protocol::{sample::Value, time::WallTime};

use super::{
    Source,
    reading::{Reader, number},
    source::Quantity,
};
use crate::fleet::health::Level;

/// A rule with a name: a channel's value that is out of these bounds makes the robot's health this bad.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The name, for a person.
    pub name: String,
    /// What is judged.
    pub source: Source,
    /// What is allowed.
    pub bounds: Bounds,
    /// How bad it is out of bounds.
    pub level: Level,
}

/// What is allowed: not below the one, not above the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Less is out of bounds.
    pub below: Option<f64>,
    /// More is out of bounds.
    pub above: Option<f64>,
}

/// What a value says of a robot's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// How bad it is.
    pub level: Level,
    /// Who says so.
    pub by: SaidBy,
    /// What is wrong: the channel, and what it says.
    pub words: String,
    /// When the value was so, repaired as everywhere; `None` if nobody knows.
    pub t: Option<WallTime>,
    /// The same with its age, if it is late.
    pub reason: String,
}

/// Who says how a robot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// The robot itself, by a health channel.
    Robot,
    /// A threshold of the gateway's configuration.
    Threshold,
}

impl Threshold {
    /// Judges the value as it is now. One that is stale says nothing of now, and neither does one that is no number.
    pub(super) fn judge(&self, reader: &Reader<'_, '_>) -> Option<Said> {
        let (reading, seen) = reader.current(&self.source)?;
        let value = number(&reading, &self.source, Quantity::Plain)?;
        let (word, bound) = self.bounds.broken_by(value)?;
        let told = |age: &str| format!("{}: {} is {value}{age}, {word} {bound}", self.name, seen.channel);
        let (level, by) = (self.level, SaidBy::Threshold);
        Some(Said {
            level,
            by,
            words: told(""),
            t: seen.aged_from(reader.now),
            reason: told(&seen.late_words()),
        })
    }
}

impl Bounds {
    fn broken_by(self, value: f64) -> Option<(&'static str, f64)> {
        let below = self.below.filter(|bound| value < *bound).map(|bound| ("below", bound));
        below.or_else(|| self.above.filter(|bound| value > *bound).map(|bound| ("above", bound)))
    }
}

/// Reads a health that a robot tells itself: a number of ROS's `diagnostic_msgs/DiagnosticStatus`, or its word.
pub(super) fn level_of(value: &Value) -> Option<Level> {
    const LEVELS: [Level; 4] = [Level::Ok, Level::Warn, Level::Error, Level::Stale];
    match value {
        Value::Int(number) => usize::try_from(*number).ok().and_then(|at| LEVELS.get(at)).copied(),
        Value::Float(number) => {
            let is_at = |at: f64| (number - at).abs() < f64::EPSILON;
            [0.0, 1.0, 2.0, 3.0].into_iter().position(is_at).and_then(|at| LEVELS.get(at)).copied()
        }
        Value::Text(word) => LEVELS.into_iter().find(|level| word.eq_ignore_ascii_case(level.as_str())),
        Value::Bool(_) | Value::Bytes(_) => None,
    }
}
