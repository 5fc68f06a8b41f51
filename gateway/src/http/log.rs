//! What the API needs from the store.

use std::{error::Error, sync::Arc};

use muster_protocol::{
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use crate::{metrics::Gauges, record::Envelope};

/// Reads the committed log. Its methods may block on the disk: they are called on threads that may.
pub trait Log: Send + Sync + 'static {
    /// Returns the log's id.
    fn log_id(&self) -> LogId;

    /// Returns the first offset that is held.
    fn first(&self) -> Offset;

    /// Returns the offset that the next record will get.
    fn next(&self) -> Offset;

    /// Returns the robot's records that may have samples in `times`, from the offset `from` on, ascending. A span
    /// without an end has no last time.
    ///
    /// A record that cannot be read is an error, never left out, and the last thing that comes.
    fn robot_records<'a>(&'a self, robot: &RobotId, times: TimeSpan, from: Offset) -> Records<'a>;

    /// Returns a schema of a robot's batches.
    fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>>;

    /// Fills in what is known of the store for the metrics.
    fn gauges(&self, gauges: &mut Gauges<u64>);
}

/// From the first time up to but not including the second; without a second one, all that is not before the first.
pub type TimeSpan = (WallTime, Option<WallTime>);

/// Records with their offsets.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Offset, Envelope), ReadError>> + 'a>;

/// Why the log cannot be read.
pub type ReadError = Box<dyn Error + Send + Sync>;
