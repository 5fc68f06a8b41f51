//! Appends records to the segments of one lane, rolls them, seals them and syncs them.
//!
//! Written, synced, readable: a record moves through these in order. What is written is in the file, perhaps only in
//! the page cache; what is synced is accepted; only then do readers see it.

use std::{io, sync::Arc};

use muster_protocol::{
    id::{Epoch, Lane, RobotId, SchemaHash, Seq},
    session::ranges::RangeSet,
    time::WallTime,
};

use super::{
    catalog::Shared,
    disk::DiskFile,
    format::{
        RECORD_HEADER_BYTES, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES, SEGMENT_RECORDS_MAX,
        SEGMENT_SCHEMAS_MAX, SegmentName, encode_segment_header, put_record,
    },
    index::{Index, IndexEntry, SchemaEntry, Standing},
    seal::encode_seal,
    segment::{Loaded, Segment, SegmentId},
    token::{Pending, Spooled},
};

/// What a record to append holds.
pub(super) struct NewRecord<'a> {
    pub(super) standing: Standing,
    pub(super) payload: &'a [u8],
    pub(super) samples: u32,
    pub(super) span: (WallTime, WallTime),
    /// The schema of a batch, encoded, under its hash.
    pub(super) schema: Option<(SchemaHash, &'a [u8])>,
}

/// How far a lane came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// The seq after its last.
    pub(super) next: Seq,
    /// Samples of all seqs before it.
    pub(super) spooled: u64,
}

/// What all lanes of a spool share.
pub(super) struct Site {
    pub(super) shared: Arc<Shared>,
    pub(super) robot: RobotId,
    pub(super) epoch: Epoch,
    pub(super) segment_bytes: u64,
    /// Whether what is synced survives the program.
    pub(super) durable: bool,
}

/// The writing end of one lane in the current epoch.
pub(super) struct LaneWriter {
    lane: Lane,
    next: Seq,
    synced: Seq,
    running: u64,
    /// Samples of the seqs below `synced`.
    synced_samples: u64,
    active: Option<Active>,
    pending: Vec<Pending>,
}

/// The segment that is written to.
struct Active {
    id: SegmentId,
    name: SegmentName,
    file: Arc<dyn DiskFile>,
    file_bytes: u64,
    /// Everything written; the first `published` entries are synced and visible to readers.
    index: Index,
    published: usize,
    published_schemas: usize,
    /// The folder does not yet durably name the file.
    folder_dirty: bool,
}

/// What was tried when the disk refused.
pub(super) struct WriteFailure {
    pub(super) action: String,
    pub(super) source: io::Error,
}

impl NewRecord<'_> {
    /// Returns the most bytes by which a lane's files may grow: with a schema, and the header of a new segment. What the
    /// active segment has already does not count, because making room may seal it.
    pub(super) fn bytes_max(&self) -> u64 {
        SEGMENT_HEADER_BYTES as u64 + whole_bytes(self)
    }
}

impl LaneWriter {
    pub(super) fn new(lane: Lane) -> Self {
        Self::after(lane, Tail { next: Seq::FIRST, spooled: 0 })
    }

    /// Goes on where another writer of the same epoch came to its end.
    pub(super) fn after(lane: Lane, tail: Tail) -> Self {
        let Tail { next, spooled } = tail;
        Self {
            lane,
            next,
            synced: next,
            running: spooled,
            synced_samples: spooled,
            active: None,
            pending: Vec::new(),
        }
    }

    /// Returns where what is synced ends.
    pub(super) fn tail(&self) -> Tail {
        Tail { next: self.synced, spooled: self.synced_samples }
    }

    /// Says whether something is written that is not synced.
    pub(super) fn is_dirty(&self) -> bool {
        self.synced < self.next
    }

    /// Writes a record. It is not accepted before [`LaneWriter::sync`] returned.
    pub(super) fn append(&mut self, site: &Site, record: &NewRecord<'_>) -> Result<Seq, WriteFailure> {
        if self.active.as_ref().is_some_and(|active| !active.has_room(site, record)) {
            self.seal(site)?;
        }
        if self.active.is_none() {
            self.active = Some(self.create(site)?);
        }
        let seq = self.next;
        let active = self.active.as_mut().expect("made above if there was none");
        active.append(site, record, Position { seq, running: self.running, synced: self.synced })?;
        let payload_bytes = u32::try_from(record.payload.len()).expect("payloads are bounded");
        self.pending.push(Pending { seq, samples: record.samples, payload_bytes, segment: active.id });
        self.running += u64::from(record.samples);
        self.next = seq.next();
        Ok(seq)
    }

