//! What became of the samples.

use crate::facts::Difference;

/// Samples by what became of them. Rows whose agent was killed before it answered are *in doubt*: they may be stored,
/// lost, or never have been accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Handed to the agent.
    pub produced: u64,
    /// Of these, accepted for certain.
    pub accepted: u64,
    /// In the gateway's log.
    pub stored: u64,
    /// In the gateway's loss records.
    pub lost: u64,
    /// Stored more often than produced.
    pub doubled: u64,
    /// Stored, but never produced so.
    pub strange: u64,
    /// Accepted for certain and not stored.
    pub accepted_missing: u64,
    /// Produced and not stored.
    pub produced_missing: u64,
    /// Accepted for certain, not stored, and in no loss record.
    pub unaccounted: u64,
    /// In loss records, but stored or never produced.
    pub overclaimed: u64,
}

impl Account {
    /// Puts the checker's counts together: how what is stored differs from what was accepted for certain, and from
    /// all that was produced.
    pub(super) fn new(
        (produced, accepted, stored, lost): (usize, usize, usize, u64),
        from_accepted: Difference,
        from_produced: Difference,
    ) -> Self {
        let (accepted_missing, produced_missing) =
            (from_accepted.missing as u64, from_produced.missing as u64);
        Self {
            produced: produced as u64,
            accepted: accepted as u64,
            stored: stored as u64,
            lost,
            doubled: from_produced.doubled as u64,
            strange: from_produced.strange as u64,
            accepted_missing,
            produced_missing,
            unaccounted: accepted_missing.saturating_sub(lost),
            overclaimed: lost.saturating_sub(produced_missing),
        }
    }

    /// Returns the sums of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            produced: self.produced + other.produced,
            accepted: self.accepted + other.accepted,
            stored: self.stored + other.stored,
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            strange: self.strange + other.strange,
            accepted_missing: self.accepted_missing + other.accepted_missing,
            produced_missing: self.produced_missing + other.produced_missing,
            unaccounted: self.unaccounted + other.unaccounted,
            overclaimed: self.overclaimed + other.overclaimed,
        }
    }

    /// Returns whether each sample is stored once or accounted for, and nothing else is.
    pub fn is_settled(&self) -> bool {
        self.wrong() == [0; 4]
    }

    fn wrong(&self) -> [u64; 4] {
        [self.doubled, self.strange, self.unaccounted, self.overclaimed]
    }

    /// Fails the test unless each sample is stored once or accounted for, and nothing else is.
    pub fn assert_settled(&self, what: &str) {
        assert_eq!(self.wrong(), [0; 4], "{what}: [doubled, strange, unaccounted, overclaimed] of {self:?}");
        let shown = self.stored > 0 && self.accepted > self.produced / 2;
        assert!(shown, "{what}: most has to be accepted for certain, and some stored: {self:?}");
    }

    /// Fails the test unless everything accepted is stored, once, and no loss is declared.
    pub fn assert_nothing_lost(&self, what: &str) {
        self.assert_settled(what);
        assert_eq!((self.lost, self.accepted_missing), (0, 0), "{what}: something was lost: {self:?}");
    }

    /// Fails the test unless something is lost, and loss records have exactly what is missing.
    pub fn assert_lost_and_counted(&self, what: &str) {
        self.assert_settled(what);
        assert!(self.lost > 0, "{what}: nothing was lost, so nothing is shown: {self:?}");
        assert_eq!(self.lost, self.produced_missing, "{what}: lost and missing: {self:?}");
    }
}
