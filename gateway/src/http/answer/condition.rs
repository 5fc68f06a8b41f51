//! What is wrong right now.

use std::{collections::BTreeMap, time::Duration};

use muster_protocol::id::RobotId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Moment, Time, word};
use crate::{
    conditions::{Code, Condition, Severity},
    watch::Evaluation,
};

/// A page of conditions, the gravest first, with counts of all of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Conditions)]
pub(in crate::http) struct ConditionPage {
    counts: ConditionCounts,
    conditions: Vec<ConditionAnswer>,
    /// Ask with it for the next page; null on the last one.
    #[schema(required = true, examples("link_down:berlin/r17"))]
    next_cursor: Option<String>,
    /// How long ago this was evaluated, in milliseconds: it is done every two seconds, or less often where that takes long.
    #[schema(examples(840))]
    evaluated_age_ms: u64,
    /// How long the evaluation took, in milliseconds.
    #[schema(examples(12))]
    evaluation_ms: u64,
    /// Causes beyond the 65,536 conditions that can be listed. Counts do not include them.
    #[schema(examples(0))]
    not_listed: u64,
    /// The gateway's time.
    now: Time,
}

/// All conditions in counts, whatever the request leaves out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct ConditionCounts {
    by_severity: SeverityCounts,
    /// By code, without those that do not hold.
    by_code: BTreeMap<&'static str, u64>,
}

/// Conditions by severity.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::http) struct SeverityCounts {
    error: u64,
    warn: u64,
    info: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Condition)]
pub(in crate::http) struct ConditionAnswer {
    #[schema(schema_with = word::condition_code)]
    code: &'static str,
    #[schema(schema_with = word::severity)]
    severity: &'static str,
    /// The robot that it is about; null if it is the gateway itself.
    #[schema(required = true, examples("berlin/r17"))]
    robot: Option<String>,
    /// What it is, in a few words.
    #[schema(examples("the robot cannot be heard"))]
    title: &'static str,
    /// One sentence with figures.
    #[schema(examples("the session ended: the connection broke; it held 3,120 samples"))]
    detail: String,
    /// Since when.
    since: Time,
    #[schema(schema_with = word::since_from)]
    since_from: &'static str,
    /// How often it came within ten minutes, this time included. One that came three times or more stays until its cause
    /// has been gone for a minute.
    #[schema(examples(1))]
    times: u32,
    /// What to do, in one sentence.
    #[schema(examples("look at the robot's power and network: see RUNBOOK.md#link_down"))]
    remedy: String,
}

impl ConditionPage {
    /// Describes a page of an evaluation that is so old.
    pub(in crate::http) fn of(
        evaluation: &Evaluation,
        age: Duration,
        (conditions, next_cursor): (Vec<ConditionAnswer>, Option<String>),
        moment: Moment,
    ) -> Self {
        let of = |severity: Severity| evaluation.count_of(severity);
        let by_severity =
            SeverityCounts { error: of(Severity::Error), warn: of(Severity::Warn), info: of(Severity::Info) };
        let by_code = Code::all().map(|code| (code.as_str(), evaluation.count(code)));
        let by_code = by_code.filter(|(_, count)| *count > 0).collect();
        Self {
            counts: ConditionCounts { by_severity, by_code },
            conditions,
            next_cursor,
            evaluated_age_ms: whole_ms(age),
            evaluation_ms: whole_ms(evaluation.took),
            not_listed: evaluation.not_listed,
            now: moment.ints.time(moment.now),
        }
    }
}

impl ConditionAnswer {
    /// Describes a condition.
    pub(in crate::http) fn of(condition: &Condition, moment: Moment) -> Self {
        let code = condition.code;
        Self {
            code: code.as_str(),
            severity: code.severity().as_str(),
            robot: condition.robot.as_ref().map(RobotId::to_string),
            title: code.title(),
            detail: condition.detail.clone(),
            since: moment.ints.time(condition.since),
            since_from: condition.since_from.as_str(),
            times: condition.times,
            remedy: code.remedy(),
        }
    }
}

fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
