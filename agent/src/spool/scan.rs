//! Reads the records of a segment that has no index to trust: which seqs are whole, which are lost, and where the
//! torn tail starts.
//!
//! Damage in front of a seq that is known to be synced is a loss, counted by what the records around it say. Damage
//! behind all of these is a torn tail: bytes that a power cut kept of a write whose sync never returned. Nothing in
//! it was accepted, so it is cut. How far is *known to be synced* the headers tell: each carries the lane's synced
//! position at the time when it was written.
//!
//! How many samples stood in damaged records is the difference of two running counts: that of the header after them,
//! and that of the header before them. Where the headers before them are all damaged, the count comes from the segment
//! before ([`Scan::count_from`]) or from the seal. It is too small only where nothing tells: the segment is the oldest
//! that is left of its lane, has no seal, and its own header is damaged as well as those of its first records.

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
    /// The running count of the first batch or loss that tells it, if nothing tells how many of these samples stood in
    /// this segment: the lost entries in front of it then hold none.
    counted_after: Option<u64>,
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
        counted_after: None,
        synced: known.unwrap_or(name.first),
        end: SEGMENT_HEADER_BYTES.min(bytes.len()),
    };
    let torn = found.iter().any(|record| !fold.take(record));
    if !torn && let Some(totals) = sealed {
        let missing = totals.samples.saturating_sub(fold.all_samples());
        if fold.index.next() < totals.next {
            fold.lose_until(totals.next, missing);
        } else {
            add_to_first(&mut fold.index, missing);
        }
        fold.counted_after = None;
    }
    Scan { index: fold.index, end: fold.end as u64, counted_after: fold.counted_after }
}

