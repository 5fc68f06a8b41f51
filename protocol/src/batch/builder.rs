//! Collecting rows: each is taken apart into the columns of its shape as it comes, so that finishing only encodes.

use std::collections::HashMap;

use super::{Column, EncodedBatch, Group, RowError, encode};
use crate::{
    column::ColumnData,
    limits::{
        BATCH_GROUPS_MAX, BATCH_RAW_BYTES_MAX, BATCH_ROWS_MAX, BATCH_SAMPLES_MAX, ROW_BYTES_MAX,
        VALUE_BYTES_MAX,
    },
    message::Clock,
    sample::{StampedBy, Value, ValueType},
    schema::Schema,
    time::WallTime,
};

/// Collects rows into the next batch.
///
/// Push rows until [`is_full`](Self::is_full), then [`finish`](Self::finish). While it is not full, a row is refused
/// only for what the row itself is.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    rows: Rows,
    shapes: HashMap<Box<[Field]>, u32>,
    shape: Vec<Field>,
    samples: usize,
    raw_bytes: usize,
    times: Option<(WallTime, WallTime)>,
    channels: u32,
}

/// Rows in the order in which they came, as groups of one shape.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) groups: Vec<Group>,
    /// The group of each row.
    pub(super) order: Vec<u32>,
}

/// A field of a shape.
type Field = (u32, ValueType);

impl BatchBuilder {
    /// Starts without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row: its time, who gave it, and (channel index, value) for each field. A channel may repeat.
    pub fn push_row(&mut self, t: WallTime, by: StampedBy, fields: &[(u32, Value)]) -> Result<(), RowError> {
        if self.is_full() {
            return Err(RowError::Full);
        }
        let bytes = checked_bytes(fields)?;
        let number = self.rows();
        let group = self.group_of(fields);
        self.rows.order.push(group);
        self.rows.groups[group as usize].push(number, (t, by), fields);
        self.samples += fields.len();
        self.raw_bytes += bytes;
        let (t_min, t_max) = self.times.unwrap_or((t, t));
        self.times = Some((t_min.min(t), t_max.max(t)));
        let last = fields.iter().map(|(channel, _)| *channel).max().unwrap_or_default();
        self.channels = self.channels.max(last.saturating_add(1));
        Ok(())
    }

    /// Returns how many rows it holds.
    pub fn rows(&self) -> u32 {
        bounded(self.rows.order.len())
    }

    /// Returns how many samples it holds.
    pub fn samples(&self) -> u32 {
        bounded(self.samples)
    }

    /// Returns what the rows cost uncompressed, by [`Row::raw_bytes`](crate::sample::Row::raw_bytes).
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Returns whether it holds no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.order.is_empty()
    }

    /// Returns whether it has to be finished before the next row.
    pub fn is_full(&self) -> bool {
        self.rows.order.len() >= BATCH_ROWS_MAX
            || self.samples + ROW_SAMPLES_MAX > BATCH_SAMPLES_MAX
            || self.rows.groups.len() >= BATCH_GROUPS_MAX
            || self.raw_bytes >= FULL_RAW_BYTES
    }

    /// Returns the earliest time of a row, or `None` without rows.
    pub fn t_min(&self) -> Option<WallTime> {
        self.times.map(|(t_min, _)| t_min)
    }

    /// Returns the latest time of a row, or `None` without rows.
    pub fn t_max(&self) -> Option<WallTime> {
        self.times.map(|(_, t_max)| t_max)
    }

    /// Encodes the rows, in as many batches as the limit of an encoded batch asks for; none without rows.
    ///
    /// # Panics
    /// If a row has a channel index that the schema does not have.
    pub fn finish(self, schema: &Schema, clock: Clock) -> Vec<EncodedBatch> {
        assert!(self.channels as usize <= schema.channels().len(), "rows use channels of the schema");
        encode::encode_rows(&self.rows, schema.hash(), clock)
    }

    fn group_of(&mut self, fields: &[(u32, Value)]) -> u32 {
        self.shape.clear();
        self.shape.extend(fields.iter().map(|(channel, value)| (*channel, value.kind())));
        if let Some(group) = self.shapes.get(self.shape.as_slice()) {
            return *group;
        }
        let group = bounded(self.rows.groups.len());
        self.rows.groups.push(Group::of_shape(&self.shape));
        self.shapes.insert(self.shape.as_slice().into(), group);
        group
    }
}

impl Group {
    fn of_shape(shape: &[Field]) -> Self {
        let column = |(channel, kind): &Field| Column { channel: *channel, data: ColumnData::empty(*kind) };
        Self {
            t: Vec::new(),
            stamped_by: Vec::new(),
            row: Vec::new(),
            columns: shape.iter().map(column).collect(),
        }
    }

    fn push(&mut self, number: u32, (t, by): (WallTime, StampedBy), fields: &[(u32, Value)]) {
        self.t.push(t);
        self.stamped_by.push(by);
        self.row.push(number);
        for (column, (_, value)) in self.columns.iter_mut().zip(fields) {
            column.data.push(value);
        }
    }
}

fn checked_bytes(fields: &[(u32, Value)]) -> Result<usize, RowError> {
    if fields.is_empty() {
        return Err(RowError::Empty);
    }
    let mut bytes = ROW_BYTES;
    for (_, value) in fields {
        let length = match value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
        };
        if length > VALUE_BYTES_MAX {
            return Err(RowError::ValueTooLong { bytes: length, max: VALUE_BYTES_MAX });
        }
        bytes += FIELD_BYTES + value.raw_bytes();
    }
    if bytes > ROW_BYTES_MAX {
        return Err(RowError::Oversize { bytes, max: ROW_BYTES_MAX });
    }
    Ok(bytes)
}

fn bounded(count: usize) -> u32 {
    u32::try_from(count).expect("a builder is full long before 2^32")
}

/// What a row costs beside its fields, and a field beside its value, in
/// [`Row::raw_bytes`](crate::sample::Row::raw_bytes).
const ROW_BYTES: usize = 16;
const FIELD_BYTES: usize = 4;

/// What a full batch holds before encoding: compresses to about one encoded batch, and with its largest last row
/// stays far below [`BATCH_RAW_BYTES_MAX`].
const FULL_RAW_BYTES: usize = BATCH_RAW_BYTES_MAX / 4;

/// More samples than the smallest values can put into one row.
const ROW_SAMPLES_MAX: usize = ROW_BYTES_MAX / 4;
