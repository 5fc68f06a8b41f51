//! Whole batches: what goes in comes out, and what comes from outside never does harm.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    id::ChannelName,
    limits::{BATCH_BYTES_MAX, BATCH_RAW_BYTES_MAX, BATCH_ROWS_MAX, BATCH_SAMPLES_MAX, ROW_BYTES_MAX},
    sample::{Row, Value},
    schema::{ChannelDef, Schema},
    time::MonoTime,
};

type Fields = Vec<(u32, Value)>;
type TestRow = (WallTime, StampedBy, Fields);

const CLOCK: Clock = Clock {
    boot: 0x0102_0304_0506_0708,
    mono: MonoTime(300),
    wall: WallTime(1_700_000_000),
    synchronised: true,
};

fn schema(channels: usize) -> Schema {
    let def = |index| ChannelDef::named(ChannelName::new(&format!("c{index}")).unwrap());
    Schema::new((0..channels).map(def).collect()).unwrap()
}

/// Pushes rows as a batcher does: a full builder is finished first.
fn encode_all(rows: &[TestRow], schema: &Schema) -> Vec<EncodedBatch> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new();
    for (t, by, fields) in rows {
        if builder.is_full() {
            batches.extend(std::mem::take(&mut builder).finish(schema, CLOCK));
        }
        builder.push_row(*t, *by, fields).unwrap();
    }
    batches.extend(builder.finish(schema, CLOCK));
    batches
}

fn decode_all(batches: &[EncodedBatch], schema: &Schema) -> Vec<TestRow> {
    batches.iter().flat_map(|batch| rows_of(&decode(&batch.bytes, schema).unwrap())).collect()
}

fn rows_of(batch: &DecodedBatch) -> Vec<TestRow> {
    let mut rows: Vec<TestRow> = Vec::new();
    for (index, sample) in (0..).zip(batch.samples()) {
        assert_eq!(sample.index, index);
        if rows.len() == sample.row as usize {
            rows.push((sample.t, sample.stamped_by, Vec::new()));
        }
        let (t, by, fields) = rows.last_mut().unwrap();
        assert_eq!((*t, *by), (sample.t, sample.stamped_by));
        fields.push((sample.channel, sample.value.to_value()));
    }
    rows
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -3..3_i64, Just(i64::MIN), Just(i64::MAX)].prop_map(Value::Int),
        any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        (-1000..1000_i32, 0..4_i32).prop_map(|(m, p)| Value::Float(f64::from(m) / 10_f64.powi(p))),
        prop_oneof![Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::MIN_POSITIVE)]
            .prop_map(Value::Float),
        "\\PC{0,12}".prop_map(Value::Text),
        Just(Value::Text("ü".repeat(8 * 1024))),
        vec(any::<u8>(), 0..20).prop_map(Value::Bytes),
    ]
}

fn any_row(channels: u32) -> impl Strategy<Value = TestRow> {
    let t = prop_oneof![any::<i64>(), 0..5_i64, Just(i64::MIN), Just(i64::MAX)].prop_map(WallTime);
    let by = prop_oneof![Just(StampedBy::Agent), Just(StampedBy::Input)];
    (t, by, vec((0..channels, any_value()), 1..6)).prop_filter("within the row limit", |(.., fields)| {
        fields.iter().map(|(_, value)| value.raw_bytes() + 4).sum::<usize>() + 16 <= ROW_BYTES_MAX
    })
}

/// Rows as robots send them: few shapes, growing times, values that wander.
fn robot_rows() -> impl Strategy<Value = Vec<TestRow>> {
    vec((0..3_u32, 0..3_i64, any::<i8>(), 0..4_usize), 1..200).prop_map(|steps| {
        let mut t = 1_700_000_000_000_000_000;
        let row = |(shape, step, wander, word): (u32, i64, i8, usize)| {
            t += step * 4_000_000;
            let number = f64::from(wander) / 10.0;
            let text = ["idle", "drive", "dock", "drive"][word].to_owned();
            let fields = match shape {
                0 => vec![
                    (0, Value::Float(number)),
                    (1, Value::Int(t + i64::from(wander))),
                    (2, Value::Bool(word == 0)),
                ],
                1 => vec![(3, Value::Text(text)), (2, Value::Int(i64::from(wander)))],
                _ => vec![(4, Value::Float(number.sin())), (4, Value::Float(number.sqrt()))],
            };
            (WallTime(t), StampedBy::Input, fields)
        };
        steps.into_iter().map(row).collect()
    })
}

