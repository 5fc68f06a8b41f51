//! The one place that asks the machine for the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use muster_protocol::time::{MonoTime, WallTime};

/// The process's clocks. Monotonic time counts from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts counting monotonic time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    #[expect(clippy::new_without_default, reason = "a clock that starts is an action")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Returns monotonic time since [`Clock::new`].
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn mono(&self) -> MonoTime {
        MonoTime::default() + Instant::now().saturating_duration_since(self.origin)
    }

    /// Returns the wall clock as the machine shows it.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn wall(&self) -> WallTime {
        let nanos = |span: std::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => WallTime(nanos(after)),
            Err(before) => WallTime(-nanos(before.duration())),
        }
    }
}
