//! Bytes on the link for each sample: what the agent's batcher makes of each log at recorded pace, in virtual time,
//! beside gzipped JSON; and what really crosses the loopback interface at full speed.

use std::{collections::HashSet, io::Write as _, time::Duration};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use muster_agent::batcher::{Batcher, BatcherConfig, Closed, Manner, Stamped};
use muster_protocol::{
    id::{Epoch, Lane, SchemaHash, Seq},
    message::{Message, Numbered, NumberedHead, SchemaBody},
    ndjson::{Line, Parser},
    sample::Row,
    time::{MonoTime, WallTime},
};

use super::{
    clock,
    gateway::Via,
    logs::{Log, Logs},
    replay::{self, Load},
    stats::digits,
    table::Table,
};

/// Measures all logs.
pub(super) fn measure(logs: &Logs) -> anyhow::Result<String> {
    let mut text = encoded(logs)?;
    text.push_str(&on_loopback(logs)?);
    Ok(text)
}

/// Frames of a log, and the same rows as gzipped JSON, at one linger.
#[derive(Clone, Copy, Debug, Default)]
struct Windowed {
    frames: u64,
    batches: u64,
    gzip: u64,
}

fn encoded(logs: &Logs) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "log, bytes/sample",
        "samples",
        "Muster 1 s",
        "gzip JSON 1 s",
        "Muster 500 ms",
        "gzip JSON 500 ms",
        "gzip JSON whole file",
        "Muster / gzip at 1 s",
    ]);
    for log in logs.all() {
        let second = windowed(log, Duration::from_secs(1))?;
        let half = windowed(log, Duration::from_millis(500))?;
        let whole = gzip(&log.text)?;
        let each = |bytes: u64| digits(bytes as f64 / log.samples as f64);
        table.row([
            log.name.to_owned(),
            log.samples.to_string(),
            format!("{} ({} batches)", each(second.frames), second.batches),
            each(second.gzip),
            format!("{} ({} batches)", each(half.frames), half.batches),
            each(half.gzip),
            each(whole),
            digits(second.frames as f64 / second.gzip as f64),
        ]);
    }
    Ok(table.finish())
}

fn windowed(log: &Log, linger: Duration) -> anyhow::Result<Windowed> {
    let mut parser = Parser::default();
    let mut frames = Frames::new(linger);
    let mut json = JsonWindows { linger, ..JsonWindows::default() };
    for line in log.lines() {
        if let Line::Row(row) = parser.parse_line(line)? {
            let t = row.t.context("the log's lines have times")?;
            frames.push(row, t)?;
            json.push(line, t)?;
        }
    }
    json.close()?;
    let (frames, batches) = frames.finish();
    Ok(Windowed { frames, batches, gzip: json.bytes })
}

/// Counts the frames that an agent would send, if it recorded each row at the row's own time.
struct Frames {
    batcher: Batcher<()>,
    start: Option<WallTime>,
    now: MonoTime,
    schemas: HashSet<SchemaHash>,
    bytes: u64,
    batches: u64,
}

impl Frames {
    fn new(linger: Duration) -> Self {
        let config = BatcherConfig { linger_live: linger, ..BatcherConfig::default() };
        let batcher = Batcher::new(config);
        let now = MonoTime::default();
        Self { batcher, start: None, now, schemas: HashSet::new(), bytes: 0, batches: 0 }
    }

    fn push(&mut self, row: Row, t: WallTime) -> anyhow::Result<()> {
        let elapsed = t.nanos_since(*self.start.get_or_insert(t));
        let now = MonoTime::default() + Duration::from_nanos(u64::try_from(elapsed).unwrap_or(0));
        self.now = self.now.max(now);
        self.count_closed();
        self.batcher.push(Stamped::new(row, t), Manner::Wait, &(), self.now)?;
        Ok(())
    }

    fn finish(mut self) -> (u64, u64) {
        self.batcher.close_all();
        self.count_closed();
        (self.bytes, self.batches)
    }

    fn count_closed(&mut self) {
        while let Some(closed) = self.batcher.poll_batch(self.now, clock::reading()) {
            self.count(closed);
        }
    }

    fn count(&mut self, closed: Closed<()>) {
        self.batches += 1;
        let epoch = Epoch { start: 1, random: 0x5eed_5eed_5eed_5eed };
        let head = NumberedHead { epoch, lane: Lane::Live, seq: Seq(self.batches) };
        if self.schemas.insert(closed.schema.hash()) {
            let payload = closed.schema.encoded().clone();
            self.bytes += Message::Schema(SchemaBody { payload }).to_frame().encode().len() as u64;
        }
        let numbered = Numbered { head, payload: closed.encoded.bytes };
        self.bytes += Message::Batch(numbered).to_frame().encode().len() as u64;
    }
}

/// The same lines, gzipped for themselves once a window is over.
#[derive(Debug, Default)]
struct JsonWindows {
    linger: Duration,
    opened: Option<WallTime>,
    lines: Vec<u8>,
    bytes: u64,
}

impl JsonWindows {
    fn push(&mut self, line: &[u8], t: WallTime) -> anyhow::Result<()> {
        let opened = *self.opened.get_or_insert(t);
        if u128::try_from(t.nanos_since(opened)).is_ok_and(|open| open >= self.linger.as_nanos()) {
            self.close()?;
            self.opened = Some(t);
        }
        self.lines.extend_from_slice(line);
        Ok(())
    }

    fn close(&mut self) -> anyhow::Result<()> {
        if !self.lines.is_empty() {
            self.bytes += gzip(&self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }
}

fn gzip(bytes: &[u8]) -> anyhow::Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len() as u64)
}

/// What crosses the loopback interface, both ways, with handshake, acknowledgements and headers down to Ethernet's.
fn on_loopback(logs: &Logs) -> anyhow::Result<String> {
    let columns = ["full speed, bytes/sample", "via", "encoded batches", "on loopback", "overhead"];
    let mut table = Table::new(&columns);
    let folder = tempfile::tempdir()?;
    for log in logs.all() {
        let file = log.repeat(1, folder.path())?;
        for via in Via::ALL {
            let run = replay::run(Load { file: &file, samples: log.samples, via })?;
            let each = |bytes: u64| digits(bytes as f64 / run.samples as f64);
            let overhead = (run.loopback as f64 / run.encoded as f64 - 1.0) * 100.0;
            table.row([
                log.name.to_owned(),
                via.name().to_owned(),
                each(run.encoded),
                each(run.loopback),
                format!("{overhead:.1} %"),
            ]);
        }
    }
    Ok(table.finish())
}
