//! From the log to what is served: each committed group goes into the fleet's state, and both that state and the
//! receive windows are saved now and then, so that a start reads only what came after.
//!
//! Order at a start: the newest whole checkpoint, then every record behind it, in the order of the log. Order at a
//! commit: synced, folded here, answered. So what an agent was told is durable is also in the state that is served.

mod saver;

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use bytes::Bytes;

use muster_protocol::{
    batch,
    id::{Offset, RobotId, SchemaHash},
    loss::Absence,
    message::NumberedHead,
    schema::Schema,
    time::{MonoTime, WallTime},
};

use crate::{
    clock::Clock,
    committer::{CommittedGroup, Follow},
    fleet::Fleet,
    ingest::Ingest,
    metrics::Metrics,
    record::{Body, Envelope},
    store::{Checkpoint, ReadError, StoreReader},
};

pub use saver::{LastSave, Saver};

/// Folds committed groups. Lives on the committer's thread.
pub struct Projection {
    fleet: Arc<Fleet>,
    ingest: Ingest,
    metrics: Arc<Metrics>,
    clock: Clock,
    pace: Pace,
    saver: SyncSender<Saved>,
}

/// When the next checkpoint is due: by time, and by how much a start would have to fold anew.
#[derive(Clone, Copy, Debug)]
struct Pace {
    every: Duration,
    saved_at: MonoTime,
    /// How long the committer waited for the last one.
    took: Duration,
    samples: u64,
}

/// A checkpoint on its way to the disk.
#[derive(Debug)]
pub struct Saved {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// When it was made.
    pub made: WallTime,
    /// The last record that its state includes.
    pub includes: Offset,
}

/// Why the state cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The log cannot be read.
    #[error("cannot read the log: {0}")]
    Read(#[from] ReadError),
}

/// What a start brought back.
#[derive(Debug)]
pub struct Restored {
    /// The fleet's state.
    pub fleet: Fleet,
    /// Records read behind the checkpoint.
    pub replayed: u64,
}

/// What a start reads beside the checkpoint.
pub trait History {
    /// Returns the first offset that is held.
    fn first(&self) -> Offset;

    /// Returns the records from `from` on, in the order of the log.
    fn scan(&self, from: Offset) -> impl Iterator<Item = Result<(Offset, Envelope), ReadError>>;

    /// Returns the schema of a robot's batch at `offset`.
    fn schema_at(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>>;
}

const FLEET: &str = "fleet";
/// Version 2 counts samples; a checkpoint without it is folded anew.
const WINDOWS: &str = "windows-2";

impl History for StoreReader {
    fn first(&self) -> Offset {
        self.first()
    }

    fn scan(&self, from: Offset) -> impl Iterator<Item = Result<(Offset, Envelope), ReadError>> {
        self.scan(from)
    }

