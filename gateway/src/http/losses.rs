//! `GET /v1/robots/F/R/losses`: each loss record of a robot, page by page, as the log has it.
//!
//! The fold knows the first and the last of them, so a robot that lost nothing lately is not read to its end. Between
//! them the robot's records are read one by one, a bounded number for each page: a page may be short, or empty, and
//! still have a next one.

use std::str::FromStr;

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use muster_protocol::{
    id::{Offset, RobotId},
    loss::{Absence, Loss, LostSeq},
    message::SeqRange,
    time::WallTime,
};

use super::{
    Api, Shared,
    answer::{Ints, LossPage, LossRecord, LossReport, LostBatch, LostPart, LostRange, json_response},
    blocking,
    damage::{self, Known},
    openapi::{
        parameter::{Int64, LossPaging, RobotPath},
        reply::{BadParameter, Failed, NoRobot, Trimmed},
    },
    parameters::{PAGING, Page as Part, Parameters},
    problem::Problem,
    robots::{known_robot, robot_id},
};
use crate::{
    fleet::LossRecord as Sum,
    record::{Body, Envelope},
    store::ReadError,
};

/// Most records that are looked at for one page: some hundred MiB of batches at most, a few seconds.
const PAGE_RECORDS_MAX: usize = 20_000;

/// One page, read from the log.
#[derive(Debug, Default)]
struct Page {
    losses: Vec<LossReport>,
    /// The last offset that was looked at, if there may be more.
    next: Option<Offset>,
    damaged: Vec<(Offset, Offset)>,
}

/// The last record of a page.
#[derive(Clone, Copy, Debug)]
struct Cursor(Offset);

/// Answers `GET /v1/robots/F/R/losses`.
#[utoipa::path(
    get,
    path = "/v1/robots/{fleet}/{robot}/losses",
    tag = "fleet",
    summary = "What a robot lost, record by record",
    description = "The oldest record comes first. A page may be short, or empty, and still have a next one.",
    params(RobotPath, LossPaging, Int64),
    responses(
        (
            status = 200,
            description = "A page.",
            body = LossPage,
            headers(("muster-damaged" = String, description = "Offsets of damaged records that are left out, as in `5-8,20-20`."))
        ),
        BadParameter,
        NoRobot,
        Trimmed,
        Failed,
    )
)]
pub(super) async fn losses(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &PAGING)?;
    let (part, ints) = (query.page()?, query.ints()?);
    let id = robot_id(&fleet, &robot)?;
    blocking(shared, move |api| {
        let now = ints.time(api.clock.wall());
        let page = read(api, &id, ints, &part)?;
        let mut answer = json_response(&LossPage {
            robot: id.as_str().to_owned(),
            losses: page.losses,
            next_cursor: page.next.map(|at| at.to_string()),
            now,
        });
        let damaged: Known = page.damaged.into_iter().collect();
        let header = damaged.header(Offset(0));
        answer.headers_mut().extend(header.map(|ranges| (damage::HEADER, ranges)));
        Ok(answer)
    })
    .await
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let offset = text.parse().map_err(|_| format!("{text:?} is not a `next_cursor` of this list"))?;
        Ok(Self(Offset(offset)))
    }
}

fn read(api: &Api, id: &RobotId, ints: Ints, part: &Part<Cursor>) -> Result<Page, Problem> {
    let state = known_robot(api, id)?;
    let before_log = Offset(api.log.first().0.saturating_sub(1));
    if let Some(Cursor(after)) = part.after.filter(|Cursor(after)| *after < before_log) {
        return Err(Problem::trimmed("cursor", after, api.log.first()));
    }
    let span = state.read().unwrap_or_else(std::sync::PoisonError::into_inner).losses().span();
    let mut page = Page::default();
    let Some((first, last)) = span else { return Ok(page) };
    let before_first = Offset(first.0.saturating_sub(1));
    let after = part.after.map_or(Offset(0), |Cursor(after)| after).max(before_first).max(before_log);
    let everything = (WallTime(i64::MIN), None);
    for (looked_at, record) in api.log.robot_records(id, everything, Some(after)).enumerate() {
        match record {
            Ok((at, _)) if at > last => break,
            Ok((at, envelope)) => {
                page.losses.extend(described(ints, at, &envelope));
                if page.losses.len() >= part.limit || looked_at + 1 >= PAGE_RECORDS_MAX {
                    page.next = (at < last).then_some(at);
                    break;
                }
            }
            Err(ReadError::Damaged { first, end, .. }) => page.damaged.push((first, end)),
            Err(ReadError::Record { offset, .. }) => page.damaged.push((offset, offset.next())),
            Err(error) => return Err(Problem::internal(error.to_string())),
        }
    }
    Ok(page)
}

/// Returns a loss with everything that its record says; `None` for another record.
fn described(ints: Ints, at: Offset, envelope: &Envelope) -> Option<LossReport> {
    let received_at = envelope.received_at;
    let (sum, lost, reported_by) = match &envelope.body {
        Body::Loss { head, loss } => {
            let by = if head.is_some() { "agent" } else { "gateway" };
            (Sum::of(received_at, loss), lost_batches(ints, loss), by)
        }
        Body::Absence(absence) => {
            (Sum::of_absence(received_at, absence)?, absent_batches(ints, absence), "gateway")
        }
        Body::Batch { .. } | Body::Session(_) | Body::ClockFix(_) | Body::Labels(_) => return None,
    };
    Some(LossReport { record: LossRecord::of(at, &sum, ints), reported_by, lost })
}

/// Lists the batches that a loss names, each with its samples.
fn lost_batches(ints: Ints, loss: &Loss) -> Vec<LostPart> {
    let batch = |lost: &LostSeq| LostBatch { seq: ints.count(lost.seq.0), samples: lost.samples };
    loss.lost.iter().map(batch).map(LostPart::Batch).collect()
}

/// Lists the ranges of batches that an absence names; only their sum of samples is known.
fn absent_batches(ints: Ints, absence: &Absence) -> Vec<LostPart> {
    let range = |range: &SeqRange| {
        let last = range.end.0.saturating_sub(1);
        LostRange { first: ints.count(range.first.0), last: ints.count(last) }
    };
    absence.ranges.iter().map(range).map(LostPart::Range).collect()
}
