//! What a request asks of the fleet: which robots, in which order, what of each, and how long it may take.

use std::time::Duration;

use muster_protocol::time::MonoTime;

use super::{
    Api,
    problem::Problem,
    query::{Query, wrong},
};
use crate::groups::Groups;
use crate::query::{Expression, ExpressionError, Scene, Selection, TooLong};

/// The parameters that choose robots.
pub(super) const SELECTING: [&str; 2] = ["where", "group"];

/// How long the walk over the fleet may take before it is given up.
const WALK_MAX: Duration = Duration::from_secs(5);

/// Reads which robots are wanted: those of a group and of an expression, if both are given.
pub(super) fn selection(query: &Query, groups: &Groups) -> Result<Selection, Problem> {
    let written = query.text("where").map(|text| condition("where", text));
    let grouped = query.text("group").map(|name| {
        let text = groups.expression(name).ok_or_else(|| {
            wrong("group", &format!("there is no group {name:?}; GET /v1/groups lists those that there are"))
        })?;
        condition("group", &text)
    });
    let conditions = grouped.into_iter().chain(written).collect::<Result<_, _>>()?;
    Ok(Selection { conditions })
}

/// Reads a condition, which came as this parameter.
pub(super) fn condition(parameter: &str, text: &str) -> Result<Expression, Problem> {
    Expression::parse(text).map_err(|error| {
        let problem = wrong(parameter, &error);
        match error {
            ExpressionError::Syntax { line, column, .. } => problem.at(line, column),
            ExpressionError::Unknown { column, .. } => problem.at(1, column),
            ExpressionError::TooLong { .. } | ExpressionError::Costly { .. } => problem,
        }
    })
}

/// Lets a question look at the fleet as it is now, for as long as it may take.
pub(super) fn ask<T>(
    api: &Api,
    question: impl FnOnce(&Scene<'_>) -> Result<T, TooLong>,
) -> Result<T, Problem> {
    let began: MonoTime = api.clock.mono();
    let is_late = || api.clock.mono().since(began) > WALK_MAX;
    let scene = Scene { fleet: &api.fleet, live: &*api.live, now: api.clock.wall(), is_late: &is_late };
    question(&scene).map_err(|error| Problem::too_costly(error.to_string()))
}
