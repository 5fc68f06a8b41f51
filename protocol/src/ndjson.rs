//! Samples as NDJSON: lines of JSON text into rows, exactly as the users' contract says.

use crate::{
    limits::{ARRAY_ELEMENTS_MAX, LINE_BYTES_MAX, VALUE_BYTES_MAX},
    sample::Row,
};

/// Turns lines into rows. Keep one per input: it remembers the names that it has seen.
#[derive(Debug)]
pub struct Parser {
    limits: ParserLimits,
}

/// What a [`Parser`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserLimits {
    /// Longest line in bytes.
    pub line_bytes_max: usize,
    /// Most elements of one array.
    pub array_elements_max: usize,
    /// Longest text in bytes, at most [`VALUE_BYTES_MAX`].
    pub text_bytes_max: usize,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Samples.
    Row(Row),
    /// `{"sync": ID}`: tell when everything before is accepted.
    Sync(SyncId),
    /// Nothing: an empty line, or one whose values are all null.
    Blank,
}

/// The id of a sync line, any JSON scalar, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncId(String);

/// What an MQTT payload of plain JSON says.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// The rows that parsed, in order.
    pub rows: Vec<Row>,
    /// How many lines or array elements were refused.
    pub refused: u64,
    /// Why the first was.
    pub first_error: Option<LineError>,
}

/// Why a line is refused: the thing and the remedy. [`kind`](Self::kind) is the short stable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is not JSON.
    #[error("not JSON: {why}")]
    NotJson {
        /// What the parser says.
        why: String,
    },
}

impl SyncId {
    /// Returns the id as JSON text.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl LineError {
    /// Returns the short stable name of the refusal, as in counters and in `status`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
        }
    }
}

impl Default for ParserLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: LINE_BYTES_MAX,
            array_elements_max: ARRAY_ELEMENTS_MAX,
            text_bytes_max: VALUE_BYTES_MAX,
        }
    }
}

impl Parser {
    /// Starts without names.
    pub fn new(limits: ParserLimits) -> Self {
        Self { limits }
    }

    /// Parses one line, with or without its line end.
    pub fn parse_line(&mut self, line: &[u8]) -> Result<Line, LineError> {
        let _ = (line, self.limits);
        Ok(Line::Blank)
    }

    /// Parses an MQTT payload: one object, several lines, or a JSON array of sample objects.
    pub fn parse_payload(&mut self, payload: &[u8]) -> Payload {
        let _ = payload;
        Payload::default()
    }
}
