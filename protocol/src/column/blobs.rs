//! Texts and byte strings: one for all rows, a dictionary, or one after the other.
//!
//! ```text
//!   constant:   the bytes
//!   plain:      length of each, varint | the bytes of all
//! ```
//!
//! The dictionary is in its own file.

use std::ops::Range;

use super::{
    Codec, ColumnError, dictionary,
    reader::{Reader, put_count, varint_bytes},
};
use crate::limits::VALUE_BYTES_MAX;

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

/// A range of rows of either, to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobSlice<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

/// Where a value stands in its buffer. Buffers are below 4 GiB by the limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let place = |place| u32::try_from(place).expect("a batch's text is far below 4 GiB");
        Self { start: place(start), end: place(end) }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
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
        self.text.get(self.spans.get(at)?.range())
    }

    /// Checks that the bytes are text and that no span cuts a character.
    pub(super) fn new(values: BytesValues) -> Result<Self, ColumnError> {
        let text = String::from_utf8(values.bytes).map_err(|_| ColumnError::NotUtf8)?;
        if values.spans.iter().any(|span| text.get(span.range()).is_none()) {
            return Err(ColumnError::NotUtf8);
        }
        Ok(Self { text, spans: values.spans })
    }

    pub(super) fn push(&mut self, text: &str) {
        let last = self.spans.last().copied().filter(|span| self.text.get(span.range()) == Some(text));
        let span = last.unwrap_or_else(|| Span::new(self.text.len(), self.text.len() + text.len()));
        if last.is_none() {
            self.text.push_str(text);
        }
        self.spans.push(span);
    }

    pub(super) fn slice(&self, rows: Range<usize>) -> BlobSlice<'_> {
        BlobSlice { bytes: self.text.as_bytes(), spans: &self.spans[rows] }
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
        self.bytes.get(self.spans.get(at)?.range())
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let last = self.spans.last().copied().filter(|span| self.bytes.get(span.range()) == Some(bytes));
        let span = last.unwrap_or_else(|| Span::new(self.bytes.len(), self.bytes.len() + bytes.len()));
        if last.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
        self.spans.push(span);
    }

    pub(super) fn slice(&self, rows: Range<usize>) -> BlobSlice<'_> {
        BlobSlice { bytes: &self.bytes, spans: &self.spans[rows] }
    }

    /// Takes these as the entries of a dictionary and returns the entry of each row.
    pub(super) fn repeated(self, rows: impl Iterator<Item = usize>) -> Result<Self, ColumnError> {
        let entries = self.spans.len();
        let span = |entry| self.spans.get(entry).copied().ok_or(ColumnError::NoSuchEntry { entry, entries });
        let spans = rows.map(span).collect::<Result<_, _>>()?;
        Ok(Self { bytes: self.bytes, spans })
    }
}

impl<'a> BlobSlice<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(|span| &bytes[span.range()])
    }
}

pub(super) fn encode(values: &BlobSlice<'_>, out: &mut Vec<u8>) -> Codec {
    let first = values.iter().next().unwrap_or_default();
    if values.iter().all(|value| value == first) {
        out.extend_from_slice(first);
        return Codec::Constant;
    }
    let plain: usize = values.iter().map(stored_bytes).sum();
    if let Some(found) = dictionary::Dictionary::of(values).filter(|found| found.bytes() < plain) {
        found.encode(out);
        return Codec::Dictionary;
    }
    put_values(values.iter(), out);
    Codec::Plain
}

pub(super) fn decode(
    codec: Codec,
    bytes: &mut Reader<'_>,
    rows: usize,
) -> Result<Option<BytesValues>, ColumnError> {
    match codec {
        Codec::Constant => {
            let length = bytes.left_at_most("bytes of a value", VALUE_BYTES_MAX)?;
            let value = bytes.take(length)?.to_vec();
            let span = Span::new(0, value.len());
            Ok(Some(BytesValues { bytes: value, spans: vec![span; rows] }))
        }
        Codec::Plain => take_values(bytes, rows).map(Some),
        Codec::Dictionary => dictionary::decode(bytes, rows).map(Some),
        Codec::Delta | Codec::DeltaOfDelta | Codec::Xor | Codec::Decimal => Ok(None),
    }
}

/// Returns what a value costs in [`put_values`].
pub(super) fn stored_bytes(value: &[u8]) -> usize {
    varint_bytes(value.len() as u64) + value.len()
}

/// Appends the lengths, then the bytes.
pub(super) fn put_values<'a>(values: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
    for value in values.clone() {
        put_count(out, value.len());
    }
    for value in values {
        out.extend_from_slice(value);
    }
}

/// Reads what [`put_values`] wrote. The caller has bounded `count`.
pub(super) fn take_values(bytes: &mut Reader<'_>, count: usize) -> Result<BytesValues, ColumnError> {
    let mut spans = Vec::with_capacity(count);
    let mut end = 0;
    for _ in 0..count {
        let start = end;
        end += bytes.count("bytes of a value", VALUE_BYTES_MAX)?;
        spans.push(Span::new(start, end));
    }
    Ok(BytesValues { bytes: bytes.take(end)?.to_vec(), spans })
}
