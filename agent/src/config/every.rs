//! How often something is done that can be left alone: a time, or `none`.

use std::{fmt, str::FromStr, time::Duration};

use muster_protocol::settings::Span;
use serde::{Deserialize, Serialize};

/// A time between two of something, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Every(Option<Span>);

/// A text is neither a time nor `none`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a duration as in \"60s\" nor \"none\"")]
pub struct ParseEveryError;

const NONE: &str = "none";

impl Every {
    /// Never.
    pub const NEVER: Self = Self(None);

    /// Returns the time; `None` if it is not done.
    pub fn span(self) -> Option<Duration> {
        self.0.map(Span::duration)
    }
}

impl FromStr for Every {
    type Err = ParseEveryError;

    fn from_str(text: &str) -> Result<Self, ParseEveryError> {
        match text.trim() {
            NONE => Ok(Self::NEVER),
            span => span.parse().map(|span| Self(Some(span))).map_err(|_| ParseEveryError),
        }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(span) => span.fmt(out),
            None => out.write_str(NONE),
        }
    }
}

impl TryFrom<String> for Every {
    type Error = ParseEveryError;

    fn try_from(text: String) -> Result<Self, ParseEveryError> {
        text.parse()
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_none_and_nothing_else() {
        assert_eq!("none".parse(), Ok(Every::NEVER));
        assert_eq!("90s".parse::<Every>().unwrap().span(), Some(Duration::from_secs(90)));
        for text in ["", "never", "0", "-1s", "10"] {
            assert_eq!(text.parse::<Every>(), Err(ParseEveryError), "{text}");
        }
        for text in ["none", "10s"] {
            assert_eq!(text.parse::<Every>().unwrap().to_string(), text);
        }
    }
}
