//! What went wrong with a request, as RFC 9457 `application/problem+json`: a type, a title, the status, and a sentence
//! for a person that says what to do.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_protocol::id::{Offset, RobotId};
use serde_json::{Map, Value, json};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// The last part of the `type` URI.
    kind: &'static str,
    title: &'static str,
    detail: String,
    /// Members beyond those of the RFC.
    more: Map<String, Value>,
    retry_after_s: Option<u16>,
}

/// The media type of problems.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        Self { status, kind, title, detail, more: Map::new(), retry_after_s: None }
    }

    /// A query parameter that does not mean anything, or not this.
    pub(super) fn parameter(name: &str, detail: String) -> Self {
        let (kind, title) = ("bad-parameter", "A query parameter is wrong");
        Self::new(StatusCode::BAD_REQUEST, kind, title, detail).with("parameter", name.into())
    }

    /// No robot of this name ever reported.
    pub(super) fn unknown_robot(robot: &RobotId) -> Self {
        let detail = format!(
            "no robot {robot} has ever reported to this gateway; GET /v1/robots lists those that have"
        );
        Self::new(StatusCode::NOT_FOUND, "unknown-robot", "No such robot", detail)
    }

    /// A cursor points before what is held.
    pub(super) fn trimmed(after: Offset, first: Offset) -> Self {
        let detail = format!(
            "the log no longer holds offset {after}: its first is {first}. What lay between is gone; start again \
             without `after`, or from a later time"
        );
        Self::new(StatusCode::GONE, "trimmed", "The cursor is trimmed away", detail)
            .with("parameter", "after".into())
            .with("first_offset", first.0.into())
    }

    /// The gateway has as much to do as it can.
    pub(super) fn busy(detail: String) -> Self {
        let (kind, title) = ("busy", "The gateway is busy");
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail);
        Self { retry_after_s: Some(RETRY_AFTER_S), ..problem }
    }

    /// The gateway failed, and it is not the caller's fault.
    pub(super) fn internal(detail: String) -> Self {
        let (kind, title) = ("internal", "The gateway failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, kind, title, detail)
    }

    /// Says what a status without a body of ours means.
    pub(super) fn of_status(status: StatusCode, path: &str) -> Self {
        let shown: String = path.chars().take(SHOWN_CHARS_MAX).collect();
        let (kind, title, detail) = match status {
            StatusCode::NOT_FOUND => (
                "unknown-path",
                "No such path",
                format!("there is nothing at {shown}; GET / lists the paths"),
            ),
            StatusCode::METHOD_NOT_ALLOWED => {
                let detail =
                    format!("{shown} is read with GET; only labels are changed over this API, with PATCH");
                ("method-not-allowed", "Wrong method", detail)
            }
            _ => (
                "bad-request",
                "The request is wrong",
                format!("the request for {shown} cannot be understood"),
            ),
        };
        Self::new(status, kind, title, detail)
    }

    pub(super) fn with(mut self, member: &str, value: Value) -> Self {
        self.more.insert(member.to_owned(), value);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:muster:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        body.as_object_mut().expect("made as an object").extend(self.more);
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// When a busy gateway may be asked again.
const RETRY_AFTER_S: u16 = 5;

/// A path from outside is shown up to here.
const SHOWN_CHARS_MAX: usize = 200;
