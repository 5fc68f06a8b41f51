//! The disk under the spool: the few things that the spool asks of a file system, and the real one.
//!
//! A small storage trait makes a power cut a unit test: [`FakeDisk`](super::fake_disk::FakeDisk) implements it in
//! memory. What each method promises about durability stands here, because the spool's promises rest on it:
//!
//! - Bytes of a file survive a power cut once [`DiskFile::sync_data`] returned.
//! - That a file exists, is gone or was renamed survives once [`Disk::sync_folder`] of its folder returned.
//!
//! This is the only file of the spool that names `std::fs`.

use std::{
    any::Any,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_program::file_lock::FileLock;

/// One folder on some disk. Paths are relative to it, with `/` between names; the folder itself is the empty path.
pub trait Disk: Send + Sync {
    /// Returns where this is, for messages to people.
    fn place(&self) -> String;

    /// Makes a folder and its missing parents, and syncs the parent of each that it made. An existing one is fine.
    fn make_folder(&self, folder: &str) -> io::Result<()>;

    /// Takes the lock `path` for as long as the value lives, or returns `None` if another process has it.
    fn lock(&self, path: &str) -> io::Result<Option<DiskLock>>;

    /// Makes an empty file, which must not exist yet.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and appending.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Returns the names of the files in a folder, in no order; none if the folder does not exist.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Renames a file within its folder, replacing the target in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes durable which names the folder holds.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file. One thread appends and syncs; any number read beside it.
pub trait DiskFile: Send + Sync {
    /// Returns the length in bytes, as other readers see it now.
    fn bytes(&self) -> io::Result<u64>;

    /// Writes at the end. After an error any part of the bytes may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `len` bytes from `at`; fewer only where the file ends.
    fn read_at(&self, at: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes durable what was written. After an error nothing is known about any byte since the last success, and
    /// trying again proves nothing: the kernel may have dropped the bytes and reported it once.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock until it is dropped.
pub struct DiskLock {
    _held: Box<dyn Any + Send + Sync>,
}

/// A folder of the machine's file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl DiskLock {
    /// Keeps what holds the lock.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl RealDisk {
    /// Names the folder; nothing is touched yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Disk for RealDisk {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn make_folder(&self, folder: &str) -> io::Result<()> {
        make_and_sync(&self.at(folder))
    }

    fn lock(&self, path: &str) -> io::Result<Option<DiskLock>> {
        let writable = OpenOptions::new().write(true).create(true).truncate(false).open(self.at(path));
        // On a disk that takes no writes, a lock file that is there can still be locked.
        let file = writable.or_else(|error| File::open(self.at(path)).map_err(|_| error))?;
        Ok(FileLock::take(file)?.map(DiskLock::new))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(self.at(path))?;
        Ok(Arc::new(file))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).append(true).open(self.at(path))?))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.at(folder))?.sync_all()
    }
}

impl DiskFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut writer = self;
        writer.write_all(bytes)
    }

    fn read_at(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        let mut got = 0;
        while got < len {
            match FileExt::read_at(self, &mut buffer[got..], at + got as u64) {
                Ok(0) => break,
                Ok(bytes) => got += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(got);
        Ok(buffer)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }
}

/// Makes a folder below the nearest ancestor that exists, syncing the parent of each new one.
fn make_and_sync(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    if parent != Path::new(".") {
        make_and_sync(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Err(error) if !folder.is_dir() => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_folder_appends_reads_renames_and_removes() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path().join("a/b"));
        assert_eq!(disk.list("c").unwrap(), Vec::<String>::new());
        disk.make_folder("c").unwrap();
        disk.make_folder("c").unwrap();
        let file = disk.create("c/one").unwrap();
        assert!(disk.create("c/one").is_err());
        file.append(b"hello").unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.read_at(1, 100).unwrap(), b"ello");
        file.truncate(2).unwrap();
        file.append(b"y").unwrap();
        assert_eq!((file.bytes().unwrap(), file.read_at(0, 3).unwrap()), (3, b"hey".to_vec()));
        disk.rename("c/one", "c/two").unwrap();
        disk.sync_folder("c").unwrap();
        assert_eq!(disk.list("c").unwrap(), ["two"]);
        disk.remove("c/two").unwrap();
        assert_eq!(disk.list("c").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_lock_is_held_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(folder.path());
        let held = disk.lock("LOCK").unwrap();
        assert!(held.is_some());
        assert!(disk.lock("LOCK").unwrap().is_none());
        drop(held);
        assert!(disk.lock("LOCK").unwrap().is_some());
    }
}
