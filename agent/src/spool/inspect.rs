//! Reads a spool that no agent has open, all of it, and says what is there and what is damaged. Writes nothing.
//!
//! Unlike opening, which reads the ends of segments, this reads every byte and checks every CRC. One segment is in memory
//! at a time.

use std::{io, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{Epoch, Lane, RobotId, SchemaHash, Seq},
    loss::Loss,
    message::DrainedLane,
    time::WallTime,
};

use super::{
    LOCK_PATH,
    disk::{Disk, DiskLock},
    drained,
    format::{
        RECORD_HEADER_BYTES, SEGMENT_FILE_BYTES_MAX, SEGMENT_HEADER_BYTES, SPOOL_VERSION, SegmentName,
        Version, checked_body, decode_record_header, decode_segment_header, robot_in_segment_header,
        segment_version,
    },
    index::{Index, IndexEntry, Standing},
    marker::{self, MARKER_PATH, MarkerRead},
    scan::{SealedTotals, scan},
    segment::{read_index, read_seal},
};

/// A spool folder, locked if an agent ever locked it.
pub struct Folder {
    /// Where it is.
    pub place: String,
    /// Whose it is, as far as marker or segments tell.
    pub robot: Option<RobotId>,
    /// The greatest start counter.
    pub start: u64,
    /// Whether the marker's bytes are damaged. The segments say enough without it.
    pub marker_damaged: bool,
    /// How far lanes came of which nothing is left.
    pub drained: Vec<DrainedLane>,
    disk: Arc<dyn Disk>,
    segments: Vec<SegmentName>,
    _lock: Option<DiskLock>,
}

/// Why a folder cannot be inspected. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// An agent has it open.
    #[error("the spool {place} is in use by a running agent; stop that one first, or inspect a copy")]
    InUse {
        /// The folder.
        place: String,
    },
    /// There is no spool.
    #[error("{place} holds no spool: there is neither a marker nor a segment in it")]
    NotASpool {
        /// The folder.
        place: String,
    },
    /// A newer program wrote it.
    #[error(
        "{file} in {place} has version {found}, but this program reads up to version {known}; use a newer one"
    )]
    Newer {
        /// The folder.
        place: String,
        /// The file that says so.
        file: String,
        /// Its version.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// The disk refused.
    #[error("cannot read {file} in the spool {place}: {source}")]
    Io {
        /// The folder.
        place: String,
        /// What was read.
        file: String,
        /// What the disk says.
        source: io::Error,
    },
}

/// One segment, read whole.
pub struct SegmentReport {
    /// Its path within the folder.
    pub path: String,
    /// Its lane.
    pub lane: Lane,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its first seq.
    pub first: Seq,
    /// The seq after its last.
    pub next: Seq,
    /// Its length.
    pub file_bytes: u64,
    /// Samples of the lane before it, if its header is whole.
    pub before: Option<u64>,
    /// Whether it has an index: it was ended in order, or by the recovery after a crash.
    pub sealed: bool,
    /// Bytes at its end that belong to no record: a write whose sync never returned.
    pub torn_bytes: u64,
    /// Damage beside that of records, in words.
    pub damage: Vec<String>,
    /// Its records, in order.
    pub records: Vec<RecordReport>,
    bytes: Bytes,
    index: Index,
}

/// One record.
#[derive(Clone, Debug)]
pub struct RecordReport {
    /// Its seq.
    pub seq: Seq,
    /// What stands there.
    pub standing: RecordStanding,
    /// Samples of a batch, also of a damaged one.
    pub samples: u32,
    /// The earliest and latest time of its samples.
    pub span: Option<(WallTime, WallTime)>,
    /// Bytes of its payload.
    pub bytes: u32,
}

/// What stands at a seq.
#[derive(Clone, Debug)]
pub enum RecordStanding {
    /// A whole batch.
    Batch,
    /// A whole loss record.
    Loss(Loss),
    /// Damaged, and no loss record says so yet.
    Damaged,
    /// Found damaged before; a loss record was written then.
    Lost,
}