    fn schema_at(&self, offset: Offset, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.schema_at(offset, robot, hash)
    }
}

/// Brings back the fleet's state and the receive windows from the newest checkpoint and what the log holds behind it.
pub fn restore(
    saved: Option<&Checkpoint>,
    history: &impl History,
    ingest: &Ingest,
) -> Result<Restored, RestoreError> {
    let (fleet, from) = saved.and_then(|saved| take(saved, ingest)).unwrap_or_default();
    let mut restored = Restored { fleet, replayed: 0 };
    for record in history.scan(from.max(history.first())) {
        match record {
            Ok((_, envelope)) if is_repeated(ingest, &envelope) => {}
            Ok((offset, envelope)) => replay(&restored.fleet, history, ingest, offset, &envelope),
            Err(error @ (ReadError::Damaged { .. } | ReadError::Record { .. })) => {
                tracing::error!("{error}; what it held is not in the state that is served");
            }
            Err(error) => return Err(error.into()),
        }
        restored.replayed += 1;
    }
    ingest.know_labels(&restored.fleet);
    Ok(restored)
}

/// Takes a checkpoint, and says at which offset the log goes on.
fn take(saved: &Checkpoint, ingest: &Ingest) -> Option<(Fleet, Offset)> {
    let fleet = match Fleet::from_bytes(saved.section(FLEET)?) {
        Ok(fleet) => fleet,
        Err(error) => {
            tracing::warn!("folding the whole log anew: {error}");
            return None;
        }
    };
    if let Err(error) = ingest.restore(saved.section(WINDOWS)?) {
        tracing::warn!("folding the whole log anew: {error}");
        return None;
    }
    Some((fleet, saved.at.next()))
}

fn replay(fleet: &Fleet, history: &impl History, ingest: &Ingest, offset: Offset, envelope: &Envelope) {
    ingest.replay(envelope);
    let Body::Batch { info, payload, .. } = &envelope.body else {
        fleet.apply(offset, envelope, None);
        return;
    };
    let schema = history.schema_at(offset, &envelope.robot, info.schema);
    let batch = schema.and_then(|schema| Some((batch::decode(payload, &schema).ok()?, schema)));
    fleet.apply(offset, envelope, batch.as_ref().map(|(batch, schema)| (batch, &**schema)));
}

/// Returns whether a record repeats what a damaged partition said and the state knows already.
fn is_repeated(ingest: &Ingest, envelope: &Envelope) -> bool {
    let number = match &envelope.body {
        Body::Loss { head, .. } => *head,
        // It claims only what the log lacks: where one of its seqs is committed, it was said before.
        Body::Absence(Absence { epoch, lane, ranges, .. }) => {
            ranges.first().map(|range| NumberedHead { epoch: *epoch, lane: *lane, seq: range.first })
        }
        _ => None,
    };
    number.is_some_and(|number| ingest.has(&envelope.robot, number))
}

impl Projection {
    /// Starts folding into a state that [`restore`] brought back; due checkpoints go to `saver`.
    pub fn new(
        fleet: Arc<Fleet>,
        ingest: Ingest,
        metrics: Arc<Metrics>,
        saver: SyncSender<Saved>,
        save: Save,
    ) -> Self {
        let Save { clock, every } = save;
        Self { fleet, ingest, metrics, clock, pace: Pace::new(every, clock.mono()), saver }
    }
}

impl Projection {
    fn saved(&self, at: Offset) -> Saved {
        let includes = Offset(self.fleet.next().0.saturating_sub(1));
        Saved { checkpoint: checkpoint(&self.fleet, &self.ingest, at), made: self.clock.wall(), includes }
    }
}

impl Follow for Projection {
    fn handle_committed(&mut self, group: &CommittedGroup<'_>) {
        let now = self.clock.mono();
        let records = group.records.iter().filter(|(_, envelope, _)| !is_repeated(&self.ingest, envelope));
        for (committed, envelope, decoded) in records {
            let batch = decoded.map(|decoded| (&decoded.batch, &*decoded.schema));
            self.fleet.apply(committed.offset(), envelope, batch);
            match &envelope.body {
                Body::Batch { info, payload, .. } => {
                    self.metrics.batch_committed(info.samples, payload.len(), now);
                    self.pace.samples += u64::from(info.samples);
                }
                Body::Loss { head, loss } => {
                    self.metrics.lost(loss.reason, loss.samples());
                    if head.is_none() {
                        self.ingest.replay(envelope); // no claim brings it back
                    }
                }
                Body::Absence(absence) => {
                    if let Some(reason) = absence.reason.loss() {
                        self.metrics.lost(reason, absence.samples);
                    }
                }
                Body::Session(_) | Body::ClockFix(_) | Body::Labels(_) => {}
            }
        }
        self.metrics.group_committed(group.records.len(), group.bytes, group.took);
        self.metrics.records_committed(&group.latencies);
        let Some((last, ..)) = group.records.last() else { return };
        if self.pace.is_due(now) {
            // The claims of this very group are brought back only after the fold.
            for (_, envelope, _) in &group.records {
                self.ingest.replay(envelope);
            }
            // The writer of checkpoints may still be at the last one: then the next group brings the next one.
            let _ = self.saver.try_send(self.saved(last.offset()));
            self.pace.saved(now, self.clock.mono());
        }
    }

