//! A disk in memory that can lose its power, run full, refuse and rot.
//!
//! It keeps two states: what a running program sees, and what is durable. [`FakeDisk::power_cut`] throws away the first,
//! but as a real disk does, not cleanly: of what was not synced any part may have arrived, block by block. A seed
//! decides which. Each operation is logged, so that a test can prove an order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::disk::{Disk, DiskFile, DiskLock};

/// What was done to the disk, in order. Failed operations are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A file was made.
    Create(String),
    /// Bytes were appended, making the file this long.
    Append(String, u64),
    /// A file was cut to this length.
    Truncate(String, u64),
    /// A file's bytes became durable.
    SyncData(String),
    /// A folder's names became durable.
    SyncFolder(String),
    /// A file was renamed.
    Rename(String, String),
    /// A file was removed.
    Remove(String),
}

/// Which operations are refused.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Faults {
    /// All files together may have this many bytes; what does not fit is cut off and `StorageFull` returned.
    pub capacity_bytes: Option<u64>,
    /// Appends, truncations, creations, renames and removals are refused.
    pub no_writes: bool,
    /// Syncs are refused, and what they would have made durable never will be.
    pub no_syncs: bool,
    /// After this many more changes and syncs every further one is refused, as if the power had failed there.
    pub changes_left: Option<u64>,
    /// Reads of paths that contain this text are refused.
    pub no_reads_of: Option<String>,
    /// Deeds of one kind are refused with an error of this kind.
    pub refused: Option<(Deed, ErrorKind)>,
}

/// Kinds of operations that a disk may refuse by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// To add to a file.
    Append,
    /// To make a file.
    Create,
    /// To remove a file.
    Remove,
    /// To make bytes or names durable.
    Sync,
    /// All of these and every other change, as on a disk that went read-only.
    Change,
}

/// A disk in memory. Clones show the same disk.
#[derive(Clone, Default)]
pub struct FakeDisk {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    names: BTreeMap<String, Node>,
    durable_names: BTreeMap<String, Node>,
    /// Changes of names since the last sync of their folder.
    unsynced: Vec<(String, NameChange)>,
    log: Vec<Operation>,
    bytes_read: u64,
    faults: Faults,
    /// Counts power cuts: what was open before one is dead.
    life: u64,
    locked: BTreeSet<String>,
}

type Node = Arc<Mutex<Content>>;

#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum NameChange {
    Add(String, Node),
    Remove(String),
    Rename(String, String),
}

struct FakeFile {
    world: Arc<Mutex<World>>,
    path: String,
    node: Node,
    life: u64,
}

struct FakeLock {
    world: Arc<Mutex<World>>,
    path: String,
    life: u64,
}

impl FakeDisk {
    /// Makes an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: unsynced bytes and names survive in part, as `seed` decides; open files and locks die. Faults end.
    pub fn power_cut(&self, seed: u64) {
        let mut dice = Dice(seed);
        let mut world = self.world();
        let mut names = std::mem::take(&mut world.durable_names);
        let folders: BTreeSet<String> = world.unsynced.iter().map(|(folder, _)| folder.clone()).collect();
        for folder in folders {
            // A journal keeps the changes of one folder in order: the first few survive.
            let changes: Vec<NameChange> = world
                .unsynced
                .iter()
                .filter(|(of, _)| *of == folder)
                .map(|(_, change)| change.clone())
                .collect();
            let kept = dice.up_to(changes.len());
            changes.into_iter().take(kept).for_each(|change| change.apply(&mut names));
        }
        for node in names.values() {
            let mut content = lock(node);
            let after = content.after_power_cut(&mut dice);
            *content = Content { seen: after.clone(), durable: after };
        }
        world.names.clone_from(&names);
        world.durable_names = names;
        world.unsynced.clear();
        world.locked.clear();
        world.faults = Faults::default();
        world.life += 1;
    }

    /// Returns another disk with what is durable on this one: a copied image.
    #[must_use]
    pub fn image(&self) -> Self {
        let copy = Self::new();
        for (path, bytes) in self.durable_files() {
            copy.put(&path, &bytes);
        }
        copy
    }

