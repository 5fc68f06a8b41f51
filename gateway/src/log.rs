//! The committed log as ingest and the API see it: records go in through the committer, and come out of the store.

use std::{io, sync::Arc};

use muster_protocol::{
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use crate::{
    committer::{CommitterHandle, Entry, RejectReason, Rejected},
    http, ingest,
    metrics::Gauges,
    store::StoreReader,
};

/// The committed log.
#[derive(Clone, Debug)]
pub struct CommittedLog {
    committer: CommitterHandle,
    reader: StoreReader,
}

impl CommittedLog {
    /// Joins the two ends of one store.
    pub fn new(committer: CommitterHandle, reader: StoreReader) -> Self {
        Self { committer, reader }
    }

    /// Returns what records go in through.
    pub fn committer(&self) -> CommitterHandle {
        self.committer.clone()
    }
}

impl ingest::Log for CommittedLog {
    fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        self.committer.submit(entry)
    }

    fn submit_all(&self, entries: Vec<Entry>) -> Result<(), RejectReason> {
        self.committer.submit_all(entries)
    }

    fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.reader.schema(robot, hash)
    }
}

impl http::Log for CommittedLog {
    fn log_id(&self) -> LogId {
        self.reader.log_id()
    }

    fn first(&self) -> Offset {
        self.reader.first()
    }

    fn next(&self) -> Offset {
        self.reader.next()
    }

    fn robot_records<'a>(
        &'a self,
        robot: &RobotId,
        times: http::TimeSpan,
        after: Option<Offset>,
    ) -> http::Records<'a> {
        let (since, until) = times;
        Box::new(self.reader.robot_records(robot, since, until, after))
    }

    fn records(&self, from: Offset) -> http::Records<'_> {
        Box::new(self.reader.scan(from))
    }

    fn milestone(&self, by: WallTime) -> io::Result<Option<Vec<u8>>> {
        self.reader.milestone(by)
    }

    fn first_milestone(&self) -> Option<WallTime> {
        self.reader.first_milestone()
    }

    fn schema(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.reader.schema_at(offset, robot, hash)
    }

    fn gauges(&self, gauges: &mut Gauges<u64>) {
        let status = self.reader.status();
        gauges.queue_bytes = self.committer.queued_bytes() as u64;
        gauges.queue_bound_bytes = self.committer.queue_bytes_max() as u64;
        gauges.partitions = status.partitions as u64;
        gauges.disk_bytes = status.disk_bytes;
        gauges.record_bytes = status.record_bytes;
        gauges.blob_files = status.blobs;
        gauges.damaged_ranges = status.damaged.len() as u64;
        gauges.refusing = u64::from(status.refusing);
        gauges.sealed_open = status.sealed_open as u64;
        gauges.retention_bytes = status.room.retention_bytes;
        gauges.quota_bytes = status.room.quota_bytes;
        gauges.free_bytes = status.room.free_bytes.unwrap_or(0);
        gauges.size_bytes = status.room.total_bytes.unwrap_or(0);
        gauges.unaccounted = status.unaccounted as u64;
    }
}
