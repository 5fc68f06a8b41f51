//! The bytes of a spool folder. Version 1. All integers are little-endian; every check sum is CRC32C.
//!
//! # Folder
//!
//! ```text
//! SPOOL                                    the marker: version, start counter, robot (see `marker`)
//! SPOOL.new                                a marker being written; removed at open
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
//! are not lost, running = how many of its entries are lost, t_min and t_max of the whole. The body has 32 bytes per
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

use bytes::{Buf, BufMut, Bytes};
use muster_protocol::{
    id::{Epoch, Lane, RobotId, SchemaHash, Seq},
    limits::BATCH_BYTES_MAX,
    time::WallTime,
};

use super::index::{Index, IndexEntry, SchemaEntry, Standing};

/// The version of the folder that this program writes; it reads every released version up to it.
pub const SPOOL_VERSION: u16 = 1;

/// Most seqs of a segment. One loss record can list them all, and the index of a segment stays small in memory.
pub const SEGMENT_RECORDS_MAX: usize = muster_protocol::limits::LOST_SEQS_MAX;

/// Most schemas of a segment; at the bound a new segment is started.
pub(super) const SEGMENT_SCHEMAS_MAX: usize = 256;

/// Largest segment file that is read. Far above what this program writes, and a bound on memory.
pub(super) const SEGMENT_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

pub(super) const SEGMENT_HEADER_BYTES: usize = 192;
pub(super) const RECORD_HEADER_BYTES: usize = 96;
pub(super) const TRAILER_BYTES: usize = 16;
pub(super) const RECORD_MAGIC: [u8; 4] = *b"MREC";

const SEGMENT_MAGIC: [u8; 4] = *b"MSPL";
const TRAILER_MAGIC: [u8; 4] = *b"MEND";
const ENTRY_BYTES: usize = 32;
const SCHEMA_ENTRY_BYTES: usize = 24;
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
        (name.first >= Seq::FIRST && name.path() == format!("{lane}/{file}")).then_some(name)
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

/// Writes the index record and the trailer that seal a segment of `at` bytes.
pub(super) fn encode_seal(name: SegmentName, index: &Index, at: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in &index.entries {
        body.put_u32_le(entry.at);
        body.put_u32_le(entry.body_bytes);
        body.put_u32_le(entry.samples);
        body.put_u8(entry.standing as u8);
        body.put_bytes(0, 3);
        body.put_i64_le(entry.t_min.0);
        body.put_i64_le(entry.t_max.0);
    }
    for schema in &index.schemas {
        body.put_slice(&schema.hash.0);
        body.put_u32_le(schema.at);
        body.put_u32_le(schema.body_bytes);
    }
    let (t_min, t_max) = index.span().unwrap_or_default();
    let header = RecordHeader {
        kind: RecordKind::Index,
        seq: index.next(),
        samples: u32::try_from(index.samples()).unwrap_or(u32::MAX),
        running: index.lost() as u64,
        synced: index.first,
        t_min,
        t_max,
        schema: SchemaHash([0; 16]),
        body_bytes: 0,
        body_crc: 0,
    };
    let mut out = Vec::with_capacity(RECORD_HEADER_BYTES + body.len() + TRAILER_BYTES);
    put_record(&mut out, name, &header, &body);
    let mut trailer = Vec::with_capacity(TRAILER_BYTES);
    trailer.put_slice(&TRAILER_MAGIC);
    trailer.put_u32_le(u32::try_from(at).expect("segments are a few MiB"));
    trailer.put_u32_le(0);
    put_crc(&mut trailer);
    out.extend_from_slice(&trailer);
    out
}

/// Returns where the index record starts, from the last bytes of a sealed segment.
pub(super) fn decode_trailer(bytes: &[u8]) -> Option<u64> {
    let mut at = without_crc(bytes.get(..TRAILER_BYTES)?)?;
    let mut magic = [0; 4];
    at.copy_to_slice(&mut magic);
    (magic == TRAILER_MAGIC).then(|| u64::from(at.get_u32_le()))
}

/// Reads the body of an index record; `None` if it does not fit its header.
pub(super) fn decode_index(first: Seq, header: &RecordHeader, body: &[u8]) -> Option<Index> {
    let records = usize::try_from(header.seq.0.checked_sub(first.0)?).ok()?;
    if header.kind != RecordKind::Index || records > SEGMENT_RECORDS_MAX {
        return None;
    }
    let mut body = Bytes::copy_from_slice(checked_body(header, body)?);
    let schema_bytes = body.len().checked_sub(records * ENTRY_BYTES)?;
    (schema_bytes % SCHEMA_ENTRY_BYTES == 0).then_some(())?;
    let mut index = Index::new(first);
    for _ in 0..records {
        let (at, body_bytes, samples) = (body.get_u32_le(), body.get_u32_le(), body.get_u32_le());
        let standing = Standing::from_number(body.get_u8())?;
        body.advance(3);
        let (t_min, t_max) = (WallTime(body.get_i64_le()), WallTime(body.get_i64_le()));
        index.entries.push(IndexEntry { at, body_bytes, samples, standing, t_min, t_max });
    }
    while body.has_remaining() {
        let mut hash = SchemaHash([0; 16]);
        body.copy_to_slice(&mut hash.0);
        index.schemas.push(SchemaEntry { hash, at: body.get_u32_le(), body_bytes: body.get_u32_le() });
    }
    Some(index)
}

fn lane_number(lane: Lane) -> u8 {
    u8::try_from(lane.index()).expect("there are three lanes")
}
