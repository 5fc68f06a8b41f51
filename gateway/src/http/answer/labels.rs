//! What a robot is called by.

use std::collections::BTreeMap;

use muster_protocol::{
    id::RobotId,
    label::Labels,
    limits::{LABEL_VALUE_BYTES_MAX, LABELS_MAX},
};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, Schema, SchemaType, Type},
    },
};

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

/// What is to become of some labels.
pub(in crate::http) struct LabelsPatch;

impl PartialSchema for LabelsPatch {
    fn schema() -> RefOr<Schema> {
        let key =
            Object::builder().schema_type(Type::String).pattern(Some("^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$"));
        let value = Object::builder()
            .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
            .min_length(Some(1))
            .max_length(Some(LABEL_VALUE_BYTES_MAX))
            .pattern(Some("^[^\\x00-\\x1f\\x7f-\\x9f]+$"))
            .description(Some("The label's value, at most 256 bytes; null removes the label."));
        Object::builder()
            .schema_type(Type::Object)
            .description(Some("What is to become of some labels; the others stay."))
            .property_names(Some(key.build()))
            .additional_properties(Some(Schema::from(value)))
            .max_properties(Some(LABELS_MAX))
            .build()
            .into()
    }
}

impl ToSchema for LabelsPatch {}

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
