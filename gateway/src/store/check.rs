//! Looking at a store on which no gateway runs: what it holds, what is damaged, what was lost.
//!
//! Nothing in the folder is changed. A database cannot be opened without being written to, so each is copied to the
//! folder for temporary files while it is read. What `repair` does afterwards it says.

mod partition;
mod repair;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use muster_protocol::id::Offset;
use serde::Serialize;

use super::{
    OpenError,
    backup::Listing,
    checkpoint, files_of,
    folder::{self, parse_partition_name},
    lock, log_id_of,
};

pub use partition::{PartitionReport, PartitionState};

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// At manifests, and at the records only where there is none.
    List,
    /// At everything, with every check sum.
    Check,
}

/// What a store holds, and in which state it is.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The data folder.
    pub folder: PathBuf,
    /// The id of its log.
    pub log: String,
    /// The first offset that is held.
    pub first: u64,
    /// The offset after the last record.
    pub next: u64,
    /// Its partitions, by offset.
    pub partitions: Vec<PartitionReport>,
    /// Offsets between partitions that nothing stands at: from the first to before the second.
    pub missing: Vec<(u64, u64)>,
    /// Its checkpoints, by offset, and whether each is whole.
    pub checkpoints: Vec<(u64, bool)>,
    /// What the loss records in the log say, by reason. Only if the records were looked at.
    pub lost: BTreeMap<String, Lost>,
    /// Files that a crash left, which mean nothing.
    pub left_over: Vec<PathBuf>,
    /// Of a backup that was not opened yet: listed files that are missing or differ.
    pub backup_differs: Vec<PathBuf>,
    /// What was repaired.
    pub repaired: Vec<String>,
}

/// Samples that loss records name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Batches that they list.
    pub batches: u64,
    /// Samples, those that were never in a batch too.
    pub samples: u64,
}

/// Why a store cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is none, or a gateway runs on it, or a later program wrote it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no store.
    #[error("{} is not a data folder of a gateway", .0.display())]
    NoStore(PathBuf),
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

impl Report {
    /// Looks at the store of a data folder or of a backup. `repair` is said to change it.
    pub fn of(root: &Path, depth: Depth, repair: bool) -> Result<Self, CheckError> {
        let Some(log) = log_id_of(root)? else { return Err(CheckError::NoStore(root.to_owned())) };
        let _lock = lock(root)?;
        let mut report = Self {
            folder: root.to_owned(),
            log: log.to_string(),
            first: 0,
            next: 0,
            partitions: Vec::new(),
            missing: Vec::new(),
            checkpoints: checkpoints_of(root)?,
            lost: BTreeMap::new(),
            left_over: left_over(root)?,
            backup_differs: if depth == Depth::Check { differing(root)? } else { Vec::new() },
            repaired: Vec::new(),
        };
        for first in partitions_of(root)? {
            let (mut partition, lost) = partition::look(&root.join("log"), first, depth)?;
            if repair {
                report.repair(root, &mut partition)?;
            }
            report.partitions.push(partition.report);
            for (reason, lost) in lost {
                let sum = report.lost.entry(reason.as_str().to_owned()).or_default();
                sum.batches += lost.batches;
                sum.samples += lost.samples;
            }
        }
        if repair {
            report.repair_folder(root)?;
        }
        report.find_missing();
        Ok(report)
    }

    /// Returns whether nothing is damaged and no offset is missing. Loss records of robots are no damage.
    pub fn is_whole(&self) -> bool {
        let intact = |partition: &PartitionReport| {
            partition.findings.is_empty() && partition.state != PartitionState::Quarantined
        };
        self.partitions.iter().all(intact)
            && self.missing.is_empty()
            && self.backup_differs.is_empty()
            && self.checkpoints.iter().all(|(_, whole)| *whole)
    }

    fn find_missing(&mut self) {
        self.first = self.partitions.first().map_or(Offset::FIRST.0, |partition| partition.first);
        self.next = self.partitions.last().map_or(Offset::FIRST.0, |partition| partition.end);
        let pairs = self.partitions.iter().zip(self.partitions.iter().skip(1));
        let gaps = pairs.map(|(one, next)| (one.end, next.first)).filter(|(end, first)| end < first);
        self.missing = gaps.collect();
    }
}

fn partitions_of(root: &Path) -> Result<Vec<Offset>, CheckError> {
    let log = root.join("log");
    let entries = fs::read_dir(&log).map_err(at("read", &log))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut firsts: Vec<Offset> = names.filter_map(|name| parse_partition_name(&name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

fn checkpoints_of(root: &Path) -> Result<Vec<(u64, bool)>, CheckError> {
    let folder = root.join("checkpoints");
    let offsets = checkpoint::offsets_in(&folder).map_err(at("read", &folder))?;
    Ok(offsets.into_iter().map(|at| (at.0, checkpoint::read(&folder, at).is_some())).collect())
}

/// Returns what is left of things that a crash interrupted.
fn left_over(root: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let log = root.join("log");
    let mut found = Vec::new();
    for entry in fs::read_dir(&log).map_err(at("read", &log))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if folder::is_half_made(&name) {
            found.push(entry.path());
        } else {
            let inner = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            found.extend(inner.map(|entry| entry.path()).filter(|path| is_stale(path)));
        }
    }
    found.sort();
    Ok(found)
}

fn is_stale(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".new") || name.starts_with("snap.") && super::database::is_unfinished(&name)
}

/// Compares a backup with its listing.
fn differing(root: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let listing = Listing::read(root).map_err(at("read the listing of", root))?;
    let Some(listing) = listing else { return Ok(Vec::new()) };
    let there = files_of(root).map_err(at("list the files of", root))?;
    let mut differs: Vec<PathBuf> = Vec::new();
    for file in listing.files {
        let same =
            there.contains(&file.path) && crc_of(&root.join(&file.path)).is_ok_and(|crc| crc == file.crc);
        if !same {
            differs.push(file.path);
        }
    }
    Ok(differs)
}

fn crc_of(path: &Path) -> io::Result<u32> {
    use io::Read as _;
    let mut file = fs::File::open(path)?;
    let mut chunk = vec![0; 1024 * 1024];
    let mut crc = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(crc),
            got => crc = crc32c::crc32c_append(crc, &chunk[..got]),
        }
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CheckError {
    let path = path.to_owned();
    move |source| CheckError::Io { action, path, source }
}
