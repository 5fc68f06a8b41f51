//! One robot's session behind the broker, and what it wants said.

use tokio::{sync::mpsc, task::AbortHandle};

use muster_protocol::{frame::Frame, id::RobotId};

use super::{connection::Out, sessions::SessionNumber};
use crate::link::port::{AgentSession, Closed, Outgoing, Outlet, Ticket};

/// A session, and the task that brings what it has to say.
pub(super) struct Agent {
    session: Box<dyn AgentSession>,
    pump: AbortHandle,
}

/// What a robot's session has to say.
pub(super) struct Said {
    pub(super) robot: RobotId,
    pub(super) number: SessionNumber,
    pub(super) outgoing: Outgoing,
}

impl Agent {
    /// Brings from now on what the session says into the queue, under the robot's name and the session's number.
    pub(super) fn new(
        session: Box<dyn AgentSession>,
        outlet: Outlet,
        (robot, number): (RobotId, SessionNumber),
        said: mpsc::Sender<Said>,
    ) -> Self {
        let pump = tokio::spawn(pump(robot, number, outlet, said)).abort_handle();
        Self { session, pump }
    }

    /// Hands a frame to the session.
    pub(super) fn handle(&mut self, frame: Frame) -> Ticket {
        self.session.handle_frame(frame)
    }

    /// The session is over; what it still had to say is not said.
    pub(super) fn end(self, why: Closed) {
        self.pump.abort();
        self.session.closed(why);
    }
}

/// Makes the queue of what all sessions have to say.
pub(super) fn said_queue() -> (mpsc::Sender<Said>, mpsc::Receiver<Said>) {
    mpsc::channel(SAID_QUEUED_MAX)
}

/// Waits for a session to say something that can be sent now. Cancel-safe.
pub(super) async fn said(out: &Out, sayings: &mut mpsc::Receiver<Said>) -> Said {
    out.room().await;
    sayings.recv().await.expect("the exchange holds the other end itself")
}

async fn pump(robot: RobotId, number: SessionNumber, mut outlet: Outlet, said: mpsc::Sender<Said>) {
    loop {
        let outgoing = outlet.next().await;
        let last = !matches!(outgoing, Outgoing::Frame(_));
        if said.send(Said { robot: robot.clone(), number, outgoing }).await.is_err() || last {
            return;
        }
    }
}

/// Frames of all sessions that wait to be sent; the others wait in their own bounded queues.
const SAID_QUEUED_MAX: usize = 64;
