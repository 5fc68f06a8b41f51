//! The one place that asks the machine for the time, and the clock of a simulation that asks nobody.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use muster_protocol::time::{MonoTime, WallTime};

/// The process's clocks. Monotonic time counts from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

/// A clock that shows what it was set to. It lives as long as the program, so that copies of a [`Clock`] stay small.
#[derive(Debug, Default)]
pub struct VirtualClock {
    mono: AtomicU64,
    wall: AtomicI64,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// The machine; monotonic time counts from here.
    Machine(Instant),
    Virtual(&'static VirtualClock),
}

impl Clock {
    /// Starts counting monotonic time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    #[expect(clippy::new_without_default, reason = "a clock that starts is an action")]
    pub fn new() -> Self {
        Self(Source::Machine(Instant::now()))
    }

    /// Makes a clock that shows what `shown` was set to last.
    pub fn of(shown: &'static VirtualClock) -> Self {
        Self(Source::Virtual(shown))
    }

    /// Returns monotonic time since [`Clock::new`].
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn mono(&self) -> MonoTime {
        match self.0 {
            Source::Machine(origin) => MonoTime::default() + Instant::now().saturating_duration_since(origin),
            Source::Virtual(shown) => MonoTime(shown.mono.load(Ordering::Relaxed)),
        }
    }

    /// Returns the wall clock as the machine shows it.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn wall(&self) -> WallTime {
        if let Source::Virtual(shown) = self.0 {
            return WallTime(shown.wall.load(Ordering::Relaxed));
        }
        let nanos = |span: std::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => WallTime(nanos(after)),
            Err(before) => WallTime(-nanos(before.duration())),
        }
    }
}

impl VirtualClock {
    /// Sets what both clocks show.
    pub fn set(&self, mono: MonoTime, wall: WallTime) {
        self.mono.store(mono.0, Ordering::Relaxed);
        self.wall.store(wall.0, Ordering::Relaxed);
    }
}
