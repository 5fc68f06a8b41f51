//! The keys of one line, in any order.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};

use super::{
    LineError, ParserLimits,
    flatten::{Flatten, Leaves},
};
use crate::{id::Lane, schema::is_unit, time::WallTime};

/// What a line says beside the values of `v`, which are in the leaves.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) t: Option<WallTime>,
    pub(super) ch: Option<String>,
    pub(super) has_value: bool,
    pub(super) lane: Option<Lane>,
    pub(super) unit: Option<String>,
    /// There is a `sync`, with or without other keys.
    pub(super) sync: Option<Alone>,
}

/// Whether a key is the only one of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alone {
    Yes,
    No,
}

/// Reads one line. Its values are left in `leaves`.
pub(super) fn read(text: &str, limits: &ParserLimits, leaves: &mut Leaves) -> Result<Keys, LineError> {
    let mut refused = None;
    let mut at = None;
    let mut input = serde_json::Deserializer::from_str(text);
    let reading = Reading { limits: *limits, leaves, refused: &mut refused, at: &mut at };
    let read = reading.deserialize(&mut input).and_then(|keys| input.end().map(|()| keys));
    read.map_err(|error| refused.unwrap_or_else(|| refusal(&error, at)))
}

/// Says which key a JSON error is about: one of the wrong type is an error of data, all others are errors of syntax.
fn refusal(error: &serde_json::Error, at: Option<Key>) -> LineError {
    let why = error.to_string();
    match at {
        _ if !error.is_data() => LineError::NotJson { why },
        Some(Key::T) => LineError::BadT { why },
        Some(Key::Ch) => LineError::ChNotText { why },
        Some(Key::Lane) => LineError::BadLane { why },
        Some(Key::Unit) => LineError::BadUnit { why },
        Some(Key::Sync) => LineError::BadSync { why },
        Some(Key::V | Key::Other) => LineError::NotJson { why },
        None => LineError::NotObject,
    }
}

/// Reads the object of a line.
struct Reading<'a> {
    limits: ParserLimits,
    leaves: &'a mut Leaves,
    /// The refusal behind a JSON error, if it is one of ours.
    refused: &'a mut Option<LineError>,
    /// The key whose value is being read.
    at: &'a mut Option<Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    T,
    Ch,
    V,
    Lane,
    Unit,
    Sync,
    Other,
}

/// Keys that the line has had, a bit each.
#[derive(Clone, Copy, Default)]
struct Seen(u8);

impl Seen {
    fn has(self, key: Key) -> bool {
        self.0 >> key as u8 & 1 == 1
    }

    fn add(&mut self, key: Key) {
        self.0 |= 1 << key as u8;
    }
}

impl Key {
    const KNOWN: [(&'static str, Self); 6] = [
        ("t", Self::T),
        ("ch", Self::Ch),
        ("v", Self::V),
        ("lane", Self::Lane),
        ("unit", Self::Unit),
        ("sync", Self::Sync),
    ];
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Keys;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Keys, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Keys;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Keys, A::Error> {
        let mut keys = Keys::default();
        let mut seen = Seen::default();
        let mut count = 0;
        while let Some(key) = object.next_key::<Key>()? {
            if let Some((name, _)) = Key::KNOWN.into_iter().find(|(_, known)| *known == key) {
                if seen.has(key) {
                    return Err(self.refuse(LineError::DuplicateKey { key: name }));
                }
                seen.add(key);
            }
            *self.at = Some(key);
            self.read_value(key, &mut keys, &mut object)?;
            count += 1;
        }
        keys.sync = seen.has(Key::Sync).then_some(if count == 1 { Alone::Yes } else { Alone::No });
        Ok(keys)
    }
}

impl Reading<'_> {
    fn refuse<E: Error>(&mut self, why: LineError) -> E {
        *self.refused = Some(why);
        E::custom("refused")
    }

    fn read_value<'de, A: MapAccess<'de>>(
        &mut self,
        key: Key,
        keys: &mut Keys,
        object: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            Key::T => keys.t = object.next_value::<Option<Time>>()?.map(|Time(t)| t),
            Key::Ch => keys.ch = Some(object.next_value()?),
            Key::V => {
                object.next_value_seed(&mut Flatten::new(self.limits, self.leaves, self.refused))?;
                keys.has_value = true;
            }
            Key::Lane => {
                let name: Option<String> = object.next_value()?;
                let lane = name.map(|name| name.parse()).transpose();
                keys.lane = lane.map_err(A::Error::custom)?;
            }
            Key::Unit => {
                keys.unit = object.next_value()?;
                if keys.unit.as_deref().is_some_and(|unit| !is_unit(unit)) {
                    return Err(A::Error::custom("a wrong length or a control character"));
                }
            }
            Key::Sync => object.next_value::<Scalar>().map(drop)?,
            Key::Other => object.next_value::<IgnoredAny>().map(drop)?,
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                let known = Key::KNOWN.into_iter().find(|(known, _)| *known == name);
                Ok(known.map_or(Key::Other, |(_, key)| key))
            }
        }

        input.deserialize_identifier(Name)
    }
}

/// A time as an integer or as text.
struct Time(WallTime);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct IntegerOrText;

        impl Visitor<'_> for IntegerOrText {
            type Value = Time;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an integer of 64 bits or a text")
            }

            fn visit_i64<E: Error>(self, nanos: i64) -> Result<Time, E> {
                Ok(Time(WallTime(nanos)))
            }

            fn visit_u64<E: Error>(self, nanos: u64) -> Result<Time, E> {
                let out_of_range = |_| E::custom(format!("{nanos} is outside the years 1677 to 2262"));
                i64::try_from(nanos).map(|nanos| Time(WallTime(nanos))).map_err(out_of_range)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                if text.len() > TIME_BYTES_MAX {
                    return Err(E::custom(format!("a text of {} bytes", text.len())));
                }
                text.parse().map(Time).map_err(E::custom)
            }
        }

        input.deserialize_any(IntegerOrText)
    }
}

/// A value that is neither an object nor an array. It is only checked: its text is taken from the line.
struct Scalar;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Scalar;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number, a text, true, false or null")
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Scalar, E> {
                Ok(Scalar)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar)
            }

            fn visit_str<E>(self, _: &str) -> Result<Scalar, E> {
                Ok(Scalar)
            }
        }

        input.deserialize_any(Any)
    }
}

/// No time that means anything is longer, and a refusal shows the text.
const TIME_BYTES_MAX: usize = 64;
