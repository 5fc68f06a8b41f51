//! What the API needs from the store.

use std::sync::Arc;

use muster_protocol::{
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use crate::{
    metrics::Gauges,
    record::Envelope,
    store::{ReadError, StoreReader},
};

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

    /// Returns the schema of a robot's batch at `offset`.
    fn schema(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>>;

    /// Fills in what the store knows of itself.
    fn gauges(&self, gauges: &mut Gauges<u64>);
}

/// From the first time up to but not including the second; without a second one, all that is not before the first.
pub type TimeSpan = (WallTime, Option<WallTime>);

/// Records with their offsets.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Offset, Envelope), ReadError>> + 'a>;

impl Log for StoreReader {
    fn log_id(&self) -> LogId {
        self.log_id()
    }

    fn first(&self) -> Offset {
        self.first()
    }

    fn next(&self) -> Offset {
        self.next()
    }

    fn robot_records<'a>(
        &'a self,
        robot: &RobotId,
        (from, to): TimeSpan,
        after: Option<Offset>,
    ) -> Records<'a> {
        Box::new(self.robot_records(robot, from, to.unwrap_or(WallTime(i64::MAX)), after))
    }

    fn schema(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.schema_at(offset, robot, hash)
    }

    fn gauges(&self, gauges: &mut Gauges<u64>) {
        let status = self.status();
        gauges.first_offset = status.first.0;
        gauges.next_offset = status.next.0;
        gauges.partitions = status.partitions as u64;
        gauges.disk_bytes = status.disk_bytes;
        gauges.record_bytes = status.record_bytes;
        gauges.blob_files = status.blobs;
        gauges.damaged_ranges = status.damaged.len() as u64;
        gauges.refusing = u64::from(status.refusing);
    }
}
