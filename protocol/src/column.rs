//! A column: the values of one channel in the rows of one shape, all of one type.
//!
//! Decoding goes straight into typed vectors. Text and bytes are ranges of one buffer, so that a constant of many
//! rows is held once. PROTOCOL.md#columns is the specification.

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

/// Texts that share one buffer; equal ones may share their bytes.
#[derive(Clone, Debug, Default)]
pub struct TextValues {
    text: String,
    spans: Vec<Span>,
}

/// Byte strings that share one buffer; equal ones may share their bytes.
#[derive(Clone, Debug, Default)]
pub struct BytesValues {
    bytes: Vec<u8>,
    spans: Vec<Span>,
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

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl ColumnData {
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

impl TextValues {
    /// Returns how many texts there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the text at this place.
    pub fn get(&self, at: usize) -> Option<&str> {
        let span = self.spans.get(at)?;
        self.text.get(span.start as usize..span.end as usize)
    }
}

impl BytesValues {
    /// Returns how many byte strings there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns the bytes at this place.
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let span = self.spans.get(at)?;
        self.bytes.get(span.start as usize..span.end as usize)
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
