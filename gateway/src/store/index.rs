//! The index of a sealed partition: where each robot's records are in time. One file, written once.
//!
//! ```text
//!  0 MSTI | version u8 | 3 x 0 | directory bytes u32 | CRC32C of the first 12 bytes and the directory
//! 16 directory: postcard list of (robot, entries, longest span of a record, CRC32C of its section)
//!    sections: for each robot, its entries of t_min i64 | t_max i64 | offset u64, ascending
//! ```
//!
//! Integers are little-endian. A query reads the directory and one section; the longest span bounds how far before
//! its start a record can begin that still reaches into it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use bytes::{Buf, BufMut};
use muster_protocol::{
    id::{Offset, RobotId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use super::tally::{IndexEntry, Span, Tally};

/// The version of the index that this program writes.
const VERSION: u8 = 1;
const MAGIC: [u8; 4] = *b"MSTI";
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;

/// Why a file is not an index. It is rebuilt from the partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("read the index: {0}")]
    Io(#[from] io::Error),
    #[error("the index's {what} is damaged")]
    Damaged { what: &'static str },
    #[error("index version {found}, but this program reads {VERSION}")]
    UnknownVersion { found: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Section {
    robot: RobotId,
    entries: u32,
    longest: u64,
    crc: u32,
}

/// Returns the index's bytes.
pub(super) fn encode(tally: &Tally) -> Vec<u8> {
    let mut robots: Vec<_> = tally.robots.iter().filter(|(_, robot)| !robot.entries.is_empty()).collect();
    robots.sort_by_key(|(id, _)| *id);
    let (mut directory, mut sections) = (Vec::new(), Vec::new());
    for (id, robot) in robots {
        let mut sorted = robot.entries.clone();
        sorted.sort_unstable();
        let start = sections.len();
        for entry in &sorted {
            put(&mut sections, entry);
        }
        let longest = sorted.iter().map(|entry| entry.t_max.0.abs_diff(entry.t_min.0)).max().unwrap_or(0);
        let entries = u32::try_from(sorted.len()).expect("a partition has fewer records");
        let crc = crc32c::crc32c(&sections[start..]);
        directory.push(Section { robot: id.clone(), entries, longest, crc });
    }
    let directory = postcard::to_stdvec(&directory).expect("a directory has only known lengths");
    let mut out = Vec::with_capacity(HEADER_BYTES + directory.len() + sections.len());
    out.put_slice(&MAGIC);
    out.put_slice(&[VERSION, 0, 0, 0]);
    out.put_u32_le(u32::try_from(directory.len()).expect("a directory is far below 4 GiB"));
    out.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&out), &directory));
    out.put_slice(&directory);
    out.put_slice(&sections);
    out
}

/// Returns the offsets after `after` of a robot's records that overlap a span, ascending.
pub(super) fn matching(
    path: &Path,
    robot: &RobotId,
    span: Span,
    after: Offset,
) -> Result<Vec<Offset>, IndexError> {
    let mut file = File::open(path)?;
    let (sections_at, directory) = read_directory(&mut file)?;
    let Ok(found) = directory.binary_search_by(|section| section.robot.cmp(robot)) else {
        return Ok(Vec::new());
    };
    let before: u64 = directory[..found].iter().map(|section| u64::from(section.entries)).sum();
    let entries = read_section(&mut file, sections_at + before * ENTRY_BYTES as u64, &directory[found])?;
    let earliest = WallTime(span.from.0.saturating_sub_unsigned(directory[found].longest));
    let start = entries.partition_point(|entry| entry.t_min < earliest);
    let end = entries.partition_point(|entry| span.ends_after(entry.t_min)).max(start);
    let wanted = entries[start..end].iter().filter(|entry| span.overlaps(entry) && entry.offset > after);
    let mut offsets: Vec<Offset> = wanted.map(|entry| entry.offset).collect();
    offsets.sort_unstable();
    Ok(offsets)
}

fn read_directory(file: &mut File) -> Result<(u64, Vec<Section>), IndexError> {
    let damaged = IndexError::Damaged { what: "directory" };
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let [version, ..] = header[4..] else { return Err(damaged) };
    if header[..4] != MAGIC {
        return Err(IndexError::Damaged { what: "magic" });
    }
    if version != VERSION {
        return Err(IndexError::UnknownVersion { found: version });
    }
    let bytes = u64::from((&header[8..]).get_u32_le());
    if bytes > file.metadata()?.len() {
        return Err(damaged);
    }
    let mut directory = Vec::new();
    file.take(bytes).read_to_end(&mut directory)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &directory);
    if crc != (&header[12..]).get_u32_le() {
        return Err(damaged);
    }
    match postcard::take_from_bytes(&directory) {
        Ok((sections, [])) => Ok((HEADER_BYTES as u64 + bytes, sections)),
        _ => Err(damaged),
    }
}

fn read_section(file: &mut File, at: u64, section: &Section) -> Result<Vec<IndexEntry>, IndexError> {
    let bytes = u64::from(section.entries) * ENTRY_BYTES as u64;
    let mut raw = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(bytes).read_to_end(&mut raw)?;
    if raw.len() as u64 != bytes || crc32c::crc32c(&raw) != section.crc {
        return Err(IndexError::Damaged { what: "section" });
    }
    Ok(raw.chunks_exact(ENTRY_BYTES).map(entry).collect())
}

fn put(out: &mut Vec<u8>, entry: &IndexEntry) {
    out.put_i64_le(entry.t_min.0);
    out.put_i64_le(entry.t_max.0);
    out.put_u64_le(entry.offset.0);
}

fn entry(mut bytes: &[u8]) -> IndexEntry {
    let (t_min, t_max) = (WallTime(bytes.get_i64_le()), WallTime(bytes.get_i64_le()));
    IndexEntry { t_min, t_max, offset: Offset(bytes.get_u64_le()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Head, RecordKind};

    fn tally_of(records: &[(u8, i64, u8)]) -> Tally {
        let mut tally = Tally::default();
        for (offset, &(robot, t, span)) in (1..).zip(records) {
            let head = Head {
                kind: RecordKind::Session,
                received_at: WallTime(0),
                robot: format!("yard/r{robot}").parse().unwrap(),
                session: 0,
                number: None,
                samples: 0,
                t_min: WallTime(t),
                t_max: WallTime(t.saturating_add(i64::from(span))),
                payload_bytes: 0,
            };
            tally.add(Offset(offset), &head);
        }
        tally
    }

    #[test]
    fn any_flipped_bit_that_a_query_reads_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let bytes = encode(&tally_of(&[(1, 5, 1), (1, 2, 1)]));
        let robot = "yard/r1".parse().unwrap();
        let span = Span { from: WallTime(0), until: Some(WallTime(9)) };
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            assert!(matching(&path, &robot, span, Offset(0)).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn the_file_answers_like_the_memory(
            records in proptest::collection::vec((0..3_u8, prop_oneof![-50..50_i64, any::<i64>()], any::<u8>()), 0..60),
            robot in 0..4_u8, from in -60..60_i64, width in 0..80_i64, after in 0..60_u64,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index");
            let tally = tally_of(&records);
            std::fs::write(&path, encode(&tally)).unwrap();
            let robot = format!("yard/r{robot}").parse().unwrap();
            let span = Span { from: WallTime(from), until: (width < 70).then_some(WallTime(from + width)) };
            let found = matching(&path, &robot, span, Offset(after)).unwrap();
            prop_assert_eq!(found, tally.matching(&robot, span, Offset(after)).offsets);
        }
    }
}
