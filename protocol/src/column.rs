//! A column: the values of one field in the rows of one shape, all of one type.
//!
//! ```text
//!   type and codec u8 | length varint | bytes of the codec
//! ```
//!
//! The upper three bits of the first byte are the type, the lower five the codec, so that better codecs come without
//! a new version of the wire. The encoder picks a codec by a cheap look at the values; the choice changes the size
//! and never the values: every bit comes back, those of NaNs too.
//!
//! Decoding goes straight into typed vectors. Text and bytes are spans of one buffer, so that what repeats is held
//! once: a decoded column is never larger than its bytes plus 8 bytes a row. PROTOCOL.md#columns is the specification.

mod bits;
mod blobs;
mod decimal;
mod delta;
mod dictionary;
mod float;
mod int;
pub(crate) mod reader;
mod value;
mod xor;

pub(crate) use self::{blobs::BlobSlice, value::ColumnSlice};
pub use self::{
    blobs::{BytesValues, TextValues},
    reader::ReadError,
    value::{ColumnData, ValueRef},
};

use self::reader::{Reader, put_count};
use crate::{limits::BATCH_RAW_BYTES_MAX, sample::ValueType};

/// How a column's values are written; the number is the one on the wire. New codecs are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Each value by itself.
    Plain = 0,
    /// One value for all rows.
    Constant = 1,
    /// Differences of neighbours.
    Delta = 2,
    /// Differences of differences.
    DeltaOfDelta = 3,
    /// Bits that differ from the value before, by byte planes.
    Xor = 4,
    /// The distinct values once, then which one each row has.
    Dictionary = 5,
    /// Floats that are short decimals, as integers at one power of ten.
    Decimal = 6,
}

/// Why bytes are not a column of as many values as its group has rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A length, count or value does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The first byte names a type that this version does not have.
    #[error("unknown value type {number}")]
    UnknownType {
        /// The number found.
        number: u8,
    },
    /// The first byte names a codec that this version does not have, at least for this type.
    #[error("unknown codec {number} for {kind:?} values")]
    UnknownCodec {
        /// The number found.
        number: u8,
        /// The type found.
        kind: ValueType,
    },
    /// The column is of another type than its place asks for.
    #[error("{found:?} values where {expected:?} ones belong")]
    WrongType {
        /// The type that belongs there.
        expected: ValueType,
        /// The type found.
        found: ValueType,
    },
    /// A row refers to a dictionary entry that is not there.
    #[error("dictionary entry {entry} of {entries}")]
    NoSuchEntry {
        /// The entry referred to.
        entry: usize,
        /// The entries there are.
        entries: usize,
    },
    /// Text is not UTF-8, or a text starts inside a character.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A truth value is neither 0 nor 1, or padding bits are set.
    #[error("a byte of truth values is {found:#04x}")]
    BadBits {
        /// The byte found.
        found: u8,
    },
    /// A power of ten is beyond what a float has.
    #[error("decimal places {places}")]
    BadPlaces {
        /// The places found.
        places: u8,
    },
}

impl Codec {
    const ALL: [Self; 7] = [
        Self::Plain,
        Self::Constant,
        Self::Delta,
        Self::DeltaOfDelta,
        Self::Xor,
        Self::Dictionary,
        Self::Decimal,
    ];
}

/// Appends a column.
pub(crate) fn encode(values: &ColumnSlice<'_>, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    let codec = match values {
        ColumnSlice::Bool(values) => bits::encode(values, &mut bytes),
        ColumnSlice::Int(values) => int::encode(values, &mut bytes),
        ColumnSlice::Float(values) => float::encode(values, &mut bytes),
        ColumnSlice::Text(values) | ColumnSlice::Bytes(values) => blobs::encode(values, &mut bytes),
    };
    out.push((values.kind() as u8) << CODEC_BITS | codec as u8);
    put_count(out, bytes.len());
    out.extend_from_slice(&bytes);
}

/// Reads a column of `rows` values. The caller has bounded `rows`: that many values are allocated.
pub(crate) fn decode(reader: &mut Reader<'_>, rows: usize) -> Result<ColumnData, ColumnError> {
    let head = reader.byte()?;
    let number = head >> CODEC_BITS;
    let kind = ValueType::from_wire(number).ok_or(ColumnError::UnknownType { number })?;
    let number = head & CODEC_MASK;
    let unknown = ColumnError::UnknownCodec { number, kind };
    let codec = Codec::ALL.get(usize::from(number)).copied().ok_or(unknown)?;
    let length = reader.count("bytes of a column", BATCH_RAW_BYTES_MAX)?;
    let mut bytes = Reader::new(reader.take(length)?);
    let data = match kind {
        ValueType::Bool => bits::decode(codec, &mut bytes, rows)?.map(ColumnData::Bool),
        ValueType::Int => int::decode(codec, &mut bytes, rows)?.map(ColumnData::Int),
        ValueType::Float => float::decode(codec, &mut bytes, rows)?.map(ColumnData::Float),
        ValueType::Text => {
            blobs::decode(codec, &mut bytes, rows)?.map(TextValues::new).transpose()?.map(ColumnData::Text)
        }
        ValueType::Bytes => blobs::decode(codec, &mut bytes, rows)?.map(ColumnData::Bytes),
    };
    bytes.finish()?;
    data.ok_or(unknown)
}

/// Reads a column of integers.
pub(crate) fn decode_ints(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<i64>, ColumnError> {
    match decode(reader, rows)? {
        ColumnData::Int(values) => Ok(values),
        other => Err(ColumnError::WrongType { expected: ValueType::Int, found: other.kind() }),
    }
}

/// Reads a column of truth values.
pub(crate) fn decode_bools(reader: &mut Reader<'_>, rows: usize) -> Result<Vec<bool>, ColumnError> {
    match decode(reader, rows)? {
        ColumnData::Bool(values) => Ok(values),
        other => Err(ColumnError::WrongType { expected: ValueType::Bool, found: other.kind() }),
    }
}

const CODEC_BITS: u8 = 5;
const CODEC_MASK: u8 = (1 << CODEC_BITS) - 1;

#[cfg(test)]
mod tests;
