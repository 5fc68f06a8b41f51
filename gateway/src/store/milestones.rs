//! Milestones: states of the fleet at moments of the past, kept for as long as the log behind them is held, so that the
//! state of any moment since can be folded from the one before it.
//!
//! A milestone is a checkpoint without receive windows, in a file of the same form, `milestones/<offset>-<made>.state`;
//! `made` is the gateway's clock when it was made, in nanoseconds. One is kept whenever the log has grown by
//! [`LOG_PER_STATE`] times its size, and at least by what the configuration says: so milestones take a small part of the log's space,
//! and no more than that much log lies between two of them.

use std::{fs, io, path::Path, path::PathBuf};

use bytes::Bytes;
use muster_protocol::{id::Offset, time::WallTime};

use super::{checkpoint::Checkpoint, disk::replace, shared::Shared};

/// How many bytes of log there are for each byte of a milestone, at least.
const LOG_PER_STATE: u64 = 8;

const EXTENSION: &str = "state";
const SECTION: &str = "fleet";

/// A milestone's file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    at: Offset,
    made: WallTime,
}

/// Keeps a state that was made at `made` and includes the records up to `at`, if one is due; removes those of which the
/// log behind them is gone.
pub(super) fn offer(shared: &Shared, at: Offset, made: WallTime, state: &Bytes) -> io::Result<()> {
    let folder = folder_of(shared);
    let mut names = names_in(&folder)?;
    shared.unless_held(|| {
        for gone in names.extract_if(.., |name| name.at.next() < shared.first()) {
            fs::remove_file(gone.file_in(&folder))?;
        }
        Ok(())
    })?;
    let due = LOG_PER_STATE.saturating_mul(state.len() as u64).max(shared.config.milestone_log_bytes);
    let since = names.last().map_or(Offset(0), |name| name.at);
    let is_first = names.is_empty() && shared.first() > Offset::FIRST;
    if at > since && (is_first || shared.record_bytes_after(since) >= due) {
        fs::create_dir_all(&folder)?;
        let milestone = Checkpoint { at, sections: vec![(SECTION.to_owned(), state.clone())] };
        replace(&*shared.disk, &Name { at, made }.file_in(&folder), &milestone.encode())?;
    }
    Ok(())
}

/// Returns the newest state that was made at `by` or before and that the log goes on behind.
pub(super) fn newest(shared: &Shared, by: WallTime) -> io::Result<Option<Vec<u8>>> {
    let folder = folder_of(shared);
    let names = names_in(&folder)?;
    let held = names.into_iter().filter(|name| name.at.next() >= shared.first() && name.made <= by);
    for name in held.rev() {
        if let Some(milestone) = Checkpoint::decode(&fs::read(name.file_in(&folder))?) {
            return Ok(milestone.section(SECTION).map(|bytes| bytes.to_vec()));
        }
        tracing::warn!(offset = %name.at, "pass over a damaged milestone");
    }
    Ok(None)
}

/// Returns when the oldest state was made that the log goes on behind.
pub(super) fn oldest(shared: &Shared) -> Option<WallTime> {
    let names = names_in(&folder_of(shared)).ok()?;
    names.into_iter().find(|name| name.at.next() >= shared.first()).map(|name| name.made)
}

fn folder_of(shared: &Shared) -> PathBuf {
    shared.folder.milestones()
}

/// Returns the milestones of a folder, ascending; none if there is no folder.
fn names_in(folder: &Path) -> io::Result<Vec<Name>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(Name::of(&entry?.path()));
    }
    names.sort_unstable();
    Ok(names)
}

impl Name {
    fn of(path: &Path) -> Option<Self> {
        let stem =
            path.file_stem()?.to_str().filter(|_| path.extension().is_some_and(|ext| ext == EXTENSION))?;
        let (at, made) = stem.split_once('-')?;
        Some(Self { at: Offset(at.parse().ok()?), made: WallTime(made.parse().ok()?) })
    }

    fn file_in(self, folder: &Path) -> PathBuf {
        folder.join(format!("{:020}-{}.{EXTENSION}", self.at.0, self.made.0))
    }
}
