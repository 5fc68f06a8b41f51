//! Plain JSON from the broker, until it is in the log.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use muster_protocol::id::RobotId;

use crate::link::port::{Intake, Unhandled};

/// Puts plain JSON into the log. The broker cannot be asked to send it again on this connection, so a gateway without
/// room tries again for as long as it takes; what waits behind it waits with it, at the broker. Only what can never
/// come in is given up, and counted: a gateway that is full of robots stays full, and one new name must not hold up
/// everybody behind the broker.
pub(super) async fn store(
    intake: &dyn Intake,
    robot: &RobotId,
    payload: Bytes,
    again_after: Duration,
) -> Result<(), Unhandled> {
    loop {
        match intake.json(robot, payload.clone()).await {
            // Nothing tells when there is room. A gateway that stops answers otherwise, which ends this.
            Err(Unhandled::Busy | Unhandled::DiskFull) => sleep(again_after).await,
            Err(Unhandled::FullOfRobots) => return intake.json_once(robot, payload).await,
            other => return other,
        }
    }
}

/// A message that hit a bug is confirmed all the same: it would come again on every connection.
#[expect(clippy::unnecessary_wraps, reason = "it is the answer that the message gets")]
pub(super) fn say_bug(robot: &RobotId) -> Result<(), Unhandled> {
    tracing::error!(%robot, "a message through the broker hit a bug in the gateway; please report it");
    Ok(())
}

/// How long plain JSON waits before it is tried again.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Mutex, PoisonError},
    };

    use super::*;
    use crate::link::port::{AgentSession, Outbox, Peer, Ticket};

    /// Answers what it was told to, one answer for each try.
    struct Told {
        answers: Mutex<VecDeque<Result<(), Unhandled>>>,
        given_up: Mutex<Vec<Bytes>>,
    }

    impl Intake for Told {
        fn open(&self, _: Peer, _: Outbox) -> Box<dyn AgentSession> {
            unreachable!("plain JSON opens no agent's session")
        }

        fn json(&self, _: &RobotId, _: Bytes) -> Ticket {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            Ticket::done(answers.pop_front().expect("no try after the last answer"))
        }

        fn json_once(&self, _: &RobotId, payload: Bytes) -> Ticket {
            self.given_up.lock().unwrap_or_else(PoisonError::into_inner).push(payload);
            Ticket::done(Ok(()))
        }
    }

    async fn stored(
        answers: impl IntoIterator<Item = Result<(), Unhandled>>,
    ) -> (Result<(), Unhandled>, usize) {
        let answers = Mutex::new(answers.into_iter().collect());
        let intake = Told { answers, given_up: Mutex::default() };
        let robot = "yard/r1".parse().unwrap();
        let result = store(&intake, &robot, Bytes::from_static(b"{}"), Duration::ZERO).await;
        assert!(intake.answers.lock().unwrap().is_empty(), "it stopped trying");
        (result, intake.given_up.lock().unwrap().len())
    }

    /// Guards: after a minute of a full queue plain JSON was confirmed to the broker with a line in the log, and gone.
    #[tokio::test]
    async fn a_busy_gateway_tries_for_as_long_as_it_takes() {
        let busy = std::iter::repeat_n(Err(Unhandled::Busy), 1000);
        let full = std::iter::repeat_n(Err(Unhandled::DiskFull), 1000);
        assert_eq!(stored(busy.chain(full).chain([Ok(())])).await, (Ok(()), 0));
    }

    #[tokio::test]
    async fn what_can_never_come_in_is_given_up_at_once_and_counted() {
        assert_eq!(stored([Err(Unhandled::Busy), Err(Unhandled::FullOfRobots)]).await, (Ok(()), 1));
    }

    #[tokio::test]
    async fn a_gateway_that_stops_leaves_it_with_the_broker() {
        assert_eq!(stored([Err(Unhandled::Stopping)]).await, (Err(Unhandled::Stopping), 0));
    }
}
