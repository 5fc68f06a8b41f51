//! The bytes of a spool folder. Version 1. All integers are little-endian; every check sum is CRC32C. PROTOCOL.md#spool
//! is the specification.
//!
//! # Folder
//!
//! ```text
//! SPOOL                                    the marker: version, start counter, robot (see `marker`)
//! SPOOL.new                                a marker being written; removed at open
//! DRAINED, DRAINED.new                     how far lanes came that are drained (see `drained`)
//! PROBE                                    a write that was tried on a disk that had failed; removed at open
//! LOCK                                     locked while an agent has the spool open
//! urgent/ live/ bulk/                      one folder per lane
//!     START-RANDOM-FIRST.seg               a segment: epoch (decimal start, 16 hex digits) and its first seq
//! ```
//!
//! A segment holds consecutive seqs of one lane of one epoch. It is written from front to back and never changed; the
//! one exception is recovery, which cuts a torn tail and seals what is left. It is removed when each of its seqs was
//! released by an acknowledgement or is listed in a synced loss record, and for no other reason. A segment is sealed
//! and synced before the next one of its lane is created: so at most the last segment of a lane of an epoch is torn.
//!
//! # Segment
//!
//! ```text
//! header (192 bytes)
//! record, record, ...                      schema, batch, loss: a schema stands before the first batch that uses it
//! index record, trailer (16 bytes)         only when sealed
//! ```
//!
//! Segment header:
//!
//! ```text
//!   0   4  magic "MSPL"                     16  16  epoch: start, random
//!   4   2  version                          32   8  first seq
//!   6   2  version, each bit inverted       40   8  samples of the lane in this epoch before this segment
//!   8   1  lane: 0 urgent, 1 live, 2 bulk   48   1  length of the robot's id
//!   9   7  zero                             49 127  robot's id, zero-padded
//!                                          176  12  zero
//!                                          188   4  CRC of bytes 0..188
//! ```
//!
//! The first eight bytes keep this shape in every version, so that a newer segment is known as newer and not taken for
//! a damaged one. A damaged header loses nothing: the name and the records repeat what it says.
//!
//! Record header (96 bytes), followed by the body:
//!
//! ```text
//!   0   4  magic "MREC"                     32   8  seq; of a schema: the seq of the record after it
//!   4   1  kind: 1 batch 2 loss 3 schema    40   8  running: samples of the lane in this epoch before this record
//!          4 index                          48   8  synced: each seq below this was synced when this was written
//!   5   1  lane                             56   8  t_min of the samples (0 if none)
//!   6   2  zero                             64   8  t_max
//!   8   4  length of the body               72  16  hash of the schema; zero if none
//!  12   4  samples in the batch; else 0     88   4  CRC of the body
//!  16  16  epoch: start, random             92   4  CRC of bytes 0..92
//! ```
//!
//! Header and body have check sums of their own, so that a damaged body still tells its seq, samples, times and where
//! the next record starts. After a damaged header the reader looks for the next magic with a right header; `running`
//! there says how many samples lie between. The body of a batch or loss is the payload as it crosses the link; the
//! body of a schema is the encoded schema.
//!
//! Index record: the header has kind 4, seq = the seq after the segment's last, samples = samples in its batches that
//! are not lost, running = how many of its entries are lost, and the earliest and latest time of the whole. The body has 32 bytes per
//! seq in order, then 24 per schema:
//!
//! ```text
//! seq:     0  4  where the record starts    schema:  0 16  hash
//!          4  4  length of its body                 16  4  where its record starts
//!          8  4  samples                            20  4  length of its body
//!         12  1  1 batch, 2 loss, 5 lost    trailer: 0  4  magic "MEND"
//!         13  3  zero                                4  4  where the index record starts
//!         16  8  t_min                               8  4  zero
//!         24  8  t_max                              12  4  CRC of bytes 0..12
//! ```
//!
//! A *lost* entry was found damaged before the segment was sealed, and a loss record that lists it is synced.

use bytes::{Buf, BufMut};
use muster_protocol::{
    id::{Epoch, Lane, RobotId, SchemaHash, Seq},
    limits::BATCH_BYTES_MAX,
    time::WallTime,
};

/// The version of the folder that this program writes; it reads every released version up to it.
pub const SPOOL_VERSION: u16 = 1;

/// Most seqs of a segment. One loss record can list them all, and the index of a segment stays small in memory.
pub const SEGMENT_RECORDS_MAX: usize = muster_protocol::limits::LOST_SEQS_MAX;

