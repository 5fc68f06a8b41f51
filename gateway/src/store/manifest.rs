//! The manifest of a partition: what it holds, so that it need not be opened to be listed, and so that exact loss
//! records can be made of it should its database ever be damaged.
//!
//! ```text
//!  0 MSTM | version u8 | 3 x 0 | body bytes u32 | CRC32C of the first 12 bytes and the body
//! 16 body: postcard
//! ```
//!
//! Three files of a partition have this shape: `manifest`, written when it is sealed; `manifest.partial`, what was in
//! it at the last checkpoint while it was written; `lost`, what was in it and could not be read any more.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::Path,
};

use bytes::{Buf, BufMut};
use muster_protocol::{
    id::{Epoch, Lane, Offset, RobotId, SchemaHash},
    loss::LostSeq,
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use super::{
    disk::read_if_there,
    tally::{LaneTally, Tally},
};

mod v1;

const VERSION: u8 = 2;
const MAGIC: [u8; 4] = *b"MSTM";
const HEADER_BYTES: usize = 16;
const CRC_AT: usize = 12;

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The offset of its first record.
    pub first: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Bytes of its records, as encoded.
    pub record_bytes: u64,
    /// Each robot that it holds something of, by name.
    pub robots: Vec<RobotManifest>,
    /// Its loss records, whole and as encoded: what they say would be lost with them. Empty in version 1.
    pub accounts: Vec<Vec<u8>>,
}

/// What a partition holds of one robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobotManifest {
    /// Whose.
    pub robot: RobotId,
    /// Records of any kind.
    pub records: u64,
    /// Samples in its batches.
    pub samples: u64,
    /// Samples that its loss records count.
    pub lost: u64,
    /// The earliest time in a record.
    pub t_min: WallTime,
    /// The latest time in a record.
    pub t_max: WallTime,
    /// The schemas of its batches.
    pub schemas: Vec<SchemaHash>,
    /// Its batches, by epoch and lane.
    pub lanes: Vec<LaneManifest>,
}

/// The batches of one robot, epoch and lane in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneManifest {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The earliest time in its batches; in version 1 in any record of the robot.
    pub t_min: WallTime,
    /// The latest, likewise.
    pub t_max: WallTime,
    /// Each batch's seq and samples, ascending. As it stands this is the list of a loss record.
    pub batches: Vec<LostSeq>,
}

/// Returns the manifest of a tally and of the loss records among what it counts.
pub(super) fn of(
    offsets: (Offset, Offset),
    record_bytes: u64,
    tally: &Tally,
    accounts: Vec<Vec<u8>>,
) -> Manifest {
    let mut robots: Vec<RobotManifest> = tally
        .robots
        .iter()
        .filter(|(_, robot)| !robot.entries.is_empty())
        .map(|(id, robot)| RobotManifest {
            robot: id.clone(),
            records: robot.entries.len() as u64,
            samples: robot.samples,
            lost: robot.lost,
            t_min: robot.entries.iter().map(|entry| entry.t_min).min().unwrap_or_default(),
            t_max: robot.entries.iter().map(|entry| entry.t_max).max().unwrap_or_default(),
            schemas: robot.schemas.iter().copied().collect(),
            lanes: robot.batches.iter().map(lane).collect(),
        })
        .collect();
    robots.sort_by(|a, b| a.robot.cmp(&b.robot));
    Manifest { first: offsets.0, end: offsets.1, record_bytes, robots, accounts }
}

fn lane((&(epoch, lane), tally): (&(Epoch, Lane), &LaneTally)) -> LaneManifest {
    let mut batches = tally.batches.clone();
    batches.sort_by_key(|batch| batch.seq);
    LaneManifest { epoch, lane, t_min: tally.t_min, t_max: tally.t_max, batches }
}

impl Manifest {
    /// Returns how many samples the partition's batches hold.
    pub fn samples(&self) -> u64 {
        self.robots.iter().map(|robot| robot.samples).sum()
    }

