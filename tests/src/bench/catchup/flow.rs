//! A robot's live data: a log at its recorded pace or faster, over and over, stamped with the time at which it is sent,
//! and numbered probes among it.

use std::{
    io::{BufWriter, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{super::logs::Log, clock};
use crate::patience::wait_for;

/// The channels of the probes.
pub(super) const LIVE: &str = "probe.live";
pub(super) const URGENT: &str = "probe.urgent";

/// Data that flow.
#[derive(Debug)]
pub(super) struct Flow {
    stop: SyncSender<()>,
    thread: JoinHandle<anyhow::Result<Sent>>,
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) samples: u64,
    /// `t` of each probe, by its number.
    pub(super) live: Vec<i64>,
    pub(super) urgent: Vec<i64>,
}

/// A row of the log: when it comes after the first, and what it says.
#[derive(Debug)]
pub(super) struct Row {
    after: Duration,
    line: Value,
    samples: u64,
}

impl Flow {
    /// Starts to send a log's rows to an agent's socket, so many times as fast as recorded.
    pub(super) fn start(socket: &Path, rows: Vec<Row>, speed: u32) -> Self {
        let stream = wait_for("the agent takes connections", || UnixStream::connect(socket).ok());
        let (stop, stopped) = sync_channel(1);
        let thread = thread::spawn(move || send(stream, &rows, span(&rows) / speed, (speed, stopped)));
        Self { stop, thread }
    }

    /// Stops, and returns what was sent.
    pub(super) fn stop(self) -> anyhow::Result<Sent> {
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("the flow of live data panicked"))?
    }
}

/// Returns how long a log takes.
pub(super) fn span(rows: &[Row]) -> Duration {
    rows.last().map_or(Duration::ZERO, |row| row.after)
}

/// Reads a log's rows, which takes longer than some backlogs need to get through.
pub(super) fn rows(log: &Log) -> Vec<Row> {
    let rows: Vec<Value> = log.lines().filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let t = |row: &Value| row["t"].as_i64().unwrap_or(0);
    let first = rows.first().map_or(0, t);
    let row = |row: Value| Row {
        after: Duration::from_nanos(t(&row).saturating_sub(first).unsigned_abs()),
        samples: leaves(&row["v"]),
        line: row,
    };
    rows.into_iter().map(row).collect()
}

fn leaves(value: &Value) -> u64 {
    match value {
        Value::Object(members) => members.values().map(leaves).sum(),
        Value::Array(elements) => elements.iter().map(leaves).sum(),
        Value::Null => 0,
        _ => 1,
    }
}

fn send(
    stream: UnixStream,
    rows: &[Row],
    round: Duration,
    (speed, stopped): (u32, Receiver<()>),
) -> anyhow::Result<Sent> {
    let mut out = BufWriter::new(stream);
    let (mut sent, mut next) = (Sent::default(), 0);
    let start = clock::now();
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PACE) {
        let (passed, t) = (clock::since(start), clock::reading().wall.0);
        while let Some(row) = rows.get(next % rows.len()) {
            let rounds = u32::try_from(next / rows.len()).context("few rounds")?;
            if round * rounds + row.after / speed > passed {
                break;
            }
            let mut line = row.line.clone();
            line["t"] = t.into();
            writeln!(out, "{line}")?;
            sent.samples += row.samples;
            next += 1;
        }
        if passed > LIVE_EVERY * u32::try_from(sent.live.len())? {
            probe(&mut out, LIVE, &mut sent.live, t)?;
            sent.samples += 1;
        }
        if passed > URGENT_EVERY * u32::try_from(sent.urgent.len())? {
            probe(&mut out, URGENT, &mut sent.urgent, t)?;
            sent.samples += 1;
        }
        out.flush()?;
    }
    Ok(sent)
}

fn probe(
    out: &mut BufWriter<UnixStream>,
    channel: &'static str,
    sent: &mut Vec<i64>,
    t: i64,
) -> anyhow::Result<()> {
    let lane = if channel == URGENT { "urgent" } else { "live" };
    writeln!(out, "{}", json!({"ch": channel, "t": t, "v": sent.len(), "lane": lane}))?;
    sent.push(t);
    Ok(())
}

/// How finely the pace is kept.
const PACE: Duration = Duration::from_millis(10);

const LIVE_EVERY: Duration = Duration::from_millis(100);
const URGENT_EVERY: Duration = Duration::from_millis(500);
