//! What one core parses, encodes and decodes, without programs, disks or links.

use std::time::Duration;

use anyhow::ensure;
use muster_protocol::{
    batch::{self, BatchBuilder, EncodedBatch},
    ndjson::Parser,
    sample::{Row, StampedBy, Value},
    schema::{ChannelDef, Schema, SchemaBuilder},
    time::WallTime,
};

use super::{
    clock,
    logs::{Log, Logs},
    stats::{digits, per_second, si, spread},
    table::Table,
};

/// A row as the batcher gives it to the encoder.
type Indexed = (WallTime, Vec<(u32, Value)>);

/// A log as batches.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) schema: std::sync::Arc<Schema>,
    pub(super) batches: Vec<EncodedBatch>,
}

impl Encoded {
    /// Returns the bytes of all batches.
    pub(super) fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes.len() as u64).sum()
    }
}

/// Measures all logs.
pub(super) fn measure(logs: &Logs) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "one thread",
        "NDJSON MB/s",
        "NDJSON lines/s",
        "parsed samples/s",
        "encoded samples/s",
        "decoded samples/s",
        "bytes/sample, full batches",
    ]);
    for log in logs.all() {
        table.row(row(log)?);
    }
    Ok(table.finish())
}

/// Encodes a log in batches as full as they may be.
pub(super) fn encode(log: &Log) -> anyhow::Result<Encoded> {
    let (schema, rows) = indexed(log.rows()?)?;
    let batches = encode_rows(&schema, &rows)?;
    Ok(Encoded { schema, batches })
}

fn row(log: &Log) -> anyhow::Result<Vec<String>> {
    let parse = times(|| {
        let mut parser = Parser::default();
        log.lines().try_for_each(|line| parser.parse_line(line).map(drop))?;
        Ok(())
    })?;
    let (schema, rows) = indexed(log.rows()?)?;
    let encode = times(|| encode_rows(&schema, &rows).map(drop))?;
    let batches = encode_rows(&schema, &rows)?;
    let decode = times(|| {
        let mut samples = 0;
        for batch in &batches {
            samples += batch::decode(&batch.bytes, &schema)?.samples().count() as u64;
        }
        ensure!(samples == log.samples, "{} samples went in and {samples} came out", log.samples);
        Ok(())
    })?;
    let lines = log.lines().count() as u64;
    let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    let rate = |spans: &[Duration], count: u64, scale: f64, write: fn(f64) -> String| {
        let rates: Vec<f64> = spans.iter().map(|span| per_second(count, *span) / scale).collect();
        spread(&rates, write)
    };
    Ok(vec![
        log.name.to_owned(),
        rate(&parse, log.text.len() as u64, 1e6, digits),
        rate(&parse, lines, 1.0, si),
        rate(&parse, log.samples, 1.0, si),
        rate(&encode, log.samples, 1.0, si),
        rate(&decode, log.samples, 1.0, si),
        digits(bytes as f64 / log.samples as f64),
    ])
}

fn indexed(rows: Vec<Row>) -> anyhow::Result<(std::sync::Arc<Schema>, Vec<Indexed>)> {
    let mut schema = SchemaBuilder::new();
    let mut indexed = Vec::with_capacity(rows.len());
    for row in rows {
        let mut fields = Vec::with_capacity(row.fields.len());
        for (name, value) in row.fields {
            let index = match schema.index_of(&name) {
                Some(index) => index,
                None => schema.try_add(ChannelDef::named(name))?,
            };
            fields.push((index, value));
        }
        indexed.push((row.t.unwrap_or(WallTime(0)), fields));
    }
    Ok((schema.schema(), indexed))
}

fn encode_rows(schema: &Schema, rows: &[Indexed]) -> anyhow::Result<Vec<EncodedBatch>> {
    let mut batches = Vec::new();
    let mut open = BatchBuilder::new();
    for (t, fields) in rows {
        open.push_row(*t, StampedBy::Input, fields)?;
        if open.is_full() {
            batches.extend(std::mem::take(&mut open).finish(schema, clock::reading()));
        }
    }
    batches.extend(open.finish(schema, clock::reading()));
    Ok(batches)
}

/// Does it once to warm up and then some times.
fn times(mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<Duration>> {
    once()?;
    let timed = (0..RUNS).map(|_| {
        let start = clock::now();
        once().map(|()| clock::since(start))
    });
    timed.collect()
}

const RUNS: usize = 5;
