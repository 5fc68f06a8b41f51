//! Metrics that belong together: what arrives, what becomes of it, commits, connections.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    SYNC_SECONDS,
    gauges::NumberGauge,
    labels::{Of, OfWay, Reason, ReasonVia, Via},
};
use crate::record::Transport;

/// What came over each transport, so that a batch costs no look-up.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) batches: [Counter; Transport::ALL.len()],
    pub(super) samples: [Counter; Transport::ALL.len()],
    pub(super) bytes: [Counter; Transport::ALL.len()],
    pub(super) families: [Family<Via, Counter>; 3],
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct IngestCounters {
    pub(super) batches: Counter,
    pub(super) samples: Counter,
    pub(super) bytes: Counter,
    pub(super) duplicates: Counter,
    pub(super) refusals: Family<ReasonVia, Counter>,
    pub(super) lost: Family<Reason, Counter>,
    pub(super) json_given_up: Family<Reason, Counter>,
}

pub(super) struct CommitMetrics {
    pub(super) groups: Counter,
    pub(super) records: Counter,
    pub(super) group_records: Histogram,
    pub(super) group_bytes: Histogram,
    pub(super) sync_seconds: Histogram,
    pub(super) latency_seconds: Histogram,
}

/// The parts of [`Connections`], by listener.
#[derive(Debug, Default)]
pub(super) struct ListenerMetrics {
    pub(super) open: Family<Of, Gauge>,
    pub(super) bound: Family<Of, NumberGauge>,
    pub(super) opened: Family<Of, Counter>,
    pub(super) turned_away: Family<Of, Counter>,
    pub(super) bytes: Family<OfWay, Counter>,
}

impl Default for Received {
    fn default() -> Self {
        let families: [Family<Via, Counter>; 3] = Default::default();
        let counters = |family: &Family<Via, Counter>| {
            Transport::ALL.map(|via| family.get_or_create(&Via { transport: via.as_str() }).clone())
        };
        let [batches, samples, bytes] = [0, 1, 2].map(|of| counters(&families[of]));
        Self { batches, samples, bytes, families }
    }
}

impl Received {
    pub(super) fn register(&self, registry: &mut Registry) {
        let [batches, samples, bytes] = self.families.clone();
        registry.register("received_batches", "Batches that arrived", batches);
        registry.register("received_samples", "Samples that arrived", samples);
        registry.register_with_unit("received", "Bytes of batches that arrived", Unit::Bytes, bytes);
    }
}

impl IngestCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("ingest_batches", "Batches committed", self.batches.clone());
        registry.register("ingest_samples", "Samples committed", self.samples.clone());
        registry.register_with_unit("ingest", "Bytes of batches committed", Unit::Bytes, self.bytes.clone());
        registry.register("ingest_duplicates", "Batches that came again", self.duplicates.clone());
        registry.register("ingest_refusals", "Batches not taken", self.refusals.clone());
        registry.register("lost_samples", "Samples named by loss records", self.lost.clone());
        let given_up = self.json_given_up.clone();
        registry.register("json_given_up_samples", "Samples of plain JSON in no record", given_up);
    }
}

impl CommitMetrics {
    pub(super) fn new() -> Self {
        Self {
            groups: Counter::default(),
            records: Counter::default(),
            group_records: Histogram::new(GROUP_RECORDS),
            group_bytes: Histogram::new(GROUP_BYTES),
            sync_seconds: Histogram::new(SYNC_SECONDS),
            latency_seconds: Histogram::new(SYNC_SECONDS),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("commit_groups", "Groups committed under one sync", self.groups.clone());
        registry.register("commit_records", "Records committed", self.records.clone());
        registry.register("commit_group_records", "Records of one group", self.group_records.clone());
        let (bytes, sync) = (self.group_bytes.clone(), self.sync_seconds.clone());
        registry.register_with_unit("commit_group", "Bytes of one group", Unit::Bytes, bytes);
        registry.register_with_unit("commit_sync", "Time of one sync", Unit::Seconds, sync);
        let latency = self.latency_seconds.clone();
        registry.register_with_unit("commit_latency", "From arrival to sync", Unit::Seconds, latency);
    }
}

impl ListenerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections open", self.open.clone());
        registry.register("connections_bound", "Most connections", self.bound.clone());
        registry.register("connections_opened", "Connections taken", self.opened.clone());
        registry.register("connections_turned_away", "Connections without room", self.turned_away.clone());
        let bytes = self.bytes.clone();
        registry.register_with_unit("connection", "Bytes of connections", Unit::Bytes, bytes);
    }
}

/// Bounds of `muster_commit_group_records`: a lone robot to a fleet that comes back.
const GROUP_RECORDS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0];

/// Bounds of `muster_commit_group_bytes`, up to the largest group that may be configured.
const GROUP_BYTES: [f64; 8] =
    [1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 67_108_864.0];
