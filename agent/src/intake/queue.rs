//! The two queues of the intake and their bounds. Pure: the locking is in the intake.

use std::collections::VecDeque;

use muster_protocol::{id::ChannelName, id::Lane, sample::Row, sample::Value};

use crate::batcher::Manner;

use super::{Item, Limits};

/// Sync requests that may wait in one queue: sixteen for each of sixty-four clients, and some for embedding programs.
pub(super) const SYNCS_MAX: usize = 1100;

/// Rows that are taken out at once, so that the lock is neither held for long nor taken for each row.
const TAKE_ROWS_MAX: usize = 256;
const TAKE_BYTES_MAX: usize = 256 * 1024;

/// The rows of the inputs of one manner, in order of arrival, with their sync requests between them.
#[derive(Debug)]
pub(super) struct Queue {
    manner: Manner,
    limits: Limits,
    items: VecDeque<Item>,
    rows: usize,
    bytes: usize,
    syncs: usize,
}

impl Queue {
    pub(super) fn new(manner: Manner, limits: Limits) -> Self {
        Self { manner, limits, items: VecDeque::new(), rows: 0, bytes: 0, syncs: 0 }
    }

    /// Returns whether a row of the lane fits. Of the live queue, an eighth is kept for the urgent lane. One row fits
    /// into an empty queue, whatever its size.
    pub(super) fn has_room(&self, bytes: usize, lane: impl FnOnce() -> Lane) -> bool {
        let within = |limits: Limits| {
            self.rows < limits.rows_max && (self.bytes + bytes <= limits.bytes_max || self.rows == 0)
        };
        let Limits { rows_max, bytes_max } = self.limits;
        let common = Limits { rows_max: rows_max - rows_max / 8, bytes_max: bytes_max - bytes_max / 8 };
        match self.manner {
            Manner::Wait => within(self.limits),
            Manner::Live => within(common) || within(self.limits) && lane() == Lane::Urgent,
        }
    }

    /// Returns what its rows cost in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_room_for_sync(&self) -> bool {
        self.syncs < SYNCS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn push(&mut self, item: Item) {
        match &item {
            Item::Row(row) => {
                self.rows += 1;
                self.bytes += row.bytes;
            }
            Item::Sync(_) => self.syncs += 1,
        }
        self.items.push_back(item);
    }

    /// Moves the oldest items to `out`, a bounded number of them. Returns whether it moved any.
    pub(super) fn take(&mut self, out: &mut VecDeque<Item>) -> bool {
        let (mut rows, mut bytes) = (0, 0);
        while rows < TAKE_ROWS_MAX && bytes < TAKE_BYTES_MAX {
            let Some(item) = self.items.pop_front() else { break };
            rows += 1;
            match &item {
                Item::Row(row) => {
                    bytes += row.bytes;
                    self.rows -= 1;
                    self.bytes -= row.bytes;
                }
                Item::Sync(_) => self.syncs -= 1,
            }
            out.push_back(item);
        }
        rows > 0
    }
}

/// Returns about what a row costs in memory.
pub(super) fn memory_bytes(row: &Row) -> usize {
    size_of::<Item>() + row.raw_bytes() + row.fields.len() * size_of::<(ChannelName, Value)>()
}
