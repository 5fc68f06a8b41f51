//! Time of a measure, and waiting between two looks at what gives no event.

use std::{sync::LazyLock, thread, time::Duration};

use muster_agent::clock::Clock;
use muster_protocol::time::MonoTime;

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

/// Returns monotonic time.
pub(super) fn now() -> MonoTime {
    CLOCK.mono()
}

/// Returns the time since `start`.
pub(super) fn since(start: MonoTime) -> Duration {
    now().since(start)
}

/// Returns both clocks as a Hello carries them.
pub(super) fn reading() -> muster_protocol::message::Clock {
    CLOCK.reading()
}

/// Lets `span` pass.
pub(super) fn pause(span: Duration) {
    let start = now();
    while let Some(left) = span.checked_sub(since(start)).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}