/// Most schemas of a segment; at the bound a new segment is started.
pub(super) const SEGMENT_SCHEMAS_MAX: usize = 256;

/// No spool ever counts starts or seqs so far: what says so is not its own, and would leave nothing to count on with.
pub(super) const COUNT_MAX: u64 = u64::MAX / 2;

/// Largest segment file that is read. Far above what this program writes, and a bound on memory.
pub(super) const SEGMENT_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) const SEGMENT_HEADER_BYTES: usize = 192;
pub(super) const RECORD_HEADER_BYTES: usize = 96;
pub(super) const TRAILER_BYTES: usize = 16;
pub(super) const ENTRY_BYTES: usize = 32;
pub(super) const SCHEMA_ENTRY_BYTES: usize = 24;
pub(super) const RECORD_MAGIC: [u8; 4] = *b"MREC";

const SEGMENT_MAGIC: [u8; 4] = *b"MSPL";
const ROBOT_BYTES: usize = 127;
const INDEX_BODY_BYTES_MAX: usize =
    SEGMENT_RECORDS_MAX * ENTRY_BYTES + SEGMENT_SCHEMAS_MAX * SCHEMA_ENTRY_BYTES;

/// What a segment's file name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentName {
    pub(super) lane: Lane,
    pub(super) epoch: Epoch,
    pub(super) first: Seq,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RecordKind {
    Batch = 1,
    Loss = 2,
    Schema = 3,
    Index = 4,
}

/// The header of a record; the lane and epoch are the segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) kind: RecordKind,
    pub(super) seq: Seq,
    pub(super) samples: u32,
    pub(super) running: u64,
    pub(super) synced: Seq,
    pub(super) t_min: WallTime,
    pub(super) t_max: WallTime,
    pub(super) schema: SchemaHash,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
}

/// What the first bytes of a file say about its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// One that this program reads.
    Known,
    /// One from a newer program.
    Newer(u16),
    /// Neither: the bytes are damaged.
    Damaged,
}

impl SegmentName {
    /// Returns the file's path within the spool.
    pub(super) fn path(self) -> String {
        format!("{}/{}-{}.seg", self.lane, self.epoch, self.first)
    }

    /// Parses a file name within a lane's folder; `None` if it is no segment's.
    pub(super) fn parse(lane: Lane, file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".seg")?.split('-');
        let (start, random, first) = (parts.next()?, parts.next()?, parts.next()?);
        let epoch = Epoch { start: start.parse().ok()?, random: u64::from_str_radix(random, 16).ok()? };
        let name = Self { lane, epoch, first: Seq(first.parse().ok()?) };
        let counted = name.first >= Seq::FIRST && name.first.0 <= COUNT_MAX && epoch.start <= COUNT_MAX;
        (counted && name.path() == format!("{lane}/{file}")).then_some(name)
    }
}

/// Reads the version from the first bytes of a file that starts with `magic`.
pub(super) fn version_of(bytes: &[u8], magic: [u8; 4]) -> Version {
    let Some(mut head) = bytes.get(..8) else { return Version::Damaged };
    let mut found = [0; 4];
    head.copy_to_slice(&mut found);
    let (version, inverted) = (head.get_u16_le(), head.get_u16_le());
    match version {
        _ if found != magic || version != !inverted || version == 0 => Version::Damaged,
        1..=SPOOL_VERSION => Version::Known,
        newer => Version::Newer(newer),
    }
}

pub(super) fn segment_version(bytes: &[u8]) -> Version {
    version_of(bytes, SEGMENT_MAGIC)
}

/// Writes magic and version, the start of every file of the spool.
pub(super) fn put_version(out: &mut Vec<u8>, magic: [u8; 4]) {
    out.put_slice(&magic);
    out.put_u16_le(SPOOL_VERSION);
    out.put_u16_le(!SPOOL_VERSION);
}

/// Writes a robot's id with its length into 128 bytes.
pub(super) fn put_robot(out: &mut Vec<u8>, robot: &RobotId) {
    let text = robot.as_str().as_bytes();
    out.put_u8(u8::try_from(text.len()).expect("two names of at most 63 bytes and a slash"));
    out.put_slice(text);
    out.put_bytes(0, ROBOT_BYTES - text.len());
}

/// Reads what [`put_robot`] wrote.
pub(super) fn take_robot(bytes: &[u8]) -> Option<RobotId> {
    let (len, rest) = bytes.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*len))?).ok()?.parse().ok()
}

