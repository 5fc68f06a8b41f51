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
                self.source.refuse(error.kind(), loss_of(&error, shown.text), &error, shown);
                return Parsed::Nothing;
            }
        };
        match self.parser.parse_line(text) {
            Ok(ndjson::Line::Row(row)) => Parsed::Row(row),
            Ok(ndjson::Line::Sync(id)) if self.syncs == Syncs::Answered => Parsed::Sync(id),
            Ok(ndjson::Line::Sync(_)) => {
                let error = LineError::SyncNotHere;
                self.source.refuse(error.kind(), loss_of(&error, shown.text), &error, shown);
                Parsed::Nothing
            }
            Ok(ndjson::Line::Blank) => Parsed::Nothing,
            Err(error) => {
                self.source.refuse(error.kind(), loss_of(&error, shown.text), &error, shown);
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

/// Returns why the samples of a refused line are lost; `None` if it held none. A question with a value beside it lost
/// that value, however little of the line was understood.
fn loss_of(error: &LineError, text: &[u8]) -> Option<LossReason> {
    match error {
        LineError::BadSync { .. } | LineError::SyncWithOthers if names_a_value(text) => {
            Some(LossReason::Malformed)
        }
        LineError::BadSync { .. } | LineError::SyncWithOthers | LineError::SyncNotHere => None,
        LineError::LineTooLong { .. }
        | LineError::ArrayTooLong { .. }
        | LineError::TextTooLong { .. }
        | LineError::RowTooLarge => Some(LossReason::Oversize),
        _ => Some(LossReason::Malformed),
    }
}

/// Returns whether a line seems to have the key `v`. One that only looks so is counted as a sample too many, never one
/// too few.
fn names_a_value(text: &[u8]) -> bool {
    text.windows(VALUE_KEY.len()).any(|part| part == VALUE_KEY)
}

/// The key of a line's values, as it is written almost always.
const VALUE_KEY: &[u8] = b"\"v\"";

/// Returns what is shown of a line if it is refused.
pub fn shown(line: Line<'_>) -> Shown<'_> {
    let text = match line.text {
        LineText::Whole(text) => text,
        LineText::TooLong { head, .. } => head,
    };
    Shown { line: line.number, text }
}

#[cfg(test)]
mod tests {
    use muster_protocol::ndjson::ParserLimits;

    use super::*;
    use crate::{
        batcher::Manner,
        intake::{Intake, IntakeConfig},
    };

    /// Guards: the value beside a question was in no loss record.
    #[test]
    fn a_value_beside_a_question_is_lost_and_a_question_alone_is_not() {
        let told = |line: &str| {
            let (intake, outlet) = Intake::new(&IntakeConfig::default());
            let setting = Setting { intake, clock: Clock::new(), limits: ParserLimits::default() };
            let source = setting.intake.source("unix", Manner::Live);
            let mut feeder = Feeder::new(source, &setting, Syncs::Answered);
            let parsed = feeder.parse(Line { number: 1, text: LineText::Whole(line.as_bytes()) });
            assert!(matches!(parsed, Parsed::BadSync(_)), "{line}");
            outlet.take_untold().iter().map(|untold| (untold.reason, untold.samples)).collect::<Vec<_>>()
        };
        for line in [r#"{"sync":4,"ch":"x","v":1}"#, r#"{"sync":{},"ch":"x","v":1}"#] {
            assert_eq!(told(line), [(LossReason::Malformed, 1)], "{line}");
        }
        for line in [r#"{"sync":4,"id":1}"#, r#"{"sync":[]}"#] {
            assert_eq!(told(line), [], "{line}");
        }
    }
}
