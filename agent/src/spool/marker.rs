//! The marker file `SPOOL`: whose spool this is, and how often an agent has started on it.
//!
//! ```text
//!   0   4  magic "MSPM"                     16   1  length of the robot's id
//!   4   2  version                          17 127  robot's id, zero-padded
//!   6   2  version, each bit inverted      144  12  zero
//!   8   8  start counter                   156   4  CRC of bytes 0..156
//! ```
//!
//! Written to `SPOOL.new`, synced, renamed, and the folder synced: a reader sees the old marker or the new one. The
//! counter is durable before the first seq of the epoch that it numbers.

use std::io;

use bytes::{Buf, BufMut};
use muster_protocol::id::RobotId;

use super::{
    disk::Disk,
    format::{COUNT_MAX, Version, put_crc, put_robot, put_version, take_robot, version_of, without_crc},
};

pub(super) const MARKER_PATH: &str = "SPOOL";
const MARKER_NEW_PATH: &str = "SPOOL.new";
const MARKER_MAGIC: [u8; 4] = *b"MSPM";
const MARKER_BYTES: usize = 160;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The starts so far.
    pub(super) start: u64,
    /// The robot whose data the spool holds.
    pub(super) robot: RobotId,
}

/// What stands where the marker should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MarkerRead {
    /// No marker: a new spool.
    Missing,
    /// A whole one.
    Found(Marker),
    /// One whose bytes are damaged; the segments' names say enough to go on.
    Damaged,
    /// One of a newer program.
    Newer(u16),
}

pub(super) fn encode(marker: &Marker) -> Vec<u8> {
    let mut out = Vec::with_capacity(MARKER_BYTES);
    put_version(&mut out, MARKER_MAGIC);
    out.put_u64_le(marker.start);
    put_robot(&mut out, &marker.robot);
    out.put_bytes(0, 12);
    put_crc(&mut out);
    out
}

pub(super) fn decode(bytes: &[u8]) -> MarkerRead {
    match version_of(bytes, MARKER_MAGIC) {
        Version::Newer(version) => return MarkerRead::Newer(version),
        Version::Damaged => return MarkerRead::Damaged,
        Version::Known => {}
    }
    let whole = || {
        let mut at = without_crc(bytes.get(..MARKER_BYTES)?)?;
        at.advance(8);
        let start = at.get_u64_le();
        (start <= COUNT_MAX).then_some(Marker { start, robot: take_robot(at)? })
    };
    whole().map_or(MarkerRead::Damaged, MarkerRead::Found)
}

pub(super) fn read(disk: &dyn Disk) -> io::Result<MarkerRead> {
    if !disk.list("")?.iter().any(|name| name == MARKER_PATH) {
        return Ok(MarkerRead::Missing);
    }
    Ok(decode(&disk.open(MARKER_PATH)?.read_at(0, MARKER_BYTES)?))
}

/// Replaces the marker durably.
pub(super) fn write(disk: &dyn Disk, marker: &Marker) -> io::Result<()> {
    if disk.list("")?.iter().any(|name| name == MARKER_NEW_PATH) {
        disk.remove(MARKER_NEW_PATH)?;
    }
    let file = disk.create(MARKER_NEW_PATH)?;
    file.append(&encode(marker))?;
    file.sync_data()?;
    disk.rename(MARKER_NEW_PATH, MARKER_PATH)?;
    disk.sync_folder("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker { start: 7, robot: "warehouse/r17".parse().unwrap() }
    }

    #[test]
    fn golden_bytes_of_a_marker() {
        let bytes = encode(&marker());
        assert_eq!(bytes.len(), MARKER_BYTES);
        assert_eq!(bytes[..17], *b"MSPM\x01\x00\xfe\xff\x07\0\0\0\0\0\0\0\x0d");
        assert_eq!(bytes[17..32], *b"warehouse/r17\0\0");
        assert_eq!(bytes[156..], crc32c::crc32c(&bytes[..156]).to_le_bytes());
        assert_eq!(decode(&bytes), MarkerRead::Found(marker()));
    }

    #[test]
    fn each_flipped_bit_is_damage_and_never_newer() {
        let good = encode(&marker());
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), MarkerRead::Damaged, "bit {bit}");
        }
        assert_eq!(decode(&good[..100]), MarkerRead::Damaged);
    }

    /// Guards: the start after the last one that there is could not be counted.
    #[test]
    fn a_count_that_no_spool_reaches_is_damage() {
        assert_eq!(decode(&encode(&Marker { start: u64::MAX, ..marker() })), MarkerRead::Damaged);
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = encode(&marker());
        bytes[4..8].copy_from_slice(b"\x02\x00\xfd\xff");
        assert_eq!(decode(&bytes), MarkerRead::Newer(2));
    }
}