/// Appends the CRC of all that `out` holds.
pub(super) fn put_crc(out: &mut Vec<u8>) {
    let crc = crc32c::crc32c(out);
    out.put_u32_le(crc);
}

/// Returns the bytes before the CRC that ends `bytes`, if it is right.
pub(super) fn without_crc(bytes: &[u8]) -> Option<&[u8]> {
    let (covered, mut saved) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    (crc32c::crc32c(covered) == saved.get_u32_le()).then_some(covered)
}

pub(super) fn encode_segment_header(name: SegmentName, running: u64, robot: &RobotId) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    put_version(&mut out, SEGMENT_MAGIC);
    out.put_u8(lane_number(name.lane));
    out.put_bytes(0, 7);
    out.put_u64_le(name.epoch.start);
    out.put_u64_le(name.epoch.random);
    out.put_u64_le(name.first.0);
    out.put_u64_le(running);
    put_robot(&mut out, robot);
    out.put_bytes(0, 12);
    put_crc(&mut out);
    out
}

/// Returns how many samples the lane had before this segment, or `None` if the header is damaged or another's.
pub(super) fn decode_segment_header(bytes: &[u8], name: SegmentName) -> Option<u64> {
    let mut at = without_crc(bytes.get(..SEGMENT_HEADER_BYTES)?)?;
    (version_of(at, SEGMENT_MAGIC) == Version::Known).then_some(())?;
    at.advance(8);
    let lane = Lane::from_index(usize::from(at.get_u8()))?;
    at.advance(7);
    let epoch = Epoch { start: at.get_u64_le(), random: at.get_u64_le() };
    let first = Seq(at.get_u64_le());
    (SegmentName { lane, epoch, first } == name).then(|| at.get_u64_le())
}

/// Writes a record: its header and its body.
pub(super) fn put_record(out: &mut Vec<u8>, name: SegmentName, header: &RecordHeader, body: &[u8]) {
    let start = out.len();
    out.put_slice(&RECORD_MAGIC);
    out.put_u8(header.kind as u8);
    out.put_u8(lane_number(name.lane));
    out.put_u16_le(0);
    out.put_u32_le(u32::try_from(body.len()).expect("bodies are bounded"));
    out.put_u32_le(header.samples);
    out.put_u64_le(name.epoch.start);
    out.put_u64_le(name.epoch.random);
    out.put_u64_le(header.seq.0);
    out.put_u64_le(header.running);
    out.put_u64_le(header.synced.0);
    out.put_i64_le(header.t_min.0);
    out.put_i64_le(header.t_max.0);
    out.put_slice(&header.schema.0);
    out.put_u32_le(crc32c::crc32c(body));
    let crc = crc32c::crc32c(&out[start..]);
    out.put_u32_le(crc);
    out.put_slice(body);
}

/// Reads a record header of this segment; `None` if these bytes are none.
pub(super) fn decode_record_header(bytes: &[u8], name: SegmentName) -> Option<RecordHeader> {
    let bytes = bytes.get(..RECORD_HEADER_BYTES)?;
    if bytes.get(..4)? != RECORD_MAGIC {
        return None;
    }
    let mut at = without_crc(bytes)?;
    at.advance(4);
    let kind = RecordKind::from_number(at.get_u8())?;
    let lane = Lane::from_index(usize::from(at.get_u8()))?;
    at.advance(2);
    let (body_bytes, samples) = (at.get_u32_le(), at.get_u32_le());
    let epoch = Epoch { start: at.get_u64_le(), random: at.get_u64_le() };
    let (seq, running, synced) = (Seq(at.get_u64_le()), at.get_u64_le(), Seq(at.get_u64_le()));
    let (t_min, t_max) = (WallTime(at.get_i64_le()), WallTime(at.get_i64_le()));
    let mut schema = SchemaHash([0; 16]);
    at.copy_to_slice(&mut schema.0);
    let body_crc = at.get_u32_le();
    let ours = lane == name.lane && epoch == name.epoch && seq >= name.first;
    let fits = body_bytes as usize <= kind.body_bytes_max();
    (ours && fits).then_some(RecordHeader {
        kind,
        seq,
        samples,
        running,
        synced,
        t_min,
        t_max,
        schema,
        body_bytes,
        body_crc,
    })
}

