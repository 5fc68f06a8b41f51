//! Reads the records of a segment that has no index to trust: which seqs are whole, which are lost, and where the
//! torn tail starts.
//!
//! Damage in front of a seq that is known to be synced is a loss, counted by what the records around it say. Damage
//! behind all of these is a torn tail: bytes that a power cut kept of a write whose sync never returned. Nothing in
//! it was accepted, so it is cut. How far is *known to be synced* the headers tell: each carries the lane's synced
//! position at the time when it was written.

use muster_protocol::id::Seq;

use super::{
    format::{
        RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
        SEGMENT_RECORDS_MAX, SegmentName, checked_body, decode_record_header, decode_segment_header,
    },
    index::{Index, IndexEntry, SchemaEntry, Standing},
};

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Its records; those that damage took are [`Standing::Lost`].
    pub(super) index: Index,
    /// Where the records end. What stands behind is torn, or the damaged index of a sealed segment.
    pub(super) end: u64,
}

/// What is known of a segment because it was sealed, although its index is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedTotals {
    pub(super) next: Seq,
    pub(super) samples: u64,
}

/// Scans the bytes of a whole segment file.
pub(super) fn scan(bytes: &[u8], name: SegmentName, sealed: Option<SealedTotals>) -> Scan {
    let mut found = find_records(bytes, name);
    if let Some(seal) = found.iter().position(|record| record.header.kind == RecordKind::Index) {
        found.truncate(seal);
    }
    let known = found.iter().map(|record| record.header.synced).chain(sealed.map(|totals| totals.next)).max();
    let mut fold = Fold {
        index: Index::new(name.first),
        // Before a lane's first seq there are no samples, whatever the header says.
        running: decode_segment_header(bytes, name).or((name.first == Seq::FIRST).then_some(0)),
        synced: known.unwrap_or(name.first),
        end: SEGMENT_HEADER_BYTES.min(bytes.len()),
    };
    let torn = found.iter().any(|record| !fold.take(record));
    if !torn && let Some(totals) = sealed {
        fold.lose_until(totals.next, totals.samples.saturating_sub(fold.all_samples()));
    }
    Scan { index: fold.index, end: fold.end as u64 }
}

/// A record whose header is right.
struct Found {
    at: usize,
    end: usize,
    header: RecordHeader,
    whole: bool,
}

struct Fold {
    index: Index,
    running: Option<u64>,
    synced: Seq,
    end: usize,
}

impl Fold {
    /// Takes the next record. Returns false if the tail is torn from here, or from the damage before it, on.
    fn take(&mut self, record: &Found) -> bool {
        let header = &record.header;
        let damaged = record.at != self.end || !record.whole;
        if damaged && self.index.next() >= self.synced {
            return false;
        }
        if header.kind != RecordKind::Schema && !self.take_seq(record) {
            return false;
        }
        if header.kind == RecordKind::Schema && record.whole {
            let (at, body_bytes) = (position(record.at), header.body_bytes);
            self.index.schemas.push(SchemaEntry { hash: header.schema, at, body_bytes });
        }
        self.end = record.end;
        true
    }

    /// Takes a batch or loss record and counts the seqs that are missing before it as lost.
    fn take_seq(&mut self, record: &Found) -> bool {
        let header = &record.header;
        let room = (SEGMENT_RECORDS_MAX - self.index.entries.len()) as u64;
        let next = self.index.next();
        if header.seq < next {
            return true;
        }
        if header.seq.0 - next.0 >= room {
            return false;
        }
        let before = self.running.map_or(0, |running| header.running.saturating_sub(running));
        self.lose_until(header.seq, before);
        self.index.entries.push(IndexEntry {
            at: position(record.at),
            body_bytes: header.body_bytes,
            samples: header.samples,
            standing: match header.kind {
                _ if !record.whole => Standing::Lost,
                RecordKind::Loss => Standing::Loss,
                _ => Standing::Batch,
            },
            t_min: header.t_min,
            t_max: header.t_max,
        });
        self.running = Some(header.running.saturating_add(u64::from(header.samples)));
        true
    }

    /// Counts the seqs below `next` as lost. How `samples` spread over them is not known: the first one gets all.
    fn lose_until(&mut self, next: Seq, samples: u64) {
        let mut samples = u32::try_from(samples).unwrap_or(u32::MAX);
        while self.index.next() < next && self.index.entries.len() < SEGMENT_RECORDS_MAX {
            self.index.entries.push(IndexEntry::lost(samples));
            samples = 0;
        }
    }

    fn all_samples(&self) -> u64 {
        self.index.entries.iter().map(|entry| u64::from(entry.samples)).sum()
    }
}

/// Returns every record with a right header, skipping what lies between.
fn find_records(bytes: &[u8], name: SegmentName) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(start) = next_magic(bytes, at) {
        let Some(header) = decode_record_header(&bytes[start..], name) else {
            at = start + 1;
            continue;
        };
        let body_at = start + RECORD_HEADER_BYTES;
        let end = bytes.len().min(body_at + header.body_bytes as usize);
        let whole = checked_body(&header, &bytes[body_at..end]).is_some();
        found.push(Found { at: start, end, header, whole });
        at = end;
    }
    found
}

fn next_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(RECORD_MAGIC.len()).position(|window| window == RECORD_MAGIC).map(|offset| from + offset)
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("segment files that are read have a bound below 4 GiB")
}
