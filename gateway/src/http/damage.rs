//! Damage to the log, as readers of samples learn of it.
//!
//! A reader that meets damage that it was not told of is broken off: what it has is not whole. From then on the damage
//! is known, and an answer that leaves it out says so in its head, `muster-damaged: FIRST-LAST,...` in offsets. So
//! nothing is left out silently, and what lies behind the damage can still be read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderName, HeaderValue};
use muster_protocol::id::Offset;

/// The header of an answer that leaves damage out.
pub(super) const HEADER: HeaderName = HeaderName::from_static("muster-damaged");

/// The ranges of offsets that turned out to be damaged since the start, shared by all requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Damages(Arc<Mutex<Known>>);

/// What one answer says about damage: the first offset of each range, and the one after its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known(BTreeMap<Offset, Offset>);

/// Most ranges that are remembered, so that a header has room. A log with more is broken off at the others.
const RANGES_MAX: usize = 64;

impl Damages {
    /// Remembers damage that a reader met.
    pub(super) fn add(&self, first: Offset, end: Offset) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known_end = known.0.get(&first).copied();
        if known_end.is_some() || known.0.len() < RANGES_MAX {
            known.0.insert(first, end.max(known_end.unwrap_or_default()));
        }
    }

    /// Returns what is known now.
    pub(super) fn known(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl FromIterator<(Offset, Offset)> for Known {
    /// Takes what one answer met. More than [`RANGES_MAX`] are told as one, from the first to the last.
    fn from_iter<I: IntoIterator<Item = (Offset, Offset)>>(ranges: I) -> Self {
        let ranges: BTreeMap<Offset, Offset> = ranges.into_iter().collect();
        let whole = ranges.first_key_value().zip(ranges.last_key_value());
        match whole.map(|((first, _), (_, end))| (*first, *end)) {
            Some(whole) if ranges.len() > RANGES_MAX => Self(BTreeMap::from([whole])),
            _ => Self(ranges),
        }
    }
}

impl Known {
    /// Returns whether all of a range is known to be damaged.
    pub(super) fn covers(&self, first: Offset, end: Offset) -> bool {
        let before = self.0.range(..=first).next_back();
        before.is_some_and(|(_, known_end)| end <= *known_end)
    }

    /// Returns the header that says what an answer from `from` on leaves out, if anything.
    pub(super) fn header(&self, from: Offset) -> Option<HeaderValue> {
        let ahead = self.0.iter().filter(|(_, end)| **end > from);
        let ranges: Vec<String> =
            ahead.map(|(first, end)| format!("{first}-{}", end.0.saturating_sub(1))).collect();
        (!ranges.is_empty()).then(|| HeaderValue::try_from(ranges.join(",")).expect("digits and dashes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_covered() {
        let damages = Damages::default();
        assert!(!damages.known().covers(Offset(5), Offset(6)));
        damages.add(Offset(5), Offset(9));
        damages.add(Offset(20), Offset(21));
        let known = damages.known();
        assert!(known.covers(Offset(5), Offset(9)) && known.covers(Offset(7), Offset(8)));
        assert!(!known.covers(Offset(4), Offset(6)) && !known.covers(Offset(8), Offset(10)));
        assert_eq!(known.header(Offset(0)).unwrap(), "5-8,20-20");
        assert_eq!(known.header(Offset(9)).unwrap(), "20-20");
        assert_eq!(known.header(Offset(21)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let damages = Damages::default();
        for offset in 0..1000 {
            damages.add(Offset(10 * offset), Offset(10 * offset + 1));
        }
        assert_eq!(damages.known().0.len(), RANGES_MAX);
    }
}
