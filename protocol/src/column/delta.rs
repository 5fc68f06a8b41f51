//! Differences of neighbours as zigzag varints, once or twice. Differences wrap around at 64 bits, so that every
//! sequence of integers has them.

use super::reader::{ReadError, Reader, put_varint, unzigzag, varint_bytes, zigzag};

/// How often neighbours are subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Values that wander: differences are small.
    First,
    /// Values that grow evenly, such as times and counters: differences of differences are small.
    Second,
}

pub(super) fn encode(order: Order, values: &[i64], out: &mut Vec<u8>) {
    for difference in differences(order, values) {
        put_varint(out, difference);
    }
}

/// Estimates what the differences cost after the last stage, in bits. That stage makes zeros nearly free.
pub(super) fn cost(order: Order, values: &[i64]) -> usize {
    const ZERO_COST: usize = 1;
    differences(order, values)
        .map(|difference| if difference == 0 { ZERO_COST } else { 8 * varint_bytes(difference) })
        .sum()
}

pub(super) fn decode(order: Order, bytes: &mut Reader<'_>, rows: usize) -> Result<Vec<i64>, ReadError> {
    let mut values = Vec::with_capacity(rows);
    let (mut value, mut step) = (0_i64, 0_i64);
    for _ in 0..rows {
        let difference = unzigzag(bytes.varint()?);
        step = match order {
            Order::First => difference,
            Order::Second => step.wrapping_add(difference),
        };
        value = value.wrapping_add(step);
        values.push(value);
    }
    Ok(values)
}

fn differences(order: Order, values: &[i64]) -> impl Iterator<Item = u64> {
    let (mut previous, mut step) = (0_i64, 0_i64);
    values.iter().map(move |value| {
        let difference = value.wrapping_sub(previous);
        let second = difference.wrapping_sub(step);
        (previous, step) = (*value, difference);
        zigzag(if order == Order::First { difference } else { second })
    })
}
