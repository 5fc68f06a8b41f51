//! The agent's session on a connection, and what it wants sent.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
};

use muster_protocol::frame::Frame;

use super::conversation::Delivery;
use crate::link::port::{AgentSession, Closed, Outgoing, Outlet, Ticket, Unhandled};

/// A session that is closed exactly once, whatever happens to its connection.
pub(super) struct Agent {
    session: Option<Box<dyn AgentSession>>,
    outlet: Outlet,
}

impl Agent {
    pub(super) fn new(session: Box<dyn AgentSession>, outlet: Outlet) -> Self {
        Self { session: Some(session), outlet }
    }

    /// Hands a frame to the session.
    pub(super) fn handle(&mut self, frame: Frame) -> Ticket {
        match &mut self.session {
            Some(session) => session.handle_frame(frame),
            None => Ticket::done(Err(Unhandled::Stopping)),
        }
    }

    /// Returns what the session wants sent next, if there is anything now.
    pub(super) fn poll_next(&mut self) -> Option<Outgoing> {
        self.outlet.poll_next()
    }

    /// Tells the session that the connection is over. Only the first call counts.
    pub(super) fn close(&mut self, why: Closed) {
        if let Some(session) = self.session.take() {
            session.closed(why);
        }
    }
}

impl Drop for Agent {
    /// Reached with a session only when the connection's task panicked or was cancelled.
    fn drop(&mut self) {
        // A second panic here would end the process.
        let closed = catch_unwind(AssertUnwindSafe(|| self.close(Closed::Failed)));
        if closed.is_err() {
            tracing::error!("a session panicked while it was closed; its robot may still show as connected");
        }
    }
}

/// Waits for what the agent's session wants, as far as the client can take it. Cancel-safe.
pub(super) async fn outgoing(agent: Option<&mut Agent>, delivery: Delivery) -> Outgoing {
    match (agent, delivery) {
        (None, _) => pending().await,
        (Some(agent), Delivery::Open) => agent.outlet.next().await,
        (Some(agent), Delivery::NotSubscribed | Delivery::Full) => agent.outlet.ended().await,
    }
}
