//! 64-bit integers and times, which know whether they are quoted: JavaScript's numbers hold only 53 bits.

use muster_protocol::{id::Offset, time::WallTime};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type},
    },
};

/// How 64-bit integers and times are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Ints {
    /// As numbers.
    Numbers,
    /// In quotes.
    Strings,
}

/// A count, an offset or another 64-bit number that is never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Count {
    n: u64,
    ints: Ints,
}

/// A signed 64-bit integer: mostly a time, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Time {
    nanos: i64,
    ints: Ints,
}

impl Ints {
    /// Returns a count.
    pub(in crate::http) fn count(self, n: u64) -> Count {
        Count { n, ints: self }
    }

    /// Returns an offset.
    pub(in crate::http) fn offset(self, offset: Offset) -> Count {
        self.count(offset.0)
    }

    /// Returns a time.
    pub(in crate::http) fn time(self, t: WallTime) -> Time {
        Time { nanos: t.0, ints: self }
    }

    /// Prints a 64-bit integer, signed or not.
    pub(super) fn print<S: Serializer>(self, n: impl Into<i128>, to: S) -> Result<S::Ok, S::Error> {
        let n = n.into();
        match (self, u64::try_from(n)) {
            (Self::Strings, _) => to.collect_str(&n),
            (Self::Numbers, Ok(n)) => to.serialize_u64(n),
            (Self::Numbers, Err(_)) => to.serialize_i64(i64::try_from(n).expect("64 bits and a sign")),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.ints.print(self.n, to)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.ints.print(self.nanos, to)
    }
}

impl PartialSchema for Count {
    fn schema() -> RefOr<Schema> {
        let meaning = "A 64-bit number that is never negative; in quotes with `?int64=string`.";
        integer(meaning).minimum(Some(0)).pattern(Some("^[0-9]+$")).examples([84010]).build().into()
    }
}

impl ToSchema for Count {}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let meaning = "Nanoseconds since 1970-01-01 00:00 UTC; in quotes with `?int64=string`.";
        let example = 1_770_000_000_123_456_789_i64;
        integer(meaning).pattern(Some("^-?[0-9]+$")).examples([example]).build().into()
    }
}

impl ToSchema for Time {}

fn integer(meaning: &str) -> ObjectBuilder {
    Object::builder()
        .schema_type(SchemaType::Array(vec![Type::Integer, Type::String]))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .description(Some(meaning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact_and_quoted_if_asked() {
        let printed = |ints: Ints| {
            let max = serde_json::to_string(&ints.count(u64::MAX)).unwrap();
            max + " " + &serde_json::to_string(&ints.time(WallTime(i64::MIN))).unwrap()
        };
        assert_eq!(printed(Ints::Numbers), "18446744073709551615 -9223372036854775808");
        assert_eq!(printed(Ints::Strings), "\"18446744073709551615\" \"-9223372036854775808\"");
    }
}
