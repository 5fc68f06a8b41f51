//! Times as an operator types them, and spans as an operator reads them.
//!
//! A relative time counts back from the gateway's clock, not from this machine's: ages are the gateway's too, so `-15m`
//! means the same fifteen minutes that the tables show.

use std::str::FromStr;

use muster_protocol::{
    settings::Span,
    time::{ParseTimeError, WallTime},
};

/// A point in time as typed: absolute, or some time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// RFC 3339 or integer nanoseconds.
    At(WallTime),
    /// Nanoseconds before now.
    Ago(i64),
}

/// Why a text is not a [`When`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseWhenError {
    /// It is none of the three ways to write a time.
    #[error(
        "`{text}` is not a time: write RFC 3339 (2026-03-01T12:00:00Z), how long ago (-90s, -15m, -2h, -7d), or nanoseconds since 1970"
    )]
    Format {
        /// What was given.
        text: String,
    },
    /// It is a date that does not fit.
    #[error(transparent)]
    Range(ParseTimeError),
}

impl When {
    /// Returns the absolute time, given the gateway's now.
    pub fn resolve(self, now: WallTime) -> WallTime {
        match self {
            Self::At(time) => time,
            Self::Ago(nanos) => now.shifted(-nanos),
        }
    }
}

impl FromStr for When {
    type Err = ParseWhenError;

    fn from_str(text: &str) -> Result<Self, ParseWhenError> {
        let wrong = || ParseWhenError::Format { text: text.to_owned() };
        if text == "now" {
            return Ok(Self::Ago(0));
        }
        if let Some(span) = text.strip_prefix('-') {
            let span = span.parse::<Span>().map_err(|_| wrong())?.duration();
            return i64::try_from(span.as_nanos()).map(Self::Ago).map_err(|_| wrong());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(|nanos| Self::At(WallTime(nanos))).map_err(|_| wrong());
        }
        match text.parse() {
            Ok(time) => Ok(Self::At(time)),
            Err(error @ ParseTimeError::Range { .. }) => Err(ParseWhenError::Range(error)),
            Err(ParseTimeError::Format { .. }) => Err(wrong()),
        }
    }
}

/// Writes an age in milliseconds as a person says it: `3.2 s ago`, `4 min ago`, `in 2.0 s`.
pub fn age(age_ms: i64) -> String {
    match age_ms {
        0.. => format!("{} ago", span(age_ms.unsigned_abs())),
        _ => format!("in {}", span(age_ms.unsigned_abs())),
    }
}

/// Writes a span in milliseconds with the two units that matter at its size.
pub fn span(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000..172_800_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", hours / 24, hours % 24),
    }
}

/// Writes a count with separators between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a count of samples.
pub fn samples(number: u64) -> String {
    match number {
        1 => "1 sample".to_owned(),
        _ => format!("{} samples", count(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_counts_back_from_the_gateways_now() {
        let now = WallTime(1_000_000_000_000);
        for (text, nanos) in [
            ("now", 1_000_000_000_000),
            ("-15m", 100_000_000_000),
            ("-1500ms", 998_500_000_000),
            ("42", 42),
            ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ] {
            assert_eq!(text.parse::<When>().unwrap().resolve(now), WallTime(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_three_ways_to_write_one() {
        for text in [
            "",
            "-",
            "-15",
            "-m",
            "-15x",
            "-99999999999999999999s",
            "99999999999999999999",
            "yesterday",
            "--1m",
        ] {
            let error = text.parse::<When>().unwrap_err().to_string();
            assert!(error.contains("RFC 3339") && error.contains("-15m"), "{text}: {error}");
        }
    }

    #[test]
    fn ages_read_as_a_person_says_them() {
        for (ms, text) in [
            (0, "0 ms ago"),
            (3_210, "3.2 s ago"),
            (-2_000, "in 2.0 s"),
            (240_000, "4 min 0 s ago"),
            (7_800_000, "2 h 10 min ago"),
            (200_000_000, "2 d 7 h ago"),
        ] {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn counts_have_thousands() {
        assert_eq!((count(0), count(999), count(1_000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((samples(1), samples(2000)), ("1 sample".into(), "2,000 samples".into()));
    }
}
