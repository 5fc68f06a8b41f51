//! What a robot is called by.

use std::collections::BTreeMap;

use muster_protocol::{id::RobotId, label::Labels};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{fleet::RobotLabels, record::LabelSource};

/// What a robot is called by, and who says so.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Labels)]
pub(in crate::http) struct LabelsAnswer {
    /// The robot, `FLEET/ROBOT`.
    #[schema(examples("warehouse/r17"))]
    robot: String,
    /// The labels that are seen: operators', and those of the agent that they do not hide.
    #[schema(examples(json!({"line": "3", "site": "kiel"})))]
    labels: BTreeMap<String, String>,
    /// Who gave each of them: `agent` or `operator`.
    #[schema(examples(json!({"line": "agent", "site": "operator"})))]
    label_sources: BTreeMap<String, &'static str>,
    /// What the agent says by its configuration, seen or hidden.
    #[schema(examples(json!({"line": "3", "site": "berlin"})))]
    agent_labels: BTreeMap<String, String>,
}

impl LabelsAnswer {
    pub(in crate::http) fn of(id: &RobotId, labels: &RobotLabels) -> Self {
        Self {
            robot: id.to_string(),
            labels: merged(labels),
            label_sources: sources(labels),
            agent_labels: texts(labels.of(LabelSource::Agent)),
        }
    }
}

/// Returns the labels that are seen.
pub(super) fn merged(labels: &RobotLabels) -> BTreeMap<String, String> {
    let merged = labels.merged().into_iter();
    merged.map(|(key, (value, _))| (key.to_string(), value.to_string())).collect()
}

/// Returns who gave each of the labels that are seen.
pub(super) fn sources(labels: &RobotLabels) -> BTreeMap<String, &'static str> {
    let merged = labels.merged().into_iter();
    merged.map(|(key, (_, source))| (key.to_string(), source.as_str())).collect()
}

fn texts(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
