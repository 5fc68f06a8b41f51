//! Frames: the unit that crosses a link, a 16-byte header and a body.
//!
//! ```text
//!  0      4        5      6          8          12        16
//!  +------+--------+------+----------+----------+---------+------ ... ------+
//!  | MSTR | version| kind | reserved | body len | CRC32C  | body            |
//!  +------+--------+------+----------+----------+---------+------ ... ------+
//! ```
//!
//! Integers are little-endian. The CRC covers the first 12 bytes and the body. The length is checked against
//! [`FRAME_BODY_BYTES_MAX`] before anything is buffered for it. A frame is whole or it is an error: a stream that
//! was dropped looks finished to QUIC, and never to us. PROTOCOL.md#frames is the specification.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::FRAME_BODY_BYTES_MAX;

/// The version of the wire that this crate speaks.
pub const WIRE_VERSION: u8 = 1;

/// The protocol name that QUIC endpoints negotiate (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"muster/1";

/// Bytes of the header.
pub const HEADER_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"MSTR";
const CRC_AT: usize = 12;

/// What a frame's body is; the number is the one in the header. New kinds are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Agent to gateway, first on every session: who it is and what it holds.
    Hello = 1,
    /// Gateway to agent, the answer: what it has already, and how much may be in flight.
    Welcome = 2,
    /// Agent to gateway, periodically: what it holds now, and its clocks.
    Heartbeat = 3,
    /// Gateway to agent, the answer to a heartbeat.
    HeartbeatReply = 4,
    /// Agent to gateway: samples as columns.
    Batch = 5,
    /// Agent to gateway: the channels that batches refer to.
    Schema = 6,
    /// Gateway to agent: a batch came whose schema it lacks; send both again.
    NeedSchema = 7,
    /// Agent to gateway: which accepted samples were lost, and why.
    Loss = 8,
    /// Gateway to agent: these are committed and synced.
    Ack = 9,
    /// Gateway to agent: this one was not taken.
    Refuse = 10,
    /// Either way: the session ends, and why.
    Bye = 11,
}

/// A whole, checked frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: Kind,
    /// The body, at most [`FRAME_BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
}

/// Why bytes are not a frame. The connection that sent them has to be closed: where the next frame would start is
/// unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are not the magic: another protocol speaks here.
    #[error("not a Muster frame: it starts with {found:02x?}")]
    BadMagic {
        /// The four bytes found.
        found: [u8; 4],
    },
    /// A version that this program does not speak.
    #[error("frame version {found}, but this program speaks version {WIRE_VERSION}; update the older side")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// A kind that this version does not have.
    #[error("unknown frame kind {found}")]
    UnknownKind {
        /// The kind found.
        found: u8,
    },
    /// The reserved bytes are not zero.
    #[error("reserved header bytes are {found:#06x}, not zero")]
    BadReserved {
        /// What stands there.
        found: u16,
    },
    /// The body would be longer than allowed.
    #[error("a frame body of {bytes} bytes; at most {FRAME_BODY_BYTES_MAX} are allowed")]
    TooLong {
        /// The length that the header claims.
        bytes: usize,
    },
    /// The check sum does not match: bytes were changed on the way.
    #[error("frame check sum {calculated:08x}, but the header says {saved:08x}")]
    BadCrc {
        /// What the header says.
        saved: u32,
        /// What the bytes give.
        calculated: u32,
    },
    /// The bytes end inside the frame.
    #[error("the frame ends after {got} of {need} bytes")]
    Truncated {
        /// Bytes that are there.
        got: usize,
        /// Bytes that the frame needs.
        need: usize,
    },
    /// Bytes follow where one frame was expected.
    #[error("{extra} bytes follow the frame")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// Cuts a byte stream into frames. Push what arrives, then poll until it returns `None`.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: BytesMut,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Hello,
        Self::Welcome,
        Self::Heartbeat,
        Self::HeartbeatReply,
        Self::Batch,
        Self::Schema,
        Self::NeedSchema,
        Self::Loss,
        Self::Ack,
        Self::Refuse,
        Self::Bye,
    ];

    fn from_wire(number: u8) -> Result<Self, FrameError> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as u8 == number)
            .ok_or(FrameError::UnknownKind { found: number })
    }
}

impl Frame {
    /// Returns the frame as it crosses the link.
    ///
    /// # Panics
    /// If the body is longer than [`FRAME_BODY_BYTES_MAX`]: every encoder of a body keeps below.
    pub fn encode(&self) -> Bytes {
        assert!(self.body.len() <= FRAME_BODY_BYTES_MAX, "body encoders bound their output");
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.body.len());
        out.put_slice(&MAGIC);
        out.put_u8(WIRE_VERSION);
        out.put_u8(self.kind as u8);
        out.put_u16_le(0);
        out.put_u32_le(u32::try_from(self.body.len()).expect("checked above"));
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &self.body);
        out.put_u32_le(crc);
        out.put_slice(&self.body);
        out.freeze()
    }

    /// Decodes bytes that hold exactly one frame, such as an MQTT payload.
    pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
        let mut buffer = BytesMut::from(bytes);
        let frame = split_frame(&mut buffer)?;
        let got = buffer.len();
        match frame {
            None => {
                Err(FrameError::Truncated { got, need: body_bytes(&buffer)?.unwrap_or(0) + HEADER_BYTES })
            }
            Some(_) if got > 0 => Err(FrameError::Trailing { extra: got }),
            Some(frame) => Ok(frame),
        }
    }
}

