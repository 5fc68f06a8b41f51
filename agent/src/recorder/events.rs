//! The way of the recorder's events to the driver: never blocks the recorder, and is bounded by its doing less.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::intake::Intake;

use super::RecorderEvent;

/// Tokens that may wait for the driver. At the bound the recorder takes no more rows until the driver has caught up.
const TOKENS_MAX: usize = 8192;

/// The driver's end.
#[derive(Debug)]
pub struct RecorderEvents {
    outbox: Arc<Outbox>,
    intake: Intake,
}

/// Where events wait.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    inner: Mutex<Inner>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<RecorderEvent>,
    tokens: usize,
    ended: bool,
}

impl RecorderEvents {
    pub(super) fn new(outbox: Arc<Outbox>, intake: Intake) -> Self {
        Self { outbox, intake }
    }

    /// Waits for events and returns all there are, in order; `None` when the recorder has ended and all were returned.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Vec<RecorderEvent>> {
        loop {
            let arrived = self.outbox.arrived.notified();
            let (events, was_behind, ended) = self.outbox.take();
            if was_behind {
                self.intake.poke();
            }
            if !events.is_empty() {
                return Some(events);
            }
            if ended {
                return None;
            }
            arrived.await;
        }
    }
}

impl Outbox {
    /// Adds events. Returns whether so many wait that the recorder has to do less.
    pub(super) fn put(&self, events: Vec<RecorderEvent>) -> bool {
        let mut inner = self.inner();
        if !events.is_empty() {
            inner.tokens += events.iter().map(tokens).sum::<usize>();
            if events.iter().any(|event| matches!(event, RecorderEvent::Held(_))) {
                // Only the newest answer to "what is held now" is of use.
                inner.events.retain(|event| !matches!(event, RecorderEvent::Held(_)));
            }
            inner.events.extend(events);
            self.arrived.notify_one();
        }
        inner.tokens > TOKENS_MAX
    }

    /// Says that no more events come.
    pub(super) fn end(&self) {
        self.inner().ended = true;
        self.arrived.notify_one();
    }

    fn take(&self) -> (Vec<RecorderEvent>, bool, bool) {
        let mut inner = self.inner();
        let was_behind = std::mem::take(&mut inner.tokens) > TOKENS_MAX;
        (std::mem::take(&mut inner.events), was_behind, inner.ended)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the outbox")
    }
}

fn tokens(event: &RecorderEvent) -> usize {
    match event {
        RecorderEvent::Spooled(spooled) => spooled.len(),
        RecorderEvent::Evicted(evicted) => evicted.len(),
        RecorderEvent::Held(_)
        | RecorderEvent::Failed(_)
        | RecorderEvent::Mended
        | RecorderEvent::Found(_)
        | RecorderEvent::InputsDrained => 0,
    }
}
