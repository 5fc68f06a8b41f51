//! `GET /v1/aggregate`: robots taken together.

use axum::{extract::State, http::Uri, response::Response};

use super::{
    Shared,
    answer::{AggregateAnswer, Moment, json_response},
    blocking,
    openapi::{
        parameter::{At, InGroup, Int64, Taking, Where},
        reply::{BadParameter, Busy, Failed, TooCostly, Trimmed},
    },
    parameters::{Parameters, wrong},
    past::{WHEN, when},
    problem::Problem,
    stage::{SELECTING, Stage, selection},
};
use crate::query::{Aggregation, Function};

/// Answers `GET /v1/aggregate`.
#[utoipa::path(
    get,
    path = "/v1/aggregate",
    tag = "fleet",
    summary = "Robots taken together",
    description = "Groups robots by what they have in common, and says of each group how many there are and what a \
                   member, label or channel amounts to: computed of the newest values, whatever their age, beside how \
                   many of these are fresh, late and stale. At most 1000 groups, those with most robots first.",
    params(Taking, Where, InGroup, At, Int64),
    responses(
        (status = 200, description = "The groups.", body = AggregateAnswer),
        BadParameter,
        Trimmed,
        TooCostly,
        Failed,
        Busy
    )
)]
pub(super) async fn aggregate(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &[&SELECTING[..], &WHEN, &["by", "of", "fn"]].concat())?;
    let aggregation = Aggregation {
        selection: selection(&query, &shared.api.groups)?,
        by: query.parsed("by")?.unwrap_or_default(),
        of: query.parsed("of")?.unwrap_or_default(),
    };
    let functions = Function::parse_list(query.text("fn").unwrap_or(FUNCTIONS));
    let functions = functions.map_err(|error| wrong("fn", &error))?;
    let ints = query.ints()?;
    let as_of = when(&query, shared.api.clock.wall())?;
    let turn = shared.turns.take(as_of)?;
    blocking(shared, move |api| {
        let _turn = turn;
        let stage = Stage::set(api, as_of)?;
        let answer = stage.ask(|scene| {
            let groups = aggregation.run(scene)?;
            let mut answer =
                AggregateAnswer::of(&aggregation, groups, &functions, Moment { now: scene.now, ints });
            let Aggregation { selection, by, of } = &aggregation;
            let names = selection.names().chain(by.iter()).chain(of.iter());
            answer.unheard_of = scene.unheard_of(names);
            Ok(answer)
        })?;
        Ok(json_response(&answer.of_the_past(stage.as_of(ints))))
    })
    .await
}

/// What is computed when the request does not say.
const FUNCTIONS: &str = "count,min,max,mean";
