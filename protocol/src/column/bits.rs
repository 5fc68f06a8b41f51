//! Truth values: one byte for all of them when they agree, else one bit each, the first in the lowest bit.

use super::{Codec, ColumnError, reader::Reader};

pub(super) fn encode(values: &[bool], out: &mut Vec<u8>) -> Codec {
    match values {
        [first, rest @ ..] if rest.iter().all(|value| value == first) => {
            out.push(u8::from(*first));
            Codec::Constant
        }
        _ => {
            pack(values, out);
            Codec::Plain
        }
    }
}

pub(super) fn decode(
    codec: Codec,
    bytes: &mut Reader<'_>,
    rows: usize,
) -> Result<Option<Vec<bool>>, ColumnError> {
    match codec {
        Codec::Constant => match bytes.byte()? {
            found @ 2.. => Err(ColumnError::BadBits { found }),
            bit => Ok(Some(vec![bit == 1; rows])),
        },
        Codec::Plain => unpack(bytes.take(rows.div_ceil(8))?, rows).map(Some),
        _ => Ok(None),
    }
}

fn pack(values: &[bool], out: &mut Vec<u8>) {
    out.extend(values.chunks(8).map(|eight| {
        let set = |byte: u8, (place, value): (usize, &bool)| byte | u8::from(*value) << place;
        eight.iter().enumerate().fold(0, set)
    }));
}

fn unpack(packed: &[u8], rows: usize) -> Result<Vec<bool>, ColumnError> {
    let mut values = Vec::with_capacity(packed.len() * 8);
    for byte in packed {
        values.extend((0..8).map(|place| byte >> place & 1 == 1));
    }
    if values.iter().skip(rows).any(|padding| *padding) {
        return Err(ColumnError::BadBits { found: packed.last().copied().unwrap_or_default() });
    }
    values.truncate(rows);
    Ok(values)
}
