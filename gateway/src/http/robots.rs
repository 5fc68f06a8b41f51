//! `GET /v1/fleet`, `GET /v1/robots` and `GET /v1/robots/F/R`.

use std::{
    cmp::Reverse,
    fmt,
    str::FromStr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use muster_protocol::{id::RobotId, time::WallTime};

use super::{
    Api, Shared,
    answer::{
        FleetAnswer, FleetCounts, Ingest, LogSpan, Moment, Robot, RobotPage, RobotSummary, json_response,
    },
    blocking,
    openapi::{
        parameter::{Int64, Paging, RobotPath, Sorting},
        reply::{BadParameter, Failed, NoRobot},
    },
    problem::Problem,
    query::{PAGING, Page as Part, Query},
};
use crate::fleet::{LiveLink, RobotState};

/// Answers `GET /v1/fleet`.
#[utoipa::path(
    get,
    path = "/v1/fleet",
    tag = "fleet",
    summary = "The fleet in counts",
    description = "Robots by link, health and completeness, channels by freshness, totals, and where the log stands.",
    params(Int64),
    responses((status = 200, description = "The fleet.", body = FleetAnswer), BadParameter, Failed)
)]
pub(super) async fn fleet(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let ints = Query::parse(&uri, &[])?.ints()?;
    blocking(shared, move |api| {
        let moment = Moment { now: api.clock.wall(), ints };
        Ok(json_response(&FleetAnswer {
            counts: FleetCounts::of(&api.fleet, &*api.live, moment),
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
    description = "Pages stay in order while the fleet changes: a robot is on one page at most, unless what it is \
                   sorted by changes meanwhile.",
    params(Sorting, Paging, Int64),
    responses((status = 200, description = "A page.", body = RobotPage), BadParameter, Failed)
)]
pub(super) async fn robots(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["where", "sort", PAGING[0], PAGING[1]])?;
    if query.text("where").is_some() {
        let detail =
            "`where` is not available in this version; leave it out and filter the answer".to_owned();
        return Err(Problem::parameter("where", detail));
    }
    let page = Page::of(&query)?;
    let ints = query.ints()?;
    blocking(shared, move |api| {
        let moment = Moment { now: api.clock.wall(), ints };
        let (robots, next_cursor) = page.read(api, moment);
        let next_cursor = next_cursor.map(|cursor| cursor.to_string());
        Ok(json_response(&RobotPage { robots, next_cursor, now: ints.time(moment.now) }))
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

/// Which part of the list is wanted.
#[derive(Debug)]
struct Page {
    sort: Sort,
    part: Part<Cursor>,
}

/// A field to sort by, descending with a `-` in front. Robots with equal fields come in the order of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sort {
    field: Field,
    descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Health,
    LastHeard,
    Link,
    Lost,
    OnRobot,
    Samples,
}

const FIELDS: [(&str, Field); 7] = [
    ("id", Field::Id),
    ("health", Field::Health),
    ("last_heard", Field::LastHeard),
    ("link", Field::Link),
    ("lost", Field::Lost),
    ("on_robot", Field::OnRobot),
    ("samples", Field::Samples),
];

/// The last robot of a page, with the value that it was sorted by: stable when the fleet changes between pages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    key: i64,
    id: RobotId,
}

/// Returns the names of the fields to sort by.
pub(super) fn sort_fields() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

impl Page {
    fn of(query: &Query) -> Result<Self, Problem> {
        let sort = query.parsed("sort")?.unwrap_or(Sort { field: Field::Id, descending: false });
        Ok(Self { sort, part: query.page()? })
    }

    /// Returns the page's robots, and the cursor of the next page if there is one.
    fn read(&self, api: &Api, moment: Moment) -> (Vec<RobotSummary>, Option<Cursor>) {
        let mut ids = self.ids(api, moment.now);
        let next = (ids.len() > self.part.limit).then(|| ids[self.part.limit - 1].clone());
        ids.truncate(self.part.limit);
        let summary = |cursor: &Cursor| {
            let live = api.live.live(&cursor.id);
            let state = api.fleet.robot(&cursor.id)?;
            let state = state.read().unwrap_or_else(PoisonError::into_inner);
            Some(RobotSummary::of(&cursor.id, &state, live.as_ref(), moment))
        };
        (ids.iter().filter_map(summary).collect(), next)
    }

    /// Returns the ids after the cursor, at least one more than the page holds if there are more.
    fn ids(&self, api: &Api, now: WallTime) -> Vec<Cursor> {
        if self.sort == (Sort { field: Field::Id, descending: false }) {
            let after = self.part.after.as_ref().map(|after| &after.id);
            let robots = api.fleet.robots(after).into_iter().take(self.part.limit + 1);
            return robots.map(|(id, _)| Cursor { key: 0, id }).collect();
        }
        let cursor = |(id, robot): (RobotId, Arc<RwLock<RobotState>>)| {
            let live = api.live.live(&id);
            let state = robot.read().unwrap_or_else(PoisonError::into_inner);
            Cursor { key: self.sort.key(&state, live.as_ref(), now), id }
        };
        let found: Vec<Cursor> = api.fleet.robots(None).into_iter().map(cursor).collect();
        match (self.sort.field, self.sort.descending) {
            (Field::Id, true) => self.rest(found, |cursor| Reverse(cursor.id.clone())),
            (_, true) => self.rest(found, |cursor| (Reverse(cursor.key), cursor.id.clone())),
            (_, false) => self.rest(found, |cursor| (cursor.key, cursor.id.clone())),
        }
    }

    fn rest<K: Ord>(&self, mut found: Vec<Cursor>, order: impl Fn(&Cursor) -> K) -> Vec<Cursor> {
        found.sort_by_cached_key(&order);
        let after = self.part.after.as_ref().map(&order);
        let from = after.map_or(0, |after| found.partition_point(|cursor| order(cursor) <= after));
        found.split_off(from)
    }
}

impl Sort {
    fn key(self, state: &RobotState, live: Option<&LiveLink>, now: WallTime) -> i64 {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let read = || state.read(now, live);
        match self.field {
            Field::Id => 0,
            Field::Health => read().health.level as i64,
            Field::LastHeard => read().link.last_heard.map_or(i64::MIN, |at| at.0),
            Field::Link => read().link.state as i64,
            Field::Lost => count(state.totals().lost_samples()),
            Field::OnRobot => state.completeness(live).on_robot.map_or(-1, |told| count(told.samples)),
            Field::Samples => count(state.totals().samples),
        }
    }
}

impl FromStr for Sort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let found = FIELDS.iter().find(|(known, _)| *known == name);
        let (_, field) = found.ok_or_else(|| {
            let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
            format!("{text:?} is none of {}, with a `-` in front to descend", known.join(", "))
        })?;
        Ok(Self { field: *field, descending })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.key, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (key, id) = text.split_once(':')?;
            Some(Self { key: key.parse().ok()?, id: id.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is not a `next_cursor` of this list"))
    }
}
