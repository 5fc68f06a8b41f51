//! What machines ask of the gateway itself: liveness, readiness, metrics; and the list of paths for a person.

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use super::{
    Shared, blocking,
    openapi::reply::{BadParameter, Failed, NotReady},
    parameters::Parameters,
    problem::Problem,
};
use crate::metrics::{CONTENT_TYPE, Gauges};

/// Answers `GET /`.
#[utoipa::path(
    get,
    path = "/",
    tag = "gateway",
    summary = "The paths, for a person",
    responses((status = 200, description = "The paths as text.", body = String), BadParameter)
)]
pub(super) async fn index(uri: Uri) -> Result<&'static str, Problem> {
    Parameters::parse(&uri, &[])?;
    Ok(INDEX)
}

/// Answers `GET /healthz`: the process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "gateway",
    summary = "Whether the process answers",
    responses((status = 200, description = "It does.", body = String), BadParameter)
)]
pub(super) async fn healthz(uri: Uri) -> Result<&'static str, Problem> {
    Parameters::parse(&uri, &[])?;
    Ok("ok\n")
}

/// Answers `GET /readyz`: the gateway takes samples.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "gateway",
    summary = "Whether the gateway takes samples",
    responses((status = 200, description = "It does.", body = String), BadParameter, Failed, NotReady)
)]
pub(super) async fn readyz(State(shared): State<Shared>, uri: Uri) -> Result<&'static str, Problem> {
    Parameters::parse(&uri, &[])?;
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
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "gateway",
    summary = "The gateway's own figures",
    description = "OpenMetrics, for Prometheus. Labels are bounded: there are none for robots or channels.",
    responses(
        (
            status = 200,
            description = "The figures.",
            content_type = CONTENT_TYPE,
            body = String
        ),
        BadParameter,
        Failed,
    )
)]
pub(super) async fn metrics(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    blocking(shared, |api| {
        let (first_offset, next_offset) = (api.log.first().0, api.log.next().0);
        let mut gauges = Gauges { first_offset, next_offset, ..Gauges::default() };
        api.log.gauges(&mut gauges);
        Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], api.metrics.encode(&gauges)).into_response())
    })
    .await
}

/// The answer of `GET /`.
pub(super) const INDEX: &str = "\
Muster gateway

GET /v1/fleet                      the fleet in counts: ?where= ?group= ?at= ?known=
GET /v1/robots                     a page of robots: ?where= ?group= ?sort= ?fields= ?limit= ?cursor= ?at= ?known=
GET /v1/aggregate                  robots taken together: ?by= ?of= ?fn= ?where= ?group= ?at= ?known=
GET /v1/groups                     questions that are saved by name: ?limit= ?cursor=
GET /v1/groups/NAME                one of them; PUT saves it, DELETE removes it
GET /v1/conditions                 what is wrong right now: ?severity= ?code= ?robot= ?limit= ?cursor=
GET /v1/robots/FLEET/ROBOT         everything known of one robot: ?at= ?known=
GET /v1/robots/FLEET/ROBOT/labels  what the robot is called by; PATCH changes the operator's labels
GET /v1/robots/FLEET/ROBOT/losses  what was lost, record by record: ?limit= ?cursor=
GET /v1/robots/FLEET/ROBOT/samples every stored sample as NDJSON: ?from= ?to= ?channels= ?after=
GET /healthz                       the process answers
GET /readyz                        the gateway takes samples
GET /metrics                       OpenMetrics
GET /openapi.json                  these paths, their parameters and answers, for programs

?int64=string quotes 64-bit integers and times, for JavaScript.
";