impl Folder {
    /// Looks at a folder, and locks it against agents if there is a lock file: none is made.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, InspectError> {
        let place = disk.place();
        let failed = |file: &str| {
            let (place, file) = (place.clone(), file.to_owned());
            move |source| InspectError::Io { place, file, source }
        };
        let newer = |file: String, found| InspectError::Newer {
            place: place.clone(),
            file,
            found,
            known: SPOOL_VERSION,
        };
        let names = disk.list("").map_err(failed("the folder"))?;
        let mut lock = None;
        if names.iter().any(|name| name == LOCK_PATH) {
            let taken = disk.lock(LOCK_PATH).map_err(failed(LOCK_PATH))?;
            lock = Some(taken.ok_or_else(|| InspectError::InUse { place: place.clone() })?);
        }
        let marker = marker::read(disk.as_ref()).map_err(failed(MARKER_PATH))?;
        let mut segments = Vec::new();
        for lane in Lane::ALL {
            let files = disk.list(lane.as_str()).map_err(failed(lane.as_str()))?;
            segments.extend(files.iter().filter_map(|file| SegmentName::parse(lane, file)));
        }
        segments.sort_unstable();
        let mut start = segments.iter().map(|name| name.epoch.start).max().unwrap_or(0);
        let mut robot = None;
        let marker_damaged = marker == MarkerRead::Damaged;
        match marker {
            MarkerRead::Newer(found) => return Err(newer(MARKER_PATH.to_owned(), found)),
            MarkerRead::Missing if segments.is_empty() => return Err(InspectError::NotASpool { place }),
            MarkerRead::Missing | MarkerRead::Damaged => {}
            MarkerRead::Found(marker) => (robot, start) = (Some(marker.robot), start.max(marker.start)),
        }
        for name in &segments {
            let head = disk.open(&name.path()).and_then(|file| file.read_at(0, SEGMENT_HEADER_BYTES));
            let head = head.unwrap_or_default();
            if let Version::Newer(found) = segment_version(&head) {
                return Err(newer(name.path(), found));
            }
            robot = robot.or_else(|| robot_in_segment_header(&head));
        }
        let drained = drained::read(disk.as_ref());
        let gone = drained.iter().filter(|(epoch, lane, _)| {
            !segments.iter().any(|name| name.epoch == *epoch && name.lane == *lane)
        });
        let drained = gone.map(|(epoch, lane, tail)| tail.drained(epoch, lane)).collect();
        Ok(Self { place, robot, start, marker_damaged, drained, disk, segments, _lock: lock })
    }

    /// Returns how many segments there are.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Reads the segments one by one: urgent first, oldest first in each lane.
    pub fn segments(&self) -> impl Iterator<Item = Result<SegmentReport, InspectError>> {
        self.segments.iter().map(|name| {
            SegmentReport::read(self.disk.as_ref(), *name).map_err(|source| InspectError::Io {
                place: self.place.clone(),
                file: name.path(),
                source,
            })
        })
    }
}

