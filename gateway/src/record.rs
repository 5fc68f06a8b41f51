//! Records: what one offset of the gateway's log numbers. A batch, a loss, a robot's session going up or down, or what a
//! robot is called by.
//!
//! A record is encoded once, when it is committed, and kept as it is for as long as the log holds it. Its head has a
//! fixed shape and is not compressed, so that an index is built without decoding a batch:
//!
//! ```text
//!   0 version   u8    1 or 2    32 epoch.random u64      72 payload bytes u32
//!   1 kind      u8              40 seq          u64      76 CRC32C        u32
//!   2 flags     u8    1: numbered                        80 robot, `robot bytes` of text
//!   3 lane      u8              48 samples      u64         payload
//!   4 robot bytes u8            56 t_min        i64
//!   5 reserved  3 x 0           64 t_max        i64
//!   8 received_at i64
//!  16 session   u64
//!  24 epoch.start u64
//! ```
//!
//! Integers are little-endian. The CRC covers everything but itself. Epoch, lane and seq are zero where the flag says
//! that the record has no number. The payload of a batch is the batch as it came; that of other kinds is postcard. A
//! record has the version in which its kind came up, so that an older program refuses what it does not know by version. PROTOCOL.md#records is the specification.

use bytes::{Buf, Bytes};
use muster_protocol::{
    batch::{self, BatchInfo},
    id::{Epoch, Lane, ParseIdError, RobotId, Seq},
    limits::BATCH_BYTES_MAX,
    loss::{Absence, Loss},
    message::NumberedHead,
    time::WallTime,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod labels;
mod session;

pub use labels::{LabelSet, LabelSource};
pub use session::{DownReason, SessionEvent, Transport};

/// The newest version of the record format that this program writes and reads.
pub const RECORD_VERSION: u8 = 2;

/// Longest encoded record: a head, the longest robot, the longest payload.
pub const RECORD_BYTES_MAX: usize = HEAD_BYTES + u8::MAX as usize + BATCH_BYTES_MAX;

/// Bytes before the robot's name.
const HEAD_BYTES: usize = 80;
const CRC_AT: usize = 76;
const FLAG_NUMBERED: u8 = 1;

/// A record. Its offset stands beside it, because the log gives it only at the commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The gateway's clock when the record arrived.
    pub received_at: WallTime,
    /// Whose record it is.
    pub robot: RobotId,
    /// The session that it came in, unique within the log; 0 for what the gateway says itself.
    pub session: u64,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Samples, as columns.
    Batch {
        /// The batch's number.
        head: NumberedHead,
        /// What the batch says about itself without being decompressed.
        info: BatchInfo,
        /// The encoded batch, as it came.
        payload: Bytes,
    },
    /// Samples that will never come.
    Loss {
        /// The loss record's number; `None` when the gateway itself made it.
        head: Option<NumberedHead>,
        /// What is lost.
        loss: Loss,
    },
    /// The robot's session went up or down.
    Session(SessionEvent),
    /// Batches that a robot had released and this log lacks: the gateway found out by itself.
    Absence(Absence),
    /// A later correction of a robot's clock. The number is reserved: version 1 writes none.
    ClockFix(ClockFix),
    /// What the robot is called by, as one source says it.
    Labels(LabelSet),
}

/// How a robot's clock is to be read from one boot's monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockFix {
    /// The first 64 bits of the boot id.
    pub boot: u64,
    /// Nanoseconds to add to the robot's wall clock of that boot.
    pub shift_ns: i64,
}

/// The kind of a record; the number is the one on disk. New kinds are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// [`Body::Batch`]
    Batch = 1,
    /// [`Body::Loss`]
    Loss = 2,
    /// [`Body::Session`]
    Session = 3,
    /// [`Body::ClockFix`]
    ClockFix = 4,
    /// [`Body::Absence`]
    Absence = 5,
    /// [`Body::Labels`]
    Labels = 6,
}

/// What a record's head says: all that an index needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The kind.
    pub kind: RecordKind,
    /// As in [`Envelope::received_at`].
    pub received_at: WallTime,
    /// As in [`Envelope::robot`].
    pub robot: RobotId,
    /// As in [`Envelope::session`].
    pub session: u64,
    /// The number of a batch or loss record.
    pub number: Option<NumberedHead>,
    /// Samples in a batch; samples gone by a loss or absence; else 0.
    pub samples: u64,
    /// The earliest time in the record; its time of arrival if it has no other.
    pub t_min: WallTime,
    /// The latest time in the record; its time of arrival if it has no other.
    pub t_max: WallTime,
    /// Bytes of the payload.
    pub payload_bytes: usize,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end inside the record.
    #[error("the record ends after {got} of {need} bytes")]
    Truncated {
        /// Bytes that are there.
        got: usize,
        /// Bytes that the record needs.
        need: usize,
    },
    /// Bytes follow the record.
    #[error("{extra} bytes follow the record")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A later program wrote it.
    #[error("record version {found}, but this program reads up to {RECORD_VERSION}; update the gateway")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// A field of the head has no meaning.
    #[error("the record's {field} is {found}")]
    BadField {
        /// Which field.
        field: &'static str,
        /// What stands there.
        found: u64,
    },
    /// The robot's name is not one.
    #[error("the record's robot: {0}")]
    Robot(#[from] ParseIdError),
    /// The check sum does not match: the bytes were damaged.
    #[error("record check sum {calculated:08x}, but the head says {saved:08x}")]
    BadCrc {
        /// What the head says.
        saved: u32,
        /// What the bytes give.
        calculated: u32,
    },
    /// The payload is not what the kind says.
    #[error("the payload of a {kind:?} record does not decode: {why}")]
    Payload {
        /// The record's kind.
        kind: RecordKind,
        /// What the decoder says.
        why: String,
    },
}

