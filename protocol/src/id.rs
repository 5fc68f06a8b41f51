//! Names and numbers that identify things: robots, channels, lanes, epochs, sequence numbers, offsets.
//!
//! Each is a newtype that cannot hold an invalid value; text from outside comes in through `FromStr` or serde.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::limits::{CHANNEL_NAME_BYTES_MAX, NAME_BYTES_MAX};

/// A robot of a fleet, written `fleet/robot`. Both parts match `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, so that they are
/// safe in paths, topics and labels. A fleet is also the unit of tenancy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RobotId(Arc<str>);

/// The name of a series of samples of one robot, 1 to 512 bytes without control characters, such as `battery.soc`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(Arc<str>);

/// A class of urgency. Each lane has its own spool, its own sequence and its own stream, so that an alarm never waits
/// behind a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Events, alarms, state transitions: sent first, synced at once, evicted last.
    Urgent,
    /// The default.
    Live,
    /// High rate, may wait: sent last, evicted first.
    Bulk,
}

/// One run of an agent: a start counter and 64 random bits, durable on the robot before its first [`Seq`].
///
/// Ordered by the counter. The random bits keep two runs apart that share a counter, as on a wiped disk or a cloned
/// image, so that no seq is ever used twice for different data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Grows with each start of the agent on this spool, from 1.
    pub start: u64,
    /// Drawn anew for each epoch.
    pub random: u64,
}

/// The number of a batch or loss record within (robot, epoch, lane), from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// A position in the gateway's log: grows by arrival from 1 and is never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// One process, agent or gateway: 128 random bits drawn at its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub [u8; 16]);

/// One gateway log: 128 random bits drawn when its data folder is made. An offset means something only with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub [u8; 16]);

/// The first 128 bits of the SHA-256 of an encoded schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchemaHash(pub [u8; 16]);

/// Why a text is not a robot's or a channel's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// A robot is not written as two names with one slash between them.
    #[error("`{text}` is not a robot; write FLEET/ROBOT, as in warehouse/r17")]
    NotFleetSlashRobot {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// A fleet's or robot's name has a wrong length or character.
    #[error(
        "`{text}` is not a name: 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ - starting with a letter or digit"
    )]
    BadName {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// A channel's name is empty or too long.
    #[error("a channel name of {bytes} bytes; 1 to {max} are allowed")]
    ChannelLength {
        /// The length given.
        bytes: usize,
        /// The longest allowed.
        max: usize,
    },
    /// A channel's name has a control character.
    #[error("the channel name {text:?} has a control character")]
    ChannelControl {
        /// What was given.
        text: String,
    },
}

impl RobotId {
    /// Joins two names into an id.
    pub fn new(fleet: &str, robot: &str) -> Result<Self, ParseIdError> {
        for name in [fleet, robot] {
            if !is_name(name) {
                return Err(ParseIdError::BadName { text: shown(name) });
            }
        }
        Ok(Self(format!("{fleet}/{robot}").into()))
    }

    /// Returns `fleet/robot`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the slash.
    pub fn fleet(&self) -> &str {
        self.0.split_once('/').map_or("", |(fleet, _)| fleet)
    }

    /// Returns the part after the slash.
    pub fn robot(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, robot)| robot)
    }
}

impl FromStr for RobotId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text.split_once('/') {
            Some((fleet, robot)) => Self::new(fleet, robot),
            None => Err(ParseIdError::NotFleetSlashRobot { text: shown(text) }),
        }
    }
}

impl ChannelName {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, ParseIdError> {
        if text.is_empty() || text.len() > CHANNEL_NAME_BYTES_MAX {
            return Err(ParseIdError::ChannelLength { bytes: text.len(), max: CHANNEL_NAME_BYTES_MAX });
        }
        if text.chars().any(char::is_control) {
            return Err(ParseIdError::ChannelControl { text: shown(text) });
        }
        Ok(Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the channel is one in which an agent tells of itself. Its values say nothing of the robot: that
    /// they are fresh does not mean that the robot's are.
    pub fn is_of_agent(&self) -> bool {
        self.0.starts_with(OF_AGENT)
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the channels begin with in which an agent tells of itself.
const OF_AGENT: &str = "muster.agent.";

impl FromStr for ChannelName {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::new(text)
    }
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Live, Self::Bulk];

    /// Returns the lane's name as on topics, in paths and in NDJSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Live => "live",
            Self::Bulk => "bulk",
        }
    }

    /// Returns the position in [`Lane::ALL`], which is also the number on the wire.
    pub fn index(self) -> usize {
        match self {
            Self::Urgent => 0,
            Self::Live => 1,
            Self::Bulk => 2,
        }
    }

    /// Returns the lane with this number on the wire.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }
}

/// The text names no lane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a lane: urgent, live or bulk")]
pub struct ParseLaneError {
    /// What was given, cut to a readable length.
    pub text: String,
}

impl FromStr for Lane {
    type Err = ParseLaneError;

    fn from_str(text: &str) -> Result<Self, ParseLaneError> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == text)
            .ok_or_else(|| ParseLaneError { text: shown(text) })
    }
}

impl Seq {
    /// The first seq of a lane in an epoch.
    pub const FIRST: Self = Self(1);

    /// The last seq that there is: a half-open range of seqs has to be able to end after it.
    pub const LAST: Self = Self(u64::MAX - 1);

    /// Returns the seq after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Offset {
    /// The offset of a log's first record.
    pub const FIRST: Self = Self(1);

    /// Returns the offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! text_of {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result { out.write_str(self.as_str()) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result { write!(out, "{:?}", self.as_str()) }
        }
        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> { text.parse() }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self { name.as_str().to_owned() }
        }
    )*};
}

macro_rules! hex_of {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result { write!(out, "{self}") }
        }
    )*};
}

text_of!(RobotId, ChannelName);
hex_of!(InstanceId, LogId, SchemaHash);

impl fmt::Display for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Epoch {
    /// Writes `START-RANDOM`, the random bits in hexadecimal, as in the names of spool folders.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{:016x}", self.start, self.random)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Returns whether a text is one of the two names of a robot: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
pub fn is_name(text: &str) -> bool {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= NAME_BYTES_MAX
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.as_bytes().iter().all(safe)
}

/// Cuts hostile text to a length that fits an error message.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robot_ids_are_two_path_safe_names() {
        let id: RobotId = "warehouse/r-17.b_2".parse().unwrap();
        assert_eq!((id.fleet(), id.robot()), ("warehouse", "r-17.b_2"));
        for bad in
            ["", "x", "a/", "/b", "a/b/c", "../b", "a/.b", "a/b c", "a/ü", &format!("a/{}", "x".repeat(64))]
        {
            assert!(bad.parse::<RobotId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn channel_names_have_bounds() {
        assert!(ChannelName::new("/imu/data.q[0]").is_ok());
        assert!(ChannelName::new("").is_err());
        assert!(ChannelName::new("a\nb").is_err());
        assert!(ChannelName::new(&"x".repeat(CHANNEL_NAME_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn lanes_are_numbered_as_listed() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_index(lane.index()), Some(lane));
            assert_eq!(lane.as_str().parse(), Ok(lane));
        }
    }
}
