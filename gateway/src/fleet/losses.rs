//! What a robot lost, by reason and lane, and its last loss records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{Epoch, Lane, Offset, Seq},
    loss::{Absence, Loss, LossReason},
    time::WallTime,
};

use super::completeness::Amount;

/// The fold of a robot's loss records. Labels are bounded: a few reasons, three lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    tallies: BTreeMap<(LossReason, Lane), LossTally>,
    /// The records with the greatest offsets, ascending, at most [`RECENT_MAX`].
    recent: BTreeMap<Offset, LossRecord>,
    span: Option<(Offset, Offset)>,
}

/// All losses of one lane for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossTally {
    /// What is lost. Samples that never had a seq belong to no batch.
    pub amount: Amount,
    /// Loss records that say so.
    pub records: u64,
    /// The batches that are lost are among these; `None` if none had a seq, or they are of several epochs.
    pub seqs: Option<LostSeqs>,
    /// Whether they are of several epochs.
    pub epochs_mixed: bool,
    /// The earliest and the latest time of a lost sample, as far as known.
    pub times: Option<(WallTime, WallTime)>,
    /// When the last of the records was received.
    pub last_at: WallTime,
}

/// The first and the last of some seqs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSeqs {
    /// Their epoch.
    pub epoch: Epoch,
    /// The first.
    pub first: Seq,
    /// The last.
    pub last: Seq,
}

/// One loss record, summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    /// When it was received.
    pub received_at: WallTime,
    /// Why.
    pub reason: LossReason,
    /// Of which lane.
    pub lane: Lane,
    /// How much.
    pub amount: Amount,
    /// Which batches, if they had seqs.
    pub seqs: Option<LostSeqs>,
    /// The earliest and the latest time of a lost sample, if known.
    pub times: Option<(WallTime, WallTime)>,
}

/// Enough for an operator to see what is going on; the log has all.
const RECENT_MAX: usize = 8;

impl Losses {
    /// Takes a loss record.
    pub(super) fn saw(&mut self, at: Offset, received_at: WallTime, loss: &Loss) {
        self.add(at, LossRecord::of(received_at, loss));
    }

    /// Takes what the log has lost itself. What came before it is no loss.
    pub(super) fn saw_absence(&mut self, at: Offset, received_at: WallTime, absence: &Absence) {
        if let Some(record) = LossRecord::of_absence(received_at, absence) {
            self.add(at, record);
        }
    }

    fn add(&mut self, at: Offset, record: LossRecord) {
        let LossRecord { reason, lane, .. } = record;
        let tally = self.tallies.entry((reason, lane)).or_insert_with(|| LossTally::new(&record));
        tally.add(&record);
        self.recent.insert(at, record);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_first();
        }
        self.span = Some(self.span.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }

    /// Returns what is lost for each reason, of each lane.
    pub fn tallies(&self) -> impl Iterator<Item = (LossReason, Lane, &LossTally)> {
        self.tallies.iter().map(|((reason, lane), tally)| (*reason, *lane, tally))
    }

    /// Returns the last records with their offsets, the newest first.
    pub fn recent(&self) -> impl Iterator<Item = (Offset, &LossRecord)> {
        self.recent.iter().rev().map(|(at, record)| (*at, record))
    }

    /// Returns the offsets of the first and the last loss record.
    pub fn span(&self) -> Option<(Offset, Offset)> {
        self.span
    }
}

impl LossRecord {
    /// Sums a loss up.
    pub fn of(received_at: WallTime, loss: &Loss) -> Self {
        let ends = loss.lost.first().zip(loss.lost.last());
        let seqs = ends.map(|(first, last)| LostSeqs { epoch: loss.epoch, first: first.seq, last: last.seq });
        let amount = Amount { samples: loss.samples(), batches: loss.lost.len() as u64 };
        let times = loss.t_min.zip(loss.t_max);
        Self { received_at, reason: loss.reason, lane: loss.lane, amount, seqs, times }
    }
}

impl LossRecord {
    /// Sums an absence up; `None` if it is no loss.
    pub fn of_absence(received_at: WallTime, absence: &Absence) -> Option<Self> {
        let ends = absence.ranges.first().zip(absence.ranges.last());
        let seqs = ends.map(|(first, last)| LostSeqs {
            epoch: absence.epoch,
            first: first.first,
            last: Seq(last.end.0.saturating_sub(1)),
        });
        let (lane, amount) = (absence.lane, Amount::of(absence));
        Some(Self { received_at, reason: absence.reason.loss()?, lane, amount, seqs, times: None })
    }
}

impl LossTally {
    fn new(first: &LossRecord) -> Self {
        Self {
            amount: Amount::default(),
            records: 0,
            seqs: None,
            epochs_mixed: false,
            times: None,
            last_at: first.received_at,
        }
    }

    fn add(&mut self, record: &LossRecord) {
        self.amount += record.amount;
        self.records += 1;
        self.last_at = self.last_at.max(record.received_at);
        self.times = match (self.times, record.times) {
            (Some((min, max)), Some((t_min, t_max))) => Some((min.min(t_min), max.max(t_max))),
            (known, new) => known.or(new),
        };
        let Some(new) = record.seqs else { return };
        if self.epochs_mixed || self.seqs.is_some_and(|known| known.epoch != new.epoch) {
            (self.seqs, self.epochs_mixed) = (None, true);
            return;
        }
        let known = self.seqs.unwrap_or(new);
        let (first, last) = (known.first.min(new.first), known.last.max(new.last));
        self.seqs = Some(LostSeqs { epoch: new.epoch, first, last });
    }
}
