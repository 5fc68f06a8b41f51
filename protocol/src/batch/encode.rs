//! Rows to bytes, in as many batches as it takes.

use std::ops::Range;

use super::{BatchInfo, ColumnCost, EncodedBatch, Group, builder::Rows, head, packed};
use crate::{
    column::{
        self, ColumnSlice,
        reader::{put_count, put_signed_varint},
    },
    id::SchemaHash,
    limits::BATCH_BYTES_MAX,
    message::Clock,
    sample::StampedBy,
    time::WallTime,
};

/// Encodes all rows. Where one batch would be too long, the rows are cut into as many equal parts as should fit, and
/// again where they do not.
pub(super) fn encode_rows(rows: &Rows, schema: SchemaHash, clock: Clock) -> Vec<EncodedBatch> {
    let mut done = Vec::new();
    // What is left, the first on top. Each round either finishes a range or replaces it by shorter ones.
    let all = 0..rows.order.len();
    let mut left = vec![all];
    while let Some(range) = left.pop() {
        if range.is_empty() {
            continue;
        }
        let batch = encode_range(rows, &range, schema, clock);
        match batch.bytes.len().div_ceil(BATCH_BYTES_MAX) {
            1 => done.push(batch),
            parts => left.extend(cut(range, parts).into_iter().rev()),
        }
    }
    done
}

/// Cuts a range into at least two parts of nearly equal length.
///
/// # Panics
/// If it has a single row: [`ROW_BYTES_MAX`](crate::limits::ROW_BYTES_MAX) is such that one row always fits.
fn cut(range: Range<usize>, parts: usize) -> Vec<Range<usize>> {
    assert!(range.len() > 1, "a row within its limit fits a batch by itself");
    let length = range.len().div_ceil(parts);
    range.clone().step_by(length).map(|start| start..range.end.min(start + length)).collect()
}

fn encode_range(rows: &Rows, range: &Range<usize>, schema: SchemaHash, clock: Clock) -> EncodedBatch {
    let parts = parts_of(rows, range);
    let times = || parts.iter().flat_map(|part| part.group.t[part.range.clone()].iter().copied());
    let samples: usize = parts.iter().map(|part| part.range.len() * part.group.columns.len()).sum();
    let count = |count| u32::try_from(count).expect("the builder bounds rows and samples");
    let info = BatchInfo {
        schema,
        rows: count(range.len()),
        samples: count(samples),
        t_min: times().min().unwrap_or_default(),
        t_max: times().max().unwrap_or_default(),
        clock,
    };
    let mut bytes = Vec::new();
    head::encode(&info, &mut bytes);
    let mut columns = Vec::new();
    packed::pack(&encode_body(rows, range, &parts, &mut columns), &mut bytes);
    share_out(&mut columns, bytes.len());
    EncodedBatch { bytes: bytes.into(), info, columns }
}

/// Turns what each column took of the body before compression into its part of the whole batch: head, times and all that
/// columns share counts in proportion. The parts add up to the whole.
fn share_out(columns: &mut [ColumnCost], whole: usize) {
    let raw: u64 = columns.iter().map(|column| u64::from(column.bytes)).sum();
    let (mut passed, mut given) = (0, 0);
    for column in columns {
        passed += u64::from(column.bytes);
        let upto = u32::try_from(passed * whole as u64 / raw.max(1)).unwrap_or(u32::MAX);
        column.bytes = upto - given;
        given = upto;
    }
}

/// The rows of one group that fall into a range of the batch's rows.
struct Part<'a> {
    group: &'a Group,
    range: Range<usize>,
}

/// Returns the groups that have rows in the range, in the order of their first row there.
fn parts_of<'a>(rows: &'a Rows, range: &Range<usize>) -> Vec<Part<'a>> {
    let within = |group: &'a Group| {
        let before = |end: usize| group.row.partition_point(|row| (*row as usize) < end);
        Part { group, range: before(range.start)..before(range.end) }
    };
    let mut parts: Vec<Part<'_>> =
        rows.groups.iter().map(within).filter(|part| !part.range.is_empty()).collect();
    parts.sort_by_key(|part| part.group.row[part.range.start]);
    parts
}

fn encode_body(
    rows: &Rows,
    range: &Range<usize>,
    parts: &[Part<'_>],
    columns: &mut Vec<ColumnCost>,
) -> Vec<u8> {
    let mut body = Vec::new();
    put_count(&mut body, parts.len());
    column::encode(&ColumnSlice::Int(&order_of(rows, range, parts)), &mut body);
    for part in parts {
        encode_part(part, &mut body, columns);
    }
    body
}

/// Returns, for each row of the range, the place of its group among the parts.
fn order_of(rows: &Rows, range: &Range<usize>, parts: &[Part<'_>]) -> Vec<i64> {
    let mut places = vec![0; rows.groups.len()];
    for (place, part) in (0..).zip(parts) {
        let first = part.group.row[part.range.start] as usize;
        places[rows.order[first] as usize] = place;
    }
    rows.order[range.clone()].iter().map(|group| places[*group as usize]).collect()
}

fn encode_part(part: &Part<'_>, body: &mut Vec<u8>, costs: &mut Vec<ColumnCost>) {
    let Part { group, range } = part;
    put_count(body, group.columns.len());
    let mut expected = 0;
    for column in &group.columns {
        put_signed_varint(body, i64::from(column.channel) - expected);
        expected = i64::from(column.channel) + 1;
    }
    let times: Vec<i64> = group.t[range.clone()].iter().map(|WallTime(t)| *t).collect();
    column::encode(&ColumnSlice::Int(&times), body);
    let by_input = |by: &StampedBy| *by == StampedBy::Input;
    let stamps: Vec<bool> = group.stamped_by[range.clone()].iter().map(by_input).collect();
    column::encode(&ColumnSlice::Bool(&stamps), body);
    for column in &group.columns {
        let before = body.len();
        column::encode(&column.data.slice(range.clone()), body);
        let bytes = u32::try_from(body.len() - before).unwrap_or(u32::MAX);
        costs.push(ColumnCost { channel: column.channel, bytes });
    }
}
