//! The gateway's log: every record that was committed, by offset, durable before anything is acknowledged.
//!
//! The log is a row of partitions, each a sled database of its own that is only ever inserted into. When one is full
//! the next is begun, and the full one is sealed with an index and a manifest. The oldest are dropped whole when the
//! log outgrows its retention, never above a checkpoint.
//!
//! What it promises: a [`Committed`] exists only for a record that is on the disk, synced. Offsets grow by one with
//! each record and are never reused; only where records were damaged do they jump. Readers never hold up the
//! committer, and never see what is not synced.
//!
//! What it never does: acknowledge after a failed sync, write on after one, delete a single record, fill the disk to
//! its end, or repair damage silently: a damaged partition is set aside, listed, and the others are served.
//!
//! ```text
//!   Store (one, the committer's)  --append-->  database --flush, sync--> publish(next) --> Committed
//!   StoreReader (any number)      <--scan, robot_records, schema, status--  up to next
//!   CheckpointStore (one)         --write, latest
//! ```

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering, mpsc::Receiver},
};

use bytes::Bytes;
use muster_protocol::{
    id::{Offset, RobotId, SchemaHash},
    time::WallTime,
};

use crate::record::{Body, Envelope, Head};

pub mod simulated;

mod account;
mod backup;
mod ballast;
pub mod check;
mod checkpoint;
mod database;
mod disk;
mod folder;
mod forgetting;
mod handles;
mod index;
mod manifest;
mod milestones;
mod open;
mod pack;
mod partition;
mod reader;
mod recovery;
mod robot_records;
mod scan;
mod schemas;
mod seal;
mod shared;
mod status;
mod tail;
mod tally;
#[cfg(test)]
mod tests;
pub mod trim;

pub(crate) use backup::files_of;
pub use backup::{Hold, LISTING_FILE, Listed, Listing};
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointStore};
pub use disk::{Disk, OsDisk, Step};
pub use folder::{OpenError, STORE_VERSION};
pub(crate) use folder::{lock, log_id_of};
pub use forgetting::Forgetting;
pub use manifest::{LaneManifest, Manifest, RobotManifest};
pub use open::Opened;
pub use reader::{ReadError, StoreReader};
pub use robot_records::RobotRecords;
pub use scan::Scan;
pub use status::{Damage, Room, StoreStatus};

use self::{
    account::Accounting,
    ballast::Ballast,
    database::{Database, DatabaseError, Group},
    disk::{is_full, sync_all_of},
    pack::pack,
    partition::{Open, Partition, State},
    seal::Housekeeping,
    shared::Shared,
    tail::Tail,
    tally::Tally,
};

/// How large the log and its parts may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A partition is full at this many bytes of records. One that is written is in memory whole.
    pub partition_bytes: u64,
    /// The oldest partitions are dropped while the log occupies more of the disk than this.
    pub retention_bytes: u64,
    /// Nothing is taken while the log occupies more of the disk than this. Above `retention_bytes` by some
    /// partitions, below the disk.
    pub quota_bytes: u64,
    /// Room that is kept for opening the log on a full disk.
    pub ballast_bytes: u64,
    /// Cache of the partition that is written.
    pub write_cache_bytes: u64,
    /// Cache of each sealed partition that is read, about.
    pub read_cache_bytes: u64,
    /// How many sealed partitions stay open.
    pub sealed_open_max: usize,
    /// Fewest bytes of log between two milestones.
    pub milestone_log_bytes: u64,
}

/// The writer of the log. There is one, and one thread that owns it.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    housekeeping: Housekeeping,
    ballast: Ballast,
    /// The partition that is written.
    partition: Arc<Partition>,
    open: Arc<Open>,
    tail: Tail,
    /// The damaged partition whose loss is being written into the log.
    accounting: Option<Accounting>,
    /// Offsets below it may be given.
    reserved: Offset,
    /// A write or sync failed: what the disk holds is not known any more.
    failed: bool,
}

/// The promise that the record at this offset is on the disk, synced. Only the store can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Committed {
    offset: Offset,
}

/// A record as the store takes it.
#[derive(Clone, Debug)]
pub struct Encoded {
    bytes: Vec<u8>,
    head: Head,
    schema: Option<SchemaUse>,
}

/// The schema that a batch refers to.
#[derive(Clone, Debug)]
struct SchemaUse {
    hash: SchemaHash,
    encoded: Option<Bytes>,
}

