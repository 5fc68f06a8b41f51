//! What the gateway counts of itself, as OpenMetrics text.
//!
//! Labels are bounded: transports, reasons, codes, path templates, status codes and the broker of the configuration,
//! never a robot's name. Counters are atomics and cheap enough for each batch; gauges of the log are set when someone
//! asks, those of the fleet and of conditions at each evaluation (`watch`).
//!
//! | name | type | labels | meaning |
//! |---|---|---|---|
//! | `muster_build_info` | info | `version` | 1, with the program's version |
//! | `muster_received_batches_total` | counter | `transport` | batches, or messages of plain JSON, that arrived |
//! | `muster_received_samples_total` | counter | `transport` | samples in those that could be understood |
//! | `muster_received_bytes_total` | counter | `transport` | their bytes, as they came |
//! | `muster_ingest_batches_total` | counter | | batches committed |
//! | `muster_ingest_samples_total` | counter | | samples in them |
//! | `muster_ingest_bytes_total` | counter | | their encoded bytes |
//! | `muster_ingest_duplicates_total` | counter | | batches that came again and were acknowledged without a commit |
//! | `muster_ingest_refusals_total` | counter | `reason`, `transport` | batches that were not taken |
//! | `muster_lost_samples_total` | counter | `reason` | samples that committed loss records name |
//! | `muster_json_given_up_samples_total` | counter | `reason` | samples of plain JSON, and lines of it that would have been refused, that no loss record names: they came without a promise, or from a broker for a robot that is not taken in |
//! | `muster_commit_groups_total` | counter | | groups of records that were committed under one sync |
//! | `muster_commit_records_total` | counter | | records in them |
//! | `muster_commit_group_records` | histogram | | records of one group |
//! | `muster_commit_group_bytes` | histogram | | bytes of one group |
//! | `muster_commit_sync_seconds` | histogram | | time of one sync |
//! | `muster_commit_latency_seconds` | histogram | | time of one record from its arrival to the end of its sync, which is when it may be acknowledged |
//! | `muster_commit_queue_bytes` | gauge | | bytes that wait for a commit |
//! | `muster_commit_queue_bound_bytes` | gauge | | most bytes that may wait |
//! | `muster_sessions` | gauge | `transport` | sessions that are open |
//! | `muster_sessions_opened_total` | counter | `transport` | sessions that were opened |
//! | `muster_sessions_ended_total` | counter | `reason`, `transport` | sessions that ended, and why |
//! | `muster_connections` | gauge | `listener` | connections that are open |
//! | `muster_connections_bound` | gauge | `listener` | most connections at once |
//! | `muster_connections_opened_total` | counter | `listener` | connections that were taken |
//! | `muster_connections_turned_away_total` | counter | `listener` | connections that found no room |
//! | `muster_connection_bytes_total` | counter | `direction`, `listener` | bytes that connections carried, without TLS, QUIC and IP |
//! | `muster_outbox_fullest_frames` | gauge | | frames that wait in the fullest queue towards a robot |
//! | `muster_outbox_bound_frames` | gauge | | most frames that may wait there; then the link closes |
//! | `muster_broker_connected` | gauge | `broker` | 1 while the broker of `mqtt.broker.url` has this gateway as a client; absent without one |
//! | `muster_robots` | gauge | | robots that the log names |
//! | `muster_robots_link` | gauge | `state` | robots by link: up, down |
//! | `muster_robots_health` | gauge | `level` | robots by health: ok, warn, error, stale |
//! | `muster_robots_complete` | gauge | `standing` | robots by what is known of their completeness: whole, behind, not told |
//! | `muster_robots_conflicts` | gauge | | robots for which two processes speak |
//! | `muster_robots_lost_any` | gauge | | robots that lost samples, ever |
//! | `muster_robots_lost_samples` | gauge | | samples that they lost, as far as the log goes back |
//! | `muster_robots_backlog_samples` | gauge | | samples that are still on robots, as those said last |
//! | `muster_robots_unknown_samples` | gauge | | samples of spools that are gone, at most |
//! | `muster_channels` | gauge | `freshness` | channels by freshness: fresh, late, stale, never |
//! | `muster_conditions` | gauge | `code`, `severity` | conditions that hold, 0 for a code that does not |
//! | `muster_conditions_not_listed` | gauge | | causes beyond those that can be listed |
//! | `muster_evaluation_seconds` | gauge | | how long it took to find them |
//! | `muster_log_first_offset` | gauge | | first offset that is held |
//! | `muster_log_next_offset` | gauge | | offset that the next record will get |
//! | `muster_store_partitions` | gauge | | partitions of the log |
//! | `muster_store_partitions_open` | gauge | | sealed ones that are open to be read |
//! | `muster_store_disk_bytes` | gauge | | bytes that the store takes on disk |
//! | `muster_store_record_bytes` | gauge | | bytes of its records, as encoded |
//! | `muster_store_retention_bytes` | gauge | | bytes on disk above which the oldest partition is dropped |
//! | `muster_store_quota_bytes` | gauge | | bytes on disk above which nothing is taken |
//! | `muster_disk_free_bytes` | gauge | | free bytes of the disk that the store is on |
//! | `muster_disk_size_bytes` | gauge | | all bytes of it |
//! | `muster_store_blob_files` | gauge | | files in `blobs/` folders; anything but 0 is a fault |
//! | `muster_store_damaged_ranges` | gauge | | ranges of offsets that cannot be read any more |
//! | `muster_store_unaccounted_partitions` | gauge | | damaged partitions whose loss is in no record yet |
//! | `muster_store_refusing` | gauge | | 1 while nothing is taken for lack of room |
//! | `muster_checkpoint_write_seconds` | histogram | | time in which a checkpoint was saved |
//! | `muster_checkpoint_bytes` | gauge | | bytes of the last one |
//! | `muster_checkpoint_failures_total` | counter | | times that one could not be saved |
//! | `muster_http_requests_total` | counter | `path`, `status` | requests answered |
//! | `muster_http_request_seconds` | histogram | `path` | time until an answer began |
//! | `muster_http_streams` | gauge | | sample streams that are open |
//! | `muster_http_streams_bound` | gauge | | most sample streams at once |
//! | `process_cpu_seconds_total` | counter | | processor time; this and what follows where the system is a Linux |
//! | `process_resident_memory_bytes` | gauge | | memory that is resident |
//! | `process_virtual_memory_bytes` | gauge | | address space |
//! | `process_start_time_seconds` | gauge | | when the process was started, since 1970 |
//! | `process_open_fds` | gauge | | open file descriptors |
//! | `process_max_fds` | gauge | | most file descriptors |
//! | `process_threads` | gauge | | threads |

