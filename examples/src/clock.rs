//! The one place of the examples that asks the machine for time, and that lets some pass.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Returns a point in monotonic time.
#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
pub fn now() -> Instant {
    Instant::now()
}

/// Lets `span` pass: for a pace, or between two looks at what gives no event.
#[expect(clippy::disallowed_methods, reason = "the one place that waits")]
pub fn pause(span: Duration) {
    thread::sleep(span);
}
