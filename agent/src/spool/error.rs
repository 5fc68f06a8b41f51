//! What can go wrong with a spool, and what each error obliges the caller to do.

use std::{fmt, io};

use muster_protocol::id::RobotId;

/// The disk refused a write, a sync or a removal. The spool latches the first one: every later call that would write
/// returns it, because after a failed sync nothing is known about what the file holds. What was accepted before stays
/// readable. The caller goes on in memory under a new epoch and tries the disk again ([`Spool::resume`](super::Spool::resume)).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spool {place} has failed: cannot {action}: {why}; {}", Remedy(*kind))]
pub struct SpoolFault {
    /// The spool's folder.
    pub place: String,
    /// What was tried, verb and object.
    pub action: String,
    /// The kind of I/O error, to tell a full disk from a broken one.
    pub kind: io::ErrorKind,
    /// What the disk says.
    pub why: String,
}

/// Why a spool cannot be opened. Nothing was changed in the folder unless it says [`OpenError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the spool {place} is in use by another agent; stop that one, or give this one a folder with --spool"
    )]
    InUse {
        /// The spool's folder.
        place: String,
    },
    /// A newer program wrote it.
    #[error(
        "the spool {place} has version {found} ({file}), but this agent reads up to version {known}; update the agent, or \
         give it another folder with --spool; nothing was changed"
    )]
    Newer {
        /// The spool's folder.
        place: String,
        /// The file that says so.
        file: String,
        /// Its version.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// It holds data of another robot.
    #[error(
        "the spool {place} holds data of robot {found}, not of {given}; start with --robot {found} until it is empty, or \
         give {given} a folder of its own with --spool"
    )]
    OtherRobot {
        /// The spool's folder.
        place: String,
        /// Whose data it holds.
        found: RobotId,
        /// For whom it was opened.
        given: RobotId,
    },
    /// It is a gateway's.
    #[error(
        "{place} is the data folder of a gateway, not a spool; give the agent a folder of its own with --spool; nothing was changed"
    )]
    DataFolder {
        /// The folder.
        place: String,
    },
    /// The size limit is too small to work in.
    #[error("a spool limit of {given} bytes is too small; give at least {min}")]
    LimitTooSmall {
        /// The limit given.
        given: u64,
        /// The least that works.
        min: u64,
    },
    /// The disk refused.
    #[error(
        "cannot {action} in the spool {place}: {source}; check that the folder is writable and the disk has room"
    )]
    Io {
        /// The spool's folder.
        place: String,
        /// What was tried, verb and object.
        action: String,
        /// What the disk says.
        source: io::Error,
    },
}

impl OpenError {
    /// Says whether the disk is full, read-only or broken: the agent then starts all the same. A folder that cannot be
    /// is a mistake of whoever named it, and stops the start.
    pub fn is_disk_failure(&self) -> bool {
        /// What the kernel says when a device does not answer.
        const EIO: i32 = 5;
        let Self::Io { source, .. } = self else { return false };
        let full_or_read_only = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
        );
        full_or_read_only || source.raw_os_error() == Some(EIO)
    }
}

/// Why an entry was not appended. Nothing of it is in the spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The size limit is reached. The caller waits for releases, or makes room for `needed_bytes`.
    #[error("the spool is full: {needed_bytes} bytes needed, {free_bytes} free")]
    Full {
        /// What the entry needs at most, schema and segment header included.
        needed_bytes: u64,
        /// What is left below the limit.
        free_bytes: u64,
    },
    /// The entry is larger than a record may be. It will never fit.
    #[error("an entry of {bytes} bytes; a spool record holds at most {max}")]
    TooLarge {
        /// Its encoded length.
        bytes: usize,
        /// The largest allowed.
        max: usize,
    },
    /// See [`SpoolFault`].
    #[error(transparent)]
    Fault(#[from] SpoolFault),
}

/// Why no room was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MakeRoomError {
    /// What could be evicted is not synced yet, so it is not accepted and cannot be lost. The caller syncs and tries
    /// again.
    #[error("the spool can evict only what is synced; sync first")]
    Unsynced,
    /// See [`SpoolFault`].
    #[error(transparent)]
    Fault(#[from] SpoolFault),
}

/// Says what a person can do about an I/O error of this kind.
struct Remedy(io::ErrorKind);

impl fmt::Display for Remedy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free disk space",
            io::ErrorKind::PermissionDenied => "make the folder writable for the agent",
            io::ErrorKind::ReadOnlyFilesystem => "the disk went read-only: check it and remount it",
            _ => "check the disk",
        })
    }
}
