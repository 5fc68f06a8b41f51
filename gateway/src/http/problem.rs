//! What went wrong with a request, as RFC 9457 `application/problem+json`: a type, a title, the status, and a sentence
//! for a person that says what to do.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_protocol::id::{Offset, RobotId};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Apart, because it is as large as all other results together and rarely there.
    body: Box<ProblemBody>,
    retry_after_s: Option<u16>,
}

/// What went wrong, as RFC 9457 has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// What kind of problem this is: a name, nothing to fetch.
    #[schema(pattern = "^urn:muster:problem:[a-z0-9-]+$", examples("urn:muster:problem:bad-parameter"))]
    r#type: String,
    /// The kind in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for a person that says what is wrong and what to do.
    detail: String,
    /// The parameter that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    parameter: Option<String>,
    /// The label that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    label: Option<String>,
    /// The first offset that the log holds, if a cursor points before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    first_offset: Option<u64>,
    /// Where in the parameter the mistake is, if it is an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    position: Option<Position>,
}

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct Position {
    #[schema(minimum = 1)]
    line: usize,
    /// In characters.
    #[schema(minimum = 1)]
    column: usize,
}

/// The media type of problems.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String) -> Self {
        let body = ProblemBody {
            r#type: format!("urn:muster:problem:{kind}"),
            title,
            status: status.as_u16(),
            detail,
            parameter: None,
            label: None,
            first_offset: None,
            position: None,
        };
        Self { status, body: Box::new(body), retry_after_s: None }
    }

    /// A query parameter that does not mean anything, or not this.
    pub(super) fn parameter(name: &str, detail: String) -> Self {
        let (kind, title) = ("bad-parameter", "A query parameter is wrong");
        Self::new(StatusCode::BAD_REQUEST, kind, title, detail).about(name)
    }

    /// No robot of this name ever reported.
    pub(super) fn unknown_robot(robot: &RobotId) -> Self {
        let detail = format!(
            "no robot {robot} has ever reported to this gateway; GET /v1/robots lists those that have"
        );
        Self::new(StatusCode::NOT_FOUND, "unknown-robot", "No such robot", detail)
    }

    /// There is no group of this name.
    pub(super) fn unknown_group(name: &str) -> Self {
        let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
        let detail = format!("there is no group {name}; GET /v1/groups lists those that there are");
        Self::new(StatusCode::NOT_FOUND, "unknown-group", "No such group", detail)
    }

    /// A cursor points before what is held.
    pub(super) fn trimmed(parameter: &'static str, after: Offset, first: Offset) -> Self {
        let detail = format!(
            "the log no longer holds offset {after}: its first is {first}. What lay between is gone; start again \
             without `{parameter}`, or from a later time"
        );
        let mut problem = Self::new(StatusCode::GONE, "trimmed", "The cursor is trimmed away", detail);
        problem.body.first_offset = Some(first.0);
        problem.about(parameter)
    }

    /// A question takes too long for this fleet.
    pub(super) fn too_costly(detail: String) -> Self {
        let (kind, title) = ("too-costly", "The question takes too long");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, detail)
    }

    /// A list is not kept any more.
    pub(super) fn expired(detail: String) -> Self {
        let (kind, title) = ("expired", "The list is not kept any more");
        Self::new(StatusCode::GONE, kind, title, detail).about("cursor")
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
                    format!("{shown} cannot be asked for with this method; `Allow` names those that it has");
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

    /// Names the label that is wrong.
    pub(super) fn of_label(mut self, label: &str) -> Self {
        self.body.label = Some(label.chars().take(SHOWN_CHARS_MAX).collect());
        self
    }

    /// Says where in a parameter the mistake is.
    pub(super) fn at(mut self, line: usize, column: usize) -> Self {
        self.body.position = Some(Position { line, column });
        self
    }

    /// Names the parameter that is wrong.
    fn about(mut self, parameter: &str) -> Self {
        self.body.parameter = Some(parameter.to_owned());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_string(&self.body).expect("members are text and numbers");
        let mut response = (self.status, body).into_response();
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