    /// Makes durable and readable what was written. Tokens for it come from [`LaneWriter::take_spooled`].
    pub(super) fn sync(&mut self, site: &Site) -> Result<(), WriteFailure> {
        if !self.is_dirty() {
            return Ok(());
        }
        let active = self.active.as_mut().expect("what is not synced is in the active segment");
        active.sync(site)?;
        (self.synced, self.synced_samples) = (self.next, self.running);
        active.publish(site);
        Ok(())
    }

    /// Mints the tokens of all that was synced since the last call.
    pub(super) fn take_spooled(&mut self, site: &Site) -> Vec<Spooled> {
        let synced = self.pending.partition_point(|pending| pending.seq < self.synced);
        let mint = |pending| Spooled::mint((self.lane, site.epoch), pending, site.durable);
        self.pending.drain(..synced).map(mint).collect()
    }

    /// Syncs and seals the active segment, so that it is never written again.
    pub(super) fn seal(&mut self, site: &Site) -> Result<(), WriteFailure> {
        let Some(mut active) = self.active.take() else { return Ok(()) };
        let seal = encode_seal(active.name, &active.index, active.file_bytes);
        active.write(site, &seal)?;
        active.sync(site)?;
        (self.synced, self.synced_samples) = (self.next, self.running);
        active.publish(site);
        if let Some(segment) = site.shared.catalog().segments.get_mut(&active.name) {
            segment.live = None;
        }
        Ok(())
    }

    /// Returns the active segment's name.
    pub(super) fn active(&self) -> Option<SegmentName> {
        self.active.as_ref().map(|active| active.name)
    }

    /// Says whether tokens for records of this segment are still to be minted.
    pub(super) fn owes_tokens(&self, segment: SegmentId) -> bool {
        self.pending.iter().any(|pending| pending.segment == segment)
    }

    /// Ends writing after a failure: what was written and not synced never was.
    pub(super) fn abandon(&mut self) {
        self.active = None;
        self.pending.clear();
        (self.next, self.running) = (self.synced, self.synced_samples);
    }

    /// Forgets the active segment: every record in it was released, and its file is about to go.
    pub(super) fn drop_active(&mut self) {
        self.active = None;
    }

    fn create(&self, site: &Site) -> Result<Active, WriteFailure> {
        let name = SegmentName { lane: self.lane, epoch: site.epoch, first: self.next };
        let header = encode_segment_header(name, self.running, &site.robot);
        let make = || {
            let file = site.shared.disk.create(&name.path())?;
            file.append(&header)?;
            Ok(file)
        };
        let file = make().map_err(|source| failure("create", name, source))?;
        let index = Index::new(name.first);
        let id = site.shared.next_id();
        let mut catalog = site.shared.catalog();
        catalog.insert(Segment {
            id,
            name,
            next: name.first,
            file_bytes: header.len() as u64,
            before: self.running,
            spooled: 0,
            samples: 0,
            span: None,
            released: RangeSet::default(),
            released_samples: 0,
            live: Some(Loaded { file: Arc::clone(&file), index: index.clone() }),
        });
        let file_bytes = header.len() as u64;
        Ok(Active {
            id,
            name,
            file,
            file_bytes,
            index,
            published: 0,
            published_schemas: 0,
            folder_dirty: true,
        })
    }
}

/// Where the lane stands when a record is written.
#[derive(Clone, Copy)]
struct Position {
    seq: Seq,
    running: u64,
    synced: Seq,
}

impl Active {
    fn has_room(&self, site: &Site, record: &NewRecord<'_>) -> bool {
        let started = !self.index.entries.is_empty();
        let fits = self.file_bytes + self.record_bytes(record) <= site.segment_bytes;
        let countable =
            self.index.entries.len() < SEGMENT_RECORDS_MAX && self.index.schemas.len() < SEGMENT_SCHEMAS_MAX;
        countable && (fits || !started)
    }

