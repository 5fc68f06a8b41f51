//! The table of channels that batches refer to, so that names are not repeated in each batch.
//!
//! ```text
//!   version u8 | compression u8 | length before it varint | channels in postcard to the end
//! ```
//!
//! A schema is known by the hash of its encoded form. Whoever receives one computes the hash and never believes one.
//! PROTOCOL.md#schemas is the specification.

mod builder;

pub use self::builder::{SchemaBuilder, SchemaFull};

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    batch::{UnpackError, packed},
    column::{
        ReadError,
        reader::{Reader, put_count},
    },
    id::{ChannelName, SchemaHash},
    limits::{BATCH_BYTES_MAX, SCHEMA_CHANNELS_MAX, SCHEMA_RAW_BYTES_MAX, UNIT_BYTES_MAX},
};

/// The version of the schema format that this crate writes.
pub const SCHEMA_VERSION: u8 = 1;

/// What is known of a channel beside its samples. The type is not: it belongs to each sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelDef {
    /// The name.
    pub name: ChannelName,
    /// The unit of its numbers, such as `V`: 1 to [`UNIT_BYTES_MAX`] bytes without control characters.
    pub unit: Option<String>,
    /// How often a sample is expected, in nanoseconds, if declared.
    pub interval_ns: Option<u64>,
    /// Whether samples come only when the value changes, so that an old one is still right.
    pub on_change: bool,
}

/// An immutable table of channels; a channel's index in it is what batches write. Share it through an
/// [`Arc`](std::sync::Arc).
#[derive(Clone, PartialEq, Eq)]
pub struct Schema {
    channels: Vec<ChannelDef>,
    encoded: Bytes,
    hash: SchemaHash,
}

/// Why channels or bytes are not a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A version that this program does not read.
    #[error("schema version {found}, but this program reads version {SCHEMA_VERSION}; update it")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// A length or count does not read, or is above its limit.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The channels do not decompress.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The channels do not decode.
    #[error("channel {index} of the schema does not decode: {why}")]
    Channel {
        /// Which one, from 0.
        index: usize,
        /// What the decoder says.
        why: String,
    },
    /// There are more channels than allowed.
    #[error("a schema of {count} channels; at most {SCHEMA_CHANNELS_MAX} are allowed")]
    TooManyChannels {
        /// How many there are.
        count: usize,
    },
    /// The encoded form is longer than allowed.
    #[error("a schema of {bytes} bytes; at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// Two channels have one name.
    #[error("channel {name} appears twice in the schema")]
    DuplicateChannel {
        /// The name.
        name: ChannelName,
    },
    /// A unit is empty, too long, or has a control character.
    #[error("the unit of {name} has to have 1 to {UNIT_BYTES_MAX} bytes and no control characters")]
    BadUnit {
        /// The channel.
        name: ChannelName,
    },
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
        check(&channels)?;
        let raw: Vec<u8> = channels.iter().flat_map(raw_channel).collect();
        let encoded = encode(channels.len(), &raw)?;
        Ok(Self { channels, hash: hash(&encoded), encoded })
    }

    /// Decodes a schema and computes its hash. Bytes that are not exactly one schema are refused.
    pub fn decode(bytes: &Bytes) -> Result<Self, SchemaError> {
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(SchemaError::TooLong { bytes: bytes.len(), max: BATCH_BYTES_MAX });
        }
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if version != SCHEMA_VERSION {
            return Err(SchemaError::UnknownVersion { found: version });
        }
        let raw = packed::unpack(&mut reader, SCHEMA_RAW_BYTES_MAX)?;
        reader.finish()?;
        let channels = decode_channels(&raw)?;
        check(&channels)?;
        Ok(Self { channels, encoded: bytes.clone(), hash: hash(bytes) })
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

    /// Returns the encoded form, at most [`BATCH_BYTES_MAX`] bytes.
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Schema({}, {} channels)", self.hash, self.channels.len())
    }
}

fn check(channels: &[ChannelDef]) -> Result<(), SchemaError> {
    if channels.len() > SCHEMA_CHANNELS_MAX {
        return Err(SchemaError::TooManyChannels { count: channels.len() });
    }
    let mut names = HashSet::with_capacity(channels.len());
    for ChannelDef { name, unit, .. } in channels {
        if !names.insert(name) {
            return Err(SchemaError::DuplicateChannel { name: name.clone() });
        }
        if unit.as_deref().is_some_and(|unit| !is_unit(unit)) {
            return Err(SchemaError::BadUnit { name: name.clone() });
        }
    }
    Ok(())
}

/// Returns whether a text may be a unit.
pub(crate) fn is_unit(text: &str) -> bool {
    (1..=UNIT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn raw_channel(channel: &ChannelDef) -> Vec<u8> {
    postcard::to_stdvec(channel).expect("a channel has only lengths that postcard knows")
}

/// Encodes channels that are already in postcard, one after the other.
fn encode(count: usize, channels: &[u8]) -> Result<Bytes, SchemaError> {
    let mut raw = Vec::with_capacity(channels.len() + 2);
    put_count(&mut raw, count);
    raw.extend_from_slice(channels);
    if raw.len() > SCHEMA_RAW_BYTES_MAX {
        return Err(SchemaError::TooLong { bytes: raw.len(), max: SCHEMA_RAW_BYTES_MAX });
    }
    let mut encoded = vec![SCHEMA_VERSION];
    packed::pack(&raw, &mut encoded);
    if encoded.len() > BATCH_BYTES_MAX {
        return Err(SchemaError::TooLong { bytes: encoded.len(), max: BATCH_BYTES_MAX });
    }
    Ok(encoded.into())
}

fn decode_channels(raw: &[u8]) -> Result<Vec<ChannelDef>, SchemaError> {
    let mut reader = Reader::new(raw);
    let count = reader.count("channels", SCHEMA_CHANNELS_MAX)?;
    let mut rest = reader.take_rest();
    let mut channels = Vec::with_capacity(count);
    for index in 0..count {
        let (channel, after) = postcard::take_from_bytes(rest)
            .map_err(|error| SchemaError::Channel { index, why: error.to_string() })?;
        channels.push(channel);
        rest = after;
    }
    Reader::new(rest).finish()?;
    Ok(channels)
}

fn hash(encoded: &[u8]) -> SchemaHash {
    let digest: [u8; 32] = Sha256::digest(encoded).into();
    let (first, _) = digest.as_chunks();
    SchemaHash(first.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests;