proptest! {
    #[test]
    fn any_rows_come_back_bit_for_bit_and_in_order(rows in vec(any_row(5), 1..60)) {
        let schema = schema(5);
        let batches = encode_all(&rows, &schema);
        prop_assert_eq!(decode_all(&batches, &schema), rows);
    }

    #[test]
    fn rows_as_robots_send_them_come_back(rows in robot_rows()) {
        let schema = schema(5);
        let batches = encode_all(&rows, &schema);
        prop_assert_eq!(decode_all(&batches, &schema), rows);
    }

    #[test]
    fn the_head_says_what_the_body_holds(rows in vec(any_row(5), 1..40)) {
        let schema = schema(5);
        for batch in encode_all(&rows, &schema) {
            let decoded = decode(&batch.bytes, &schema).unwrap();
            prop_assert!(batch.bytes.len() <= BATCH_BYTES_MAX);
            prop_assert_eq!(peek(&batch.bytes).unwrap(), batch.info);
            prop_assert_eq!(decoded.info, batch.info);
            prop_assert_eq!(batch.info.rows as usize, decoded.order.len());
            prop_assert_eq!(batch.info.samples as usize, decoded.samples().count());
            prop_assert_eq!(decoded.samples().size_hint().0, decoded.samples().count());
            let times = rows_of(&decoded).into_iter().map(|(t, ..)| t);
            prop_assert_eq!(Some(batch.info.t_min), times.clone().min());
            prop_assert_eq!(Some(batch.info.t_max), times.max());
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = peek(&bytes);
        let _ = decode(&bytes, &schema(5));
    }

    #[test]
    fn any_body_under_a_right_head_is_refused_without_panic(
        rows in 1..70_000_usize,
        samples in 1..200_000_usize,
        body in vec(prop_oneof![any::<u8>(), 0..4_u8, Just(0x21), Just(0x01)], 0..200),
    ) {
        let schema = schema(5);
        let info = BatchInfo {
            schema: schema.hash(),
            rows: u32::try_from(rows).unwrap(),
            samples: u32::try_from(samples).unwrap(),
            t_min: WallTime(0),
            t_max: WallTime(0),
            clock: CLOCK,
        };
        let mut bytes = Vec::new();
        head::encode(&info, &mut bytes);
        packed::pack(&body, &mut bytes);
        if let Ok(batch) = decode(&bytes, &schema) {
            prop_assert!(batch.samples().count() <= BATCH_SAMPLES_MAX);
        }
    }

    #[test]
    fn a_damaged_batch_decodes_to_an_error_or_to_what_its_head_says(
        rows in robot_rows(),
        flips in vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let schema = schema(5);
        let whole = encode_all(&rows, &schema).remove(0).bytes;
        // Damage below the compression too: that is where counts and lengths are.
        let mut reader = crate::column::reader::Reader::new(&whole);
        let info = head::decode(&mut reader).unwrap();
        let body = packed::unpack(&mut reader, BATCH_RAW_BYTES_MAX).unwrap();
        let damage = |mut bytes: Vec<u8>| {
            for (at, bit) in &flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        };
        let mut inside = Vec::new();
        head::encode(&info, &mut inside);
        packed::pack(&damage(body.into_owned()), &mut inside);
        for bytes in [damage(whole.to_vec()), inside] {
            if let Ok(batch) = decode(&bytes, &schema) {
                prop_assert_eq!(batch.samples().count(), batch.info.samples as usize);
                prop_assert_eq!(peek(&bytes).unwrap(), batch.info);
            }
        }
    }

    #[test]
    fn every_beginning_of_a_batch_is_refused(rows in robot_rows(), cut: prop::sample::Index) {
        let schema = schema(5);
        let whole = encode_all(&rows, &schema).remove(0).bytes;
        prop_assert!(decode(&whole[..cut.index(whole.len())], &schema).is_err());
    }
}

#[test]
fn a_small_batch_has_these_bytes() {
    let schema = schema(3);
    let rows = [
        (WallTime(1000), StampedBy::Input, vec![(0, Value::Int(7)), (1, Value::Bool(true))]),
        (WallTime(1010), StampedBy::Input, vec![(0, Value::Int(9)), (1, Value::Bool(false))]),
        (WallTime(1015), StampedBy::Agent, vec![(2, Value::Text("dock".to_owned()))]),
    ];
    let batches = encode_all(&rows, &schema);
    // As taken apart in PROTOCOL.md#batches.
    let expected = "
        01 56f22267f76c688300796f02d2894c79 03 05 e803000000000000 0f
        0807060504030201 ac02 00f1536500000000 01
        00 27
        02 2203000002
        02 00 00 2203d00f14 010101 2202 0e04 000101
        01 04 2102ee0f 010100 6104646f636b";
    assert_eq!(hex(&batches[0].bytes), expected.replace([' ', '\n'], ""));
    assert_eq!(decode_all(&batches, &schema), rows);
}

#[test]
fn a_full_builder_says_so_before_any_limit_of_the_decoder_is_reached() {
    let narrow = |_| vec![(0, Value::Bool(true))];
    let wide = |_| (0..5700).map(|_| (0, Value::Bool(true))).collect();
    let of_many_shapes =
        |row: u32| (0..10).map(|bit| (u32::from(row >> bit & 1 == 1), Value::Bool(true))).collect();
    let texts = |row: u32| vec![(0, Value::Text(format!("{row}").repeat(4000)))];
    let kinds: [&dyn Fn(u32) -> Fields; 4] = [&narrow, &wide, &of_many_shapes, &texts];
    let schema = schema(2);
    for fields in kinds {
        let mut builder = BatchBuilder::new();
        let mut rows = Vec::new();
        for row in 0.. {
            if builder.is_full() {
                break;
            }
            rows.push((WallTime(0), StampedBy::Agent, fields(row)));
            builder.push_row(WallTime(0), StampedBy::Agent, &fields(row)).unwrap();
        }
        assert_eq!(builder.push_row(WallTime(0), StampedBy::Agent, &fields(0)), Err(RowError::Full));
        assert!(builder.rows() as usize <= BATCH_ROWS_MAX && builder.samples() as usize <= BATCH_SAMPLES_MAX);
        assert!(builder.raw_bytes() <= BATCH_RAW_BYTES_MAX / 2);
        assert_eq!(decode_all(&builder.finish(&schema, CLOCK), &schema), rows);
    }
}

#[test]
fn one_row_within_its_limit_always_fits_a_batch() {
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 11
    };
    let channels = 4096;
    let schema = schema(channels);
    let mut channel = move || u32::try_from(next() % 4096).unwrap();
    let mut random = 2_u64;
    let mut bits = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        random ^ random >> 29
    };
    let bools = (0..5731).map(|_| (channel(), Value::Bool(bits() & 1 == 1))).collect::<Fields>();
    let ints = (0..2388).map(|_| (channel(), Value::Int(bits().cast_signed()))).collect::<Fields>();
    let floats = (0..2388).map(|_| (channel(), Value::Float(f64::from_bits(bits())))).collect::<Fields>();
    let empty = (0..3582).map(|_| (channel(), Value::Text(String::new()))).collect::<Fields>();
    let long =
        vec![(4095, Value::Bytes((0..16 * 1024).map(|_| bits().to_le_bytes()[3]).collect::<Vec<u8>>()))];
    for fields in [bools, ints, floats, empty, long] {
        let rows = [(WallTime(i64::MIN), StampedBy::Input, fields)];
        let batches = encode_all(&rows, &schema);
        assert_eq!(batches.len(), 1);
        assert!(batches[0].bytes.len() <= BATCH_BYTES_MAX);
        assert_eq!(decode_all(&batches, &schema), rows);
    }
}

