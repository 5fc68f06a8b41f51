//! One robot: as it stands in a list, and whole.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{AdditionalProperties, Object, Schema, Type},
    },
};

use super::{
    AsOfAnswer, Count, Moment, Time,
    channel::{Channel, channel_values},
    completeness::{Completeness, Conflict},
    labels,
    link::{FreshnessCounts, Health, Link, RobotClock},
    loss::LossRecord,
    mapped::Mapped,
    ms,
};
use crate::{
    fleet::RobotState,
    query::{UndecidedRobots, View},
};

/// A page of robots.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct RobotPage {
    /// The page's robots.
    pub(in crate::http) robots: Vec<ListedRobot>,
    /// The `cursor` of the next page; null if this is the last one.
    #[schema(required = true, examples("after:warehouse/r17"))]
    pub(in crate::http) next_cursor: Option<String>,
    /// Robots that the question takes, on all pages; null where it takes all.
    #[schema(required = true, examples(17))]
    pub(in crate::http) matched: Option<usize>,
    /// Robots for which the question has no answer; null if there are none.
    #[schema(required = true)]
    pub(in crate::http) undecided: Option<Undecided>,
    /// Channels and labels of the question that no robot has, and that are likely typed wrongly; null if there are none.
    #[schema(required = true, examples(json!(["batery.soc"])))]
    pub(in crate::http) unheard_of: Option<Vec<String>>,
    /// The moment in the past that is told; only where it was asked for with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) as_of: Option<AsOfAnswer>,
    /// The moment that is told: the gateway's time, or `at`.
    pub(in crate::http) now: Time,
}

/// A robot in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum ListedRobot {
    /// As it stands in a list.
    Summary(Box<RobotSummary>),
    /// Only the members that `fields` choose.
    Chosen(ChosenRobot),
}

/// What `fields` choose of a robot.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(in crate::http) struct ChosenRobot(pub(in crate::http) serde_json::Value);

/// Robots that are neither taken nor left out, because the question asks for what they do not have.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Undecided {
    /// How many.
    robots: u64,
    /// One of them.
    #[schema(required = true, examples("warehouse/r17"))]
    example: Option<String>,
    /// What it does not have.
    #[schema(required = true, examples("there is no value of battery.soc"))]
    why: Option<String>,
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
    /// The channels that the question names, as in the robot's own answer; only where it names some.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<BTreeMap<String, Channel<'_>>>)]
    values: Option<serde_json::Map<String, serde_json::Value>>,
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
    /// The moment in the past that is told; only where it was asked for with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(in crate::http) as_of: Option<AsOfAnswer>,
    /// The moment that is told: the gateway's time, or `at`.
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
    #[serde(flatten)]
    mapped: Mapped,
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

impl PartialSchema for ChosenRobot {
    fn schema() -> RefOr<Schema> {
        let meaning = "The members that `fields` choose: each is as in the robot's own answer, `values` like its \
                       `channels`.";
        let robot =
            Object::builder().schema_type(Type::String).description(Some("The robot, `FLEET/ROBOT`."));
        Object::builder()
            .description(Some(meaning))
            .property("robot", robot)
            .required("robot")
            .additional_properties(Some(AdditionalProperties::FreeForm(true)))
            .build()
            .into()
    }
}

impl ToSchema for ChosenRobot {}

impl Undecided {
    /// Says of which robots nobody can tell; `None` if there are none.
    pub(in crate::http) fn of(undecided: UndecidedRobots) -> Option<Self> {
        let (example, why) = undecided.example.map(|(id, why)| (id.as_str().to_owned(), why)).unzip();
        (undecided.count > 0).then_some(Self { robots: undecided.count, example, why })
    }
}

impl RobotSummary {
    /// Reads a robot as it stands in a list.
    pub(in crate::http) fn of(view: &View<'_>, moment: Moment) -> Self {
        let state = view.state();
        Self {
            head: RobotHead::of(view, moment),
            newest_age_ms: view.newest_age_ns().map(ms),
            channels: state.channel_count(),
            values: None,
        }
    }

    /// The same, with the channels that the question names.
    pub(in crate::http) fn naming(channels: &[String], view: &View<'_>, moment: Moment) -> Self {
        let values = (!channels.is_empty()).then(|| channel_values(view, channels, moment));
        Self { values, ..Self::of(view, moment) }
    }
}

impl<'a> Robot<'a> {
    /// Reads everything that is known of a robot.
    pub(in crate::http) fn of(view: &View<'a>, moment: Moment) -> Self {
        let (state, reading) = (view.state(), view.whole());
        let channels = state.channels().map(|(name, channel)| {
            let read = state.read_channel(channel, moment.now, &reading.link);
            (name.as_str(), Channel::of(channel, &read, moment))
        });
        let channels = channels.collect();
        let mut head = RobotHead::of(view, moment);
        let recent = state.losses().recent();
        head.loss.recent = Some(recent.map(|(at, loss)| LossRecord::of(at, loss, moment.ints)).collect());
        Self {
            head,
            channels,
            label_sources: labels::sources(state.labels()),
            log: RobotLog::of(state, moment),
            as_of: None,
            now: moment.ints.time(moment.now),
        }
    }

    /// Says that it is of the past.
    pub(in crate::http) fn of_the_past(self, as_of: Option<AsOfAnswer>) -> Self {
        Self { as_of, ..self }
    }
}

impl RobotHead {
    fn of(view: &View<'_>, moment: Moment) -> Self {
        let (id, state, reading) = (view.id(), view.state(), view.whole());
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
            mapped: Mapped::of(view, moment),
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
