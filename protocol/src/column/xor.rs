//! Floats as the bits that differ from the value before, by byte planes.
//!
//! ```text
//!   which planes follow u8 | plane of the highest byte: one byte a row | ... | plane of the lowest byte
//! ```
//!
//! Neighbours share sign, exponent and the first bits of the fraction, so the upper planes are mostly zeros, which the
//! last stage makes nearly free. A plane of only zeros is left out: the lower planes of floats that once were shorter.

use super::reader::{ReadError, Reader};

pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let changes: Vec<[u8; PLANES]> = changes(values).map(u64::to_le_bytes).collect();
    let any = changes.iter().fold(0, |any, change| any | u64::from_le_bytes(*change)).to_le_bytes();
    let present = |place: &usize| any[*place] != 0;
    out.push((0..PLANES).filter(present).map(|place| 1 << place).sum());
    for place in (0..PLANES).rev().filter(present) {
        out.extend(changes.iter().map(|change| change[place]));
    }
}

pub(super) fn decode(bytes: &mut Reader<'_>, rows: usize) -> Result<Vec<f64>, ReadError> {
    let present = bytes.byte()?;
    let mut changes = vec![0_u64; rows];
    for place in (0..PLANES).rev().filter(|place| present >> place & 1 == 1) {
        for (change, byte) in changes.iter_mut().zip(bytes.take(rows)?) {
            *change |= u64::from(*byte) << (8 * place);
        }
    }
    let mut bits = 0;
    let undo = |change| {
        bits ^= change;
        f64::from_bits(bits)
    };
    Ok(changes.into_iter().map(undo).collect())
}

/// Estimates what the planes cost after the last stage, in bits. That stage makes zeros nearly free.
pub(super) fn cost(values: &[f64]) -> usize {
    const ZERO_COST: usize = 1;
    let of_byte = |byte| if byte == 0 { ZERO_COST } else { 8 };
    changes(values).flat_map(u64::to_le_bytes).map(of_byte).sum()
}

fn changes(values: &[f64]) -> impl Iterator<Item = u64> {
    let mut previous = 0;
    values.iter().map(move |value| {
        let change = value.to_bits() ^ previous;
        previous = value.to_bits();
        change
    })
}

const PLANES: usize = 8;
