//! Requests that change something: who may send them, and how much they may be.
//!
//! Whoever may connect may write; without authentication the gateway listens on loopback only. What a browser on that
//! machine could be made to send by any web page is kept out: a page's request of these methods and content types needs
//! a preflight (Fetch standard, "CORS-preflight"), which is answered without leave, and a request that names the page
//! that it comes from is refused, whatever name the page has for this machine.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, StatusCode, header},
};
use tokio::time::timeout;

use super::problem::Problem;

/// Largest body: as many labels as there may be, each as long as it may be, with room for how JSON writes them.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest wait for a body. It is small, so a client that takes longer is gone or means ill.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Refuses a request that comes from a web page.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let detail = format!(
        "a web page ({}) asks for a change, and none may: use `muster`, or a program",
        String::from_utf8_lossy(origin.as_bytes())
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "from-a-page", "A web page may not write", detail))
}

/// Refuses a body of another type than these; none of them is one that a page can send without a preflight.
pub(super) fn check_media_type(headers: &HeaderMap, known: &[&str]) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let given = given.as_deref().unwrap_or("nothing");
    let essence = given.split(';').next().unwrap_or_default().trim();
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let detail = format!("the content type is {given}; send {}", known.join(" or "));
    let (kind, title) = ("bad-content-type", "The body is of another type");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, title, detail))
}

/// Reads the body of a change.
pub(super) async fn read_body(body: Body) -> Result<Bytes, Problem> {
    match timeout(BODY_WAIT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(too_slow()),
    }
}

fn too_large() -> Problem {
    let detail = format!("the body breaks off or is longer than {BODY_BYTES_MAX} bytes; send less at once");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large", detail)
}

fn too_slow() -> Problem {
    let detail = format!("the body did not come within {} s", BODY_WAIT.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body did not come", detail)
}
