//! Takes a fuzzer's bytes apart, and gives them the check sums without which no fuzzer gets past the first header.

/// The bytes of one input, from the front. What is missing at the end reads as zero.
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Takes up to so many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

/// Writes `bytes` at a place, as far as there is room.
pub(super) fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in out.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

/// Writes the CRC of what stands before `at` in `bytes` there.
pub(super) fn put_crc(bytes: &mut [u8], at: usize) {
    if let Some(covered) = bytes.get(..at) {
        let crc = crc32c::crc32c(covered);
        put(bytes, at, &crc.to_le_bytes());
    }
}
