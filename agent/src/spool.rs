//! The spool: keeps what the robot recorded on its disk until the gateway has it durably.
//!
//! # What it promises
//! - A batch is *accepted* when the sync that covers it has returned; [`Spool::sync`] then mints its [`Spooled`].
//!   Accepted batches survive a power cut, with the same bytes under the same (lane, epoch, seq).
//! - An accepted batch leaves the spool only when it was acknowledged ([`Spool::release`]) or when a loss record that
//!   lists it is synced ([`Evicted`]). Loss records travel like batches, in the urgent lane of the current epoch.
//! - No (lane, epoch, seq) ever names two different things: each open starts a new epoch, durably, before its first
//!   seq. Earlier epochs are only drained.
//!
//! # What it never does
//! It never retries on a file after a failed write or sync: the first failure latches ([`Spool::fault`]), and the
//! caller goes on elsewhere. It keeps no payload in memory.
//!
//! # How a batch goes through
//!
//! ```text
//! append ──► written ──► sync ──► Spooled, readable ──► release ──► released ──► its segment removed
//!   │ Full                                                  ▲
//!   └──────► make_room: loss record synced ──► Evicted ─────┘ (whole segments, oldest first)
//! ```
//!
//! One thread owns the [`Spool`]; any number read through a [`SpoolReader`], also while it waits for the disk. The
//! bytes on disk are specified in [`format`](mod@format).

pub mod disk;
pub mod fake_disk;
pub mod format;
pub mod inspect;

mod catalog;
mod drained;
mod error;
mod evict;
mod index;
mod losses;
mod marker;
mod memory_disk;
mod reader;
mod recovery;
mod resume;
mod scan;
mod seal;
mod segment;
mod token;
mod view;
mod writer;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod refusal_tests;

use std::{io, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{Epoch, Lane, RobotId, Seq},
    limits::{BATCH_BYTES_MAX, LOST_SEQS_MAX},
    loss::{Loss, LossReason},
    message::{Numbered, NumberedHead},
    schema::Schema,
    time::WallTime,
};

use self::{
    disk::DiskLock,
    drained::Positions,
    index::Standing,
    writer::{LaneWriter, NewRecord, Site, WriteFailure},
};
pub use self::{
    disk::{Disk, RealDisk},
    error::{AppendError, MakeRoomError, OpenError, SpoolFault},
    evict::{WriteOff, WrittenOff},
    reader::{ReadError, SpoolReader, Stored, StoredKind},
    resume::Salvage,
    segment::SegmentId,
    token::{Evicted, Spooled},
    view::{Holding, Span},
};

/// The least size limit: the guarantees of eviction need a few segments in each lane.
pub const LIMIT_BYTES_MIN: u64 = 1024 * 1024;

/// The largest segment. Bounds what a scan reads at once.
pub const SEGMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;

const LOCK_PATH: &str = "LOCK";

/// How large a spool may be, and whose it is.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// All files together, in bytes; at least [`LIMIT_BYTES_MIN`]. Urgent and bulk own a quarter each, live the half; a
    /// lane may borrow what the others leave, and gives it back first when the limit is reached.
    pub limit_bytes: u64,
    /// Size at which a new segment is started, in bytes; a few MiB. Capped at [`SEGMENT_BYTES_MAX`] and at a sixteenth of
    /// the limit.
    pub segment_bytes: u64,
    /// The robot whose data this is.
    pub robot: RobotId,
}

/// What is appended.
#[derive(Clone)]
pub enum Entry {
    /// An encoded batch.
    Batch {
        /// The encoding, at most [`BATCH_BYTES_MAX`].
        bytes: Bytes,
        /// Samples in it.
        samples: u32,
        /// The earliest time in it.
        t_min: WallTime,
        /// The latest time in it.
        t_max: WallTime,
        /// The schema that it refers to. Each segment that needs it gets a copy.
        schema: Arc<Schema>,
    },
    /// A loss record, such as of a batch that the gateway refused for good. Not bound by the size limit.
    Loss(Loss),
}

