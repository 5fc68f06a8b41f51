//! The two clocks of a robot, as values. Nothing here asks a clock: the caller says what time it is.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Wall-clock time in nanoseconds since the Unix epoch. Spans the years 1677 to 2262.
///
/// It may step, run backwards or start in 1970: it is data, never identity, and never decides a timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

/// Monotonic time in nanoseconds since an origin that one process (for timeouts) or one boot (in batches) shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MonoTime(pub u64);

impl WallTime {
    /// Returns `self - earlier` in nanoseconds, saturating at the ends of the range.
    pub fn nanos_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns this time moved by `nanos`, saturating at the ends of the range.
    #[must_use]
    pub fn shifted(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

impl MonoTime {
    /// Returns the time that passed since `earlier`, or zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for MonoTime {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for WallTime {
    /// Writes RFC 3339 in UTC with nanoseconds.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time =
            time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0)).map_err(|_| fmt::Error)?;
        let text = time.format(&time::format_description::well_known::Rfc3339).map_err(|_| fmt::Error)?;
        out.write_str(&text)
    }
}

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeError {
    /// The text is not RFC 3339, as in `2026-03-01T12:00:00.5Z`.
    #[error("`{text}` is not an RFC 3339 time such as 2026-03-01T12:00:00.5Z")]
    Format {
        /// What was given.
        text: String,
    },
    /// The time does not fit into nanoseconds since 1970 as a signed 64-bit integer.
    #[error("`{text}` is outside the years 1677 to 2262")]
    Range {
        /// What was given.
        text: String,
    },
}

impl std::str::FromStr for WallTime {
    type Err = ParseTimeError;

    /// Parses RFC 3339 with any offset and up to nanoseconds.
    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339)
            .map_err(|_| ParseTimeError::Format { text: text.to_owned() })?;
        let nanos = i64::try_from(time.unix_timestamp_nanos())
            .map_err(|_| ParseTimeError::Range { text: text.to_owned() })?;
        Ok(Self(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_round_trips_to_the_nanosecond() {
        let time: WallTime = "2013-10-11T21:11:32.966203289+02:00".parse().unwrap();
        assert_eq!(time, WallTime(1_381_518_692_966_203_289));
        assert_eq!(time.to_string().parse::<WallTime>().unwrap(), time);
    }

    #[test]
    fn a_time_beyond_64_bits_of_nanoseconds_is_refused() {
        assert!(matches!("9999-01-01T00:00:00Z".parse::<WallTime>(), Err(ParseTimeError::Range { .. })));
    }
}
