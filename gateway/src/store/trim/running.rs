//! Trims a store that is open.

use std::{fs, io, path::Path, sync::Arc, time::UNIX_EPOCH};

use muster_protocol::id::Offset;

use super::{Candidate, Goal, Going, Plan, Stop, TrimError, Trimmed, obstacle, plan};
use crate::store::{
    account,
    manifest::Manifest,
    partition::{Partition, State},
    shared::Shared,
};

/// Says what would go.
pub(in crate::store) fn plan_of(shared: &Shared, goal: Goal) -> Plan {
    let all = shared.all();
    let nexts = all.iter().skip(1).map(|partition| Some(partition.first)).chain([None]);
    let floor = shared.floor();
    plan(all.iter().zip(nexts).map(|(partition, next)| candidate(partition, next, floor)).collect(), goal)
}

/// Drops the oldest partitions that begin before `until`, as far as they may go.
pub(in crate::store) fn trim(shared: &Shared, until: Offset) -> Result<Trimmed, TrimError> {
    let mut trimmed = None;
    let dropped = shared.unless_held(|| {
        let trimmed = trimmed.insert(Trimmed::default());
        while let Some(oldest) = shared.droppable().filter(|oldest| oldest.first < until) {
            if account::outstanding(&oldest).is_some() {
                break;
            }
            let bytes = oldest.disk_bytes();
            shared.drop_partition(&oldest)?;
            *trimmed = Trimmed { partitions: trimmed.partitions + 1, bytes: trimmed.bytes + bytes };
        }
        Ok(())
    });
    let failed = |source: io::Error| TrimError::Io {
        action: "drop the oldest partition in",
        path: shared.folder.log(),
        source,
    };
    dropped.map_err(failed)?;
    trimmed.ok_or(TrimError::Held)
}

/// Describes a partition; `next` is where the next one begins.
pub(super) fn candidate(partition: &Arc<Partition>, next: Option<Offset>, floor: Offset) -> Candidate {
    let manifest = manifest_of(partition);
    let blocked = match (partition.state(), next) {
        (State::Open(_), _) | (_, None) => Some(Stop::Written),
        (_, Some(next)) => obstacle(next, floor),
    };
    let unaccounted = || account::outstanding(partition).map(|_| Stop::Unaccounted);
    let end = next.or(manifest.as_ref().map(|manifest| manifest.end)).unwrap_or(partition.first);
    let going = Going {
        first: partition.first.0,
        end: end.0,
        disk_bytes: partition.disk_bytes(),
        samples: manifest.as_ref().map_or(0, Manifest::samples),
        robots: manifest.as_ref().map_or(0, |manifest| manifest.robots.len()),
        sealed_at: sealed_at(partition),
    };
    Candidate { going, manifest, obstacle: blocked.or_else(unaccounted) }
}

fn manifest_of(partition: &Partition) -> Option<Manifest> {
    Manifest::read(&partition.manifest_file()).or_else(|| Manifest::read(&partition.partial_file()))
}

/// Returns when the manifest was written, or, of a partition that was set aside without one, its last file.
fn sealed_at(partition: &Partition) -> Option<i64> {
    let written = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let at = written(&partition.manifest_file()).or_else(|| written(&partition.folder.join("db")))?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}
