//! How records become the entries of a partition: small ones share an entry, a large one takes several.
//!
//! ```text
//! key    offset u64 | part u16          big-endian, so that keys sort by offset
//! value  0 | (length u16 | record)...   records of consecutive offsets, the first at the key's
//!        1 | total u32 | bytes          part 0 of a large record
//!        2 | bytes                      its parts 1, 2, ...
//! ```
//!
//! Lengths are little-endian. No value is longer than [`ENTRY_BYTES_MAX`]: the database splits its pages by count and
//! would put pages of longer values into files that it never syncs.

use bytes::Bytes;
use muster_protocol::id::Offset;

use crate::record::RECORD_BYTES_MAX;

/// Longest value of an entry.
pub(super) const ENTRY_BYTES_MAX: usize = 4096;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 10;

const PACKED: u8 = 0;
const FIRST_PART: u8 = 1;
const NEXT_PART: u8 = 2;
const LENGTH_BYTES: usize = 2;
const TOTAL_BYTES: usize = 4;

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The offset of the entry's (first) record.
    pub(super) offset: Offset,
    /// Which part of a large record; else 0.
    pub(super) part: u16,
}

/// How much of each record an [`Unpacker`] hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// All of it.
    Whole,
    /// At least the head: of a large record its first part.
    Head,
}

/// Turns entries, in the order of their keys, back into records.
#[derive(Debug)]
pub(super) struct Unpacker {
    next: Offset,
    take: Take,
    large: Option<Large>,
}

/// Why entries are not what [`pack`] made: the partition is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("offset {expected} is missing, {found} follows")]
    Gap { expected: Offset, found: Offset },
    #[error("the entry at offset {at} is malformed")]
    Malformed { at: Offset },
}

/// A large record of which parts have come.
#[derive(Debug)]
struct Large {
    bytes: Vec<u8>,
    total: usize,
    got: usize,
    next_part: u16,
}

impl Key {
    pub(super) fn first(offset: Offset) -> Self {
        Self { offset, part: 0 }
    }

    pub(super) fn encode(self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&self.offset.0.to_be_bytes());
        key[8..].copy_from_slice(&self.part.to_be_bytes());
        key
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (offset, part) = bytes.split_at_checked(8)?;
        let offset = u64::from_be_bytes(offset.try_into().ok()?);
        Some(Self { offset: Offset(offset), part: u16::from_be_bytes(part.try_into().ok()?) })
    }
}

/// Packs records of consecutive offsets into entries.
pub(super) fn pack<'a>(first: Offset, records: impl Iterator<Item = &'a [u8]>) -> Vec<(Key, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut shared = (Key::first(first), vec![PACKED]);
    for (number, record) in (first.0..).zip(records) {
        let offset = Offset(number);
        if shared.1.len() + LENGTH_BYTES + record.len() > ENTRY_BYTES_MAX {
            push_shared(&mut entries, &mut shared, offset);
        }
        if shared.1.len() + LENGTH_BYTES + record.len() > ENTRY_BYTES_MAX {
            push_parts(&mut entries, offset, record);
            shared.0 = Key::first(offset.next());
        } else {
            let length = u16::try_from(record.len()).expect("it fits an entry");
            shared.1.extend_from_slice(&length.to_le_bytes());
            shared.1.extend_from_slice(record);
        }
    }
    push_shared(&mut entries, &mut shared, first);
    entries
}

/// Ends the entry that small records share, if it has any, and starts the next at `next`.
fn push_shared(entries: &mut Vec<(Key, Vec<u8>)>, shared: &mut (Key, Vec<u8>), next: Offset) {
    if shared.1.len() > 1 {
        entries.push(std::mem::replace(shared, (Key::first(next), vec![PACKED])));
    } else {
        shared.0 = Key::first(next);
    }
}

fn push_parts(entries: &mut Vec<(Key, Vec<u8>)>, offset: Offset, record: &[u8]) {
    assert!(record.len() <= RECORD_BYTES_MAX, "record encoders bound their output");
    let total = u32::try_from(record.len()).expect("bounded above").to_le_bytes();
    let (first, rest) = record.split_at(ENTRY_BYTES_MAX - 1 - TOTAL_BYTES);
    entries.push((Key::first(offset), [&[FIRST_PART][..], &total, first].concat()));
    for (part, bytes) in (1..).zip(rest.chunks(ENTRY_BYTES_MAX - 1)) {
        entries.push((Key { offset, part }, [&[NEXT_PART][..], bytes].concat()));
    }
}

impl Unpacker {
    /// Starts before the entry that begins at `at`.
    pub(super) fn new(at: Offset, take: Take) -> Self {
        Self { next: at, take, large: None }
    }

    /// Returns the offset after the last whole record.
    pub(super) fn next(&self) -> Offset {
        self.next
    }

    /// Returns whether parts of a large record are still to come.
    pub(super) fn is_inside_a_record(&self) -> bool {
        self.large.is_some()
    }

