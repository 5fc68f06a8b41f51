//! From a line to the queue: parse, stamp, push; and everything that is refused on the way is counted and shown.

use muster_protocol::{
    limits::LINE_BYTES_MAX,
    loss::LossReason,
    ndjson::{self, LineError, Parser, SyncId},
    sample::Row,
};

use crate::{
    batcher::Stamped,
    clock::Clock,
    intake::{Refused, Shown, Source},
};

use super::{
    Setting,
    lines::{Line, LineText},
};

/// Feeds the lines of one input, or of one connection of it, into the queue.
#[derive(Debug)]
pub struct Feeder {
    parser: Parser,
    source: Source,
    clock: Clock,
    syncs: Syncs,
}

/// What `{"sync": ID}` means for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// The sender can be answered.
    Answered,
    /// There is no way back to the sender: such a line is refused.
    NoWayBack,
}

/// What a line turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// Samples, for [`Feeder::push`].
    Row(Row),
    /// The sender wants to know when everything before is accepted.
    Sync(SyncId),
    /// Meant as a question that cannot be answered: refused, counted and shown. The sender waits for a word.
    BadSync(LineError),
    /// Blank, or refused, counted and shown.
    Nothing,
}

impl Feeder {
    /// Feeds into a source.
    pub fn new(source: Source, setting: &Setting, syncs: Syncs) -> Self {
        Self { parser: Parser::new(setting.limits), source, clock: setting.clock, syncs }
    }

    /// Parses a line.
    pub fn parse(&mut self, line: Line<'_>) -> Parsed {
        let shown = shown(line);
        let text = match line.text {
            LineText::Whole(text) => text,
            LineText::TooLong { bytes, .. } => {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                let error = LineError::LineTooLong { bytes, max: LINE_BYTES_MAX };
                self.source.refuse(error.kind(), loss_of(&error), &error, shown);
                return Parsed::Nothing;
            }
        };
        match self.parser.parse_line(text) {
            Ok(ndjson::Line::Row(row)) => Parsed::Row(row),
            Ok(ndjson::Line::Sync(id)) if self.syncs == Syncs::Answered => Parsed::Sync(id),
            Ok(ndjson::Line::Sync(_)) => {
                let error = LineError::SyncNotHere;
                self.source.refuse(error.kind(), loss_of(&error), &error, shown);
                Parsed::Nothing
            }
            Ok(ndjson::Line::Blank) => Parsed::Nothing,
            Err(error) => {
                self.source.refuse(error.kind(), loss_of(&error), &error, shown);
                let asks = self.syncs == Syncs::Answered && is_question(&error);
                if asks { Parsed::BadSync(error) } else { Parsed::Nothing }
            }
        }
    }

    /// Stamps a row if it has no time, and puts it into the queue. Blocks if the source is one that waits.
    pub fn push(&self, row: Row, shown: Shown<'_>) -> Result<(), Refused> {
        self.source.push(Stamped::at(row, self.clock.wall(), self.clock.mono()), shown)
    }

    /// Parses and pushes a line of an input that has no pace and no answers. Only a closed queue is an error: nothing
    /// more will be taken.
    pub fn feed(&mut self, line: Line<'_>) -> Result<(), Refused> {
        match self.parse(line) {
            Parsed::Row(row) => match self.push(row, shown(line)) {
                Err(Refused::Closed) => Err(Refused::Closed),
                Ok(()) | Err(_) => Ok(()),
            },
            Parsed::Sync(_) | Parsed::BadSync(_) | Parsed::Nothing => Ok(()),
        }
    }

    /// Returns the source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the clock that stamps rows.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

/// Returns whether a refused line held a `sync`, as far as it could be read.
fn is_question(error: &LineError) -> bool {
    matches!(
        error,
        LineError::BadSync { .. } | LineError::SyncWithOthers | LineError::DuplicateKey { key: "sync" }
    )
}

/// Returns why the samples of a refused line are lost; `None` if it held none.
fn loss_of(error: &LineError) -> Option<LossReason> {
    match error {
        LineError::BadSync { .. } | LineError::SyncWithOthers | LineError::SyncNotHere => None,
        LineError::LineTooLong { .. }
        | LineError::ArrayTooLong { .. }
        | LineError::TextTooLong { .. }
        | LineError::RowTooLarge => Some(LossReason::Oversize),
        _ => Some(LossReason::Malformed),
    }
}

/// Returns what is shown of a line if it is refused.
pub fn shown(line: Line<'_>) -> Shown<'_> {
    let text = match line.text {
        LineText::Whole(text) => text,
        LineText::TooLong { head, .. } => head,
    };
    Shown { line: line.number, text }
}
