//! Checkpoints: what was folded from the log up to an offset, so that a start reads only the log behind it.
//!
//! A checkpoint is one file, `checkpoints/<offset>.checkpoint`: written, synced, renamed. Two are kept; a damaged one
//! is passed over for the older. What is in it is not known here: named sections of bytes. The log is never dropped
//! above the older of the two, so each of them can be brought up to date.
//!
//! ```text
//!  0 MSTC | version u8 | 3 x 0 | offset u64 | body bytes u64 | CRC32C of the first 24 bytes and the body
//! 28 body: postcard list of (name, bytes)
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use muster_protocol::{id::Offset, time::WallTime};

use super::{disk::replace, milestones, shared::Shared};

const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"MSTC";
const HEADER_BYTES: usize = 28;
const CRC_AT: usize = 24;
const KEPT: usize = 2;
const EXTENSION: &str = "checkpoint";

/// The store's checkpoints. One writer; it may be another thread than the committer.
#[derive(Debug)]
pub struct CheckpointStore {
    shared: Arc<Shared>,
    /// Offsets of the whole ones, ascending, at most [`KEPT`].
    kept: Vec<Offset>,
}

/// State folded from the records up to an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that it includes.
    pub at: Offset,
    /// Its parts, by name.
    pub sections: Vec<(String, Bytes)>,
}

/// Why a checkpoint is not written. The older ones stay.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It claims to include what is not committed.
    #[error("a checkpoint at offset {at}, but the log is committed up to {committed}")]
    NotCommitted {
        /// The offset claimed.
        at: Offset,
        /// The last committed offset.
        committed: Offset,
    },
    /// It is older than the newest one.
    #[error("a checkpoint at offset {at}, behind the one at {newest}")]
    Backwards {
        /// The offset given.
        at: Offset,
        /// The newest one's.
        newest: Offset,
    },
    /// The file system refuses.
    #[error("write a checkpoint into {}: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Checkpoint {
    /// Returns the bytes of a section.
    pub fn section(&self, name: &str) -> Option<&Bytes> {
        self.sections.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let sections: Vec<(&str, &[u8])> =
            self.sections.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        let body = postcard::to_stdvec(&sections).expect("sections have known lengths");
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.put_slice(&MAGIC);
        out.put_slice(&[VERSION, 0, 0, 0]);
        out.put_u64_le(self.at.0);
        out.put_u64_le(body.len() as u64);
        out.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&out), &body));
        out.put_slice(&body);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
        let (covered, mut saved) = header.split_at(CRC_AT);
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), body);
        let known = covered.starts_with(&MAGIC) && covered.get(4) == Some(&VERSION);
        if !known || saved.get_u32_le() != crc {
            return None;
        }
        let (sections, rest) = postcard::take_from_bytes::<Vec<(String, Vec<u8>)>>(body).ok()?;
        let sections = sections.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect();
        rest.is_empty().then_some(Self { at: Offset((&covered[8..]).get_u64_le()), sections })
    }
}

impl CheckpointStore {
    pub(super) fn open(shared: Arc<Shared>) -> io::Result<Self> {
        let kept = whole_ones(&shared.folder.checkpoints())?;
        let store = Self { shared, kept };
        store.publish_floor();
        Ok(store)
    }

    /// Returns the newest checkpoint that is whole and not ahead of the log.
    pub fn latest(&self) -> Option<Checkpoint> {
        let folder = self.shared.folder.checkpoints();
        self.kept.iter().rev().find_map(|&at| read(&folder, at))
    }

    /// Keeps a checkpoint, durably, and removes the third oldest.
    pub fn write(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let at = checkpoint.at;
        if at >= self.shared.next() {
            let committed = Offset(self.shared.next().0.saturating_sub(1));
            return Err(CheckpointError::NotCommitted { at, committed });
        }
        if let Some(&newest) = self.kept.last().filter(|&&newest| at < newest) {
            return Err(CheckpointError::Backwards { at, newest });
        }
        let folder = self.shared.folder.checkpoints();
        self.shared.describe_unsealed();
        self.replace(&folder, checkpoint).map_err(|source| CheckpointError::Io { folder, source })?;
        self.publish_floor();
        Ok(())
    }

    /// Keeps a state of the fleet for questions about the past, if one is due; `milestones` says when. It includes the
    /// records up to `at` and no other.
    pub fn keep_milestone(&self, at: Offset, made: WallTime, state: &Bytes) -> io::Result<()> {
        milestones::offer(&self.shared, at, made, state)
    }

    fn replace(&mut self, folder: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
        replace(&*self.shared.disk, &file_of(folder, checkpoint.at), &checkpoint.encode())?;
        if self.kept.last() != Some(&checkpoint.at) {
            self.kept.push(checkpoint.at);
        }
        if self.kept.len() > KEPT {
            self.kept.remove(0);
        }
        self.shared.unless_held(|| {
            for at in offsets_in(folder)?.into_iter().filter(|at| !self.kept.contains(at)) {
                fs::remove_file(file_of(folder, at))?;
            }
            Ok(())
        })
    }

    /// Nothing may be dropped before there are two: a damaged newest one would leave no way back.
    fn publish_floor(&self) {
        self.shared.set_floor(floor(&self.kept));
    }
}

fn floor(kept: &[Offset]) -> Offset {
    if kept.len() == KEPT { kept[0] } else { Offset(0) }
}

/// Returns the offset up to which both checkpoints of a closed store cover its log.
pub(super) fn floor_of(folder: &Path) -> io::Result<Offset> {
    Ok(floor(&whole_ones(folder)?))
}

/// Returns the offset of the newest whole checkpoint: the log was committed at least up to there.
pub(super) fn newest_in(folder: &Path) -> io::Result<Option<Offset>> {
    Ok(whole_ones(folder)?.pop())
}

fn whole_ones(folder: &Path) -> io::Result<Vec<Offset>> {
    let mut kept = offsets_in(folder)?;
    kept.retain(|&at| {
        let whole = read(folder, at).is_some();
        if !whole {
            tracing::warn!(offset = %at, "pass over a damaged checkpoint");
        }
        whole
    });
    Ok(kept.split_off(kept.len().saturating_sub(KEPT)))
}

pub(super) fn read(folder: &Path, at: Offset) -> Option<Checkpoint> {
    let bytes = fs::read(file_of(folder, at)).ok()?;
    Checkpoint::decode(&bytes).filter(|checkpoint| checkpoint.at == at)
}

pub(super) fn offsets_in(folder: &Path) -> io::Result<Vec<Offset>> {
    let mut offsets = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            offsets.extend(number.map(Offset));
        }
    }
    offsets.sort_unstable();
    Ok(offsets)
}

pub(super) fn file_of(folder: &Path, at: Offset) -> PathBuf {
    folder.join(format!("{:020}.{EXTENSION}", at.0))
}
