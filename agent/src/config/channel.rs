//! What the configuration declares of channels.

use muster_protocol::{glob::Glob, id::Lane, limits::UNIT_BYTES_MAX, settings::Span};
use serde::{Deserialize, Serialize};

use super::AbsentValues;

/// One `[[channel]]`. What is `None` is left to later rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRule {
    /// Which channels.
    #[serde(rename = "match")]
    pub matching: Glob,
    /// The lane of their samples, unless the sample names one.
    pub lane: Option<Lane>,
    /// The unit, unless the sample names one.
    pub unit: Option<Unit>,
    /// How often a sample is expected.
    pub interval: Option<Span>,
    /// Whether samples come only when the value changes.
    pub on_change: Option<bool>,
    /// What the source writes where it has no value.
    pub absent: Option<AbsentValues>,
}

/// A unit of measure, such as `V`: 1 to [`UNIT_BYTES_MAX`] bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit(String);

/// A text is not a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a unit; 1 to {UNIT_BYTES_MAX} bytes without control characters, as in \"V\"")]
pub struct ParseUnitError;

impl Unit {
    /// Returns the unit.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Unit {
    type Error = ParseUnitError;

    fn try_from(text: String) -> Result<Self, ParseUnitError> {
        let fits = (1..=UNIT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(ParseUnitError) }
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.0
    }
}
