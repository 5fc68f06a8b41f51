//! What the store says about itself.

use std::sync::atomic::Ordering;

use muster_protocol::id::Offset;

use super::{
    database::blobs_in,
    manifest::Manifest,
    partition::{Part, Partition, State},
    shared::Shared,
};

/// The store at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The first offset that is held.
    pub first: Offset,
    /// The offset that the next record gets.
    pub next: Offset,
    /// Partitions of any state.
    pub partitions: usize,
    /// Sealed partitions whose databases are open.
    pub sealed_open: usize,
    /// Bytes of records, as encoded, in what can be read.
    pub record_bytes: u64,
    /// Bytes that the log occupies on the disk.
    pub disk_bytes: u64,
    /// Files under `blobs/`: none, or the databases are used wrongly.
    pub blobs: u64,
    /// Whether nothing is taken because there is no room.
    pub refusing: bool,
    /// Offsets that were committed and cannot be read any more.
    pub damaged: Vec<Damage>,
    /// Partitions whose loss the log does not say yet.
    pub unaccounted: usize,
    /// How much it may occupy, and how much there is.
    pub room: Room,
}

/// The limits of the log, and the disk that it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// The oldest partitions are dropped while the log occupies more.
    pub retention_bytes: u64,
    /// Nothing is taken while the log occupies more.
    pub quota_bytes: u64,
    /// Free bytes of the disk, if that can be known.
    pub free_bytes: Option<u64>,
    /// All bytes of the disk, if that can be known.
    pub total_bytes: Option<u64>,
}

/// A range of the log that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first offset that cannot be read.
    pub first: Offset,
    /// The offset after the last. Not every offset between need have been given.
    pub end: Offset,
    /// What is wrong, for the operator.
    pub why: String,
    /// What of it is known to be lost. The log has, or will have, loss records of it.
    pub lost: Option<Manifest>,
}

pub(super) fn of(shared: &Shared) -> StoreStatus {
    let partitions = shared.all();
    let next = shared.next();
    let ends = partitions.iter().skip(1).map(|partition| partition.first).chain([next]);
    StoreStatus {
        first: shared.first(),
        next,
        partitions: partitions.len(),
        sealed_open: shared.handles.len(),
        record_bytes: partitions.iter().map(|partition| record_bytes(partition)).sum(),
        disk_bytes: shared.disk_bytes(),
        blobs: partitions.iter().map(|partition| blobs_in(&partition.folder)).sum(),
        refusing: shared.refusing.load(Ordering::Relaxed),
        damaged: partitions.iter().zip(ends).filter_map(|(partition, end)| damage(partition, end)).collect(),
        unaccounted: shared.unaccounted.len(),
        room: Room {
            retention_bytes: shared.config.retention_bytes,
            quota_bytes: shared.config.quota_bytes,
            free_bytes: shared.disk.free_bytes(&shared.folder.root),
            total_bytes: shared.disk.total_bytes(&shared.folder.root),
        },
    }
}

fn record_bytes(partition: &Partition) -> u64 {
    match partition.state() {
        State::Open(open) => open.record_bytes.load(Ordering::Relaxed),
        State::Sealed(sealed) => sealed.record_bytes,
        State::Quarantined(_) => 0,
    }
}

/// Returns what is damaged of a partition that is followed by offset `end`.
fn damage(partition: &Partition, end: Offset) -> Option<Damage> {
    let (first, lost) = match partition.state() {
        State::Quarantined(_) => (partition.first, partition.lost(Part::Whole)),
        State::Sealed(sealed) => (sealed.end, partition.lost(Part::Cut)),
        State::Open(open) => (open.end().unwrap_or(end), partition.lost(Part::Cut)),
    };
    (first < end).then(|| Damage { first, end, why: why_damaged(partition), lost })
}

/// Returns what is wrong with a partition of which offsets are missing.
pub(super) fn why_damaged(partition: &Partition) -> String {
    match partition.state() {
        State::Quarantined(quarantine) => quarantine.why.clone(),
        State::Open(_) | State::Sealed(_) => CUT_OFF.to_owned(),
    }
}

const CUT_OFF: &str = "the end of the log was damaged when the gateway started";