impl Envelope {
    /// Returns what the record's head says.
    pub fn head(&self) -> Head {
        self.head_with(self.payload().len())
    }

    /// Returns the bytes as the log keeps them, at most [`RECORD_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_head().1
    }

    /// Returns what the record's head says, and the bytes as the log keeps them.
    pub fn encode_with_head(&self) -> (Head, Vec<u8>) {
        let payload = self.payload();
        let head = self.head_with(payload.len());
        let mut out = head.encode();
        out.extend_from_slice(&payload);
        let crc = crc_of(&out);
        out[CRC_AT..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
        (head, out)
    }

    /// Decodes and checks a whole record. A batch's payload shares the given bytes.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let head = Self::peek(bytes)?;
        let payload_at = HEAD_BYTES + head.robot.as_str().len();
        let need = payload_at + head.payload_bytes;
        if bytes.len() < need {
            return Err(RecordError::Truncated { got: bytes.len(), need });
        }
        if bytes.len() > need {
            return Err(RecordError::Trailing { extra: bytes.len() - need });
        }
        let (saved, calculated) = (u32_at(bytes, CRC_AT), crc_of(bytes));
        if saved != calculated {
            return Err(RecordError::BadCrc { saved, calculated });
        }
        let body = Body::decode(&head, bytes.slice(payload_at..))?;
        Ok(Self { received_at: head.received_at, robot: head.robot, session: head.session, body })
    }

    /// Reads the head of a record from its first bytes. The payload may be missing, and the check sum is not looked
    /// at: use it to index, and [`Envelope::decode`] to believe.
    pub fn peek(bytes: &[u8]) -> Result<Head, RecordError> {
        Head::decode(bytes)
    }

    fn head_with(&self, payload_bytes: usize) -> Head {
        let at = self.received_at;
        let (kind, number, samples, t_min, t_max) = match &self.body {
            Body::Batch { head, info, .. } => {
                (RecordKind::Batch, Some(*head), u64::from(info.samples), info.t_min, info.t_max)
            }
            Body::Loss { head, loss } => {
                (RecordKind::Loss, *head, loss.samples(), loss.t_min.unwrap_or(at), loss.t_max.unwrap_or(at))
            }
            Body::Session(_) => (RecordKind::Session, None, 0, at, at),
            Body::ClockFix(_) => (RecordKind::ClockFix, None, 0, at, at),
            Body::Absence(absence) => (RecordKind::Absence, None, absence.samples, at, at),
            Body::Labels(_) => (RecordKind::Labels, None, 0, at, at),
        };
        let (robot, session) = (self.robot.clone(), self.session);
        Head { kind, received_at: at, robot, session, number, samples, t_min, t_max, payload_bytes }
    }

    fn payload(&self) -> Bytes {
        match &self.body {
            Body::Batch { payload, .. } => payload.clone(),
            Body::Loss { loss, .. } => to_postcard(loss),
            Body::Session(event) => to_postcard(event),
            Body::ClockFix(fix) => to_postcard(fix),
            Body::Absence(absence) => to_postcard(absence),
            Body::Labels(set) => to_postcard(set),
        }
    }
}

impl Body {
    fn decode(head: &Head, payload: Bytes) -> Result<Self, RecordError> {
        let kind = head.kind;
        match kind {
            RecordKind::Batch => {
                let number = head.number.ok_or(RecordError::BadField { field: "flags", found: 0 })?;
                let info = batch::peek(&payload)
                    .map_err(|error| RecordError::Payload { kind, why: error.to_string() })?;
                Ok(Self::Batch { head: number, info, payload })
            }
            RecordKind::Loss => Ok(Self::Loss { head: head.number, loss: from_postcard(kind, &payload)? }),
            RecordKind::Session => Ok(Self::Session(from_postcard(kind, &payload)?)),
            RecordKind::ClockFix => Ok(Self::ClockFix(from_postcard(kind, &payload)?)),
            RecordKind::Absence => Ok(Self::Absence(from_postcard(kind, &payload)?)),
            RecordKind::Labels => Ok(Self::Labels(from_postcard(kind, &payload)?)),
        }
    }
}

impl RecordKind {
    const ALL: [Self; 6] =
        [Self::Batch, Self::Loss, Self::Session, Self::ClockFix, Self::Absence, Self::Labels];

