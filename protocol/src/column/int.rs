//! Integers: one for all rows, differences, or eight bytes each where nothing else is shorter.

use super::{
    Codec, ColumnError,
    delta::{self, Order},
    reader::{Reader, put_signed_varint, varint_bytes, zigzag},
};

pub(super) fn encode(values: &[i64], out: &mut Vec<u8>) -> Codec {
    let codec = choose(values);
    match codec {
        Codec::Constant => put_signed_varint(out, values.first().copied().unwrap_or_default()),
        Codec::Delta => delta::encode(Order::First, values, out),
        Codec::DeltaOfDelta => delta::encode(Order::Second, values, out),
        _ => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
    codec
}

pub(super) fn decode(
    codec: Codec,
    bytes: &mut Reader<'_>,
    rows: usize,
) -> Result<Option<Vec<i64>>, ColumnError> {
    let values = match codec {
        Codec::Constant => vec![bytes.signed_varint()?; rows],
        Codec::Delta => delta::decode(Order::First, bytes, rows)?,
        Codec::DeltaOfDelta => delta::decode(Order::Second, bytes, rows)?,
        Codec::Plain => plain(bytes, rows)?,
        Codec::Xor | Codec::Dictionary | Codec::Decimal => return Ok(None),
    };
    Ok(Some(values))
}

fn choose(values: &[i64]) -> Codec {
    if let [first, rest @ ..] = values
        && rest.iter().all(|value| value == first)
        && varint_bytes(zigzag(*first)) <= 8 * values.len()
    {
        return Codec::Constant;
    }
    let plain = 8 * 8 * values.len();
    let first = delta::cost(Order::First, values);
    let second = delta::cost(Order::Second, values);
    match first.min(second) {
        least if least > plain => Codec::Plain,
        least if least == first => Codec::Delta,
        _ => Codec::DeltaOfDelta,
    }
}

fn plain(bytes: &mut Reader<'_>, rows: usize) -> Result<Vec<i64>, ColumnError> {
    let (chunks, _) = bytes.take(rows.saturating_mul(8))?.as_chunks();
    Ok(chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect())
}
