//! `GET /v1/fleet`, `GET /v1/robots` and `GET /v1/robots/F/R`.

use std::sync::{Arc, PoisonError, RwLock};

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use muster_protocol::id::RobotId;

use super::{
    Api, Shared,
    answer::{FleetAnswer, FleetCounts, Ingest, LogSpan, Moment, Robot, RobotPage, Undecided, json_response},
    blocking,
    list::List,
    openapi::{
        parameter::{Fields, InGroup, Int64, RobotPaging, RobotPath, Sorting, Where},
        reply::{BadParameter, Failed, ListGone, NoRobot, TooCostly},
    },
    problem::Problem,
    query::{PAGING, Query},
    question::{SELECTING, ask, selection},
};
use crate::fleet::RobotState;

/// Answers `GET /v1/fleet`.
#[utoipa::path(
    get,
    path = "/v1/fleet",
    tag = "fleet",
    summary = "The fleet in counts",
    description = "Robots by link, health and completeness, channels by freshness, totals, and where the log stands.",
    params(Where, InGroup, Int64),
    responses((status = 200, description = "The fleet.", body = FleetAnswer), BadParameter, TooCostly, Failed)
)]
pub(super) async fn fleet(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &SELECTING)?;
    let ints = query.ints()?;
    let selection = selection(&query, &shared.api.groups)?;
    blocking(shared, move |api| {
        let (counts, undecided, now) = ask(api, |scene| {
            FleetCounts::of(scene, &selection, ints).map(|(counts, undecided)| (counts, undecided, scene.now))
        })?;
        let moment = Moment { now, ints };
        Ok(json_response(&FleetAnswer {
            counts,
            undecided: Undecided::of(undecided),
            ingest: Ingest {
                samples_per_s: api.metrics.samples_per_s(api.clock.mono()),
                json_given_up: ints.count(api.metrics.json_given_up()),
            },
            sessions: api.live.count(),
            log: LogSpan {
                id: api.log.log_id().to_string(),
                first: ints.offset(api.log.first()),
                next: ints.offset(api.log.next()),
            },
            version: api.version,
            now: ints.time(moment.now),
        }))
    })
    .await
}

/// Answers `GET /v1/robots`.
#[utoipa::path(
    get,
    path = "/v1/robots",
    tag = "fleet",
    summary = "A page of robots",
    description = "Robots by their ids: whatever the fleet does meanwhile, none comes twice and none is left out. Sorted \
                   by anything else, the pages follow the order of the first one, which is kept for ten minutes. A \
                   robot that `where` does not take any more when its page is read is left out of it.",
    params(Where, InGroup, Sorting, Fields, RobotPaging, Int64),
    responses(
        (status = 200, description = "A page.", body = RobotPage),
        BadParameter,
        ListGone,
        TooCostly,
        Failed
    )
)]
pub(super) async fn robots(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &[&SELECTING[..], &PAGING, &["sort", "fields"]].concat())?;
    let list = List::of(&query, &shared.api.groups)?;
    let lists = shared.lists.clone();
    blocking(shared, move |api| Ok(json_response(&list.page(api, &lists)?))).await
}

/// Answers `GET /v1/robots/F/R`.
#[utoipa::path(
    get,
    path = "/v1/robots/{fleet}/{robot}",
    tag = "fleet",
    summary = "One robot's whole state",
    description = "Link, health and freshness are three separate axes: a robot can be connected and have stale values.",
    params(RobotPath, Int64),
    responses((status = 200, description = "The robot.", body = Robot<'_>), BadParameter, NoRobot, Failed)
)]
pub(super) async fn robot(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let ints = Query::parse(&uri, &[])?.ints()?;
    let id = robot_id(&fleet, &robot)?;
    blocking(shared, move |api| {
        let state = known_robot(api, &id)?;
        let live = api.live.live(&id);
        let moment = Moment { now: api.clock.wall(), ints };
        let state = state.read().unwrap_or_else(PoisonError::into_inner);
        Ok(json_response(&Robot::of(&id, &state, live.as_ref(), moment)))
    })
    .await
}

/// Reads a robot's id from a path.
pub(super) fn robot_id(fleet: &str, robot: &str) -> Result<RobotId, Problem> {
    RobotId::new(fleet, robot).map_err(|error| {
        let (kind, title) = ("bad-robot", "Not a robot's id");
        Problem::new(axum::http::StatusCode::NOT_FOUND, kind, title, error.to_string())
    })
}

/// Finds a robot that the log names.
pub(super) fn known_robot(api: &Api, id: &RobotId) -> Result<Arc<RwLock<RobotState>>, Problem> {
    api.fleet.robot(id).ok_or_else(|| Problem::unknown_robot(id))
}
