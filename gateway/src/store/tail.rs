//! A note of how far the open partition is committed, so that a start can tell a cut-off tail that nobody was promised
//! from one that was acknowledged and is damaged.
//!
//! The note is written after each sync and not synced itself: after a power cut it may be older than the log, never
//! newer. 12 bytes: the offset after the last committed record, u64, and its CRC32C, little-endian.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Buf;
use muster_protocol::id::Offset;

const FILE: &str = "tail";
const BYTES: usize = 12;

/// The note of one partition.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
}

impl Tail {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(FILE))?;
        Ok(Self { file })
    }

    /// Notes that everything below `next` is synced. A failure leaves an older note, which is still true.
    pub(super) fn note(&self, next: Offset) {
        let number = next.0.to_le_bytes();
        let mut note = [0; BYTES];
        note[..8].copy_from_slice(&number);
        note[8..].copy_from_slice(&crc32c::crc32c(&number).to_le_bytes());
        if let Err(error) = self.file.write_all_at(&note, 0) {
            tracing::debug!(%error, "the tail note was not written");
        }
    }

    /// Returns what a folder's note says.
    pub(super) fn read(folder: &Path) -> Option<Offset> {
        let note = fs::read(folder.join(FILE)).ok()?;
        let (number, mut crc) = note.split_at_checked(8)?;
        (crc.len() == 4 && crc.get_u32_le() == crc32c::crc32c(number))
            .then(|| Offset((&number[..]).get_u64_le()))
    }
}
