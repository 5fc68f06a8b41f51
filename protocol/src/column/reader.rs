//! Bytes in and out: a cursor that never reads past its end, and the variable-length integers of the wire.
//!
//! A varint is LEB128: seven bits a byte, the lowest first, the top bit set on all but the last byte, at most ten
//! bytes for 64 bits. Signed integers are zigzagged first, so that small negative ones stay short.
//! PROTOCOL.md#varints is the specification.

/// A cursor over bytes from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// Why a cursor cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The bytes end too early.
    #[error("the bytes end: {need} are needed and {got} are left")]
    Truncated {
        /// Bytes needed.
        need: usize,
        /// Bytes left.
        got: usize,
    },
    /// A variable-length integer does not fit 64 bits.
    #[error("a variable-length integer of more than 64 bits")]
    VarintTooLong,
    /// A number is larger than it may be.
    #[error("{found} {what}; at most {max} are allowed")]
    TooMany {
        /// What it counts.
        what: &'static str,
        /// What it says.
        found: u64,
        /// The most allowed.
        max: usize,
    },
    /// Bytes follow where the end was expected.
    #[error("{extra} bytes follow the end")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes everything that is left.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Returns how many bytes are left, which are one thing of at most this length.
    pub(crate) fn left_at_most(&self, what: &'static str, max: usize) -> Result<usize, ReadError> {
        let left = self.rest.len();
        if left > max {
            return Err(ReadError::TooMany { what, found: left as u64, max });
        }
        Ok(left)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ReadError::Truncated { need: count, got: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(ReadError::Truncated { need: N, got: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ReadError> {
        self.array().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, ReadError> {
        match self.rest {
            [byte @ 0..=0x7f, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    pub(crate) fn signed_varint(&mut self) -> Result<i64, ReadError> {
        self.varint().map(unzigzag)
    }

    /// Reads a count or length and checks it before anyone allocates for it.
    pub(crate) fn count(&mut self, what: &'static str, max: usize) -> Result<usize, ReadError> {
        let found = self.varint()?;
        match usize::try_from(found) {
            Ok(count) if count <= max => Ok(count),
            _ => Err(ReadError::TooMany { what, found, max }),
        }
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(self) -> Result<(), ReadError> {
        if self.rest.is_empty() { Ok(()) } else { Err(ReadError::Trailing { extra: self.rest.len() }) }
    }

    fn long_varint(&mut self) -> Result<u64, ReadError> {
        let mut value = 0;
        for (place, byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            if place + 1 == VARINT_BYTES_MAX && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        if self.rest.len() < VARINT_BYTES_MAX {
            return Err(ReadError::Truncated { need: self.rest.len() + 1, got: self.rest.len() });
        }
        Err(ReadError::VarintTooLong)
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn put_signed_varint(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

/// Returns how many bytes [`put_varint`] writes.
pub(crate) fn varint_bytes(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

const VARINT_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_round_trip_and_have_the_length_that_was_announced(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn zigzag_round_trips(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn any_bytes_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() {}
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(ReadError::VarintTooLong));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Reader::new(&most).varint(), Ok(u64::MAX));
    }

    #[test]
    fn a_varint_that_ends_early_says_so() {
        assert_eq!(Reader::new(&[0x80]).varint(), Err(ReadError::Truncated { need: 2, got: 1 }));
        assert_eq!(Reader::new(&[]).varint(), Err(ReadError::Truncated { need: 1, got: 0 }));
    }

    #[test]
    fn small_numbers_of_either_sign_take_one_byte() {
        for value in -64..64 {
            assert_eq!(varint_bytes(zigzag(value)), 1);
        }
    }
}
