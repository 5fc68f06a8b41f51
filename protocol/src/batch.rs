//! A batch: rows of samples as columns, the unit that is spooled, sent, committed and acknowledged.

use bytes::Bytes;

use crate::{
    column::{ColumnData, ValueRef},
    id::SchemaHash,
    message::Clock,
    sample::{StampedBy, Value},
    schema::Schema,
    time::WallTime,
};

/// Collects rows into the next batch.
///
/// Push rows until [`is_full`](Self::is_full), then [`finish`](Self::finish). While it is not full, a row is refused
/// only for what the row itself is.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    rows: u32,
}

/// A batch as it is spooled, sent and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch {
    /// At most [`BATCH_BYTES_MAX`](crate::limits::BATCH_BYTES_MAX).
    pub bytes: Bytes,
    /// What the uncompressed head says.
    pub info: BatchInfo,
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
    #[error("a row of {bytes} bytes; at most {max} are allowed: send fewer or shorter values in one line")]
    Oversize {
        /// Its size.
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
    #[error("the batch is full")]
    Full,
}

/// Why bytes are not a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It does not decode.
    #[error("the batch does not decode: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
}

impl BatchBuilder {
    /// Starts without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row: its time, who gave it, and (channel index, value) for each field.
    pub fn push_row(&mut self, t: WallTime, by: StampedBy, fields: &[(u32, Value)]) -> Result<(), RowError> {
        let _ = (t, by, fields);
        Ok(())
    }

    /// Returns how many rows it holds.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Returns how many samples it holds.
    pub fn samples(&self) -> u32 {
        self.rows
    }

    /// Returns what the rows cost uncompressed.
    pub fn raw_bytes(&self) -> usize {
        0
    }

    /// Returns whether it holds no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns whether it has to be finished before the next row.
    pub fn is_full(&self) -> bool {
        false
    }

    /// Returns the earliest time of a row, or `None` without rows.
    pub fn t_min(&self) -> Option<WallTime> {
        None
    }

    /// Returns the latest time of a row, or `None` without rows.
    pub fn t_max(&self) -> Option<WallTime> {
        None
    }

    /// Encodes the rows, in as many batches as the limit of an encoded batch asks for; none without rows.
    ///
    /// # Panics
    /// If a row has a channel index that the schema does not have.
    pub fn finish(self, schema: &Schema, clock: Clock) -> Vec<EncodedBatch> {
        let _ = (schema, clock);
        Vec::new()
    }
}

/// Reads the head of an encoded batch. The body is not looked at.
pub fn peek(bytes: &[u8]) -> Result<BatchInfo, BatchError> {
    let _ = bytes;
    Err(BatchError::Malformed { why: String::new() })
}

/// Decodes a batch with the schema that its head names.
pub fn decode(bytes: &[u8], schema: &Schema) -> Result<DecodedBatch, BatchError> {
    let _ = (bytes, schema);
    Err(BatchError::Malformed { why: String::new() })
}

impl DecodedBatch {
    /// Returns the samples by row, then by field.
    pub fn samples(&self) -> impl Iterator<Item = SampleRef<'_>> {
        std::iter::empty()
    }
}
