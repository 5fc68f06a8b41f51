//! A timer that can be set again, and that never rings while it is off.

use std::{future::pending, pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// One deadline of a connection.
#[derive(Debug)]
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    after: Duration,
    set: bool,
}

impl Alarm {
    /// Makes an alarm that is off and that rings `after` it is set.
    pub(super) fn new(after: Duration) -> Self {
        Self { sleep: Box::pin(sleep(after)), after, set: false }
    }

    /// Changes how long it runs, and sets it.
    pub(super) fn set_after(&mut self, after: Duration) {
        self.after = after;
        self.restart();
    }

    /// Sets it, from the start if it was set already.
    pub(super) fn restart(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.after);
        self.set = true;
    }

    /// Keeps it running while `needed`, and turns it off otherwise.
    pub(super) fn run_while(&mut self, needed: bool) {
        if needed && !self.set {
            self.restart();
        }
        self.set = needed;
    }

    /// How long it runs.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// Waits for it. Cancel-safe.
    pub(super) async fn rung(&mut self) {
        if self.set { self.sleep.as_mut().await } else { pending().await }
    }
}
