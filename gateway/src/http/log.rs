//! What the API needs from the store.

use std::{io, sync::Arc};

use muster_protocol::{
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use crate::{metrics::Gauges, record::Envelope, store::ReadError};

/// Reads the committed log. Its methods may block on the disk: they are called on threads that may.
pub trait Log: Send + Sync + 'static {
    /// Returns the log's id.
    fn log_id(&self) -> LogId;

    /// Returns the first offset that is held.
    fn first(&self) -> Offset;

    /// Returns the offset that the next record will get.
    fn next(&self) -> Offset;

    /// Returns the robot's records that may have samples in `times`, after an offset or from the first one, ascending.
    /// What cannot be read is an error in its place, never left out.
    fn robot_records<'a>(&'a self, robot: &RobotId, times: TimeSpan, after: Option<Offset>) -> Records<'a>;

    /// Returns all records from an offset on, ascending. What cannot be read is an error in its place.
    fn records(&self, from: Offset) -> Records<'_>;

    /// Returns the newest state of the fleet that the store keeps of this moment or an earlier one, as bytes, if what
    /// followed it is held.
    fn milestone(&self, by: WallTime) -> io::Result<Option<Vec<u8>>>;

    /// Returns the moment of the oldest such state.
    fn first_milestone(&self) -> Option<WallTime>;

    /// Returns the schema of a robot's batch at `offset`.
    fn schema(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>>;

    /// Fills in what the store and its queue know of themselves.
    fn gauges(&self, gauges: &mut Gauges<u64>);
}

/// From the first time up to but not including the second; without a second one, all that is not before the first.
pub type TimeSpan = (WallTime, Option<WallTime>);

/// Records with their offsets.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Offset, Envelope), ReadError>> + 'a>;
