//! What robots are called by, into the log: the agent's labels where a Hello says others than the log holds, and what
//! operators change.

use std::{
    ops::Range,
    sync::{Arc, PoisonError, TryLockError, mpsc::sync_channel},
};

use muster_protocol::{
    id::{Offset, RobotId},
    label::{LabelError, LabelPatch, Labels},
    time::WallTime,
};

use super::{
    Ingest,
    robot::{Robot, RobotState},
};
use crate::{
    committer::{CommitError, Entry, RejectReason, Rejected},
    fleet::Fleet,
    record::{Body, Envelope, LabelSet, LabelSource},
};

/// Changes what operators call robots.
pub trait Labelling: Send + Sync {
    /// Applies a patch to the operator's labels of a robot that the log names. Returns when the change is committed and
    /// folded into the fleet's state, at once if it changes nothing. Changes of one robot happen one after the other.
    /// It blocks: call it on a thread that may.
    fn label(&self, robot: &RobotId, patch: &LabelPatch) -> Result<(), NotLabelled>;
}

/// Why labels were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLabelled {
    /// The result is not allowed.
    #[error(transparent)]
    Wrong(#[from] LabelError),
    /// More waits for the log than may; soon it does not.
    #[error("the gateway has more to write than its disk takes; try again")]
    Busy,
    /// The log has no room.
    #[error("the store has no room: raise store.quota_size, lower store.retention_size or free the disk")]
    DiskFull,
    /// The gateway ends, or its log cannot be written. Whether the change is in the log is not known.
    #[error("the gateway is stopping; its log says why. Ask again when it is back")]
    Stopping,
}

/// What the log holds of a robot's labels, or what is on its way there.
#[derive(Debug)]
pub(super) struct KnownLabels {
    /// `None` if what was told last did not get there: then the next Hello tells it again.
    agent: Option<Labels>,
    operator: Labels,
}

impl Default for KnownLabels {
    fn default() -> Self {
        Self { agent: Some(Labels::default()), operator: Labels::default() }
    }
}

impl Robot {
    /// Owes the log what the agent's Hello calls the robot by, if it is news. [`Shared::commit_owed`](super::Shared) has
    /// to follow.
    pub(super) fn owe_labels(&self, state: &mut RobotState, session: u64, told: (WallTime, &Labels)) {
        let (received_at, labels) = told;
        if state.labels.agent.as_ref() == Some(labels) {
            return;
        }
        state.labels.agent = Some(labels.clone());
        let set = LabelSet { by: LabelSource::Agent, labels: labels.clone() };
        let body = Body::Labels(set);
        self.owe_record(state, Envelope { received_at, robot: self.id.clone(), session, body });
    }

    /// Takes what operators call the robot by from now on.
    fn learn_operators(&self, labels: Labels) {
        self.lock().labels.operator = labels;
    }
}

impl KnownLabels {
    /// The log did not take this record for too long.
    pub(super) fn forget(&mut self, dropped: &Body) {
        if matches!(dropped, Body::Labels(_)) {
            self.agent = None;
        }
    }
}

impl Ingest {
    /// Takes what the log holds of labels, at a start.
    pub fn know_labels(&self, fleet: &Fleet) {
        fleet.visit(|id, state| {
            let labels = state.labels();
            if !labels.is_empty() {
                let (agent, operator) = (labels.of(LabelSource::Agent), labels.of(LabelSource::Operator));
                let known = KnownLabels { agent: Some(agent.clone()), operator: operator.clone() };
                self.robot(id).lock().labels = known;
            }
            true
        });
    }

    /// Writes labels again whose record stands in the older half of the log, of which `held` are the offsets: they are not
    /// telemetry, and retention must not take them. Returns how many records it wrote. Call it now and then where
    /// retention may drop something; what does not fit one call or the queue is written by the next ones.
    pub fn carry_labels(&self, fleet: &Fleet, held: &Range<Offset>) -> usize {
        let half = Offset(held.start.0 + held.end.0.saturating_sub(held.start.0) / 2);
        let mut old = Vec::new();
        fleet.visit(|id, state| {
            let labels = state.labels();
            for by in [LabelSource::Agent, LabelSource::Operator] {
                if let Some((session, _)) = labels.record_of(by).filter(|(_, offset)| *offset < half) {
                    let set = LabelSet { by, labels: labels.of(by).clone() };
                    old.push((self.robot(id), session, set));
                }
            }
            old.len() < CARRIED_MAX
        });
        let carried = old.into_iter().map_while(|(robot, session, set)| {
            // An operator's change that is on its way is newer. What is submitted after this one gets a greater offset.
            let _in_order = match (set.by, robot.labelling.try_lock()) {
                (LabelSource::Operator, Err(TryLockError::WouldBlock)) => return Some(0),
                (_, guard) => guard,
            };
            if set.by == LabelSource::Operator && robot.lock().labels.operator != set.labels {
                return Some(0);
            }
            let received_at = self.0.clock.wall();
            let envelope =
                Envelope { received_at, robot: robot.id.clone(), session, body: Body::Labels(set) };
            let entry = Entry { envelope, schema: None, decoded: None, done: Box::new(drop) };
            self.0.log.submit(entry).ok().map(|()| 1)
        });
        carried.sum()
    }

    /// Commits a record of the gateway's own and waits for it.
    fn commit(&self, robot: &Arc<Robot>, labels: Labels) -> Result<(), NotLabelled> {
        let (tell, told) = sync_channel(1);
        let body = Body::Labels(LabelSet { by: LabelSource::Operator, labels: labels.clone() });
        let envelope =
            Envelope { received_at: self.0.clock.wall(), robot: robot.id.clone(), session: 0, body };
        let owner = Arc::clone(robot);
        let done = Box::new(move |result: Result<_, CommitError>| {
            if result.is_ok() {
                owner.learn_operators(labels);
            }
            // Nobody else sends into it, so there is room; and whoever waits may not have to any more.
            let _ = tell.try_send(result.map(drop));
        });
        if let Err(Rejected { why, .. }) =
            self.0.log.submit(Entry { envelope, schema: None, decoded: None, done })
        {
            return Err(match why {
                RejectReason::QueueFull => NotLabelled::Busy,
                RejectReason::DiskFull => NotLabelled::DiskFull,
                RejectReason::Closed => NotLabelled::Stopping,
            });
        }
        match told.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(CommitError::DiskFull)) => Err(NotLabelled::DiskFull),
            Ok(Err(CommitError::Failed | CommitError::NoSchema)) | Err(_) => Err(NotLabelled::Stopping),
        }
    }
}

/// Most records of labels that are written again at once: a group or two of the committer's.
const CARRIED_MAX: usize = 1000;

impl Labelling for Ingest {
    fn label(&self, robot: &RobotId, patch: &LabelPatch) -> Result<(), NotLabelled> {
        let robot = self.robot(robot);
        // What it guards is whole at any moment.
        let _one_by_one = robot.labelling.lock().unwrap_or_else(PoisonError::into_inner);
        let before = robot.lock().labels.operator.clone();
        let after = before.patched(patch)?;
        if after == before { Ok(()) } else { self.commit(&robot, after) }
    }
}
