//! The order of insert, flush, sync and promise, shown one level below the store.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::*;
use crate::store::{Disk, Step};

/// A disk that keeps beside the real one what a power cut would leave of it: of each file what was synced last. After
/// each sync that is not of a group it keeps a copy of that, with what had been promised.
#[derive(Debug)]
struct PowerCut {
    real: PathBuf,
    left: PathBuf,
    failing: AtomicBool,
    steps: Mutex<Vec<&'static str>>,
    /// The offset below which everything was promised.
    promised: AtomicU64,
    /// How many copies there are; locked while the folder that is left changes.
    cuts: Mutex<Vec<(PathBuf, Offset)>>,
}

impl PowerCut {
    fn new(root: &Path) -> Arc<Self> {
        let (real, left) = (root.join("real"), root.join("left"));
        fs::create_dir_all(&left).unwrap();
        let (failing, steps) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Self { real, left, failing, steps, promised: AtomicU64::new(1), cuts: Mutex::default() })
    }

    fn cut(&self, cuts: &mut Vec<(PathBuf, Offset)>) {
        let to = self.left.with_file_name(format!("cut-{}", cuts.len()));
        copy(&self.left, &to);
        cuts.push((to, Offset(self.promised.load(Ordering::Acquire))));
    }

    fn note(&self, step: &'static str) {
        self.steps.lock().unwrap().push(step);
    }

    fn take_steps(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.steps.lock().unwrap())
    }

    fn left_of(&self, path: &Path) -> Option<PathBuf> {
        Some(self.left.join(path.strip_prefix(&self.real).ok()?))
    }

    /// Makes the names in a folder what they are; new ones have the content that they were synced with.
    fn keep_names(folder: &Path, left: &Path) {
        for entry in fs::read_dir(left).into_iter().flatten().flatten() {
            if !folder.join(entry.file_name()).exists() {
                let path = entry.path();
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }
        }
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let to = left.join(entry.file_name());
            if !to.exists() {
                copy_one(&entry.path(), &to);
            }
        }
    }
}

impl Disk for PowerCut {
    fn sync_file(&self, _file: &File, path: &Path) -> io::Result<()> {
        if self.failing.load(Ordering::Relaxed) {
            self.note("sync failed");
            return Err(io::Error::other("the disk is on fire"));
        }
        let mut cuts = self.cuts.lock().unwrap();
        if let Some(left) = self.left_of(path).filter(|left| left.parent().unwrap().exists()) {
            fs::copy(path, left)?;
        }
        if path.ends_with("db") {
            self.note("sync");
        } else {
            self.cut(&mut cuts);
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut cuts = self.cuts.lock().unwrap();
        if let Some(left) = self.left_of(folder) {
            fs::create_dir_all(&left)?;
            Self::keep_names(folder, &left);
            self.cut(&mut cuts);
        }
        Ok(())
    }

    fn observe(&self, step: Step) {
        self.note(match step {
            Step::Inserted => "insert",
            Step::Flushed => "flush",
        });
    }
}

fn open_cut(disk: &Arc<PowerCut>) -> Opened {
    let disk: Arc<PowerCut> = Arc::clone(disk);
    let real = disk.real.clone();
    Store::open_on(disk, &real, small(), LOG).unwrap()
}

#[test]
fn each_group_is_inserted_then_flushed_then_synced_then_promised() {
    let root = folder();
    let disk = PowerCut::new(root.path());
    let mut opened = open_cut(&disk);
    disk.take_steps();
    for t in 0..3 {
        append(&mut opened.store, &records(t..t + 2, 100)).unwrap();
        disk.note("promise");
        assert_eq!(disk.take_steps(), ["insert", "flush", "sync", "promise"]);
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_everything_that_was_promised() {
    let root = folder();
    let disk = PowerCut::new(root.path());
    let mut opened = open_cut(&disk);
    while opened.reader.status().partitions < 4 {
        let next = opened.reader.next().0;
        let times = i64::try_from(next).unwrap()..i64::try_from(next + 32).unwrap();
        append(&mut opened.store, &records(times, 1024)).unwrap();
        disk.promised.store(next + 32, Ordering::Release);
        disk.cut(&mut disk.cuts.lock().unwrap());
    }
    opened.store.housekeeping.settle();
    let cuts = std::mem::take(&mut *disk.cuts.lock().unwrap());
    assert!(cuts.len() > 20, "{}", cuts.len());
    for (left, promised) in cuts {
        let survived = open(&left);
        assert!(survived.reader.next() >= promised, "{}", left.display());
        assert_holds_all(&survived.reader, Offset(1));
        assert!(survived.reader.status().damaged.is_empty(), "{}", left.display());
    }
}

#[test]
fn a_failed_sync_promises_nothing_and_nothing_is_written_after_it() {
    let root = folder();
    let disk = PowerCut::new(root.path());
    let mut opened = open_cut(&disk);
    append(&mut opened.store, &records(1..3, 100)).unwrap();
    disk.failing.store(true, Ordering::Relaxed);
    let failed = append(&mut opened.store, &records(3..5, 100)).unwrap_err();
    assert!(failed.to_string().contains("the disk is on fire"), "{failed}");
    assert_eq!(opened.reader.next(), Offset(3), "readers never see what is not synced");
    assert_eq!(scan(&opened.reader, Offset(1)).len(), 2);
    disk.failing.store(false, Ordering::Relaxed);
    disk.take_steps();
    assert!(append(&mut opened.store, &records(5..7, 100)).is_err(), "the failure is latched");
    assert_eq!(disk.take_steps(), [""; 0]);
}

#[test]
fn what_was_written_but_not_promised_is_committed_or_gone_after_a_restart() {
    let root = folder();
    let disk = PowerCut::new(root.path());
    let mut opened = open_cut(&disk);
    append(&mut opened.store, &records(1..3, 100)).unwrap();
    disk.failing.store(true, Ordering::Relaxed);
    append(&mut opened.store, &records(3..5, 100)).unwrap_err();
    drop(opened);
    let mut opened = open(&disk.real);
    let next = opened.reader.next();
    assert!([Offset(3), Offset(5)].contains(&next), "{next}");
    assert_holds_all(&opened.reader, Offset(1));
    assert_eq!(append(&mut opened.store, &records(9..10, 100)).unwrap(), [next]);
}
