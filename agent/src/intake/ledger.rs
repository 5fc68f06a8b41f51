//! The ledger of refusals: how many rows or lines were not taken, why, and the first example of each kind.
//!
//! The first of a kind is logged with its line number; all are counted. Nothing that was refused is silent: `--once`
//! prints the ledger and `status` shows it; what was lost with them is summed up for loss records besides.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use muster_protocol::{id::Lane, loss::LossReason, time::WallTime};

/// Characters of an offending line that are shown.
const SHOWN_CHARS_MAX: usize = 120;

/// Kinds of refusals that are told apart. There are about twenty reasons and few inputs; what comes beyond is counted
/// under the last kind, [`OTHER`].
const KINDS_MAX: usize = 256;

const OTHER: &str = "other";

/// Where a row came from, to show it if it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its line number in its input, from 1.
    pub line: u64,
    /// The line, or what stands for it.
    pub text: &'a [u8],
}

/// All refusals of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The input, as configured.
    pub input: Arc<str>,
    /// The short stable name of the reason.
    pub reason: &'static str,
    /// The lane, where the reason depends on it.
    pub lane: Option<Lane>,
    /// How many rows or lines.
    pub count: u64,
    /// What the first said.
    pub first: Example,
}

/// The first refusal of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its line number in its input, from 1.
    pub line: u64,
    /// Its first characters, control characters escaped.
    pub text: String,
    /// The reason with its facts, as a sentence.
    pub why: String,
}

/// Counts refusals; see the module. Shared by all inputs.
#[derive(Debug, Default)]
pub struct RefusalLedger {
    kinds: Mutex<Vec<Refusal>>,
    /// What loss records have to tell and do not yet. Bounded by the number of reasons and lanes.
    untold: Mutex<BTreeMap<(LossReason, Lane), Untold>>,
}

/// Samples that were refused, for one reason, in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// Why.
    pub reason: LossReason,
    /// The lane that they would have gone to, as far as it is known.
    pub lane: Lane,
    /// How many. A line that did not parse counts as one.
    pub samples: u64,
    /// The earliest and latest time, where it is known.
    pub span: Option<(WallTime, WallTime)>,
}

/// Why something is not taken: the short stable name and the sentence.
#[derive(Clone, Copy)]
pub struct Why<'a> {
    /// The short stable name, as in counters and in `status`.
    pub reason: &'static str,
    /// The lane, where the reason depends on it.
    pub lane: Option<Lane>,
    /// The reason with its facts.
    pub sentence: &'a dyn fmt::Display,
}

impl RefusalLedger {
    /// Returns every kind of refusal so far, in the order of their first.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.kinds().clone()
    }

    /// Returns how many rows or lines were refused in all.
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|kind| kind.count).sum()
    }

    /// Adds to what loss records have to tell. Returns whether that was nothing before.
    pub(super) fn lose(&self, lost: Untold) -> bool {
        let mut untold = self.untold();
        let was_empty = untold.is_empty();
        if lost.samples > 0 {
            let sum =
                untold.entry((lost.reason, lost.lane)).or_insert(Untold { samples: 0, span: None, ..lost });
            sum.samples += lost.samples;
            sum.span = match (sum.span, lost.span) {
                (Some(sum), Some(new)) => Some((sum.0.min(new.0), sum.1.max(new.1))),
                (sum, new) => sum.or(new),
            };
        }
        was_empty && !untold.is_empty()
    }

    /// Returns whether loss records have something to tell.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold().is_empty()
    }

    /// Returns what loss records have to tell since the last call.
    pub(super) fn take_untold(&self) -> Vec<Untold> {
        std::mem::take(&mut *self.untold()).into_values().collect()
    }

    fn untold(&self) -> MutexGuard<'_, BTreeMap<(LossReason, Lane), Untold>> {
        self.untold.lock().expect("nothing panics while it holds the ledger")
    }

    /// Counts `count` rows or lines of one input that were refused for one reason.
    pub(super) fn note(&self, input: &Arc<str>, why: Why<'_>, shown: Shown<'_>, count: u64) {
        let mut kinds = self.kinds();
        let same =
            |kind: &&mut Refusal| kind.reason == why.reason && kind.lane == why.lane && kind.input == *input;
        if let Some(kind) = kinds.iter_mut().find(same) {
            kind.count += count;
            return;
        }
        if kinds.len() == KINDS_MAX {
            kinds.last_mut().expect("the bound is not zero").count += count;
            return;
        }
        let reason = if kinds.len() + 1 == KINDS_MAX { OTHER } else { why.reason };
        let first = Example { line: shown.line, text: cut(shown.text), why: why.sentence.to_string() };
        let refusal = Refusal { input: Arc::clone(input), reason, lane: why.lane, count, first };
        tracing::warn!("refused: {refusal}; more of this kind are counted without a word");
        kinds.push(refusal);
    }

    fn kinds(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.kinds.lock().expect("nothing panics while it holds the ledger")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Example { line, text, why } = &self.first;
        write!(out, "{} ({}", self.input, self.reason)?;
        if let Some(lane) = self.lane {
            write!(out, ", lane {lane}")?;
        }
        write!(out, "): {why}; line {line}: {text}")
    }
}

/// Cuts a hostile line to what fits a log.
fn cut(text: &[u8]) -> String {
    // Four bytes are the longest character.
    let start = text.get(..SHOWN_CHARS_MAX * 4).unwrap_or(text);
    let shown: String = String::from_utf8_lossy(start).trim_end().chars().take(SHOWN_CHARS_MAX).collect();
    shown.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(reason: &'static str, lane: Option<Lane>) -> Why<'static> {
        Why { reason, lane, sentence: &"the sentence" }
    }

    #[test]
    fn the_first_of_a_kind_is_kept_and_all_are_counted() {
        let ledger = RefusalLedger::default();
        let input: Arc<str> = "stdin".into();
        for line in 7..10 {
            ledger.note(&input, why("not_json", None), Shown { line, text: b"{\x1b[31m oops\n" }, 1);
        }
        ledger.note(&input, why("queue_full", Some(Lane::Bulk)), Shown { line: 1, text: b"x" }, 1);
        let refusals = ledger.refusals();
        assert_eq!(refusals.len(), 2);
        assert_eq!((refusals[0].count, ledger.total()), (3, 4));
        assert_eq!(refusals[0].first.line, 7);
        assert_eq!(refusals[0].first.text, "{\\u{1b}[31m oops");
        assert_eq!(refusals[1].to_string(), "stdin (queue_full, lane bulk): the sentence; line 1: x");
    }

    #[test]
    fn an_example_is_short_whatever_the_line() {
        assert_eq!(cut("ü".repeat(10_000).as_bytes()).chars().count(), SHOWN_CHARS_MAX);
        assert!(cut(&[0xff; 10_000]).chars().count() <= SHOWN_CHARS_MAX);
    }

    #[test]
    fn kinds_are_bounded() {
        let ledger = RefusalLedger::default();
        for input in 0..KINDS_MAX + 10 {
            ledger.note(&input.to_string().into(), why("not_json", None), Shown { line: 1, text: b"" }, 1);
        }
        assert_eq!(ledger.refusals().len(), KINDS_MAX);
        assert_eq!(ledger.total(), KINDS_MAX as u64 + 10);
    }
}
