//! The HTTP API: what backends, operators and machines read of the gateway. It changes nothing but the labels that
//! operators give to robots, and the groups that they save.
//!
//! Promises: an answer is exact and says how old what it tells is; a request that cannot be understood is refused with
//! a sentence that names the parameter (RFC 9457); an answer that could not be finished never looks finished.
//!
//! Anything that takes a lock, a disk or a while runs on a thread that may block. Nothing here writes to the log by
//! itself: labels go the way of everything else, through the committer.
//!
//! A web page in a browser on this machine reaches the API as the browser does. It may not write: `writing` says how.

mod aggregate;
mod answer;
mod compress;
mod conditions;
mod damage;
mod fields;
mod groups;
mod labels;
mod lines;
mod list;
mod lists;
mod log;
mod losses;
mod moments;
mod openapi;
mod parameters;
mod past;
mod probe;
mod problem;
mod robots;
mod samples;
mod serve;
mod stage;
#[cfg(test)]
mod tests;
mod writing;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::task::spawn_blocking;

use crate::{
    clock::Clock,
    fleet::{Fleet, LiveLinks},
    groups::Groups,
    ingest::Labelling,
    metrics::Metrics,
    watch::Board,
};

pub use log::{Log, Records, TimeSpan};
pub use serve::serve;

use compress::compress;
use damage::Damages;
use lists::Lists;
use moments::Moments;
use past::Turns;
use problem::Problem;
use samples::Streams;

/// What the API reads.
pub struct Api {
    /// The state of the fleet.
    pub fleet: Arc<Fleet>,
    /// The committed log.
    pub log: Arc<dyn Log>,
    /// Questions that are saved by name.
    pub groups: Arc<Groups>,
    /// The sessions that are open.
    pub live: Arc<dyn LiveLinks>,
    /// Changes what operators call robots.
    pub labelling: Arc<dyn Labelling>,
    /// The gateway's own figures.
    pub metrics: Arc<Metrics>,
    /// The gateway's clock.
    pub clock: Clock,
    /// What is wrong, as it was evaluated last.
    pub board: Board,
    /// Says whether samples are taken, and if not, why and what to do.
    pub ready: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// The gateway's version.
    pub version: &'static str,
}

/// What each handler gets.
#[derive(Clone)]
struct Shared {
    api: Arc<Api>,
    streams: Streams,
    damages: Damages,
    lists: Lists,
    moments: Moments,
    turns: Turns,
}

/// The paths; ARCHITECTURE.md says what each answers.
const PATHS: [&str; 15] = [
    "/",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/v1/aggregate",
    "/v1/conditions",
    "/v1/fleet",
    "/v1/groups",
    "/v1/groups/{name}",
    "/v1/robots",
    "/v1/robots/{fleet}/{robot}",
    "/v1/robots/{fleet}/{robot}/labels",
    "/v1/robots/{fleet}/{robot}/losses",
    "/v1/robots/{fleet}/{robot}/samples",
];

/// Returns the API as a service.
pub fn router(api: Arc<Api>) -> Router {
    api.metrics.set_streams_bound(samples::STREAMS_MAX);
    let shared = Shared {
        api,
        streams: Streams::new(),
        damages: Damages::default(),
        lists: Lists::default(),
        moments: Moments::default(),
        turns: Turns::new(),
    };
    let [index, healthz, metrics, openapi, readyz, of_fleet @ ..] = PATHS;
    let [aggregate, conditions, fleet, groups, group, of_robots @ ..] = of_fleet;
    let [robots, robot, labels, losses, samples] = of_robots;
    let routes = Router::new()
        .route(index, get(probe::index))
        .route(healthz, get(probe::healthz))
        .route(metrics, get(probe::metrics))
        .route(openapi, get(openapi::describe))
        .route(readyz, get(probe::readyz))
        .route(aggregate, get(aggregate::aggregate))
        .route(conditions, get(conditions::conditions))
        .route(fleet, get(robots::fleet))
        .route(groups, get(groups::groups))
        .route(group, get(groups::group).put(groups::save).delete(groups::remove))
        .route(robots, get(robots::robots))
        .route(robot, get(robots::robot))
        .route(labels, get(labels::labels).patch(labels::patch))
        .route(losses, get(losses::losses))
        .route(samples, get(samples::samples))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(shared.clone());
    // A router of its own around them, because `Allow` is set outside of the layers of routes.
    Router::new().fallback_service(routes).layer(middleware::from_fn_with_state(shared, finish))
}

/// Counts the request, makes a problem of an error that has no body of ours, answers OPTIONS, and adds the headers of
/// every answer.
async fn finish(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (path, asked) = (request.uri().path().to_owned(), request.headers().clone());
    let method = request.method().clone();
    let began = shared.api.clock.mono();
    let mut response = next.run(request).await;
    let is_problem = |value: &HeaderValue| value == problem::MEDIA_TYPE;
    let status = response.status();
    if status.as_u16() >= 400 && !response.headers().get(header::CONTENT_TYPE).is_some_and(is_problem) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = if method == Method::OPTIONS && status == StatusCode::METHOD_NOT_ALLOWED {
            StatusCode::NO_CONTENT.into_response()
        } else {
            Problem::of_status(status, &path).into_response()
        };
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, with_options(&allow))));
    }
    let status = response.status().as_u16();
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = shared.api.clock.mono().since(began);
    shared.api.metrics.request(template_of(&path), status, took);
    compress(&method, &asked, response)
}

/// Adds the method that each path has beside its own.
fn with_options(allow: &HeaderValue) -> HeaderValue {
    let methods = allow.to_str().unwrap_or_default();
    HeaderValue::try_from(format!("{methods},OPTIONS")).expect("methods are text")
}

/// Returns the template that a path matches, for the metrics' labels.
fn template_of(path: &str) -> &'static str {
    let matches = |template: &&str| {
        let mut parts = template.split('/').zip(path.split('/'));
        let same_length = template.split('/').count() == path.split('/').count();
        same_length && parts.all(|(wanted, found)| wanted == found || wanted.starts_with('{'))
    };
    PATHS.into_iter().find(matches).unwrap_or("other")
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(
    shared: Shared,
    work: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = spawn_blocking(move || {
        shared.moments.forget(shared.api.clock.mono());
        work(&shared.api)
    })
    .await;
    done.unwrap_or_else(|_| {
        Err(Problem::internal("the answer failed; the gateway's log says why".to_owned()))
    })
}

impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Api").field("version", &self.version).finish_non_exhaustive()
    }
}
