//! One thing that is known of a robot, or not known.

use std::{borrow::Cow, cmp::Ordering};

use muster_protocol::sample::Value;

/// A value that a name has for one robot at one moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact<'a> {
    /// Nobody knows, or there is none.
    Unknown,
    /// True or false.
    Bool(bool),
    /// A whole number; times are nanoseconds since 1970.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Several texts.
    Texts(Vec<Cow<'a, str>>),
}

/// What a member is, wherever it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A moment, in nanoseconds since 1970.
    Time,
    /// A number with a fraction.
    Float,
    /// Text.
    Text,
    /// Several texts.
    Texts,
}

impl Fact<'_> {
    /// Makes a fact of a count; one beyond the greatest signed number stands for that.
    pub(super) fn count(n: u64) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// Makes a fact of what may be unknown.
    pub(super) fn or_unknown(n: Option<i64>) -> Self {
        n.map_or(Self::Unknown, Self::Int)
    }

    /// Returns the fact with texts of its own.
    pub fn into_owned(self) -> Fact<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Unknown => Fact::Unknown,
            Self::Bool(value) => Fact::Bool(value),
            Self::Int(value) => Fact::Int(value),
            Self::Float(value) => Fact::Float(value),
            Self::Text(text) => Fact::Text(owned(text)),
            Self::Texts(texts) => Fact::Texts(texts.into_iter().map(owned).collect()),
        }
    }

    /// Appends bytes that tell this fact from all others: integers and floats of one size are one.
    pub(super) fn write_key(&self, key: &mut Vec<u8>) {
        let mut put = |kind: u8, bytes: &[u8]| {
            key.push(kind);
            key.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            key.extend_from_slice(bytes);
        };
        match self {
            Self::Unknown => put(0, &[]),
            Self::Bool(value) => put(1, &[u8::from(*value)]),
            Self::Int(value) => put(2, value.to_string().as_bytes()),
            // Integers and floats of one size are one, and so are the zeros; this is their text.
            Self::Float(value) if is_whole(*value) => put(2, format!("{}", value + 0.0).as_bytes()),
            Self::Float(value) => put(3, &value.to_bits().to_le_bytes()),
            Self::Text(text) => put(4, text.as_bytes()),
            Self::Texts(texts) => texts.iter().for_each(|text| put(5, text.as_bytes())),
        }
    }

    /// Returns the fact as a number, if it is one and finite.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Float(x) => Some(*x).filter(|x| x.is_finite()),
            _ => None,
        }
    }

    /// Orders facts of all kinds for sorting: false, true; numbers by their size, NaN behind them; then texts. What is
    /// unknown has no place here: it comes last in every direction.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let kind = |fact: &Self| match fact {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Text(_) => 2,
            Self::Texts(_) => 3,
            Self::Unknown => 4,
        };
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => by_size(*a, *b),
            (Self::Int(a), Self::Float(b)) => by_size(*a as f64, *b),
            (Self::Float(a), Self::Int(b)) => by_size(*a, *b as f64),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Texts(a), Self::Texts(b)) => a.cmp(b),
            _ => kind(self).cmp(&kind(other)),
        }
    }
}

impl<'a> From<&'a Value> for Fact<'a> {
    /// Bytes have no value to compare with: they are unknown here.
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Text(value) => Self::Text(Cow::Borrowed(value.as_str())),
            Value::Bytes(_) => Self::Unknown,
        }
    }
}

impl<'a> From<&'a str> for Fact<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// Whether a float is an integer that both kinds can say exactly.
fn is_whole(value: f64) -> bool {
    value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0
}

/// -0.0 and 0.0 are of one size, and every NaN is greater than every number.
fn by_size(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_all_kinds_have_one_order() {
        let ascending = [
            Fact::Bool(false),
            Fact::Bool(true),
            Fact::Float(f64::NEG_INFINITY),
            Fact::Int(-3),
            Fact::Float(-2.5),
            Fact::Int(2),
            Fact::Float(f64::INFINITY),
            Fact::Float(f64::NAN),
            Fact::from("a"),
            Fact::from("b"),
        ];
        for (at, a) in ascending.iter().enumerate() {
            for (place, b) in ascending.iter().enumerate() {
                assert_eq!(a.order(b), at.cmp(&place), "{a:?} {b:?}");
            }
        }
        assert_eq!(Fact::Float(-0.0).order(&Fact::Int(0)), Ordering::Equal);
    }
}
