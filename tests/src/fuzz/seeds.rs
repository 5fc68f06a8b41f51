//! First inputs for the fuzzers: what the programs themselves would say, so that a fuzzer starts behind the headers.

use std::{
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use muster_agent::spool::{Entry, Spool, SpoolConfig, fake_disk::FakeDisk};
use muster_protocol::{
    batch::BatchBuilder,
    frame::{Frame, Kind},
    id::{ChannelName, Epoch, InstanceId, Lane, LogId, Seq},
    label::Labels,
    loss::{Loss, LossReason, LostSeq},
    message::{
        Ack, Bye, ByeReason, Clock, DrainedLane, Heartbeat, HeartbeatReply, HeldLane, Hello, LaneRanges,
        Message, NeedSchema, Numbered, NumberedHead, Refuse, RefuseReason, SchemaBody, SeqRange, Welcome,
        Window,
    },
    ndjson::{Line, Parser},
    sample::{Row, StampedBy, Value},
    schema::{ChannelDef, Schema},
    settings::{Program, Settings},
    time::{MonoTime, WallTime},
};

use super::{
    columns::{KNOWN_CHANNELS, known_schema},
    spool::EPOCHS,
};
use crate::logs;

/// A first input: its target, its name and its bytes.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The name of the target.
    pub target: &'static str,
    /// The name of the file.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Writes all seeds into folders of their targets below `corpus`.
pub fn write(corpus: &Path) -> anyhow::Result<usize> {
    let seeds = all();
    for Seed { target, name, bytes } in &seeds {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let path = folder.join(format!("seed-{name}"));
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(seeds.len())
}

/// Returns the seeds. Those of robot logs only where the logs are at hand.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        seeds.push(Seed { target, name: name.to_owned(), bytes });
    };
    for message in messages() {
        let frame = message.to_frame();
        let name = format!("{:?}", frame.kind).to_lowercase();
        add("frame", &name, [&[0, 7][..], &frame.encode()].concat());
        add("conversation", &format!("frame-{name}"), [&[2, 20][..], &exchange(5, &frame)].concat());
    }
    let all: Vec<u8> = messages().iter().flat_map(|message| message.to_frame().encode()).collect();
    add("frame", "all", [&[1, 20][..], &all].concat());
    add("conversation", "old", [&[1, 3][..], &exchange(4, &messages()[0].to_frame())].concat());
    add("columns", "schema", [&[1][..], known_schema().encoded()].concat());
    for (name, log) in rows_of_logs() {
        for (number, batch) in batches(&log).into_iter().enumerate() {
            add("columns", &format!("batch-{name}-{number}"), [&[0][..], &batch].concat());
        }
        add("columns", &format!("schema-{name}"), [&[1][..], schema_of(&log).encoded()].concat());
    }
    for (number, column) in columns().into_iter().enumerate() {
        add("columns", &format!("column-{number}"), column);
    }
    for (number, line) in LINES.iter().enumerate() {
        add("ndjson", &format!("line-{number}"), [&[200][..], line.as_bytes()].concat());
    }
    add("ndjson", "lines", [&[5][..], LINES.join("\n").as_bytes()].concat());
    add("ndjson", "array", [&[200][..], format!("[{}]", LINES[..4].join(",")).as_bytes()].concat());
    for (number, names) in NAMES.iter().enumerate() {
        add("topics", &format!("{number}"), names.as_bytes().to_vec());
    }
    add("settings", "agent", [&b"\0"[..], printed(&muster_agent::config::PROGRAM).as_bytes()].concat());
    add("settings", "gateway", [&b"\x01"[..], printed(&muster_gateway::config::PROGRAM).as_bytes()].concat());
    for (number, (choice, text)) in SETTINGS.iter().enumerate() {
        add("settings", &format!("{number}"), [&[*choice][..], text.as_bytes()].concat());
    }
    for (number, text) in EXPRESSIONS.iter().enumerate() {
        add("expressions", &format!("{number}"), text.as_bytes().to_vec());
    }
    for (number, steps) in SESSIONS.iter().enumerate() {
        add("session", &format!("{number}"), steps.to_vec());
    }
    for (name, bytes) in spools() {
        add("spool", name, bytes);
    }
    seeds
}

fn clock() -> Clock {
    Clock { boot: 7, mono: MonoTime(300), wall: WallTime(1000), synchronised: true }
}