/// Why a group of records was not committed. None of it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The log is at its quota, and nothing may be dropped. Nothing was written; later it may be taken.
    #[error(
        "there is no room for records: the log occupies {used} bytes of its quota of {quota}, and {} bytes of the disk \
         are free; raise the quota or free the disk",
        free.map_or("some".to_owned(), |free| free.to_string())
    )]
    DiskFull {
        /// Bytes that the log occupies.
        used: u64,
        /// Bytes that it may occupy.
        quota: u64,
        /// Bytes of the disk that are free, if that can be known.
        free: Option<u64>,
    },
    /// A batch came without its schema, and the log does not have it. Nothing was written.
    #[error("robot {robot}'s schema {hash} is not in the log")]
    NoSchema {
        /// Whose batch.
        robot: RobotId,
        /// The schema it refers to.
        hash: SchemaHash,
    },
    /// A write or a sync failed. Whether the group is on the disk is not known: the process has to stop without
    /// acknowledging it, and start again.
    #[error("{action} {}: {why}", path.display())]
    Failed {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system or the database says.
        why: String,
    },
}

/// How many offsets are reserved at a time.
const RESERVE: u64 = 1 << 20;

impl Default for StoreConfig {
    /// Returns limits for a small server: 16 GiB of log, refused above 20 GiB.
    fn default() -> Self {
        Self {
            partition_bytes: 64 << 20,
            retention_bytes: 16 << 30,
            quota_bytes: 20 << 30,
            ballast_bytes: 16 << 20,
            write_cache_bytes: 64 << 20,
            read_cache_bytes: 16 << 20,
            sealed_open_max: 3,
            // What is folded in a fraction of a second.
            milestone_log_bytes: 16 << 20,
        }
    }
}

impl Committed {
    /// Returns the record's offset.
    pub fn offset(self) -> Offset {
        self.offset
    }
}

impl Encoded {
    /// Encodes a record. `schema` is the encoded schema of a batch; without it the log must have it already.
    pub fn new(envelope: &Envelope, schema: Option<(SchemaHash, Bytes)>) -> Self {
        let schema = match &envelope.body {
            Body::Batch { info, .. } => {
                let hash = info.schema;
                let given = schema.filter(|(given, _)| *given == hash);
                Some(SchemaUse { hash, encoded: given.map(|(_, encoded)| encoded) })
            }
            _ => None,
        };
        let (head, bytes) = envelope.encode_with_head();
        Self { bytes, head, schema }
    }

