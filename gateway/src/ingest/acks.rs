//! Acks to agents: what one group commit brought for a robot goes out as one frame.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use muster_protocol::message::{Ack, Message};

use super::robot::{Robot, RobotState};

/// Robots with something committed and not yet said. Each stands in it at most once, so their number is its bound.
#[derive(Default)]
pub(super) struct Acks {
    robots: Mutex<Vec<Arc<Robot>>>,
    wake: Notify,
}

impl Acks {
    /// Puts a robot in the queue; `state` is its own, locked.
    pub(super) fn queue(&self, robot: &Arc<Robot>, state: &mut RobotState) {
        if !std::mem::replace(&mut state.ack_queued, true) {
            self.robots.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(robot));
            self.wake.notify_one();
        }
    }

    /// Sends acks for ever.
    pub(super) async fn run(&self) {
        loop {
            self.wake.notified().await;
            self.send_all();
        }
    }

    pub(super) fn send_all(&self) {
        let robots = std::mem::take(&mut *self.robots.lock().unwrap_or_else(PoisonError::into_inner));
        for robot in robots {
            send(&mut robot.lock());
        }
    }
}

fn send(state: &mut RobotState) {
    state.ack_queued = false;
    let unsaid = std::mem::take(&mut state.unsaid);
    let Some(outbox) = state.session.as_ref().and_then(|session| session.outbox.as_ref()) else { return };
    let lanes = state.receiver.ack(unsaid);
    if !lanes.is_empty() {
        // A closed link needs no ack: the next Welcome says the same.
        let _ = outbox.send(Message::Ack(Ack { lanes }).to_frame());
    }
}