impl SegmentReport {
    fn read(disk: &dyn Disk, name: SegmentName) -> io::Result<Self> {
        let file = disk.open(&name.path())?;
        let file_bytes = file.bytes()?;
        if file_bytes > SEGMENT_FILE_BYTES_MAX {
            return Err(io::Error::other("larger than any segment"));
        }
        let bytes = Bytes::from(file.read_at(0, usize::try_from(file_bytes).expect("bounded above"))?);
        let seal = read_seal(file.as_ref(), name)?;
        let totals = seal
            .as_ref()
            .map(|seal| SealedTotals { next: seal.header.seq, samples: u64::from(seal.header.samples) });
        let scan = scan(&bytes, name, totals);
        let mut damage = Vec::new();
        let before = decode_segment_header(&bytes, name);
        if before.is_none() {
            damage
                .push("the segment's header is damaged; its name and records repeat what it says".to_owned());
        }
        let mut index = scan.index;
        let mut known = None;
        if let Some(seal) = &seal {
            known = read_index(file.as_ref(), name, seal)?;
            if known.is_none() {
                damage.push("the segment's index is damaged; its records are found without it".to_owned());
            }
        }
        let mut torn_bytes = 0;
        if seal.is_none() {
            torn_bytes = file_bytes - scan.end;
        } else if let Some(known) = &known {
            for schema in known.schemas.iter().filter(|schema| index.schema(schema.hash).is_none()) {
                damage.push(format!("the schema at byte {} is damaged", schema.at));
            }
            // The index tells each damaged record's samples, which the scan can only sum up.
            index = Index { first: known.first, entries: merged(&index, known), schemas: index.schemas };
        }
        let records = index
            .seqs()
            .map(|(seq, entry)| RecordReport {
                seq,
                standing: standing_of(&bytes, name, entry, known.as_ref().and_then(|known| known.entry(seq))),
                samples: entry.samples,
                span: (entry.samples > 0 && entry.t_min <= entry.t_max).then_some((entry.t_min, entry.t_max)),
                bytes: entry.body_bytes,
            })
            .collect();
        let SegmentName { lane, epoch, first } = name;
        let (path, next, sealed) = (name.path(), index.next(), seal.is_some());
        Ok(Self {
            path,
            lane,
            epoch,
            first,
            next,
            file_bytes,
            before,
            sealed,
            torn_bytes,
            damage,
            records,
            bytes,
            index,
        })
    }

    /// Returns a whole batch's payload and the schema that it refers to, encoded; `None` if it or its schema is damaged.
    pub fn batch(&self, seq: Seq) -> Option<(Bytes, Option<Bytes>)> {
        let name = SegmentName { lane: self.lane, epoch: self.epoch, first: self.first };
        let entry = self.index.entry(seq).filter(|entry| entry.standing == Standing::Batch)?;
        let (header, payload) = record_at(&self.bytes, name, entry.at)?;
        Some((payload, self.schema(header.schema)))
    }

    /// Returns a schema that the segment holds whole, encoded.
    pub fn schema(&self, hash: SchemaHash) -> Option<Bytes> {
        let name = SegmentName { lane: self.lane, epoch: self.epoch, first: self.first };
        let entry = self.index.schema(hash)?;
        record_at(&self.bytes, name, entry.at).map(|(_, body)| body)
    }
}

/// Takes what the scan found whole, and of the rest what the index says.
fn merged(scanned: &Index, known: &Index) -> Vec<IndexEntry> {
    let entry = |(seq, known): (Seq, &IndexEntry)| match scanned.entry(seq) {
        Some(scanned) if scanned.standing != Standing::Lost => *scanned,
        _ => IndexEntry { standing: Standing::Lost, ..*known },
    };
    known.seqs().map(entry).collect()
}

fn standing_of(
    bytes: &Bytes,
    name: SegmentName,
    entry: &IndexEntry,
    known: Option<&IndexEntry>,
) -> RecordStanding {
    match entry.standing {
        Standing::Batch => RecordStanding::Batch,
        Standing::Loss => {
            let loss =
                record_at(bytes, name, entry.at).and_then(|(_, body)| postcard::from_bytes(&body).ok());
            loss.map_or(RecordStanding::Damaged, RecordStanding::Loss)
        }
        Standing::Lost if known.is_some_and(|known| known.standing == Standing::Lost) => RecordStanding::Lost,
        Standing::Lost => RecordStanding::Damaged,
    }
}

fn record_at(bytes: &Bytes, name: SegmentName, at: u32) -> Option<(super::format::RecordHeader, Bytes)> {
    let record = bytes.get(at as usize..)?;
    let header = decode_record_header(record, name)?;
    let start = at as usize + RECORD_HEADER_BYTES;
    let end = start + header.body_bytes as usize;
    checked_body(&header, bytes.get(start..end)?)?;
    Some((header, bytes.slice(start..end)))
}
