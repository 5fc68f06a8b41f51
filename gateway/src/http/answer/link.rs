//! Whether a robot can be heard, how it is, and what its clocks say.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Moment, Time, ms, word};
use crate::{
    fleet::{Freshnesses, Health as HealthReading, LinkReading, RobotReading},
    record::Transport,
};

/// Whether a robot can be heard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Link {
    #[schema(schema_with = word::link_state)]
    state: &'static str,
    /// Since when; null if no session is on record.
    #[schema(required = true)]
    since: Option<Time>,
    #[schema(schema_with = word::transport, required = true)]
    transport: Option<&'static str>,
    /// From where the robot is or was connected.
    #[schema(required = true, examples("10.0.0.5:4312"))]
    address: Option<String>,
    /// What says so, for a person.
    #[schema(examples("a session is open"))]
    evidence: String,
    /// How long ago anything was heard of the robot.
    #[schema(required = true, examples(250))]
    last_heard_age_ms: Option<i64>,
}

/// One word for how a robot is, with the reasons.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(schema_with = word::level)]
    level: &'static str,
    /// Each reason as a short sentence for a person; none if the level is `ok`.
    reasons: Vec<String>,
}

/// How many channels are how fresh.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct FreshnessCounts {
    /// As recent as their pace promises.
    fresh: u64,
    /// Overdue.
    late: u64,
    /// Too old to say anything about now.
    stale: u64,
    /// Without a value.
    never: u64,
}

/// The robot's clocks, as it told them last, and what is known of its times.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct RobotClock {
    /// How far the robot's wall clock is ahead of the gateway's.
    #[schema(required = true, examples(-250))]
    skew_ms: Option<i64>,
    /// Whether the robot's wall clock is kept by a time server.
    #[schema(required = true)]
    synchronised: Option<bool>,
    /// Which boot of the robot this is.
    #[schema(required = true, examples("00000000000000ab"))]
    boot: Option<String>,
    /// Channels whose newest time was repaired.
    repaired: u64,
    marked: MarkCounts,
}

/// How many channels have a newest time that is not believed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct MarkCounts {
    /// Before 2020: a clock that was never set, or a recording.
    before_2020: u64,
    /// More than 60 s ahead when it was accepted.
    ahead: u64,
}

impl Link {
    pub(super) fn of(reading: &LinkReading, moment: Moment) -> Self {
        Self {
            state: reading.state.as_str(),
            since: reading.since.map(|at| moment.ints.time(at)),
            transport: reading.transport.map(Transport::as_str),
            address: reading.address.clone(),
            evidence: reading.evidence.clone(),
            last_heard_age_ms: reading.last_heard.map(|at| moment.age_ms(at)),
        }
    }
}

impl From<&HealthReading> for Health {
    fn from(reading: &HealthReading) -> Self {
        Self { level: reading.level.as_str(), reasons: reading.reasons.clone() }
    }
}

impl From<&Freshnesses> for FreshnessCounts {
    fn from(counts: &Freshnesses) -> Self {
        let Freshnesses { fresh, late, stale, never } = *counts;
        Self { fresh, late, stale, never }
    }
}

impl From<&RobotReading> for RobotClock {
    fn from(reading: &RobotReading) -> Self {
        let (told, marks) = (reading.clock.as_ref(), &reading.marks);
        Self {
            skew_ms: reading.skew_ns.map(ms),
            synchronised: told.map(|clock| clock.synchronised),
            boot: told.map(|clock| format!("{:016x}", clock.boot)),
            repaired: marks.repaired,
            marked: MarkCounts { before_2020: marks.before_2020, ahead: marks.ahead },
        }
    }
}
