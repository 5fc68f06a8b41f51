//! The store's folder: which files it has, whose it is, and which program may open it.
//!
//! ```text
//! DATA/store.version      "muster store 3", the log's id and, after a restore, its parent's; a later version is refused
//!                         and nothing is touched
//! DATA/store.lock         locked while a gateway runs
//! DATA/store.reserved     no offset at or above this number was ever given
//! DATA/store.ballast      room that is given up so that a full disk can still be opened
//! DATA/store.forgot       see [`forgetting`](super::forgetting)
//! DATA/store.backup       in a copy that was not opened yet; see [`backup`](super::backup)
//! DATA/log/<offset>/      a partition, named by the offset of its first record, 20 digits
//! DATA/checkpoints/       see [`checkpoint`](super::checkpoint)
//! DATA/milestones/        see [`milestones`](super::milestones)
//! ```
//!
//! A folder under `log/` that ends in `.new` or `.dropped` is one that a crash left half made or half removed.
//! PROTOCOL.md#store is the specification.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use muster_program::file_lock::FileLock;
use muster_protocol::id::{LogId, Offset};

use super::{
    backup::{LISTING_FILE, Listing},
    disk::{Disk, is_full, read_if_there, replace},
};

/// The version of the folder that this program writes; it opens all versions up to this one.
pub const STORE_VERSION: u32 = 3;

/// Why a data folder is not opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error("the data folder {} cannot be written: {source}; make it writable for this user or choose another with --data-dir", folder.display())]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another gateway runs on it.
    #[error("the data folder {} is in use by another gateway; stop that one or choose another with --data-dir", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A later program wrote it.
    #[error("the data folder {} has store version {found}, but this program reads up to {STORE_VERSION}; update the gateway", folder.display())]
    NewerVersion {
        /// The folder.
        folder: PathBuf,
        /// The version found.
        found: u32,
    },
    /// Its version file is not one.
    #[error("{} does not say which store this is; restore it from a backup", file.display())]
    NotAStore {
        /// The version file.
        file: PathBuf,
    },
    /// It is an agent's.
    #[error("{} is the spool of an agent, not a data folder; name another folder with --data-dir; nothing was changed", folder.display())]
    Spool {
        /// The folder.
        folder: PathBuf,
    },
    /// It is a copy of a backup and a part of it is missing.
    #[error("the backup in {} is not whole: {} is missing or not as long as it was; copy it again", folder.display(), file.display())]
    NotWhole {
        /// The folder.
        folder: PathBuf,
        /// What is missing.
        file: PathBuf,
    },
    /// The file system refuses.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OpenError {
    /// Returns whether the disk has no room left.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::NotWritable { source, .. } | Self::Io { source, .. } if is_full(source))
    }
}

/// A data folder that this process holds the lock of.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) log_id: LogId,
    /// The log of which this one was restored.
    pub(super) parent: Option<LogId>,
    /// It was copied from a backup and [`Folder::finish_restore`] was not called yet.
    pub(super) is_copy: bool,
    _lock: FileLock,
}

/// See [`ballast`](super::ballast).
pub(super) const BALLAST_FILE: &str = "store.ballast";

/// The file by which an agent's spool is known.
const SPOOL_FILE: &str = "SPOOL";

/// What the version file says.
struct Known {
    version: u32,
    log: LogId,
    parent: Option<LogId>,
}

