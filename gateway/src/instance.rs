//! What tells one run of the gateway from another: an instance id, and a start counter that is durable before
//! anything is numbered with it.

use std::{fs, io, path::Path};

use muster_protocol::id::{Epoch, InstanceId};

use crate::durable_file::{self, Readable};

/// One run of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// 128 random bits of this process.
    pub id: InstanceId,
    /// Counts the starts on this data folder from 1.
    pub start: u64,
}

/// Why a run could not be numbered.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The counter's file cannot be read or written.
    #[error("cannot read or write {path}: {error}; check the folder's owner and free space")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The counter's file is not a number.
    #[error("{path} does not hold a number; restore it from a backup, or write the number of starts into it")]
    Damaged {
        /// The file.
        path: String,
    },
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl InstanceError {
    /// Returns whether the disk has no room left.
    pub fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::Io { error, .. } if full.contains(&error.kind()))
    }
}

impl Instance {
    /// Counts this start in the data folder, durably, and draws the instance id.
    pub fn begin(data_dir: &Path) -> Result<Self, InstanceError> {
        let path = data_dir.join("starts");
        let io = |error| InstanceError::Io { path: path.display().to_string(), error };
        let before = match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse::<u64>()
                .map_err(|_| InstanceError::Damaged { path: path.display().to_string() })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io(error)),
        };
        let start = before + 1;
        durable_file::replace(&path, format!("{start}\n").as_bytes(), Readable::ByAll).map_err(io)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(InstanceError::Random)?;
        Ok(Self { id: InstanceId(id), start })
    }

    /// Returns the first session number of this run. Numbers of later runs are greater.
    pub fn first_session(&self) -> u64 {
        self.start << 32
    }

    /// Returns the epoch under which the gateway numbers what arrives without a number: plain JSON over MQTT.
    pub fn epoch(&self) -> Epoch {
        let random = self.id.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Epoch { start: self.start, random }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_is_counted_and_its_sessions_come_after_all_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        let first = Instance::begin(folder.path()).unwrap();
        let second = Instance::begin(folder.path()).unwrap();
        assert_eq!((first.start, second.start), (1, 2));
        assert_ne!(first.id, second.id);
        assert!(second.first_session() > first.first_session() + 1_000_000);
    }

    #[test]
    fn a_damaged_counter_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("starts"), "x").unwrap();
        let error = Instance::begin(folder.path()).unwrap_err().to_string();
        assert!(error.contains("starts does not hold a number"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("starts")).unwrap(), "x");
    }
}
