//! What the writer, the readers, the checkpoints and the housekeeping of one store share: its partitions, and how far
//! the log is committed.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use muster_protocol::id::{Offset, RobotId, SchemaHash};

use super::{
    Forgetting, StoreConfig, account,
    database::{Database, DatabaseError},
    disk::{Disk, bytes_of, replace},
    folder::Folder,
    handles::Handles,
    manifest::Manifest,
    partition::{Partition, QUARANTINED_FILE, Quarantine, State},
    schemas::SchemaCache,
};

/// One open store.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) folder: Folder,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: StoreConfig,
    pub(super) handles: Handles,
    /// Whether nothing is taken because there is no room.
    pub(super) refusing: AtomicBool,
    partitions: RwLock<BTreeMap<Offset, Arc<Partition>>>,
    /// The offset after the last committed record. Everything below is synced.
    next: AtomicU64,
    /// Every kept checkpoint covers the offsets up to here.
    floor: AtomicU64,
    schemas: Mutex<SchemaCache>,
    /// How many backups are being taken; locked while anything is removed.
    holds: Mutex<usize>,
    /// What was lost and the log does not say yet.
    pub(super) unaccounted: Unaccounted,
    forgetting: Mutex<Forgetting>,
}

/// Partitions that lost something which the log does not say yet, and who is to be told of a further one.
#[derive(Default)]
pub(super) struct Unaccounted {
    partitions: Mutex<VecDeque<Arc<Partition>>>,
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// A partition, and where it ends.
pub(super) struct Located {
    pub(super) partition: Arc<Partition>,
    /// The offset after its last committed record.
    pub(super) end: Offset,
    /// Where the log goes on: `end`, unless what stood between is lost.
    pub(super) resume: Offset,
}

impl Unaccounted {
    /// Adds a partition, if the log lacks something that it lost.
    pub(super) fn push(&self, partition: &Arc<Partition>) {
        if account::outstanding(partition).is_none() {
            return;
        }
        self.lock().push_back(Arc::clone(partition));
        if let Some(wake) = self.waker.get() {
            wake();
        }
    }

    /// Returns the first one, which stays until [`Unaccounted::pop`].
    pub(super) fn first(&self) -> Option<Arc<Partition>> {
        self.lock().front().cloned()
    }

    pub(super) fn pop(&self) {
        self.lock().pop_front();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Says whom to call, on any thread, when a partition is added. The first one stays.
    pub(super) fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        let _ = self.waker.set(waker);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Partition>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Unaccounted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Unaccounted({})", self.len())
    }
}

impl Shared {
    pub(super) fn new(folder: Folder, disk: Arc<dyn Disk>, config: StoreConfig) -> Self {
        Self {
            folder,
            disk,
            handles: Handles::new(config.sealed_open_max),
            config,
            refusing: AtomicBool::new(false),
            partitions: RwLock::default(),
            next: AtomicU64::new(Offset::FIRST.0),
            floor: AtomicU64::new(0),
            schemas: Mutex::default(),
            holds: Mutex::default(),
            unaccounted: Unaccounted::default(),
            forgetting: Mutex::default(),
        }
    }

    /// Returns the offset that the next record gets; every offset below is committed.
    pub(super) fn next(&self) -> Offset {
        Offset(self.next.load(Ordering::Acquire))
    }

    /// Shows readers everything below `next`. It is synced.
    pub(super) fn publish(&self, next: Offset) {
        self.next.store(next.0, Ordering::Release);
    }

    /// Returns the first offset that is held.
    pub(super) fn first(&self) -> Offset {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        partitions.keys().next().copied().unwrap_or_else(|| self.next())
    }

    /// Returns the offset up to which every kept checkpoint covers the log.
    pub(super) fn floor(&self) -> Offset {
        Offset(self.floor.load(Ordering::Acquire))
    }

    pub(super) fn set_floor(&self, floor: Offset) {
        self.floor.store(floor.0, Ordering::Release);
    }

    pub(super) fn forgetting(&self) -> Forgetting {
        *self.forgetting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_forgetting(&self, forgetting: Forgetting) {
        *self.forgetting.lock().unwrap_or_else(PoisonError::into_inner) = forgetting;
    }

    pub(super) fn add(&self, partition: Arc<Partition>) {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        partitions.insert(partition.first, partition);
    }

    pub(super) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns the partition that holds, or would hold, an offset; `None` below the first.
    pub(super) fn locate(&self, at: Offset) -> Option<Located> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let (_, partition) = partitions.range(..=at).next_back()?;
        let next = self.next();
        let resume = partitions.range(at.next()..).next().map_or(next, |(first, _)| *first);
        let end = match partition.state() {
            State::Open(open) => open.end().unwrap_or(next),
            State::Sealed(sealed) => sealed.end,
            State::Quarantined(_) => partition.first,
        };
        Some(Located { partition: Arc::clone(partition), end, resume })
    }

    /// Opens a sealed partition's database, or returns the open one. `None` if it was dropped or set aside meanwhile.
    pub(super) fn database(&self, partition: &Partition) -> Result<Option<Arc<Database>>, DatabaseError> {
        let cache = self.config.read_cache_bytes;
        let opened = partition.database(|folder| Database::open(folder, cache, Arc::clone(&self.disk)));
        match opened {
            Err(_) => Ok(None),
            Ok(database) => {
                let database = database?;
                if matches!(partition.state(), State::Sealed(_)) {
                    self.handles.keep(partition.first, &database);
                }
                Ok(Some(database))
            }
        }
    }