impl FrameDecoder {
    /// Takes bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next whole frame, or `None` until more bytes are pushed.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        split_frame(&mut self.buffer)
    }

    /// Checks that the stream may end here: not inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let need = body_bytes(&self.buffer)?.unwrap_or(0) + HEADER_BYTES;
        Err(FrameError::Truncated { got: self.buffer.len(), need })
    }
}

/// Checks a header as far as it is there and returns the body's length once it is whole.
fn body_bytes(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(mut header) = buffer.get(..HEADER_BYTES) else { return Ok(None) };
    let mut magic = [0; 4];
    header.copy_to_slice(&mut magic);
    if magic != MAGIC {
        return Err(FrameError::BadMagic { found: magic });
    }
    let version = header.get_u8();
    if version != WIRE_VERSION {
        return Err(FrameError::UnknownVersion { found: version });
    }
    Kind::from_wire(header.get_u8())?;
    let reserved = header.get_u16_le();
    if reserved != 0 {
        return Err(FrameError::BadReserved { found: reserved });
    }
    let bytes = header.get_u32_le() as usize;
    if bytes > FRAME_BODY_BYTES_MAX {
        return Err(FrameError::TooLong { bytes });
    }
    Ok(Some(bytes))
}

fn split_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(bytes) = body_bytes(buffer)? else { return Ok(None) };
    if buffer.len() < HEADER_BYTES + bytes {
        return Ok(None);
    }
    let header = buffer.split_to(HEADER_BYTES);
    let body = buffer.split_to(bytes).freeze();
    let (covered, mut saved) = header.split_at(CRC_AT);
    let saved = saved.get_u32_le();
    let calculated = crc32c::crc32c_append(crc32c::crc32c(covered), &body);
    if saved != calculated {
        return Err(FrameError::BadCrc { saved, calculated });
    }
    let kind = Kind::from_wire(header.get(5).copied().unwrap_or_default())?;
    Ok(Some(Frame { kind, body }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: Kind, body: &'static [u8]) -> Frame {
        Frame { kind, body: Bytes::from_static(body) }
    }

    #[test]
    fn golden_bytes_of_a_frame() {
        let bytes = frame(Kind::Ack, b"abc").encode();
        assert_eq!(bytes[..12], *b"MSTR\x01\x09\x00\x00\x03\x00\x00\x00");
        assert_eq!(bytes[12..16], crc32c::crc32c(b"MSTR\x01\x09\x00\x00\x03\x00\x00\x00abc").to_le_bytes());
        assert_eq!(bytes[16..], *b"abc");
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let sent = [frame(Kind::Batch, b"one"), frame(Kind::Ack, b""), frame(Kind::Bye, b"three")];
        let stream: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
        for cut in 1..stream.len() {
            let mut decoder = FrameDecoder::default();
            let mut got = Vec::new();
            for chunk in stream.chunks(cut) {
                decoder.push(chunk);
                while let Some(frame) = decoder.poll_frame().unwrap() {
                    got.push(frame);
                }
            }
            decoder.finish().unwrap();
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn each_damage_has_its_error() {
        let good = frame(Kind::Batch, b"body").encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            Frame::decode(bytes.into()).unwrap_err()
        };
        assert!(matches!(with(0, b'X'), FrameError::BadMagic { .. }));
        assert_eq!(with(4, 9), FrameError::UnknownVersion { found: 9 });
        assert_eq!(with(5, 99), FrameError::UnknownKind { found: 99 });
        assert!(matches!(with(6, 1), FrameError::BadReserved { .. }));
        assert!(matches!(with(11, 1), FrameError::TooLong { .. }));
        assert!(matches!(with(16, b'x'), FrameError::BadCrc { .. }));
        assert!(matches!(Frame::decode(good.slice(..18)), Err(FrameError::Truncated { got: 18, need: 20 })));
        let longer: Bytes = [&good[..], b"x"].concat().into();
        assert_eq!(Frame::decode(longer), Err(FrameError::Trailing { extra: 1 }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_every_bit_flip_is_found(body in proptest::collection::vec(any::<u8>(), 0..200), flip in any::<prop::sample::Index>()) {
            let bytes = Frame { kind: Kind::Batch, body: body.into() }.encode();
            let mut bad = bytes.to_vec();
            let bit = flip.index(bad.len() * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Frame::decode(bad.into()).is_err());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = FrameDecoder::default();
            decoder.push(&bytes);
            let _ = decoder.poll_frame();
        }
    }
}
