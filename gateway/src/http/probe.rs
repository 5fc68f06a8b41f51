//! What machines ask of the gateway itself: liveness, readiness, metrics; and the list of paths for a person.

use std::sync::PoisonError;

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::{Shared, blocking, problem::Problem, query::Query};
use crate::metrics::{CONTENT_TYPE, Gauges};

/// Answers `GET /`.
pub(super) async fn index(uri: Uri) -> Result<&'static str, Problem> {
    Query::parse(&uri, &[])?;
    Ok(INDEX)
}

/// Answers `GET /healthz`: the process answers.
pub(super) async fn healthz(uri: Uri) -> Result<&'static str, Problem> {
    Query::parse(&uri, &[])?;
    Ok("ok\n")
}

/// Answers `GET /readyz`: the gateway takes samples.
pub(super) async fn readyz(State(shared): State<Shared>, uri: Uri) -> Result<&'static str, Problem> {
    Query::parse(&uri, &[])?;
    blocking(shared, |api| match (api.ready)() {
        Ok(()) => Ok("ready\n"),
        Err(why) => {
            let (kind, title) = ("not-ready", "The gateway takes no samples");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, why))
        }
    })
    .await
}

/// Answers `GET /metrics`.
pub(super) async fn metrics(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    Query::parse(&uri, &[])?;
    blocking(shared, |api| {
        let mut gauges = Gauges { robots: api.fleet.len() as u64, ..Gauges::default() };
        for (id, robot) in api.fleet.robots(None) {
            let live = api.live.live(&id);
            let state = robot.read().unwrap_or_else(PoisonError::into_inner);
            gauges.standings[state.completeness(live.as_ref()).standing as usize] += 1;
        }
        gauges.first_offset = api.log.first().0;
        gauges.next_offset = api.log.next().0;
        api.log.gauges(&mut gauges);
        Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.encode(&gauges)).into_response())
    })
    .await
}

const INDEX: &str = "\
Muster gateway

GET /v1/fleet                      the fleet in counts
GET /v1/robots                     a page of robots: ?sort= ?limit= ?cursor=
GET /v1/robots/FLEET/ROBOT         everything known of one robot
GET /v1/robots/FLEET/ROBOT/labels  what the robot is called by; PATCH changes the operator's labels
GET /v1/robots/FLEET/ROBOT/losses  what was lost, record by record: ?limit= ?cursor=
GET /v1/robots/FLEET/ROBOT/samples every stored sample as NDJSON: ?from= ?to= ?channels= ?after=
GET /healthz                       the process answers
GET /readyz                        the gateway takes samples
GET /metrics                       OpenMetrics

?int64=string quotes 64-bit integers and times, for JavaScript.
";
