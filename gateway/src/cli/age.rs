//! An age as an operator types it: `30d`, or the time since when.

use std::str::FromStr;

use muster_protocol::{
    settings::Span,
    time::{ParseTimeError, WallTime},
};

/// A point in time: some time before now, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Nanoseconds before now.
    Ago(i64),
    /// A time.
    At(WallTime),
}

/// A text is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseAgeError {
    /// It looks like no time.
    #[error("not a time; write how long ago, as in 30d, or RFC 3339, as in 2026-03-01T12:00:00Z")]
    Format,
    /// It does not fit.
    #[error(transparent)]
    Range(ParseTimeError),
}

impl Age {
    /// Returns the time, given now.
    pub(super) fn resolve(self, now: WallTime) -> WallTime {
        match self {
            Self::Ago(nanos) => now.shifted(-nanos),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Age {
    type Err = ParseAgeError;

    fn from_str(text: &str) -> Result<Self, ParseAgeError> {
        if let Ok(span) = text.parse::<Span>() {
            let nanos = i64::try_from(span.duration().as_nanos());
            return nanos.map(Self::Ago).map_err(|_| ParseAgeError::Format);
        }
        text.parse().map(Self::At).map_err(|error| match error {
            ParseTimeError::Format { .. } => ParseAgeError::Format,
            range @ ParseTimeError::Range { .. } => ParseAgeError::Range(range),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_are_told_apart() {
        let now = WallTime(100_000_000_000);
        assert_eq!("90s".parse::<Age>().unwrap().resolve(now), WallTime(10_000_000_000));
        assert_eq!("1970-01-01T00:00:01Z".parse::<Age>().unwrap().resolve(now), WallTime(1_000_000_000));
        assert_eq!("yesterday".parse::<Age>(), Err(ParseAgeError::Format));
    }
}
