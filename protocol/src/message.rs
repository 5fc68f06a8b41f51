//! Messages: what the bodies of frames say. Control bodies are postcard; a batch, schema or loss body is a short
//! postcard head followed by the payload, which is stored as it came. PROTOCOL.md#messages is the specification.
//!
//! A decoded message has passed its limits: counts, order and sizes were checked before anything was kept.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    frame::{Frame, Kind},
    id::{Epoch, InstanceId, Lane, LogId, RobotId, SchemaHash, Seq},
    label::Labels,
    limits::{BATCH_BYTES_MAX, DRAINED_LANES_MAX, GONE_RANGES_MAX, HELD_LANES_MAX, RANGES_PER_ACK_MAX},
    loss::{Loss, LossError},
    time::{MonoTime, WallTime},
};

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Welcome`].
    Welcome(Welcome),
    /// See [`Heartbeat`].
    Heartbeat(Heartbeat),
    /// See [`HeartbeatReply`].
    HeartbeatReply(HeartbeatReply),
    /// A batch under its number; the payload is an encoded [`batch`](crate::batch), not yet checked.
    Batch(Numbered),
    /// An encoded [`Schema`](crate::schema::Schema), not yet checked, for batches of this lane.
    Schema(SchemaBody),
    /// See [`NeedSchema`].
    NeedSchema(NeedSchema),
    /// A loss record under its number; the payload is a [`Loss`] in postcard; [`Numbered::loss`] decodes it.
    Loss(Numbered),
    /// See [`Ack`].
    Ack(Ack),
    /// See [`Refuse`].
    Refuse(Refuse),
    /// See [`Bye`].
    Bye(Bye),
}

/// The agent's first message: who it is, which process, and what its spool holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which robot it speaks for. A connection that proved another identity is refused.
    pub robot: RobotId,
    /// Which process speaks.
    pub instance: InstanceId,
    /// The agent's version, at most 64 bytes.
    pub version: String,
    /// Everything that the spool holds, the current epoch's lanes included even when empty.
    pub held: Vec<HeldLane>,
    /// Lanes of the last epochs that the spool holds nothing of any more, newest last, at most [`DRAINED_LANES_MAX`]:
    /// a gateway that lost what it had acknowledged learns from them what was there.
    pub drained: Vec<DrainedLane>,
    /// The robot's clocks.
    pub clock: Clock,
    /// What its configuration calls the robot by.
    pub labels: Labels,
}

/// What a spool holds of one lane of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLane {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The first seq still held; those before it were released or evicted. Equal to `next` when empty.
    pub first: Seq,
    /// The seq that the next batch will get.
    pub next: Seq,
    /// Samples held and not yet acknowledged.
    pub samples: u64,
    /// Samples of all seqs below `next`, held or not.
    pub spooled: u64,
    /// After `first` and below `next`, what is not held any more: ascending, not touching. All lanes of a message
    /// together list at most [`GONE_RANGES_MAX`]; what does not fit counts as held.
    pub gone: Vec<SeqRange>,
}

/// A lane of an epoch of which the spool holds nothing any more, and to which nothing will be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainedLane {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The seq after the last that there was.
    pub next: Seq,
    /// Samples of all seqs below `next`.
    pub spooled: u64,
}

/// A robot's clocks, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Clock {
    /// The first 64 bits of the boot id: monotonic times compare only within one boot.
    pub boot: u64,
    /// Monotonic time since boot.
    pub mono: MonoTime,
    /// Wall-clock time, right or wrong.
    pub wall: WallTime,
    /// Whether the system says that the wall clock is synchronised.
    pub synchronised: bool,
}

/// The gateway's answer to a [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Which gateway process speaks.
    pub instance: InstanceId,
    /// Which log it writes.
    pub log: LogId,
    /// The number of this session, unique within the log.
    pub session: u64,
    /// How much may be unacknowledged.
    pub window: Window,
    /// Committed seqs of the held lanes: they are not sent again.
    pub have: Vec<LaneRanges>,
    /// Schemas of this robot that the gateway has: they are not sent again.
    pub schemas: Vec<SchemaHash>,
    /// The gateway's wall clock.
    pub now: WallTime,
}

/// How much a sender may have unacknowledged at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Payload bytes.
    pub bytes: u32,
    /// Batches.
    pub batches: u32,
}

/// Seqs of one lane of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRanges {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// Half-open ranges, ascending, not touching, at most [`RANGES_PER_ACK_MAX`].
    pub ranges: Vec<SeqRange>,
}

/// The seqs from `first` up to but not including `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    /// The first seq of the range.
    pub first: Seq,
    /// The seq after its last.
    pub end: Seq,
}

