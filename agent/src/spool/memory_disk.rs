//! A disk in memory, for a spool that goes on when the real one fails. It refuses nothing; what it may hold is bounded
//! by the limit of the spool that is on it.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::disk::{Disk, DiskFile, DiskLock};

/// A folder in memory. It is gone with the program.
#[derive(Default)]
pub(super) struct MemoryDisk {
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

/// A file in memory. Readers go on with it after its removal.
#[derive(Default)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
}

impl MemoryDisk {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<MemoryFile>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryFile {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn place(&self) -> String {
        "(in memory)".to_owned()
    }

    fn make_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _path: &str) -> io::Result<Option<DiskLock>> {
        Ok(Some(DiskLock::new(())))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(MemoryFile::default());
        match self.files().insert(path.to_owned(), Arc::clone(&file)) {
            None => Ok(file),
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.files().get(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(file)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let files = self.files();
        let within = |path: &String| {
            let (of, name) = path.rsplit_once('/').unwrap_or(("", path));
            (of == folder).then(|| name.to_owned())
        };
        Ok(files.keys().filter_map(within).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.files().remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.lock().extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.lock();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let end = at.saturating_add(len).min(bytes.len());
        Ok(bytes.get(at..end).unwrap_or_default().to_vec())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.lock().truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
