//! The fleet's state as bytes, for a checkpoint: a version, then postcard.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize, Serializer};

use muster_protocol::id::{Offset, RobotId};

use super::{Fleet, Robot, RobotState, applied::Applied};
use crate::parts::in_parts;

/// The version that is written. Another one is not read: the state is then folded anew from the log.
const VERSION: u8 = 6;

/// Fewest robots whose states are worth a thread to decode them.
const ROBOTS_AT_LEAST: usize = 64;

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

/// The state of a fleet as bytes that are read robot by robot.
#[derive(Debug)]
pub struct FleetImage<'a> {
    applied: Applied,
    robots: BTreeMap<RobotId, &'a [u8]>,
}

/// What a checkpoint holds, as it is read: each robot in bytes of its own, so that one is found without reading all.
#[derive(Deserialize)]
struct Image<'a> {
    applied: Applied,
    #[serde(borrow)]
    robots: BTreeMap<RobotId, &'a [u8]>,
}

/// The same, as it is written.
#[derive(Serialize)]
struct Imaging {
    applied: Applied,
    robots: BTreeMap<RobotId, Locked>,
}

/// A robot as it is written: locked only while it is.
struct Locked(Robot);

impl Fleet {
    /// Returns the state as bytes. Call it on the thread that applies, so that all robots are at the same offset.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.imaging().encode()
    }

    /// Reads what [`Fleet::to_bytes`] returned.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let image = FleetImage::read(bytes)?;
        let images: Vec<_> = image.robots.into_iter().collect();
        let read = |(id, bytes): &(RobotId, &[u8])| Ok((id.clone(), whole(bytes)?));
        let parts = in_parts(images.len(), ROBOTS_AT_LEAST, |part| {
            images[part].iter().map(read).collect::<Result<Vec<_>, _>>()
        });
        let robots = parts.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        Ok(Self { applied: Mutex::new(image.applied), ..Self::of(robots) })
    }

    fn imaging(&self) -> Imaging {
        let robots = self.robots().iter().map(|robot| (robot.id.clone(), Locked(robot.clone()))).collect();
        Imaging { applied: self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone(), robots }
    }
}

impl<'a> FleetImage<'a> {
    /// Reads what [`Fleet::to_bytes`] returned, but for the robots.
    pub fn read(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let body = match bytes.split_first() {
            Some((&VERSION, body)) => body,
            found => return Err(CheckpointError::Version { found: found.map(|(version, _)| *version) }),
        };
        let Image { applied, robots } = whole(body)?;
        Ok(Self { applied, robots })
    }

    /// Returns the offset at which the log goes on behind the state.
    pub fn next(&self) -> Offset {
        self.applied.next()
    }

    /// Returns a robot's state, if the robot is in it.
    pub fn robot(&self, id: &RobotId) -> Result<Option<RobotState>, CheckpointError> {
        self.robots.get(id).map(|bytes| whole(bytes)).transpose()
    }
}

impl Imaging {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("the state has only lengths that postcard knows")
    }
}

impl Serialize for Locked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes =
            postcard::to_stdvec(&*self.0.read()).expect("the state has only lengths that postcard knows");
        serializer.serialize_bytes(&bytes)
    }
}

fn whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CheckpointError> {
    let malformed = |why: String| CheckpointError::Malformed { why };
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(malformed(format!("{} bytes follow", rest.len()))) }
}

impl PartialEq for Fleet {
    /// Compares what is known of each robot, and which offsets it comes from.
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}
