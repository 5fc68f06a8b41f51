//! The one level below every promise of the store: syncing. A test puts its own [`Disk`] here, to count the order of
//! insert, flush, sync and acknowledgement, to let a sync fail, or to keep what a power cut would have left.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Makes files and folders durable. Nothing in the store is acknowledged before the call that covers it returned.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes a file's bytes durable.
    fn sync_file(&self, file: &File, path: &Path) -> io::Result<()>;

    /// Makes durable what was created, renamed or removed in a folder.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Returns how many bytes of a folder's disk are free for this process, if that can be known.
    fn free_bytes(&self, _folder: &Path) -> Option<u64> {
        None
    }

    /// Returns how large a folder's disk is, if that can be known.
    fn total_bytes(&self, _folder: &Path) -> Option<u64> {
        None
    }

    /// Is told of the steps of a commit that happen inside the database.
    fn observe(&self, _step: Step) {}
}

/// A step of a commit, in the order in which they have to happen. The sync follows the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A group of records was given to the database.
    Inserted,
    /// The database wrote everything that it was given to its file.
    Flushed,
}

/// The operating system's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn sync_file(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, folder: &Path) -> Option<u64> {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

/// Puts `bytes` at `path` in one step: written beside, synced, renamed, and the folder synced.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    disk.sync_file(&file, &beside)?;
    drop(file);
    fs::rename(&beside, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Reads a whole file, or `None` where there is none.
pub(super) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Syncs every file of a folder, then the folder.
pub(super) fn sync_all_of(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            disk.sync_folder(&path)?;
        } else {
            disk.sync_file(&File::open(&path)?, &path)?;
        }
    }
    disk.sync_folder(folder)
}

/// Returns what a folder occupies on the disk; what vanishes meanwhile counts as nothing.
pub(super) fn bytes_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_of(&entry.path()),
        Ok(meta) => allocated(&meta),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Returns what a file occupies on the disk.
pub(super) fn allocated(meta: &fs::Metadata) -> u64 {
    const BLOCK_BYTES: u64 = 512; // the unit of st_blocks, whatever the file system's own block is
    meta.blocks() * BLOCK_BYTES
}

/// Returns whether the disk has no room left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
