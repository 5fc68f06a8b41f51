//! The fleet's state as bytes, for a checkpoint: a version, then postcard.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize, Serializer};

use muster_protocol::id::RobotId;

use super::{Fleet, applied::Applied, robot::RobotState};

/// The version that is written. Another one is not read: the state is then folded anew from the log.
const VERSION: u8 = 4;

/// Why bytes are not a fleet's state. The log still is: fold it from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It was written by another version.
    #[error("the fleet state has version {found:?}; this program reads version {VERSION}")]
    Version {
        /// The version found; `None` in empty bytes.
        found: Option<u8>,
    },
    /// It does not decode.
    #[error("the fleet state does not decode: {why}")]
    Malformed {
        /// What the decoder says.
        why: String,
    },
}

/// What a checkpoint holds, as it is read.
#[derive(Deserialize)]
struct Image {
    applied: Applied,
    robots: BTreeMap<RobotId, RobotState>,
}

/// A robot as it is written: locked only while it is.
struct Locked(Arc<RwLock<RobotState>>);

/// The same as [`Image`], as it is written: nothing is copied, because the committer waits.
#[derive(Serialize)]
struct Imaging {
    applied: Applied,
    robots: BTreeMap<RobotId, Locked>,
}

impl Fleet {
    /// Returns the state as bytes. Call it on the thread that applies, so that all robots are at the same offset.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.imaging().encode()
    }

    /// Reads what [`Fleet::to_bytes`] returned.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let malformed = |why: String| CheckpointError::Malformed { why };
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            found => return Err(CheckpointError::Version { found: found.map(|(version, _)| *version) }),
        };
        let (image, rest) =
            postcard::take_from_bytes::<Image>(body).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed(format!("{} bytes follow", rest.len())));
        }
        let robots = image.robots.into_iter().map(|(id, state)| (id, Arc::new(RwLock::new(state))));
        Ok(Self { robots: RwLock::new(robots.collect()), applied: Mutex::new(image.applied), mapping: None })
    }

    fn imaging(&self) -> Imaging {
        let robots = self.robots(None).into_iter().map(|(id, robot)| (id, Locked(robot))).collect();
        Imaging { applied: self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone(), robots }
    }
}

impl Imaging {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("the state has only lengths that postcard knows")
    }
}

impl Serialize for Locked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).serialize(serializer)
    }
}

impl PartialEq for Fleet {
    /// Compares what is known of each robot, and which offsets it comes from.
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}
