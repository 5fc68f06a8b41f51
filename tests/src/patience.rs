//! Waiting for what is going to happen, with a deadline instead of a sleep.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::{Duration, Instant},
};

/// How long anything that is sure to happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` returns something; fails the test with `what` when that takes longer than [`PATIENCE`].
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, look).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// Looks until `look` is true; see [`wait_for`].
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, || look().then_some(()));
}

/// Looks until `look` returns something or the time is over.
pub fn wait_within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let (_never, timer): (SyncSender<()>, Receiver<()>) = sync_channel(1);
    let deadline = now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if now() >= deadline {
            return None;
        }
        let _ = timer.recv_timeout(LOOK_EVERY);
    }
}

/// The machine's time, for deadlines.
#[expect(clippy::disallowed_methods, reason = "the one place of this crate that asks the machine")]
pub fn now() -> Instant {
    Instant::now()
}