    fn handle_sealed(&mut self, last: Offset) {
        let now = self.clock.mono();
        // If the writer is still at the last one, that one is recent enough.
        let _ = self.saver.try_send(self.saved(last));
        self.pace.saved(now, self.clock.mono());
    }
}

impl Pace {
    fn new(every: Duration, now: MonoTime) -> Self {
        Self { every, saved_at: now, took: Duration::ZERO, samples: 0 }
    }

    fn is_due(&self, now: MonoTime) -> bool {
        let since = now.since(self.saved_at);
        since >= self.every || self.samples >= SAMPLES_UNSAVED_MAX && since >= self.took * TIMES_TOOK_MIN
    }

    fn saved(&mut self, began: MonoTime, now: MonoTime) {
        *self = Self { took: now.since(began), ..Self::new(self.every, now) };
    }
}

/// When to save.
#[derive(Clone, Copy, Debug)]
pub struct Save {
    /// The gateway's clock.
    pub clock: Clock,
    /// How often, while records come in.
    pub every: Duration,
}

/// Takes the state as it is. `at` is the last record that it includes for certain; it may include more, which does
/// not matter, because both folds skip what they have.
fn checkpoint(fleet: &Fleet, ingest: &Ingest, at: Offset) -> Checkpoint {
    let section = |name: &str, bytes: Vec<u8>| (name.to_owned(), Bytes::from(bytes));
    let windows = ingest.windows();
    Checkpoint { at, sections: vec![section(FLEET, fleet.to_bytes()), section(WINDOWS, windows)] }
}

/// Returns the final state, after the last commit; `None` of an empty log.
pub fn last_checkpoint(fleet: &Fleet, ingest: &Ingest, next: Offset) -> Option<Checkpoint> {
    let last = next.0.checked_sub(1).filter(|last| *last > 0).map(Offset)?;
    Some(checkpoint(fleet, ingest, last))
}

/// Says of each session that was open when the gateway last ended without saying so that it is over.
pub fn end_lost_sessions(fleet: &Fleet, ingest: &Ingest) {
    let mut lost: Vec<(RobotId, u64)> = Vec::new();
    fleet.visit(|robot, state| {
        lost.extend(state.open_session().map(|session| (robot.clone(), session)));
        true
    });
    for (robot, session) in lost {
        ingest.commit_lost_session(&robot, session);
    }
}

/// Samples after which a checkpoint is due before its time: a start folds tens of millions a second, and should not
/// fold for longer than a few seconds because a fleet sent its backlog at full speed.
const SAMPLES_UNSAVED_MAX: u64 = 48 * 1024 * 1024;

/// A checkpoint before its time waits for so many times what the last one took: a large fleet is not saved all the time.
const TIMES_TOOK_MIN: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    fn at(millis: u64) -> MonoTime {
        MonoTime::default() + Duration::from_millis(millis)
    }

    fn with_samples(pace: Pace, samples: u64) -> Pace {
        Pace { samples, ..pace }
    }

    /// Guards the start after a kill: with time alone, half a minute at full speed took a quarter of a minute to fold.
    #[test]
    fn a_checkpoint_is_due_by_time_or_by_what_a_start_would_fold() {
        let pace = Pace::new(EVERY, at(0));
        assert!(!with_samples(pace, SAMPLES_UNSAVED_MAX - 1).is_due(at(29_999)));
        assert!(with_samples(pace, 0).is_due(at(30_000)));
        assert!(with_samples(pace, SAMPLES_UNSAVED_MAX).is_due(at(1)));
    }

    #[test]
    fn saving_a_large_fleet_does_not_become_all_that_is_done() {
        let mut pace = with_samples(Pace::new(EVERY, at(0)), SAMPLES_UNSAVED_MAX);
        pace.saved(at(1000), at(1500));
        assert_eq!(pace.samples, 0);
        let full = with_samples(pace, SAMPLES_UNSAVED_MAX);
        assert!(!full.is_due(at(1500 + 500 * 20 - 1)));
        assert!(full.is_due(at(1500 + 500 * 20)));
    }
}
