//! What one partition holds, counted record by record: where each robot's records are in time, and which seqs they
//! carry. The open partition's stands in memory; sealing writes it as [`index`](super::index) and
//! [`manifest`](super::manifest).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_protocol::{
    id::{Epoch, Lane, Offset, RobotId, SchemaHash},
    loss::LostSeq,
    time::WallTime,
};

use crate::record::{Head, RecordKind};

/// The records of one partition.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) robots: HashMap<RobotId, RobotTally>,
    pub(super) records: u64,
    /// Where its records of loss and absence are.
    pub(super) losses: Vec<Offset>,
}

/// The records of one robot in one partition.
#[derive(Debug, Default)]
pub(super) struct RobotTally {
    /// Each record, by offset.
    pub(super) entries: Vec<IndexEntry>,
    /// Its batches, by epoch and lane.
    pub(super) batches: BTreeMap<(Epoch, Lane), LaneTally>,
    /// The schemas of its batches.
    pub(super) schemas: BTreeSet<SchemaHash>,
    /// Samples in its batches.
    pub(super) samples: u64,
    /// Samples that its loss records count.
    pub(super) lost: u64,
}

/// The batches of one robot, epoch and lane in one partition.
#[derive(Debug)]
pub(super) struct LaneTally {
    /// The earliest and the latest time in them.
    pub(super) t_min: WallTime,
    pub(super) t_max: WallTime,
    /// Each one's seq and samples, in the order of the log.
    pub(super) batches: Vec<LostSeq>,
}

/// Where one record is, in time and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexEntry {
    pub(super) t_min: WallTime,
    pub(super) t_max: WallTime,
    pub(super) offset: Offset,
}

/// The times `from <= t < until`, or all from `from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: WallTime,
    pub(super) until: Option<WallTime>,
}

/// Records of one robot that may hold samples of a span.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// Their offsets, ascending.
    pub(super) offsets: Vec<Offset>,
    /// Everything up to here was looked at; `None` for all that there is.
    pub(super) looked_to: Option<Offset>,
}

/// Most index entries looked at while the committer may be waiting for the same lock.
const LOOKED_AT_ONCE: usize = 8192;

impl Tally {
    /// Counts a record. Offsets come in ascending order.
    pub(super) fn add(&mut self, offset: Offset, head: &Head) {
        self.records += 1;
        let robot = match self.robots.get_mut(&head.robot) {
            Some(robot) => robot,
            None => self.robots.entry(head.robot.clone()).or_default(),
        };
        robot.entries.push(IndexEntry { t_min: head.t_min, t_max: head.t_max, offset });
        match (head.kind, head.number) {
            (RecordKind::Batch, Some(number)) => {
                robot.samples += head.samples;
                let samples = u32::try_from(head.samples).unwrap_or(u32::MAX);
                let lane = robot.batches.entry((number.epoch, number.lane)).or_insert_with(|| LaneTally {
                    t_min: head.t_min,
                    t_max: head.t_max,
                    batches: Vec::new(),
                });
                lane.t_min = lane.t_min.min(head.t_min);
                lane.t_max = lane.t_max.max(head.t_max);
                lane.batches.push(LostSeq { seq: number.seq, samples });
            }
            (RecordKind::Loss, _) => {
                robot.lost = robot.lost.saturating_add(head.samples);
                self.losses.push(offset);
            }
            _ => {}
        }
    }

    /// Notes that a batch of a robot refers to a schema.
    pub(super) fn add_schema(&mut self, robot: &RobotId, hash: SchemaHash) {
        self.robots.entry(robot.clone()).or_default().schemas.insert(hash);
    }

    /// Returns the records of a robot after `after` that overlap a span, a bounded number at a time.
    pub(super) fn matching(&self, robot: &RobotId, span: Span, after: Offset) -> Matches {
        let Some(robot) = self.robots.get(robot) else { return Matches::default() };
        let start = robot.entries.partition_point(|entry| entry.offset <= after);
        let rest = &robot.entries[start..];
        let looked = &rest[..rest.len().min(LOOKED_AT_ONCE)];
        let offsets = looked.iter().filter(|entry| span.overlaps(entry)).map(|entry| entry.offset).collect();
        let more = looked.len() < rest.len();
        Matches { offsets, looked_to: looked.last().filter(|_| more).map(|entry| entry.offset) }
    }
}

impl Span {
    pub(super) fn overlaps(self, entry: &IndexEntry) -> bool {
        self.ends_after(entry.t_min) && entry.t_max >= self.from
    }

    /// Returns whether a time is not beyond the end.
    pub(super) fn ends_after(self, t: WallTime) -> bool {
        self.until.is_none_or(|until| t < until)
    }
}