impl Folder {
    /// Opens a folder, or makes it with `new_id` as the id of its log.
    pub(super) fn open(disk: &dyn Disk, root: &Path, new_id: LogId) -> Result<Self, OpenError> {
        let known = read_version(root)?;
        if known.is_none() && root.join(SPOOL_FILE).exists() {
            return Err(OpenError::Spool { folder: root.to_owned() });
        }
        let not_writable = |source| OpenError::NotWritable { folder: root.to_owned(), source };
        fs::create_dir_all(root).map_err(not_writable)?;
        let lock = File::options().create(true).append(true).open(root.join("store.lock"));
        let lock = lock.map_err(not_writable)?;
        let lock = FileLock::take(lock).map_err(not_writable)?;
        let lock = lock.ok_or_else(|| OpenError::InUse { folder: root.to_owned() })?;
        for folder in ["log", "checkpoints"] {
            fs::create_dir_all(root.join(folder)).map_err(not_writable)?;
        }
        let copied = Listing::read(root);
        let copied = copied.map_err(|source| OpenError::Io {
            action: "read",
            path: root.join(LISTING_FILE),
            source,
        })?;
        let (log_id, parent) = match (&known, &copied) {
            (None, _) => (make(disk, root, new_id).map_err(not_writable)?, None),
            (Some(known), Some(listing)) if listing.log == known.log => {
                if let Some(file) = listing.first_missing(root) {
                    return Err(OpenError::NotWhole { folder: root.to_owned(), file: file.path.clone() });
                }
                write_version(disk, root, new_id, Some(known.log)).map_err(not_writable)?;
                (new_id, Some(known.log))
            }
            (Some(Known { version, log, parent }), _) => {
                if *version < STORE_VERSION {
                    write_version(disk, root, *log, *parent).map_err(not_writable)?;
                }
                (*log, *parent)
            }
        };
        Ok(Self { root: root.to_owned(), log_id, parent, is_copy: copied.is_some(), _lock: lock })
    }

    /// Says that what a restored folder has to know of itself is noted.
    pub(super) fn finish_restore(&self, disk: &dyn Disk) -> io::Result<()> {
        fs::remove_file(self.root.join(LISTING_FILE))?;
        disk.sync_folder(&self.root)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(super) fn partition(&self, first: Offset) -> PathBuf {
        self.log().join(partition_name(first))
    }

    pub(super) fn milestones(&self) -> PathBuf {
        self.root.join("milestones")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(super) fn ballast(&self) -> PathBuf {
        self.root.join(BALLAST_FILE)
    }

    /// Returns the number below which all offsets are that were ever given.
    pub(super) fn reserved(&self) -> Option<Offset> {
        let text = fs::read_to_string(self.root.join("store.reserved")).ok()?;
        text.trim().parse().ok().map(Offset)
    }

    /// Makes durable that offsets below `end` may be given.
    pub(super) fn reserve(&self, disk: &dyn Disk, end: Offset) -> io::Result<()> {
        replace(disk, &self.root.join("store.reserved"), format!("{end}\n").as_bytes())
    }

    /// Finishes what a crash left half done, and returns the first offsets of the partitions, ascending.
    pub(super) fn partitions(&self) -> io::Result<Vec<Offset>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.log())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if is_half_made(&name) {
                fs::remove_dir_all(entry.path())?;
            } else if let Some(first) = parse_partition_name(&name) {
                found.push(first);
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Returns whether a folder of the log is one that a crash left half made or half removed.
pub(super) fn is_half_made(name: &str) -> bool {
    [".new", ".dropped"].iter().any(|end| name.ends_with(end))
}

/// Returns a partition's folder name.
pub(super) fn partition_name(first: Offset) -> String {
    format!("{:020}", first.0)
}

/// Returns the offset that a partition's folder name says.
pub(super) fn parse_partition_name(name: &str) -> Option<Offset> {
    let first = Offset(name.parse().ok()?);
    (partition_name(first) == name).then_some(first)
}

fn read_version(root: &Path) -> Result<Option<Known>, OpenError> {
    let file = root.join("store.version");
    let read = read_if_there(&file);
    let read = read.map_err(|source| match source.kind() {
        // Below a file there is no folder, and none can be made.
        io::ErrorKind::NotADirectory => OpenError::NotWritable { folder: root.to_owned(), source },
        _ => OpenError::Io { action: "read", path: file.clone(), source },
    })?;
    let Some(bytes) = read else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("muster store ")?.parse().ok());
    match version {
        Some(found) if found > STORE_VERSION => {
            Err(OpenError::NewerVersion { folder: root.to_owned(), found })
        }
        Some(version) => {
            let log = lines.next().and_then(|line| parse_log_id(line.strip_prefix("log ")?));
            let parent = lines.next().and_then(|line| parse_log_id(line.strip_prefix("parent ")?));
            log.map(|log| Some(Known { version, log, parent })).ok_or(OpenError::NotAStore { file })
        }
        None => Err(OpenError::NotAStore { file }),
    }
}

/// Returns the id of a folder's log; `None` if it is none. Changes nothing.
pub(crate) fn log_id_of(root: &Path) -> Result<Option<LogId>, OpenError> {
    Ok(read_version(root)?.map(|known| known.log))
}

/// Locks a data folder that no gateway runs on, and changes nothing in it. A copy has no lock file, and nobody to lock
/// it against.
pub(crate) fn lock(root: &Path) -> Result<Option<FileLock>, OpenError> {
    let file = match File::open(root.join("store.lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { action: "open", path: root.join("store.lock"), source }),
    };
    match FileLock::take(file) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(OpenError::InUse { folder: root.to_owned() }),
        Err(source) => Err(OpenError::Io { action: "lock", path: root.join("store.lock"), source }),
    }
}

pub(super) fn parse_log_id(hex: &str) -> Option<LogId> {
    let valid = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| u128::from_str_radix(hex, 16).ok().map(|id| LogId(id.to_be_bytes())))?
}

fn make(disk: &dyn Disk, root: &Path, id: LogId) -> io::Result<LogId> {
    write_version(disk, root, id, None)?;
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_folder(parent)?;
    }
    Ok(id)
}

