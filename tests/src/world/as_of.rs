//! What was served at some moments of a world, compared in the end with what the log says was known then.

use std::sync::{Arc, PoisonError};

use muster_gateway::{
    fleet::{AsOf, Fleet, Known, RobotState},
    record::{Body, Envelope},
};
use muster_protocol::{
    batch,
    id::{LogId, Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

/// The fleet's state as it was served at a moment, while nothing waited for a commit.
pub(super) struct Probe {
    at: WallTime,
    /// Where the log went on.
    next: Offset,
    log: LogId,
    robots: Vec<(RobotId, RobotState)>,
}

/// What was compared.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Robots at moments.
    pub(super) robots: u64,
    pub(super) wrong: Vec<String>,
}

/// Most probes of one world.
pub(super) const PROBES_MAX: usize = 4;

impl Probe {
    /// Looks at what is served now.
    pub(super) fn take(fleet: &Fleet, log: LogId, at: WallTime) -> Self {
        let mut robots = Vec::new();
        fleet.visit(|robot, state| {
            robots.push((robot.clone(), state.clone()));
            true
        });
        Self { at, next: fleet.next(), log, robots }
    }

    /// Returns where the log went on.
    pub(super) fn next(&self) -> Offset {
        self.next
    }
}

/// Folds the log anew for the moment of each probe, from the start and from the state of an earlier probe, and compares.
/// Probes of a log that was replaced since, and moments at which more was received than served, say nothing.
pub(super) fn check(
    probes: &[Probe],
    log: (LogId, &[(Offset, Envelope)]),
    schema: &dyn Fn(&RobotId, SchemaHash) -> Option<Arc<Schema>>,
    today: &Fleet,
) -> Compared {
    let mut compared = Compared::default();
    let (id, records) = log;
    let of_log: Vec<&Probe> = probes.iter().filter(|probe| probe.log == id).collect();
    for (number, probe) in of_log.iter().enumerate() {
        let in_time = |(offset, envelope): &(Offset, Envelope)| {
            (envelope.received_at <= probe.at) == (*offset < probe.next)
        };
        if !records.iter().all(in_time) {
            continue;
        }
        for (robot, served) in &probe.robots {
            let Some(today) = today.robot(robot) else { continue };
            let today = today.read().unwrap_or_else(PoisonError::into_inner);
            let bases = [None, number.checked_sub(1).map(|before| of_log[before])];
            for base in bases.into_iter().take(number + 1) {
                let state = fold(base, (robot, records), schema, (probe.at, &today));
                compared.robots += 1;
                if state != *served {
                    let next = probe.next;
                    compared.wrong.push(format!("{robot} as of offset {next} is not what was served then"));
                }
            }
        }
    }
    compared
}

fn fold(
    base: Option<&Probe>,
    (robot, records): (&RobotId, &[(Offset, Envelope)]),
    schema: &dyn Fn(&RobotId, SchemaHash) -> Option<Arc<Schema>>,
    (at, today): (WallTime, &RobotState),
) -> RobotState {
    let as_of = AsOf { at, known: Known::Then };
    let based = base.and_then(|probe| probe.robots.iter().find(|(id, _)| id == robot));
    let mut state = based.map(|(_, state)| state.clone()).unwrap_or_default();
    let from = base.map_or(Offset::FIRST, |probe| probe.next);
    let behind = records.iter().filter(|(offset, envelope)| *offset >= from && envelope.robot == *robot);
    for (offset, envelope) in behind.filter(|(_, envelope)| as_of.takes(envelope)) {
        let decoded = match &envelope.body {
            Body::Batch { info, payload, .. } => schema(robot, info.schema)
                .and_then(|schema| Some((batch::decode(payload, &schema).ok()?, schema))),
            _ => None,
        };
        let batch = decoded.as_ref().map(|(batch, schema)| (batch, &**schema));
        state.apply_as_of(as_of, *offset, envelope, batch);
    }
    state.finish_as_of(as_of, today);
    state
}
