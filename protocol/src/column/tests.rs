//! Each codec by itself, and the choice among them.

use proptest::{collection::vec, prelude::*};

use super::{
    blobs, decimal,
    delta::{self, Order},
    dictionary, xor, *,
};
use crate::sample::Value;

fn column(values: &[Value]) -> ColumnData {
    let mut column = ColumnData::empty(values.first().map_or(ValueType::Int, Value::kind));
    for value in values {
        column.push(value);
    }
    column
}

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&column(values).slice(0..values.len()), &mut out);
    out
}

fn decoded(bytes: &[u8], rows: usize) -> Result<Vec<Value>, ColumnError> {
    let mut reader = Reader::new(bytes);
    let column = decode(&mut reader, rows)?;
    reader.finish()?;
    assert_eq!(column.len(), rows);
    Ok((0..rows).map(|row| column.get(row).expect("as many values as rows").to_value()).collect())
}

fn codec_of(values: &[Value]) -> Codec {
    Codec::ALL[usize::from(encoded(values)[0] & CODEC_MASK)]
}

fn blob_column(values: &[Vec<u8>]) -> BytesValues {
    let mut column = BytesValues::default();
    for value in values {
        column.push(value);
    }
    column
}

fn any_column() -> impl Strategy<Value = Vec<Value>> {
    prop_oneof![
        vec(any::<bool>().prop_map(Value::Bool), 1..100),
        vec(any::<i64>().prop_map(Value::Int), 1..100),
        vec((-5..5_i64).prop_map(Value::Int), 1..100),
        vec(any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))), 1..100),
        vec((-500..500_i32).prop_map(|tenths| Value::Float(f64::from(tenths) / 10.0)), 1..100),
        vec("\\PC{0,5}".prop_map(Value::Text), 1..100),
        vec("[ab]{0,2}".prop_map(Value::Text), 1..100),
        vec(vec(any::<u8>(), 0..5).prop_map(Value::Bytes), 1..100),
    ]
}

