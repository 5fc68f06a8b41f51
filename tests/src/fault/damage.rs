//! Flipped bytes in the files of a spool and of a store, by what PROTOCOL.md says of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Account, Story, story::ROBOT};
use crate::{agent::AgentPlan, gateway::Transport, patience::wait_until, scene::Scene};

/// A place in a segment of a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolPlace {
    /// The segment's own header, which its name and its records repeat.
    SegmentHeader,
    /// The header of a record in the middle.
    RecordHeader,
    /// The body of a record in the middle.
    Body,
    /// The index of a sealed segment.
    Index,
    /// The trailer of a sealed segment.
    Trailer,
}

impl SpoolPlace {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::SegmentHeader, Self::RecordHeader, Self::Body, Self::Index, Self::Trailer];

    /// Returns whether samples are stored there.
    pub fn has_samples(self) -> bool {
        matches!(self, Self::RecordHeader | Self::Body)
    }

    fn flip(self, segment: &Path) {
        let mut bytes = fs::read(segment).expect("a segment can be read");
        let records = records(&bytes);
        let middle = records[records.len() / 2];
        let at = match self {
            Self::SegmentHeader => 40,
            Self::RecordHeader => middle + 12,
            Self::Body => middle + RECORD_HEADER_BYTES + 3,
            Self::Index => records[records.len() - 1] + RECORD_HEADER_BYTES + 5,
            Self::Trailer => bytes.len() - 12,
        };
        bytes[at] ^= 0x10;
        fs::write(segment, bytes).expect("a segment can be written");
    }
}

/// Flips a bit in the oldest segment of a spool while agent and gateway are away, then lets both come back.
pub fn of_the_spool(scene: &Scene, place: SpoolPlace) -> Account {
    let plan = |plan: AgentPlan| plan.set("SPOOL__SEGMENT_SIZE", "128KiB");
    let gateway = scene.gateway();
    let mut story = Story::with(scene, gateway, plan(scene.agent(ROBOT)));
    story.plan = plan(scene.agent(ROBOT)).to(&story.gateway, Transport::Quic);
    while files(&scene.path("spool-faults-r1/live")).len() < 3 {
        story.feed(10);
    }
    story.agent.kill();
    place.flip(&files(&scene.path("spool-faults-r1/live"))[0]);
    story.deliver();
    story.last_account()
}

/// A partition of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The oldest, sealed.
    Sealed,
    /// The newest, which was written to last.
    Open,
}

/// Flips bits all over a partition while the gateway is away.
pub fn of_the_store(scene: &Scene, partition: Partition) -> Account {
    let mut story = story_of_partitions(scene);
    story.gateway.kill();
    let folders = files(&scene.path("data/log"));
    let folder = match partition {
        Partition::Sealed => &folders[0],
        Partition::Open => &folders[folders.len() - 1],
    };
    flip_all_over(&folder.join("db"));
    story.gateway.start_again();
    story.feed(20);
    story.drain();
    // The first answer that meets the damage breaks off; after it the partition is known to be damaged.
    wait_until("what is left is served to its end", || story.gateway.serves_samples(ROBOT));
    story.last_account()
}

/// Leaves half-written snapshots in all partitions, as a crash does, which keep the engine from opening them.
pub fn stale_snapshots(scene: &Scene) -> Account {
    let mut story = story_of_partitions(scene);
    story.gateway.kill();
    for folder in files(&scene.path("data/log")) {
        fs::write(folder.join("snap.0000000000000000.generating"), b"half").expect("a file can be written");
    }
    story.gateway.start_again();
    story.feed(20);
    story.drain();
    story.last_account()
}

/// Returns a story whose store has three partitions or more, the newest with twenty chunks or more, and whose agent knows
/// that everything it had is stored, so that nothing comes a second time.
fn story_of_partitions(scene: &Scene) -> Story {
    let gateway = scene.gateway_plan().set("STORE__PARTITION_SIZE", "256KiB").start();
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Quic);
    let mut story = Story::with(scene, gateway, plan);
    loop {
        let before = files(&scene.path("data/log"));
        story.feed(20);
        story.drain();
        story.start_agent();
        if before.len() >= 3 && before == files(&scene.path("data/log")) {
            return story;
        }
    }
}

fn flip_all_over(file: &Path) {
    let mut bytes = fs::read(file).expect("a database can be read");
    bytes.iter_mut().skip(EVERY).step_by(EVERY).for_each(|byte| *byte ^= 0x10);
    fs::write(file, bytes).expect("a database can be written");
}

/// Returns where the records of a segment begin: schemas, batches, and the index last.
fn records(segment: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while segment.get(at..at + 4) == Some(b"MREC") {
        found.push(at);
        let length = segment[at + 8..at + 12].try_into().expect("it is four bytes");
        at += RECORD_HEADER_BYTES + usize::try_from(u32::from_le_bytes(length)).expect("32 bits fit");
    }
    assert!(found.len() > 4, "a segment has records");
    found
}

/// Returns what is in a folder, by name; nothing if it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Bytes between two that are flipped: at least one in each page.
const EVERY: usize = 1021;

const SEGMENT_HEADER_BYTES: usize = 192;
const RECORD_HEADER_BYTES: usize = 96;
