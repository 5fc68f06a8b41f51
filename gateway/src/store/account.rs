//! Accounting for what a damaged partition held: loss records of the gateway's own, exactly once, whatever ends the
//! process in between.
//!
//! Of each robot, epoch and lane the manifest lists the batches: they become loss records with the reason
//! `quarantined`. The records of loss and absence that the partition held are recorded again as they were, with their
//! numbers, so that what they say is not lost with them.
//!
//! Before a group of these records is appended, a file in the damaged partition's folder (`accounted`, or
//! `lost.accounted` where only a part is lost) says at which
//! offset it is about to stand. Only the writer of the log appends, so a start finds there either the group, or its
//! first records, or something else, and goes on from that.
//!
//! ```text
//! muster accounting 1
//! at OFFSET       where the first record that is not counted below is about to stand
//! done N          how many are in the log for certain
//! of M            how many there are; done when N is M
//! ```

use std::{collections::VecDeque, fmt, io, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::Offset,
    limits::LOST_SEQS_MAX,
    loss::{Loss, LossReason},
    time::WallTime,
};

use super::{
    disk::{read_if_there, replace},
    manifest::{LaneManifest, Manifest, RobotManifest},
    partition::{Part, Partition, State},
    shared::Shared,
};
use crate::record::{Body, Envelope};

/// A partition that is being accounted for.
#[derive(Debug)]
pub(super) struct Accounting {
    partition: Arc<Partition>,
    part: Part,
    /// What is not in the log yet.
    left: VecDeque<Envelope>,
    of: usize,
}

/// How far the accounting for a partition is, as its file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    at: Offset,
    done: usize,
    of: usize,
}

/// Most records that are accounted for under one sync: 2 MiB of them at most.
const GROUP_RECORDS_MAX: usize = 64;

impl Accounting {
    /// Finds what is left to be done for a partition; `None` if nothing is. `now` is when the loss is reported.
    pub(super) fn begin(shared: &Shared, partition: &Arc<Partition>, now: WallTime) -> Option<Self> {
        let part = outstanding(partition)?;
        let mut left = records_of(&partition.lost(part)?, now);
        let of = left.len();
        let done = Progress::read(partition, part).map_or(0, |progress| done_of(shared, progress, &left));
        left.drain(..done.min(of));
        Some(Self { partition: Arc::clone(partition), part, left, of })
    }

    /// Says where the next group is about to stand, and returns it; empty if all is done.
    pub(super) fn next_group(&mut self, shared: &Shared) -> io::Result<&[Envelope]> {
        let progress = Progress { at: shared.next(), done: self.of - self.left.len(), of: self.of };
        progress.write(shared, &self.partition, self.part)?;
        let count = self.left.len().min(GROUP_RECORDS_MAX);
        Ok(&self.left.make_contiguous()[..count])
    }

    /// Takes so many records that are in the log now.
    pub(super) fn handle_committed(&mut self, count: usize) -> Vec<Envelope> {
        self.left.drain(..count).collect()
    }

    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }
}

/// Returns what a partition lost that is not accounted for yet, if anything.
pub(super) fn outstanding(partition: &Partition) -> Option<Part> {
    let done = |part| Progress::read(partition, part).is_some_and(|progress| progress.done == progress.of);
    [Part::Cut, Part::Whole].into_iter().find(|&part| !done(part) && partition.lost(part).is_some())
}

/// Returns what the log has to say about a loss: of each lane, and again what lost loss records said.
pub(super) fn records_of(lost: &Manifest, now: WallTime) -> VecDeque<Envelope> {
    let of_robot = |robot: &RobotManifest| {
        let of_lane = |lane: &LaneManifest| losses_of(lane);
        let losses: Vec<Loss> = robot.lanes.iter().flat_map(of_lane).collect();
        let robot = robot.robot.clone();
        losses.into_iter().map(move |loss| {
            let body = Body::Loss { head: None, loss };
            Envelope { received_at: now, robot: robot.clone(), session: 0, body }
        })
    };
    let again =
        lost.accounts.iter().filter_map(|account| Envelope::decode(&Bytes::from(account.clone())).ok());
    lost.robots.iter().flat_map(of_robot).chain(again.filter(names_something)).collect()
}

fn losses_of(lane: &LaneManifest) -> Vec<Loss> {
    let of = |lost: &[_]| Loss {
        epoch: lane.epoch,
        lane: lane.lane,
        lost: lost.to_vec(),
        unnumbered: 0,
        t_min: Some(lane.t_min),
        t_max: Some(lane.t_max),
        reason: LossReason::Quarantined,
    };
    lane.batches.chunks(LOST_SEQS_MAX).map(of).collect()
}

/// What has neither a number nor names batches could not be told from its first copy by whoever adds up.
fn names_something(record: &Envelope) -> bool {
    !matches!(&record.body, Body::Loss { head: None, loss } if loss.lost.is_empty())
}

/// Returns how many of these records the log holds.
fn done_of(shared: &Shared, progress: Progress, records: &VecDeque<Envelope>) -> usize {
    let places = (progress.at.0..).map(Offset).zip(records.iter().skip(progress.done));
    progress.done + places.take_while(|(at, record)| stands_at(shared, *at, record)).count()
}

/// Returns whether a record stands, or stood, at an offset. What was dropped or damaged since was there: nothing else
/// could be appended before it was known.
fn stands_at(shared: &Shared, at: Offset, record: &Envelope) -> bool {
    if at >= shared.next() {
        return false;
    }
    let Some(located) = shared.locate(at) else { return true };
    if matches!(located.partition.state(), State::Quarantined(_)) {
        return true;
    }
    if at >= located.end {
        return false;
    }
    let read = shared.read_records(&located, at, at.next()).ok();
    let found = read.and_then(|records| Envelope::decode(&records.first()?.1).ok());
    found.is_some_and(|found| found.robot == record.robot && found.body == record.body)
}

impl Progress {
    fn read(partition: &Partition, part: Part) -> Option<Self> {
        let bytes = read_if_there(&partition.folder.join(file_of(part))).ok()??;
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.strip_prefix(HEADER)?.lines();
        let mut number =
            |name: &str| -> Option<u64> { lines.next()?.strip_prefix(name)?.trim().parse().ok() };
        let (at, done, of) = (Offset(number("at ")?), number("done ")?, number("of ")?);
        Some(Self { at, done: usize::try_from(done).ok()?, of: usize::try_from(of).ok()? })
    }

    fn write(self, shared: &Shared, partition: &Partition, part: Part) -> io::Result<()> {
        replace(&*shared.disk, &partition.folder.join(file_of(part)), self.to_string().as_bytes())
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{HEADER}at {}\ndone {}\nof {}\n", self.at, self.done, self.of)
    }
}

fn file_of(part: Part) -> &'static str {
    match part {
        Part::Cut => "lost.accounted",
        Part::Whole => "accounted",
    }
}

const HEADER: &str = "muster accounting 1\n";