mod connections;
mod fleet;
mod gauges;
mod labels;
mod parts;
mod process;
mod rate;

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use muster_protocol::{loss::LossReason, message::RefuseReason, time::MonoTime};

use crate::{
    conditions::Code,
    fleet::Tallies,
    link::port::Unhandled,
    record::{DownReason, Transport},
};

pub use connections::{Connections, OpenConnection};
pub use gauges::Gauges;
pub use process::Usage;

use fleet::FleetGauges;
use gauges::NumberGauge;
use labels::{Answer, At, Build, Of, OfWay, Path, Reason, ReasonVia, Via};
use parts::{CommitMetrics, IngestCounters, ListenerMetrics, Received};
use process::ProcessCollector;
use rate::Rate;

/// The type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of the gateway's metrics. One per process, shared.
pub struct Metrics {
    registry: Registry,
    rate: Rate,
    received: Received,
    ingest: IngestCounters,
    commit: CommitMetrics,
    sessions: Family<Via, Gauge>,
    sessions_opened: Family<Via, Counter>,
    sessions_ended: Family<ReasonVia, Counter>,
    listeners: ListenerMetrics,
    broker_connected: Family<At, Gauge>,
    checkpoint_seconds: Histogram,
    checkpoint_bytes: NumberGauge,
    checkpoint_failures: Counter,
    requests: Family<Answer, Counter>,
    request_seconds: Family<Path, Histogram>,
    streams: Gauge,
    streams_bound: NumberGauge,
    gauges: Gauges<NumberGauge>,
    fleet: FleetGauges,
}

/// Bounds of the times of syncs and commits: a good disk to a failing one.
const SYNC_SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Bounds of `muster_http_request_seconds`: what is in memory, what is read, what is too slow.
const REQUEST_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

