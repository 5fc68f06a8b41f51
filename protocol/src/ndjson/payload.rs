//! An MQTT payload of plain JSON: one NDJSON line, several, or an array of sample objects.

use super::{
    Line, LineError, Parser,
    scan::{self, ArrayEnd},
};
use crate::sample::Row;

/// What an MQTT payload of plain JSON says. The rows around a refused one are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The rows that parsed, in order.
    pub rows: Vec<Row>,
    /// How many lines or elements of the array were refused.
    pub refused: u64,
    /// Why the first was.
    pub first_error: Option<LineError>,
}

impl Parser {
    /// Parses an MQTT payload: one sample object, several in a line each, or a JSON array of them.
    pub fn parse_payload(&mut self, payload: &[u8]) -> Payload {
        let mut parsed = Payload::default();
        let told = scan::trim_start(payload);
        if told.starts_with(b"[") {
            self.parse_array(told, &mut parsed);
        } else {
            for line in payload.split(|byte| *byte == b'\n') {
                parsed.take(self.parse_line(line));
            }
        }
        parsed
    }

    fn parse_array(&mut self, payload: &[u8], parsed: &mut Payload) {
        let array = match std::str::from_utf8(payload) {
            Ok(array) => array,
            Err(error) => return parsed.refuse(LineError::NotUtf8 { at: error.valid_up_to() }),
        };
        let cut = scan::elements(array);
        for element in cut.elements {
            let not_there = || LineError::NotJson { why: "an element of the array is missing".to_owned() };
            parsed.take(if element.is_empty() {
                Err(not_there())
            } else {
                self.parse_line(element.as_bytes())
            });
        }
        match cut.end {
            ArrayEnd::Closed("") => {}
            ArrayEnd::Closed(_) => {
                parsed.refuse(LineError::NotJson { why: "text follows the end of the array".to_owned() });
            }
            ArrayEnd::Missing => {
                parsed.refuse(LineError::NotJson { why: "the array has no closing bracket".to_owned() });
            }
        }
    }
}

impl Payload {
    fn take(&mut self, line: Result<Line, LineError>) {
        match line {
            Ok(Line::Row(row)) => self.rows.push(row),
            Ok(Line::Blank) => {}
            Ok(Line::Sync(_)) => self.refuse(LineError::SyncNotHere),
            Err(error) => self.refuse(error),
        }
    }

    fn refuse(&mut self, error: LineError) {
        self.refused += 1;
        self.first_error.get_or_insert(error);
    }
}
