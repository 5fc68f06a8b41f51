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
    answer::{
        FleetAnswer, FleetCounts, Ingest, Ints, LogSpan, Moment, Robot, RobotPage, Undecided, json_response,
    },
    blocking,
    list::List,
    openapi::{
        parameter::{At, Fields, InGroup, Int64, RobotPaging, RobotPath, Sorting, Where},
        reply::{BadParameter, Busy, Failed, ListGone, NoRobot, TooCostly, Trimmed},
    },
    parameters::{PAGING, Parameters},
    past::{self, AsOfAnswer, WHEN, when},
    problem::Problem,
    stage::{FOLD_MAX, SELECTING, Stage, late_after, selection},
};
use crate::{
    fleet::{AsOf, Heard, RobotState},
    query::View,
};

/// Answers `GET /v1/fleet`.
#[utoipa::path(
    get,
    path = "/v1/fleet",
    tag = "fleet",
    summary = "The fleet in counts",
    description = "Robots by link, health and completeness, channels by freshness, and totals. What comes in, the \
                   open sessions and where the log stands are of now: they are not in an answer about the past.",
    params(Where, InGroup, At, Int64),
    responses((status = 200, description = "The fleet.", body = FleetAnswer), BadParameter, Trimmed, TooCostly, Failed, Busy)
)]
pub(super) async fn fleet(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &[&SELECTING[..], &WHEN].concat())?;
    let ints = query.ints()?;
    let selection = selection(&query, &shared.api.groups)?;
    let as_of = when(&query, shared.api.clock.wall())?;
    let turn = shared.turns.take(as_of)?;
    blocking(shared, move |api| {
        let _turn = turn;
        let stage = Stage::set(api, as_of)?;
        let ((counts, undecided), unheard_of, now) = stage.ask(|scene| {
            Ok((FleetCounts::of(scene, &selection, ints)?, scene.unheard_of(selection.names()), scene.now))
        })?;
        let of_now = as_of.is_none();
        Ok(json_response(&FleetAnswer {
            counts,
            undecided: Undecided::of(undecided),
            unheard_of,
            as_of: stage.as_of(ints),
            ingest: of_now.then(|| ingest(api, ints)),
            sessions: of_now.then(|| api.live.count()),
            log: of_now.then(|| log_span(api, ints)),
            version: api.version,
            now: ints.time(now),
        }))
    })
    .await
}

fn ingest(api: &Api, ints: Ints) -> Ingest {
    Ingest {
        samples_per_s: api.metrics.samples_per_s(api.clock.mono()),
        json_given_up: ints.count(api.metrics.json_given_up()),
    }
}

fn log_span(api: &Api, ints: Ints) -> LogSpan {
    LogSpan {
        id: api.log.log_id().to_string(),
        first: ints.offset(api.log.first()),
        next: ints.offset(api.log.next()),
    }
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
    params(Where, InGroup, At, Sorting, Fields, RobotPaging, Int64),
    responses(
        (status = 200, description = "A page.", body = RobotPage),
        BadParameter,
        ListGone,
        TooCostly,
        Failed,
        Busy
    )
)]
pub(super) async fn robots(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let known = [&SELECTING[..], &WHEN, &PAGING, &["sort", "fields"]].concat();
    let list = List::of(&Parameters::parse(&uri, &known)?, &shared.api.groups, shared.api.clock.wall())?;
    let (lists, moments, turn) =
        (shared.lists.clone(), shared.moments.clone(), shared.turns.take(list.as_of)?);
    blocking(shared, move |api| {
        let _turn = turn;
        Ok(json_response(&list.page(api, &lists, &moments)?))
    })
    .await
}

/// Answers `GET /v1/robots/F/R`.
#[utoipa::path(
    get,
    path = "/v1/robots/{fleet}/{robot}",
    tag = "fleet",
    summary = "One robot's whole state",
    description = "Link, health and freshness are three separate axes: a robot can be connected and have stale values.",
    params(RobotPath, At, Int64),
    responses((status = 200, description = "The robot.", body = Robot<'_>), BadParameter, NoRobot, Trimmed, TooCostly, Failed, Busy)
)]
pub(super) async fn robot(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &WHEN)?;
    let ints = query.ints()?;
    let as_of = when(&query, shared.api.clock.wall())?;
    let turn = shared.turns.take(as_of)?;
    let id = robot_id(&fleet, &robot)?;
    blocking(shared, move |api| {
        let _turn = turn;
        match as_of {
            None => robot_now(api, &id, ints),
            Some(as_of) => robot_then(api, &id, as_of, ints),
        }
    })
    .await
}

fn robot_now(api: &Api, id: &RobotId, ints: Ints) -> Result<Response, Problem> {
    let state = known_robot(api, id)?;
    let live = api.live.live(id);
    let moment = Moment { now: api.clock.wall(), ints };
    let state = state.read().unwrap_or_else(PoisonError::into_inner);
    let view = View::new(id, &state, moment.now, live.as_ref().into());
    Ok(json_response(&Robot::of(&view, moment)))
}

fn robot_then(api: &Api, id: &RobotId, as_of: AsOf, ints: Ints) -> Result<Response, Problem> {
    let past = past::robot(api, id, as_of, &late_after(api, FOLD_MAX))?;
    let view = View::new(id, &past.state, as_of.at, Heard::OnRecord);
    let robot = Robot::of(&view, Moment { now: as_of.at, ints });
    Ok(json_response(&robot.of_the_past(Some(AsOfAnswer::of(as_of, past.unreadable, ints)))))
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