    /// Closes a sealed partition's database, once nobody reads it, if so much of it was read that its cache has
    /// outgrown its bound. The next reader opens it again.
    pub(super) fn close_if_outgrown(&self, partition: &Partition, database: &Database) {
        if database.shown_bytes() >= self.config.read_cache_bytes {
            self.handles.forget(partition.first);
        }
    }

    /// Sets a damaged partition aside, durably: it stays where it is, marked, until retention drops it.
    pub(super) fn quarantine(&self, partition: &Arc<Partition>, why: &str) {
        tracing::error!(partition = %partition.folder.display(), why, "set a damaged partition aside");
        self.handles.forget(partition.first);
        let quarantine = Quarantine { why: why.to_owned(), disk_bytes: bytes_of(&partition.folder) };
        partition.set_state(State::Quarantined(Arc::new(quarantine)));
        partition.slot.close_for_good();
        if let Err(error) = replace(&*self.disk, &partition.folder.join(QUARANTINED_FILE), why.as_bytes()) {
            tracing::error!(%error, "the mark was not written; the next start will find the damage again");
        }
        self.unaccounted.push(partition);
    }

    /// Writes what the partitions hold that have no manifest yet: a checkpoint is about to say of those records that
    /// the log has them, and damage must not turn them into records that nobody misses.
    pub(super) fn describe_unsealed(&self) {
        for partition in self.all() {
            let State::Open(open) = partition.state() else { continue };
            let end = open.end().unwrap_or_else(|| self.next());
            let written = match open.manifest(partition.first, end) {
                Ok(manifest) => replace(&*self.disk, &partition.partial_file(), &manifest.encode()),
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = written {
                tracing::warn!(%error, partition = %partition.folder.display(), "its partial manifest stays as it was");
            }
        }
    }

    /// Notes that nobody knows what a partition held that was set aside while the log is in use.
    pub(super) fn note_if_unlisted(&self, partition: &Partition) {
        if Manifest::read(&partition.manifest_file()).is_some() {
            return;
        }
        let forgetting = Forgetting::Quarantined { since: self.next() };
        self.set_forgetting(forgetting);
        if let Err(error) = forgetting.note(&*self.disk, &self.folder.root) {
            tracing::error!(%error, "the damage was not noted");
        }
    }

    /// Returns a robot's encoded schema from the partition of `near`, else from the newest that has it.
    pub(super) fn encoded_schema(
        &self,
        robot: &RobotId,
        hash: SchemaHash,
        near: Option<Offset>,
    ) -> Option<Bytes> {
        let near = near.and_then(|at| self.locate(at)).map(|located| located.partition);
        near.into_iter().chain(self.all().into_iter().rev()).find_map(|partition| {
            if matches!(partition.state(), State::Sealed(_)) {
                Manifest::read(&partition.manifest_file())?.has_schema(robot, hash).then_some(())?;
            }
            let database = self.database(&partition).ok()??;
            database.schema(robot, hash).ok()?.map(Bytes::from)
        })
    }

    pub(super) fn schema_cache(&self) -> MutexGuard<'_, SchemaCache> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what all partitions occupy on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.all().iter().map(|partition| partition.disk_bytes()).sum()
    }

    /// Returns about how many bytes of records there are behind an offset: of a partition that it lies in, as large a
    /// part as of its offsets.
    pub(super) fn record_bytes_after(&self, after: Offset) -> u64 {
        let next = self.next();
        let of_part = |partition: &Arc<Partition>| {
            let (end, bytes) = match partition.state() {
                State::Open(open) => (next, open.record_bytes.load(Ordering::Relaxed)),
                State::Sealed(sealed) => (sealed.end, sealed.record_bytes),
                State::Quarantined(_) => return 0,
            };
            let count = |from: Offset| u128::from(end.0.saturating_sub(from.0));
            let part =
                u128::from(bytes) * count(partition.first.max(after.next())) / count(partition.first).max(1);
            u64::try_from(part).unwrap_or(u64::MAX)
        };
        self.all().iter().map(of_part).sum()
    }

    /// Drops the oldest partitions, whole, while the log is larger than its retention allows and every checkpoint
    /// covers them. The one that is written is never dropped.
    pub(super) fn retain(&self) -> io::Result<()> {
        self.unless_held(|| {
            while self.disk_bytes() > self.config.retention_bytes {
                let Some(oldest) = self.droppable() else { break };
                self.drop_partition(&oldest)?;
            }
            Ok(())
        })
    }

    /// Removes something, one at a time, and not while a backup is taken.
    pub(super) fn unless_held(&self, remove: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if *holds == 0 { remove() } else { Ok(()) }
    }

    pub(super) fn hold(&self) {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    pub(super) fn let_go(&self) {
        *self.holds.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }

    /// Returns the oldest partition, if it may go.
    pub(super) fn droppable(&self) -> Option<Arc<Partition>> {
        let partitions = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let mut oldest = partitions.values();
        let (first, second) = (oldest.next()?, oldest.next()?);
        let covered = second.first.0 <= self.floor.load(Ordering::Acquire).saturating_add(1);
        let frozen = !matches!(first.state(), State::Open(_));
        (covered && frozen).then(|| Arc::clone(first))
    }

    /// Removes a partition, oldest first, so that a crash leaves it whole or as what the next start clears.
    pub(super) fn drop_partition(&self, partition: &Partition) -> io::Result<()> {
        tracing::info!(partition = %partition.folder.display(), "drop the oldest partition");
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        partitions.remove(&partition.first);
        drop(partitions);
        partition.slot.close_for_good();
        self.handles.forget(partition.first);
        let doomed = partition.folder.with_extension("dropped");
        std::fs::rename(&partition.folder, &doomed)?;
        self.disk.sync_folder(&self.folder.log())?;
        std::fs::remove_dir_all(&doomed)
    }
}
