//! Loss records: which accepted samples are gone, how many, from when, and why. They take a seq of their own and
//! travel, commit and acknowledge like batches.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::{Epoch, Lane, Seq},
    limits::LOST_SEQS_MAX,
    message::SeqRange,
    time::WallTime,
};

/// Samples that were accepted and will never be delivered, all of one epoch and lane, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The epoch of the lost batches.
    pub epoch: Epoch,
    /// The lane of the lost batches.
    pub lane: Lane,
    /// Each lost batch with its sample count, in ascending order, at most [`LOST_SEQS_MAX`].
    pub lost: Vec<LostSeq>,
    /// Samples lost that never had a seq, such as refused ones of plain JSON over MQTT.
    pub unnumbered: u64,
    /// The earliest time of a lost sample, if known.
    pub t_min: Option<WallTime>,
    /// The latest time of a lost sample, if known.
    pub t_max: Option<WallTime>,
    /// Why they are lost.
    pub reason: LossReason,
}

/// One lost batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSeq {
    /// Its seq.
    pub seq: Seq,
    /// How many samples it held.
    pub samples: u32,
}

/// Batches that an agent says are gone from its spool, and a log lacks: learned by the gateway from Hello and
/// heartbeats, never sent. No sample of them will come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The epoch of the batches.
    pub epoch: Epoch,
    /// Their lane.
    pub lane: Lane,
    /// Which ones: half-open, ascending, not touching, never empty, at most
    /// [`ABSENT_RANGES_MAX`](crate::limits::ABSENT_RANGES_MAX).
    pub ranges: Vec<SeqRange>,
    /// How many samples they held together. Nobody knows how many each.
    pub samples: u64,
    /// Why the log lacks them.
    pub reason: AbsenceReason,
}

/// Why a log lacks what an agent has released. New reasons are appended: the number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsenceReason {
    /// Released before the robot first came to this log: to another gateway, or to an earlier life of this one. Not a
    /// loss as far as this log can tell.
    BeforeThisGateway,
    /// The log held it once: it was restored from a backup that is older.
    Restored,
    /// The log held it once, in a partition that was damaged and set aside.
    Quarantined,
}

/// Why samples are lost. New reasons are appended: the number is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossReason {
    /// The spool reached its size limit and removed the oldest.
    SpoolFull,
    /// The spool's bytes were damaged.
    Corrupt,
    /// The gateway refused the batch for good.
    Refused,
    /// A row or value was larger than any batch may be.
    Oversize,
    /// The disk failed while the samples were only in memory.
    DiskFailed,
    /// The gateway was restored from a backup that is older than what the robot had released.
    Restored,
    /// A partition of the gateway's log was damaged and set aside.
    Quarantined,
    /// Lines that did not parse, at an input of an agent or as plain JSON over MQTT; each counts as one sample.
    Malformed,
    /// The agent's inputs were faster than its disk or processor, or it stopped with its spool full: never accepted.
    Overrun,
}

/// Why a loss record from outside is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LossError {
    /// It lists more batches than allowed.
    #[error("a loss record of {count} batches; at most {LOST_SEQS_MAX} are allowed")]
    TooMany {
        /// How many it lists.
        count: usize,
    },
    /// Its seqs are not ascending, or below the first or above the last that there are.
    #[error("a loss record whose seqs are not ascending from 1")]
    Order,
    /// It says that nothing was lost.
    #[error("a loss record of nothing")]
    Empty,
}

impl Loss {
    /// Returns how many samples are lost, at most `u64::MAX`.
    pub fn samples(&self) -> u64 {
        let numbered: u64 = self.lost.iter().map(|lost| u64::from(lost.samples)).sum();
        numbered.saturating_add(self.unnumbered)
    }

    /// Checks a record that came from outside.
    pub fn check(&self) -> Result<(), LossError> {
        if self.lost.len() > LOST_SEQS_MAX {
            return Err(LossError::TooMany { count: self.lost.len() });
        }
        if self.lost.is_empty() && self.unnumbered == 0 {
            return Err(LossError::Empty);
        }
        let mut last = Seq(0);
        for lost in &self.lost {
            if lost.seq <= last || lost.seq > Seq::LAST {
                return Err(LossError::Order);
            }
            last = lost.seq;
        }
        Ok(())
    }
}

impl AbsenceReason {
    /// Returns the reason of the loss; `None` if it is none.
    pub fn loss(self) -> Option<LossReason> {
        match self {
            Self::BeforeThisGateway => None,
            Self::Restored => Some(LossReason::Restored),
            Self::Quarantined => Some(LossReason::Quarantined),
        }
    }
}

impl LossReason {
    /// Each of them.
    pub const ALL: [Self; 9] = [
        Self::SpoolFull,
        Self::Corrupt,
        Self::Refused,
        Self::Oversize,
        Self::DiskFailed,
        Self::Restored,
        Self::Quarantined,
        Self::Malformed,
        Self::Overrun,
    ];

    /// Returns the reason's name as in the API, in metrics and in the runbook.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool_full",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Oversize => "oversize",
            Self::DiskFailed => "disk_failed",
            Self::Restored => "restored",
            Self::Quarantined => "quarantined",
            Self::Malformed => "malformed",
            Self::Overrun => "overrun",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
