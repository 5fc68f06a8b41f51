//! `GET /v1/conditions`: what is wrong right now, the gravest first, as it was evaluated last.

use std::{fmt, str::FromStr};

use axum::{extract::State, http::Uri, response::Response};
use muster_protocol::id::RobotId;

use super::{
    Shared,
    answer::{ConditionAnswer, ConditionPage, Moment, json_response},
    blocking,
    openapi::{
        parameter::{ConditionPaging, Conditions, Int64},
        reply::{BadParameter, Failed},
    },
    parameters::{PAGING, Page, Parameters, wrong},
    problem::Problem,
};
use crate::{
    conditions::{Code, Condition, Severity},
    watch::Evaluation,
};

/// Answers `GET /v1/conditions`.
#[utoipa::path(
    get,
    path = "/v1/conditions",
    tag = "gateway",
    summary = "What is wrong right now",
    description = "Of the gateway and of its robots, the gravest first. It is evaluated every two seconds, and a \
                   condition clears by itself when its cause is gone. RUNBOOK.md has a section for each code.",
    params(Conditions, ConditionPaging, Int64),
    responses((status = 200, description = "A page.", body = ConditionPage), BadParameter, Failed)
)]
pub(super) async fn conditions(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &["severity", "code", "robot", PAGING[0], PAGING[1]])?;
    let wanted = Wanted::of(&query)?;
    let ints = query.ints()?;
    blocking(shared, move |api| {
        let moment = Moment { now: api.clock.wall(), ints };
        let evaluation = api.board.read();
        let age = api.clock.mono().since(evaluation.at.mono);
        let (conditions, next_cursor) = wanted.read(&evaluation, moment);
        let next_cursor = next_cursor.map(|cursor| cursor.to_string());
        Ok(json_response(&ConditionPage::of(&evaluation, age, (conditions, next_cursor), moment)))
    })
    .await
}

/// Which conditions are wanted, and which part of their list.
#[derive(Debug)]
struct Wanted {
    severities: Vec<Severity>,
    codes: Vec<Code>,
    robot: Option<RobotId>,
    page: Page<Cursor>,
}

/// The last condition of a page. The list is in the order of codes and robots, so a cursor stays true while conditions
/// come and go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    code: Code,
    robot: Option<RobotId>,
}

impl Wanted {
    fn of(query: &Parameters) -> Result<Self, Problem> {
        let severities =
            several(query, "severity", Severity::named, || Severity::ALL.map(Severity::as_str).join(", "))?;
        let codes = several(query, "code", Code::named, || {
            Code::all().map(Code::as_str).collect::<Vec<_>>().join(", ")
        })?;
        Ok(Self { severities, codes, robot: query.parsed("robot")?, page: query.page()? })
    }

    fn takes(&self, condition: &Condition) -> bool {
        let Self { severities, codes, robot, page } = self;
        (severities.is_empty() || severities.contains(&condition.code.severity()))
            && (codes.is_empty() || codes.contains(&condition.code))
            && robot.as_ref().is_none_or(|robot| condition.robot.as_ref() == Some(robot))
            && page.after.as_ref().is_none_or(|after| Cursor::of(condition) > *after)
    }

    /// Returns the page's conditions, and the cursor of the next page if there is one.
    fn read(&self, evaluation: &Evaluation, moment: Moment) -> (Vec<ConditionAnswer>, Option<Cursor>) {
        let mut wanted = evaluation.conditions.iter().filter(|condition| self.takes(condition));
        let page: Vec<&Condition> = wanted.by_ref().take(self.page.limit).collect();
        let next = wanted.next().and(page.last()).map(|last| Cursor::of(last));
        (page.into_iter().map(|condition| ConditionAnswer::of(condition, moment)).collect(), next)
    }
}

/// Reads a parameter of one or several names with commas between them.
fn several<T>(
    query: &Parameters,
    name: &str,
    named: impl Fn(&str) -> Option<T>,
    known: impl Fn() -> String,
) -> Result<Vec<T>, Problem> {
    let names = query.text(name).into_iter().flat_map(|text| text.split(','));
    let parsed =
        names.map(|word| named(word).ok_or_else(|| wrong(name, &format!("{word:?} is none of {}", known()))));
    parsed.collect()
}

impl Cursor {
    fn of(condition: &Condition) -> Self {
        Self { code: condition.code, robot: condition.robot.clone() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let robot = self.robot.as_ref().map_or("", RobotId::as_str);
        write!(out, "{}:{robot}", self.code.as_str())
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (code, robot) = text.split_once(':')?;
            let robot = if robot.is_empty() { None } else { Some(robot.parse().ok()?) };
            Some(Self { code: Code::named(code)?, robot })
        };
        parse().ok_or_else(|| format!("{text:?} is not a `next_cursor` of this list"))
    }
}
