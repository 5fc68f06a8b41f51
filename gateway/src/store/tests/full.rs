//! A disk without room.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::*;
use crate::store::{Disk, Forgetting};

/// A disk that says how much is free, and is full for as long as the ballast lies on it.
#[derive(Debug)]
struct Small {
    free: AtomicU64,
    full_with: Option<PathBuf>,
    read_only: AtomicBool,
}

impl Small {
    fn new(full_with: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { free: AtomicU64::new(1 << 30), full_with, read_only: AtomicBool::new(false) })
    }

    fn step(&self) -> io::Result<()> {
        if self.read_only.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let full = self.full_with.as_ref().is_some_and(|ballast| ballast.exists());
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Small {
    fn sync_file(&self, file: &File, _: &Path) -> io::Result<()> {
        self.step()?;
        file.sync_data()
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.step()
    }

    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(self.free.load(Ordering::Relaxed))
    }
}

#[test]
fn a_disk_that_fills_up_is_refused_before_it_is_full_and_taken_again_once_there_is_room() {
    let root = folder();
    let disk = Small::new(None);
    let mut opened = Store::open_on(disk.clone(), root.path(), small(), LOG).unwrap();
    append(&mut opened.store, &records(0..3, 10)).unwrap();
    disk.free.store(100, Ordering::Relaxed);
    let refused = append(&mut opened.store, &records(3..4, 10)).unwrap_err();
    assert!(matches!(refused, StoreError::DiskFull { free: Some(100), .. }));
    assert!(refused.to_string().contains("100 bytes of the disk are free"), "{refused}");
    assert!(opened.reader.is_refusing() && !opened.store.has_room());
    assert_eq!(scan(&opened.reader, Offset(1)).len(), 3, "what is there is served");
    disk.free.store(1 << 30, Ordering::Relaxed);
    assert!(opened.store.has_room());
    append(&mut opened.store, &records(3..4, 10)).unwrap();
}

#[test]
fn a_store_on_a_full_disk_opens_on_its_ballast_serves_and_takes_nothing_until_there_is_room() {
    let root = folder();
    let mut opened = open(root.path());
    append(&mut opened.store, &records(0..3, 10)).unwrap();
    drop(opened);
    let ballast = root.path().join("store.ballast");
    assert!(ballast.exists());
    let disk = Small::new(Some(ballast.clone()));
    disk.free.store(0, Ordering::Relaxed);
    let mut opened = Store::open_on(disk.clone(), root.path(), small(), LOG).unwrap();
    assert!(!ballast.exists());
    assert_eq!(scan(&opened.reader, Offset(1)).len(), 3);
    assert!(matches!(append(&mut opened.store, &records(3..4, 10)), Err(StoreError::DiskFull { .. })));
    drop(opened);

    let disk = Small::new(None);
    disk.free.store(small().ballast_bytes, Ordering::Relaxed);
    let mut opened = Store::open_on(disk.clone(), root.path(), small(), LOG).unwrap();
    assert!(!opened.store.has_room(), "the ballast alone would take all that is free");
    disk.free.store(1 << 30, Ordering::Relaxed);
    assert!(opened.store.has_room() && ballast.exists());
    append(&mut opened.store, &records(3..4, 10)).unwrap();
    assert!(opened.store.make_room() && !opened.store.make_room());
}

#[test]
fn a_disk_that_turns_read_only_ends_the_log_with_a_clear_word_and_what_was_promised_is_there_after() {
    let root = folder();
    let disk = Small::new(None);
    let mut opened = Store::open_on(disk.clone(), root.path(), small(), LOG).unwrap();
    append(&mut opened.store, &records(0..3, 10)).unwrap();
    disk.read_only.store(true, Ordering::Relaxed);
    let failed = append(&mut opened.store, &records(3..4, 10)).unwrap_err();
    assert!(failed.to_string().contains("read-only"), "{failed}");
    assert_eq!(scan(&opened.reader, Offset(1)).len(), 3);
    disk.read_only.store(false, Ordering::Relaxed);
    let opened = reopen(opened, root.path());
    assert!(scan(&opened.reader, Offset(1)).len() >= 3);
    assert_eq!(opened.reader.forgetting(), Forgetting::None);
}