proptest! {
    #[test]
    fn any_column_comes_back_bit_for_bit(values in any_column()) {
        prop_assert_eq!(decoded(&encoded(&values), values.len()).unwrap(), values);
    }

    #[test]
    fn differences_of_any_integers_come_back(values: Vec<i64>) {
        for order in [Order::First, Order::Second] {
            let mut bytes = Vec::new();
            delta::encode(order, &values, &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(&delta::decode(order, &mut reader, values.len()).unwrap(), &values);
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn changed_bits_of_any_floats_come_back(bits: Vec<u64>, mask: u64) {
        let values: Vec<f64> = bits.iter().map(|bits| f64::from_bits(bits & mask)).collect();
        let mut bytes = Vec::new();
        xor::encode(&values, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let back = xor::decode(&mut reader, values.len()).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert!(back.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn decimals_and_their_exceptions_come_back(
        values in vec((any::<i32>(), 0..6_i32), 20..200),
        odd in vec((any::<prop::sample::Index>(), any::<u64>()), 0..3),
    ) {
        let mut values: Vec<f64> = values.iter().map(|(m, places)| f64::from(*m) / 10_f64.powi(*places)).collect();
        for (at, bits) in odd {
            let at = at.index(values.len());
            values[at] = f64::from_bits(bits);
        }
        if let Some(found) = decimal::Decimals::find(&values) {
            let mut bytes = Vec::new();
            found.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let back = decimal::decode(&mut reader, values.len()).unwrap();
            prop_assert_eq!(reader.finish(), Ok(()));
            prop_assert!(back.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn decimals_as_json_writes_them_are_found(numerators in vec(-999_999_999..999_999_999_i64, 2..50), places in 0..12_usize) {
        let parse = |m: &i64| format!("{m}e-{places}").parse::<f64>().unwrap();
        let values: Vec<f64> = numerators.iter().map(parse).collect();
        prop_assert!(decimal::Decimals::find(&values).is_some());
    }

    #[test]
    fn dictionaries_of_any_size_come_back(words in 1..600_usize, rows in 1200..1500_usize) {
        let values: Vec<Vec<u8>> = (0..rows).map(|row| (row % words).to_string().into_bytes()).collect();
        let column = blob_column(&values);
        let found = dictionary::Dictionary::of(&column.slice(0..rows)).unwrap();
        let mut bytes = Vec::new();
        found.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), found.bytes());
        let mut reader = Reader::new(&bytes);
        let back = dictionary::decode(&mut reader, rows).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert!((0..rows).all(|row| back.get(row) == Some(values[row].as_slice())));
    }

    #[test]
    fn plain_byte_strings_come_back(values in vec(vec(any::<u8>(), 0..9), 0..50)) {
        let column = blob_column(&values);
        let mut bytes = Vec::new();
        blobs::put_values(column.slice(0..values.len()).iter(), &mut bytes);
        let mut reader = Reader::new(&bytes);
        let back = blobs::take_values(&mut reader, values.len()).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert!(values.iter().enumerate().all(|(row, value)| back.get(row) == Some(value.as_slice())));
    }

    #[test]
    fn any_bytes_under_any_codec_decode_without_panic(
        kind in 0..8_u8,
        codec in 0..10_u8,
        mut bytes in vec(prop_oneof![any::<u8>(), 0..4_u8], 0..200),
        rows in 1..300_usize,
    ) {
        let mut framed = vec![kind << CODEC_BITS | codec];
        put_count(&mut framed, bytes.len());
        framed.append(&mut bytes);
        if let Ok(values) = decoded(&framed, rows) {
            prop_assert_eq!(values.len(), rows);
        }
    }

    #[test]
    fn a_single_value_costs_no_more_than_itself_and_its_frame(values in any_column()) {
        let value = &values[..1];
        let own = match &value[0] {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            other => other.raw_bytes(),
        };
        prop_assert!(encoded(value).len() <= own + 2);
    }
}

#[test]
fn the_codec_suits_the_values() {
    let times = |row: i64| Value::Int(1_700_000_000_000_000_000 + row * 4_000_000);
    let wanders = |row: i64| Value::Int(1_000_000 + (row * row * 7919) % 13);
    let noise = |row: i64| row.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_pow(3) ^ (row << 60);
    let word = |row: i64| Value::Text(["idle", "drive"][usize::from(row % 3 == 0)].to_owned());
    let cases: [(&dyn Fn(i64) -> Value, Codec); 12] = [
        (&|_| Value::Bool(true), Codec::Constant),
        (&|row| Value::Bool(row % 3 == 0), Codec::Plain),
        (&|_| Value::Int(-7), Codec::Constant),
        (&times, Codec::DeltaOfDelta),
        (&wanders, Codec::Delta),
        (&|row| Value::Int(noise(row)), Codec::Plain),
        (&|_| Value::Float(f64::NAN), Codec::Constant),
        (&|row| Value::Float(12.0 + (row % 7) as f64 / 100.0), Codec::Decimal),
        (&|row| Value::Float((row as f64 / 1000.0).sin()), Codec::Xor),
        (&|row| Value::Float(f64::from_bits(noise(row).cast_unsigned())), Codec::Plain),
        (&word, Codec::Dictionary),
        (&|row| Value::Text(row.to_string()), Codec::Plain),
    ];
    for (case, (value, codec)) in cases.into_iter().enumerate() {
        let values: Vec<Value> = (1..200).map(value).collect();
        assert_eq!(codec_of(&values), codec, "case {case}");
    }
}

#[test]
fn negative_zero_is_an_exception_among_decimals() {
    // -0.0 equals the numerator 0, which has no sign.
    let mut values = vec![Value::Float(0.5); 20];
    values[3] = Value::Float(-0.0);
    values[4] = Value::Float(0.0);
    assert_eq!(codec_of(&values), Codec::Decimal);
    assert_eq!(decoded(&encoded(&values), 20).unwrap(), values);
}

#[test]
fn what_this_version_does_not_know_is_refused_by_name() {
    let unknown = |number, kind| Err(ColumnError::UnknownCodec { number, kind });
    assert_eq!(decoded(&[7 << 5, 0], 1), Err(ColumnError::UnknownType { number: 7 }));
    assert_eq!(decoded(&[1 << 5 | 31, 0], 1), unknown(31, ValueType::Int));
    assert_eq!(decoded(&[Codec::Xor as u8, 0], 1), unknown(4, ValueType::Bool));
    assert_eq!(decoded(&[3 << 5 | Codec::Delta as u8, 0], 1), unknown(2, ValueType::Text));
}

#[test]
fn what_is_not_exactly_a_column_is_refused() {
    let bool_constant = Codec::Constant as u8;
    assert_eq!(decoded(&[bool_constant, 1, 2], 1), Err(ColumnError::BadBits { found: 2 }));
    assert_eq!(decoded(&[Codec::Plain as u8, 1, 0b1000], 3), Err(ColumnError::BadBits { found: 8 }));
    let trailing = Err(ColumnError::Read(ReadError::Trailing { extra: 1 }));
    assert_eq!(decoded(&[bool_constant, 2, 1, 1], 1), trailing);
    let text = 3 << 5 | Codec::Constant as u8;
    assert_eq!(decoded(&[text, 1, 0xff], 1), Err(ColumnError::NotUtf8));
    // Two texts that cut the two bytes of one character.
    assert_eq!(decoded(&[3 << 5, 4, 1, 1, 0xc3, 0xbc], 2), Err(ColumnError::NotUtf8));
    let dictionary = 4 << 5 | Codec::Dictionary as u8;
    let no_entry = Err(ColumnError::NoSuchEntry { entry: 1, entries: 1 });
    assert_eq!(decoded(&[dictionary, 4, 1, 1, 9, 1], 1), no_entry);
    let decimal = 2 << 5 | Codec::Decimal as u8;
    assert_eq!(decoded(&[decimal, 1, 23], 1), Err(ColumnError::BadPlaces { places: 23 }));
    let wrong = ColumnError::WrongType { expected: ValueType::Int, found: ValueType::Bool };
    assert_eq!(decoded(&[decimal, 4, 0, bool_constant, 1, 0], 1), Err(wrong));
}

#[test]
fn each_codec_has_these_bytes() {
    let ints = |values: &[i64]| encoded(&values.iter().copied().map(Value::Int).collect::<Vec<_>>());
    let floats = |values: &[f64]| encoded(&values.iter().copied().map(Value::Float).collect::<Vec<_>>());
    let texts =
        |values: &[&str]| encoded(&values.iter().map(|text| Value::Text((*text).into())).collect::<Vec<_>>());
    let bools = [true, false, true].map(Value::Bool);
    assert_eq!(encoded(&bools), [0x00, 1, 0b101]);
    assert_eq!(encoded(&bools[..1]), [0x01, 1, 1]);
    assert_eq!(ints(&[-3, -3]), [0x21, 1, 5]);
    assert_eq!(ints(&[10, 9, 11]), [0x22, 3, 20, 1, 4]);
    assert_eq!(ints(&[100, 200, 300, 400]), [0x23, 5, 0xc8, 0x01, 0, 0, 0]);
    assert_eq!(ints(&[i64::MAX]), [0x20, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(floats(&[1.0]), [0x41, 8, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
    assert_eq!(floats(&[0.5, 0.7]), [0x46, 6, 1, 0x22, 2, 10, 4, 0]);
    let bits = 0x7e37_e43c_8800_759c; // 1e300: no decimal of 53 bits
    let planes = [0x44, 15, 0b1111_1011, 0x7e, 0, 0x37, 0, 0xe4, 0, 0x3c, 0, 0x88, 0, 0x75, 0, 0x9c, 1];
    assert_eq!(floats(&[f64::from_bits(bits), f64::from_bits(bits ^ 1)]), planes);
    assert_eq!(texts(&["ab", "ab"]), [0x61, 2, b'a', b'b']);
    assert_eq!(texts(&["ab", "c"]), [0x60, 5, 2, 1, b'a', b'b', b'c']);
    let turns = ["left", "right", "left", "right"];
    let dictionary = [0x65, 16, 2, 4, 5, b'l', b'e', b'f', b't', b'r', b'i', b'g', b'h', b't', 0, 1, 0, 1];
    assert_eq!(texts(&turns), dictionary);
}
