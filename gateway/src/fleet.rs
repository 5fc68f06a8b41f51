//! The state of the fleet: what the committed log says of each robot, folded record by record.
//!
//! Link, freshness and health are three separate axes. Nothing here asks a clock: a state says what the log says, and
//! [`RobotState::read`] judges it at a moment that the caller names, together with what is heard of the robot right now
//! ([`LiveLinks`]).
//!
//! Two properties carry the rest. *Order does not matter*: any permutation of the same records gives the same state,
//! because each part is a maximum by a total order, a set or a sum. *Repetition does not matter*: a record is known by
//! its offset, and an offset that was applied is skipped. So a checkpoint and the tail of the log give what the whole
//! log gives. Two bounds are exceptions, and need the order of the log to be deterministic: a robot's channels beyond
//! the first 16,384, and a log with more than 4096 gaps.
//!
//! One thread applies. Readers take one robot's lock at a time, and for no longer than reading that robot takes.
//!
//! *Never*: a record that is not committed; a decision about a session; a clock; I/O.

mod acceptance;
mod applied;
mod as_of;
mod channel;
mod channels;
mod checkpoint;
mod completeness;
mod conflict;
mod freshness;
mod health;
mod labels;
mod layout;
mod link;
mod losses;
mod mapping;
mod reading;
mod recent;
#[cfg(test)]
pub(crate) mod rehearsal;
mod repair;
mod robot;
mod survey;
mod tallies;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use muster_protocol::{
    batch::DecodedBatch,
    id::{Offset, RobotId},
    schema::Schema,
};

use crate::record::Envelope;

pub use as_of::{AsOf, Known};
pub use channel::{Aging, Channel, Mark};
pub use channels::Place;
pub use checkpoint::{CheckpointError, FleetImage};
pub use completeness::{Amount, Completeness, Standing};
pub use conflict::{CONFLICT_NS_OVER, Conflict};
pub use freshness::{FRESH_NS_MIN, Freshness, LATE_NS_MIN, LinkState, Pace, SILENCE_NS_MAX, freshness};
pub use health::{Health, LOSS_NS_WARN, Level, SKEW_NS_WARN, is_skewed};
pub use labels::RobotLabels;
pub use link::{Heard, LinkReading, LiveLink, LiveLinks};
pub use losses::{LossRecord, LossTally, Losses, LostSeqs};
pub use mapping::{
    Battery, BatterySource, Bounds, Frame, Heading, Mapping, ParseSourceError, Pose, PoseSource, Position,
    PositionSource, Said, SaidBy, Seen, Source, Threshold, Version,
};
pub use reading::{Backlog, ChannelReading, RobotReading};
pub use repair::Repair;
pub use robot::{RobotState, Totals};
pub use survey::{Freshnesses, Marks};
pub use tallies::Tallies;

use applied::Applied;

/// The state of all robots that the log names. Who may register is decided before a record is committed.
#[derive(Debug, Default)]
pub struct Fleet {
    robots: RwLock<Robots>,
    applied: Mutex<Applied>,
    mapping: Option<Arc<Mapping>>,
}

/// A robot and its state.
pub type Robot = (RobotId, Arc<RwLock<RobotState>>);

/// All robots.
#[derive(Debug, Default)]
struct Robots {
    by_id: BTreeMap<RobotId, Arc<RwLock<RobotState>>>,
    /// The same in a row, made when somebody asks for all, and good until a robot is added.
    listed: Option<Arc<[Robot]>>,
}

impl Fleet {
    /// Folds a record in; `batch` is a batch record's payload, decoded, with its schema. Without it only the counters
    /// move, as for a batch that does not decode. Returns false if this offset was applied before.
    pub fn apply(
        &self,
        offset: Offset,
        envelope: &Envelope,
        batch: Option<(&DecodedBatch, &Schema)>,
    ) -> bool {
        if !self.applied.lock().unwrap_or_else(PoisonError::into_inner).insert(offset) {
            return false;
        }
        let robot = self.robot(&envelope.robot).unwrap_or_else(|| self.add(&envelope.robot));
        robot.write().unwrap_or_else(PoisonError::into_inner).apply(offset, envelope, batch);
        true
    }

    /// Returns where a fold in the order of the log goes on: the offset after the greatest that was applied.
    pub fn next(&self) -> Offset {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Returns the state of one robot, if the log names it. Hold its lock briefly: records wait for it.
    pub fn robot(&self, robot: &RobotId) -> Option<Arc<RwLock<RobotState>>> {
        self.robots.read().unwrap_or_else(PoisonError::into_inner).by_id.get(robot).cloned()
    }

    /// Returns how many robots there are.
    pub fn len(&self) -> usize {
        self.robots.read().unwrap_or_else(PoisonError::into_inner).by_id.len()
    }

    /// Returns whether the log names no robot yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the robots in the order of their ids. Lock one at a time, so that the records of the others do not wait,
    /// and ask [`LiveLinks`] before, never under the lock.
    pub fn robots(&self) -> Arc<[Robot]> {
        let listed = self.robots.read().unwrap_or_else(PoisonError::into_inner).listed.clone();
        listed.unwrap_or_else(|| self.robots.write().unwrap_or_else(PoisonError::into_inner).list())
    }

    /// Calls `visit` for each robot as [`Fleet::robots`] returns them, until it returns false. It runs under the robot's
    /// lock: it must not wait for anything that commits.
    pub fn visit(&self, mut visit: impl FnMut(&RobotId, &RobotState) -> bool) {
        for (id, robot) in &*self.robots() {
            if !visit(id, &robot.read().unwrap_or_else(PoisonError::into_inner)) {
                break;
            }
        }
    }

    /// Makes a fleet of robots that were folded one by one.
    pub fn of(robots: impl IntoIterator<Item = (RobotId, RobotState)>) -> Self {
        Self { robots: RwLock::new(Robots::of(robots)), ..Self::default() }
    }

    /// Reads robots through the mapping of another fleet.
    #[must_use]
    pub fn mapped_like(mut self, other: &Self) -> Self {
        self.map_shared(other.mapping.clone());
        self
    }

    /// Reads robots through this mapping from now on: those that are there and those that come.
    pub fn map(&mut self, mapping: Mapping) {
        self.map_shared(Some(Arc::new(mapping)));
    }

    fn map_shared(&mut self, mapping: Option<Arc<Mapping>>) {
        for (_, robot) in &*self.robots() {
            robot.write().unwrap_or_else(PoisonError::into_inner).map(mapping.clone());
        }
        self.mapping = mapping;
    }

    fn add(&self, robot: &RobotId) -> Arc<RwLock<RobotState>> {
        let mut robots = self.robots.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RwLock::new(RobotState::mapped(self.mapping.clone())));
        robots.listed = None;
        robots.by_id.entry(robot.clone()).or_insert_with(new).clone()
    }
}

impl Robots {
    fn of(robots: impl IntoIterator<Item = (RobotId, RobotState)>) -> Self {
        let by_id = robots.into_iter().map(|(id, state)| (id, Arc::new(RwLock::new(state)))).collect();
        Self { by_id, listed: None }
    }

    fn list(&mut self) -> Arc<[Robot]> {
        let Self { by_id, listed } = self;
        let list = || by_id.iter().map(|(id, robot)| (id.clone(), robot.clone())).collect();
        listed.get_or_insert_with(list).clone()
    }
}
