//! A batch: rows of samples as columns, the unit that is spooled, sent, committed and acknowledged.
//!
//! ```text
//!   head, not compressed | compression u8 | length before it varint | body to the end
//!
//!   body:  groups varint | group of each row: a column | each group
//!   group: fields varint | channel of each field | t: a column | stamped by: a column | a column for each field
//! ```
//!
//! Rows of one shape (the same channels with the same types in the same order) form a group: their time is stored
//! once, and each field becomes a [`column`](crate::column). A field that is null or changes its type just makes
//! another shape. Every value comes back bit for bit, every row in its order.
//!
//! Whatever bytes come from outside, decoding neither panics nor holds more than the limits allow, and what it
//! accepts agrees with its head. PROTOCOL.md#batches is the specification.

mod builder;
mod decode;
mod encode;
mod head;
pub(crate) mod packed;
mod samples;

pub use self::{
    builder::BatchBuilder,
    decode::{decode, peek},
    head::BATCH_VERSION,
    packed::UnpackError,
    samples::Samples,
};

use bytes::Bytes;

use crate::{
    column::{ColumnData, ColumnError, ReadError, ValueRef},
    id::SchemaHash,
    limits::BATCH_BYTES_MAX,
    message::Clock,
    sample::StampedBy,
    time::WallTime,
};

/// A batch as it is spooled, sent and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch {
    /// At most [`BATCH_BYTES_MAX`].
    pub bytes: Bytes,
    /// What the uncompressed head says.
    pub info: BatchInfo,
    /// What each of its columns costs, in the order of the body; the sum is the length of `bytes`.
    pub columns: Vec<ColumnCost>,
}

/// What a column costs of an encoded batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnCost {
    /// The channel's index in the schema. A channel of several shapes has several columns.
    pub channel: u32,
    /// Bytes of the encoded batch, with its part of what columns share.
    pub bytes: u32,
}

/// What a batch's head says, readable without decompressing anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchInfo {
    /// The schema that channel indexes refer to.
    pub schema: SchemaHash,
    /// How many rows, at least one.
    pub rows: u32,
    /// How many samples, at least one a row.
    pub samples: u32,
    /// The earliest time of a row.
    pub t_min: WallTime,
    /// The latest time of a row.
    pub t_max: WallTime,
    /// The robot's clocks when the batch was made for the spool.
    pub clock: Clock,
}

/// A decoded and checked batch.
#[derive(Clone, Debug)]
pub struct DecodedBatch {
    /// What the head says.
    pub info: BatchInfo,
    /// The groups, in the order of their first row.
    pub groups: Vec<Group>,
    /// The group of each row.
    pub order: Vec<u32>,
}

/// The rows of one shape: the same channels with the same types in the same order.
#[derive(Clone, Debug)]
pub struct Group {
    /// The time of each row.
    pub t: Vec<WallTime>,
    /// Who gave each row its time.
    pub stamped_by: Vec<StampedBy>,
    /// The number of each row in the batch, ascending.
    pub row: Vec<u32>,
    /// One column for each field, in the order of the row's fields.
    pub columns: Vec<Column>,
}

/// One field of a group's rows.
#[derive(Clone, Debug)]
pub struct Column {
    /// The channel's index in the schema.
    pub channel: u32,
    /// Its values, as many as the group has rows.
    pub data: ColumnData,
}

/// One sample, borrowed from a batch.
#[derive(Clone, Copy, Debug)]
pub struct SampleRef<'a> {
    /// The number of the sample in the batch: by row, then by field.
    pub index: u32,
    /// The number of its row in the batch.
    pub row: u32,
    /// The channel's index in the schema.
    pub channel: u32,
    /// The row's time.
    pub t: WallTime,
    /// Who gave the row its time.
    pub stamped_by: StampedBy,
    /// The value.
    pub value: ValueRef<'a>,
}

/// Why a row does not go into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The row has no fields.
    #[error("a row without samples")]
    Empty,
    /// The row is larger than any batch may hold.
    #[error("a row of {bytes} bytes; at most {max} are allowed: send fewer or shorter values in one row")]
    Oversize {
        /// Its size by [`Row::raw_bytes`](crate::sample::Row::raw_bytes).
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// A single value is too long.
    #[error("a value of {bytes} bytes; at most {max} are allowed")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The batch is full: finish it and push the row into the next one.
    #[error("the batch is full; finish it first")]
    Full,
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is longer than allowed.
    #[error("a batch of {bytes} bytes; at most {BATCH_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A version that this program does not read.
    #[error("batch version {found}, but this program reads version {BATCH_VERSION}; update it")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// A length or count does not read, or is above its limit.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The body does not decompress.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The head has flags that this version does not have.
    #[error("unknown flags {found:#04x}")]
    UnknownFlags {
        /// The flags found.
        found: u8,
    },
    /// The head announces no rows, or a row without samples.
    #[error("{rows} rows with {samples} samples; every batch has rows and every row has samples")]
    NoSamples {
        /// The rows announced.
        rows: usize,
        /// The samples announced.
        samples: usize,
    },
    /// The body has fewer samples than the head announces.
    #[error("fewer samples than the {announced} that the head announces")]
    WrongSamples {
        /// The samples announced.
        announced: u32,
    },
    /// The head's times are not those of the rows.
    #[error("the times in the head are not the earliest and latest of the rows")]
    WrongTimes,
    /// It was made with another schema than the one given.
    #[error("the batch needs schema {needed}, not {given}")]
    WrongSchema {
        /// The schema that it names.
        needed: SchemaHash,
        /// The schema given.
        given: SchemaHash,
    },
    /// The column of groups does not decode.
    #[error("the order of rows does not decode: {why}")]
    Order {
        /// Why.
        why: ColumnError,
    },
    /// A row belongs to a group that is not there.
    #[error("a row of group {group}, but there are {groups}")]
    NoSuchGroup {
        /// The group named.
        group: i64,
        /// The groups there are.
        groups: usize,
    },
    /// Groups are not numbered by their first row.
    #[error("row {row} starts a group out of order")]
    GroupOrder {
        /// The row.
        row: u32,
    },
    /// A group has no rows.
    #[error("group {group} has no rows")]
    EmptyGroup {
        /// The group.
        group: usize,
    },
    /// A group's rows have no fields.
    #[error("a group without fields")]
    NoFields,
    /// A field's channel is not in the schema.
    #[error("channel {channel}, but the schema has {channels}")]
    NoSuchChannel {
        /// The channel's index.
        channel: i64,
        /// The channels of the schema.
        channels: usize,
    },
    /// The times of a group, or who gave them, do not decode.
    #[error("the times of a group do not decode: {why}")]
    GroupColumn {
        /// Why.
        why: ColumnError,
    },
    /// The values of a field do not decode.
    #[error("the values of channel {channel} do not decode: {why}")]
    Column {
        /// The channel's index.
        channel: u32,
        /// Why.
        why: ColumnError,
    },
}

impl DecodedBatch {
    /// Returns the samples by row, then by field.
    pub fn samples(&self) -> Samples<'_> {
        Samples::of(self)
    }
}

#[cfg(test)]
mod tests;