    fn record_bytes(&self, record: &NewRecord<'_>) -> u64 {
        match record.schema {
            Some((hash, _)) if self.index.schema(hash).is_some() => own_bytes(record),
            _ => whole_bytes(record),
        }
    }

    /// Writes the schema, if this segment lacks it, and the record, in one write.
    fn append(
        &mut self,
        site: &Site,
        record: &NewRecord<'_>,
        position: Position,
    ) -> Result<(), WriteFailure> {
        let mut out = Vec::new();
        let header = header_of(record, &position);
        let mut fresh = None;
        if let Some((hash, body)) = record.schema
            && self.index.schema(hash).is_none()
        {
            let (t_min, t_max) = (WallTime(0), WallTime(0));
            let header = RecordHeader { kind: RecordKind::Schema, samples: 0, t_min, t_max, ..header };
            put_record(&mut out, self.name, &header, body);
            fresh = Some(SchemaEntry { hash, at: self.position(0), body_bytes: bytes_of(body) });
        }
        let at = self.position(out.len());
        put_record(&mut out, self.name, &header, record.payload);
        self.write(site, &out)?;
        self.index.schemas.extend(fresh);
        self.index.entries.push(IndexEntry {
            at,
            body_bytes: bytes_of(record.payload),
            samples: record.samples,
            standing: record.standing,
            t_min: header.t_min,
            t_max: header.t_max,
        });
        Ok(())
    }

    fn position(&self, ahead: usize) -> u32 {
        u32::try_from(self.file_bytes + ahead as u64).expect("segments are a few MiB")
    }

    fn write(&mut self, site: &Site, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.file.append(bytes).map_err(|source| failure("write", self.name, source))?;
        self.file_bytes += bytes.len() as u64;
        site.shared.catalog().grew(self.name, bytes.len() as u64);
        Ok(())
    }

    fn sync(&mut self, site: &Site) -> Result<(), WriteFailure> {
        self.file.sync_data().map_err(|source| failure("sync", self.name, source))?;
        if self.folder_dirty {
            let folder = self.name.lane.as_str();
            site.shared
                .disk
                .sync_folder(folder)
                .map_err(|source| WriteFailure { action: format!("sync folder {folder}"), source })?;
            self.folder_dirty = false;
        }
        Ok(())
    }

    /// Shows readers what has been synced.
    fn publish(&mut self, site: &Site) {
        let mut catalog = site.shared.catalog();
        let Some(segment) = catalog.segments.get_mut(&self.name) else { return };
        let fresh = &self.index.entries[self.published..];
        segment.next = self.index.next();
        segment.spooled += fresh.iter().map(|entry| u64::from(entry.samples)).sum::<u64>();
        segment.samples += fresh.iter().map(IndexEntry::samples_held).sum::<u64>();
        segment.span = self.index.span();
        if let Some(live) = &mut segment.live {
            live.index.entries.extend_from_slice(fresh);
            live.index.schemas.extend_from_slice(&self.index.schemas[self.published_schemas..]);
        }
        self.published = self.index.entries.len();
        self.published_schemas = self.index.schemas.len();
    }
}

fn header_of(record: &NewRecord<'_>, position: &Position) -> RecordHeader {
    RecordHeader {
        kind: if record.standing == Standing::Loss { RecordKind::Loss } else { RecordKind::Batch },
        seq: position.seq,
        samples: record.samples,
        running: position.running,
        synced: position.synced,
        t_min: record.span.0,
        t_max: record.span.1,
        schema: record.schema.map_or(SchemaHash([0; 16]), |(hash, _)| hash),
        body_bytes: 0,
        body_crc: 0,
    }
}

fn own_bytes(record: &NewRecord<'_>) -> u64 {
    (RECORD_HEADER_BYTES + record.payload.len()) as u64
}

fn whole_bytes(record: &NewRecord<'_>) -> u64 {
    own_bytes(record) + record.schema.map_or(0, |(_, body)| (RECORD_HEADER_BYTES + body.len()) as u64)
}

fn bytes_of(body: &[u8]) -> u32 {
    u32::try_from(body.len()).expect("bodies are bounded")
}

fn failure(verb: &str, name: SegmentName, source: io::Error) -> WriteFailure {
    WriteFailure { action: format!("{verb} segment {}", name.path()), source }
}
