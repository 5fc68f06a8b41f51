//! The first version of a manifest's body: times by robot only, and no loss records.

use muster_protocol::{
    id::{Epoch, Lane, Offset, RobotId, SchemaHash},
    loss::LostSeq,
    time::WallTime,
};
use serde::Deserialize;

use super::{LaneManifest, Manifest, RobotManifest};

#[derive(Deserialize)]
struct Body {
    first: Offset,
    end: Offset,
    record_bytes: u64,
    robots: Vec<Robot>,
}

#[derive(Deserialize)]
struct Robot {
    id: RobotId,
    records: u64,
    samples: u64,
    lost: u64,
    t_min: WallTime,
    t_max: WallTime,
    schemas: Vec<SchemaHash>,
    lanes: Vec<InLane>,
}

#[derive(Deserialize)]
struct InLane {
    epoch: Epoch,
    lane: Lane,
    batches: Vec<LostSeq>,
}

/// Returns the manifest that a body starts with, and what follows it.
pub(super) fn take_from_bytes(body: &[u8]) -> Option<(Manifest, &[u8])> {
    let (Body { first, end, record_bytes, robots }, rest) = postcard::take_from_bytes(body).ok()?;
    let robots = robots.into_iter().map(upgraded).collect();
    Some((Manifest { first, end, record_bytes, robots, accounts: Vec::new() }, rest))
}

fn upgraded(robot: Robot) -> RobotManifest {
    let Robot { id, records, samples, lost, t_min, t_max, schemas, lanes } = robot;
    let lane = |InLane { epoch, lane, batches }| LaneManifest { epoch, lane, t_min, t_max, batches };
    let lanes = lanes.into_iter().map(lane).collect();
    RobotManifest { robot: id, records, samples, lost, t_min, t_max, schemas, lanes }
}
