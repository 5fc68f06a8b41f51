//! Robots as they were at a moment in the past: `at=` and `known=` of a request.
//!
//! The state is folded anew: from the newest milestone before that moment, which the store keeps beside the log, and the
//! records behind it. How far back that goes is how far back the log goes.

use std::sync::Arc;

use axum::http::StatusCode;
use muster_protocol::{
    batch::{self, DecodedBatch},
    id::{Offset, RobotId},
    schema::Schema,
    time::WallTime,
};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::{
    Api,
    answer::{Ints, Time},
    log::Records,
    parameters::{Parameters, wrong},
    problem::Problem,
    robots::known_robot,
};
use crate::{
    fleet::{AsOf, CheckpointError, Fleet, FleetImage, Known, RobotState},
    query::TooLong,
    record::{Body, Envelope},
    store::ReadError,
};

/// The parameters that choose a moment.
pub(super) const WHEN: [&str; 2] = ["at", "known"];

/// Who may look into the past: folding it takes as long as the log behind a milestone is large.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// A moment in the past, in an answer about it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = AsOf)]
pub(super) struct AsOfAnswer {
    /// The moment.
    at: Time,
    /// By whose knowledge it is told: `then` or `now`.
    #[schema(examples("then"))]
    known: &'static str,
    /// Records and ranges of them that are damaged, so that what they held is not in the answer.
    unreadable: u64,
}

/// Something as it was, and how much of the log could not be read for it.
#[derive(Debug)]
pub(super) struct Past<T> {
    pub(super) state: T,
    pub(super) unreadable: u64,
}

/// One fold of the log.
struct Fold<'a> {
    api: &'a Api,
    as_of: AsOf,
    is_late: &'a dyn Fn() -> bool,
    unreadable: u64,
}

/// Records are received in about the order of the log: of one that came later than the moment by this much, all that
/// follow did too.
const DISORDER_NS_MAX: i64 = 60_000_000_000;

/// How long before the moment a milestone has to have been made, for what is known now: no sample counts for a moment
/// that is later after its reception.
const EARLY_NS_MAX: i64 = 5_000_000_000;

/// Requests at once that look into the past. Each may keep a core busy for seconds.
const TURNS_MAX: usize = 2;

/// Records between two looks at the time.
const RECORDS_AT_ONCE: u64 = 64;

impl Turns {
    /// All are free.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(TURNS_MAX)))
    }

    /// Takes a turn, if the request is about the past.
    pub(super) fn take(&self, as_of: Option<AsOf>) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if as_of.is_none() {
            return Ok(None);
        }
        self.0.clone().try_acquire_owned().map(Some).map_err(|_| {
            Problem::busy(format!(
                "{TURNS_MAX} requests look into the past already, and that is the most; try again later"
            ))
        })
    }
}

/// Reads which moment is wanted; `None` is now.
pub(super) fn when(query: &Parameters, now: WallTime) -> Result<Option<AsOf>, Problem> {
    let known = match query.text("known") {
        None | Some("then") => Known::Then,
        Some("now") => Known::Now,
        Some(other) => return Err(wrong("known", &format!("{other:?} is neither `then` nor `now`"))),
    };
    match query.time("at")? {
        Some(at) if at > now => Err(wrong("at", &"that is in the future")),
        Some(at) => Ok(Some(AsOf { at, known })),
        // What is known now of now is what was known then.
        None => Ok(None),
    }
}

impl AsOfAnswer {
    pub(super) fn of(as_of: AsOf, unreadable: u64, ints: Ints) -> Self {
        let known = match as_of.known {
            Known::Then => "then",
            Known::Now => "now",
        };
        Self { at: ints.time(as_of.at), known, unreadable }
    }
}

/// Returns a robot as it was.
pub(super) fn robot(
    api: &Api,
    id: &RobotId,
    as_of: AsOf,
    is_late: &dyn Fn() -> bool,
) -> Result<Past<RobotState>, Problem> {
    let image = base(api, as_of)?;
    let image = read(image.as_deref())?;
    let mut fold = Fold { api, as_of, is_late, unreadable: 0 };
    let state = fold.robot(id, image.as_ref())?;
    if !state.is_known() {
        let detail = format!("robot {id} had not reported to this gateway by then");
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-robot", "No such robot then", detail));
    }
    Ok(Past { state, unreadable: fold.unreadable })
}

/// Returns the fleet as it was.
pub(super) fn fleet(api: &Api, as_of: AsOf, is_late: &dyn Fn() -> bool) -> Result<Past<Fleet>, Problem> {
    let image = base(api, as_of)?;
    let mut fold = Fold { api, as_of, is_late, unreadable: 0 };
    let state = match as_of.known {
        Known::Then => fold.fleet_then(image.as_deref())?,
        Known::Now => fold.fleet_now(image.as_deref())?,
    };
    Ok(Past { state, unreadable: fold.unreadable })
}

