//! What the gateway counts of itself, as OpenMetrics text.
//!
//! Labels are bounded: transports, reasons, path templates, status codes and the broker of the configuration, never a
//! robot's name. Counters are atomics
//! and cheap enough for each batch; gauges are set when someone asks.
//!
//! | name | type | labels | meaning |
//! |---|---|---|---|
//! | `muster_ingest_batches_total` | counter | | batches committed |
//! | `muster_ingest_samples_total` | counter | | samples in them |
//! | `muster_ingest_bytes_total` | counter | | their encoded bytes |
//! | `muster_ingest_duplicates_total` | counter | | batches that came again and were acknowledged without a commit |
//! | `muster_ingest_refusals_total` | counter | `reason` | batches that were not taken |
//! | `muster_lost_samples_total` | counter | `reason` | samples that committed loss records name |
//! | `muster_json_given_up_samples_total` | counter | `reason` | samples of plain JSON, and lines of it that would have been refused, that no loss record names: they came without a promise, or from a broker for a robot that is not taken in |
//! | `muster_commit_groups_total` | counter | | groups of records that were committed under one sync |
//! | `muster_commit_records_total` | counter | | records in them |
//! | `muster_commit_sync_seconds` | histogram | | time of one sync |
//! | `muster_commit_queue_bytes` | gauge | | bytes that wait for a commit |
//! | `muster_commit_queue_bound_bytes` | gauge | | most bytes that may wait |
//! | `muster_sessions` | gauge | `transport` | sessions that are open |
//! | `muster_sessions_opened_total` | counter | `transport` | sessions that were opened |
//! | `muster_broker_connected` | gauge | `broker` | 1 while the broker of `mqtt.broker.url` has this gateway as a client; absent without one |
//! | `muster_robots` | gauge | | robots that the log names |
//! | `muster_robots_complete` | gauge | `standing` | robots by what is known of their completeness: whole, behind, not told |
//! | `muster_log_first_offset` | gauge | | first offset that is held |
//! | `muster_log_next_offset` | gauge | | offset that the next record will get |
//! | `muster_store_partitions` | gauge | | partitions of the log |
//! | `muster_store_disk_bytes` | gauge | | bytes that the store takes on disk |
//! | `muster_store_record_bytes` | gauge | | bytes of its records, as encoded |
//! | `muster_store_blob_files` | gauge | | files in `blobs/` folders; anything but 0 is a fault |
//! | `muster_store_damaged_ranges` | gauge | | ranges of offsets that cannot be read any more |
//! | `muster_store_refusing` | gauge | | 1 while nothing is taken for lack of room |
//! | `muster_http_requests_total` | counter | `path`, `status` | requests answered |
//! | `muster_http_streams` | gauge | | sample streams that are open |

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use muster_protocol::{loss::LossReason, message::RefuseReason, time::MonoTime};

use crate::{fleet::Standing, link::port::Unhandled, record::Transport};

mod rate;

use rate::Rate;

/// The type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of the gateway's metrics. One per process, shared.
pub struct Metrics {
    registry: Registry,
    rate: Rate,
    batches: Counter,
    samples: Counter,
    bytes: Counter,
    duplicates: Counter,
    refusals: Family<Reason, Counter>,
    lost: Family<Reason, Counter>,
    json_given_up: Family<Reason, Counter>,
    commit_groups: Counter,
    commit_records: Counter,
    sync_seconds: Histogram,
    sessions: Family<Via, Gauge>,
    sessions_opened: Family<Via, Counter>,
    broker_connected: Family<At, Gauge>,
    requests: Family<Answer, Counter>,
    streams: Gauge,
    gauges: Gauges<NumberGauge>,
}

/// Figures that are read when someone asks for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges<T> {
    /// `muster_commit_queue_bytes`
    pub queue_bytes: T,
    /// `muster_commit_queue_bound_bytes`
    pub queue_bound_bytes: T,
    /// `muster_robots`
    pub robots: T,
    /// `muster_robots_complete`, by [`Standing`]
    pub standings: [T; Standing::ALL.len()],
    /// `muster_log_first_offset`
    pub first_offset: T,
    /// `muster_log_next_offset`
    pub next_offset: T,
    /// `muster_store_partitions`
    pub partitions: T,
    /// `muster_store_disk_bytes`
    pub disk_bytes: T,
    /// `muster_store_record_bytes`
    pub record_bytes: T,
    /// `muster_store_blob_files`
    pub blob_files: T,
    /// `muster_store_damaged_ranges`
    pub damaged_ranges: T,
    /// `muster_store_refusing`
    pub refusing: T,
}