    /// Returns how many bytes all files together have.
    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    /// Kills the program that uses the disk: nothing is lost, but its open files and locks die.
    pub fn kill(&self) {
        let mut world = self.world();
        world.locked.clear();
        world.life += 1;
    }

    /// Refuses operations from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// Flips one bit of a file, durably. Does nothing if there is no such file or bit.
    pub fn flip_bit(&self, path: &str, bit: usize) {
        let Some(node) = self.world().names.get(path).cloned() else { return };
        let mut content = lock(&node);
        let Content { seen, durable } = &mut *content;
        for bytes in [seen, durable] {
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Replaces or makes a file, durably.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let content = Content { seen: bytes.to_vec(), durable: bytes.to_vec() };
        let node: Node = Arc::new(Mutex::new(content));
        let mut world = self.world();
        world.names.insert(path.to_owned(), Arc::clone(&node));
        world.durable_names.insert(path.to_owned(), node);
    }

    /// Returns every file with its bytes, as a running program sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.world().names.iter().map(|(path, node)| (path.clone(), lock(node).seen.clone())).collect()
    }

    /// Returns every file that a power cut leaves, with the bytes of it that are durable.
    pub fn durable_files(&self) -> BTreeMap<String, Vec<u8>> {
        let world = self.world();
        world.durable_names.iter().map(|(path, node)| (path.clone(), lock(node).durable.clone())).collect()
    }

    /// Returns the files of which a power cut could lose the name or a byte.
    pub fn volatile(&self) -> Vec<String> {
        let world = self.world();
        let durable = |path: &str, node: &Node| {
            let content = lock(node);
            world.durable_names.get(path).is_some_and(|named| Arc::ptr_eq(named, node))
                && content.seen == content.durable
        };
        world.names.iter().filter(|(path, node)| !durable(path, node)).map(|(path, _)| path.clone()).collect()
    }

    /// Returns what was done so far.
    pub fn log(&self) -> Vec<Operation> {
        self.world().log.clone()
    }

    /// Returns how many bytes were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.world().bytes_read
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    fn file(&self, path: &str, node: Node, life: u64) -> Arc<dyn DiskFile> {
        Arc::new(FakeFile { world: Arc::clone(&self.world), path: path.to_owned(), node, life })
    }
}

impl World {
    fn change(&mut self, path: &str, change: NameChange, operation: Operation) -> io::Result<()> {
        match change {
            NameChange::Add(..) => self.faults.allow(Deed::Create)?,
            NameChange::Remove(_) => self.faults.allow(Deed::Remove)?,
            NameChange::Rename(..) => self.faults.allow(Deed::Change)?,
        }
        self.allow_write()?;
        change.clone().apply(&mut self.names);
        self.unsynced.push((folder_of(path).to_owned(), change));
        self.log.push(operation);
        Ok(())
    }

    fn allow_write(&mut self) -> io::Result<()> {
        if self.faults.no_writes { Err(refused()) } else { self.faults.spend() }
    }

    fn allow_sync(&mut self) -> io::Result<()> {
        self.faults.allow(Deed::Sync)?;
        if self.faults.no_syncs { Err(refused()) } else { self.faults.spend() }
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|node| lock(node).seen.len() as u64).sum()
    }
}

impl Faults {
    fn allow(&self, deed: Deed) -> io::Result<()> {
        match self.refused {
            Some((refused, kind)) if refused == deed || refused == Deed::Change => Err(kind.into()),
            _ => Ok(()),
        }
    }

    /// Counts one change or sync.
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => Err(refused()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path, node);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
        }
    }
}

impl Content {
    /// Returns what a power cut leaves: what is durable, and of the rest any blocks, the lost ones as zeros.
    fn after_power_cut(&self, dice: &mut Dice) -> Vec<u8> {
        const BLOCK_BYTES: usize = 512;
        let same = self.durable.len();
        if !self.seen.starts_with(&self.durable) {
            // Cut back and perhaps written again: one state or the other.
            return if dice.up_to(1) == 0 { self.durable.clone() } else { self.seen.clone() };
        }
        let mut after = self.seen[..same + dice.up_to(self.seen.len() - same)].to_vec();
        if dice.up_to(1) == 0 {
            for block in after[same..].chunks_mut(BLOCK_BYTES) {
                if dice.up_to(3) == 0 {
                    block.fill(0);
                }
            }
        }
        after
    }
}

