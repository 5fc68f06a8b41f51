//! What happens to sessions, into the log. What the log does not take waits and is tried again, in order: else a disk that
//! was full for a minute would leave robots as they were before it, for as long as nothing else happens to them.

use std::{collections::VecDeque, sync::Arc};

use super::{Shared, robot::Robot};
use crate::{
    committer::{CommitError, Entry, Rejected},
    record::{Body, DownReason, Envelope, SessionEvent},
};

/// Most events of one robot that wait for the log; beyond it the oldest is dropped, and said. A session that comes and
/// goes makes four.
const OWED_MAX: usize = 8;

/// Events that the log has not taken yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    events: VecDeque<Envelope>,
}

impl Owed {
    /// Adds an event in its place. Returns what there is no more room for.
    fn add(&mut self, event: Envelope) -> Option<Envelope> {
        let at = self.events.partition_point(|earlier| earlier.received_at <= event.received_at);
        self.events.insert(at, event);
        if self.events.len() > OWED_MAX { self.events.pop_front() } else { None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Robot {
    fn owe(&self, event: Envelope) {
        if let Some(dropped) = self.lock().owed.add(event) {
            tracing::warn!(robot = %self.id, event = ?dropped.body, "the log did not take a session event for too long");
        }
    }
}

impl Shared {
    /// Queues a session event. The robot must not be locked.
    pub(super) fn commit_event(&self, robot: &Arc<Robot>, session: u64, event: SessionEvent) {
        let (received_at, body) = (self.clock.wall(), Body::Session(event));
        robot.owe(Envelope { received_at, robot: robot.id.clone(), session, body });
        self.commit_owed(robot);
    }

    pub(super) fn commit_session_down(&self, robot: &Arc<Robot>, session: u64, why: DownReason) {
        self.commit_event(robot, session, SessionEvent::Down { why });
    }

    /// Queues what the log has not taken yet, until it refuses again.
    pub(super) fn commit_owed(&self, robot: &Arc<Robot>) {
        let events = std::mem::take(&mut robot.lock().owed.events);
        let mut events = events.into_iter();
        for event in events.by_ref() {
            let (owing, again) = (Arc::clone(robot), event.clone());
            let done = Box::new(move |result: Result<_, CommitError>| {
                if result.is_err() {
                    owing.owe(again);
                }
            });
            let entry = Entry { envelope: event, schema: None, decoded: None, done };
            if let Err(Rejected { entry, why }) = self.log.submit(entry) {
                tracing::debug!(robot = %robot.id, ?why, "a session event waits for the log");
                (entry.done)(Err(CommitError::Failed));
                break;
            }
        }
        events.for_each(|event| robot.owe(event));
    }
}