    /// Returns whether the partition holds a schema of a robot.
    pub(super) fn has_schema(&self, robot: &RobotId, hash: SchemaHash) -> bool {
        let found = self.robots.binary_search_by(|entry| entry.robot.cmp(robot));
        found.is_ok_and(|at| self.robots[at].schemas.contains(&hash))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).expect("a manifest has only known lengths");
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.put_slice(&MAGIC);
        out.put_slice(&[VERSION, 0, 0, 0]);
        out.put_u32_le(u32::try_from(body.len()).expect("a manifest is far below 4 GiB"));
        out.put_u32_le(crc32c::crc32c_append(crc32c::crc32c(&out), &body));
        out.put_slice(&body);
        out
    }

    /// Reads a manifest; `None` where there is none that is whole, so that the partition has to be looked at.
    pub(super) fn read(path: &Path) -> Option<Self> {
        Self::decode(&read_if_there(path).ok()??)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
        let (covered, mut saved) = header.split_at(CRC_AT);
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), body);
        if !covered.starts_with(&MAGIC) || saved.get_u32_le() != crc {
            return None;
        }
        let (manifest, rest) = match covered.get(4)? {
            1 => v1::take_from_bytes(body)?,
            &VERSION => postcard::take_from_bytes(body).ok()?,
            _ => return None,
        };
        rest.is_empty().then_some(manifest)
    }

    /// Returns what this one lists and `held` does not, if anything: it was there, and is gone.
    pub(super) fn without(&self, held: &Self) -> Option<Self> {
        let kept: HashSet<&Vec<u8>> = held.accounts.iter().collect();
        let accounts: Vec<_> =
            self.accounts.iter().filter(|account| !kept.contains(account)).cloned().collect();
        let held: HashMap<&RobotId, &RobotManifest> =
            held.robots.iter().map(|robot| (&robot.robot, robot)).collect();
        let lacking = |robot: &RobotManifest| robot.without(held.get(&robot.robot).copied());
        let robots: Vec<_> = self.robots.iter().filter_map(lacking).collect();
        let nothing = robots.is_empty() && accounts.is_empty();
        let (first, end) = (self.first, self.end);
        (!nothing).then_some(Self { first, end, record_bytes: 0, robots, accounts })
    }
}

impl RobotManifest {
    fn without(&self, held: Option<&Self>) -> Option<Self> {
        let of = |lane: &LaneManifest| {
            let same = |other: &&LaneManifest| (other.epoch, other.lane) == (lane.epoch, lane.lane);
            let held = held.and_then(|robot| robot.lanes.iter().find(same));
            lane.without(held)
        };
        let lanes: Vec<LaneManifest> = self.lanes.iter().filter_map(of).collect();
        let batches = || lanes.iter().flat_map(|lane| &lane.batches);
        let samples = batches().map(|batch| u64::from(batch.samples)).sum();
        let records = batches().count() as u64;
        let (robot, schemas) = (self.robot.clone(), Vec::new());
        let (t_min, t_max) = (self.t_min, self.t_max);
        (records > 0).then_some(Self { robot, records, samples, lost: 0, t_min, t_max, schemas, lanes })
    }
}

impl LaneManifest {
    fn without(&self, held: Option<&Self>) -> Option<Self> {
        let kept: BTreeSet<_> =
            held.into_iter().flat_map(|lane| &lane.batches).map(|batch| batch.seq).collect();
        let batches: Vec<_> =
            self.batches.iter().filter(|batch| !kept.contains(&batch.seq)).copied().collect();
        (!batches.is_empty()).then_some(Self { batches, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::id::Seq;

    fn manifest() -> Manifest {
        let lane = LaneManifest {
            epoch: Epoch { start: 1, random: 2 },
            lane: Lane::Live,
            t_min: WallTime(5),
            t_max: WallTime(6),
            batches: vec![LostSeq { seq: Seq(3), samples: 4 }, LostSeq { seq: Seq(5), samples: 7 }],
        };
        let robot = RobotManifest {
            robot: "yard/r1".parse().unwrap(),
            records: 1,
            samples: 4,
            lost: 0,
            t_min: WallTime(5),
            t_max: WallTime(6),
            schemas: vec![SchemaHash([7; 16])],
            lanes: vec![lane],
        };
        let accounts = vec![vec![1, 2, 3]];
        Manifest { first: Offset(8), end: Offset(9), record_bytes: 10, robots: vec![robot], accounts }
    }

    #[test]
    fn a_manifest_round_trips_and_any_flipped_bit_is_found() {
        let manifest = manifest();
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes), Some(manifest.clone()));
        assert!(manifest.has_schema(&"yard/r1".parse().unwrap(), SchemaHash([7; 16])));
        assert!(!manifest.has_schema(&"yard/r2".parse().unwrap(), SchemaHash([7; 16])));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_gone_is_what_was_listed_and_is_not_held() {
        let was = manifest();
        assert_eq!(was.without(&was), None);
        let mut held = was.clone();
        held.robots[0].lanes[0].batches.remove(0);
        held.accounts.clear();
        let gone = was.without(&held).unwrap();
        assert_eq!(gone.robots[0].lanes[0].batches, [LostSeq { seq: Seq(3), samples: 4 }]);
        assert_eq!((gone.samples(), &gone.accounts), (4, &was.accounts));
        held.robots.clear();
        assert_eq!(was.without(&held).unwrap().samples(), 11);
    }
}
