//! The replies that are not what was asked for, each described once.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{
    IntoResponses,
    openapi::{
        RefOr,
        content::Content,
        header::Header,
        response::{Response, ResponseBuilder},
        schema::{Object, Ref, Type},
    },
};

use crate::http::problem;

type Responses = BTreeMap<String, RefOr<Response>>;

/// 400: a parameter is wrong.
pub(in crate::http) struct BadParameter;

/// 400: a label or the path is wrong.
pub(in crate::http) struct BadLabels;

/// 400: a group's name or expression is wrong.
pub(in crate::http) struct BadGroup;

/// 404: no such group.
pub(in crate::http) struct NoGroup;

/// 403: a web page asks for a change.
pub(in crate::http) struct FromAPage;

/// 408, 413 and 415: the body is not one that is taken.
pub(in crate::http) struct BodyRefused;

/// 404: no such robot.
pub(in crate::http) struct NoRobot;

/// 410: the cursor, or the moment, is trimmed away.
pub(in crate::http) struct Trimmed;

/// 410: the list is not kept any more.
pub(in crate::http) struct ListGone;

/// 422: the question takes too long.
pub(in crate::http) struct TooCostly;

/// 500: the gateway failed.
pub(in crate::http) struct Failed;

/// 503: try again later.
pub(in crate::http) struct Busy;

/// 503: the change could not be saved.
pub(in crate::http) struct NotSaved;

/// 503: no samples are taken.
pub(in crate::http) struct NotReady;

impl IntoResponses for BadParameter {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:bad-parameter",
            "title": "A query parameter is wrong",
            "status": 400,
            "detail": "the parameter `limt` is not known here; the nearest one is `limit`",
            "parameter": "limt",
        });
        let meaning =
            "A parameter is not known, given twice, or does not mean anything; or the path does not decode.";
        one(400, problem(meaning, example))
    }
}

impl IntoResponses for BadLabels {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:bad-label",
            "title": "The labels are wrong",
            "status": 400,
            "detail": "the label floor is 3: put it in quotes, as in {\"floor\": \"3\"}",
            "label": "floor",
        });
        one(
            400,
            problem("A label is wrong, or the body is not an object, or the path does not decode.", example),
        )
    }
}

impl IntoResponses for BadGroup {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:bad-group",
            "title": "The group is wrong",
            "status": 400,
            "detail": "`where`: at character 1: a robot has no `battery`; the nearest that it has is `battery.charge`",
            "parameter": "where",
            "position": {"line": 1, "column": 1},
        });
        let meaning = "The name or the expression is wrong, or the body is not an object with `where`, or there are as \
                       many groups as there may be.";
        one(400, problem(meaning, example))
    }
}

impl IntoResponses for NoGroup {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:unknown-group",
            "title": "No such group",
            "status": 404,
            "detail": "there is no group low; GET /v1/groups lists those that there are",
        });
        one(404, problem("There is no group of this name.", example))
    }
}

impl IntoResponses for FromAPage {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:from-a-page",
            "title": "A web page may not write",
            "status": 403,
            "detail": "a web page (https://example.org) asks for a change, and none may: use `muster`, \
                       or a program",
        });
        one(403, problem("The request names a web page that it comes from.", example))
    }
}

impl IntoResponses for BodyRefused {
    fn responses() -> Responses {
        let refused = |status: u16, kind: &str, title: &str, detail: &str, meaning: &str| {
            let kind = format!("urn:muster:problem:{kind}");
            one(
                status,
                problem(meaning, json!({"type": kind, "title": title, "status": status, "detail": detail})),
            )
        };
        let slow = ("the body did not come within 10 s", "The body did not come in time.");
        let large = (
            "the body breaks off or is longer than 65536 bytes; send less at once",
            "The body is too large, or breaks off.",
        );
        let media = (
            "the content type is text/plain; send application/merge-patch+json or application/json",
            "The body is of a type that is not taken.",
        );
        let mut all = refused(408, "too-slow", "The body did not come", slow.0, slow.1);
        all.extend(refused(413, "too-large", "The body is too large", large.0, large.1));
        all.extend(refused(415, "bad-content-type", "The body is of another type", media.0, media.1));
        all
    }
}

impl IntoResponses for NoRobot {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:unknown-robot",
            "title": "No such robot",
            "status": 404,
            "detail": "no robot warehouse/r17 has ever reported to this gateway; GET /v1/robots lists those that have",
        });
        one(404, problem("No robot of this name ever reported, or it is no name.", example))
    }
}

impl IntoResponses for Trimmed {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:trimmed",
            "title": "The cursor is trimmed away",
            "status": 410,
            "detail": "the log no longer holds offset 7: its first is 1200. What lay between is gone; start again \
                       without `after`, or from a later time",
            "parameter": "after",
            "first_offset": 1200,
        });
        one(410, problem("The log no longer holds what follows the cursor, or the moment.", example))
    }
}

impl IntoResponses for ListGone {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:expired",
            "title": "The list is not kept any more",
            "status": 410,
            "detail": "the list that `cursor` goes on with is not kept any more: a sorted list is kept for 10 minutes; \
                       start again without `cursor`",
            "parameter": "cursor",
        });
        one(
            410,
            problem(
                "The sorted list that the cursor goes on with is not kept any more, or the moment is trimmed away.",
                example,
            ),
        )
    }
}

impl IntoResponses for TooCostly {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:too-costly",
            "title": "The question takes too long",
            "status": 422,
            "detail": "the question takes too long for this fleet: ask for less of each robot, or of fewer robots",
        });
        one(422, problem("The question was given up because it takes too long.", example))
    }
}

impl IntoResponses for Failed {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:internal",
            "title": "The gateway failed",
            "status": 500,
            "detail": "the answer failed; the gateway's log says why",
        });
        one(500, problem("The gateway failed, and it is not the caller's fault.", example))
    }
}

impl IntoResponses for Busy {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:busy",
            "title": "The gateway is busy",
            "status": 503,
            "detail": "64 sample streams are open, and that is the most; try again later",
        });
        let seconds = Object::builder().schema_type(Type::Integer).build();
        let wait = header(seconds, "Seconds until it may be tried again.");
        one(
            503,
            problem(
                "As many streams are open, or requests about the past at work, as there may be.",
                example,
            )
            .header("Retry-After", wait),
        )
    }
}

impl IntoResponses for NotSaved {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:busy",
            "title": "The gateway is busy",
            "status": 503,
            "detail": "the group was not changed: cannot write muster-data/groups: No space left on device; check the \
                       folder's owner and free space",
        });
        one(503, problem("The change could not be saved; the detail says why.", example))
    }
}

impl IntoResponses for NotReady {
    fn responses() -> Responses {
        let example = json!({
            "type": "urn:muster:problem:not-ready",
            "title": "The gateway takes no samples",
            "status": 503,
            "detail": "the disk is full; make room",
        });
        one(503, problem("No samples are taken; the detail says why and what to do.", example))
    }
}

fn one(status: u16, response: ResponseBuilder) -> Responses {
    BTreeMap::from([(status.to_string(), response.build().into())])
}

fn problem(meaning: &str, example: Value) -> ResponseBuilder {
    let content = Content::builder().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example));
    ResponseBuilder::new().description(meaning).content(problem::MEDIA_TYPE, content.build())
}

fn header(schema: Object, meaning: &str) -> Header {
    Header::builder().schema(schema).description(Some(meaning)).build()
}