/// The agent says that it is there, what it holds and what its clocks show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// As in [`Hello::held`].
    pub held: Vec<HeldLane>,
    /// The robot's clocks.
    pub clock: Clock,
}

/// The gateway's answer to a [`Heartbeat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    /// The heartbeat's monotonic time, returned so that the agent can measure the round trip.
    pub echo: MonoTime,
    /// The gateway's wall clock.
    pub now: WallTime,
}

/// A batch or loss record on its way: its number, and the payload as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its number and size.
    pub head: NumberedHead,
    /// The encoded batch or loss, at most [`BATCH_BYTES_MAX`].
    pub payload: Bytes,
}

/// The number of a batch or loss record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NumberedHead {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The seq within (robot, epoch, lane).
    pub seq: Seq,
}

/// A schema on its way, on the lane of the batches that wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaBody {
    /// The encoded schema, at most [`BATCH_BYTES_MAX`]. Its hash is computed by the receiver, never believed.
    pub payload: Bytes,
}

/// A batch came whose schema the gateway lacks. It was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedSchema {
    /// The batch.
    pub batch: NumberedHead,
    /// The schema that it refers to.
    pub hash: SchemaHash,
}

/// Committed and synced: the agent may release these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Per lane and epoch, what is committed. Ranges accumulate: one may repeat what an earlier ack said.
    pub lanes: Vec<LaneRanges>,
}

/// A batch or loss record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// Which one.
    pub batch: NumberedHead,
    /// Why.
    pub reason: RefuseReason,
    /// Try again no sooner than after this many milliseconds; `None` means never: it becomes a loss record.
    pub retry_after_ms: Option<u32>,
}

/// Why a batch was not taken. New reasons are appended: the number is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefuseReason {
    /// The payload does not decode, or breaks a limit.
    Malformed,
    /// Its epoch is not one that the session's Hello listed.
    EpochClosed,
    /// The receive window has no range left for it; send what closes the oldest gap first.
    WindowFull,
    /// The gateway's queue is full.
    Busy,
    /// The gateway's disk has no room; nothing is taken until an operator acts.
    DiskFull,
}

impl RefuseReason {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::EpochClosed, Self::WindowFull, Self::Busy, Self::DiskFull];

    /// Returns the name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::EpochClosed => "epoch_closed",
            Self::WindowFull => "window_full",
            Self::Busy => "busy",
            Self::DiskFull => "disk_full",
        }
    }
}

/// The session ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// Connect again no sooner than after this many milliseconds.
    pub retry_after_ms: u32,
}

impl Bye {
    /// What a broker tells a gateway in the name of an agent whose connection to it broke: the agent's MQTT will. An
    /// agent that leaves in order says 0 ms.
    pub const CUT_OFF: Self = Self { reason: ByeReason::Shutdown, retry_after_ms: 1 };
}

/// Why a session ends. New reasons are appended: the number is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The program shuts down in order.
    Shutdown,
    /// Another process speaks for this robot, and it is newer.
    Superseded,
    /// The Hello names another robot than the connection proved.
    IdentityMismatch,
    /// The peer broke the protocol.
    ProtocolError,
    /// The gateway has as many sessions as it can serve.
    TooManySessions,
}