#[test]
fn rows_that_do_not_compress_are_cut_into_batches_that_fit() {
    let schema = schema(1);
    let mut random = 3_u64;
    let rows: Vec<TestRow> = (0..1000)
        .map(|row| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let fields = (0..20)
                .map(|turn| (0, Value::Float(f64::from_bits(random.rotate_left(turn).wrapping_mul(7919)))));
            (WallTime(row), StampedBy::Input, fields.collect())
        })
        .collect();
    let batches = encode_all(&rows, &schema);
    assert!(batches.len() > 3);
    assert!(batches.iter().all(|batch| batch.bytes.len() <= BATCH_BYTES_MAX));
    assert_eq!(decode_all(&batches, &schema), rows);
}

#[test]
fn a_row_is_measured_as_rows_are_everywhere() {
    let fields = vec![(0, Value::Bool(true)), (0, Value::Text("abc".to_owned())), (0, Value::Float(1.0))];
    let named = fields.iter().map(|(_, value)| (ChannelName::new("c").unwrap(), value.clone())).collect();
    let row = Row { t: None, lane: None, unit: None, fields: named };
    let mut builder = BatchBuilder::new();
    builder.push_row(WallTime(0), StampedBy::Agent, &fields).unwrap();
    assert_eq!(builder.raw_bytes(), row.raw_bytes());
}

