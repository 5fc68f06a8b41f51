//! `cat`: every sample that is still in the folder as NDJSON, in the form that inputs take: so what a gateway never got
//! can be put in elsewhere. Some of it may have been delivered: acknowledgements are not in the spool.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use bytes::Bytes;
use muster_protocol::{
    base64,
    batch::{self, DecodedBatch},
    column::ValueRef,
    id::{Lane, SchemaHash},
    schema::Schema,
};

use crate::spool::inspect::{RecordStanding, SegmentReport};

/// Schemas that are remembered, for batches whose own segment holds a damaged copy.
const SCHEMAS_MAX: usize = 64;

/// Prints samples.
#[derive(Default)]
pub(super) struct Printer {
    schemas: BTreeMap<SchemaHash, Schema>,
}

impl Printer {
    /// Prints the samples of a segment. Returns how many of its batches could not be decoded.
    pub(super) fn print(&mut self, segment: &SegmentReport, out: &mut dyn Write) -> io::Result<u64> {
        let mut failed = 0;
        let batches =
            segment.records.iter().filter(|record| matches!(record.standing, RecordStanding::Batch));
        for record in batches {
            match segment.batch(record.seq).and_then(|(payload, schema)| self.decode(&payload, schema)) {
                Some((decoded, schema)) => print_batch(segment.lane, &decoded, &schema, out)?,
                None => failed += 1,
            }
        }
        Ok(failed)
    }

    fn decode(&mut self, payload: &Bytes, encoded: Option<Bytes>) -> Option<(DecodedBatch, Schema)> {
        if let Some(schema) = encoded.and_then(|encoded| Schema::decode(&encoded).ok()) {
            if self.schemas.len() >= SCHEMAS_MAX {
                self.schemas.clear();
            }
            self.schemas.insert(schema.hash(), schema);
        }
        self.schemas.values().find_map(|schema| {
            let decoded = batch::decode(payload, schema).ok()?;
            Some((decoded, schema.clone()))
        })
    }
}

fn print_batch(lane: Lane, batch: &DecodedBatch, schema: &Schema, out: &mut dyn Write) -> io::Result<()> {
    for sample in batch.samples() {
        let Some(channel) = schema.channels().get(sample.channel as usize) else { continue };
        write!(out, "{{\"t\":{},\"ch\":", sample.t.0)?;
        serde_json::to_writer(&mut *out, channel.name.as_str())?;
        print_value(sample.value, out)?;
        if lane != Lane::Live {
            write!(out, ",\"lane\":\"{lane}\"")?;
        }
        if let Some(unit) = &channel.unit {
            out.write_all(b",\"unit\":")?;
            serde_json::to_writer(&mut *out, unit)?;
        }
        out.write_all(b"}\n")?;
    }
    Ok(())
}

/// Prints `v`, and `f` or `b` where JSON has no such value, as the gateway's API does.
fn print_value(value: ValueRef<'_>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b",\"v\":")?;
    match value {
        ValueRef::Bool(value) => write!(out, "{value}"),
        ValueRef::Int(value) => write!(out, "{value}"),
        ValueRef::Text(value) => Ok(serde_json::to_writer(out, value)?),
        ValueRef::Float(value) if value.is_nan() => out.write_all(b"null,\"f\":\"NaN\""),
        ValueRef::Float(f64::INFINITY) => out.write_all(b"null,\"f\":\"Infinity\""),
        ValueRef::Float(f64::NEG_INFINITY) => out.write_all(b"null,\"f\":\"-Infinity\""),
        ValueRef::Float(value) => Ok(serde_json::to_writer(out, &value)?),
        ValueRef::Bytes(bytes) => {
            let mut text = b"null,\"b\":\"".to_vec();
            base64::encode(bytes, &mut text);
            text.push(b'"');
            out.write_all(&text)
        }
    }
}
