//! `GET` and `PATCH /v1/robots/F/R/labels`: what a robot is called by, and what operators change of it.
//!
//! What may write and what may not is decided in [`writing`](super::writing).

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::PoisonError,
};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use muster_protocol::{
    id::RobotId,
    label::{LabelKey, LabelPatch, LabelValue},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use super::{
    Api, Shared,
    answer::{LabelsAnswer, LabelsPatch, json_response},
    blocking,
    openapi::{
        parameter::RobotPath,
        reply::{BadLabels, BadParameter, BodyRefused, Failed, FromAPage, NoRobot, NotReady},
    },
    parameters::Parameters,
    problem::Problem,
    robots::{known_robot, robot_id},
    writing::{check_media_type, check_origin, read_body},
};
use crate::ingest::NotLabelled;

/// Answers `GET /v1/robots/F/R/labels`.
#[utoipa::path(
    get,
    path = "/v1/robots/{fleet}/{robot}/labels",
    tag = "fleet",
    summary = "What a robot is called by",
    params(RobotPath),
    responses((status = 200, description = "The labels.", body = LabelsAnswer), BadParameter, NoRobot, Failed)
)]
pub(super) async fn labels(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    let id = robot_id(&fleet, &robot)?;
    blocking(shared, move |api| answer(api, &id)).await
}

/// Answers `PATCH /v1/robots/F/R/labels`: applies a merge patch (RFC 7396) to the operator's labels, and answers once it
/// is committed.
#[utoipa::path(
    patch,
    path = "/v1/robots/{fleet}/{robot}/labels",
    operation_id = "change_labels",
    tag = "fleet",
    summary = "Change what a robot is called by",
    description = "A merge patch (RFC 7396): a text sets a label, null removes it. The answer comes once the change is \
                   durable. What the agent says by its configuration is hidden by an operator's label of the same key, \
                   and seen again when that is removed.",
    params(RobotPath),
    request_body(
        content = LabelsPatch,
        content_type = "application/merge-patch+json",
        description = "At most 64 labels and 64 KiB.",
        example = json!({"site": "kiel", "owner": null})
    ),
    responses(
        (status = 200, description = "The labels as they are now.", body = LabelsAnswer),
        BadLabels,
        FromAPage,
        NoRobot,
        BodyRefused,
        Failed,
        NotReady
    )
)]
pub(super) async fn patch(
    State(shared): State<Shared>,
    Path((fleet, robot)): Path<(String, String)>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    check_origin(&headers)?;
    check_media_type(&headers, &MEDIA_TYPES)?;
    let id = robot_id(&fleet, &robot)?;
    let body = read_body(body).await?;
    let patch = parse(&body)?;
    blocking(shared, move |api| {
        known_robot(api, &id)?;
        api.labelling.label(&id, &patch).map_err(|why| refusal(&why))?;
        answer(api, &id)
    })
    .await
}

fn answer(api: &Api, id: &RobotId) -> Result<Response, Problem> {
    let state = known_robot(api, id)?;
    let labels = state.read().unwrap_or_else(PoisonError::into_inner).labels().clone();
    Ok(json_response(&LabelsAnswer::of(id, &labels)))
}

/// Reads a merge patch of labels: an object of texts, which set, and nulls, which remove.
fn parse(body: &[u8]) -> Result<LabelPatch, Problem> {
    let Members(members) = serde_json::from_slice(body)
        .map_err(|error| wrong(None, format!("the body is not {EXAMPLE}: {error}")))?;
    let mut patch = BTreeMap::new();
    for (name, value) in members {
        let named = |why: String| wrong(Some(&name), why);
        let key: LabelKey = name.parse().map_err(|error| named(format!("{error}")))?;
        let value = match value {
            Value::Null => None,
            Value::String(text) => {
                let value: Result<LabelValue, _> = text.parse();
                Some(
                    value
                        .map_err(|error| named(format!("the label {key}: {error}; null removes a label")))?,
                )
            }
            Value::Number(_) | Value::Bool(_) => {
                return Err(named(format!(
                    "the label {key} is {value}: put it in quotes, as in {{\"{key}\": \"{value}\"}}"
                )));
            }
            Value::Array(_) | Value::Object(_) => {
                return Err(named(format!(
                    "the label {key} is neither a text nor null; a label is one text"
                )));
            }
        };
        match patch.entry(key) {
            Entry::Vacant(free) => drop(free.insert(value)),
            Entry::Occupied(_) => {
                return Err(wrong(Some(&name), format!("the label {name} is given twice; give it once")));
            }
        }
    }
    Ok(LabelPatch(patch))
}

fn wrong(label: Option<&str>, detail: String) -> Problem {
    let problem = Problem::new(StatusCode::BAD_REQUEST, "bad-label", "The labels are wrong", detail);
    match label {
        Some(label) => problem.of_label(label),
        None => problem,
    }
}

fn refusal(why: &NotLabelled) -> Problem {
    match why {
        NotLabelled::Wrong(_) => wrong(None, why.to_string()),
        NotLabelled::Busy | NotLabelled::DiskFull | NotLabelled::Stopping => {
            Problem::busy(format!("the labels were not changed: {why}"))
        }
    }
}

/// The members of an object as they stand: one that is there twice is not lost.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// What a patch may come as. Neither is one that a page can send without a preflight.
const MEDIA_TYPES: [&str; 2] = ["application/merge-patch+json", "application/json"];

/// What a patch looks like.
const EXAMPLE: &str = r#"an object such as {"site": "berlin", "old": null}"#;
