//! The file `DRAINED`: how far lanes came whose newest segment is gone, so that none is left to tell it.
//!
//! A gateway that was wiped or restored learns from it what the robot had released before. It says nothing that
//! delivery depends on: a damaged or missing file is an empty one, and a disk that refuses to write it stops nothing.
//!
//! ```text
//!   0   4  magic "MSPD"                  each entry:  0   1  lane
//!   4   2  version                                    1   7  zero
//!   6   2  version, each bit inverted                 8  16  epoch: start, random
//!   8   4  entries                                   24   8  the seq after the lane's last
//!  12   4  zero                                      32   8  samples of all seqs before it
//!  16  ..  entries, then the CRC of all before it
//! ```
//!
//! Written to `DRAINED.new`, synced, renamed, and the folder synced, before the newest segment of a lane is removed.

use std::{collections::BTreeMap, io};

use bytes::{Buf, BufMut};
use muster_protocol::{
    id::{Epoch, Lane, Seq},
    limits::{DRAINED_LANES_MAX, HELD_LANES_MAX},
    message::DrainedLane,
};

use super::{
    disk::Disk,
    format::{Version, put_crc, put_version, version_of, without_crc},
    writer::Tail,
};

const DRAINED_PATH: &str = "DRAINED";
const DRAINED_NEW_PATH: &str = "DRAINED.new";
const DRAINED_MAGIC: [u8; 4] = *b"MSPD";
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 40;

/// Entries that are kept, the newest: what a Hello may list, held or drained, and the lanes of the current epoch.
const POSITIONS_MAX: usize = HELD_LANES_MAX + DRAINED_LANES_MAX + Lane::ALL.len();

/// How far lanes came, oldest epoch first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions {
    lanes: BTreeMap<(Epoch, Lane), Tail>,
}

impl Positions {
    /// Notes how far a lane came; returns whether that is news. Beyond the bound the oldest epochs are forgotten.
    pub(super) fn note(&mut self, epoch: Epoch, lane: Lane, tail: Tail) -> bool {
        let known = self.of(epoch, lane).map_or(Seq::FIRST, |known| known.next);
        if tail.next <= known {
            return false;
        }
        self.lanes.insert((epoch, lane), tail);
        while self.lanes.len() > POSITIONS_MAX {
            self.lanes.pop_first();
        }
        true
    }

    /// Returns how far a lane came, if that was noted.
    pub(super) fn of(&self, epoch: Epoch, lane: Lane) -> Option<Tail> {
        self.lanes.get(&(epoch, lane)).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Epoch, Lane, Tail)> {
        self.lanes.iter().map(|((epoch, lane), tail)| (*epoch, *lane, *tail))
    }
}

impl Tail {
    /// Says it of a lane of which nothing is held any more.
    pub(super) fn drained(self, epoch: Epoch, lane: Lane) -> DrainedLane {
        DrainedLane { epoch, lane, next: self.next, spooled: self.spooled }
    }
}

pub(super) fn encode(positions: &Positions) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + positions.lanes.len() * ENTRY_BYTES + 4);
    put_version(&mut out, DRAINED_MAGIC);
    out.put_u32_le(u32::try_from(positions.lanes.len()).expect("bounded"));
    out.put_u32_le(0);
    for (epoch, lane, tail) in positions.iter() {
        out.put_u8(u8::try_from(lane.index()).expect("there are three lanes"));
        out.put_bytes(0, 7);
        out.put_u64_le(epoch.start);
        out.put_u64_le(epoch.random);
        out.put_u64_le(tail.next.0);
        out.put_u64_le(tail.spooled);
    }
    put_crc(&mut out);
    out
}

/// Reads the file's bytes; `None` if they are damaged or of a newer program.
pub(super) fn decode(bytes: &[u8]) -> Option<Positions> {
    (version_of(bytes, DRAINED_MAGIC) == Version::Known).then_some(())?;
    let mut at = without_crc(bytes)?.get(8..)?;
    let count = at.try_get_u32_le().ok()? as usize;
    at.try_get_u32_le().ok()?;
    (at.len() == count.checked_mul(ENTRY_BYTES)? && count <= POSITIONS_MAX).then_some(())?;
    let mut positions = Positions::default();
    while at.has_remaining() {
        let lane = Lane::from_index(usize::from(at.get_u8()))?;
        at.advance(7);
        let epoch = Epoch { start: at.get_u64_le(), random: at.get_u64_le() };
        let tail = Tail { next: Seq(at.get_u64_le()), spooled: at.get_u64_le() };
        positions.note(epoch, lane, tail);
    }
    Some(positions)
}

/// Reads what is known; nothing, if the file is missing, damaged or unreadable.
pub(super) fn read(disk: &dyn Disk) -> Positions {
    let bytes_max = HEADER_BYTES + POSITIONS_MAX * ENTRY_BYTES + 4;
    let whole = || {
        let listed = disk.list("").ok()?.iter().any(|name| name == DRAINED_PATH);
        let file = listed.then(|| disk.open(DRAINED_PATH).ok())??;
        decode(&file.read_at(0, bytes_max + 1).ok()?)
    };
    whole().unwrap_or_default()
}

/// Replaces the file durably.
pub(super) fn write(disk: &dyn Disk, positions: &Positions) -> io::Result<()> {
    if disk.list("")?.iter().any(|name| name == DRAINED_NEW_PATH) {
        disk.remove(DRAINED_NEW_PATH)?;
    }
    let file = disk.create(DRAINED_NEW_PATH)?;
    file.append(&encode(positions))?;
    file.sync_data()?;
    disk.rename(DRAINED_NEW_PATH, DRAINED_PATH)?;
    disk.sync_folder("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(count: u64) -> Positions {
        let mut positions = Positions::default();
        for start in 1..=count {
            let tail = Tail { next: Seq(start + 1), spooled: start * 10 };
            positions.note(Epoch { start, random: 0xabcd }, Lane::Live, tail);
        }
        positions
    }

    #[test]
    fn golden_bytes_of_a_drained_lane() {
        let bytes = encode(&positions(1));
        assert_eq!(bytes[..16], *b"MSPD\x01\x00\xfe\xff\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..24], *b"\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[24..40], *b"\x01\0\0\0\0\0\0\0\xcd\xab\0\0\0\0\0\0");
        assert_eq!(bytes[40..56], *b"\x02\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0");
        assert_eq!(bytes[56..], crc32c::crc32c(&bytes[..56]).to_le_bytes());
        assert_eq!(decode(&bytes), Some(positions(1)));
    }

    #[test]
    fn the_newest_epochs_are_kept_and_damage_is_nothing() {
        let many = positions(400);
        assert_eq!(many.iter().count(), POSITIONS_MAX);
        assert_eq!(many.iter().last().map(|(epoch, ..)| epoch.start), Some(400));
        let bytes = encode(&many);
        assert_eq!(decode(&bytes), Some(many));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
        }
        assert_eq!(decode(&bytes[..50]), None);
    }
}
