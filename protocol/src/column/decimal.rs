//! Floats that are short decimals, as most sensors and programs write them: `3.7` is 37 tenths.
//!
//! ```text
//!   decimal places u8 | numerators: a column of integers | exceptions varint
//!     | row of each, as the distance to the one before, varint | bits of each, 8 bytes
//! ```
//!
//! A value is its numerator divided by ten to the power of the places. Numerators are below 2^53 and the power is at
//! most 10^22, so both are exact as floats and the division rounds once: the result is the float next to the decimal,
//! which is what a JSON parser gives. Whatever is not exactly that, such as -0.0, NaN or a third, is an exception and
//! keeps its bits.

use super::{
    ColumnError, ColumnSlice, decode_ints,
    delta::{self, Order},
    encode as encode_column,
    reader::{Reader, put_count},
};

/// Values as numerators at one power of ten.
pub(super) struct Decimals {
    places: u8,
    numerators: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
}

impl Decimals {
    /// Looks at a few values for the places that they need, then tries all; `None` where too few are decimals.
    pub(super) fn find(values: &[f64]) -> Option<Self> {
        let places = places_of_some(values)?;
        let exceptions_max = values.len() / EXCEPTIONS_PART;
        let mut numerators = Vec::with_capacity(values.len());
        let mut exceptions = Vec::new();
        let mut last = 0;
        for (row, value) in values.iter().enumerate() {
            match numerator(*value, places) {
                Some(found) => last = found,
                None if exceptions.len() == exceptions_max => return None,
                None => exceptions.push((row, value.to_bits())),
            }
            numerators.push(last);
        }
        Some(Self { places: u8::try_from(places).expect("at most 22"), numerators, exceptions })
    }

    /// Estimates what this costs after the last stage, in bits.
    pub(super) fn cost(&self) -> usize {
        const EXCEPTION_COST: usize = 8 * 10;
        let numerators = delta::cost(Order::First, &self.numerators);
        numerators.min(delta::cost(Order::Second, &self.numerators)) + self.exceptions.len() * EXCEPTION_COST
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.places);
        encode_column(&ColumnSlice::Int(&self.numerators), out);
        put_count(out, self.exceptions.len());
        let mut next = 0;
        for (row, _) in &self.exceptions {
            put_count(out, row - next);
            next = row + 1;
        }
        out.extend(self.exceptions.iter().flat_map(|(_, bits)| bits.to_le_bytes()));
    }
}

pub(super) fn decode(bytes: &mut Reader<'_>, rows: usize) -> Result<Vec<f64>, ColumnError> {
    let places = bytes.byte()?;
    let power = *POWERS_OF_TEN.get(usize::from(places)).ok_or(ColumnError::BadPlaces { places })?;
    let numerators = decode_ints(bytes, rows)?;
    let mut values: Vec<f64> = numerators.into_iter().map(|numerator| numerator as f64 / power).collect();
    let exceptions = bytes.count("exceptions", rows)?;
    let mut at = Vec::with_capacity(exceptions);
    let mut next = 0;
    for _ in 0..exceptions {
        let row = next + bytes.count("rows to an exception", rows)?;
        at.push(row);
        next = row + 1;
    }
    for row in at {
        let bits = f64::from_le_bytes(bytes.array()?);
        let no_such_row = ColumnError::NoSuchEntry { entry: row, entries: rows };
        *values.get_mut(row).ok_or(no_such_row)? = bits;
    }
    Ok(values)
}

/// Returns how many decimal places the values need, judged by some that are spread evenly; `None` where few are
/// decimals at all.
fn places_of_some(values: &[f64]) -> Option<usize> {
    const LOOKED_AT: usize = 24;
    let every = values.len().div_ceil(LOOKED_AT).max(1);
    let (mut places, mut seen, mut not_decimal) = (0, 0, 0);
    for value in values.iter().step_by(every) {
        seen += 1;
        match (places..POWERS_OF_TEN.len()).find(|places| numerator(*value, *places).is_some()) {
            Some(needed) => places = needed,
            None => not_decimal += 1,
        }
    }
    (not_decimal * 4 <= seen).then_some(places)
}

/// Returns the integer that gives exactly this float when divided by ten to the power of `places`.
fn numerator(value: f64, places: usize) -> Option<i64> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0; // 2^53
    let power = POWERS_OF_TEN[places];
    let scaled = (value * power).round_ties_even();
    // The bound keeps the conversion exact; NaN is not below it.
    if scaled.abs() >= EXACT_BELOW || scaled.is_nan() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let numerator = scaled as i64;
    // By way of the integer, which has no -0.
    ((numerator as f64 / power).to_bits() == value.to_bits()).then_some(numerator)
}

/// One exception in this many values at most; with more, another codec is shorter.
const EXCEPTIONS_PART: usize = 8;

/// Those that a float holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