impl Disk for FakeDisk {
    fn place(&self) -> String {
        "(in memory)".to_owned()
    }

    fn make_folder(&self, _folder: &str) -> io::Result<()> {
        self.world().allow_write()
    }

    fn lock(&self, path: &str) -> io::Result<Option<DiskLock>> {
        let mut world = self.world();
        if !world.locked.insert(path.to_owned()) {
            return Ok(None);
        }
        let lock = FakeLock { world: Arc::clone(&self.world), path: path.to_owned(), life: world.life };
        Ok(Some(DiskLock::new(lock)))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        if world.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = Node::default();
        let change = NameChange::Add(path.to_owned(), Arc::clone(&node));
        world.change(path, change, Operation::Create(path.to_owned()))?;
        Ok(self.file(path, node, world.life))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let world = self.world();
        let node = world.names.get(path).cloned().ok_or(ErrorKind::NotFound)?;
        Ok(self.file(path, node, world.life))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let world = self.world();
        let within = world.names.keys().filter(|path| folder_of(path) == folder);
        Ok(within.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        self.world().change(to, change, Operation::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        if !world.names.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        world.change(path, NameChange::Remove(path.to_owned()), Operation::Remove(path.to_owned()))
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut world = self.world();
        world.allow_sync()?;
        let World { unsynced, durable_names, .. } = &mut *world;
        for (_, change) in unsynced.iter().filter(|(of, _)| of == folder) {
            change.clone().apply(durable_names);
        }
        unsynced.retain(|(of, _)| of != folder);
        world.log.push(Operation::SyncFolder(folder.to_owned()));
        Ok(())
    }
}

impl FakeFile {
    /// Returns the disk's state if this file was not opened before a power cut.
    fn alive(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = lock(&self.world);
        if world.life == self.life { Ok(world) } else { Err(io::Error::other("opened before the power cut")) }
    }
}

impl DiskFile for FakeFile {
    fn bytes(&self) -> io::Result<u64> {
        let _world = self.alive()?;
        Ok(lock(&self.node).seen.len() as u64)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.alive()?;
        world.faults.allow(Deed::Append)?;
        world.allow_write()?;
        let free = world
            .faults
            .capacity_bytes
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(world.used_bytes()));
        let fits = bytes.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        let mut content = lock(&self.node);
        content.seen.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(ErrorKind::StorageFull.into());
        }
        world.log.push(Operation::Append(self.path.clone(), content.seen.len() as u64));
        Ok(())
    }

    fn read_at(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut world = self.alive()?;
        if world.faults.no_reads_of.as_ref().is_some_and(|text| self.path.contains(text)) {
            return Err(refused());
        }
        let content = lock(&self.node);
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.seen.len());
        let end = at.saturating_add(len).min(content.seen.len());
        world.bytes_read += (end - at) as u64;
        Ok(content.seen[at..end].to_vec())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut world = self.alive()?;
        world.allow_write()?;
        lock(&self.node).seen.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        world.log.push(Operation::Truncate(self.path.clone(), len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.alive()?;
        world.allow_sync()?;
        let mut content = lock(&self.node);
        let Content { seen, durable } = &mut *content;
        durable.clone_from(seen);
        world.log.push(Operation::SyncData(self.path.clone()));
        Ok(())
    }
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        if world.life == self.life {
            world.locked.remove(&self.path);
        }
    }
}

/// `SplitMix64`: enough to decide what a power cut leaves.
struct Dice(u64);

impl Dice {
    /// Returns a number from 0 to `max`.
    fn up_to(&mut self, max: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (max as u64 + 1)).unwrap_or(0)
    }
}

fn refused() -> io::Error {
    io::Error::other("refused by the test")
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