/// Why a frame's body is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The body is not what its kind says.
    #[error("the body of a {kind:?} frame does not decode: {why}")]
    Malformed {
        /// The frame's kind.
        kind: Kind,
        /// What the decoder says.
        why: String,
    },
    /// A list or payload is longer than allowed.
    #[error("a {kind:?} frame with {count} {what}; at most {max} are allowed")]
    TooMany {
        /// The frame's kind.
        kind: Kind,
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// How much is allowed.
        max: usize,
    },
    /// A range is empty, or ranges are out of order.
    #[error("a {kind:?} frame whose ranges are empty or out of order")]
    BadRanges {
        /// The frame's kind.
        kind: Kind,
    },
    /// What a lane is said to hold contradicts itself.
    #[error("a {kind:?} frame with a lane whose first, next, gone and samples contradict each other")]
    BadHeld {
        /// The frame's kind.
        kind: Kind,
    },
    /// A loss record that breaks its rules.
    #[error(transparent)]
    Loss(#[from] LossError),
}

impl Message {
    /// Returns the frame that says this.
    pub fn to_frame(&self) -> Frame {
        let (kind, body) = match self {
            Self::Hello(body) => (Kind::Hello, encode(body)),
            Self::Welcome(body) => (Kind::Welcome, encode(body)),
            Self::Heartbeat(body) => (Kind::Heartbeat, encode(body)),
            Self::HeartbeatReply(body) => (Kind::HeartbeatReply, encode(body)),
            Self::Batch(body) => (Kind::Batch, encode_numbered(body)),
            Self::Schema(body) => (Kind::Schema, body.payload.clone()),
            Self::NeedSchema(body) => (Kind::NeedSchema, encode(body)),
            Self::Loss(body) => (Kind::Loss, encode_numbered(body)),
            Self::Ack(body) => (Kind::Ack, encode(body)),
            Self::Refuse(body) => (Kind::Refuse, encode(body)),
            Self::Bye(body) => (Kind::Bye, encode(body)),
        };
        Frame { kind, body }
    }

    /// Decodes a frame's body and checks its limits.
    pub fn from_frame(frame: &Frame) -> Result<Self, MessageError> {
        let message = match frame.kind {
            Kind::Hello => Self::Hello(decode(frame)?),
            Kind::Welcome => Self::Welcome(decode(frame)?),
            Kind::Heartbeat => Self::Heartbeat(decode(frame)?),
            Kind::HeartbeatReply => Self::HeartbeatReply(decode(frame)?),
            Kind::Batch => Self::Batch(decode_numbered(frame)?),
            Kind::Schema => Self::Schema(SchemaBody { payload: payload(frame, 0)? }),
            Kind::NeedSchema => Self::NeedSchema(decode(frame)?),
            Kind::Loss => Self::Loss(decode_numbered(frame)?),
            Kind::Ack => Self::Ack(decode(frame)?),
            Kind::Refuse => Self::Refuse(decode(frame)?),
            Kind::Bye => Self::Bye(decode(frame)?),
        };
        message.check(frame.kind)?;
        Ok(message)
    }

    fn check(&self, kind: Kind) -> Result<(), MessageError> {
        match self {
            Self::Hello(hello) => {
                at_most(kind, "bytes of version", hello.version.len(), VERSION_BYTES_MAX)?;
                at_most(kind, "drained lanes", hello.drained.len(), DRAINED_LANES_MAX)?;
                check_held(kind, &hello.held)
            }
            Self::Heartbeat(beat) => check_held(kind, &beat.held),
            Self::Welcome(welcome) => {
                at_most(kind, "schemas", welcome.schemas.len(), KNOWN_SCHEMAS_MAX)?;
                check_ranges(kind, &welcome.have)
            }
            Self::Ack(ack) => check_ranges(kind, &ack.lanes),
            _ => Ok(()),
        }
    }
}

impl Numbered {
    /// Makes the loss record's message body.
    pub fn from_loss(head: NumberedHead, loss: &Loss) -> Self {
        Self { head, payload: encode(loss) }
    }