#[test]
fn rows_that_no_batch_may_hold_are_refused_and_change_nothing() {
    let mut builder = BatchBuilder::new();
    let mut push = |fields: &[(u32, Value)]| builder.push_row(WallTime(0), StampedBy::Agent, fields);
    assert_eq!(push(&[]), Err(RowError::Empty));
    let long = vec![(0, Value::Text("x".repeat(16 * 1024 + 1)))];
    assert_eq!(push(&long), Err(RowError::ValueTooLong { bytes: 16 * 1024 + 1, max: 16 * 1024 }));
    let wide: Fields = (0..3000).map(|_| (0, Value::Int(1))).collect();
    assert_eq!(push(&wide), Err(RowError::Oversize { bytes: 16 + 3000 * 12, max: ROW_BYTES_MAX }));
    assert!(builder.is_empty());
    assert!(builder.finish(&schema(1), CLOCK).is_empty());
}

/// A batch of constants that claims much in a few bytes: this many rows in one group of this many fields.
fn claim(rows: u32, samples: u32, fields: usize) -> Result<DecodedBatch, BatchError> {
    use crate::column::reader::{put_count, put_signed_varint};
    let schema = schema(1);
    let (t_min, t_max) = (WallTime(0), WallTime(0));
    let info = BatchInfo { schema: schema.hash(), rows, samples, t_min, t_max, clock: CLOCK };
    let constant_int = [0x21, 1, 0];
    let mut body = vec![1];
    body.extend(constant_int);
    put_count(&mut body, fields);
    (0..fields).for_each(|field| put_signed_varint(&mut body, if field == 0 { 0 } else { -1 }));
    body.extend(constant_int);
    body.extend([0x01, 1, 0]);
    (0..fields).for_each(|_| body.extend(constant_int));
    let mut bytes = Vec::new();
    head::encode(&info, &mut bytes);
    packed::pack(&body, &mut bytes);
    decode(&bytes, &schema)
}

#[test]
fn a_few_bytes_make_no_more_samples_than_the_limit() {
    assert_eq!(claim(32_768, 131_072, 4).unwrap().samples().count(), BATCH_SAMPLES_MAX);
    let too_many = |what, found, max| ReadError::TooMany { what, found, max };
    let refused = |result: Result<DecodedBatch, BatchError>, why| {
        assert_eq!(result.unwrap_err(), BatchError::Read(why));
    };
    refused(claim(32_768, 131_072, 5), too_many("fields of a group", 5, 4));
    refused(claim(32_769, 131_072, 3), too_many("rows", 32_769, BATCH_ROWS_MAX));
    refused(claim(32_768, 131_073, 4), too_many("samples", 131_073, BATCH_SAMPLES_MAX));
    assert_eq!(claim(10, 40, 3).unwrap_err(), BatchError::WrongSamples { announced: 40 });
    assert_eq!(claim(10, 9, 1).unwrap_err(), BatchError::NoSamples { rows: 10, samples: 9 });
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let rows = [(WallTime(0), StampedBy::Agent, vec![(0, Value::Int(1))])];
    let batch = encode_all(&rows, &schema(2)).remove(0);
    let refused = decode(&batch.bytes, &schema(1)).unwrap_err();
    assert_eq!(refused, BatchError::WrongSchema { needed: schema(2).hash(), given: schema(1).hash() });
}

#[test]
fn a_constant_of_many_rows_holds_its_text_once() {
    let text = "x".repeat(16 * 1024);
    let row = |row| (WallTime(row), StampedBy::Input, vec![(0, Value::Text(text.clone()))]);
    let rows: Vec<TestRow> = (0..10).map(row).collect();
    let schema = schema(1);
    let batch = encode_all(&rows, &schema).remove(0);
    let decoded = decode(&batch.bytes, &schema).unwrap();
    let ColumnData::Text(texts) = &decoded.groups[0].columns[0].data else { panic!("text") };
    assert_eq!(texts.get(0).unwrap().as_ptr(), texts.get(9).unwrap().as_ptr());
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
