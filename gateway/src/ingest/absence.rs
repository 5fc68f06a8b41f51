//! What a robot says is gone and the log lacks: into the log, and said.

use std::sync::Arc;

use muster_protocol::loss::Absence;

use super::{Ingest, robot::Robot, session::settler};
use crate::{
    committer::{CommitError, Entry, Rejected},
    link::port::Ticket,
    record::{Body, Envelope},
};

/// The session of records that the gateway makes itself.
const BY_THE_GATEWAY: u64 = 0;

/// Queues records of what the agent says is gone and the log lacks. A full queue lets the next heartbeat try again.
pub(super) fn commit_absences(ingest: &Ingest, robot: &Arc<Robot>) {
    let shared = &ingest.0;
    loop {
        let Some((claim, absence)) = robot.lock().receiver.poll_absent(shared.config.forgot) else { return };
        say_absence(robot, &absence);
        let envelope = Envelope {
            received_at: shared.clock.wall(),
            robot: robot.id.clone(),
            session: BY_THE_GATEWAY,
            body: Body::Absence(absence),
        };
        let (issuer, _) = Ticket::new();
        let settle = settler(ingest.clone(), Arc::clone(robot), claim, issuer);
        let done = Box::new(move |result: Result<_, CommitError>| settle(result.map(drop)));
        let entry = Entry { envelope, schema: None, decoded: None, done };
        if let Err(Rejected { entry, .. }) = shared.log.submit(entry) {
            return (entry.done)(Err(CommitError::Failed));
        }
    }
}

fn say_absence(robot: &Robot, absence: &Absence) {
    let Absence { lane, samples, .. } = absence;
    match absence.reason.loss() {
        None => tracing::info!(
            robot = %robot.id, %lane, samples, "the robot had released samples before it first came to this gateway"
        ),
        Some(reason) => tracing::error!(
            robot = %robot.id, %lane, samples, %reason, "the log has lost samples that the robot had released"
        ),
    }
}