/// What opening a spool found in it.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What is held, oldest first; includes the loss records that opening added.
    pub spans: Vec<Span>,
    /// Samples held.
    pub samples: u64,
    /// Damage that was found; already recorded in the new epoch.
    pub losses: Vec<Loss>,
    /// Bytes of writes that never were synced and were cut; nothing in them was accepted.
    pub torn_bytes: u64,
    /// Segments that the disk refuses to read; left as they are and tried again at the next open.
    pub unreadable: Vec<String>,
}

/// The writing end. See the [module](self).
pub struct Spool {
    site: Site,
    limit_bytes: u64,
    lanes: [LaneWriter; 3],
    /// Whether the epoch is durable: its seqs may be given.
    began: bool,
    fault: Option<SpoolFault>,
    /// How far lanes came of which no segment is left.
    positions: Positions,
    /// Whether the disk did not take yet what is known of that.
    positions_unsaved: bool,
    /// Segments that were found and not told yet, because the disk failed again.
    untold: Vec<SegmentId>,
    /// Damage that was found and is not recorded yet.
    owed: Vec<Loss>,
    reader: SpoolReader,
    medium: Medium,
}

/// What a spool is on.
enum Medium {
    /// A folder, and its lock; none while a disk that failed gives none.
    Folder(Option<DiskLock>),
    /// Memory, for as long as the folder's disk fails.
    Memory,
}

impl Medium {
    /// Returns what becomes of the oldest when the limit is reached.
    fn evicts_as(&self) -> LossReason {
        match self {
            Self::Folder(_) => LossReason::SpoolFull,
            Self::Memory => LossReason::DiskFailed,
        }
    }
}

