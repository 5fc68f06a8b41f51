//! Batches, their columns, and schemas.
//!
//! Input: which of three, then a batch of the schema that is known here, a schema, or one column: its number of rows
//! and its bytes.

use bytes::Bytes;
use muster_protocol::{
    batch::{self, BatchBuilder, DecodedBatch, EncodedBatch, RowError},
    column::ValueRef,
    id::ChannelName,
    limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, BATCH_SAMPLES_MAX, ROW_BYTES_MAX, SCHEMA_CHANNELS_MAX},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema, SchemaBuilder},
    time::WallTime,
};

use super::input::{Input, put};

/// Columns, by themselves or in a batch, and the schemas that name them.
pub fn columns(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => {
            let mut bytes = input.rest().to_vec();
            let schema = known_schema();
            put(&mut bytes, 1, &schema.hash().0);
            batch(&bytes, &schema);
        }
        1 => schema(&Bytes::copy_from_slice(input.rest())),
        _ => {
            let rows = usize::from(input.number()) % BATCH_ROWS_MAX + 1;
            batch(&batch_of_column(rows, input.rest()), &known_schema());
        }
    }
}

/// Returns the schema that batches are read with.
pub(super) fn known_schema() -> Schema {
    let channel = |n| ChannelDef::named(ChannelName::new(&format!("channel{n}")).expect("a short name"));
    Schema::new((0..KNOWN_CHANNELS).map(channel).collect()).expect("a small schema")
}

/// Channels of [`known_schema`].
pub(super) const KNOWN_CHANNELS: u32 = 64;

type Row = (WallTime, StampedBy, Vec<(u32, Value)>);

fn batch(bytes: &[u8], schema: &Schema) {
    let Ok(decoded) = batch::decode(bytes, schema) else { return };
    assert!(bytes.len() <= BATCH_BYTES_MAX);
    assert_eq!(batch::peek(bytes), Ok(decoded.info));
    check(&decoded, schema);
    if let Some(rows) = rows_of(&decoded) {
        round_trip(&rows, &decoded, schema);
    }
}

/// Checks that head and samples agree.
fn check(decoded: &DecodedBatch, schema: &Schema) {
    let info = decoded.info;
    assert!(info.rows as usize <= BATCH_ROWS_MAX && info.samples as usize <= BATCH_SAMPLES_MAX);
    let (mut samples, mut row) = (0, 0);
    for sample in decoded.samples() {
        assert_eq!(sample.index, samples);
        assert!(sample.row == row || sample.row == row + 1 && samples > 0, "every row has a sample");
        assert!(schema.get(sample.channel).is_some() && (info.t_min..=info.t_max).contains(&sample.t));
        (samples, row) = (samples + 1, sample.row);
    }
    assert_eq!((samples, row + 1), (info.samples, info.rows));
    let times = || decoded.samples().map(|sample| sample.t);
    assert_eq!((times().min(), times().max()), (Some(info.t_min), Some(info.t_max)));
}

/// Returns the rows, or `None` if they are larger than an encoder takes.
fn rows_of(decoded: &DecodedBatch) -> Option<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let (mut row_bytes, mut bytes) = (0, 0);
    for sample in decoded.samples() {
        if sample.row as usize == rows.len() {
            rows.push((sample.t, sample.stamped_by, Vec::new()));
            row_bytes = 0;
        }
        let value = match sample.value {
            ValueRef::Text(text) if text.len() > ROW_BYTES_MAX => return None,
            ValueRef::Bytes(bytes) if bytes.len() > ROW_BYTES_MAX => return None,
            value => value.to_value(),
        };
        row_bytes += value.raw_bytes();
        bytes += value.raw_bytes();
        if row_bytes > ROW_BYTES_MAX || bytes > ENCODED_AGAIN_BYTES_MAX {
            return None;
        }
        rows.last_mut()?.2.push((sample.channel, value));
    }
    Some(rows)
}

/// Encodes rows again, and demands that they come back.
fn round_trip(rows: &[Row], decoded: &DecodedBatch, schema: &Schema) {
    let clock = decoded.info.clock;
    let mut encoded: Vec<EncodedBatch> = Vec::new();
    let mut builder = BatchBuilder::new();
    for (t, by, fields) in rows {
        if builder.is_full() {
            encoded.extend(std::mem::take(&mut builder).finish(schema, clock));
        }
        match builder.push_row(*t, *by, fields) {
            Ok(()) => {}
            Err(RowError::ValueTooLong { .. } | RowError::Oversize { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
    encoded.extend(builder.finish(schema, clock));
    let mut again = Vec::new();
    for batch in encoded {
        assert!(batch.bytes.len() <= BATCH_BYTES_MAX);
        let batch = batch::decode(&batch.bytes, schema).expect("what was encoded here decodes");
        assert_eq!(batch.info.clock, clock);
        again.extend(rows_of(&batch).expect("these rows were taken before"));
    }
    assert_eq!(again, rows);
}

fn schema(bytes: &Bytes) {
    let Ok(schema) = Schema::decode(bytes) else { return };
    let channels = schema.channels();
    assert!(channels.len() <= SCHEMA_CHANNELS_MAX);
    assert_eq!(schema.encoded(), bytes);
    // Whoever compressed the bytes may have been better at it.
    let Ok(again) = Schema::new(channels.to_vec()) else { return };
    assert_eq!(Schema::decode(again.encoded()).as_ref(), Ok(&again));
    assert_eq!(again.channels(), channels);
    let mut builder = SchemaBuilder::new();
    let grown = channels.iter().all(|channel| builder.try_add(channel.clone()).is_ok());
    assert!(!grown || *builder.schema() == again, "a schema that grew is the same as one made at once");
    let mut builder = SchemaBuilder::new();
    let indexes = builder.try_add_all(channels.iter().cloned()).expect("they made a schema before");
    assert_eq!((indexes.len(), &*builder.schema()), (channels.len(), &again));
}

/// Makes a batch of one channel whose values are a column from outside, and all else as it should be.
fn batch_of_column(rows: usize, column: &[u8]) -> Vec<u8> {
    let mut body = vec![1];
    body.extend_from_slice(CONSTANT_ZERO); // each row is of the first group
    body.extend_from_slice(&[1, 0]); // one field, the first channel
    body.extend_from_slice(CONSTANT_ZERO); // at time zero
    body.extend_from_slice(CONSTANT_FALSE); // stamped by the agent
    body.extend_from_slice(column);
    let mut out = vec![1];
    out.extend_from_slice(&known_schema().hash().0);
    put_varint(&mut out, rows);
    put_varint(&mut out, rows);
    out.extend_from_slice(&[0; 8 + 1]); // earliest time, and the latest after it
    out.extend_from_slice(&[0; 8 + 1 + 8 + 1]); // boot, monotonic and wall time, flags
    out.push(0); // not compressed
    put_varint(&mut out, body.len());
    out.extend_from_slice(&body);
    out
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
}

/// Type integer, codec constant, one byte: zero.
const CONSTANT_ZERO: &[u8] = &[1 << 5 | 1, 1, 0];

/// Type bool, codec constant, one byte: false.
const CONSTANT_FALSE: &[u8] = &[1, 1, 0];

/// How much is encoded again. A batch that repeats a long text may stand for gigabytes.
const ENCODED_AGAIN_BYTES_MAX: usize = 4 * 1024 * 1024;
