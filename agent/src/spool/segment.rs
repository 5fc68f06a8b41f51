//! One segment file: its index, from the seal or by a scan, and its checked records.

use std::{io, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{Lane, SchemaHash, Seq},
    session::ranges::RangeSet,
    time::WallTime,
};

use super::{
    disk::{Disk, DiskFile},
    format::{
        RECORD_HEADER_BYTES, RecordHeader, RecordKind, SEGMENT_FILE_BYTES_MAX, SEGMENT_RECORDS_MAX,
        SegmentName, TRAILER_BYTES, checked_body, decode_record_header,
    },
    index::{Index, IndexEntry, SchemaEntry},
    scan::{Scan, SealedTotals, scan},
    seal::{decode_index, decode_trailer},
};

/// One segment of this run of the agent, numbered as they were found and made: a later one has a greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub(super) u64);

impl SegmentId {
    /// Returns the number, for a sender that knows segments only as an order.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What stays in memory of a segment.
pub(super) struct Segment {
    pub(super) id: SegmentId,
    pub(super) name: SegmentName,
    /// The seq after its last synced one.
    pub(super) next: Seq,
    pub(super) file_bytes: u64,
    /// Samples of the lane in this epoch before it.
    pub(super) before: u64,
    /// Samples of its synced batches, damaged ones included.
    pub(super) spooled: u64,
    /// Samples of its synced batches that were not lost to damage.
    pub(super) samples: u64,
    pub(super) span: Option<(WallTime, WallTime)>,
    /// Seqs that need no keeping: acknowledged, or listed in a synced loss record.
    pub(super) released: RangeSet,
    pub(super) released_samples: u64,
    /// Open for appending, with the index of what is synced; `None` once sealed.
    pub(super) live: Option<Loaded>,
}

/// A segment's file and index.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: Index,
}

/// The index record of a sealed segment, without its body.
pub(super) struct Seal {
    pub(super) at: u64,
    pub(super) header: RecordHeader,
}

impl Segment {
    pub(super) fn lane(&self) -> Lane {
        self.name.lane
    }

    /// Says whether nothing in it needs keeping.
    pub(super) fn is_released(&self) -> bool {
        self.released.covers(self.name.first, self.next)
    }

    /// Returns the samples of the lane in this epoch before the seq after its last.
    pub(super) fn spooled_until(&self) -> u64 {
        self.before + self.spooled
    }

    /// Returns the earliest time in what is held of it, as far as that is in memory.
    pub(super) fn oldest(&self) -> Option<WallTime> {
        let Some(live) = &self.live else { return self.span.map(|(earliest, _)| earliest) };
        let held = live.index.seqs().filter(|(seq, _)| !self.released.contains(*seq));
        let dated = held.filter(|(_, entry)| entry.samples_held() > 0);
        dated.map(|(_, entry)| entry.t_min).min()
    }

    pub(super) fn samples_held(&self) -> u64 {
        self.samples.saturating_sub(self.released_samples)
    }
}

impl Loaded {
    /// Opens a sealed segment and finds its index, by a scan if it is damaged.
    pub(super) fn open(disk: &dyn Disk, name: SegmentName) -> io::Result<Self> {
        let file = disk.open(&name.path())?;
        let seal = read_seal(file.as_ref(), name)?;
        if let Some(seal) = &seal
            && let Some(index) = read_index(file.as_ref(), name, seal)?
        {
            return Ok(Self { file, index });
        }
        let index = scan_file(file.as_ref(), name, seal.as_ref())?.index;
        Ok(Self { file, index })
    }
}

/// Reads the end of a segment; `None` if it is not sealed, or the seal is damaged.
pub(super) fn read_seal(file: &dyn DiskFile, name: SegmentName) -> io::Result<Option<Seal>> {
    let Some(trailer_at) = file.bytes()?.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let Some(at) = decode_trailer(&file.read_at(trailer_at, TRAILER_BYTES)?) else { return Ok(None) };
    let header = decode_record_header(&file.read_at(at, RECORD_HEADER_BYTES)?, name);
    let fits = |header: &RecordHeader| {
        header.kind == RecordKind::Index
            && header.seq.0 - name.first.0 <= SEGMENT_RECORDS_MAX as u64
            && at + (RECORD_HEADER_BYTES as u64) + u64::from(header.body_bytes) == trailer_at
    };
    Ok(header.filter(fits).map(|header| Seal { at, header }))
}

/// Reads the index of a sealed segment; `None` if it is damaged.
pub(super) fn read_index(file: &dyn DiskFile, name: SegmentName, seal: &Seal) -> io::Result<Option<Index>> {
    let body = file.read_at(seal.at + RECORD_HEADER_BYTES as u64, seal.header.body_bytes as usize)?;
    Ok(decode_index(name.first, &seal.header, &body))
}

/// Scans a whole segment file.
pub(super) fn scan_file(file: &dyn DiskFile, name: SegmentName, seal: Option<&Seal>) -> io::Result<Scan> {
    let len = file.bytes()?.min(SEGMENT_FILE_BYTES_MAX);
    let bytes = file.read_at(0, usize::try_from(len).expect("bounded"))?;
    let totals =
        seal.map(|seal| SealedTotals { next: seal.header.seq, samples: u64::from(seal.header.samples) });
    Ok(scan(&bytes, name, totals))
}

/// Reads and checks a batch or loss record; `None` if it is damaged.
pub(super) fn read_entry(
    file: &dyn DiskFile,
    name: SegmentName,
    seq: Seq,
    entry: &IndexEntry,
) -> io::Result<Option<(RecordHeader, Bytes)>> {
    let record = read_record(file, name, entry.at, entry.body_bytes)?;
    Ok(record.filter(|(header, _)| header.seq == seq && header.samples == entry.samples))
}

/// Reads and checks a schema record; `None` if it is damaged.
pub(super) fn read_schema(
    file: &dyn DiskFile,
    name: SegmentName,
    entry: &SchemaEntry,
) -> io::Result<Option<Bytes>> {
    let record = read_record(file, name, entry.at, entry.body_bytes)?;
    let is_it =
        |header: &RecordHeader, hash: SchemaHash| header.kind == RecordKind::Schema && header.schema == hash;
    Ok(record.filter(|(header, _)| is_it(header, entry.hash)).map(|(_, body)| body))
}

fn read_record(
    file: &dyn DiskFile,
    name: SegmentName,
    at: u32,
    body_bytes: u32,
) -> io::Result<Option<(RecordHeader, Bytes)>> {
    let bytes = Bytes::from(file.read_at(u64::from(at), RECORD_HEADER_BYTES + body_bytes as usize)?);
    let Some(header) = decode_record_header(&bytes, name) else { return Ok(None) };
    let body = bytes.slice(RECORD_HEADER_BYTES..);
    let whole = header.body_bytes == body_bytes && checked_body(&header, &body).is_some();
    Ok(whole.then_some((header, body)))
}
