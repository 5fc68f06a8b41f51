//! `GET /v1/robots/F/R/losses`: each loss record of a robot, page by page, as the log has it.
//!
//! The fold knows the first and the last of them, so a robot that lost nothing lately is not read to its end. Between
//! them the robot's records are read one by one, a bounded number for each page: a page may be short, or empty, and
//! still have a next one.

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use muster_protocol::{
    id::{Offset, RobotId},
    loss::{Absence, Loss},
    message::SeqRange,
    time::WallTime,
};

use super::{
    Api, Shared,
    answer::{Ints, LossPage, LossRecord, LossReport, LostBatch, LostBatches, LostRange, json_response},
    blocking,
    damage::{self, Known},
    problem::Problem,
    query::{Query, wrong},
    robots::{known_robot, robot_id},
};
use crate::{
    fleet::LossRecord as Sum,
    record::{Body, Envelope},
    store::ReadError,
};

/// Records of losses on a page when the request does not say.
const PAGE_LOSSES: usize = 100;

/// Most losses on a page. Each may name thousands of batches.
const PAGE_LOSSES_MAX: usize = 1000;

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

/// Answers `GET /v1/robots/F/R/losses`.
pub(super) async fn losses(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = Query::parse(&uri, &["limit", "cursor"])?;
    let limit = query.parsed("limit")?.unwrap_or(PAGE_LOSSES);
    if !(1..=PAGE_LOSSES_MAX).contains(&limit) {
        return Err(wrong("limit", &format!("{limit} is not from 1 to {PAGE_LOSSES_MAX}")));
    }
    let (after, ints) = (query.parsed::<u64>("cursor")?.map(Offset), query.ints()?);
    let id = robot_id(&fleet, &robot)?;
    blocking(shared, move |api| {
        let now = ints.time(api.clock.wall());
        let page = read(api, &id, ints, (after, limit))?;
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

fn read(
    api: &Api,
    id: &RobotId,
    ints: Ints,
    (after, limit): (Option<Offset>, usize),
) -> Result<Page, Problem> {
    let state = known_robot(api, id)?;
    let span = state.read().unwrap_or_else(std::sync::PoisonError::into_inner).losses().span();
    let mut page = Page::default();
    let Some((first, last)) = span else { return Ok(page) };
    let before_first = Offset(first.0.saturating_sub(1));
    let after = after.unwrap_or_default().max(before_first).max(Offset(api.log.first().0.saturating_sub(1)));
    let everything = (WallTime(i64::MIN), None);
    for (looked_at, record) in api.log.robot_records(id, everything, Some(after)).enumerate() {
        match record {
            Ok((at, _)) if at > last => break,
            Ok((at, envelope)) => {
                page.losses.extend(described(ints, at, &envelope));
                if page.losses.len() >= limit || looked_at + 1 >= PAGE_RECORDS_MAX {
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
fn lost_batches(ints: Ints, loss: &Loss) -> LostBatches {
    let batches = loss.lost.iter();
    LostBatches::Each(
        batches.map(|lost| LostBatch { seq: ints.count(lost.seq.0), samples: lost.samples }).collect(),
    )
}

/// Lists the ranges of batches that an absence names; only their sum of samples is known.
fn absent_batches(ints: Ints, absence: &Absence) -> LostBatches {
    let range = |range: &SeqRange| {
        let last = range.end.0.saturating_sub(1);
        LostRange { first: ints.count(range.first.0), last: ints.count(last) }
    };
    LostBatches::Ranges(absence.ranges.iter().map(range).collect())
}
