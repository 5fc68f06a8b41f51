//! What a robot lost: in one record, and page by page.

use muster_protocol::{id::Lane, loss::LossReason, time::WallTime};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Count, Ints, Time, word};
use crate::fleet::{Amount, LossRecord as Record, LostSeqs};

/// A page of a robot's losses, the oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LossPage {
    /// The robot, `FLEET/ROBOT`.
    #[schema(examples("warehouse/r17"))]
    pub(in crate::http) robot: String,
    /// The records. A page may be short, or empty, and still have a next one.
    pub(in crate::http) losses: Vec<LossReport>,
    /// The `cursor` of the next page; null if this is the last one.
    #[schema(required = true, examples("84010"))]
    pub(in crate::http) next_cursor: Option<String>,
    /// The gateway's time.
    pub(in crate::http) now: Time,
}

/// A loss record with everything that it says.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LossReport {
    #[serde(flatten)]
    pub(in crate::http) record: LossRecord,
    #[schema(schema_with = word::reported_by)]
    pub(in crate::http) reported_by: &'static str,
    /// The batches that are lost; none if the samples never had a seq.
    pub(in crate::http) lost: Vec<LostPart>,
}

/// A batch with its samples, or a range of batches of which only the sum of samples is known.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum LostPart {
    /// One batch.
    Batch(LostBatch),
    /// Several batches.
    Range(LostRange),
}

/// A batch that is lost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LostBatch {
    /// Its number within epoch and lane.
    pub(in crate::http) seq: Count,
    /// Samples in it.
    pub(in crate::http) samples: u32,
}

/// Batches that are lost, both ends included.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LostRange {
    /// The first.
    pub(in crate::http) first: Count,
    /// The last.
    pub(in crate::http) last: Count,
}

/// A loss record, summed up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct LossRecord {
    /// The record's offset in the log.
    o: Count,
    #[serde(flatten)]
    lost: Lost,
    #[schema(required = true)]
    seqs: Option<Seqs>,
    /// When the record was received.
    received_at: Time,
}

/// What is lost, why, and of when.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Lost {
    #[schema(schema_with = word::loss_reason)]
    reason: &'static str,
    #[schema(schema_with = word::lane)]
    lane: &'static str,
    /// Samples that are lost.
    samples: Count,
    /// Batches that they were in. Samples that never had a seq belong to none.
    batches: Count,
    /// The earliest time of a lost sample, if known.
    #[schema(required = true)]
    t_min: Option<Time>,
    /// The latest time of a lost sample, if known.
    #[schema(required = true)]
    t_max: Option<Time>,
}

/// Which batches are lost: all are among these. Null if none had a seq, or they are of several epochs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Seqs {
    epoch: Epoch,
    /// The first.
    first: Count,
    /// The last.
    last: Count,
}

/// One run of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Epoch {
    /// Counts the starts.
    start: Count,
    /// Tells two spools of one name apart, in hexadecimal digits.
    #[schema(examples("9f86d081884c7d65"))]
    random: String,
}

impl LossRecord {
    /// Describes a record that stands at `at` in the log.
    pub(in crate::http) fn of(at: muster_protocol::id::Offset, record: &Record, ints: Ints) -> Self {
        Self {
            o: ints.offset(at),
            lost: Lost::of((record.reason, record.lane), record.amount, record.times, ints),
            seqs: record.seqs.map(|seqs| Seqs::of(seqs, ints)),
            received_at: ints.time(record.received_at),
        }
    }
}

impl Lost {
    pub(super) fn of(
        (reason, lane): (LossReason, Lane),
        amount: Amount,
        times: Option<(WallTime, WallTime)>,
        ints: Ints,
    ) -> Self {
        Self {
            reason: reason.as_str(),
            lane: lane.as_str(),
            samples: ints.count(amount.samples),
            batches: ints.count(amount.batches),
            t_min: times.map(|(t_min, _)| ints.time(t_min)),
            t_max: times.map(|(_, t_max)| ints.time(t_max)),
        }
    }
}

impl Seqs {
    pub(super) fn of(LostSeqs { epoch, first, last }: LostSeqs, ints: Ints) -> Self {
        let random = format!("{:016x}", epoch.random);
        let epoch = Epoch { start: ints.count(epoch.start), random };
        Self { epoch, first: ints.count(first.0), last: ints.count(last.0) }
    }
}
