//! The values of a column: owned, as a range of rows, and one at a time.

use std::ops::Range;

use super::{BlobSlice, BytesValues, TextValues};
use crate::sample::{Value, ValueType};

/// Values of one type, in the order of the group's rows.
#[derive(Clone, Debug)]
pub enum ColumnData {
    /// Truth values.
    Bool(Vec<bool>),
    /// Integers.
    Int(Vec<i64>),
    /// Floats, bit for bit.
    Float(Vec<f64>),
    /// Texts.
    Text(TextValues),
    /// Byte strings.
    Bytes(BytesValues),
}

/// A range of a column's rows, to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ColumnSlice<'a> {
    Bool(&'a [bool]),
    Int(&'a [i64]),
    Float(&'a [f64]),
    Text(BlobSlice<'a>),
    Bytes(BlobSlice<'a>),
}

/// One value, borrowed from a column.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float, any bits.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

impl ColumnData {
    /// Starts a column of this type without values.
    pub(crate) fn empty(kind: ValueType) -> Self {
        match kind {
            ValueType::Bool => Self::Bool(Vec::new()),
            ValueType::Int => Self::Int(Vec::new()),
            ValueType::Float => Self::Float(Vec::new()),
            ValueType::Text => Self::Text(TextValues::default()),
            ValueType::Bytes => Self::Bytes(BytesValues::default()),
        }
    }

    /// Appends a value of the column's type.
    pub(crate) fn push(&mut self, value: &Value) {
        match (self, value) {
            (Self::Bool(values), Value::Bool(value)) => values.push(*value),
            (Self::Int(values), Value::Int(value)) => values.push(*value),
            (Self::Float(values), Value::Float(value)) => values.push(*value),
            (Self::Text(values), Value::Text(value)) => values.push(value),
            (Self::Bytes(values), Value::Bytes(value)) => values.push(value),
            (column, value) => {
                unreachable!("a {:?} pushed to {:?}: rows are grouped by type", value.kind(), column.kind())
            }
        }
    }

    /// Returns these rows of the column.
    ///
    /// # Panics
    /// If the column does not have them.
    pub(crate) fn slice(&self, rows: Range<usize>) -> ColumnSlice<'_> {
        match self {
            Self::Bool(values) => ColumnSlice::Bool(&values[rows]),
            Self::Int(values) => ColumnSlice::Int(&values[rows]),
            Self::Float(values) => ColumnSlice::Float(&values[rows]),
            Self::Text(values) => ColumnSlice::Text(values.slice(rows)),
            Self::Bytes(values) => ColumnSlice::Bytes(values.slice(rows)),
        }
    }

    /// Returns the type of all values.
    pub fn kind(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
            Self::Bytes(_) => ValueType::Bytes,
        }
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value at this place.
    pub fn get(&self, at: usize) -> Option<ValueRef<'_>> {
        match self {
            Self::Bool(values) => values.get(at).map(|value| ValueRef::Bool(*value)),
            Self::Int(values) => values.get(at).map(|value| ValueRef::Int(*value)),
            Self::Float(values) => values.get(at).map(|value| ValueRef::Float(*value)),
            Self::Text(values) => values.get(at).map(ValueRef::Text),
            Self::Bytes(values) => values.get(at).map(ValueRef::Bytes),
        }
    }
}

impl ColumnSlice<'_> {
    pub(crate) fn kind(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
            Self::Bytes(_) => ValueType::Bytes,
        }
    }
}

impl ValueRef<'_> {
    /// Returns the type.
    pub fn kind(self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
            Self::Bytes(_) => ValueType::Bytes,
        }
    }

    /// Returns the value with a copy of its text or bytes.
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Bytes(value) => Value::Bytes(value.to_owned()),
        }
    }
}
