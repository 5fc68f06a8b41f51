//! Samples as NDJSON: lines of JSON text into rows.
//!
//! ```text
//!   {"t": 1432235498025043042, "ch": "battery", "v": {"soc": 0.81, "cells": [3.7, 3.8], "charging": false}}
//! ```
//!
//! A line is one row. Objects and arrays of `v` flatten into channels such as `battery.soc` and `battery.cells[0]`,
//! null is skipped, and keys other than `t`, `ch`, `v`, `lane`, `unit` and `sync` are ignored. Integers that fit 64
//! bits stay integers; every other number is the nearest 64-bit float.
//!
//! A line is taken whole or refused whole, with a sentence that names the thing and the remedy. Nothing is changed to
//! make it fit. A line costs no more memory than its length and the limits allow, whatever it holds.

mod error;
mod flatten;
mod line;
mod names;
mod payload;
mod scan;

pub use self::{error::LineError, payload::Payload};

use self::{flatten::Leaves, line::Keys, names::Names};
use crate::{
    id::ChannelName,
    limits::{ARRAY_ELEMENTS_MAX, CH_BYTES_MAX, LINE_BYTES_MAX, VALUE_BYTES_MAX},
    sample::{Row, Value},
};

/// Turns lines into rows. Keep one per input: it remembers the channel names that it has seen, a bounded number.
#[derive(Debug)]
pub struct Parser {
    limits: ParserLimits,
    names: Names,
    leaves: Leaves,
}

/// What a [`Parser`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserLimits {
    /// Longest line in bytes, without its line end.
    pub line_bytes_max: usize,
    /// Most elements of one array.
    pub array_elements_max: usize,
    /// Longest text in bytes; above [`VALUE_BYTES_MAX`] it counts as that.
    pub text_bytes_max: usize,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Samples.
    Row(Row),
    /// `{"sync": ID}`: answer when everything before it is accepted.
    Sync(SyncId),
    /// Nothing: an empty line, or one whose values are all null.
    Blank,
}

/// The id of a sync line: a JSON scalar of at most 128 bytes, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncId(String);

impl Default for ParserLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: LINE_BYTES_MAX,
            array_elements_max: ARRAY_ELEMENTS_MAX,
            text_bytes_max: VALUE_BYTES_MAX,
        }
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(ParserLimits::default())
    }
}

impl Parser {
    /// Starts without names.
    pub fn new(limits: ParserLimits) -> Self {
        Self { limits, names: Names::default(), leaves: Leaves::default() }
    }

    /// Parses one line, with or without its line end.
    pub fn parse_line(&mut self, line: &[u8]) -> Result<Line, LineError> {
        let line = without_line_end(line);
        if line.len() > self.limits.line_bytes_max {
            return Err(LineError::LineTooLong { bytes: line.len(), max: self.limits.line_bytes_max });
        }
        let text =
            std::str::from_utf8(line).map_err(|error| LineError::NotUtf8 { at: error.valid_up_to() })?;
        self.parse_text(text)
    }

    fn parse_text(&mut self, text: &str) -> Result<Line, LineError> {
        if scan::is_blank(text) {
            return Ok(Line::Blank);
        }
        let keys = line::read(&scan::without_negative_zero(text), &self.limits, &mut self.leaves)?;
        match keys.sync {
            Some(alone) => sync_id(text, alone).map(Line::Sync),
            None => self.row(keys),
        }
    }

    fn row(&mut self, keys: Keys) -> Result<Line, LineError> {
        let ch = keys.ch.ok_or(LineError::NoCh)?;
        if !keys.has_value {
            return Err(LineError::NoValue);
        }
        if ch.is_empty() || ch.len() > CH_BYTES_MAX || ch.chars().any(char::is_control) {
            return Err(LineError::BadCh { bytes: ch.len() });
        }
        self.names.begin_row();
        let mut fields: Vec<(ChannelName, Value)> = Vec::with_capacity(self.leaves.len());
        for (path, value) in self.leaves.drain() {
            fields.push((self.names.of(&ch, path)?, value));
        }
        if fields.is_empty() {
            return Ok(Line::Blank);
        }
        Ok(Line::Row(Row { t: keys.t, lane: keys.lane, unit: keys.unit, fields }))
    }
}

impl SyncId {
    /// Returns the id as JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn sync_id(text: &str, alone: line::Alone) -> Result<SyncId, LineError> {
    let id = scan::value_of_only_key(text)
        .filter(|_| alone == line::Alone::Yes)
        .ok_or(LineError::SyncWithOthers)?;
    if id.len() > SYNC_ID_BYTES_MAX {
        return Err(LineError::BadSync { why: format!("it has {} bytes", id.len()) });
    }
    Ok(SyncId(id.to_owned()))
}

/// Longest id of a sync line. It is held until the spool has synced.
const SYNC_ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests;
