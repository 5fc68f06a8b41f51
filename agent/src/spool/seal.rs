//! The index record and trailer that seal a segment. Their bytes are specified in [`format`](super::format).

use bytes::{Buf, BufMut, Bytes};
use muster_protocol::{
    id::{SchemaHash, Seq},
    time::WallTime,
};

use super::{
    format::{
        ENTRY_BYTES, RECORD_HEADER_BYTES, RecordHeader, RecordKind, SCHEMA_ENTRY_BYTES, SEGMENT_RECORDS_MAX,
        SegmentName, TRAILER_BYTES, checked_body, put_crc, put_record, without_crc,
    },
    index::{Index, IndexEntry, SchemaEntry, Standing},
};

const TRAILER_MAGIC: [u8; 4] = *b"MEND";

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

#[cfg(test)]
mod tests {
    use muster_protocol::id::{Epoch, Lane};

    use super::{super::format::decode_record_header, *};

    fn name() -> SegmentName {
        SegmentName { lane: Lane::Live, epoch: Epoch { start: 1, random: 2 }, first: Seq(5) }
    }

    fn index() -> Index {
        let (t_min, t_max) = (WallTime(1), WallTime(2));
        let entry =
            IndexEntry { at: 192, body_bytes: 7, samples: 3, standing: Standing::Batch, t_min, t_max };
        let schema = SchemaEntry { hash: SchemaHash([4; 16]), at: 8, body_bytes: 9 };
        Index { first: Seq(5), entries: vec![entry, IndexEntry::lost(6)], schemas: vec![schema] }
    }

    #[test]
    fn golden_bytes_of_a_seal() {
        let bytes = encode_seal(name(), &index(), 1000);
        let (header, body, trailer) = (&bytes[..96], &bytes[96..184], &bytes[184..]);
        assert_eq!(header[..16], *b"MREC\x04\x01\0\0\x58\0\0\0\x03\0\0\0");
        assert_eq!(header[32..48], *b"\x07\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        assert_eq!(body[..16], *b"\xc0\0\0\0\x07\0\0\0\x03\0\0\0\x01\0\0\0");
        assert_eq!(body[16..32], *b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
        assert_eq!(body[32..48], *b"\0\0\0\0\0\0\0\0\x06\0\0\0\x05\0\0\0");
        assert_eq!(body[64..80], [4; 16]);
        assert_eq!(body[80..], *b"\x08\0\0\0\x09\0\0\0");
        assert_eq!(trailer[..12], *b"MEND\xe8\x03\0\0\0\0\0\0");
        assert_eq!(trailer[12..], crc32c::crc32c(&trailer[..12]).to_le_bytes());
    }

    #[test]
    fn a_seal_is_read_back() {
        let bytes = encode_seal(name(), &index(), 1000);
        let header = decode_record_header(&bytes, name()).unwrap();
        assert_eq!(decode_index(Seq(5), &header, &bytes[96..184]), Some(index()));
        assert_eq!(decode_trailer(&bytes[184..]), Some(1000));
        assert_eq!(decode_index(Seq(4), &header, &bytes[96..184]), None);
        assert_eq!(decode_index(Seq(8), &header, &bytes[96..184]), None);
    }
}