    /// Returns the bytes that the log will keep.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns `false`: a record has at least a head.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl Store {
    /// Commits a group of records, in order: written, flushed and synced when it returns, or not at all promised.
    pub fn append(&mut self, records: &[Encoded]) -> Result<Vec<Committed>, StoreError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        if self.failed {
            return Err(failed("write to", &self.partition.folder, &"an earlier write or sync failed"));
        }
        self.check_room()?;
        if self.open.record_bytes.load(Ordering::Relaxed) >= self.shared.config.partition_bytes {
            self.roll()?;
        }
        let schemas = self.schemas_of(records)?;
        let first = self.shared.next();
        let end = Offset(first.0.saturating_add(records.len() as u64));
        self.reserve(end)?;
        let entries = pack(first, records.iter().map(|record| &record.bytes[..]));
        self.write(Group { schemas: split_all(&schemas), entries })?;
        self.count(first, records, &schemas);
        self.shared.publish(end);
        self.tail.note(end);
        if self.shared.disk_bytes() > self.shared.config.retention_bytes {
            self.housekeeping.retain();
        }
        Ok((first.0..end.0).map(|offset| Committed { offset: Offset(offset) }).collect())
    }

    /// Returns whether a batch's schema is missing, so that it cannot be committed.
    pub fn lacks_schema(&self, record: &Encoded) -> bool {
        let Some(schema) = &record.schema else { return false };
        schema.encoded.is_none() && self.schema_to_add(record, schema).is_err()
    }

    /// Returns whether anything can be taken; drops old partitions and restores the ballast if that helps.
    pub fn has_room(&mut self) -> bool {
        self.check_room().is_ok()
    }

    /// Returns whether something was lost that the log does not say yet; see [`Store::account_next`].
    pub fn has_unaccounted(&self) -> bool {
        self.accounting.is_some() || self.shared.unaccounted.len() > 0
    }

    /// Says whom to call, on any thread, when [`Store::has_unaccounted`] turns true.
    pub fn wake_unaccounted(&self, waker: Box<dyn Fn() + Send + Sync>) {
        self.shared.unaccounted.set_waker(waker);
    }

    /// Commits the next group of loss records for what damaged partitions held, with `now` as the time of report.
    /// Empty when the log says everything. On [`StoreError::DiskFull`] it has to be called again later.
    pub fn account_next(&mut self, now: WallTime) -> Result<Vec<(Committed, Envelope)>, StoreError> {
        while self.has_unaccounted() {
            self.check_room()?;
            if self.accounting.is_none() {
                let Some(partition) = self.shared.unaccounted.first() else { return Ok(Vec::new()) };
                self.accounting = Accounting::begin(&self.shared, &partition, now);
            }
            let Some(mut accounting) = self.accounting.take() else {
                self.shared.unaccounted.pop();
                continue;
            };
            let group = match accounting.next_group(&self.shared) {
                Ok(group) => group,
                Err(error) => {
                    tracing::error!(%error, "a loss is not in the log yet; the next start tries again");
                    self.shared.unaccounted.pop();
                    continue;
                }
            };
            let encoded: Vec<Encoded> = group.iter().map(|record| Encoded::new(record, None)).collect();
            let committed = self.append(&encoded)?;
            if committed.is_empty() {
                tracing::info!(partition = ?accounting.partition(), "the log says what it held");
                continue; // the same partition may have lost something else
            }
            let records = accounting.handle_committed(committed.len());
            self.accounting = Some(accounting);
            return Ok(committed.into_iter().zip(records).collect());
        }
        Ok(Vec::new())
    }

    /// Returns why nothing is taken, if so.
    fn check_room(&mut self) -> Result<(), StoreError> {
        let quota = self.shared.config.quota_bytes;
        self.ballast.restore(&*self.shared.disk);
        if self.shared.disk_bytes() > quota
            && let Err(error) = self.shared.retain()
        {
            tracing::error!(%error, "drop the oldest partition");
        }
        let floor = self.shared.config.ballast_bytes / 2;
        let is_full = self.free_bytes().is_some_and(|free| free < floor);
        let refusing = self.shared.disk_bytes() > quota || !self.ballast.is_there() || is_full;
        self.shared.refusing.store(refusing, Ordering::Relaxed);
        if refusing { Err(self.full()) } else { Ok(()) }
    }

    fn full(&self) -> StoreError {
        self.shared.refusing.store(true, Ordering::Relaxed);
        let (used, quota) = (self.shared.disk_bytes(), self.shared.config.quota_bytes);
        StoreError::DiskFull { used, quota, free: self.free_bytes() }
    }

    fn free_bytes(&self) -> Option<u64> {
        self.shared.disk.free_bytes(&self.shared.folder.root)
    }

    /// Gives up the room that is kept for a full disk, so that something small can be written now. Returns whether
    /// there was any.
    pub fn make_room(&mut self) -> bool {
        self.ballast.is_there() && self.ballast.give_up().is_ok()
    }

    /// Ends the partition that is written, if it holds anything and there is room for another, and returns the offset
    /// before which all partitions are or will be sealed, and what answers once they are.
    pub fn seal(&mut self) -> Result<(Offset, Receiver<()>), StoreError> {
        let is_empty = self.shared.next() == self.partition.first;
        if !is_empty && !self.failed && self.check_room().is_ok() {
            match self.roll() {
                Ok(()) | Err(StoreError::DiskFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((self.partition.first, self.housekeeping.when_settled()))
    }

    /// Begins a partition and freezes the one before.
    fn roll(&mut self) -> Result<(), StoreError> {
        let next = self.shared.next();
        let folder = self.shared.folder.partition(next);
        let begun = begin(&self.shared, next).map_err(|why| match &why {
            DatabaseError::Io(error) if is_full(error) && !folder.exists() => self.full(),
            _ => {
                self.failed = true;
                failed("begin partition", &folder, &why)
            }
        });
        let (partition, open, tail) = begun?;
        self.open.freeze(next);
        let frozen = std::mem::replace(&mut self.partition, partition);
        (self.open, self.tail) = (open, tail);
        self.housekeeping.seal(frozen);
        Ok(())
    }

    /// Returns the schemas that the open partition lacks for these records.
    fn schemas_of(&self, records: &[Encoded]) -> Result<Vec<(RobotId, SchemaHash, Bytes)>, StoreError> {
        let mut adding: Vec<(RobotId, SchemaHash, Bytes)> = Vec::new();
        for record in records {
            let Some(schema) = &record.schema else { continue };
            let robot = &record.head.robot;
            if adding.iter().any(|(other, hash, _)| other == robot && *hash == schema.hash) {
                continue;
            }
            if let Some(encoded) = self.schema_to_add(record, schema)? {
                adding.push((robot.clone(), schema.hash, encoded));
            }
        }
        Ok(adding)
    }

    fn schema_to_add(&self, record: &Encoded, schema: &SchemaUse) -> Result<Option<Bytes>, StoreError> {
        let (robot, hash) = (&record.head.robot, schema.hash);
        let tally = self.open.tally.read().unwrap_or_else(PoisonError::into_inner);
        if tally.robots.get(robot).is_some_and(|robot| robot.schemas.contains(&hash)) {
            return Ok(None);
        }
        drop(tally);
        let encoded = schema.encoded.clone().or_else(|| self.shared.encoded_schema(robot, hash, None));
        encoded.map(Some).ok_or_else(|| StoreError::NoSchema { robot: robot.clone(), hash })
    }

    fn reserve(&mut self, end: Offset) -> Result<(), StoreError> {
        if end < self.reserved {
            return Ok(());
        }
        let reserved = Offset(end.0.saturating_add(RESERVE));
        self.shared.folder.reserve(&*self.shared.disk, reserved).map_err(|error| {
            self.failed = true;
            failed("reserve offsets in", &self.shared.folder.root, &error)
        })?;
        self.reserved = reserved;
        Ok(())
    }

    fn write(&mut self, group: Group) -> Result<(), StoreError> {
        let database = &self.open.database;
        database.insert(group).and_then(|()| database.flush_and_sync()).map_err(|error| {
            self.failed = true;
            if let DatabaseError::Io(source) = &error
                && is_full(source)
            {
                self.shared.refusing.store(true, Ordering::Relaxed);
            }
            failed("commit to", &self.partition.folder, &error)
        })
    }

    /// Adds what is committed to the index in memory.
    fn count(&self, first: Offset, records: &[Encoded], schemas: &[(RobotId, SchemaHash, Bytes)]) {
        let mut tally = self.open.tally.write().unwrap_or_else(PoisonError::into_inner);
        for (robot, hash, _) in schemas {
            tally.add_schema(robot, *hash);
        }
        for (offset, record) in (first.0..).zip(records) {
            tally.add(Offset(offset), &record.head);
        }
        drop(tally);
        let bytes: usize = records.iter().map(Encoded::len).sum();
        self.open.record_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn failed(action: &'static str, path: &Path, why: &dyn ToString) -> StoreError {
    StoreError::Failed { action, path: path.to_owned(), why: why.to_string() }
}

fn split_all(schemas: &[(RobotId, SchemaHash, Bytes)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    schemas.iter().flat_map(|(robot, hash, encoded)| schemas::split(robot, *hash, encoded)).collect()
}

/// Begins a partition: complete and durable under another name, then renamed, then opened to be written.
fn begin(shared: &Arc<Shared>, first: Offset) -> Result<(Arc<Partition>, Arc<Open>, Tail), DatabaseError> {
    let folder = shared.folder.partition(first);
    let disk = &shared.disk;
    let cache = shared.config.write_cache_bytes;
    let making = folder.with_extension("new");
    let made: io::Result<()> = (|| {
        std::fs::create_dir_all(&making)?;
        drop(Tail::open(&making)?);
        Ok(())
    })();
    made.map_err(DatabaseError::Io)?;
    Database::open(&making, cache, Arc::clone(disk))?.flush_and_sync()?;
    let moved: io::Result<Tail> = (|| {
        sync_all_of(&**disk, &making)?;
        std::fs::rename(&making, &folder)?;
        disk.sync_folder(&shared.folder.log())?;
        Tail::open(&folder)
    })();
    let tail = moved.map_err(DatabaseError::Io)?;
    let database = Arc::new(Database::open(&folder, cache, Arc::clone(disk))?);
    let open = Arc::new(Open::frozen(database, Tally::default(), 0, first));
    open.thaw();
    let partition = Arc::new(Partition::new(first, folder, State::Open(Arc::clone(&open))));
    shared.add(Arc::clone(&partition));
    Ok((partition, open, tail))
}