    /// Decodes and checks the payload of a [`Message::Loss`].
    pub fn loss(&self) -> Result<Loss, MessageError> {
        let loss: Loss = decode_exactly(Kind::Loss, &self.payload)?;
        loss.check()?;
        Ok(loss)
    }
}

/// Longest version text in a Hello.
pub const VERSION_BYTES_MAX: usize = 64;

/// Most schema hashes in a Welcome.
pub const KNOWN_SCHEMAS_MAX: usize = 64;

fn encode<T: Serialize>(body: &T) -> Bytes {
    postcard::to_stdvec(body).expect("wire bodies have only lengths that postcard knows").into()
}

fn encode_numbered(body: &Numbered) -> Bytes {
    let mut out = postcard::to_stdvec(&body.head).expect("a head has a fixed shape");
    out.extend_from_slice(&body.payload);
    out.into()
}

fn decode<T: DeserializeOwned>(frame: &Frame) -> Result<T, MessageError> {
    decode_exactly(frame.kind, &frame.body)
}

fn decode_exactly<T: DeserializeOwned>(kind: Kind, body: &[u8]) -> Result<T, MessageError> {
    let malformed = |why: String| MessageError::Malformed { kind, why };
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(malformed(format!("{} bytes follow", rest.len()))) }
}

fn decode_numbered(frame: &Frame) -> Result<Numbered, MessageError> {
    let (head, rest) = postcard::take_from_bytes::<NumberedHead>(&frame.body)
        .map_err(|error| MessageError::Malformed { kind: frame.kind, why: error.to_string() })?;
    if !(Seq::FIRST..=Seq::LAST).contains(&head.seq) {
        return Err(MessageError::Malformed { kind: frame.kind, why: format!("seq {}", head.seq) });
    }
    Ok(Numbered { head, payload: payload(frame, frame.body.len() - rest.len())? })
}

fn payload(frame: &Frame, at: usize) -> Result<Bytes, MessageError> {
    let payload = frame.body.slice(at..);
    at_most(frame.kind, "payload bytes", payload.len(), BATCH_BYTES_MAX)?;
    Ok(payload)
}

fn at_most(kind: Kind, what: &'static str, count: usize, max: usize) -> Result<(), MessageError> {
    if count > max { Err(MessageError::TooMany { kind, what, count, max }) } else { Ok(()) }
}

fn check_ranges(kind: Kind, lanes: &[LaneRanges]) -> Result<(), MessageError> {
    at_most(kind, "lanes", lanes.len(), HELD_LANES_MAX)?;
    for lane in lanes {
        at_most(kind, "ranges", lane.ranges.len(), RANGES_PER_ACK_MAX)?;
        check_order(kind, &lane.ranges)?;
    }
    Ok(())
}

fn check_held(kind: Kind, held: &[HeldLane]) -> Result<(), MessageError> {
    at_most(kind, "held lanes", held.len(), HELD_LANES_MAX)?;
    let gone = held.iter().map(|lane| lane.gone.len()).sum();
    at_most(kind, "ranges that are gone", gone, GONE_RANGES_MAX)?;
    for lane in held {
        check_order(kind, &lane.gone)?;
        let ends = lane.gone.first().zip(lane.gone.last());
        let outside = ends.is_some_and(|(first, last)| first.first <= lane.first || last.end > lane.next);
        if lane.first < Seq::FIRST || lane.next < lane.first || outside || lane.spooled < lane.samples {
            return Err(MessageError::BadHeld { kind });
        }
    }
    Ok(())
}

fn check_order(kind: Kind, ranges: &[SeqRange]) -> Result<(), MessageError> {
    let mut end = Seq(0);
    for range in ranges {
        if range.first < Seq::FIRST || range.first <= end && end != Seq(0) || range.end <= range.first {
            return Err(MessageError::BadRanges { kind });
        }
        end = range.end;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
