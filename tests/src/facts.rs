//! The checker's own reading of NDJSON: what was put in and what came out, as multisets that can be compared bit for
//! bit. It shares no code with the programs, so that a mistake of theirs is not its own.

use std::{cmp::Ordering, collections::HashMap, io::BufRead};

use serde_json::{Map, Value};

/// A multiset of samples.
#[derive(Clone, Debug, Default)]
pub struct Facts(Vec<Fact>);

/// One sample: where, when, of which type, and the value's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact {
    channel: u32,
    t: i64,
    kind: Kind,
    bits: u64,
}

/// A value's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Bool,
    Int,
    Float,
    Text,
}

/// How what was stored differs from what was put in, in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Put in and not stored.
    pub missing: usize,
    /// Stored more often than put in.
    pub doubled: usize,
    /// Stored and never put in.
    pub strange: usize,
}

/// Names and texts, each once, as small numbers.
#[derive(Debug, Default)]
pub struct Words {
    numbers: HashMap<String, u32>,
    words: Vec<String>,
}

impl Words {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).expect("a test has fewer words");
        self.words.push(word.to_owned());
        self.numbers.insert(word.to_owned(), number);
        number
    }

    fn word(&self, number: u64) -> &str {
        usize::try_from(number).ok().and_then(|at| self.words.get(at)).map_or("?", String::as_str)
    }
}

impl Facts {
    /// Reads a log: lines of `{"t", "ch", "v"}`, whose objects and arrays flatten into channels.
    pub fn of_log(log: impl BufRead, words: &mut Words) -> Self {
        let mut facts = Self::default();
        for line in log.lines() {
            let line: Value = line.expect("the log is text").parse().expect("the log is NDJSON");
            facts.add_row(&line, words);
        }
        facts
    }

    /// Reads what `GET .../samples` sends: lines of `{"t", "ch", "v", "o", "i"}`, in the order of (o, i).
    pub fn of_samples(lines: impl BufRead, words: &mut Words) -> Self {
        let mut facts = Self::default();
        let mut last = None;
        for line in lines.lines() {
            let line = line.expect("the samples are sent to their end");
            let sample: Value = line.parse().expect("samples are NDJSON");
            let cursor = (sample["o"].as_u64(), sample["i"].as_u64());
            assert!(last < Some(cursor), "the order of (o, i) is broken at {line}");
            last = Some(cursor);
            let channel = words.number(text(&sample, "ch"));
            facts.add(channel, time(&sample), &sample["v"], words);
        }
        facts
    }

    /// Adds the samples of one line of a log.
    pub fn add_row(&mut self, row: &Value, words: &mut Words) {
        self.flatten(text(row, "ch"), time(row), &row["v"], words);
    }

    /// Returns how many samples there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the integers of all channels whose names end so, in no order.
    pub fn integers(&self, ending: &str, words: &Words) -> Vec<i64> {
        let ours = self
            .0
            .iter()
            .filter(|fact| fact.kind == Kind::Int && words.word(fact.channel.into()).ends_with(ending));
        ours.map(|fact| fact.bits.cast_signed()).collect()
    }

    /// Returns these samples, each so many times.
    #[must_use]
    pub fn times(&self, count: usize) -> Self {
        Self(self.0.repeat(count))
    }

    /// Counts how these, which were stored, differ from those that were put in.
    #[must_use]
    pub fn differ_from(&self, put_in: &Self) -> Difference {
        let sorted = |facts: &Self| {
            let mut facts = facts.0.clone();
            facts.sort_unstable();
            facts
        };
        let (stored, put_in) = (sorted(self), sorted(put_in));
        let (missing, surplus) = difference(&put_in, &stored);
        let doubled = surplus.iter().filter(|fact| put_in.binary_search(fact).is_ok()).count();
        Difference { missing: missing.len(), doubled, strange: surplus.len() - doubled }
    }