/// One message of each kind.
fn messages() -> Vec<Message> {
    let epoch = Epoch { start: 1, random: 0x0102 };
    let head = |lane, seq| NumberedHead { epoch, lane, seq: Seq(seq) };
    let range = |first, end| SeqRange { first: Seq(first), end: Seq(end) };
    let (first, next, gone) = (Seq(1), Seq(9), vec![range(3, 5)]);
    let held = vec![HeldLane { epoch, lane: Lane::Live, first, next, samples: 20, spooled: 70, gone }];
    let lanes = vec![LaneRanges { epoch, lane: Lane::Live, ranges: vec![range(1, 2), range(4, 9)] }];
    let rows: Vec<Row> = LINES.iter().filter_map(|line| row(line.as_bytes())).collect();
    let schema = known_schema();
    let batch = batches(&rows).swap_remove(0);
    let loss = Loss {
        epoch,
        lane: Lane::Bulk,
        lost: vec![LostSeq { seq: Seq(4), samples: 10 }, LostSeq { seq: Seq(6), samples: 1 }],
        unnumbered: 3,
        t_min: Some(WallTime(1000)),
        t_max: Some(WallTime(1015)),
        reason: LossReason::SpoolFull,
    };
    let robot = "f/r".parse().expect("a robot");
    let drained = vec![DrainedLane { epoch, lane: Lane::Bulk, next: Seq(4), spooled: 30 }];
    let version = "0.1.0".to_owned();
    vec![
        Message::Hello(Hello {
            robot,
            instance: InstanceId([1; 16]),
            version,
            held: held.clone(),
            drained,
            clock: clock(),
            labels: labels(),
        }),
        Message::Welcome(Welcome {
            instance: InstanceId([2; 16]),
            log: LogId([3; 16]),
            session: 5,
            window: Window { bytes: 1 << 20, batches: 256 },
            have: lanes.clone(),
            schemas: vec![schema.hash()],
            now: WallTime(-1),
        }),
        Message::Heartbeat(Heartbeat { held, clock: clock() }),
        Message::HeartbeatReply(HeartbeatReply { echo: MonoTime(300), now: WallTime(1000) }),
        Message::Schema(SchemaBody { payload: schema.encoded().clone() }),
        Message::Batch(Numbered { head: head(Lane::Live, 2), payload: batch.into() }),
        Message::NeedSchema(NeedSchema { batch: head(Lane::Live, 2), hash: schema.hash() }),
        Message::Loss(Numbered::from_loss(head(Lane::Urgent, 1), &loss)),
        Message::Ack(Ack { lanes }),
        Message::Refuse(Refuse {
            batch: head(Lane::Live, 3),
            reason: RefuseReason::Busy,
            retry_after_ms: Some(100),
        }),
        Message::Bye(Bye { reason: ByeReason::Shutdown, retry_after_ms: 10 }),
    ]
}

fn labels() -> Labels {
    let site = ("site".parse().expect("a key"), "berlin".parse().expect("a value"));
    Labels::new([site].into()).expect("one label")
}

/// What an MQTT client says after CONNECT that subscribes, says a frame and JSON, and goes.
fn exchange(version: u8, frame: &Frame) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let hello = messages().swap_remove(0).to_frame().encode();
    let control = if frame.kind == Kind::Hello { "muster/1/f/r/up/control" } else { "muster/1/f/r/up/live" };
    let publish = |first: u8, id: &[u8], name: &str, payload: &[u8]| {
        packet(first, &[&text(name), id, properties, payload].concat())
    };
    [
        packet(0x82, &[&[0, 9][..], properties, &text("muster/1/f/r/down"), &[1]].concat()),
        publish(0x32, &[0, 1], "muster/1/f/r/up/control", &hello),
        packet(0x40, &[0, 1]),
        publish(0x32, &[0, 2], control, &frame.encode()),
        publish(0x30, &[], "muster/1/f/r/json", br#"{"ch":"a","v":1}"#),
        publish(0x32, &[0, 3], "muster/1/f/r2/json", b"{}"),
        packet(0xa2, &[&[0, 10][..], properties, &text("muster/1/f/r/down")].concat()),
        vec![0xc0, 0, 0xe0, 0],
    ]
    .concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    while length > 0x7f {
        out.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
    out.extend_from_slice(body);
    out
}

fn text(text: &str) -> Vec<u8> {
    let bytes = u16::try_from(text.len()).expect("a topic");
    [&bytes.to_be_bytes()[..], text.as_bytes()].concat()
}

fn row(line: &[u8]) -> Option<Row> {
    match Parser::default().parse_line(line) {
        Ok(Line::Row(row)) => Some(row),
        _ => None,
    }
}

/// The first rows of each robot log.
fn rows_of_logs() -> Vec<(String, Vec<Row>)> {
    let rows_of = |path: &PathBuf| {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let name = name.split('.').next().unwrap_or_default().to_owned();
        let lines = logs::open(path).lines().map_while(Result::ok).take(LOG_ROWS);
        (name, lines.filter_map(|line| row(line.as_bytes())).collect())
    };
    logs::recorded().iter().map(rows_of).collect()
}

fn schema_of(rows: &[Row]) -> Schema {
    let mut names: Vec<ChannelName> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.fields) {
        if !names.contains(name) && names.len() < KNOWN_CHANNELS as usize {
            names.push(name.clone());
        }
    }
    Schema::new(names.into_iter().map(ChannelDef::named).collect()).expect("few channels")
}

