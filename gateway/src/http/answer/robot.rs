//! One robot: as it stands in a list, and whole.

use std::collections::BTreeMap;

use muster_protocol::id::RobotId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Count, Moment, Time,
    channel::Channel,
    completeness::{Completeness, Conflict},
    labels,
    link::{FreshnessCounts, Health, Link, RobotClock},
    loss::LossRecord,
    ms,
};
use crate::fleet::{LiveLink, RobotReading, RobotState};

/// A page of robots.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct RobotPage {
    pub(in crate::http) robots: Vec<RobotSummary>,
    /// The `cursor` of the next page; null if this is the last one.
    #[schema(required = true, examples("0:warehouse/r17"))]
    pub(in crate::http) next_cursor: Option<String>,
    /// The gateway's time.
    pub(in crate::http) now: Time,
}

/// A robot as it stands in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct RobotSummary {
    #[serde(flatten)]
    head: RobotHead,
    /// The age of the youngest value of any channel.
    #[schema(required = true, examples(430))]
    newest_age_ms: Option<i64>,
    /// How many channels ever had a value.
    channels: usize,
}

/// Everything that is known of a robot.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Robot<'a> {
    #[serde(flatten)]
    head: RobotHead,
    /// Each channel that ever had a value, by name.
    channels: BTreeMap<&'a str, Channel<'a>>,
    /// Who gave each label: `agent` or `operator`.
    #[schema(examples(json!({"line": "agent", "site": "operator"})))]
    label_sources: BTreeMap<String, &'static str>,
    log: RobotLog,
    /// The gateway's time.
    now: Time,
}

/// What a list says of a robot, and its own answer too.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotHead {
    /// The robot, `FLEET/ROBOT`.
    #[schema(examples("warehouse/r17"))]
    robot: String,
    /// Its fleet.
    #[schema(examples("warehouse"))]
    fleet: String,
    /// Its name within the fleet.
    #[schema(examples("r17"))]
    name: String,
    link: Link,
    health: Health,
    freshness: FreshnessCounts,
    completeness: Completeness,
    /// Whether another process speaks for this robot too; null if none does.
    #[schema(required = true)]
    conflict: Option<Conflict>,
    loss: Loss,
    clock: RobotClock,
    agent: Agent,
    /// What the robot is called by: operators' labels, and those of the agent that they do not hide.
    #[schema(examples(json!({"line": "3", "site": "kiel"})))]
    labels: BTreeMap<String, String>,
    /// Samples of this robot that were ever stored.
    samples: Count,
}

/// What a robot lost.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Loss {
    /// Samples.
    samples: Count,
    /// Samples by the reason of their loss.
    by_reason: BTreeMap<&'static str, Count>,
    /// When the last loss was reported.
    #[schema(required = true)]
    last_at: Option<Time>,
    /// The last loss records, the newest first; not in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    recent: Option<Vec<LossRecord>>,
}

/// The agent on the robot.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Agent {
    /// Its version, as its last session said; null without an agent.
    #[schema(required = true, examples("0.1.0"))]
    version: Option<String>,
}

/// What the log has of a robot.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RobotLog {
    /// The offset of its first record.
    #[schema(required = true)]
    first_offset: Option<Count>,
    /// The offset of its last record.
    #[schema(required = true)]
    last_offset: Option<Count>,
    /// When its first record was received.
    #[schema(required = true)]
    first_received: Option<Time>,
    /// When its last record was received.
    #[schema(required = true)]
    last_received: Option<Time>,
    /// Records of any kind.
    records: Count,
    /// Records that are batches of samples.
    batches: Count,
    /// Samples in them.
    samples: Count,
}

impl RobotSummary {
    /// Reads a robot as it stands in a list; `live` is its open session, if one is open.
    pub(in crate::http) fn of(
        id: &RobotId,
        state: &RobotState,
        live: Option<&LiveLink>,
        moment: Moment,
    ) -> Self {
        let reading = state.read(moment.now, live);
        let ages = state
            .channels()
            .filter_map(|(_, channel)| state.read_channel(channel, moment.now, &reading.link).age_ns);
        Self {
            head: RobotHead::of(id, state, &reading, moment),
            newest_age_ms: ages.min().map(ms),
            channels: state.channel_count(),
        }
    }
}

impl<'a> Robot<'a> {
    /// Reads everything that is known of a robot; `live` is its open session, if one is open.
    pub(in crate::http) fn of(
        id: &RobotId,
        state: &'a RobotState,
        live: Option<&LiveLink>,
        moment: Moment,
    ) -> Self {
        let reading = state.read(moment.now, live);
        let channels = state.channels().map(|(name, channel)| {
            let read = state.read_channel(channel, moment.now, &reading.link);
            (name.as_str(), Channel::of(channel, &read, moment))
        });
        let channels = channels.collect();
        let mut head = RobotHead::of(id, state, &reading, moment);
        let recent = state.losses().recent();
        head.loss.recent = Some(recent.map(|(at, loss)| LossRecord::of(at, loss, moment.ints)).collect());
        Self {
            head,
            channels,
            label_sources: labels::sources(state.labels()),
            log: RobotLog::of(state, moment),
            now: moment.ints.time(moment.now),
        }
    }
}

impl RobotHead {
    fn of(id: &RobotId, state: &RobotState, reading: &RobotReading, moment: Moment) -> Self {
        Self {
            robot: id.as_str().to_owned(),
            fleet: id.fleet().to_owned(),
            name: id.robot().to_owned(),
            link: Link::of(&reading.link, moment),
            health: Health::from(&reading.health),
            freshness: FreshnessCounts::from(&reading.freshness),
            completeness: Completeness::of(&reading.completeness, state.losses(), moment),
            conflict: reading.conflict.as_ref().map(|conflict| Conflict::of(conflict, moment)),
            loss: Loss::of(state, moment),
            clock: RobotClock::from(reading),
            agent: Agent { version: state.agent_version().map(str::to_owned) },
            labels: labels::merged(state.labels()),
            samples: moment.ints.count(state.totals().samples),
        }
    }
}

impl Loss {
    fn of(state: &RobotState, moment: Moment) -> Self {
        let totals = state.totals();
        let by_reason = totals.lost.iter();
        Self {
            samples: moment.ints.count(totals.lost_samples()),
            by_reason: by_reason.map(|(reason, n)| (reason.as_str(), moment.ints.count(*n))).collect(),
            last_at: totals.last_loss.map(|at| moment.ints.time(at)),
            recent: None,
        }
    }
}

impl RobotLog {
    fn of(state: &RobotState, Moment { ints, .. }: Moment) -> Self {
        let totals = state.totals();
        Self {
            first_offset: totals.offsets.map(|(first, _)| ints.offset(first)),
            last_offset: totals.offsets.map(|(_, last)| ints.offset(last)),
            first_received: totals.received.map(|(first, _)| ints.time(first)),
            last_received: totals.received.map(|(_, last)| ints.time(last)),
            records: ints.count(totals.records),
            batches: ints.count(totals.batches),
            samples: ints.count(totals.samples),
        }
    }
}
