use std::collections::BTreeSet;

use super::*;

#[test]
fn the_table_of_the_module_names_each_metric() {
    let metrics = Metrics::new();
    metrics.refused(RefuseReason::Busy, Transport::Quic);
    metrics.lost(LossReason::SpoolFull, 3);
    metrics.gave_up_json(Unhandled::Busy, 1);
    metrics.session_opened(Transport::Quic);
    metrics.session_ended(Transport::Quic, DownReason::Lost);
    metrics.connections("quic");
    metrics.set_fleet(&Tallies::default());
    metrics.set_conditions(|_| 0, 0, Duration::ZERO);
    assert!(!metrics.encode(&Gauges::default()).contains("muster_broker"), "there is none");
    metrics.broker_connected("broker.example:1883".to_owned());
    metrics.request("/v1/fleet", 200, Duration::ZERO);
    let text = metrics.encode(&Gauges::default());
    let of_kind = |line: &str| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned());
    let encoded: BTreeSet<String> = text.lines().filter_map(of_kind).collect();
    let in_table = |line: &str| Some(line.strip_prefix("//! | `")?.split_once('`')?.0.to_owned());
    let documented: BTreeSet<String> = include_str!("../metrics.rs")
        .lines()
        .filter_map(in_table)
        .map(|name| name.trim_end_matches("_total").trim_end_matches("_info").to_owned())
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
    metrics.group_committed(2, 1024, Duration::from_millis(3));
    metrics.records_committed(&[Duration::from_millis(4); 2]);
    metrics.received(Transport::Mqtt, 40, 1000);
    let text = metrics.encode(&Gauges { queue_bytes: 7, ..Gauges::default() });
    for line in [
        "muster_ingest_batches_total 2",
        "muster_ingest_samples_total 42",
        "muster_ingest_bytes_total 1024",
        "muster_sessions{transport=\"mqtt\"} 1",
        "muster_sessions_opened_total{transport=\"mqtt\"} 2",
        "muster_commit_sync_seconds_bucket{le=\"0.005\"} 1",
        "muster_commit_queue_bytes 7",
        "muster_commit_latency_seconds_count 2",
        "muster_commit_group_records_bucket{le=\"4.0\"} 1",
        "muster_received_samples_total{transport=\"mqtt\"} 40",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
