//! A part of a limit, as it is written: `10%`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::uplink::Share;

/// Whole hundredths, from `0%` to `90%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u8);

/// A text is no such part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a share; write 0% to {MAX}%, as in 10%")]
pub struct ParsePercentError;

/// Most that can be kept: something is left to the rest.
const MAX: u8 = 90;

impl Percent {
    /// Returns it as a part of a limit.
    pub fn share(self) -> Share {
        Share::percent(self.0)
    }
}

impl FromStr for Percent {
    type Err = ParsePercentError;

    fn from_str(text: &str) -> Result<Self, ParsePercentError> {
        let digits = text.trim().strip_suffix('%').ok_or(ParsePercentError)?;
        let number = digits.trim_end().parse().map_err(|_| ParsePercentError)?;
        if number <= MAX { Ok(Self(number)) } else { Err(ParsePercentError) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

impl TryFrom<String> for Percent {
    type Error = ParsePercentError;

    fn try_from(text: String) -> Result<Self, ParsePercentError> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_trip_and_what_leaves_nothing_is_refused() {
        for text in ["0%", "10%", "90%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        for text in ["", "%", "10", "91%", "-1%", "1.5%", "300%"] {
            assert_eq!(text.parse::<Percent>(), Err(ParsePercentError), "{text}");
        }
    }
}
