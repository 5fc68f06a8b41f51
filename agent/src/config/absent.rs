//! Values that a source writes where it has none, as `[[channel]] absent` lists them.

use std::cmp::Ordering;

use muster_protocol::sample::Value;
use serde::{Deserialize, Serialize};

/// Values of one rule. Each sample is compared with each of them, and a source has a few such words at most.
pub const ABSENT_VALUES_MAX: usize = 64;

/// The values of one rule, at most [`ABSENT_VALUES_MAX`]. An empty list says that every value of the channel is one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<AbsentValue>", into = "Vec<AbsentValue>")]
pub struct AbsentValues(Vec<AbsentValue>);

/// A value that stands for none, as the configuration writes it. TOML has the words `nan` and `inf`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AbsentValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
}

/// More values than a rule may list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{count} values; a rule lists at most {ABSENT_VALUES_MAX}: leave out what the source never writes")]
pub struct TooManyAbsentValues {
    /// How many were listed.
    pub count: usize,
}

impl AbsentValues {
    /// Returns whether a sample with this value is none.
    pub fn hold(&self, value: &Value) -> bool {
        self.0.iter().any(|absent| absent.is(value))
    }
}

impl AbsentValue {
    /// Returns whether it is this value. Numbers compare exactly by what they are worth, whatever their type: `-1` is
    /// also `-1.0`, and `0.0` also `-0.0`. NaN is every NaN. A text is never a number.
    pub fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Int(a), Value::Int(b)) => a == b,
            (Self::Float(a), Value::Float(b)) => {
                a.partial_cmp(b) == Some(Ordering::Equal) || a.is_nan() && b.is_nan()
            }
            (Self::Int(int), Value::Float(float)) | (Self::Float(float), Value::Int(int)) => {
                is_worth(*float, *int)
            }
            (Self::Text(a), Value::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for AbsentValue {
    /// Compares what is written: `1` is not `1.0` here, and NaN is itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for AbsentValue {}

impl TryFrom<Vec<AbsentValue>> for AbsentValues {
    type Error = TooManyAbsentValues;

    fn try_from(values: Vec<AbsentValue>) -> Result<Self, TooManyAbsentValues> {
        let count = values.len();
        if count > ABSENT_VALUES_MAX { Err(TooManyAbsentValues { count }) } else { Ok(Self(values)) }
    }
}

impl From<AbsentValues> for Vec<AbsentValue> {
    fn from(values: AbsentValues) -> Self {
        values.0
    }
}

/// Whether a float is worth exactly this integer; neither is rounded.
fn is_worth(float: f64, int: i64) -> bool {
    // The first float above every i64.
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within the bounds of an i64")]
    let same = || float as i64 == int;
    (-END..END).contains(&float) && float.fract() == 0.0 && same()
}

#[cfg(test)]
mod tests {
    use super::*;

    use AbsentValue::{Bool, Float, Int, Text};

    #[test]
    fn numbers_are_compared_exactly_and_whatever_their_type() {
        assert!(Float(255.996_093_75).is(&Value::Float(255.996_093_75)));
        assert!(!Float(255.996_093_75).is(&Value::Float(255.996_093_8)));
        for (absent, value) in [
            (Int(-1), Value::Float(-1.0)),
            (Float(-1.0), Value::Int(-1)),
            (Float(0.0), Value::Float(-0.0)),
            (Int(0), Value::Float(-0.0)),
            (Int(i64::MIN), Value::Float(-9_223_372_036_854_775_808.0)),
            (Float(f64::INFINITY), Value::Float(f64::INFINITY)),
        ] {
            assert!(absent.is(&value), "{absent:?} {value:?}");
        }
        for (absent, value) in [
            (Int(1), Value::Float(1.5)),
            (Int(i64::MAX), Value::Float(9_223_372_036_854_775_808.0)),
            // Rounded, the integer would be the float.
            (Float(9_007_199_254_740_992.0), Value::Int(9_007_199_254_740_993)),
            (Float(f64::INFINITY), Value::Float(f64::NEG_INFINITY)),
            (Int(0), Value::Float(f64::NAN)),
            (Float(f64::NAN), Value::Int(0)),
        ] {
            assert!(!absent.is(&value), "{absent:?} {value:?}");
        }
    }

    #[test]
    fn nan_is_every_nan() {
        let other = f64::from_bits(f64::NAN.to_bits() ^ 0x8000_0000_0000_1234);
        assert!(other.is_nan() && Float(f64::NAN).is(&Value::Float(other)));
        assert!(!Float(f64::NAN).is(&Value::Float(f64::INFINITY)));
    }

    #[test]
    fn texts_and_flags_are_compared_exactly_and_are_no_numbers() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert!(Text("n/a".into()).is(&text("n/a")));
        assert!(!Text("n/a".into()).is(&text("N/A")) && !Text(String::new()).is(&text(" ")));
        assert!(Bool(false).is(&Value::Bool(false)) && !Bool(false).is(&Value::Int(0)));
        assert!(!Text("-1".into()).is(&Value::Int(-1)) && !Int(-1).is(&text("-1")));
        assert!(!Text("x".into()).is(&Value::Bytes(b"x".to_vec())));
    }
}
