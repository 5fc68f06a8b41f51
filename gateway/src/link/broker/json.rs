//! Plain JSON from the broker, until it is in the log.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use muster_protocol::id::RobotId;

use crate::link::port::{Intake, Unhandled};

/// Puts plain JSON into the log. The broker cannot be asked to send it again on this connection, so a gateway without
/// room tries again; what waits behind it waits with it, at the broker.
pub(super) async fn store(intake: &dyn Intake, robot: &RobotId, payload: Bytes) -> Result<(), Unhandled> {
    let mut busy = 0;
    loop {
        let result = intake.json(robot, payload.clone()).await;
        match result {
            Err(Unhandled::DiskFull) => {}
            Err(Unhandled::Busy) if busy < BUSY_TRIES_MAX => busy += 1,
            Err(Unhandled::Busy) => {
                tracing::error!(%robot, "gave up plain JSON of a robot: the gateway was busy, or full of robots");
                return Ok(());
            }
            other => return other,
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// A message that hit a bug is confirmed all the same: it would come again on every connection.
#[expect(clippy::unnecessary_wraps, reason = "it is the answer that the message gets")]
pub(super) fn say_bug(robot: &RobotId) -> Result<(), Unhandled> {
    tracing::error!(%robot, "a message through the broker hit a bug in the gateway; please report it");
    Ok(())
}

/// How long plain JSON waits before it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tries of plain JSON at a gateway that is busy. A queue has room within seconds; a gateway that is full of robots
/// never has, and one new name must not hold up everybody behind the broker for ever.
const BUSY_TRIES_MAX: u32 = 60;
