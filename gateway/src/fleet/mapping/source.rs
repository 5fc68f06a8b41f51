//! What a mapping names: a channel and how to read its numbers.

use std::{fmt, str::FromStr};

use muster_protocol::id::{ChannelName, ParseIdError};
use serde::{Deserialize, Serialize};

/// A channel, and by how much its numbers are multiplied: `battery.percent*0.01`. Without a factor a declared unit
/// decides, where it is one that `Quantity` knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    /// The channel.
    pub channel: ChannelName,
    /// What its numbers are multiplied by.
    pub factor: Option<f64>,
}

/// A heading: one channel that says it, or the four of an orientation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Heading {
    /// Radians.
    Angle(Source),
    /// The x, y, z and w of a quaternion; written as one name with `{}` in the place of that letter.
    Quaternion([ChannelName; 4]),
}

/// The name of a map: a channel that says it, or the name itself behind a `=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Frame {
    /// A channel of texts.
    Channel(ChannelName),
    /// The map's name.
    Name(String),
}

/// What a number measures, and so which declared units are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A part of a whole, from 0 to 1.
    Fraction,
    /// An angle in degrees, as latitudes are told.
    Degrees,
    /// An angle in radians.
    Radians,
    /// A length in metres.
    Metres,
    /// Anything: taken as it is.
    Plain,
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParseSourceError {
    /// The channel's name is not one.
    #[error(transparent)]
    Name(#[from] ParseIdError),
    /// Nothing can be read through this factor.
    #[error(
        "`{text}` multiplies by {factor}: give a factor that is finite and not 0, as in battery.percent*0.01"
    )]
    Factor {
        /// What was given.
        text: String,
        /// The factor.
        factor: f64,
    },
    /// There is no name behind the `=`.
    #[error("`=` names no map: write one behind it, as in =hall-3")]
    NoMap,
}

impl Quantity {
    /// Returns what numbers of a declared unit are multiplied by. Units are those of UCUM and of everyday use; of
    /// another one nothing is known, and numbers are taken as they are.
    pub(super) fn factor(self, unit: Option<&str>) -> f64 {
        match (self, unit.unwrap_or_default()) {
            (Self::Fraction, "%") | (Self::Metres, "cm") => 0.01,
            (Self::Radians, "deg" | "°") => f64::to_radians(1.0),
            (Self::Degrees, "rad") => f64::to_degrees(1.0),
            (Self::Metres, "mm") => 0.001,
            (Self::Metres, "km") => 1000.0,
            _ => 1.0,
        }
    }
}

impl FromStr for Source {
    type Err = ParseSourceError;

    /// What stands behind the last `*` is the factor if it is a number; else it belongs to the channel's name.
    fn from_str(text: &str) -> Result<Self, ParseSourceError> {
        let split =
            text.rsplit_once('*').and_then(|(name, factor)| Some((name, factor.trim().parse().ok()?)));
        let (name, factor): (&str, Option<f64>) = match split {
            Some((name, factor)) => (name.trim_end(), Some(factor)),
            None => (text, None),
        };
        match factor.filter(|factor| !factor.is_finite() || *factor == 0.0) {
            Some(factor) => Err(ParseSourceError::Factor { text: text.to_owned(), factor }),
            None => Ok(Self { channel: ChannelName::new(name)?, factor }),
        }
    }
}

impl FromStr for Heading {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, ParseSourceError> {
        if !text.contains(PLACE) {
            return Ok(Self::Angle(text.parse()?));
        }
        let [x, y, z, w] = AXES.map(|axis| ChannelName::new(&text.replacen(PLACE, axis, 1)));
        Ok(Self::Quaternion([x?, y?, z?, w?]))
    }
}

impl FromStr for Frame {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, ParseSourceError> {
        match text.strip_prefix('=') {
            Some("") => Err(ParseSourceError::NoMap),
            Some(name) => Ok(Self::Name(name.to_owned())),
            None => Ok(Self::Channel(ChannelName::new(text)?)),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.channel.as_str())?;
        self.factor.map_or(Ok(()), |factor| write!(out, "*{factor}"))
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Angle(source) => source.fmt(out),
            Self::Quaternion([x, .., w]) => {
                let same = x.as_str().bytes().zip(w.as_str().bytes()).take_while(|(x, w)| x == w).count();
                let (before, after) = x.as_str().split_at(same);
                write!(out, "{before}{PLACE}{}", after.strip_prefix(AXES[0]).unwrap_or(after))
            }
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => out.write_str(channel.as_str()),
            Self::Name(name) => write!(out, "={name}"),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = ParseSourceError;

    fn try_from(text: String) -> Result<Self, ParseSourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Heading {
    type Error = ParseSourceError;

    fn try_from(text: String) -> Result<Self, ParseSourceError> {
        text.parse()
    }
}

impl From<Heading> for String {
    fn from(heading: Heading) -> Self {
        heading.to_string()
    }
}

impl TryFrom<String> for Frame {
    type Error = ParseSourceError;

    fn try_from(text: String) -> Result<Self, ParseSourceError> {
        text.parse()
    }
}

impl From<Frame> for String {
    fn from(frame: Frame) -> Self {
        frame.to_string()
    }
}

/// What stands for the letter of an axis.
const PLACE: &str = "{}";

/// The parts of a quaternion, as their channels' names have them.
const AXES: [&str; 4] = ["x", "y", "z", "w"];
