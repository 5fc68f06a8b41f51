//! Freeing space on purpose: drops the oldest partitions, down to a size or a time, of a store that runs or of one that
//! does not. It needs no room on the disk for that.
//!
//! ```text
//!   goal ──► plan: what goes, of which robots, and where it has to stop ──► asked ──► dropped, oldest first, whole
//! ```
//!
//! What goes is what retention would drop later: the log begins at a later offset, and nothing of it is a loss. It stops
//! before the partition that is written, before what the older of two checkpoints does not cover, and before a damaged
//! partition of which the log does not say yet what it held. While a backup is taken nothing is dropped.
//!
//! How old a partition is, the time says at which it was sealed: all in it had been received before. A copy that was
//! restored counts from the copying.

use std::{collections::BTreeMap, io, path::PathBuf};

use muster_protocol::{
    id::{Offset, RobotId},
    time::WallTime,
};
use serde::{Deserialize, Serialize};

use super::{OpenError, manifest::Manifest};

mod folder;
mod running;

pub(crate) use folder::{plan_of as plan_of_folder, trim as trim_folder};
pub(super) use running::{plan_of, trim};

/// What is wanted: partitions go while any of these is not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// The most that the log may occupy, in bytes of the disk.
    pub to_bytes: Option<u64>,
    /// Partitions that were sealed before go.
    pub older_than: Option<WallTime>,
}

/// What would be dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The partitions that go, oldest first.
    pub going: Vec<Going>,
    /// The robots that lose something by it, those with most samples first; at most [`ROBOTS_MAX`].
    pub robots: Vec<RobotGoing>,
    /// How many more robots do.
    pub robots_more: usize,
    /// Partitions that stay.
    pub kept: usize,
    /// What those occupy.
    pub kept_bytes: u64,
    /// Where the log begins then.
    pub first: u64,
    /// Why it does not go on although the goal is not reached; `None` if it is.
    pub stops: Option<Stop>,
}

/// A partition that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Going {
    /// The offset of its first record.
    pub first: u64,
    /// The first offset of the next partition.
    pub end: u64,
    /// What it occupies.
    pub disk_bytes: u64,
    /// Samples in its batches; 0 where nobody knows.
    pub samples: u64,
    /// Robots that it holds something of.
    pub robots: usize,
    /// When it was sealed, in nanoseconds since 1970; `None` where nobody knows.
    pub sealed_at: Option<i64>,
}

/// What goes of one robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobotGoing {
    /// Whose.
    pub robot: String,
    /// Samples.
    pub samples: u64,
    /// The earliest time, in nanoseconds since 1970.
    pub t_min: i64,
    /// The latest time.
    pub t_max: i64,
}

/// Why nothing more can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The next one is written, or not sealed yet.
    Written,
    /// The older of two checkpoints does not cover the next one.
    Checkpoints,
    /// The next one is damaged, and the log does not say yet what it held.
    Unaccounted,
}

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// How many partitions.
    pub partitions: usize,
    /// What they occupied.
    pub bytes: u64,
}

/// Why nothing is dropped, or nothing more.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// It is no store, a gateway runs on it, or a later program wrote it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no store.
    #[error("{} is not a data folder of a gateway", .0.display())]
    NoStore(PathBuf),
    /// It would not be whole any more.
    #[error("{} is a backup on which no gateway has started yet; start one there before it is trimmed", .0.display())]
    Backup(PathBuf),
    /// A backup would lack what is dropped.
    #[error("a backup is being taken; try again when it is done")]
    Held,
    /// The file system refuses.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A partition as it stands in the row.
pub(super) struct Candidate {
    pub(super) going: Going,
    /// What it holds, as far as that is known.
    pub(super) manifest: Option<Manifest>,
    /// Why it cannot go, if so.
    pub(super) obstacle: Option<Stop>,
}

/// Robots that a plan names. One line of the control socket has room for them.
pub const ROBOTS_MAX: usize = 1000;

/// Decides what goes. `candidates` are all partitions, oldest first.
pub(super) fn plan(candidates: Vec<Candidate>, goal: Goal) -> Plan {
    let mut kept_bytes: u64 = candidates.iter().map(|candidate| candidate.going.disk_bytes).sum();
    let mut stops = None;
    let (mut going, mut robots) = (Vec::new(), BTreeMap::<RobotId, RobotGoing>::new());
    let count = candidates.len();
    let mut first = candidates.first().map_or(Offset::FIRST.0, |candidate| candidate.going.first);
    for candidate in candidates {
        let too_large = goal.to_bytes.is_some_and(|most| kept_bytes > most);
        let sealed_at = candidate.going.sealed_at;
        let too_old = goal.older_than.is_some_and(|then| sealed_at.is_some_and(|at| at < then.0));
        if !too_large && !too_old {
            break;
        }
        if candidate.obstacle.is_some() {
            stops = candidate.obstacle;
            break;
        }
        candidate.manifest.iter().for_each(|manifest| count_robots(&mut robots, manifest));
        kept_bytes -= candidate.going.disk_bytes;
        first = candidate.going.end;
        going.push(candidate.going);
    }
    let mut robots: Vec<RobotGoing> = robots.into_values().collect();
    robots.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.robot.cmp(&b.robot)));
    let robots_more = robots.len().saturating_sub(ROBOTS_MAX);
    robots.truncate(ROBOTS_MAX);
    Plan { kept: count - going.len(), going, robots, robots_more, kept_bytes, first, stops }
}

fn count_robots(robots: &mut BTreeMap<RobotId, RobotGoing>, manifest: &Manifest) {
    for robot in &manifest.robots {
        let (t_min, t_max) = (robot.t_min.0, robot.t_max.0);
        let none = || RobotGoing { robot: robot.robot.to_string(), samples: 0, t_min, t_max };
        let sum = robots.entry(robot.robot.clone()).or_insert_with(none);
        sum.samples += robot.samples;
        (sum.t_min, sum.t_max) = (sum.t_min.min(t_min), sum.t_max.max(t_max));
    }
}

/// Returns the offset up to which both checkpoints are, and why a partition that ends before `next` cannot go.
pub(super) fn obstacle(next: Offset, floor: Offset) -> Option<Stop> {
    (next.0 > floor.0.saturating_add(1)).then_some(Stop::Checkpoints)
}
