//! `GET /openapi.json`: the API's description, derived from the handlers and the types of their answers.
//!
//! The document is checked in as `gateway/openapi.json`, so that a change to the API shows as a change there.

mod example;
mod form;
pub(super) mod parameter;
pub(super) mod reply;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use utoipa::OpenApi;

use example::Examples;
use form::Forms;

use super::{
    aggregate, answer, conditions, groups, labels, losses, parameters::Parameters, probe, problem::Problem,
    robots, samples,
};

/// The description of every path.
#[derive(OpenApi)]
#[openapi(
    info(title = "Muster gateway", description = ABOUT),
    paths(
        probe::index,
        probe::healthz,
        probe::metrics,
        describe,
        probe::readyz,
        aggregate::aggregate,
        conditions::conditions,
        robots::fleet,
        groups::groups,
        groups::group,
        groups::save,
        groups::remove,
        robots::robots,
        robots::robot,
        labels::labels,
        labels::patch,
        losses::losses,
        samples::samples,
    ),
    tags(
        (name = "fleet", description = "What is known of the robots."),
        (name = "gateway", description = "The gateway itself.")
    ),
    components(schemas(super::problem::ProblemBody, answer::SampleLine<'_>)),
    modifiers(&Examples, &Forms)
)]
struct Description;

/// The document as it is served.
struct Document {
    text: Bytes,
    etag: HeaderValue,
}

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
    let text = text();
    let etag = format!("W/\"{:08x}-{:x}\"", crc32c::crc32c(text.as_bytes()), text.len());
    Document { text: text.into(), etag: HeaderValue::try_from(etag).expect("digits in quotes") }
});

/// Answers `GET /openapi.json`.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "gateway",
    operation_id = "openapi",
    summary = "This description",
    description = "OpenAPI 3.1. It changes with the gateway's version only, so a copy may be kept: ask with \
                   `If-None-Match` whether it is still the same.",
    params(parameter::IfNoneMatch),
    responses(
        (
            status = 200,
            description = "The description.",
            content_type = "application/json",
            body = utoipa::openapi::Object,
            headers(("ETag" = String, description = "Names this version of the document."))
        ),
        (status = 304, description = "The caller's copy is still the same."),
        reply::BadParameter,
    )
)]
pub(super) async fn describe(uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &DOCUMENT.etag));
    let mut response = if known {
        // What the whole answer would vary by, which has a body to say so.
        (StatusCode::NOT_MODIFIED, [(header::VARY, "accept-encoding")]).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.text.clone()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, DOCUMENT.etag.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Returns whether a list of entity tags names `etag`, compared weakly (RFC 9110, 13.1.2).
fn names(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let opaque = |tag: &'_ str| tag.trim().trim_start_matches("W/").to_owned();
    let Some((tags, etag)) = tags.to_str().ok().zip(etag.to_str().ok()) else { return false };
    tags.trim() == "*" || tags.split(',').any(|tag| opaque(tag) == opaque(etag))
}

/// Returns the document as it is served and checked in.
pub(super) fn text() -> String {
    let mut text = serde_json::to_string_pretty(&Description::openapi()).expect("names are text");
    text.push('\n');
    text
}

const ABOUT: &str = "\
What backends, operators and machines read of a Muster gateway. An answer is exact and says how old what it tells is: \
an old value never looks live.

- Times are integer nanoseconds since 1970-01-01 00:00 UTC, ages are milliseconds. `?int64=string` quotes 64-bit \
integers and times.
- Floats always print with a `.` or an exponent, integers never do. What JSON cannot say has `\"v\": null` and the \
reason beside it.
- Members may be added to answers. A parameter that is not known is refused.
- Errors are `application/problem+json` (RFC 9457) with a sentence for a person. A path that is not here is answered \
with 404, a method with 405 and `Allow`. HEAD answers like GET without a body, OPTIONS with `Allow`.
- Lists come in pages: `limit`, `cursor`, and `next_cursor` in the answer.
- Answers above 1 KiB, and streams, are compressed with gzip if `Accept-Encoding` allows it. A stream that could not be \
finished breaks off and never looks finished.
- Nothing but this description has an `ETag`: every other answer tells ages, so no two are the same.
";
