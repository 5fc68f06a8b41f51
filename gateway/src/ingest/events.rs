//! What happens to sessions and what agents call their robots, into the log. What the log does not take waits and is tried again, in order: else a disk that
//! was full for a minute would leave robots as they were before it, for as long as nothing else happens to them.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use muster_protocol::time::WallTime;

use super::{
    Shared,
    robot::{OpenSession, Robot, RobotState},
};
use crate::{
    committer::{CommitError, Entry, Rejected},
    record::{Body, DownReason, Envelope, SessionEvent},
};

/// Most events of one robot that wait for the log; beyond it the oldest is dropped, and said. A session that comes and
/// goes makes four, and one more where its labels are new.
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
    /// Puts an event behind those that wait for the log. What is decided under the robot's lock and put there under the
    /// same lock is logged in the order of the decisions; [`Shared::commit_owed`] has to follow.
    pub(super) fn owe(
        &self,
        state: &mut RobotState,
        session: u64,
        (received_at, event): (WallTime, SessionEvent),
    ) {
        let body = Body::Session(event);
        self.owe_record(state, Envelope { received_at, robot: self.id.clone(), session, body });
    }

    pub(super) fn owe_record(&self, state: &mut RobotState, event: Envelope) {
        if let Some(dropped) = state.owed.add(event) {
            state.labels.forget(&dropped.body);
            tracing::warn!(robot = %self.id, event = ?dropped.body, "the log did not take a session event for too long");
        }
    }
}

impl Shared {
    /// Queues a session event. The robot must not be locked.
    pub(super) fn commit_event(&self, robot: &Arc<Robot>, session: u64, event: SessionEvent) {
        robot.owe(&mut robot.lock(), session, (self.clock.wall(), event));
        self.commit_owed(robot);
    }

    /// Ends a robot's session if it is to end, and queues what is to be known of that: what the robot said last, and why
    /// the session is over. The robot must not be locked.
    pub(super) fn end_session_if(
        &self,
        robot: &Arc<Robot>,
        why: DownReason,
        ends: impl FnOnce(&OpenSession) -> bool,
    ) -> Option<OpenSession> {
        let ended = {
            let mut state = robot.lock();
            let ended = state.end_session_if(ends)?;
            let down = (self.clock.wall(), SessionEvent::Down { why });
            for event in ended.last_words().into_iter().chain([down]) {
                robot.owe(&mut state, ended.number, event);
            }
            ended
        };
        self.metrics.session_ended(ended.live.transport, why);
        self.commit_owed(robot);
        Some(ended)
    }

    /// Queues what the log has not taken yet, until it refuses again. The robot must not be locked.
    pub(super) fn commit_owed(&self, robot: &Arc<Robot>) {
        // Nothing in it can panic halfway.
        let _in_order = robot.paying.lock().unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::take(&mut robot.lock().owed.events);
        let mut events = events.into_iter();
        for event in events.by_ref() {
            let (owing, again) = (Arc::clone(robot), event.clone());
            let done = Box::new(move |result: Result<_, CommitError>| {
                if result.is_err() {
                    owing.owe_record(&mut owing.lock(), again);
                }
            });
            let entry = Entry { envelope: event, schema: None, decoded: None, done };
            if let Err(Rejected { entry, why }) = self.log.submit(entry) {
                tracing::debug!(robot = %robot.id, ?why, "a session event waits for the log");
                (entry.done)(Err(CommitError::Failed));
                break;
            }
        }
        events.for_each(|event| robot.owe_record(&mut robot.lock(), event));
    }
}
