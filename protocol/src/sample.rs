//! A sample: one value of one channel at one time; and a row: the samples of one line, which stay together.

use serde::{Deserialize, Serialize};

use crate::{id::ChannelName, id::Lane, time::WallTime};

/// One value. The type belongs to the sample: a channel may change it.
///
/// Floats compare by their bits here, so that NaN equals itself and `-0.0` differs from `0.0`: telemetry is
/// delivered bit for bit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float, any bits.
    Float(f64),
    /// Text of at most [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX) bytes.
    Text(String),
    /// Bytes, at most [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX).
    Bytes(Vec<u8>),
}

/// The type of a [`Value`]; the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueType {
    /// [`Value::Bool`]
    Bool = 0,
    /// [`Value::Int`]
    Int = 1,
    /// [`Value::Float`]
    Float = 2,
    /// [`Value::Text`]
    Text = 3,
    /// [`Value::Bytes`]
    Bytes = 4,
}

/// Who gave a row its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StampedBy {
    /// The line had no `t`; the agent (or, for plain JSON over MQTT, the gateway) stamped it on arrival.
    Agent,
    /// The line carried its own `t`; it is kept as it came.
    Input,
}

/// The samples of one line: one time, one or more channels. Never split in state or push.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The row's time; `None` until whoever accepts it stamps it.
    pub t: Option<WallTime>,
    /// The lane that the line asked for; `None` for the configured or default one.
    pub lane: Option<Lane>,
    /// The unit that the line declared for its channels, such as `V`.
    pub unit: Option<String>,
    /// At least one channel with its value, in the order of the line; a channel may repeat.
    pub fields: Vec<(ChannelName, Value)>,
}

impl Value {
    /// Returns the type.
    pub fn kind(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Int(_) => ValueType::Int,
            Self::Float(_) => ValueType::Float,
            Self::Text(_) => ValueType::Text,
            Self::Bytes(_) => ValueType::Bytes,
        }
    }

    /// Returns what the value costs uncompressed, in bytes: the measure of every limit on rows.
    pub fn raw_bytes(&self) -> usize {
        match self {
            Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 8,
            Self::Text(text) => text.len() + 4,
            Self::Bytes(bytes) => bytes.len() + 4,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl ValueType {
    /// Returns the type with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Bool, Self::Int, Self::Float, Self::Text, Self::Bytes].get(usize::from(number)).copied()
    }
}

impl Row {
    /// Returns what the row costs uncompressed, in bytes; at most [`ROW_BYTES_MAX`](crate::limits::ROW_BYTES_MAX)
    /// in a batch.
    pub fn raw_bytes(&self) -> usize {
        const PER_ROW: usize = 16;
        const PER_FIELD: usize = 4;
        PER_ROW + self.fields.iter().map(|(_, value)| PER_FIELD + value.raw_bytes()).sum::<usize>()
    }
}
