//! How much of what a robot accepted is in the log, and who else speaks for it.

use muster_protocol::{id::Lane, loss::LossReason};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Count, Moment, Time,
    loss::{Lost, Seqs},
    word,
};
use crate::fleet::{
    Amount, Backlog, Completeness as Reading, Conflict as ConflictReading, LossTally, Losses,
};

/// How much of what a robot accepted is in the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Completeness {
    #[schema(schema_with = word::standing)]
    standing: &'static str,
    /// Everything that the robot accepted up to this moment, on the gateway's clock, is stored or accounted for. Null if
    /// that can be said of no moment.
    #[schema(required = true)]
    whole_up_to: Option<Time>,
    /// How long ago the robot told what it holds; null if it never did.
    #[schema(required = true, examples(2800))]
    age_ms: Option<i64>,
    #[schema(required = true)]
    on_robot: Option<OnRobot>,
    /// What is lost, by reason and lane.
    lost: Vec<Tally>,
    before_this_gateway: Batches,
    /// At most so many samples were held by a spool that is there no more.
    unknown_up_to: Count,
}

/// What is still on the robot, as it said last; null if it never said.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct OnRobot {
    /// Samples that the robot held and that have not come since.
    samples: Count,
    /// How long ago it said so.
    #[schema(examples(2800))]
    age_ms: i64,
}

/// What the robot had released before this gateway's log first heard of it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Batches {
    samples: Count,
    batches: Count,
}

/// All losses of one lane for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Tally {
    #[serde(flatten)]
    lost: Lost,
    /// Loss records that say so.
    records: Count,
    #[schema(required = true)]
    seqs: Option<Seqs>,
    /// When the last of the records was received.
    last_at: Time,
}

/// Another process speaks for the same robot.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Conflict {
    /// Since when the two push each other out.
    since: Time,
    /// How long ago one last did.
    #[schema(examples(61000))]
    last_age_ms: i64,
    other: OtherProcess,
}

/// The process that has to wait now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OtherProcess {
    /// From where it speaks.
    #[schema(examples("10.0.0.9:4312"))]
    address: String,
    /// Its random number, in hexadecimal digits.
    #[schema(examples("abababababababababababababababab"))]
    instance: String,
}

impl Completeness {
    pub(super) fn of(reading: &Reading, losses: &Losses, moment: Moment) -> Self {
        let on_robot = reading.on_robot.as_ref().map(|told: &Backlog| OnRobot {
            samples: moment.ints.count(told.samples),
            age_ms: moment.age_ms(told.at),
        });
        let tally = |(reason, lane, tally): (_, _, &_)| Tally::of((reason, lane), tally, moment);
        Self {
            standing: reading.standing.as_str(),
            whole_up_to: reading.whole_up_to.map(|at| moment.ints.time(at)),
            age_ms: on_robot.map(|told| told.age_ms),
            on_robot,
            lost: losses.tallies().map(tally).collect(),
            before_this_gateway: Batches::of(reading.before, moment),
            unknown_up_to: moment.ints.count(reading.unknown_up_to),
        }
    }
}

impl Batches {
    fn of(amount: Amount, moment: Moment) -> Self {
        let count = |n| moment.ints.count(n);
        Self { samples: count(amount.samples), batches: count(amount.batches) }
    }
}

impl Tally {
    fn of(what: (LossReason, Lane), tally: &LossTally, moment: Moment) -> Self {
        Self {
            lost: Lost::of(what, tally.amount, tally.times, moment.ints),
            records: moment.ints.count(tally.records),
            seqs: tally.seqs.map(|seqs| Seqs::of(seqs, moment.ints)),
            last_at: moment.ints.time(tally.last_at),
        }
    }
}

impl Conflict {
    pub(super) fn of(conflict: &ConflictReading, moment: Moment) -> Self {
        let ConflictReading { since, last_at, address, instance } = conflict;
        Self {
            since: moment.ints.time(*since),
            last_age_ms: moment.age_ms(*last_at),
            other: OtherProcess { address: address.clone(), instance: instance.to_string() },
        }
    }
}
