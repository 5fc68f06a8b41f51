//! The lock by which one program at a time has a folder.

use std::{
    fs::{File, TryLockError},
    io,
};

/// Holds the lock of a file until it is dropped.
///
/// The lock belongs to the open file, and a child process shares that until it starts its own program. To close the
/// file is therefore not enough: while any thread starts a child, the lock would outlive its holder. This one is given
/// back by name.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Takes the lock of an open file, or returns `None` if another open file has it.
    pub fn take(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file does the same if this fails, as soon as no child shares it.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_once_it_is_dropped_though_its_file_is_shared() {
        let path = std::env::temp_dir().join(format!("muster-file-lock-{}", std::process::id()));
        let open = || File::options().create(true).append(true).open(&path).unwrap();
        let file = open();
        // What a child has between its birth and the start of its program.
        let shared = file.try_clone().unwrap();
        let held = FileLock::take(file).unwrap().unwrap();
        assert!(FileLock::take(open()).unwrap().is_none(), "one at a time");
        drop(held);
        assert!(FileLock::take(open()).unwrap().is_some(), "given back, whoever shares the file");
        drop(shared);
        std::fs::remove_file(path).unwrap();
    }
}