type NumberGauge = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Via {
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    broker: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stands {
    standing: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    path: &'static str,
    status: u16,
}

/// Bounds of `muster_commit_sync_seconds`: a good disk to a failing one.
const SYNC_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    /// Registers everything, all at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("muster"),
            rate: Rate::default(),
            batches: Counter::default(),
            samples: Counter::default(),
            bytes: Counter::default(),
            duplicates: Counter::default(),
            refusals: Family::default(),
            lost: Family::default(),
            json_given_up: Family::default(),
            commit_groups: Counter::default(),
            commit_records: Counter::default(),
            sync_seconds: Histogram::new(SYNC_SECONDS),
            sessions: Family::default(),
            sessions_opened: Family::default(),
            broker_connected: Family::default(),
            requests: Family::default(),
            streams: Gauge::default(),
            gauges: Gauges::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("ingest_batches", "Batches committed", self.batches.clone());
        registry.register("ingest_samples", "Samples committed", self.samples.clone());
        registry.register_with_unit("ingest", "Bytes of batches committed", Unit::Bytes, self.bytes.clone());
        registry.register("ingest_duplicates", "Batches that came again", self.duplicates.clone());
        registry.register("ingest_refusals", "Batches not taken", self.refusals.clone());
        registry.register("lost_samples", "Samples named by loss records", self.lost.clone());
        let given_up = self.json_given_up.clone();
        registry.register("json_given_up_samples", "Samples of plain JSON in no record", given_up);
        registry.register("commit_groups", "Groups committed under one sync", self.commit_groups.clone());
        registry.register("commit_records", "Records committed", self.commit_records.clone());
        let sync_seconds = self.sync_seconds.clone();
        registry.register_with_unit("commit_sync", "Time of one sync", Unit::Seconds, sync_seconds);
        registry.register("sessions", "Sessions open", self.sessions.clone());
        registry.register("sessions_opened", "Sessions opened", self.sessions_opened.clone());
        let broker = self.broker_connected.clone();
        registry.register("broker_connected", "Whether the broker has this gateway", broker);
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_streams", "Sample streams open", self.streams.clone());
        let gauges = &self.gauges;
        let (queue, bound) = (gauges.queue_bytes.clone(), gauges.queue_bound_bytes.clone());
        registry.register_with_unit("commit_queue", "Bytes waiting for a commit", Unit::Bytes, queue);
        registry.register_with_unit("commit_queue_bound", "Most bytes that may wait", Unit::Bytes, bound);
        registry.register("robots", "Robots that the log names", gauges.robots.clone());
        let standings = Family::<Stands, NumberGauge>::default();
        for (standing, gauge) in Standing::ALL.into_iter().zip(&mut self.gauges.standings) {
            *gauge = standings.get_or_create(&Stands { standing: standing.as_str() }).clone();
        }
        registry.register("robots_complete", "Robots by completeness", standings);
        let gauges = &self.gauges;
        registry.register("log_first_offset", "First offset held", gauges.first_offset.clone());
        registry.register("log_next_offset", "Offset of the next record", gauges.next_offset.clone());
        registry.register("store_partitions", "Partitions of the log", gauges.partitions.clone());
        let (disk, records) = (gauges.disk_bytes.clone(), gauges.record_bytes.clone());
        registry.register_with_unit("store_disk", "Bytes of the store on disk", Unit::Bytes, disk);
        registry.register_with_unit("store_record", "Bytes of records as encoded", Unit::Bytes, records);
        registry.register("store_blob_files", "Files in blobs folders, a fault", gauges.blob_files.clone());
        let damaged = gauges.damaged_ranges.clone();
        registry.register("store_damaged_ranges", "Ranges of offsets that cannot be read", damaged);
        registry.register("store_refusing", "Whether nothing is taken", gauges.refusing.clone());
        self
    }

    /// Counts a committed batch.
    pub fn batch_committed(&self, samples: u32, bytes: usize, now: MonoTime) {
        self.batches.inc();
        self.samples.inc_by(u64::from(samples));
        self.bytes.inc_by(bytes as u64);
        self.rate.add(now, u64::from(samples));
    }

    /// Counts a batch that came again.
    pub fn duplicate(&self) {
        self.duplicates.inc();
    }

    /// Counts a batch that was not taken.
    pub fn refused(&self, reason: RefuseReason) {
        self.refusals.get_or_create(&Reason { reason: reason.as_str() }).inc();
    }

    /// Counts the samples of a committed loss record.
    pub fn lost(&self, reason: LossReason, samples: u64) {
        self.lost.get_or_create(&Reason { reason: reason.as_str() }).inc_by(samples);
    }

    /// Counts samples of plain JSON that nobody will send again and no record names.
    pub fn gave_up_json(&self, why: Unhandled, samples: u64) {
        self.json_given_up.get_or_create(&Reason { reason: why.as_str() }).inc_by(samples);
    }

    /// Returns how many samples of plain JSON were given up since the gateway started, for whatever reason.
    pub fn json_given_up(&self) -> u64 {
        let of = |why: Unhandled| self.json_given_up.get(&Reason { reason: why.as_str() });
        Unhandled::ALL.into_iter().filter_map(of).map(|counter| counter.get()).sum()
    }

    /// Counts a group of records that was committed, with the time that its sync took.
    pub fn group_committed(&self, records: usize, sync: Duration) {
        self.commit_groups.inc();
        self.commit_records.inc_by(records as u64);
        self.sync_seconds.observe(sync.as_secs_f64());
    }

    /// Counts a session that opened.
    pub fn session_opened(&self, transport: Transport) {
        let via = Via { transport: transport.as_str() };
        self.sessions_opened.get_or_create(&via).inc();
        self.sessions.get_or_create(&via).inc();
    }

    /// Counts a session that ended.
    pub fn session_closed(&self, transport: Transport) {
        self.sessions.get_or_create(&Via { transport: transport.as_str() }).dec();
    }

    /// Returns the gauge of the connection to a broker, 0 until it is set. From now on the metrics name this broker.
    pub fn broker_connected(&self, broker: String) -> Gauge {
        self.broker_connected.get_or_create(&At { broker }).clone()
    }

    /// Counts an HTTP request by the template of its path.
    pub fn request(&self, path: &'static str, status: u16) {
        self.requests.get_or_create(&Answer { path, status }).inc();
    }

    /// Returns the gauge of open sample streams.
    pub fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// Returns the samples committed per second, over the last ten whole seconds.
    pub fn samples_per_s(&self, now: MonoTime) -> f64 {
        self.rate.per_second(now)
    }

    /// Returns everything as OpenMetrics text, with the gauges as they are now.
    pub fn encode(&self, now: &Gauges<u64>) -> String {
        let held = &self.gauges;
        held.queue_bytes.set(now.queue_bytes);
        held.queue_bound_bytes.set(now.queue_bound_bytes);
        held.robots.set(now.robots);
        for (gauge, robots) in held.standings.iter().zip(now.standings) {
            gauge.set(robots);
        }
        held.first_offset.set(now.first_offset);
        held.next_offset.set(now.next_offset);
        held.partitions.set(now.partitions);
        held.disk_bytes.set(now.disk_bytes);
        held.record_bytes.set(now.record_bytes);
        held.blob_files.set(now.blob_files);
        held.damaged_ranges.set(now.damaged_ranges);
        held.refusing.set(now.refusing);
        text_of(&self.registry)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn text_of(registry: &Registry) -> String {
    let mut out = String::new();
    encode(&mut out, registry).expect("a String takes any text");
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_of_the_module_names_each_metric() {
        let metrics = Metrics::new();
        metrics.refused(RefuseReason::Busy);
        metrics.lost(LossReason::SpoolFull, 3);
        metrics.gave_up_json(Unhandled::Busy, 1);
        metrics.session_opened(Transport::Quic);
        assert!(!metrics.encode(&Gauges::default()).contains("broker"), "there is none");
        metrics.broker_connected("broker.example:1883".to_owned());
        metrics.request("/v1/fleet", 200);
        let text = metrics.encode(&Gauges::default());
        let of_kind = |line: &str| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned());
        let encoded: BTreeSet<String> = text.lines().filter_map(of_kind).collect();
        let in_table = |line: &str| Some(line.strip_prefix("//! | `")?.split_once('`')?.0.to_owned());
        let documented: BTreeSet<String> = include_str!("metrics.rs")
            .lines()
            .filter_map(in_table)
            .map(|name| name.trim_end_matches("_total").to_owned())
            .collect();
        assert_eq!(encoded, documented);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn counters_carry_what_they_counted() {
        let metrics = Metrics::new();
        metrics.batch_committed(40, 1000, MonoTime(0));
        metrics.batch_committed(2, 24, MonoTime(0));
        metrics.session_opened(Transport::Mqtt);
        metrics.session_opened(Transport::Mqtt);
        metrics.session_closed(Transport::Mqtt);
        metrics.group_committed(2, Duration::from_millis(3));
        let text = metrics.encode(&Gauges { queue_bytes: 7, ..Gauges::default() });
        for line in [
            "muster_ingest_batches_total 2",
            "muster_ingest_samples_total 42",
            "muster_ingest_bytes_total 1024",
            "muster_sessions{transport=\"mqtt\"} 1",
            "muster_sessions_opened_total{transport=\"mqtt\"} 2",
            "muster_commit_sync_seconds_bucket{le=\"0.005\"} 1",
            "muster_commit_queue_bytes 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
