//! Where each record of one segment stands. Written into a sealed segment, and rebuilt by a scan where it is missing.

use muster_protocol::{
    id::{SchemaHash, Seq},
    time::WallTime,
};

use super::format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// The records of a segment, in order: the entry at position `i` is of seq `first + i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) first: Seq,
    pub(super) entries: Vec<IndexEntry>,
    pub(super) schemas: Vec<SchemaEntry>,
}

/// One seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) at: u32,
    pub(super) body_bytes: u32,
    pub(super) samples: u32,
    pub(super) standing: Standing,
    pub(super) t_min: WallTime,
    pub(super) t_max: WallTime,
}

/// What can be read at a seq; the number is the one in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// A batch.
    Batch = 1,
    /// A loss record.
    Loss = 2,
    /// Nothing: damage took it.
    Lost = 5,
}

/// One schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaEntry {
    pub(super) hash: SchemaHash,
    pub(super) at: u32,
    pub(super) body_bytes: u32,
}

impl Index {
    pub(super) fn new(first: Seq) -> Self {
        Self { first, entries: Vec::new(), schemas: Vec::new() }
    }

    /// Returns where the last record ends, schemas included.
    pub(super) fn end(&self) -> u64 {
        let entries =
            self.entries.iter().filter(|entry| entry.at > 0).map(|entry| (entry.at, entry.body_bytes));
        let schemas = self.schemas.iter().map(|schema| (schema.at, schema.body_bytes));
        let end = |(at, body_bytes)| u64::from(at) + RECORD_HEADER_BYTES as u64 + u64::from(body_bytes);
        entries.chain(schemas).map(end).max().unwrap_or(SEGMENT_HEADER_BYTES as u64)
    }

    /// Returns the seq after the last.
    pub(super) fn next(&self) -> Seq {
        Seq(self.first.0 + self.entries.len() as u64)
    }

    pub(super) fn entry(&self, seq: Seq) -> Option<&IndexEntry> {
        let position = usize::try_from(seq.0.checked_sub(self.first.0)?).ok()?;
        self.entries.get(position)
    }

    pub(super) fn schema(&self, hash: SchemaHash) -> Option<&SchemaEntry> {
        self.schemas.iter().find(|schema| schema.hash == hash)
    }

    /// Returns the seqs with their entries.
    pub(super) fn seqs(&self) -> impl Iterator<Item = (Seq, &IndexEntry)> {
        (self.first.0..).map(Seq).zip(&self.entries)
    }

    /// Returns the samples of the batches that are not lost.
    pub(super) fn samples(&self) -> u64 {
        self.entries.iter().map(IndexEntry::samples_held).sum()
    }

    /// Returns the samples of all batches, lost ones included.
    pub(super) fn spooled(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.samples)).sum()
    }

    /// Returns how many entries are lost.
    pub(super) fn lost(&self) -> usize {
        self.entries.iter().filter(|entry| entry.standing == Standing::Lost).count()
    }

    /// Returns the earliest and latest time of any sample.
    pub(super) fn span(&self) -> Option<(WallTime, WallTime)> {
        let dated = || self.entries.iter().filter(|entry| entry.samples > 0 && entry.t_min <= entry.t_max);
        Some((dated().map(|entry| entry.t_min).min()?, dated().map(|entry| entry.t_max).max()?))
    }
}

impl IndexEntry {
    /// A seq of which nothing is known but how many samples it held. Its times are the wrong way round.
    pub(super) fn lost(samples: u32) -> Self {
        let (t_min, t_max) = (WallTime(i64::MAX), WallTime(i64::MIN));
        Self { at: 0, body_bytes: 0, samples, standing: Standing::Lost, t_min, t_max }
    }

    /// Returns the samples that can still be delivered.
    pub(super) fn samples_held(&self) -> u64 {
        if self.standing == Standing::Batch { u64::from(self.samples) } else { 0 }
    }
}

impl Standing {
    pub(super) fn from_number(number: u8) -> Option<Self> {
        [Self::Batch, Self::Loss, Self::Lost].into_iter().find(|standing| *standing as u8 == number)
    }
}
