//! Flattening `v`: each scalar becomes a leaf with its path, while the JSON is read and without a tree of it.

use std::fmt::{self, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{LineError, ParserLimits};
use crate::{
    limits::{ROW_BYTES_MAX, VALUE_BYTES_MAX, VALUE_DEPTH_MAX},
    sample::Value,
};

/// The scalars of one `v` with their paths, such as `.soc` and `.cells[0]`. Reused from line to line.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    /// The paths, one after the other.
    paths: String,
    /// Where each path ends, and the value.
    values: Vec<(usize, Value)>,
    /// Where the value that is being read stands.
    path: String,
}

/// Reads one `v` into leaves.
pub(super) struct Flatten<'a> {
    limits: ParserLimits,
    leaves: &'a mut Leaves,
    depth: usize,
    raw_bytes: usize,
    refused: &'a mut Option<LineError>,
}

/// Adds an object's key to the path.
struct Key<'a>(&'a mut String);

impl Leaves {
    pub(super) fn clear(&mut self) {
        self.paths.clear();
        self.values.clear();
        self.path.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Takes the values out in the order of the line, each with its path.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (&str, Value)> {
        let (paths, mut start) = (&self.paths, 0);
        self.values.drain(..).map(move |(end, value)| {
            let path = &paths[start..end];
            start = end;
            (path, value)
        })
    }
}

impl<'a> Flatten<'a> {
    /// Starts without leaves. A refusal is left in `refused`, since JSON errors carry only text.
    pub(super) fn new(
        limits: ParserLimits,
        leaves: &'a mut Leaves,
        refused: &'a mut Option<LineError>,
    ) -> Self {
        leaves.clear();
        Self { limits, leaves, depth: 0, raw_bytes: ROW_BYTES, refused }
    }

    fn refuse<E: Error>(&mut self, why: LineError) -> E {
        *self.refused = Some(why);
        E::custom("refused")
    }

    fn leaf<E: Error>(&mut self, value: Value) -> Result<(), E> {
        self.raw_bytes += FIELD_BYTES + value.raw_bytes();
        if self.raw_bytes > ROW_BYTES_MAX {
            return Err(self.refuse(LineError::RowTooLarge));
        }
        self.leaves.paths.push_str(&self.leaves.path);
        self.leaves.values.push((self.leaves.paths.len(), value));
        Ok(())
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > VALUE_DEPTH_MAX { Err(self.refuse(LineError::TooDeep)) } else { Ok(()) }
    }

    fn shown_path(&self) -> String {
        format!("v{}", self.leaves.path).chars().take(PATH_CHARS_SHOWN).collect()
    }
}

impl<'de> DeserializeSeed<'de> for &mut Flatten<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Flatten<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.leaf(Value::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.leaf(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.leaf(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let max = self.limits.text_bytes_max.min(VALUE_BYTES_MAX);
        if value.len() > max {
            let path = self.shown_path();
            return Err(self.refuse(LineError::TextTooLong { path, bytes: value.len(), max }));
        }
        self.leaf(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        self.enter()?;
        let end = self.leaves.path.len();
        for index in 0.. {
            if index == self.limits.array_elements_max {
                // One more may be the end of the array, or an element too many.
                if array.next_element::<serde::de::IgnoredAny>()?.is_none() {
                    break;
                }
                let (path, max) = (self.shown_path(), self.limits.array_elements_max);
                return Err(self.refuse(LineError::ArrayTooLong { path, max }));
            }
            write!(self.leaves.path, "[{index}]").expect("a String takes any text");
            let element = array.next_element_seed(&mut *self)?;
            self.leaves.path.truncate(end);
            if element.is_none() {
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.enter()?;
        let end = self.leaves.path.len();
        while object.next_key_seed(Key(&mut self.leaves.path))?.is_some() {
            object.next_value_seed(&mut *self)?;
            self.leaves.path.truncate(end);
        }
        self.depth -= 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.push('.');
        self.0.push_str(key);
        Ok(())
    }
}

/// What a row costs beside its fields, and a field beside its value, in
/// [`Row::raw_bytes`](crate::sample::Row::raw_bytes).
const ROW_BYTES: usize = 16;
const FIELD_BYTES: usize = 4;

/// How much of a path a refusal shows.
const PATH_CHARS_SHOWN: usize = 80;
