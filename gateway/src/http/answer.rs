//! The API's answers as types: what each member is called, what it means, and how it is printed.
//!
//! An answer is written to bytes as it is, and its description in `openapi.json` is derived from the same fields.
//! So a member that is not described cannot be answered. Members that may be unknown are null, never left out, unless
//! their description says so.

mod aggregate;
mod channel;
mod completeness;
mod condition;
mod fleet;
mod group;
mod integer;
mod labels;
mod line;
mod link;
mod loss;
mod mapped;
mod robot;
mod value;
mod word;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use muster_protocol::time::WallTime;
use serde::Serialize;

pub(super) use super::past::AsOfAnswer;
pub(super) use aggregate::AggregateAnswer;
pub(super) use channel::channel_values;
pub(super) use condition::{ConditionAnswer, ConditionPage};
pub(super) use fleet::{FleetAnswer, FleetCounts, Ingest, LogSpan};
pub(super) use group::{GroupAnswer, GroupPage};
pub(super) use integer::{Count, Ints, Time};
pub(super) use labels::{LabelsAnswer, LabelsPatch};
pub(super) use line::SampleLine;
pub(super) use loss::{LossPage, LossRecord, LossReport, LostBatch, LostPart, LostRange};
pub(super) use robot::{ChosenRobot, ListedRobot, Robot, RobotPage, RobotSummary, Undecided};
pub(super) use value::non_finite;

/// The moment that an answer is about, and how it prints integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: WallTime,
    pub(super) ints: Ints,
}

impl Moment {
    /// Returns how long ago something was, in whole milliseconds.
    pub(super) fn age_ms(self, at: WallTime) -> i64 {
        ms(self.now.nanos_since(at))
    }
}

/// Makes an answer of a value.
pub(super) fn json_response(body: &impl Serialize) -> Response {
    let mut text = serde_json::to_vec(body).expect("names are text, and a Vec takes any bytes");
    text.push(b'\n');
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Returns nanoseconds as whole milliseconds.
fn ms(nanos: i64) -> i64 {
    nanos / 1_000_000
}
