//! Sizes and durations as text with a unit. A number without one is refused: nobody has to guess.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes, written as a whole number with a unit: `512B`, `32KiB`, `4MiB`, `1GiB`, `2TiB`, or decimal `kB`,
/// `MB`, `GB`, `TB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

/// A span of time, written as a whole number with a unit: `250us`, `500ms`, `15s`, `5m`, `2h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

/// A text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write a whole number and a unit, as in 512B, 32KiB, 4MiB or 1GiB")]
pub struct ParseSizeError;

/// A text is not a span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a whole number and a unit, as in 250us, 500ms, 15s, 5m, 2h or 7d")]
pub struct ParseSpanError;

impl Size {
    /// Takes a number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the number of bytes for memory, saturating where an address has fewer bits.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    /// Takes a duration, cut to whole microseconds.
    pub const fn new(duration: Duration) -> Self {
        Self(Duration::new(duration.as_secs(), duration.subsec_micros() * 1000))
    }

    /// Returns the duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        parse(text, SIZE_UNITS).map(Self).ok_or(ParseSizeError)
    }
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        parse(text, SPAN_UNITS).map(|micros| Self(Duration::from_micros(micros))).ok_or(ParseSpanError)
    }
}

impl fmt::Display for Size {
    /// Writes the number with the largest unit that leaves it whole.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, SIZE_UNITS, out)
    }
}

impl fmt::Display for Span {
    /// Writes the number with the largest unit that leaves it whole.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX), SPAN_UNITS, out)
    }
}

impl TryFrom<String> for Size {
    type Error = ParseSizeError;

    fn try_from(text: String) -> Result<Self, ParseSizeError> {
        text.parse()
    }
}

impl TryFrom<String> for Span {
    type Error = ParseSpanError;

    fn try_from(text: String) -> Result<Self, ParseSpanError> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// Reads a whole number and one of the units, with or without a space between them.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes a number with the first unit that divides it; zero gets the first unit of all.
fn write(number: u64, units: &[(&str, u64)], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut shown = units.iter().rev().filter(|_| number > 0).chain(units.first());
    let unit = shown.find(|(_, factor)| number.is_multiple_of(*factor));
    let (name, factor) = unit.expect("the first unit is 1, which divides every number");
    write!(out, "{}{name}", number / factor)
}

/// Ascending, in bytes.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Ascending, in microseconds.
const SPAN_UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1000),
    ("s", 1_000_000),
    ("m", 60 * 1_000_000),
    ("h", 3600 * 1_000_000),
    ("d", 24 * 3600 * 1_000_000),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_shown_with_the_largest_unit_that_leaves_them_whole() {
        for text in ["0B", "512B", "32KiB", "1536KiB", "4MiB", "1GiB", "3TiB", "5kB", "7MB", "64GB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("2048 MiB".parse::<Size>().unwrap().to_string(), "2GiB");
        assert_eq!("1024B".parse::<Size>().unwrap(), Size::from_bytes(1024));
    }

    #[test]
    fn spans_are_shown_with_the_largest_unit_that_leaves_them_whole() {
        for text in ["0us", "250us", "500ms", "1500ms", "15s", "5m", "2h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().duration(), Duration::from_secs(90));
        assert_eq!("120 s".parse::<Span>().unwrap().to_string(), "2m");
    }

    #[test]
    fn a_number_without_a_unit_or_with_a_fraction_a_sign_or_too_many_digits_is_refused() {
        for text in
            ["", "5", "KiB", "1.5GiB", "-1s", "32kib", "5 minutes", "99999999999999999999B", "20000000TiB"]
        {
            assert_eq!(text.parse::<Size>(), Err(ParseSizeError), "{text}");
            assert_eq!(text.parse::<Span>(), Err(ParseSpanError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_size_and_span_round_trips(number: u64) {
            prop_assert_eq!(Size(number).to_string().parse(), Ok(Size(number)));
            let span = Span(Duration::from_micros(number));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
    }
}
