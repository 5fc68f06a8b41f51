use std::{collections::BTreeSet, sync::Arc};

use muster_protocol::{
    batch::BatchBuilder,
    id::ChannelName,
    message::Clock as Reading,
    sample::{StampedBy, Value},
    schema::SchemaBuilder,
    time::{MonoTime, WallTime},
};

use super::*;
use crate::{
    batcher::Declarations,
    config::Every,
    delivery::Standing,
    driver::{LaneReport, LinkState},
    uplink::{Limits, Share},
};

const MINUTE: Duration = Duration::from_secs(60);

fn known() -> Facts {
    Facts {
        uptime: Duration::from_millis(86_400_040),
        cpu: Some(Duration::from_millis(12_340)),
        rss_bytes: Some(14 << 20),
        recorded: 8_640_000,
        refused: 12,
        refused_by: vec![("not_json", 10), ("queue_full", 2)],
        absent: Some(1059),
        lost: 0,
        queue_bytes: 0,
        samples: [0, 120, 0],
        oldest_age: Some(400_000_000),
        spool_bytes: 4 << 20,
        limit_bytes: 1 << 30,
        memory_mode: false,
        connects: 3,
        rtt: Some(Duration::from_micros(41_230)),
        ack_time: Some(Duration::from_micros(52_870)),
        sent_bytes: 812_345_678,
    }
}

fn report(stage: Stage, fault: Option<&str>) -> DeliveryReport {
    let limits =
        Limits { per_second: None, per_day: None, per_month: None, urgent_reserve: Share::percent(10) };
    DeliveryReport {
        at: MonoTime(0),
        link: LinkState {
            standing: Standing { stage, since: None, acked: None },
            gateway: None,
            why_not: None,
            failures: 0,
            sessions: 0,
            rtt: None,
            ack_time: None,
            sent_bytes: 0,
        },
        lanes: muster_protocol::id::Lane::ALL.map(|lane| LaneReport { lane, samples: 0, bytes: 0, lost: 0 }),
        oldest: None,
        uplink: crate::uplink::Figures { limits, today: 0, this_month: 0, floor: None, durable: true },
        spool_fault: fault.map(str::to_owned),
    }
}

#[test]
fn the_module_s_table_is_that_of_the_figures() {
    let page = include_str!("../own.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("//! |"));
    let table = rows.fold(String::new(), |table, row| {
        table
            + "|"
            + row
            + "
"
    });
    assert_eq!(table, markdown());
    assert!(markdown().contains(&format!("the first {REASONS_MAX} reasons")));
}

#[test]
fn a_row_has_each_figure_once_with_its_unit_and_interval() {
    let declarations = Declarations::new(declarations(MINUTE));
    let row = row::of(&known());
    let names: BTreeSet<&str> = row.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), row.fields.len());
    assert_eq!(row.fields.len(), FIGURES.len() - 1 + 2, "each figure, and two reasons");
    for (name, value) in &row.fields {
        let channel = declarations.define(name, None);
        assert_eq!(channel.interval_ns, Some(60_000_000_000), "{name}");
        assert_eq!(channel.unit.is_some(), !matches!(value, Value::Bool(_)), "{name}");
        assert!(name.is_of_agent(), "{name}");
    }
    let value =
        |name: &str| row.fields.iter().find(|(field, _)| field.as_str() == name).map(|(_, v)| v.clone());
    assert_eq!(value("muster.agent.uptime_s"), Some(Value::Float(86_400.0)));
    assert_eq!(value("muster.agent.link.rtt_ms"), Some(Value::Float(41.2)));
    assert_eq!(value("muster.agent.refused_by.queue_full"), Some(Value::Int(2)));
}

#[test]
fn what_is_not_known_is_left_out() {
    let facts = Facts { cpu: None, rss_bytes: None, absent: None, rtt: None, ack_time: None, ..known() };
    assert_eq!(row::of(&facts).fields.len(), FIGURES.len() - 1 + 2 - 5);
}

#[test]
fn an_agent_that_replays_or_delivers_once_records_none() {
    let config = |inputs: &[&str]| {
        let mut config = Config::new(&"f/r".parse().unwrap());
        config.input = inputs.iter().map(|input| input.parse().unwrap()).collect();
        config
    };
    let every = |config: &Config| interval_of(config, Host::Program);
    for inputs in [&[][..], &["file:a.ndjson"], &["file:a.ndjson", "file:b.ndjson?speed=1"]] {
        assert_eq!(every(&config(inputs)), None, "{inputs:?}");
        assert_eq!(interval_of(&config(inputs), Host::Embedded), Some(MINUTE), "{inputs:?}");
    }
    for input in ["stdin", "host", "unix:/tmp/a.sock", "udp:127.0.0.1:9"] {
        assert_eq!(every(&config(&["file:a.ndjson", input])), Some(MINUTE), "{input}");
    }
    assert_eq!(every(&Config { once: true, ..config(&["stdin"]) }), None);
    let mut off = config(&["stdin"]);
    off.own.every = Every::NEVER;
    assert_eq!(every(&off), None);
}

/// Guards: a robot that is switched off but for its agent, without a network, must not fill its spool.
#[test]
fn a_silent_robot_without_a_gateway_records_none() {
    let waiting = Stage::Waiting { until: MonoTime(0) };
    for (stage, fault, others, worth) in [
        (Stage::Up, None, false, true),
        (Stage::Up, Some("it failed"), false, true),
        (waiting, None, true, true),
        (waiting, None, false, false),
        (Stage::Connecting, None, false, false),
        (waiting, Some("it failed"), true, false),
    ] {
        assert_eq!(is_worth_it(&report(stage, fault), others), worth, "{stage:?} {fault:?} {others}");
    }
}

#[test]
fn a_day_of_rows_is_a_few_hundred_kilobytes_even_if_nothing_shares_their_batches() {
    let row = row::of(&known());
    let declarations = Declarations::new(declarations(MINUTE));
    let mut schema = SchemaBuilder::new();
    let define = |name: &ChannelName| declarations.define(name, None);
    let fields: Vec<_> = row
        .fields
        .iter()
        .map(|(name, value)| (schema.try_add(define(name)).unwrap(), value.clone()))
        .collect();
    let mut batch = BatchBuilder::new();
    batch.push_row(WallTime(1_790_000_000_000_000_000), StampedBy::Agent, &fields).unwrap();
    let clock = Reading { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: true };
    let schema: Arc<_> = schema.schema();
    let bytes: usize = batch.finish(&schema, clock).iter().map(|batch| batch.bytes.len()).sum();
    let (rows, samples) = (86_400 / 60, fields.len() * 86_400 / 60);
    assert!(
        bytes * rows < 300_000,
        "{bytes} bytes a row, {samples} samples and {} bytes a day",
        bytes * rows
    );
}