fn write_version(disk: &dyn Disk, root: &Path, id: LogId, parent: Option<LogId>) -> io::Result<()> {
    let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
    let text = format!("muster store {STORE_VERSION}\nlog {id}\n{parent}");
    replace(disk, &root.join("store.version"), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    const ID: LogId = LogId([0xab; 16]);

    #[test]
    fn the_log_keeps_its_id() {
        let temp = tempfile::tempdir().unwrap();
        drop(Folder::open(&OsDisk, temp.path(), ID).unwrap());
        let again = Folder::open(&OsDisk, temp.path(), LogId([1; 16])).unwrap();
        assert_eq!(again.log_id, ID);
    }

    #[test]
    fn a_second_gateway_is_refused_and_the_folder_named() {
        let temp = tempfile::tempdir().unwrap();
        let _first = Folder::open(&OsDisk, temp.path(), ID).unwrap();
        let error = Folder::open(&OsDisk, temp.path(), ID).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }));
        assert!(error.to_string().contains(&temp.path().display().to_string()));
    }

    #[test]
    fn a_newer_folder_is_refused_untouched() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("store.version"), "muster store 4\nshape unknown\n").unwrap();
        let error = Folder::open(&OsDisk, temp.path(), ID).unwrap_err();
        assert!(matches!(error, OpenError::NewerVersion { found: 4, .. }));
        let names: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store.version"]);
    }

    #[test]
    fn an_agents_spool_is_refused_untouched() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("SPOOL"), "").unwrap();
        let error = Folder::open(&OsDisk, temp.path(), ID).unwrap_err();
        assert!(matches!(error, OpenError::Spool { .. }), "{error}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "nothing was made in it");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "not a folder").unwrap();
        let error = Folder::open(&OsDisk, &file.join("data"), ID).unwrap_err();
        assert!(error.to_string().contains("data"), "{error}");
        fs::write(temp.path().join("store.version"), "something else").unwrap();
        assert!(matches!(Folder::open(&OsDisk, temp.path(), ID), Err(OpenError::NotAStore { .. })));
    }

    #[test]
    fn half_made_and_half_removed_partitions_are_cleared() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(&OsDisk, temp.path(), ID).unwrap();
        for name in
            ["00000000000000000007", "00000000000000000001.dropped", "00000000000000000009.new", "other"]
        {
            fs::create_dir_all(folder.log().join(name).join("blobs")).unwrap();
        }
        assert_eq!(folder.partitions().unwrap(), [Offset(7)]);
        assert_eq!(fs::read_dir(folder.log()).unwrap().count(), 2);
    }
}
