//! One sled database, the only file that knows sled. It is used in the one way in which sled is fast and bounded:
//! insert only, growing keys, short values, one flush and one sync of ours for each group.
//!
//! What sled does not do by itself, and is done here:
//!
//! - `flush` starts the writing but does not make it durable: the file is synced through a handle of our own.
//! - A left-over `snap.*.generating` makes every open fail: it is removed first. A damaged snapshot can be rebuilt
//!   from the log: it is removed, once, when an open fails.
//! - Damage makes sled panic in places: each call is caught and becomes [`DatabaseError::Damaged`].
//! - Its cache forgets a page only after a fixed number of later accesses to its neighbours, so that one pass over a
//!   database ends with all of it in memory, whatever the cache's capacity: readers count what they were shown, and
//!   let a database be closed after a while.
//! - Files under `blobs/` are never synced: values are kept so short that there are none, and they are counted.

use std::{
    fmt,
    fs::{self, File},
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use muster_protocol::id::{Offset, RobotId, SchemaHash};

use super::{
    disk::{Disk, Step, allocated},
    pack::Key,
    schemas,
};

/// A partition's database, open.
pub(super) struct Database {
    /// `None` only while it is dropped.
    trees: Option<Trees>,
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Bytes shown since it was opened: about what the cache holds.
    shown: AtomicU64,
}

/// What one group adds.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Schemas, by key of [`schemas`]. They go in before the records.
    pub(super) schemas: Vec<(Vec<u8>, Vec<u8>)>,
    /// Packed records.
    pub(super) entries: Vec<(Key, Vec<u8>)>,
}

/// Why a database does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// The disk or the file system refuses.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// Its bytes are damaged.
    #[error("{why}")]
    Damaged { why: String },
}

struct Trees {
    db: sled::Db,
    schemas: sled::Tree,
}

impl Database {
    /// Opens the database of a folder, or makes it.
    pub(super) fn open(folder: &Path, cache_bytes: u64, disk: Arc<dyn Disk>) -> Result<Self, DatabaseError> {
        remove_snapshots(folder, Snapshots::Unfinished)?;
        let trees = match open_unlocked(folder, cache_bytes) {
            Err(DatabaseError::Damaged { .. }) => {
                remove_snapshots(folder, Snapshots::All)?;
                open_unlocked(folder, cache_bytes)?
            }
            other => other?,
        };
        let path = folder.join("db");
        let file = File::open(&path).map_err(DatabaseError::Io)?;
        Ok(Self { trees: Some(trees), file, path, disk, shown: AtomicU64::new(0) })
    }

    /// Gives the database a group. Nothing of it is durable before [`Database::flush_and_sync`].
    pub(super) fn insert(&self, group: Group) -> Result<(), DatabaseError> {
        let trees = self.trees();
        guarded(|| {
            if !group.schemas.is_empty() {
                let mut batch = sled::Batch::default();
                group.schemas.into_iter().for_each(|(key, value)| batch.insert(key, value));
                trees.schemas.apply_batch(batch)?;
            }
            let mut batch = sled::Batch::default();
            group.entries.into_iter().for_each(|(key, value)| batch.insert(&key.encode(), value));
            trees.db.apply_batch(batch)
        })?;
        self.disk.observe(Step::Inserted);
        Ok(())
    }

    /// Makes everything durable that was inserted.
    pub(super) fn flush_and_sync(&self) -> Result<(), DatabaseError> {
        guarded(|| self.trees().db.flush())?;
        self.disk.observe(Step::Flushed);
        self.disk.sync_file(&self.file, &self.path).map_err(DatabaseError::Io)
    }