    /// Takes the next entry and adds the records that it completes to `out`.
    pub(super) fn push(
        &mut self,
        key: Key,
        value: &[u8],
        out: &mut Vec<(Offset, Bytes)>,
    ) -> Result<(), UnpackError> {
        let malformed = UnpackError::Malformed { at: key.offset };
        if key.offset != self.next {
            return Err(UnpackError::Gap { expected: self.next, found: key.offset });
        }
        match (value.split_first(), &mut self.large) {
            (Some((&PACKED, records)), None) if key.part == 0 => {
                self.push_packed(records, out).ok_or(malformed)
            }
            (Some((&FIRST_PART, bytes)), None) if key.part == 0 => {
                self.large = Some(Large::start(bytes).ok_or(malformed)?);
                Ok(())
            }
            (Some((&NEXT_PART, bytes)), Some(large)) if key.part == large.next_part => {
                large.add(bytes, self.take).ok_or(malformed)?;
                if large.got == large.total {
                    out.push((self.next, std::mem::take(&mut large.bytes).into()));
                    self.large = None;
                    self.next = self.next.next();
                }
                Ok(())
            }
            _ => Err(malformed),
        }
    }

    fn push_packed(&mut self, records: &[u8], out: &mut Vec<(Offset, Bytes)>) -> Option<()> {
        let records = Bytes::copy_from_slice(records);
        let mut at = 0;
        while at < records.len() {
            let length = records.get(at..at + LENGTH_BYTES)?;
            let length = usize::from(u16::from_le_bytes(length.try_into().ok()?));
            at += LENGTH_BYTES;
            records.get(at..at + length)?;
            out.push((self.next, records.slice(at..at + length)));
            self.next = self.next.next();
            at += length;
        }
        Some(())
    }
}

impl Large {
    fn start(value: &[u8]) -> Option<Self> {
        let (total, bytes) = value.split_at_checked(TOTAL_BYTES)?;
        let total = usize::try_from(u32::from_le_bytes(total.try_into().ok()?)).ok()?;
        if total > RECORD_BYTES_MAX || bytes.len() >= total {
            return None;
        }
        Some(Self { bytes: bytes.to_vec(), total, got: bytes.len(), next_part: 1 })
    }

    fn add(&mut self, bytes: &[u8], take: Take) -> Option<()> {
        self.got += bytes.len();
        self.next_part = self.next_part.checked_add(1)?;
        if take == Take::Whole {
            self.bytes.extend_from_slice(bytes);
        }
        (self.got <= self.total && !bytes.is_empty()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpack(at: Offset, take: Take, entries: &[(Key, Vec<u8>)]) -> Vec<(Offset, Bytes)> {
        let mut unpacker = Unpacker::new(at, take);
        let mut out = Vec::new();
        for (key, value) in entries {
            unpacker.push(*key, value, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn golden_bytes_of_small_and_large_records() {
        let large = vec![7; ENTRY_BYTES_MAX];
        let entries = pack(Offset(5), [&b"ab"[..], b"", &large, b"c"].into_iter());
        assert_eq!(entries.len(), 4);
        assert_eq!(entries[0], (Key::first(Offset(5)), b"\x00\x02\x00ab\x00\x00".to_vec()));
        assert_eq!(entries[1].0, Key::first(Offset(7)));
        assert_eq!(entries[1].1[..6], *b"\x01\x00\x10\x00\x00\x07");
        assert_eq!(entries[2], (Key { offset: Offset(7), part: 1 }, b"\x02\x07\x07\x07\x07\x07".to_vec()));
        assert_eq!(entries[3], (Key::first(Offset(8)), b"\x00\x01\x00c".to_vec()));
        assert_eq!(entries[2].0.encode(), *b"\0\0\0\0\0\0\0\x07\0\x01");
    }

    #[test]
    fn a_missing_part_or_offset_is_found() {
        let large = vec![7; 3 * ENTRY_BYTES_MAX];
        let entries = pack(Offset(1), [&large[..], b"c"].into_iter());
        for missing in 0..entries.len() - 1 {
            let mut left = entries.clone();
            left.remove(missing);
            let mut unpacker = Unpacker::new(Offset(1), Take::Whole);
            let mut push = |(key, value): &(Key, Vec<u8>)| unpacker.push(*key, value, &mut Vec::new());
            assert!(left.iter().any(|entry| push(entry).is_err()), "part {missing}");
        }
    }

    proptest! {
        #[test]
        fn records_round_trip_in_entries_of_bounded_size(
            sizes in proptest::collection::vec(prop_oneof![0..300_usize, 3000..5000_usize, 20_000..33_000_usize], 0..40),
        ) {
            let records: Vec<Vec<u8>> = (0..=u8::MAX).cycle().zip(&sizes).map(|(fill, &size)| vec![fill; size]).collect();
            let entries = pack(Offset(9), records.iter().map(Vec::as_slice));
            prop_assert!(entries.iter().all(|(_, value)| value.len() <= ENTRY_BYTES_MAX));
            prop_assert!(entries.windows(2).all(|pair| pair[0].0.encode() < pair[1].0.encode()));
            let whole = unpack(Offset(9), Take::Whole, &entries);
            let heads = unpack(Offset(9), Take::Head, &entries);
            prop_assert_eq!(whole.len(), records.len());
            for ((number, record), ((offset, bytes), (_, head))) in (9..).zip(&records).zip(whole.iter().zip(&heads)) {
                prop_assert_eq!(*offset, Offset(number));
                prop_assert_eq!(&bytes[..], &record[..]);
                prop_assert!(record.starts_with(head) && head.len() >= record.len().min(ENTRY_BYTES_MAX - 5));
            }
        }

        #[test]
        fn any_entry_is_unpacked_or_refused(value in proptest::collection::vec(any::<u8>(), 0..50), part in 0..2_u16) {
            let mut unpacker = Unpacker::new(Offset(1), Take::Whole);
            let _ = unpacker.push(Key { offset: Offset(1), part }, &value, &mut Vec::new());
        }
    }
}
