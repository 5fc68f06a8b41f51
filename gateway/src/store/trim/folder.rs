//! Trims a data folder that no gateway runs on. Nothing is opened and nothing is written: a full disk does not hinder it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_protocol::id::Offset;

use super::{Candidate, Goal, Going, Plan, Stop, TrimError, Trimmed, plan, running::candidate};
use crate::store::{
    Disk as _, LISTING_FILE, OsDisk, checkpoint,
    disk::bytes_of,
    folder::{is_half_made, lock, log_id_of, parse_partition_name, partition_name},
    manifest::Manifest,
    partition::{Partition, QUARANTINED_FILE, Quarantine, Sealed, State},
};

/// Says what would go.
pub(crate) fn plan_of(root: &Path, goal: Goal) -> Result<Plan, TrimError> {
    check(root)?;
    let _lock = lock(root)?;
    Ok(plan(candidates(root)?, goal))
}

/// Drops the oldest partitions that begin before `until`, as far as they may go, and what a crash left half removed.
pub(crate) fn trim(root: &Path, until: Offset) -> Result<Trimmed, TrimError> {
    check(root)?;
    let _lock = lock(root)?;
    let log = root.join("log");
    clear_left_over(&log).map_err(at("clear", &log))?;
    let mut trimmed = Trimmed::default();
    for Candidate { going, obstacle, .. } in candidates(root)? {
        if going.first >= until.0 || obstacle.is_some() {
            break;
        }
        let folder = log.join(partition_name(Offset(going.first)));
        drop_one(&log, &folder).map_err(at("drop partition", &folder))?;
        trimmed.partitions += 1;
        trimmed.bytes += going.disk_bytes;
    }
    Ok(trimmed)
}

fn check(root: &Path) -> Result<(), TrimError> {
    if log_id_of(root)?.is_none() {
        return Err(TrimError::NoStore(root.to_owned()));
    }
    if root.join(LISTING_FILE).exists() {
        return Err(TrimError::Backup(root.to_owned()));
    }
    Ok(())
}

fn candidates(root: &Path) -> Result<Vec<Candidate>, TrimError> {
    let log = root.join("log");
    let checkpoints = root.join("checkpoints");
    let floor = checkpoint::floor_of(&checkpoints).map_err(at("read", &checkpoints))?;
    let names = fs::read_dir(&log).map_err(at("read", &log))?.flatten().map(|entry| entry.file_name());
    let mut firsts: Vec<Offset> =
        names.filter_map(|name| parse_partition_name(&name.to_string_lossy())).collect();
    firsts.sort_unstable();
    let nexts: Vec<_> = firsts.iter().skip(1).copied().map(Some).chain([None]).collect();
    let look = |(first, next): (Offset, Option<Offset>)| {
        let folder = log.join(partition_name(first));
        match closed(first, &folder) {
            Some(partition) => candidate(&partition, next, floor),
            None => unsealed(first, next, &folder),
        }
    };
    Ok(firsts.into_iter().zip(nexts).map(look).collect())
}

/// Returns a partition that is sealed or set aside, as its files say.
fn closed(first: Offset, folder: &Path) -> Option<Arc<Partition>> {
    let state = match fs::read_to_string(folder.join(QUARANTINED_FILE)) {
        Ok(why) => State::Quarantined(Arc::new(Quarantine { why, disk_bytes: bytes_of(folder) })),
        Err(_) => State::Sealed(Arc::new(Sealed::new(&Manifest::read(&folder.join("manifest"))?, folder))),
    };
    Some(Arc::new(Partition::new(first, folder.to_owned(), state)))
}

/// Describes one that the next start will seal.
fn unsealed(first: Offset, next: Option<Offset>, folder: &Path) -> Candidate {
    let going = Going {
        first: first.0,
        end: next.unwrap_or(first).0,
        disk_bytes: bytes_of(folder),
        samples: 0,
        robots: 0,
        sealed_at: None,
    };
    Candidate { going, manifest: None, obstacle: Some(Stop::Written) }
}

/// Removes one partition so that a crash leaves it whole or as what the next start clears.
fn drop_one(log: &Path, folder: &Path) -> io::Result<()> {
    let doomed = folder.with_extension("dropped");
    fs::rename(folder, &doomed)?;
    OsDisk.sync_folder(log)?;
    fs::remove_dir_all(doomed)
}

fn clear_left_over(log: &Path) -> io::Result<()> {
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        if is_half_made(&entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TrimError {
    let path: PathBuf = path.to_owned();
    move |source| TrimError::Io { action, path, source }
}