/// Encodes rows with the schema that the target knows, not compressed, because no fuzzer looks into what is.
fn batches(rows: &[Row]) -> Vec<Vec<u8>> {
    let mut names: Vec<&ChannelName> = Vec::new();
    let mut builder = BatchBuilder::new();
    for row in rows {
        let mut index = |name| {
            let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            u32::try_from(at).expect("few channels") % KNOWN_CHANNELS
        };
        let fields: Vec<(u32, Value)> =
            row.fields.iter().map(|(name, value)| (index(name), value.clone())).collect();
        let t = row.t.unwrap_or(WallTime(1));
        builder.push_row(t, StampedBy::Input, &fields).expect("the first rows of a log are small");
    }
    let batches = builder.finish(&known_schema(), clock());
    batches.iter().map(|batch| stored(&batch.bytes)).collect()
}

/// Returns a batch with its body as it was before compression.
fn stored(batch: &[u8]) -> Vec<u8> {
    let varint_end = |at: usize| at + 1 + batch[at..].iter().take_while(|byte| **byte > 0x7f).count();
    let counts_end = varint_end(varint_end(1 + 16)); // version, schema; rows, samples
    let head_end = varint_end(varint_end(counts_end + 8) + 8) + 8 + 1; // times; boot, clocks, flags
    let (compression, length_end) = (batch[head_end], varint_end(head_end + 1));
    if compression == 0 {
        return batch.to_vec();
    }
    let body = zstd::bulk::decompress(&batch[length_end..], BODY_BYTES_MAX).expect("it was packed here");
    [&batch[..head_end], &[0], &batch[head_end + 1..length_end], &body].concat()
}

/// A small column of each type and codec, right or not.
fn columns() -> Vec<Vec<u8>> {
    let column = |kind: u8, codec: u8| {
        let bytes: Vec<u8> = (0..48).map(|n: u8| n.wrapping_mul(codec) % 7).collect();
        [&[2, 7, 0, kind << 5 | codec, 48][..], &bytes].concat()
    };
    (0..5).flat_map(|kind| (0..7).map(move |codec| column(kind, codec))).collect()
}

fn printed(program: &'static Program) -> String {
    Settings::defaults(program).print()
}

/// The folders of spools: of a run that ended, of one that was killed, and of the fixture that every version reads.
fn spools() -> Vec<(&'static str, Vec<u8>)> {
    let closed = spool_of(|spool| drop(spool.close().expect("this disk never fails")));
    let killed = spool_of(drop);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/fixtures/spool-v1");
    let mut kept = Vec::new();
    for lane in Lane::ALL {
        for entry in fs::read_dir(fixture.join(lane.as_str())).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = fs::read(entry.path()).expect("the fixture can be read");
            kept.push((format!("{lane}/{name}"), bytes));
        }
    }
    vec![("closed", folder(1, &closed)), ("killed", folder(3, &killed)), ("fixture", folder(3, &kept))]
}

fn spool_of(end: impl FnOnce(Spool)) -> Vec<(String, Vec<u8>)> {
    let disk = FakeDisk::new();
    let robot = "fleet/robot".parse().expect("a robot");
    let config = SpoolConfig { limit_bytes: 1 << 20, segment_bytes: 1 << 16, robot };
    let opened = Spool::open(Arc::new(disk.clone()), config, EPOCHS[0].random);
    let (mut spool, _) = opened.expect("an empty disk");
    let schema = Schema::new(vec![ChannelDef::named(ChannelName::new("a").expect("a name"))]).expect("small");
    let schema = Arc::new(schema);
    for lane in [Lane::Live, Lane::Urgent] {
        for samples in 1..4 {
            let bytes = Bytes::from_static(b"a small batch");
            let (t_min, t_max) = (WallTime(1), WallTime(2));
            let entry = Entry::Batch { bytes, samples, t_min, t_max, schema: Arc::clone(&schema) };
            spool.append(lane, &entry).expect("there is room");
            spool.sync().expect("this disk never fails");
        }
    }
    end(spool);
    disk.files().into_iter().collect()
}

