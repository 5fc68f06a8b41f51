//! Floats: one for all rows, short decimals as integers, changed bits, or eight bytes each.

use super::{Codec, ColumnError, decimal, reader::Reader, xor};

pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) -> Codec {
    if let [first, rest @ ..] = values
        && rest.iter().all(|value| value.to_bits() == first.to_bits())
    {
        out.extend(first.to_le_bytes());
        return Codec::Constant;
    }
    let plain = 8 * 8 * values.len();
    let worth_it = plain - plain / WORTH_PART;
    let xor = xor::cost(values);
    let decimals = decimal::Decimals::find(values).filter(|found| found.cost() < xor.min(worth_it));
    match decimals {
        Some(found) => {
            found.encode(out);
            Codec::Decimal
        }
        None if xor < worth_it => {
            xor::encode(values, out);
            Codec::Xor
        }
        None => {
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            Codec::Plain
        }
    }
}

pub(super) fn decode(
    codec: Codec,
    bytes: &mut Reader<'_>,
    rows: usize,
) -> Result<Option<Vec<f64>>, ColumnError> {
    let values = match codec {
        Codec::Constant => vec![f64::from_le_bytes(bytes.array()?); rows],
        Codec::Plain => {
            let (chunks, _) = bytes.take(rows.saturating_mul(8))?.as_chunks();
            chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect()
        }
        Codec::Xor => xor::decode(bytes, rows)?,
        Codec::Decimal => decimal::decode(bytes, rows)?,
        Codec::Delta | Codec::DeltaOfDelta | Codec::Dictionary => return Ok(None),
    };
    Ok(Some(values))
}

/// What a codec has to save before it is worth its time. Noise has a zero byte here and there.
const WORTH_PART: usize = 32;
