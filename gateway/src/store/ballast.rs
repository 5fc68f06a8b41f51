//! Room on the disk that the store holds and gives up when there is no other: a database cannot be opened on a disk
//! that is full to the last block. While it is given up, nothing is taken, and it is held again only where as much is
//! free besides: else what gave it up would lack it at once.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::disk::Disk;

/// The ballast file.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    bytes: u64,
    there: bool,
}

const CHUNK_BYTES: usize = 64 * 1024;

impl Ballast {
    /// Finds the ballast, or lays it down if there is room.
    pub(super) fn open(disk: &dyn Disk, path: &Path, bytes: u64) -> Self {
        let there = fs::metadata(path).is_ok_and(|meta| meta.len() == bytes);
        let mut ballast = Self { path: path.to_owned(), bytes, there };
        ballast.restore(disk);
        ballast
    }

    /// Returns whether the room is held.
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// Frees the room.
    pub(super) fn give_up(&mut self) -> io::Result<()> {
        self.there = false;
        tracing::warn!("the disk is full: the ballast is given up, and nothing is taken until there is room");
        fs::remove_file(&self.path)
    }

    /// Tries to hold the room again.
    pub(super) fn restore(&mut self, disk: &dyn Disk) {
        if self.there {
            return;
        }
        let free = self.path.parent().and_then(|folder| disk.free_bytes(folder));
        if free.is_some_and(|free| free < self.bytes.saturating_mul(2)) {
            return;
        }
        match self.write(disk) {
            Ok(()) => self.there = true,
            Err(error) => {
                tracing::warn!(%error, "no room for the ballast: nothing is taken until there is");
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut file = File::create(&self.path)?;
        let chunk = vec![0x5a; CHUNK_BYTES]; // not zeros: some file systems store those without room
        let mut left = self.bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            file.write_all(&chunk[..now])?;
            left -= now as u64;
        }
        disk.sync_file(&file, &self.path)
    }
}