    /// Fails the test unless both are the same multiset, and says which samples are missing or too many.
    pub fn assert_equals(mut self, mut expected: Self, what: &str, words: &Words) {
        assert!(!expected.is_empty(), "{what}: nothing was expected, so nothing is shown");
        self.0.sort_unstable();
        expected.0.sort_unstable();
        if self.0 == expected.0 {
            return;
        }
        let (missing, surplus) = difference(&expected.0, &self.0);
        let show = |facts: &[Fact]| {
            let shown: Vec<_> = facts.iter().take(SHOWN_FACTS).map(|fact| fact.show(words)).collect();
            shown.join("; ")
        };
        panic!(
            "{what}: {} samples expected, {} stored\n  {} missing: {}\n  {} too many: {}",
            expected.0.len(),
            self.0.len(),
            missing.len(),
            show(&missing),
            surplus.len(),
            show(&surplus)
        );
    }

    fn flatten(&mut self, name: &str, t: i64, value: &Value, words: &mut Words) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    self.flatten(&format!("{name}.{key}"), t, value, words);
                }
            }
            Value::Array(elements) => {
                for (at, value) in elements.iter().enumerate() {
                    self.flatten(&format!("{name}[{at}]"), t, value, words);
                }
            }
            Value::Null => {}
            scalar => {
                let channel = words.number(name);
                self.add(channel, t, scalar, words);
            }
        }
    }

    fn add(&mut self, channel: u32, t: i64, value: &Value, words: &mut Words) {
        let (kind, bits) = match value {
            Value::Bool(flag) => (Kind::Bool, u64::from(*flag)),
            Value::String(text) => (Kind::Text, u64::from(words.number(text))),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => (Kind::Int, int.cast_unsigned()),
                (None, Some(float)) => (Kind::Float, float.to_bits()),
                (None, None) => panic!("{number} is no number"),
            },
            other => panic!("{other} is no scalar"),
        };
        self.0.push(Fact { channel, t, kind, bits });
    }
}

impl Fact {
    fn show(&self, words: &Words) -> String {
        let value = match self.kind {
            Kind::Bool => format!("{}", self.bits != 0),
            Kind::Int => format!("{}", self.bits.cast_signed()),
            Kind::Float => format!("{:?} (bits {:016x})", f64::from_bits(self.bits), self.bits),
            Kind::Text => format!("{:?}", words.word(self.bits)),
        };
        format!("{} at {}: {:?} {value}", words.word(self.channel.into()), self.t, self.kind)
    }
}

/// Samples of a difference that are shown.
const SHOWN_FACTS: usize = 5;

/// Returns what only the first and only the second of two sorted multisets has.
fn difference(first: &[Fact], second: &[Fact]) -> (Vec<Fact>, Vec<Fact>) {
    let (mut only_first, mut only_second) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (first.iter().peekable(), second.iter().peekable());
    loop {
        match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => match x.cmp(y) {
                Ordering::Less => only_first.extend(a.next()),
                Ordering::Greater => only_second.extend(b.next()),
                Ordering::Equal => drop((a.next(), b.next())),
            },
            (Some(_), None) => only_first.extend(a.next()),
            (None, Some(_)) => only_second.extend(b.next()),
            (None, None) => return (only_first, only_second),
        }
    }
}

fn text<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap_or_else(|| panic!("{line} has no text `{key}`"))
}

fn time(line: &Value) -> i64 {
    line["t"].as_i64().unwrap_or_else(|| panic!("{line} has no integer `t`"))
}

/// Returns a robot's or the fleet's state without what changes by itself: ages and rates, and what follows from them.
#[must_use]
pub fn lasting(mut state: Value) -> Value {
    if let Value::Object(members) = &mut state {
        keep_lasting(members);
    }
    state
}

fn keep_lasting(members: &mut Map<String, Value>) {
    members.retain(|key, _| !PASSING.contains(&key.as_str()));
    for value in members.values_mut() {
        if let Value::Object(members) = value {
            keep_lasting(members);
        }
    }
}

/// Members that follow from the clock.
const PASSING: &[&str] = &["age_ms", "now", "freshness", "newest_age_ms", "last_heard_age_ms", "ingest"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_doubled_and_strange_samples_are_told_apart() {
        let mut words = Words::default();
        let mut facts = |values: &[i64]| {
            let mut facts = Facts::default();
            for value in values {
                facts.add_row(&json!({"ch": "a", "t": 1, "v": value}), &mut words);
            }
            facts
        };
        let (put_in, stored) = (facts(&[1, 2, 3, 3]), facts(&[1, 1, 3, 4]));
        let expected = Difference { missing: 2, doubled: 1, strange: 1 };
        assert_eq!(stored.differ_from(&put_in), expected);
    }
}