impl Spool {
    /// Opens the spool on `disk`, or makes it, and starts a new epoch with `random`, 64 bits drawn for this open.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: SpoolConfig,
        random: u64,
    ) -> Result<(Self, Recovered), OpenError> {
        check_limit(&config)?;
        let place = disk.place();
        let failed = |action: &str| {
            let (place, action) = (place.clone(), action.to_owned());
            move |source: io::Error| OpenError::Io { place, action, source }
        };
        recovery::refuse_data_folder(disk.as_ref())?;
        disk.make_folder("").map_err(failed("make the folder"))?;
        let lock = disk.lock(LOCK_PATH).map_err(failed("lock the folder"))?;
        let lock = lock.ok_or_else(|| OpenError::InUse { place: place.clone() })?;
        let survey = recovery::survey(disk.as_ref(), &config.robot)?;
        resume::remove_probe(disk.as_ref()).map_err(failed("remove an old probe"))?;
        let medium = Medium::Folder(Some(lock));
        let mut spool = Self::of(disk, config, random, medium, SpoolReader::default());
        let failed = |failure: WriteFailure| failed(&failure.action)(failure.source);
        spool.begin(survey.start).map_err(failed)?;
        let mut recovery = survey.look(&spool.site.shared);
        spool.owed = std::mem::take(&mut recovery.losses);
        recovery.losses = spool.settle().map_err(failed)?;
        spool.tell_by_span();
        spool.sweep_released().map_err(failed)?;
        let spans = spool.spans();
        let recovered = spool.recovered(recovery, spans);
        Ok((spool, recovered))
    }

    /// Writes an entry and returns its seq. It is not accepted, and not readable, before [`Spool::sync`]. Now and then,
    /// when a segment is full, this waits for the disk.
    pub fn append(&mut self, lane: Lane, entry: &Entry) -> Result<Seq, AppendError> {
        self.check_fault()?;
        self.put(lane, entry, self.free_bytes())
    }

    /// Writes an entry, for which there are so many bytes.
    fn put(&mut self, lane: Lane, entry: &Entry, free_bytes: u64) -> Result<Seq, AppendError> {
        match entry {
            Entry::Loss(loss) if loss.lost.len() > LOST_SEQS_MAX => {
                Err(AppendError::TooLarge { bytes: loss.lost.len(), max: LOST_SEQS_MAX })
            }
            Entry::Loss(loss) => self.write_loss_to(lane, loss).map_err(|failure| self.latch(failure).into()),
            Entry::Batch { bytes, samples, t_min, t_max, schema } => {
                let record = NewRecord {
                    standing: Standing::Batch,
                    payload: bytes,
                    samples: *samples,
                    span: (*t_min, *t_max),
                    schema: Some((schema.hash(), schema.encoded())),
                };
                self.put_batch(lane, &record, free_bytes)
            }
        }
    }

    fn put_batch(&mut self, lane: Lane, record: &NewRecord<'_>, free_bytes: u64) -> Result<Seq, AppendError> {
        let schema_bytes = record.schema.map_or(0, |(_, encoded)| encoded.len());
        let bytes = record.payload.len().max(schema_bytes);
        if bytes > BATCH_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes, max: BATCH_BYTES_MAX });
        }
        let needed_bytes = record.bytes_max();
        if needed_bytes > free_bytes {
            return Err(AppendError::Full { needed_bytes, free_bytes });
        }
        self.lanes[lane.index()].append(&self.site, record).map_err(|failure| self.latch(failure).into())
    }

    /// Syncs what was appended to any lane and mints its tokens.
    pub fn sync(&mut self) -> Result<Vec<Spooled>, SpoolFault> {
        let mut spooled = Vec::new();
        for lane in Lane::ALL {
            spooled.extend(self.sync_lane(lane)?);
        }
        Ok(spooled)
    }

    /// Syncs what was appended to one lane and mints its tokens: urgent does not wait for the others' bytes.
    pub fn sync_lane(&mut self, lane: Lane) -> Result<Vec<Spooled>, SpoolFault> {
        self.check_fault()?;
        let writer = &mut self.lanes[lane.index()];
        match writer.sync(&self.site) {
            Ok(()) => Ok(writer.take_spooled(&self.site)),
            Err(failure) => Err(self.latch(failure)),
        }
    }

    /// Syncs, seals and leaves the spool so that the next open is quick. Returns the last tokens.
    pub fn close(mut self) -> Result<Vec<Spooled>, SpoolFault> {
        let mut spooled = self.sync()?;
        self.drop_released()?;
        spooled.append(&mut self.end_epoch()?);
        Ok(spooled)
    }

    /// Returns the epoch of this run.
    pub fn epoch(&self) -> Epoch {
        self.site.epoch
    }

    /// Returns a reader for other threads.
    pub fn reader(&self) -> SpoolReader {
        self.reader.clone()
    }

    /// Returns the failure that ended writing, if one did.
    pub fn fault(&self) -> Option<&SpoolFault> {
        self.fault.as_ref()
    }

    /// Says whether writing has ended. What was accepted before stays readable, and releases are still counted.
    pub fn is_failed(&self) -> bool {
        self.fault.is_some()
    }

    /// Appends to the lane where loss records go.
    fn write_loss(&mut self, loss: &Loss) -> Result<Seq, WriteFailure> {
        self.write_loss_to(Lane::Urgent, loss)
    }

    fn write_loss_to(&mut self, lane: Lane, loss: &Loss) -> Result<Seq, WriteFailure> {
        let head = NumberedHead { epoch: self.site.epoch, lane, seq: Seq::FIRST };
        let payload = Numbered::from_loss(head, loss).payload;
        let unknown = (WallTime(i64::MAX), WallTime(i64::MIN));
        let span = loss.t_min.zip(loss.t_max).unwrap_or(unknown);
        let record =
            NewRecord { standing: Standing::Loss, payload: &payload, samples: 0, span, schema: None };
        self.lanes[lane.index()].append(&self.site, &record)
    }

    fn check_fault(&self) -> Result<(), SpoolFault> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Keeps the first failure and returns it from now on.
    #[expect(clippy::needless_pass_by_value, reason = "a failure is latched or reported, once")]
    fn latch(&mut self, failure: WriteFailure) -> SpoolFault {
        let fault = self.fault_of(&failure);
        self.fault.get_or_insert(fault).clone()
    }

    fn fault_of(&self, failure: &WriteFailure) -> SpoolFault {
        let WriteFailure { action, source } = failure;
        let place = self.site.shared.disk.place();
        SpoolFault { place, action: action.clone(), kind: source.kind(), why: source.to_string() }
    }
}

fn check_limit(config: &SpoolConfig) -> Result<(), OpenError> {
    let (given, min) = (config.limit_bytes, LIMIT_BYTES_MIN);
    if given < min { Err(OpenError::LimitTooSmall { given, min }) } else { Ok(()) }
}