impl Scan {
    /// Counts what was lost in front of the first header that is right: `before` is how many samples the lane had in
    /// this epoch before this segment.
    pub(super) fn count_from(&mut self, before: u64) {
        if let Some(running) = self.counted_after.take() {
            add_to_first(&mut self.index, running.saturating_sub(before));
        }
    }
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
    counted_after: Option<u64>,
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
        if !self.reach(header) {
            return false;
        }
        if header.kind == RecordKind::Schema {
            if !record.whole && self.index.next() >= self.synced {
                return false;
            }
            if record.whole {
                let (at, body_bytes) = (position(record.at), header.body_bytes);
                self.index.schemas.push(SchemaEntry { hash: header.schema, at, body_bytes });
            }
        } else if header.seq == self.index.next() {
            self.push(record);
        }
        self.end = record.end;
        true
    }

    /// Counts the seqs that are missing before a header as lost; a schema has the seq of the record behind it. Returns
    /// false if no segment holds so many.
    fn reach(&mut self, header: &RecordHeader) -> bool {
        let room = (SEGMENT_RECORDS_MAX - self.index.entries.len()) as u64;
        let next = self.index.next();
        if header.seq < next {
            return true;
        }
        if header.seq.0 - next.0 >= room {
            return false;
        }
        if self.running.is_none() && header.seq > next {
            self.counted_after = Some(header.running);
        }
        let before = self.running.map_or(0, |running| header.running.saturating_sub(running));
        self.lose_until(header.seq, before);
        self.running = Some(header.running);
        true
    }

    /// Takes a batch or loss record.
    fn push(&mut self, record: &Found) {
        let header = &record.header;
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

/// Puts samples on the first entry, which is lost: how they spread over the lost ones is not known.
fn add_to_first(index: &mut Index, samples: u64) {
    if let Some(first) = index.entries.first_mut().filter(|first| first.standing == Standing::Lost) {
        first.samples = first.samples.saturating_add(u32::try_from(samples).unwrap_or(u32::MAX));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use muster_protocol::{
        id::{ChannelName, Lane},
        loss::LossReason,
        schema::{ChannelDef, Schema},
        time::WallTime,
    };

    use super::*;
    use crate::spool::{Entry, Spool, SpoolConfig, fake_disk::FakeDisk, seal::decode_trailer};

    fn open(disk: &FakeDisk) -> (Spool, u64) {
        let robot = "fleet/robot".parse().unwrap();
        let config = SpoolConfig { limit_bytes: 8 << 20, segment_bytes: 64 * 1024, robot };
        let (spool, recovered) = Spool::open(Arc::new(disk.clone()), config, 7).unwrap();
        let corrupt = recovered.losses.iter().filter(|loss| loss.reason == LossReason::Corrupt);
        (spool, corrupt.map(muster_protocol::loss::Loss::samples).sum())
    }

    /// A spool of several segments of the live lane, killed; the samples of each batch differ.
    fn filled() -> FakeDisk {
        let disk = FakeDisk::new();
        let (mut spool, _) = open(&disk);
        let channels = vec![ChannelDef::named(ChannelName::new("a").unwrap())];
        let schema = Arc::new(Schema::new(channels).unwrap());
        for samples in 1..=15 {
            let (bytes, schema) = (Bytes::from(vec![7; 10_000]), Arc::clone(&schema));
            let (t_min, t_max) = (WallTime(1), WallTime(2));
            spool.append(Lane::Live, &Entry::Batch { bytes, samples, t_min, t_max, schema }).unwrap();
            spool.sync().unwrap();
        }
        disk.kill();
        disk
    }

    /// Returns the segments of the live lane, oldest first.
    fn segments(disk: &FakeDisk) -> Vec<(SegmentName, String)> {
        let file = |path: &str| SegmentName::parse(Lane::Live, path.strip_prefix("live/")?);
        let mut all: Vec<_> =
            disk.files().into_keys().filter_map(|path| Some((file(&path)?, path))).collect();
        all.sort_unstable();
        assert!(all.len() >= 3);
        all
    }

    fn records(disk: &FakeDisk, (name, path): &(SegmentName, String)) -> Vec<Found> {
        find_records(&disk.files()[path], *name)
    }

    /// Flips a bit in the header of each record with one of these seqs, and in the segment's own.
    fn ruin_headers(disk: &FakeDisk, segment: &(SegmentName, String), kinds: &[RecordKind], seqs: &[Seq]) {
        disk.flip_bit(&segment.1, 8 * 41);
        for Found { at, header, .. } in records(disk, segment) {
            if kinds.contains(&header.kind) && seqs.contains(&header.seq) {
                disk.flip_bit(&segment.1, 8 * (at + 41));
            }
        }
    }

    const BATCH: &[RecordKind] = &[RecordKind::Batch];
    const BATCH_AND_SCHEMA: &[RecordKind] = &[RecordKind::Batch, RecordKind::Schema];

    /// Guards: where a segment's own header was damaged too, what was lost in front counted as no samples.
    #[test]
    fn several_damaged_headers_at_the_front_of_a_segment_cost_no_count() {
        for (kinds, lost) in [(BATCH, 1), (BATCH_AND_SCHEMA, 1), (BATCH_AND_SCHEMA, 2)] {
            let disk = filled();
            let last = segments(&disk).pop().unwrap();
            let seqs: Vec<Seq> = (last.0.first.0..).take(lost).map(Seq).collect();
            ruin_headers(&disk, &last, kinds, &seqs);
            let samples: u64 = seqs.iter().map(|seq| seq.0).sum();
            assert_eq!(open(&disk).1, samples, "{kinds:?} of {seqs:?}");
        }
    }

    #[test]
    fn a_seal_tells_what_was_lost_in_front_when_no_earlier_segment_is_left() {
        let disk = filled();
        let (second, third) = (segments(&disk).remove(1), segments(&disk).remove(2));
        let bytes = disk.files()[&second.1].clone();
        let seal = decode_trailer(&bytes[bytes.len() - 16..]).unwrap();
        let header = decode_record_header(&bytes[usize::try_from(seal).unwrap()..], second.0).unwrap();
        let totals = SealedTotals { next: header.seq, samples: u64::from(header.samples) };
        assert_eq!(totals.next, third.0.first);
        for last in [None, Some(Seq(totals.next.0 - 1))] {
            let disk = filled();
            let lost: Vec<Seq> = [second.0.first].into_iter().chain(last).collect();
            ruin_headers(&disk, &second, BATCH_AND_SCHEMA, &lost);
            let mut scan = scan(&disk.files()[&second.1], second.0, Some(totals));
            let expected = scan.index.clone();
            scan.count_from(0);
            assert_eq!((&scan.index, scan.index.lost()), (&expected, lost.len()), "it is counted once");
            let missing = scan.index.spooled() - scan.index.samples();
            assert_eq!(missing, lost.iter().map(|seq| seq.0).sum::<u64>());
        }
    }

    /// Nothing is left that tells.
    #[test]
    fn without_a_seal_or_an_earlier_segment_what_was_lost_in_front_is_listed_without_its_samples() {
        let disk = filled();
        let last = segments(&disk).pop().unwrap();
        ruin_headers(&disk, &last, BATCH_AND_SCHEMA, &[last.0.first]);
        let alone = FakeDisk::new();
        alone.put(&last.1, &disk.files()[&last.1]);
        let scan = scan(&alone.files()[&last.1], last.0, None);
        assert_eq!((scan.index.lost(), scan.index.spooled() - scan.index.samples()), (1, 0));
        assert_eq!(open(&alone).1, 0);
    }
}
