//! An answer of each path, as an example. They are files, and a test holds each against its schema.

use serde_json::Value;
use utoipa::{Modify, openapi::OpenApi, openapi::RefOr};

/// Puts the examples into the description.
pub(super) struct Examples;

/// Path and example; NDJSON and text as they are.
const EXAMPLES: [(&str, &str); 14] = [
    ("/healthz", "ok\n"),
    ("/metrics", include_str!("examples/metrics.txt")),
    ("/openapi.json", include_str!("examples/openapi.json")),
    ("/readyz", "ready\n"),
    ("/v1/aggregate", include_str!("examples/aggregate.json")),
    ("/v1/groups", include_str!("examples/groups.json")),
    ("/v1/groups/{name}", include_str!("examples/group.json")),
    ("/v1/conditions", include_str!("examples/conditions.json")),
    ("/v1/fleet", include_str!("examples/fleet.json")),
    ("/v1/robots", include_str!("examples/robots.json")),
    ("/v1/robots/{fleet}/{robot}", include_str!("examples/robot.json")),
    ("/v1/robots/{fleet}/{robot}/labels", include_str!("examples/labels.json")),
    ("/v1/robots/{fleet}/{robot}/losses", include_str!("examples/losses.json")),
    ("/v1/robots/{fleet}/{robot}/samples", include_str!("examples/samples.ndjson")),
];

impl Modify for Examples {
    fn modify(&self, openapi: &mut OpenApi) {
        let index = ("/", super::super::probe::INDEX);
        for (path, example) in EXAMPLES.into_iter().chain([index]) {
            let item = openapi.paths.paths.get_mut(path).into_iter();
            let operations = item.flat_map(|item| [&mut item.get, &mut item.patch, &mut item.put]).flatten();
            for operation in operations {
                let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") else { continue };
                for (media_type, content) in &mut response.content {
                    content.example = Some(value_of(media_type, example));
                }
            }
        }
    }
}

fn value_of(media_type: &str, example: &str) -> Value {
    if media_type == "application/json" {
        return serde_json::from_str(example).expect("examples of JSON are JSON");
    }
    example.into()
}
