//! Reading the log: any number of threads, never in the committer's way, never ahead of the sync.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use muster_protocol::{
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use super::{
    Forgetting, Hold, RobotRecords, Scan, StoreStatus,
    database::{Database, DatabaseError},
    milestones,
    pack::{Take, Unpacker},
    schemas,
    shared::{Located, Shared},
    status,
    tally::Span,
    trim::{self, Goal, Plan, TrimError, Trimmed},
};
use crate::{
    record::{Envelope, RecordError},
    sharing::shared_schema,
};

/// Reads the log. Clones share everything. Calls block on the disk: not for the async runtime's threads.
#[derive(Clone, Debug)]
pub struct StoreReader {
    shared: Arc<Shared>,
}

/// Why an offset cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It was dropped by retention. The iterator ends; start again at `first_held`.
    #[error("offset {at} is no longer held; the log starts at {first_held}")]
    Trimmed {
        /// The offset wanted.
        at: Offset,
        /// The first that is held.
        first_held: Offset,
    },
    /// The offsets from `first` to before `end` are damaged. The iterator goes on behind them.
    #[error("offsets {first} to before {end} are damaged: {why}")]
    Damaged {
        /// The first.
        first: Offset,
        /// The one after the last.
        end: Offset,
        /// What is wrong.
        why: String,
    },
    /// One record is damaged. The iterator goes on behind it.
    #[error("the record at offset {offset}: {source}")]
    Record {
        /// Which one.
        offset: Offset,
        /// What is wrong.
        source: RecordError,
    },
    /// The file system refuses. The iterator ends; it may work later.
    #[error("read the log at offset {at}: {source}")]
    Io {
        /// Where.
        at: Offset,
        /// What the system says.
        source: io::Error,
    },
}

/// What iterators hand out.
pub(super) type Item = Result<(Offset, Envelope), ReadError>;

/// Bytes of records that an iterator reads ahead.
pub(super) const READ_AHEAD_BYTES: usize = 256 * 1024;

impl StoreReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Returns the id of the log, without which an offset means nothing.
    pub fn log_id(&self) -> LogId {
        self.shared.folder.log_id
    }

    /// Returns the id of the log of which this one was restored, if it was.
    pub fn parent_log(&self) -> Option<LogId> {
        self.shared.folder.parent
    }

    /// Keeps all that the log holds now in its place, for a backup.
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::clone(&self.shared))
    }

    /// Says what would be dropped to reach a goal. Blocks.
    pub fn plan_trim(&self, goal: Goal) -> Plan {
        trim::plan_of(&self.shared, goal)
    }

    /// Drops the oldest partitions that begin before `until`, as far as they may go. Blocks.
    pub fn trim(&self, until: Offset) -> Result<Trimmed, TrimError> {
        trim::trim(&self.shared, until)
    }

    /// Returns the first offset that is held; [`StoreReader::next`] if none is.
    pub fn first(&self) -> Offset {
        self.shared.first()
    }

    /// Returns the offset that the next record gets. All below are committed.
    pub fn next(&self) -> Offset {
        self.shared.next()
    }

    /// Returns how many partitions there are. While there is one, retention drops nothing.
    pub fn partitions(&self) -> usize {
        self.shared.all().len()
    }

    /// Iterates over the records from `from` on, in order of offset, to what is committed now. Afterwards it may be
    /// asked again for what came since.
    pub fn scan(&self, from: Offset) -> Scan {
        Scan::new(Arc::clone(&self.shared), from.max(Offset::FIRST))
    }

    /// Iterates over a robot's records that may hold samples of `from <= t < until` (without `until`, of all from `from` on), in order of offset, after an
    /// offset or from the start of what is held. Losses and session events count at their own time.
    pub fn robot_records(
        &self,
        robot: &RobotId,
        from: WallTime,
        until: Option<WallTime>,
        after: Option<Offset>,
    ) -> RobotRecords {
        RobotRecords::new(Arc::clone(&self.shared), robot.clone(), Span { from, until }, after)
    }

    /// Returns a robot's schema, if the log has it.
    pub fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.find_schema(robot, hash, None)
    }

    /// Returns the schema of a robot's batch at `offset`: quicker than [`StoreReader::schema`] for old ones.
    pub fn schema_at(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.find_schema(robot, hash, Some(offset))
    }

    /// Returns the newest state of the fleet that was made at `by` or before, as bytes, if the log behind it is held.
    pub fn milestone(&self, by: WallTime) -> io::Result<Option<Vec<u8>>> {
        milestones::newest(&self.shared, by)
    }

    /// Returns when the oldest state was made that the log behind is held of.
    pub fn first_milestone(&self) -> Option<WallTime> {
        milestones::oldest(&self.shared)
    }

    /// Returns whether nothing is taken because there is no room.
    pub fn is_refusing(&self) -> bool {
        self.shared.refusing.load(Ordering::Relaxed)
    }

    /// Returns whether robots may have released what the log lacks without a record of it, and why.
    pub fn forgetting(&self) -> Forgetting {
        self.shared.forgetting()
    }

    /// Returns what the store says about itself. Reads folders: not for every request.
    pub fn status(&self) -> StoreStatus {
        status::of(&self.shared)
    }

    fn find_schema(&self, robot: &RobotId, hash: SchemaHash, near: Option<Offset>) -> Option<Arc<Schema>> {
        let cached = self.shared.schema_cache().find(robot, hash);
        cached.or_else(|| {
            let encoded = self.shared.encoded_schema(robot, hash, near)?;
            let schema = shared_schema(&schemas::decode(hash, &encoded)?);
            self.shared.schema_cache().keep(robot, Arc::clone(&schema));
            Some(schema)
        })
    }
}