    /// Shows the entries in order, from the one that holds or follows `at`, until the visitor breaks.
    pub(super) fn visit_entries(
        &self,
        at: Offset,
        mut visit: impl FnMut(Key, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), DatabaseError> {
        let records = &self.trees().db;
        let mut malformed = None;
        guarded(|| {
            let wanted = Key::first(at).encode();
            let start = match records.range(..=wanted).next_back().transpose()? {
                Some((key, _)) => key,
                None => wanted[..].into(),
            };
            for entry in records.range(start..) {
                let (key, value) = entry?;
                let Some(key) = Key::decode(&key) else {
                    malformed = Some(key);
                    break;
                };
                self.shown.fetch_add(value.len() as u64, Ordering::Relaxed);
                if visit(key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })?;
        match malformed {
            Some(key) => Err(DatabaseError::Damaged { why: format!("a key of {} bytes", key.len()) }),
            None => Ok(()),
        }
    }

    /// Removes the entries from `at` on: the parts of a record that a crash cut short, which nobody was promised.
    pub(super) fn remove_from(&self, at: Offset) -> Result<(), DatabaseError> {
        let records = &self.trees().db;
        guarded(|| {
            for key in records.range(Key::first(at).encode()..).keys() {
                records.remove(key?)?;
            }
            Ok(())
        })
    }

    /// Returns a robot's encoded schema.
    pub(super) fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Result<Option<Vec<u8>>, DatabaseError> {
        let tree = &self.trees().schemas;
        let parts: Vec<sled::IVec> =
            guarded(|| tree.scan_prefix(schemas::prefix(robot, hash)).values().collect())?;
        Ok(schemas::join(parts.iter().map(AsRef::as_ref)))
    }

    /// Returns which schemas the database holds.
    pub(super) fn schema_keys(&self) -> Result<Vec<(RobotId, SchemaHash)>, DatabaseError> {
        let tree = &self.trees().schemas;
        let keys: Vec<sled::IVec> = guarded(|| tree.iter().keys().collect())?;
        Ok(keys.iter().filter_map(|key| schemas::first_part(key)).collect())
    }

    /// Returns how many bytes were read of it since it was opened.
    pub(super) fn shown_bytes(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Returns what the database's file occupies on the disk.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| allocated(&meta))
    }

    fn trees(&self) -> &Trees {
        self.trees.as_ref().expect("taken only by drop")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let trees = self.trees.take();
        // sled unwraps a failing sync when it closes; what was promised is synced already
        let _ = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Database({})", self.path.display())
    }
}

/// Counts the values that the database of a folder keeps in files of their own. It must be none.
pub(super) fn blobs_in(folder: &Path) -> u64 {
    fs::read_dir(folder.join("blobs")).map_or(0, |entries| entries.flatten().count() as u64)
}

/// Which snapshots of a database's page table to remove.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshots {
    /// Those that a crash left half written.
    Unfinished,
    /// All: the next open rebuilds them from the log.
    All,
}

/// Returns whether a snapshot of this name was left half written.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.ends_with(".generating") || name.ends_with(".in___motion")
}

fn remove_snapshots(folder: &Path, which: Snapshots) -> Result<(), DatabaseError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(DatabaseError::Io(error)),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && (is_unfinished(&name) || which == Snapshots::All) {
            fs::remove_file(entry.path()).map_err(DatabaseError::Io)?;
        }
    }
    Ok(())
}

/// Opens, waiting for a moment where the last user of this process has not let go of the file yet: sled's own threads
/// may hold it a little longer than the handle that was dropped.
fn open_unlocked(folder: &Path, cache_bytes: u64) -> Result<Trees, DatabaseError> {
    for _ in 0..LOCKED_TRIES {
        match open_once(folder, cache_bytes) {
            Err(DatabaseError::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::park_timeout(LOCKED_WAIT);
            }
            other => return other,
        }
    }
    open_once(folder, cache_bytes)
}

fn open_once(folder: &Path, cache_bytes: u64) -> Result<Trees, DatabaseError> {
    // `flush_every_ms(None)` would also turn off sled's own cleaning up
    let config =
        sled::Config::new().path(folder).cache_capacity(cache_bytes).flush_every_ms(Some(FLUSH_EVERY_MS));
    guarded(|| {
        let db = config.open()?;
        let schemas = db.open_tree(SCHEMAS_TREE)?;
        Ok(Trees { db, schemas })
    })
}

fn guarded<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, DatabaseError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => Err(DatabaseError::Io(error)),
        Ok(Err(error)) => Err(DatabaseError::Damaged { why: error.to_string() }),
        Err(panic) => Err(DatabaseError::Damaged { why: format!("sled panicked: {}", said(panic.as_ref())) }),
    }
}

/// Returns whether the file itself is at fault, not the system around it: it is too short or its blocks unreadable.
fn is_damage(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO)
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a word".to_owned(),
    }
}

const SCHEMAS_TREE: &str = "schemas";
const FLUSH_EVERY_MS: u64 = 1000;
const LOCKED_TRIES: u32 = 500;
const LOCKED_WAIT: Duration = Duration::from_millis(10);