impl Metrics {
    /// Registers everything, all at zero.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            rate: Rate::default(),
            received: Received::default(),
            ingest: IngestCounters::default(),
            commit: CommitMetrics::new(),
            sessions: Family::default(),
            sessions_opened: Family::default(),
            sessions_ended: Family::default(),
            listeners: ListenerMetrics::default(),
            broker_connected: Family::default(),
            checkpoint_seconds: Histogram::new(SYNC_SECONDS),
            checkpoint_bytes: NumberGauge::default(),
            checkpoint_failures: Counter::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            streams: Gauge::default(),
            streams_bound: NumberGauge::default(),
            gauges: Gauges::default(),
            fleet: FleetGauges::default(),
        };
        metrics.begin();
        metrics.registered()
    }

    /// Begins every counter whose labels are known at zero: what first shows with its first event has no increase there.
    fn begin(&self) {
        for via in Transport::ALL {
            let transport = via.as_str();
            drop(self.sessions.get_or_create(&Via { transport }));
            drop(self.sessions_opened.get_or_create(&Via { transport }));
            for reason in RefuseReason::ALL.map(RefuseReason::as_str) {
                drop(self.ingest.refusals.get_or_create(&ReasonVia { reason, transport }));
            }
            for reason in DownReason::ALL.map(DownReason::as_str) {
                drop(self.sessions_ended.get_or_create(&ReasonVia { reason, transport }));
            }
        }
        for reason in LossReason::ALL.map(LossReason::as_str) {
            drop(self.ingest.lost.get_or_create(&Reason { reason }));
        }
        for reason in Unhandled::ALL.map(Unhandled::as_str) {
            drop(self.ingest.json_given_up.get_or_create(&Reason { reason }));
        }
    }

    fn registered(mut self) -> Self {
        self.registry.register_collector(Box::new(ProcessCollector));
        let registry = self.registry.sub_registry_with_prefix("muster");
        let version = Build { version: env!("CARGO_PKG_VERSION") };
        registry.register("build", "The program", Info::new(version));
        self.received.register(registry);
        self.ingest.register(registry);
        self.commit.register(registry);
        registry.register("sessions", "Sessions open", self.sessions.clone());
        registry.register("sessions_opened", "Sessions opened", self.sessions_opened.clone());
        registry.register("sessions_ended", "Sessions ended", self.sessions_ended.clone());
        self.listeners.register(registry);
        let broker = self.broker_connected.clone();
        registry.register("broker_connected", "Whether the broker has this gateway", broker);
        let (took, bytes) = (self.checkpoint_seconds.clone(), self.checkpoint_bytes.clone());
        registry.register_with_unit("checkpoint_write", "Time to save a checkpoint", Unit::Seconds, took);
        registry.register_with_unit("checkpoint", "Bytes of the last checkpoint", Unit::Bytes, bytes);
        let failures = self.checkpoint_failures.clone();
        registry.register("checkpoint_failures", "Checkpoints that could not be saved", failures);
        registry.register("http_requests", "Requests answered", self.requests.clone());
        let took = self.request_seconds.clone();
        registry.register_with_unit("http_request", "Time until an answer began", Unit::Seconds, took);
        registry.register("http_streams", "Sample streams open", self.streams.clone());
        registry.register("http_streams_bound", "Most sample streams", self.streams_bound.clone());
        self.gauges.register(registry);
        self.fleet.register(registry);
        self
    }

    /// Counts a batch, or a message of plain JSON, that arrived, with as many samples as could be understood.
    pub fn received(&self, transport: Transport, samples: u64, bytes: usize) {
        let via = transport as usize;
        self.received.batches[via].inc();
        self.received.samples[via].inc_by(samples);
        self.received.bytes[via].inc_by(bytes as u64);
    }

    /// Counts a committed batch.
    pub fn batch_committed(&self, samples: u32, bytes: usize, now: MonoTime) {
        self.ingest.batches.inc();
        self.ingest.samples.inc_by(u64::from(samples));
        self.ingest.bytes.inc_by(bytes as u64);
        self.rate.add(now, u64::from(samples));
    }

    /// Counts a batch that came again.
    pub fn duplicate(&self) {
        self.ingest.duplicates.inc();
    }

    /// Counts a batch that was not taken.
    pub fn refused(&self, reason: RefuseReason, transport: Transport) {
        let labels = ReasonVia { reason: reason.as_str(), transport: transport.as_str() };
        self.ingest.refusals.get_or_create(&labels).inc();
    }

    /// Returns how many batches were not taken for a reason.
    pub fn refused_ever(&self, reason: RefuseReason) -> u64 {
        let of = |via: Transport| ReasonVia { reason: reason.as_str(), transport: via.as_str() };
        let counters = Transport::ALL.into_iter().filter_map(|via| self.ingest.refusals.get(&of(via)));
        counters.map(|counter| counter.get()).sum()
    }

    /// Counts the samples of a committed loss record.
    pub fn lost(&self, reason: LossReason, samples: u64) {
        self.ingest.lost.get_or_create(&Reason { reason: reason.as_str() }).inc_by(samples);
    }

    /// Counts samples of plain JSON that nobody will send again and no record names.
    pub fn gave_up_json(&self, why: Unhandled, samples: u64) {
        self.ingest.json_given_up.get_or_create(&Reason { reason: why.as_str() }).inc_by(samples);
    }

    /// Returns how many samples of plain JSON were given up since the gateway started, for whatever reason.
    pub fn json_given_up(&self) -> u64 {
        Unhandled::ALL.into_iter().map(|why| self.json_given_up_for(why)).sum()
    }

    /// Returns how many samples of plain JSON were given up for a reason.
    pub fn json_given_up_for(&self, why: Unhandled) -> u64 {
        self.ingest.json_given_up.get(&Reason { reason: why.as_str() }).map_or(0, |counter| counter.get())
    }

    /// Counts a group of records that was committed, with the time that its sync took.
    pub fn group_committed(&self, records: usize, bytes: usize, sync: Duration) {
        self.commit.groups.inc();
        self.commit.records.inc_by(records as u64);
        self.commit.group_records.observe(records as f64);
        self.commit.group_bytes.observe(bytes as f64);
        self.commit.sync_seconds.observe(sync.as_secs_f64());
    }

    /// Counts how long records took from their arrival to the end of their sync.
    pub fn records_committed(&self, latencies: &[Duration]) {
        for latency in latencies {
            self.commit.latency_seconds.observe(latency.as_secs_f64());
        }
    }

    /// Counts a session that opened.
    pub fn session_opened(&self, transport: Transport) {
        let via = Via { transport: transport.as_str() };
        self.sessions_opened.get_or_create(&via).inc();
        self.sessions.get_or_create(&via).inc();
    }

    /// Counts a session that is not open any more.
    pub fn session_closed(&self, transport: Transport) {
        self.sessions.get_or_create(&Via { transport: transport.as_str() }).dec();
    }

    /// Counts why a session ended.
    pub fn session_ended(&self, transport: Transport, why: DownReason) {
        let labels = ReasonVia { reason: why.as_str(), transport: transport.as_str() };
        self.sessions_ended.get_or_create(&labels).inc();
    }

    /// Returns the figures of a listener. From now on the metrics name it.
    pub fn connections(&self, listener: &'static str) -> Connections {
        let of = Of { listener };
        let bytes = |direction| self.listeners.bytes.get_or_create(&OfWay { listener, direction }).clone();
        Connections {
            open: self.listeners.open.get_or_create(&of).clone(),
            bound: self.listeners.bound.get_or_create(&of).clone(),
            opened: self.listeners.opened.get_or_create(&of).clone(),
            turned_away: self.listeners.turned_away.get_or_create(&of).clone(),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
        }
    }

    /// Returns the gauge of the connection to a broker, 0 until it is set. From now on the metrics name this broker.
    pub fn broker_connected(&self, broker: String) -> Gauge {
        self.broker_connected.get_or_create(&At { broker }).clone()
    }

    /// Counts a checkpoint that was saved.
    pub fn checkpoint_saved(&self, took: Duration, bytes: u64) {
        self.checkpoint_seconds.observe(took.as_secs_f64());
        self.checkpoint_bytes.set(bytes);
    }

    /// Counts a checkpoint that could not be saved.
    pub fn checkpoint_failed(&self) {
        self.checkpoint_failures.inc();
    }

    /// Counts an HTTP request by the template of its path, with the time until the answer began.
    pub fn request(&self, path: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answer { path, status }).inc();
        self.request_seconds.get_or_create(&Path { path }).observe(took.as_secs_f64());
    }

    /// Returns the gauge of open sample streams.
    pub fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// Says how many sample streams there may be.
    pub fn set_streams_bound(&self, streams_max: usize) {
        self.streams_bound.set(streams_max as u64);
    }

    /// Shows the fleet as it was evaluated last.
    pub fn set_fleet(&self, tallies: &Tallies) {
        self.fleet.set_fleet(tallies);
    }

    /// Shows how many conditions hold of each code, how many more there are, and how long it took to find out.
    pub fn set_conditions(&self, count: impl Fn(Code) -> u64, not_listed: u64, took: Duration) {
        self.fleet.set_conditions(count, not_listed, took);
    }

    /// Shows the fullest queue of frames towards a robot, and its bound.
    pub fn set_outbox(&self, frames: usize, frames_max: usize) {
        self.fleet.set_outbox(frames, frames_max);
    }

    /// Returns the samples committed per second, over the last ten whole seconds.
    pub fn samples_per_s(&self, now: MonoTime) -> f64 {
        self.rate.per_second(now)
    }

    /// Returns everything as OpenMetrics text, with the gauges as they are now. Reads files of the system: not on the
    /// async runtime's threads.
    pub fn encode(&self, now: &Gauges<u64>) -> String {
        self.gauges.set(now);
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
mod tests;
