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
mod columns;
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
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError},
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
pub use columns::{Cell, ColumnKey, Learned, Row, Table};
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
use columns::{Changes, Columns, Counters};

/// The state of all robots that the log names. Who may register is decided before a record is committed.
#[derive(Debug, Default)]
pub struct Fleet {
    robots: RwLock<Robots>,
    applied: Mutex<Applied>,
    mapping: Option<Arc<Mapping>>,
    columns: Columns,
}

/// A robot and its state.
#[derive(Clone, Debug)]
pub struct Robot {
    /// Which it is.
    pub id: RobotId,
    state: Arc<RwLock<RobotState>>,
    changes: Changes,
}

/// All robots.
#[derive(Debug, Default)]
struct Robots {
    by_id: BTreeMap<RobotId, Robot>,
    counters: Counters,
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
        let robot = self.find(&envelope.robot).unwrap_or_else(|| self.add(&envelope.robot));
        robot.change(|state| state.apply(offset, envelope, batch));
        true
    }

    /// Returns where a fold in the order of the log goes on: the offset after the greatest that was applied.
    pub fn next(&self) -> Offset {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// Returns the state of one robot, if the log names it. Hold its lock briefly: records wait for it.
    pub fn robot(&self, robot: &RobotId) -> Option<Arc<RwLock<RobotState>>> {
        self.find(robot).map(|robot| robot.state)
    }

    fn find(&self, robot: &RobotId) -> Option<Robot> {
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

    /// Returns the robots as [`Fleet::robots`] does, with columns of what a walk asks of each.
    pub fn table<'k>(&self, keys: &'k [ColumnKey]) -> Table<'k> {
        self.columns.table(self.robots(), keys)
    }

    /// Takes what a walk over a table learned into the columns.
    pub fn learn(&self, table: Table<'_>, learned: Vec<Learned>) {
        self.columns.learn(table, learned);
    }

    /// Calls `visit` for each robot as [`Fleet::robots`] returns them, until it returns false. It runs under the robot's
    /// lock: it must not wait for anything that commits.
    pub fn visit(&self, mut visit: impl FnMut(&RobotId, &RobotState) -> bool) {
        for robot in &*self.robots() {
            if !visit(&robot.id, &robot.read()) {
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
        for robot in &*self.robots() {
            robot.change(|state| state.map(mapping.clone()));
        }
        self.mapping = mapping;
    }

    fn add(&self, robot: &RobotId) -> Robot {
        let mut robots = self.robots.write().unwrap_or_else(PoisonError::into_inner);
        robots.listed = None;
        let Robots { by_id, counters, .. } = &mut *robots;
        let new = || Robot::new(robot.clone(), RobotState::mapped(self.mapping.clone()), counters);
        by_id.entry(robot.clone()).or_insert_with(new).clone()
    }
}

impl Robot {
    fn new(id: RobotId, state: RobotState, counters: &mut Counters) -> Self {
        Self { id, state: Arc::new(RwLock::new(state)), changes: counters.next() }
    }

    /// Reads the state, once nobody changes it. Hold it briefly: records wait for it.
    pub fn read(&self) -> RwLockReadGuard<'_, RobotState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state, unless somebody is changing it or is about to.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, RobotState>> {
        match self.state.try_read() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Goes where the lock is, and no further; what it returns means nothing.
    pub fn reach(&self) -> usize {
        // The counter stands beside the lock.
        Arc::strong_count(&self.state)
    }

    fn change(&self, change: impl FnOnce(&mut RobotState)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.add();
        change(&mut state);
    }
}

impl Robots {
    fn of(robots: impl IntoIterator<Item = (RobotId, RobotState)>) -> Self {
        let mut counters = Counters::default();
        let robot = |(id, state): (RobotId, RobotState)| (id.clone(), Robot::new(id, state, &mut counters));
        let by_id = robots.into_iter().map(robot).collect();
        Self { by_id, counters, listed: None }
    }

    fn list(&mut self) -> Arc<[Robot]> {
        let Self { by_id, listed, .. } = self;
        listed.get_or_insert_with(|| by_id.values().cloned().collect()).clone()
    }
}