    fn from_disk(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Returns the version that records of this kind have.
    fn version(self) -> u8 {
        match self {
            Self::Batch | Self::Loss | Self::Session | Self::ClockFix | Self::Absence => 1,
            Self::Labels => 2,
        }
    }
}

impl Head {
    /// Writes head and robot, with zero in place of the check sum.
    fn encode(&self) -> Vec<u8> {
        let robot = self.robot.as_str().as_bytes();
        let number = self.number.unwrap_or(NO_NUMBER);
        let mut out = Vec::with_capacity(HEAD_BYTES + robot.len() + self.payload_bytes);
        let flags = if self.number.is_some() { FLAG_NUMBERED } else { 0 };
        let lane = u8::try_from(number.lane.index()).expect("there are three lanes");
        let robot_bytes = u8::try_from(robot.len()).expect("a robot is two names of at most 63 bytes");
        out.extend_from_slice(&[self.kind.version(), self.kind as u8, flags, lane, robot_bytes, 0, 0, 0]);
        out.extend_from_slice(&self.received_at.0.to_le_bytes());
        for field in [self.session, number.epoch.start, number.epoch.random, number.seq.0, self.samples] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for time in [self.t_min, self.t_max] {
            out.extend_from_slice(&time.0.to_le_bytes());
        }
        let payload_bytes = u32::try_from(self.payload_bytes).expect("payloads are bounded by a batch");
        out.extend_from_slice(&payload_bytes.to_le_bytes());
        out.extend_from_slice(&[0; HEAD_BYTES - CRC_AT]);
        out.extend_from_slice(robot);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let Some((mut head, rest)) = bytes.split_at_checked(HEAD_BYTES) else {
            return Err(RecordError::Truncated { got: bytes.len(), need: HEAD_BYTES });
        };
        let version = head.get_u8();
        if version == 0 || version > RECORD_VERSION {
            return Err(RecordError::UnknownVersion { found: version });
        }
        let (kind, flags, lane) = (head.get_u8(), head.get_u8(), head.get_u8());
        let kind = RecordKind::from_disk(kind).ok_or_else(|| bad("kind", kind))?;
        if version != kind.version() {
            return Err(bad("version", version));
        }
        let lane = Lane::from_index(usize::from(lane)).ok_or_else(|| bad("lane", lane))?;
        if flags > FLAG_NUMBERED {
            return Err(bad("flags", flags));
        }
        let robot_bytes = usize::from(head.get_u8());
        let reserved = head.get_uint_le(3);
        if reserved != 0 {
            return Err(bad("reserved", reserved));
        }
        let received_at = WallTime(head.get_i64_le());
        let session = head.get_u64_le();
        let epoch = Epoch { start: head.get_u64_le(), random: head.get_u64_le() };
        let number = NumberedHead { epoch, lane, seq: Seq(head.get_u64_le()) };
        let samples = head.get_u64_le();
        let (t_min, t_max) = (WallTime(head.get_i64_le()), WallTime(head.get_i64_le()));
        let payload_bytes = usize::try_from(head.get_u32_le()).unwrap_or(usize::MAX);
        if payload_bytes > RECORD_BYTES_MAX {
            return Err(bad("payload length", u64::try_from(payload_bytes).unwrap_or(u64::MAX)));
        }
        let need = HEAD_BYTES + robot_bytes;
        let robot = rest.get(..robot_bytes).ok_or(RecordError::Truncated { got: bytes.len(), need })?;
        let robot = String::from_utf8_lossy(robot).parse()?;
        let number = (flags == FLAG_NUMBERED).then_some(number);
        Ok(Self { kind, received_at, robot, session, number, samples, t_min, t_max, payload_bytes })
    }
}

const NO_NUMBER: NumberedHead =
    NumberedHead { epoch: Epoch { start: 0, random: 0 }, lane: Lane::Urgent, seq: Seq(0) };

fn bad(field: &'static str, found: impl Into<u64>) -> RecordError {
    RecordError::BadField { field, found: found.into() }
}

fn crc_of(bytes: &[u8]) -> u32 {
    let (before, rest) = bytes.split_at(CRC_AT);
    crc32c::crc32c_append(crc32c::crc32c(before), &rest[HEAD_BYTES - CRC_AT..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    (&bytes[at..]).get_u32_le()
}

fn to_postcard<T: Serialize>(body: &T) -> Bytes {
    postcard::to_stdvec(body).expect("record bodies have only lengths that postcard knows").into()
}

fn from_postcard<T: DeserializeOwned>(kind: RecordKind, payload: &[u8]) -> Result<T, RecordError> {
    let wrong = |why: String| RecordError::Payload { kind, why };
    let (body, rest) = postcard::take_from_bytes(payload).map_err(|error| wrong(error.to_string()))?;
    if rest.is_empty() { Ok(body) } else { Err(wrong(format!("{} bytes follow", rest.len()))) }
}

#[cfg(test)]
mod tests;