/// Returns the body if its check sum is the header's.
pub(super) fn checked_body<'a>(header: &RecordHeader, body: &'a [u8]) -> Option<&'a [u8]> {
    let whole = body.len() == header.body_bytes as usize;
    (whole && crc32c::crc32c(body) == header.body_crc).then_some(body)
}

impl RecordKind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Batch, Self::Loss, Self::Schema, Self::Index].into_iter().find(|kind| *kind as u8 == number)
    }

    fn body_bytes_max(self) -> usize {
        match self {
            Self::Batch | Self::Loss | Self::Schema => BATCH_BYTES_MAX,
            Self::Index => INDEX_BODY_BYTES_MAX,
        }
    }
}

fn lane_number(lane: Lane) -> u8 {
    u8::try_from(lane.index()).expect("there are three lanes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name() -> SegmentName {
        SegmentName { lane: Lane::Bulk, epoch: Epoch { start: 3, random: 0xabcd }, first: Seq(10) }
    }

    fn header() -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Batch,
            seq: Seq(11),
            samples: 5,
            running: 7,
            synced: Seq(10),
            t_min: WallTime(-1),
            t_max: WallTime(2),
            schema: SchemaHash([9; 16]),
            body_bytes: 4,
            body_crc: crc32c::crc32c(b"body"),
        }
    }

    fn record() -> Vec<u8> {
        let mut out = Vec::new();
        put_record(&mut out, name(), &header(), b"body");
        out
    }

    #[test]
    fn golden_bytes_of_a_segment_header() {
        let robot = "warehouse/r17".parse().unwrap();
        let bytes = encode_segment_header(name(), 300, &robot);
        assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
        assert_eq!(bytes[..16], *b"MSPL\x01\x00\xfe\xff\x02\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..32], *b"\x03\0\0\0\0\0\0\0\xcd\xab\0\0\0\0\0\0");
        assert_eq!(bytes[32..48], *b"\x0a\0\0\0\0\0\0\0\x2c\x01\0\0\0\0\0\0");
        assert_eq!(bytes[48..64], *b"\x0dwarehouse/r17\0\0");
        assert!(bytes[64..188].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[188..], crc32c::crc32c(&bytes[..188]).to_le_bytes());
        assert_eq!(decode_segment_header(&bytes, name()), Some(300));
    }

    #[test]
    fn golden_bytes_of_a_record() {
        let bytes = record();
        assert_eq!(bytes[..16], *b"MREC\x01\x02\0\0\x04\0\0\0\x05\0\0\0");
        assert_eq!(bytes[16..32], *b"\x03\0\0\0\0\0\0\0\xcd\xab\0\0\0\0\0\0");
        assert_eq!(bytes[32..56], *b"\x0b\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0");
        assert_eq!(bytes[56..72], *b"\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\0\0\0");
        assert_eq!(bytes[72..88], [9; 16]);
        assert_eq!(bytes[88..92], crc32c::crc32c(b"body").to_le_bytes());
        assert_eq!(bytes[92..96], crc32c::crc32c(&bytes[..92]).to_le_bytes());
        assert_eq!(bytes[96..], *b"body");
        assert_eq!(decode_record_header(&bytes, name()), Some(header()));
    }

    #[test]
    fn a_record_of_another_segment_is_none_of_ours() {
        let elsewhere = SegmentName { lane: Lane::Live, ..name() };
        assert_eq!(decode_record_header(&record(), elsewhere), None);
        let later = SegmentName { first: Seq(12), ..name() };
        assert_eq!(decode_record_header(&record(), later), None);
    }

    #[test]
    fn file_names_are_read_back_and_others_are_not_ours() {
        assert_eq!(name().path(), "bulk/3-000000000000abcd-10.seg");
        assert_eq!(SegmentName::parse(Lane::Bulk, "3-000000000000abcd-10.seg"), Some(name()));
        for other in [
            "3-abcd-10.seg",
            "3-000000000000abcd-0.seg",
            "3-000000000000abcd-18446744073709551615.seg",
            "18446744073709551615-000000000000abcd-10.seg",
            "3-000000000000abcd-10.seg.bak",
            "notes.txt",
            ".seg",
        ] {
            assert_eq!(SegmentName::parse(Lane::Bulk, other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_bit_flip_is_found(bit in any::<prop::sample::Index>()) {
            let mut bytes = record();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = decode_record_header(&bytes, name());
            prop_assert!(read.is_none_or(|read| checked_body(&read, &bytes[RECORD_HEADER_BYTES..]).is_none()));
        }
    }
}
