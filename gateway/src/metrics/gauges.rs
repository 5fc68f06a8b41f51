//! What is read when someone asks: the log, its queue, and the disk.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};

/// Figures that are read when someone asks for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges<T> {
    /// `muster_commit_queue_bytes`
    pub queue_bytes: T,
    /// `muster_commit_queue_bound_bytes`
    pub queue_bound_bytes: T,
    /// `muster_log_first_offset`
    pub first_offset: T,
    /// `muster_log_next_offset`
    pub next_offset: T,
    /// `muster_store_partitions`
    pub partitions: T,
    /// `muster_store_partitions_open`
    pub sealed_open: T,
    /// `muster_store_disk_bytes`
    pub disk_bytes: T,
    /// `muster_store_record_bytes`
    pub record_bytes: T,
    /// `muster_store_retention_bytes`
    pub retention_bytes: T,
    /// `muster_store_quota_bytes`
    pub quota_bytes: T,
    /// `muster_disk_free_bytes`
    pub free_bytes: T,
    /// `muster_disk_size_bytes`
    pub size_bytes: T,
    /// `muster_store_blob_files`
    pub blob_files: T,
    /// `muster_store_damaged_ranges`
    pub damaged_ranges: T,
    /// `muster_store_unaccounted_partitions`
    pub unaccounted: T,
    /// `muster_store_refusing`
    pub refusing: T,
}

/// A gauge that is never negative.
pub(super) type NumberGauge = Gauge<u64, AtomicU64>;

impl Gauges<NumberGauge> {
    /// Gives each gauge its name.
    pub(super) fn register(&self, registry: &mut Registry) {
        let bytes = [
            ("commit_queue", "Bytes waiting for a commit", &self.queue_bytes),
            ("commit_queue_bound", "Most bytes that may wait", &self.queue_bound_bytes),
            ("store_disk", "Bytes of the store on disk", &self.disk_bytes),
            ("store_record", "Bytes of records as encoded", &self.record_bytes),
            ("store_retention", "Bytes on disk above which the oldest goes", &self.retention_bytes),
            ("store_quota", "Bytes on disk above which nothing is taken", &self.quota_bytes),
            ("disk_free", "Free bytes of the store's disk", &self.free_bytes),
            ("disk_size", "All bytes of the store's disk", &self.size_bytes),
        ];
        for (name, help, gauge) in bytes {
            registry.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        }
        let numbers = [
            ("log_first_offset", "First offset held", &self.first_offset),
            ("log_next_offset", "Offset of the next record", &self.next_offset),
            ("store_partitions", "Partitions of the log", &self.partitions),
            ("store_partitions_open", "Sealed partitions that are open to be read", &self.sealed_open),
            ("store_blob_files", "Files in blobs folders, a fault", &self.blob_files),
            ("store_damaged_ranges", "Ranges of offsets that cannot be read", &self.damaged_ranges),
            ("store_unaccounted_partitions", "Partitions whose loss is in no record yet", &self.unaccounted),
            ("store_refusing", "Whether nothing is taken", &self.refusing),
        ];
        for (name, help, gauge) in numbers {
            registry.register(name, help, gauge.clone());
        }
    }

    /// Shows these figures.
    pub(super) fn set(&self, now: &Gauges<u64>) {
        self.queue_bytes.set(now.queue_bytes);
        self.queue_bound_bytes.set(now.queue_bound_bytes);
        self.first_offset.set(now.first_offset);
        self.next_offset.set(now.next_offset);
        self.partitions.set(now.partitions);
        self.sealed_open.set(now.sealed_open);
        self.disk_bytes.set(now.disk_bytes);
        self.record_bytes.set(now.record_bytes);
        self.retention_bytes.set(now.retention_bytes);
        self.quota_bytes.set(now.quota_bytes);
        self.free_bytes.set(now.free_bytes);
        self.size_bytes.set(now.size_bytes);
        self.blob_files.set(now.blob_files);
        self.damaged_ranges.set(now.damaged_ranges);
        self.unaccounted.set(now.unaccounted);
        self.refusing.set(now.refusing);
    }
}
