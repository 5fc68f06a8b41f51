//! The last stage of batches and schemas: bytes, compressed where that helps.
//!
//! ```text
//!   0 stored, 1 zstd u8 | length before compression varint | bytes to the end
//! ```

use std::{borrow::Cow, cell::RefCell};

use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe,
};

use crate::column::{
    ReadError,
    reader::{Reader, put_count},
};

/// Why bytes do not unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// A length does not read, is above its limit, or is not what is there.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A compression that this version does not have.
    #[error("unknown compression {number}")]
    UnknownCompression {
        /// The number found.
        number: u8,
    },
    /// The bytes are not one zstd frame of the length announced.
    #[error("the compressed bytes are damaged: they do not give the {expected} bytes announced")]
    Damaged {
        /// The length announced.
        expected: usize,
    },
}

/// Appends `raw`, compressed if that is shorter.
pub(crate) fn pack(raw: &[u8], out: &mut Vec<u8>) {
    let compressed = compress(raw).filter(|compressed| compressed.len() < raw.len());
    out.push(if compressed.is_some() { ZSTD } else { STORED });
    put_count(out, raw.len());
    out.extend_from_slice(compressed.as_deref().unwrap_or(raw));
}

/// Reads everything that is left. No more than `raw_max` bytes are ever allocated.
pub(crate) fn unpack<'a>(reader: &mut Reader<'a>, raw_max: usize) -> Result<Cow<'a, [u8]>, UnpackError> {
    let compression = reader.byte()?;
    let length = reader.count("bytes before compression", raw_max)?;
    match compression {
        STORED => Ok(Cow::Borrowed(reader.take(length)?)),
        ZSTD => decompress(reader.take_rest(), length).map(Cow::Owned),
        number => Err(UnpackError::UnknownCompression { number }),
    }
}

fn compress(raw: &[u8]) -> Option<Vec<u8>> {
    with(&COMPRESSOR, || Compressor::new(LEVEL).ok(), |compressor| compressor.compress(raw).ok())
}

fn decompress(bytes: &[u8], length: usize) -> Result<Vec<u8>, UnpackError> {
    let damaged = UnpackError::Damaged { expected: length };
    // More frames, or one that is skipped, would hide bytes that nobody looks at.
    if zstd_safe::find_frame_compressed_size(bytes) != Ok(bytes.len()) {
        return Err(damaged);
    }
    let raw = with(
        &DECOMPRESSOR,
        || Decompressor::new().ok(),
        |decompressor| decompressor.decompress(bytes, length).ok(),
    );
    raw.filter(|raw| raw.len() == length).ok_or(damaged)
}

/// Lends this thread's context: making one costs more than using it. A context carries nothing from one use to the
/// next.
fn with<T, R>(
    context: &'static std::thread::LocalKey<RefCell<Option<T>>>,
    make: impl FnOnce() -> Option<T>,
    apply: impl FnOnce(&mut T) -> Option<R>,
) -> Option<R> {
    context.with_borrow_mut(|context| {
        if context.is_none() {
            *context = make();
        }
        apply(context.as_mut()?)
    })
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The level at which a batch takes about as long to compress as to encode.
const LEVEL: i32 = 3;

const STORED: u8 = 0;
const ZSTD: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        pack(raw, &mut out);
        out
    }

    #[test]
    fn what_repeats_is_compressed_and_comes_back() {
        let raw = vec![7; 100_000];
        let bytes = packed(&raw);
        assert!(bytes.len() < 100);
        assert_eq!(unpack(&mut Reader::new(&bytes), raw.len()).unwrap(), raw);
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_decompression() {
        let bytes = packed(&vec![7; 100_000]);
        let refused = unpack(&mut Reader::new(&bytes), 99_999);
        assert!(matches!(refused, Err(UnpackError::Read(ReadError::TooMany { found: 100_000, .. }))));
    }

    #[test]
    fn a_length_that_is_not_what_comes_out_is_refused() {
        let frame = zstd::bulk::compress(&[7; 1000], LEVEL).unwrap();
        for claimed in [0, 999, 1001] {
            let mut bytes = vec![ZSTD];
            put_count(&mut bytes, claimed);
            bytes.extend_from_slice(&frame);
            let refused = unpack(&mut Reader::new(&bytes), 5000);
            assert_eq!(refused, Err(UnpackError::Damaged { expected: claimed }));
        }
    }

    #[test]
    fn bytes_after_the_compressed_frame_are_refused() {
        let mut bytes = packed(&[7; 1000]);
        bytes.extend_from_slice(&zstd::bulk::compress(&[], LEVEL).unwrap());
        assert!(unpack(&mut Reader::new(&bytes), 5000).is_err());
        let mut bytes = packed(&[7; 1000]);
        bytes.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]); // a skippable frame of no bytes
        assert!(unpack(&mut Reader::new(&bytes), 5000).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_pack_and_unpack(raw: Vec<u8>) {
            let bytes = packed(&raw);
            prop_assert!(bytes.len() <= raw.len() + 3);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(unpack(&mut reader, raw.len()).unwrap(), raw);
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_unpack_without_panic(bytes: Vec<u8>) {
            if let Ok(raw) = unpack(&mut Reader::new(&bytes), 1000) {
                prop_assert!(raw.len() <= 1000);
            }
        }
    }
}
