//! One partition of the log: a folder with a database, insert-only, that is open for writing, or sealed, or set aside.
//!
//! ```text
//!            roll                  index, manifest written
//!   open -----------> frozen ------------------------------> sealed
//!     \                  \                                     |
//!      `------------------`------------ damaged -----------> quarantined       any: dropped by retention
//! ```
//!
//! A frozen partition is an open one that is not written any more; after a crash it is sealed at the next start.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_protocol::id::Offset;

use super::{
    database::{Database, DatabaseError},
    disk::bytes_of,
    handles::{Gone, Slot},
    manifest::{self, Manifest},
    reader::read_from,
    tally::Tally,
};

/// A partition, shared by the writer and all readers.
pub(super) struct Partition {
    pub(super) first: Offset,
    pub(super) folder: PathBuf,
    pub(super) slot: Slot,
    state: RwLock<State>,
}

/// What may be done with a partition.
#[derive(Clone)]
pub(super) enum State {
    /// Being written, or frozen and not yet sealed.
    Open(Arc<Open>),
    /// Complete, described by its files, opened when read.
    Sealed(Arc<Sealed>),
    /// Damaged and never opened again.
    Quarantined(Arc<Quarantine>),
}

/// A partition whose database is open and whose index is in memory.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) database: Arc<Database>,
    pub(super) tally: RwLock<Tally>,
    pub(super) record_bytes: AtomicU64,
    /// The offset after its last record once it is frozen, else [`WRITTEN`].
    end: AtomicU64,
}

/// What is kept in memory of a sealed partition.
pub(super) struct Sealed {
    pub(super) end: Offset,
    pub(super) record_bytes: u64,
    pub(super) disk_bytes: AtomicU64,
}

/// Why and how much is set aside.
pub(super) struct Quarantine {
    pub(super) why: String,
    pub(super) disk_bytes: u64,
}

impl Partition {
    pub(super) fn new(first: Offset, folder: PathBuf, state: State) -> Self {
        let slot = Slot::default();
        match &state {
            State::Open(open) => slot.set_open(&open.database),
            State::Sealed(_) => {}
            State::Quarantined(_) => slot.close_for_good(),
        }
        Self { first, folder, slot, state: RwLock::new(state) }
    }

    pub(super) fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_state(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Returns the partition's database if it may be read, opening it with `open` if it is closed.
    pub(super) fn database(
        &self,
        open: impl FnOnce(&Path) -> Result<Database, DatabaseError>,
    ) -> Result<Result<Arc<Database>, DatabaseError>, Gone> {
        match self.state() {
            State::Open(open) => Ok(Ok(Arc::clone(&open.database))),
            State::Sealed(_) => self.slot.open(|| open(&self.folder)),
            State::Quarantined(_) => Err(Gone),
        }
    }

    /// Returns what the partition occupies on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        match self.state() {
            State::Open(open) => open.database.file_bytes(),
            State::Sealed(sealed) => sealed.disk_bytes.load(Ordering::Relaxed),
            State::Quarantined(quarantine) => quarantine.disk_bytes,
        }
    }

    pub(super) fn index_file(&self) -> PathBuf {
        self.folder.join("index")
    }

    pub(super) fn manifest_file(&self) -> PathBuf {
        self.folder.join("manifest")
    }

    /// What a partition that is not sealed held at the last checkpoint.
    pub(super) fn partial_file(&self) -> PathBuf {
        self.folder.join(PARTIAL_FILE)
    }

    /// Returns what was in it and is not any more, as far as that is known.
    pub(super) fn lost(&self, part: Part) -> Option<Manifest> {
        let cut = Manifest::read(&self.folder.join(LOST_FILE));
        if part == Part::Cut || !matches!(self.state(), State::Quarantined(_)) {
            return cut.filter(|_| part == Part::Cut);
        }
        let sealed = Manifest::read(&self.manifest_file());
        let held = sealed.or_else(|| Manifest::read(&self.partial_file()))?;
        match cut {
            Some(cut) => held.without(&cut),
            None => Some(held),
        }
    }
}

/// What is lost of a partition. One loss may follow the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What a start did not find any more, while the rest was kept.
    Cut,
    /// All of it: it was set aside.
    Whole,
}

/// See [`Partition::partial_file`].
pub(super) const PARTIAL_FILE: &str = "manifest.partial";

/// What was in a partition and is not any more although the rest of it is: a manifest.
pub(super) const LOST_FILE: &str = "lost";

/// The file that says why a partition is set aside.
pub(super) const QUARANTINED_FILE: &str = "quarantined";

/// Stands for the end of a partition that is being written: where the log ends.
const WRITTEN: u64 = u64::MAX;

impl Open {
    /// Takes a database that ends before `end` and is not written.
    pub(super) fn frozen(database: Arc<Database>, tally: Tally, record_bytes: u64, end: Offset) -> Self {
        Self {
            database,
            tally: RwLock::new(tally),
            record_bytes: AtomicU64::new(record_bytes),
            end: AtomicU64::new(end.0),
        }
    }

    /// Returns the offset after its last record; `None` while it is written.
    pub(super) fn end(&self) -> Option<Offset> {
        let end = self.end.load(Ordering::Acquire);
        (end != WRITTEN).then_some(Offset(end))
    }

    /// Returns what it holds up to `end`, at least. Waits for no commit.
    pub(super) fn manifest(&self, first: Offset, end: Offset) -> Result<Manifest, DatabaseError> {
        let tally = self.tally.read().unwrap_or_else(PoisonError::into_inner);
        let losses = tally.losses.clone();
        let record_bytes = self.record_bytes.load(Ordering::Relaxed);
        let manifest = manifest::of((first, end), record_bytes, &tally, Vec::new());
        drop(tally);
        let mut accounts = Vec::with_capacity(losses.len());
        for at in losses {
            let read = read_from(&self.database, at, at.next())?;
            accounts.extend(read.into_iter().map(|(_, record)| record.to_vec()));
        }
        Ok(Manifest { accounts, ..manifest })
    }

    /// Says that it ends before `end` and is not written any more.
    pub(super) fn freeze(&self, end: Offset) {
        self.end.store(end.0, Ordering::Release);
    }

    /// Says that it is written from now on.
    pub(super) fn thaw(&self) {
        self.end.store(WRITTEN, Ordering::Release);
    }
}

impl Sealed {
    pub(super) fn new(manifest: &Manifest, folder: &Path) -> Self {
        let disk_bytes = AtomicU64::new(bytes_of(folder));
        Self { end: manifest.end, record_bytes: manifest.record_bytes, disk_bytes }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state() {
            State::Open(_) => "open",
            State::Sealed(_) => "sealed",
            State::Quarantined(_) => "quarantined",
        };
        write!(out, "Partition({} {state})", self.first)
    }
}
