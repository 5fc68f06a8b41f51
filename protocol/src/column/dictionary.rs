//! Texts and byte strings that repeat: the distinct ones once, then which one each row has.
//!
//! ```text
//!   entries varint | length of each, varint | the bytes of all | entry of each row: u8, or u16 above 256 entries
//! ```

use std::collections::HashMap;

use super::{
    BlobSlice, ColumnError,
    blobs::{BytesValues, put_values, stored_bytes, take_values},
    reader::{Reader, put_count, varint_bytes},
};

/// The distinct values of some rows, in the order of their first row.
pub(super) struct Dictionary<'a> {
    entries: Vec<&'a [u8]>,
    rows: Vec<u16>,
}

impl<'a> Dictionary<'a> {
    /// Collects the distinct values; `None` where most rows have one of their own.
    pub(super) fn of(values: &BlobSlice<'a>) -> Option<Self> {
        let count = values.iter().count();
        let mut numbers = HashMap::new();
        let mut entries = Vec::new();
        let mut rows = Vec::with_capacity(count);
        for value in values.iter() {
            let number = *numbers.entry(value).or_insert_with(|| {
                entries.push(value);
                entries.len() - 1
            });
            if 2 * entries.len() > count + 1 {
                return None;
            }
            rows.push(u16::try_from(number).ok()?);
        }
        Some(Self { entries, rows })
    }

    /// Returns how many bytes [`encode`](Self::encode) writes.
    pub(super) fn bytes(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| stored_bytes(entry)).sum();
        let width = if self.entries.len() <= BYTE_ENTRIES_MAX { 1 } else { 2 };
        varint_bytes(self.entries.len() as u64) + entries + self.rows.len() * width
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.entries.len());
        put_values(self.entries.iter().copied(), out);
        if self.entries.len() <= BYTE_ENTRIES_MAX {
            out.extend(self.rows.iter().map(|entry| entry.to_le_bytes()[0]));
        } else {
            out.extend(self.rows.iter().flat_map(|entry| entry.to_le_bytes()));
        }
    }
}

pub(super) fn decode(bytes: &mut Reader<'_>, rows: usize) -> Result<BytesValues, ColumnError> {
    let entries = bytes.count("dictionary entries", rows)?;
    let entries = take_values(bytes, entries)?;
    if entries.len() <= BYTE_ENTRIES_MAX {
        let rows = bytes.take(rows)?;
        entries.repeated(rows.iter().map(|entry| usize::from(*entry)))
    } else {
        let (rows, _) = bytes.take(rows.saturating_mul(2))?.as_chunks();
        entries.repeated(rows.iter().map(|entry| usize::from(u16::from_le_bytes(*entry))))
    }
}

const BYTE_ENTRIES_MAX: usize = 256;