/// Packs files as the spool's target takes them apart.
fn folder(choice: u8, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![choice];
    for (path, bytes) in files {
        let lane = Lane::ALL.into_iter().find(|lane| path.starts_with(lane.as_str()));
        let epoch = EPOCHS.iter().position(|epoch| path.contains(&format!("/{epoch}-"))).unwrap_or(0);
        let epoch = u8::try_from(epoch).expect("eight epochs");
        out.push(lane.map_or(3, |lane| u8::try_from(lane.index()).expect("three lanes")) | epoch << 2);
        out.push(u8::from(path == "DRAINED"));
        out.extend_from_slice(&u16::try_from(bytes.len()).expect("small files").to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

const LINES: &[&str] = &[
    r#"{"t": 1432235498025043042, "ch": "battery", "v": {"soc": 0.81, "cells": [3.7, 3.8], "charging": false}}"#,
    r#"{"t":"2015-05-21T19:11:38.025043042Z","ch":"arm","lane":"urgent","unit":"rad","v":-0}"#,
    r#"{"ch":"état \ud83e\udd16","v":["a\tb",true,null,1e308,-0.0,9223372036854775808,[[{}]]]}"#,
    r#"{"v":{"a":1,"a":2},"ch":"twice","other":[{"x":1}]}"#,
    r#"{"sync": 17}"#,
    r#"{"sync":"id","ch":"a"}"#,
    r#"{"ch":"deep","v":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}"#,
    "",
    "not json",
];

const NAMES: &[&str] = &[
    "muster/1/warehouse/r-17/down\0muster/1/warehouse/r-17/+",
    "muster/1/f/r/up/live\0muster/1/f/r/#",
    "muster/1/f/r/json\0$share/group/muster/1/f/r/down",
    "battery.*[?]\0battery.cells[0]",
    "2013-10-11T21:11:32.966203289+02:00\0urgent",
    "*a*b?c*\0aabbbcc",
];

/// A Hello of an empty lane, batches, commits; a Hello of what was released before, losses.
const SESSIONS: &[&[u8]] = &[
    &[0, 1, 1, 0, 0, 0, 0, 0, 0, 2, 1, 0, 5, 2, 1, 1, 5, 2, 1, 0, 5, 5, 5, 9, 2, 1, 0, 5],
    &[
        0, 2, 1, 9, 20, 90, 40, 0, 0, 0, 3, 30, 20, 0, 1, 4, 7, 8, 5, 2, 1, 9, 5, 4, 0, 0, 1, 0, 2, 9, 3, 10,
        4, 0, 5, 8, 7,
    ],
];

const EXPRESSIONS: &[&str] = &[
    "link.up && value(\"battery.soc\") < 0.2 && labels.site == \"berlin\"",
    "freshness(\"pose\") == \"stale\" || age_ms(\"pose.x\") > 30000",
    "known(\"mode\") && value(\"mode\").startsWith(\"au\") && size(value(\"mode\")) == 4",
    "health.reasons.exists(why, why.contains(\"link\")) && !has(labels.site)",
    "labels.all(key, labels[key] != \"\") && labels[\"site/floor\"] == null",
    "[1, 2, 3].filter(n, n > 1).map(n, n * 2).exists_one(n, n == value(\"a\"))",
    "battery.charge == null ? value(\"on\") : battery.charging",
    "double(samples) / 2.0 > 1.0 && int(\"7\") % 2 == 1 && string(3) + name in [\"3r1\"]",
    "value(\"least\") - 1 < 0 || -value(\"least\") > 0 || value(\"least\") / -1 == 0",
    "value(\"long\").contains(\"long\") && {\"a\": [1, 2u]}.a[0] == 1 // and a remark",
    "lost > 0 || link == \"up\" || id.endsWith('r1') || b\"x\" == value(\"raw\") || r\"\\\" == fleet",
];

/// Choice and text.
const SETTINGS: &[(u8, &str)] = &[
    (
        0,
        "robot = \"f/r\"\ngateway = [\"quic://[::1]:4443\", \"mqtts://host:8883\"]\ninput = [\"stdin\", \"udp:127.0.0.1:9\"]\n[spool]\nlimit = \"2 GiB\"\n[[channel]]\nmatch = \"a.*\"\nlane = \"bulk\"\ninterval = \"1s\"\n",
    ),
    (
        0,
        "robot = \"f/r\"\ninput = [\"file:/a?speed=1.5&shift=now\", \"unix:/b\", \"host\"]\n[link]\nbackoff_min = \"9d\"\n",
    ),
    (
        1,
        "http = \"0.0.0.0:1\"\nmqtt = \"none\"\ninsecure_listen = true\n[store]\npartition_size = \"128MiB\"\n",
    ),
    (2, "ROBOT=f/r\nINPUT=stdin,host\nCHANNEL=[{match = \"*\"}]\nSPOOL__LIMIT=1GiB\nONCE=true"),
    (3, "HTTP=none\nWINDOW__BATCHES=7\nDATA_DIR=/x"),
];

/// Rows of each log. More would only make the inputs longer.
const LOG_ROWS: usize = 12;

const BODY_BYTES_MAX: usize = 1024 * 1024;