impl Shared {
    /// Reads whole records from `at` to before `end`, at least one and about [`READ_AHEAD_BYTES`], or to `stop`.
    pub(super) fn read_records(
        &self,
        located: &Located,
        at: Offset,
        stop: Offset,
    ) -> Result<Vec<(Offset, Bytes)>, ReadError> {
        let end = located.end.min(stop);
        let why = match self.database(&located.partition) {
            Ok(None) => "it was set aside".to_owned(),
            Err(DatabaseError::Io(source)) => return Err(ReadError::Io { at, source }),
            Err(DatabaseError::Damaged { why }) => why,
            Ok(Some(database)) => match read_from(&database, at, end) {
                Ok(records) if !records.is_empty() => {
                    self.close_if_outgrown(&located.partition, &database);
                    return Ok(records);
                }
                Ok(_) => format!("offset {at} is missing"),
                Err(DatabaseError::Io(source)) => return Err(ReadError::Io { at, source }),
                Err(DatabaseError::Damaged { why }) => why,
            },
        };
        Err(self.found_damage(located, at, why))
    }

    /// Says that a partition cannot be read. If it was dropped meanwhile that is no damage.
    fn found_damage(&self, located: &Located, at: Offset, why: String) -> ReadError {
        let first_held = self.first();
        if located.partition.first < first_held {
            return ReadError::Trimmed { at, first_held };
        }
        if matches!(located.partition.state(), super::partition::State::Sealed(_)) {
            self.quarantine(&located.partition, &why);
            self.note_if_unlisted(&located.partition);
        }
        ReadError::Damaged { first: at, end: located.resume, why }
    }
}

/// Reads records from `at` to before `end`, some at a time.
pub(super) fn read_from(
    database: &Database,
    at: Offset,
    end: Offset,
) -> Result<Vec<(Offset, Bytes)>, DatabaseError> {
    let mut unpacker: Option<Unpacker> = None;
    let mut records: Vec<(Offset, Bytes)> = Vec::new();
    let mut unpacked = Vec::new();
    let mut bytes = 0;
    let mut damage = None;
    database.visit_entries(at, |key, value| {
        if key.offset >= end {
            return ControlFlow::Break(());
        }
        let unpacker = unpacker.get_or_insert_with(|| Unpacker::new(key.offset.min(at), Take::Whole));
        damage = unpacker.push(key, value, &mut unpacked).err();
        for (offset, record) in unpacked.drain(..).filter(|(offset, _)| (at..end).contains(offset)) {
            bytes += record.len();
            records.push((offset, record));
        }
        let enough = bytes >= READ_AHEAD_BYTES;
        if damage.is_some() || enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match damage {
        Some(error) if records.is_empty() => Err(DatabaseError::Damaged { why: error.to_string() }),
        _ => Ok(records),
    }
}
