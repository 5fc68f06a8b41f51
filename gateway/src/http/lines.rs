//! Stored samples as NDJSON, the way out of the log: `{"t":..,"ch":"battery.soc","v":0.81,"o":OFFSET,"i":INDEX}`.
//!
//! Millions of lines a second pass here, so what repeats is written once: a channel's name is escaped once for each
//! schema, a row's time once for its fields, a batch's offset once for its samples.

use std::{collections::HashMap, fmt, ops::ControlFlow, str::FromStr, sync::Arc};

use muster_protocol::{
    base64,
    batch::DecodedBatch,
    column::ValueRef,
    glob::Glob,
    id::{Offset, SchemaHash},
    sample::StampedBy,
    schema::Schema,
    time::WallTime,
};

use super::answer::{Ints, non_finite};
use crate::fleet::Repair;

/// Which samples are wanted, by their repaired times, and how they are printed.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) from: WallTime,
    /// The first time that is too late.
    pub(super) to: Option<WallTime>,
    /// Any of these matches; none at all matches everything.
    pub(super) channels: Vec<Glob>,
    pub(super) after: Option<Cursor>,
    pub(super) ints: Ints,
}

/// The position of one sample in the log, written `OFFSET:INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub(super) offset: Offset,
    pub(super) index: u32,
}

/// A text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a cursor; write the `o` and the `i` of the last line that was read, as in 84010:17")]
pub(super) struct ParseCursorError {
    text: String,
}

/// Writes the wanted samples of batches as lines.
#[derive(Debug)]
pub(super) struct LineWriter {
    wanted: Wanted,
    repair: Repair,
    names: HashMap<SchemaHash, Names>,
    out: Vec<u8>,
    /// The row's time and the batch's offset as text.
    time: Vec<u8>,
    offset: Vec<u8>,
}

/// What stands between a line's time and its value, for each channel of a schema; `None` for one that is not wanted.
type Names = Arc<[Option<Box<[u8]>>]>;

/// Lines are handed on when there is this much of them.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// Most schemas whose names are remembered.
const SCHEMAS_MAX: usize = 64;

impl Wanted {
    fn covers(&self, t: WallTime) -> bool {
        self.from <= t && self.to.is_none_or(|to| t < to)
    }
}

impl LineWriter {
    /// Starts with nothing written.
    pub(super) fn new(wanted: Wanted, repair: Repair) -> Self {
        let out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 2);
        Self { wanted, repair, names: HashMap::new(), out, time: Vec::new(), offset: Vec::new() }
    }

    /// Writes the wanted samples of one batch. Whenever there is a chunk, `hand_on` gets it and may stop the writing.
    pub(super) fn write_batch(
        &mut self,
        offset: Offset,
        batch: &DecodedBatch,
        schema: &Schema,
        hand_on: &mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let names = self.names_of(schema);
        self.offset.clear();
        push_int(&mut self.offset, i128::from(offset.0), self.wanted.ints);
        let skip = self.wanted.after.filter(|after| after.offset == offset).map(|after| after.index);
        let shift = self.repair.shift(&batch.info.clock);
        let mut row = None;
        for sample in batch.samples() {
            let shift = if sample.stamped_by == StampedBy::Agent { shift } else { 0 };
            let t = sample.t.shifted(shift);
            if skip.is_some_and(|last| sample.index <= last) || !self.wanted.covers(t) {
                continue;
            }
            let Some(Some(name)) = names.get(sample.channel as usize) else { continue };
            if row != Some(sample.row) {
                row = Some(sample.row);
                self.write_time(t, sample.t);
            }
            self.write_line(name, sample.value, sample.index);
            if self.out.len() >= CHUNK_BYTES {
                hand_on(self.take())?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the lines that were not handed on yet.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let empty = Vec::with_capacity(self.out.capacity());
        std::mem::replace(&mut self.out, empty)
    }

    /// Writes a row's time, and beside it the one that came where it was repaired.
    fn write_time(&mut self, t: WallTime, raw_t: WallTime) {
        self.time.clear();
        push_int(&mut self.time, i128::from(t.0), self.wanted.ints);
        if t != raw_t {
            self.time.extend_from_slice(b",\"raw_t\":");
            push_int(&mut self.time, i128::from(raw_t.0), self.wanted.ints);
        }
    }

    fn write_line(&mut self, name: &[u8], value: ValueRef<'_>, index: u32) {
        let out = &mut self.out;
        out.extend_from_slice(b"{\"t\":");
        out.extend_from_slice(&self.time);
        out.extend_from_slice(name);
        push_value(out, value, self.wanted.ints);
        out.extend_from_slice(b",\"o\":");
        out.extend_from_slice(&self.offset);
        out.extend_from_slice(b",\"i\":");
        push_digits(out, u64::from(index));
        out.extend_from_slice(b"}\n");
    }

    fn names_of(&mut self, schema: &Schema) -> Names {
        if let Some(names) = self.names.get(&schema.hash()) {
            return names.clone();
        }
        if self.names.len() >= SCHEMAS_MAX {
            self.names.clear();
        }
        let name = |name: &str| {
            let wanted = &self.wanted.channels;
            (wanted.is_empty() || wanted.iter().any(|glob| glob.matches(name))).then(|| {
                let mut text = b",\"ch\":".to_vec();
                push_text(&mut text, name);
                text.extend_from_slice(b",\"v\":");
                text.into_boxed_slice()
            })
        };
        let names: Names = schema.channels().iter().map(|channel| name(channel.name.as_str())).collect();
        self.names.insert(schema.hash(), names.clone());
        names
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        let parse = || {
            let (offset, index) = text.split_once(':')?;
            Some(Self { offset: Offset(offset.parse().ok()?), index: index.parse().ok()? })
        };
        parse().ok_or_else(|| ParseCursorError { text: text.chars().take(SHOWN_CHARS_MAX).collect() })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.offset, self.index)
    }
}

/// A text from outside is shown up to here.
const SHOWN_CHARS_MAX: usize = 80;

fn push_value(out: &mut Vec<u8>, value: ValueRef<'_>, ints: Ints) {
    match value {
        ValueRef::Bool(true) => out.extend_from_slice(b"true"),
        ValueRef::Bool(false) => out.extend_from_slice(b"false"),
        ValueRef::Int(value) => push_int(out, i128::from(value), ints),
        ValueRef::Text(text) => push_text(out, text),
        ValueRef::Bytes(bytes) => {
            out.extend_from_slice(b"null,\"b\":\"");
            base64::encode(bytes, out);
            out.push(b'"');
        }
        ValueRef::Float(value) => match non_finite(value) {
            None => serde_json::to_writer(out, &value).expect("a Vec takes any bytes"),
            Some(name) => {
                out.extend_from_slice(b"null,\"f\":\"");
                out.extend_from_slice(name.as_bytes());
                out.push(b'"');
            }
        },
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes any bytes");
}

/// Appends a 64-bit integer, signed or not.
fn push_int(out: &mut Vec<u8>, value: i128, ints: Ints) {
    if ints == Ints::Strings {
        out.push(b'"');
    }
    if value < 0 {
        out.push(b'-');
    }
    push_digits(out, u64::try_from(value.unsigned_abs()).expect("64 bits and a sign"));
    if ints == Ints::Strings {
        out.push(b'"');
    }
}

fn push_digits(out: &mut Vec<u8>, mut value: u64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