impl Fold<'_> {
    fn robot(&mut self, id: &RobotId, image: Option<&FleetImage<'_>>) -> Result<RobotState, Problem> {
        let today = known_robot(self.api, id)?;
        let based =
            image.map(|image| image.robot(id)).transpose().map_err(|error| unreadable_milestone(&error))?;
        let mut state = based.flatten().unwrap_or_default();
        let after = image.map(|image| before(image.next()));
        if self.as_of.known == Known::Now {
            self.each(id, after, |_, offset, envelope| {
                state.learn_clocks(offset, envelope);
                Ok(())
            })?;
        }
        self.each(id, after, |fold, offset, envelope| {
            let as_of = fold.as_of;
            fold.with_batch(offset, envelope, |batch| state.apply_as_of(as_of, offset, envelope, batch));
            Ok(())
        })?;
        let today = today.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.finish_as_of(self.as_of, &today);
        Ok(state)
    }

    fn fleet_then(&mut self, image: Option<&[u8]>) -> Result<Fleet, Problem> {
        let based = image.map(Fleet::from_bytes).transpose().map_err(|error| unreadable_milestone(&error))?;
        let fleet = based.unwrap_or_default();
        let records = self.api.log.records(fleet.next());
        self.walk(records, |fold, offset, envelope| {
            let taken = fold.as_of.takes(envelope);
            if taken {
                fold.with_batch(offset, envelope, |batch| {
                    fleet.apply(offset, envelope, batch);
                });
            }
            Ok(!fold.is_behind(envelope))
        })?;
        Ok(fleet.mapped_like(&self.api.fleet))
    }

    fn fleet_now(&mut self, image: Option<&[u8]>) -> Result<Fleet, Problem> {
        let image = read(image)?;
        let mut robots = Vec::new();
        for robot in &*self.api.fleet.robots() {
            let state = self.robot(&robot.id, image.as_ref())?;
            if state.is_known() {
                robots.push((robot.id.clone(), state));
            }
        }
        Ok(Fleet::of(robots))
    }

    /// Shows each record of a robot that has something to say of the moment, in the order of the log.
    fn each(
        &mut self,
        id: &RobotId,
        after: Option<Offset>,
        mut show: impl FnMut(&mut Self, Offset, &Envelope) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let api = self.api;
        let mut behind = None;
        self.walk(api.log.robot_records(id, (WallTime(i64::MIN), None), after), |fold, offset, envelope| {
            if fold.is_behind(envelope) {
                behind = Some(offset);
                return Ok(false);
            }
            if fold.as_of.takes(envelope) {
                show(fold, offset, envelope)?;
            }
            Ok(true)
        })?;
        let (Some(behind), Known::Now) = (behind, self.as_of.known) else { return Ok(()) };
        // What came later is looked for by its time.
        let until = self.as_of.at.shifted(AsOf::AHEAD_NS_MAX).shifted(1);
        let late = api.log.robot_records(id, (WallTime(i64::MIN), Some(until)), Some(before(behind)));
        self.walk(late, |fold, offset, envelope| {
            if fold.as_of.takes(envelope) {
                show(fold, offset, envelope)?;
            }
            Ok(true)
        })
    }

    /// Goes through records until `visit` wants no more.
    fn walk(
        &mut self,
        records: Records<'_>,
        mut visit: impl FnMut(&mut Self, Offset, &Envelope) -> Result<bool, Problem>,
    ) -> Result<(), Problem> {
        for (count, record) in (0_u64..).zip(records) {
            if count % RECORDS_AT_ONCE == 0 && (self.is_late)() {
                return Err(Problem::too_costly(TooLong.to_string()));
            }
            match record {
                Ok((offset, envelope)) => {
                    if !visit(self, offset, &envelope)? {
                        break;
                    }
                }
                Err(ReadError::Damaged { .. } | ReadError::Record { .. }) => self.unreadable += 1,
                Err(error) => return Err(Problem::internal(format!("the log cannot be read: {error}"))),
            }
        }
        Ok(())
    }

    fn with_batch(
        &mut self,
        offset: Offset,
        envelope: &Envelope,
        apply: impl FnOnce(Option<(&DecodedBatch, &Schema)>),
    ) {
        let Body::Batch { info, payload, .. } = &envelope.body else { return apply(None) };
        let schema = self.api.log.schema(offset, &envelope.robot, info.schema);
        let decoded = schema.and_then(|schema| Some((batch::decode(payload, &schema).ok()?, schema)));
        self.unreadable += u64::from(decoded.is_none());
        apply(decoded.as_ref().map(|(batch, schema)| (batch, &**schema)));
    }

    fn is_behind(&self, envelope: &Envelope) -> bool {
        envelope.received_at > self.as_of.at.shifted(DISORDER_NS_MAX)
    }
}

/// Returns the newest milestone before the moment; `None` to begin with the log.
fn base(api: &Api, as_of: AsOf) -> Result<Option<Vec<u8>>, Problem> {
    let by = match as_of.known {
        Known::Then => as_of.at,
        Known::Now => as_of.at.shifted(-EARLY_NS_MAX),
    };
    let milestone = api.log.milestone(by);
    let milestone =
        milestone.map_err(|error| Problem::internal(format!("a milestone cannot be read: {error}")))?;
    // Another version of the program made it, and so all before it: they are as good as none.
    let milestone = milestone.filter(|image| FleetImage::read(image).is_ok());
    if milestone.is_some() || api.log.first() <= Offset::FIRST {
        return Ok(milestone);
    }
    let earliest = api.log.first_milestone().map_or_else(
        || "there is no moment yet that it can be asked about".to_owned(),
        |at| format!("it goes back to {at}"),
    );
    let detail = format!("`at`: the log was trimmed since, and what came before is gone; {earliest}");
    Err(Problem::new(StatusCode::GONE, "trimmed", "The moment is trimmed away", detail))
}

fn read(image: Option<&[u8]>) -> Result<Option<FleetImage<'_>>, Problem> {
    image.map(FleetImage::read).transpose().map_err(|error| unreadable_milestone(&error))
}

fn unreadable_milestone(error: &CheckpointError) -> Problem {
    Problem::internal(format!("a milestone cannot be read: {error}"))
}

fn before(offset: Offset) -> Offset {
    Offset(offset.0.saturating_sub(1))
}
