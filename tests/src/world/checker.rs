//! The checker: counts every sample apart from the code that it checks, in the simplest way there is.
//!
//! Each sample of a world has a value of its own. The checker hears which values were produced, which batches were
//! accepted with which values in them, what the gateway's log held at each sync, and what the gateway acknowledged. At
//! the end it reads the log once more, and each accepted sample has to be in it exactly once or stand in exactly one
//! loss record, or it was held only by something that a fault took away, which the checker noted at that moment.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use muster_gateway::record::{Body, Envelope};
use muster_protocol::{
    batch,
    column::ValueRef,
    id::{Epoch, Lane, Offset, RobotId, Seq},
    loss::{AbsenceReason, LossReason},
    message::{LaneRanges, Numbered, NumberedHead},
    schema::Schema,
};

/// Where a batch stands: robot, epoch, lane, seq.
pub(super) type Place = (RobotId, Epoch, Lane, Seq);

/// What the checker has heard.
#[derive(Default)]
pub(super) struct Checker {
    produced: u64,
    accepted: BTreeMap<Place, Vec<u64>>,
    accepted_values: BTreeSet<u64>,
    /// Accepted, and the disk did not let the checker see what; with the count, if the spool said it.
    unread: BTreeMap<Place, Option<u32>>,
    /// What is synced in the log as it is now: batches, and seqs that a loss record lists.
    durable: BTreeSet<Place>,
    /// Durable in a log that was wiped, set back or set aside since.
    forgotten: BTreeMap<Place, Forgotten>,
    /// Held by a spool that was wiped.
    wiped: BTreeSet<Place>,
    /// Robots whose disk refused something: what was drained meanwhile, their spools may not remember.
    pub(super) refused: BTreeSet<RobotId>,
    /// Samples that loss records of damage leave out of their sums.
    miscounted: u64,
    pub(super) wrong: Vec<String>,
}

/// How the gateway came to forget what it had committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Forgotten {
    Wiped,
    Restored,
    Quarantined,
}

/// How a world ended, in samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) produced: u64,
    pub(super) accepted: u64,
    pub(super) stored: u64,
    pub(super) lost: BTreeMap<LossReason, u64>,
    /// Not in the log, which says so: an earlier log, or a part of this one that is lost, had it.
    pub(super) absent: u64,
    /// Likewise, and the log does not say so.
    pub(super) before: u64,
    /// Gone with a wiped spool.
    pub(super) unknown: u64,
    /// By how much the counts of single seqs in loss records are off, where only the sum of several was known.
    pub(super) miscounted: u64,
    /// States of robots in the past that were compared with what was served then.
    pub(super) compared: u64,
    pub(super) doubled: u64,
    pub(super) unaccounted: u64,
}

/// What the log holds at the end.
#[derive(Default)]
struct Found {
    stored: BTreeMap<Place, Vec<u64>>,
    lost: BTreeMap<Place, (u32, LossReason)>,
    /// What the gateway says that it will never have.
    absent: BTreeMap<Place, AbsenceReason>,
    absent_samples: BTreeMap<AbsenceReason, u64>,
}

impl Checker {
    /// Hears that samples were produced.
    pub(super) fn produced(&mut self, samples: u64) {
        self.produced += samples;
    }

    /// Hears that a batch is accepted: its payload as the spool gives it back. A loss record holds no samples.
    pub(super) fn accepted(&mut self, place: Place, payload: &[u8], schema: Option<&Schema>) {
        let values = match schema {
            None => {
                self.check_loss(&place, payload);
                Vec::new()
            }
            Some(schema) => match values_of(payload, schema) {
                Ok(values) => values,
                Err(error) => {
                    return self.wrong.push(format!("accepted {place:?}, which does not decode: {error}"));
                }
            },
        };
        if let Some(known) = self.accepted.get(&place) {
            if *known != values {
                self.wrong.push(format!("{place:?} names two different batches"));
            }
            return;
        }
        if values.iter().any(|value| self.accepted_values.contains(value)) {
            return self.wrong.push(format!("samples were accepted twice, again in {place:?}"));
        }
        self.accepted_values.extend(&values);
        self.accepted.insert(place, values);
    }

    /// Checks a loss record as the spool made it.
    fn check_loss(&mut self, place: &Place, payload: &[u8]) {
        let head = NumberedHead { epoch: place.1, lane: place.2, seq: place.3 };
        let loss = match (Numbered { head, payload: Bytes::copy_from_slice(payload) }).loss() {
            Ok(loss) => loss,
            Err(error) => {
                return self.wrong.push(format!("the loss record {place:?} does not decode: {error}"));
            }
        };
        let places = loss.lost.iter().map(|lost| (place.0.clone(), loss.epoch, loss.lane, lost.seq));
        let held: Option<u64> = places.map(|place| Some(self.accepted.get(&place)?.len() as u64)).sum();
        let said: u64 = loss.lost.iter().map(|lost| u64::from(lost.samples)).sum();
        let Some(held) = held.filter(|held| *held != said) else { return };
        let headers_damaged = loss.reason == LossReason::Corrupt && said < held;
        // Of a segment that cannot be read only the sum is known, with what was released meanwhile. It stands on its
        // first seq, also where a record joins it with what is known of others.
        let is_sum = loss.t_min.is_none() && loss.lost.iter().filter(|lost| lost.samples > 0).count() == 1;
        let has_sum = is_sum || loss.lost.windows(2).any(|pair| pair[0].samples > 0 && pair[1].samples == 0);
        if headers_damaged || has_sum && said > held {
            self.miscounted += held.abs_diff(said);
        } else {
            self.wrong.push(format!(
                "the loss record {place:?} counts {said} samples, and {held} are lost: {loss:?}"
            ));
        }
    }

    /// Hears that a batch is accepted that cannot be read just now.
    pub(super) fn accepted_unread(&mut self, place: Place, samples: Option<u32>) {
        let known = self.unread.entry(place).or_default();
        *known = known.or(samples);
    }

    /// Hears that a record is synced in the log.
    pub(super) fn durable(&mut self, envelope: &Envelope) {
        for place in places_of(envelope) {
            self.durable.insert(place);
        }
    }

    /// Hears that the log is another one from now on: of what was durable, only what these records hold still is.
    pub(super) fn log_is(&mut self, records: &[Envelope], why: Forgotten) {
        let before = std::mem::take(&mut self.durable);
        for envelope in records {
            self.durable(envelope);
        }
        for place in before {
            if !self.durable.contains(&place) {
                self.forgotten.insert(place, why);
            }
        }
    }

    /// Hears that this was found in a spool: if it was thought to be gone with one, it is not.
    pub(super) fn found(&mut self, place: &Place) {
        self.wiped.remove(place);
    }

    /// Hears that a robot's disk refuses something.
    pub(super) fn disk_refuses(&mut self, robot: &RobotId) {
        self.refused.insert(robot.clone());
    }

    /// Hears that a spool is gone with all that these places held.
    pub(super) fn spool_wiped(&mut self, held: impl IntoIterator<Item = Place>) {
        self.wiped.extend(held);
    }

    /// Hears that the gateway said to have these.
    pub(super) fn acknowledged(&mut self, robot: &RobotId, lanes: &[LaneRanges]) {
        for lane in lanes {
            for range in &lane.ranges {
                for seq in range.first.0..range.end.0 {
                    let place = (robot.clone(), lane.epoch, lane.lane, Seq(seq));
                    if !self.durable.contains(&place) {
                        self.wrong.push(format!("acknowledged before it was synced: {place:?}"));
                    }
                }
            }
        }
    }

    /// Returns every batch that was accepted and is not in the log, for a story.
    pub(super) fn finish(&mut self, log: &[(Offset, Envelope)], schema: SchemaOf<'_>) -> Tally {
        let found = self.read(log, schema);
        let mut tally = Tally {
            produced: self.produced,
            accepted: self.accepted_values.len() as u64,
            miscounted: self.miscounted,
            compared: 0,
            ..Tally::default()
        };
        self.check_values(&found, &mut tally);
        for (place, (samples, reason)) in &found.lost {
            // How the samples of one record spread over its seqs may be unknown; the spool's record was checked whole.
            let held = self.accepted.get(place).map_or(u64::from(*samples), |values| values.len() as u64);
            *tally.lost.entry(*reason).or_default() += held;
            tally.miscounted += held.abs_diff(u64::from(*samples));
            if found.stored.contains_key(place) {
                self.wrong.push(format!("{place:?} is stored and lost"));
            }
        }
        self.check_unread(&found, &mut tally);
        for place in found.absent.keys() {
            if found.stored.contains_key(place) || found.lost.contains_key(place) {
                self.wrong.push(format!("{place:?} is absent, and stored or lost"));
            }
        }
        for (place, values) in &self.accepted {
            let samples = values.len() as u64;
            if found.stored.contains_key(place) || found.lost.contains_key(place) {
                continue;
            }
            if found.absent.contains_key(place) {
                tally.absent += samples;
            } else if self.wiped.contains(place) {
                tally.unknown += samples;
            } else if let Some(forgotten) = self.forgotten.get(place) {
                tally.before += samples;
                if samples > 0 && !self.refused.contains(&place.0) {
                    self.wrong.push(format!("{place:?} with {samples} samples is forgotten: {forgotten:?}"));
                }
            } else if samples > 0 {
                tally.unaccounted += samples;
                self.wrong.push(format!("{place:?} with {samples} samples is neither stored nor lost"));
            }
        }
        tally
    }

    /// Counts what the checker never saw: by what the log holds, or else by what the spool said.
    fn check_unread(&mut self, found: &Found, tally: &mut Tally) {
        let unread = std::mem::take(&mut self.unread);
        for (place, samples) in unread {
            if self.accepted.contains_key(&place) {
                continue;
            }
            let Some(samples) = samples.map(u64::from).filter(|samples| *samples > 0) else { continue };
            tally.accepted += samples;
            let stored = found.stored.get(&place).map(|values| values.len() as u64);
            let lost = found.lost.get(&place).map(|(samples, _)| u64::from(*samples));
            if lost.is_some() {
                // Counted with what is lost.
            } else if let Some(other) = stored {
                if other != samples {
                    self.wrong.push(format!("{place:?} held {samples} samples, the log says {other}"));
                }
            } else if found.absent.contains_key(&place) {
                tally.absent += samples;
            } else if self.wiped.contains(&place) {
                tally.unknown += samples;
            } else if let Some(forgotten) = self.forgotten.get(&place) {
                tally.before += samples;
                if !self.refused.contains(&place.0) {
                    self.wrong.push(format!("{place:?}, never read, is forgotten: {forgotten:?}"));
                }
            } else {
                tally.unaccounted += samples;
                self.wrong.push(format!(
                    "{place:?} with {samples} samples, never read, is neither stored nor lost"
                ));
            }
        }
    }

    fn read(&mut self, log: &[(Offset, Envelope)], schema: SchemaOf<'_>) -> Found {
        let mut found = Found::default();
        for (offset, envelope) in log {
            let robot = &envelope.robot;
            match &envelope.body {
                Body::Batch { head, info, payload } => {
                    let values = schema(robot, info.schema).map(|schema| values_of(payload, &schema));
                    let Some(Ok(values)) = values else {
                        self.wrong.push(format!("the batch at {offset} does not decode"));
                        continue;
                    };
                    if found.stored.insert(place(robot, *head), values).is_some() {
                        self.wrong.push(format!("{:?} is in the log twice", place(robot, *head)));
                    }
                }
                Body::Loss { loss, .. } => {
                    for lost in &loss.lost {
                        let place = (robot.clone(), loss.epoch, loss.lane, lost.seq);
                        if found.lost.insert(place.clone(), (lost.samples, loss.reason)).is_some() {
                            self.wrong.push(format!("{place:?} is lost twice"));
                        }
                    }
                }
                Body::Absence(absence) => {
                    *found.absent_samples.entry(absence.reason).or_default() += absence.samples;
                    for place in places_of(envelope) {
                        if found.absent.insert(place.clone(), absence.reason).is_some() {
                            self.wrong.push(format!("{place:?} is absent twice"));
                        }
                    }
                }
                Body::Session(_) | Body::ClockFix(_) | Body::Labels(_) => {}
            }
        }
        found
    }

    /// Checks that what is stored is what was accepted, and nothing twice.
    fn check_values(&mut self, found: &Found, tally: &mut Tally) {
        let mut seen = BTreeSet::new();
        for (place, values) in &found.stored {
            for value in values {
                tally.stored += 1;
                if !seen.insert(*value) {
                    tally.doubled += 1;
                    self.wrong.push(format!("sample {value} is stored twice, again in {place:?}"));
                }
            }
            match self.accepted.get(place) {
                Some(accepted) if accepted != values => {
                    self.wrong.push(format!("{place:?} is stored with other samples than were accepted"));
                }
                Some(_) => {}
                None if self.unread.contains_key(place) => {}
                None => self.wrong.push(format!("{place:?} is stored and was never accepted")),
            }
        }
    }
}

/// Finds a schema in the log.
pub(super) type SchemaOf<'a> =
    &'a dyn Fn(&RobotId, muster_protocol::id::SchemaHash) -> Option<std::sync::Arc<Schema>>;

pub(super) fn place(robot: &RobotId, head: NumberedHead) -> Place {
    (robot.clone(), head.epoch, head.lane, head.seq)
}

/// Returns the seqs that a record settles: its own, and those that it declares lost.
fn places_of(envelope: &Envelope) -> Vec<Place> {
    let robot = &envelope.robot;
    match &envelope.body {
        Body::Batch { head, .. } => vec![place(robot, *head)],
        Body::Loss { head, loss } => {
            let lost = loss.lost.iter().map(|lost| (robot.clone(), loss.epoch, loss.lane, lost.seq));
            head.map(|head| place(robot, head)).into_iter().chain(lost).collect()
        }
        Body::Absence(absence) => {
            let seqs = absence.ranges.iter().flat_map(|range| range.first.0..range.end.0);
            seqs.map(|seq| (robot.clone(), absence.epoch, absence.lane, Seq(seq))).collect()
        }
        Body::Session(_) | Body::ClockFix(_) | Body::Labels(_) => Vec::new(),
    }
}

/// Returns the samples' own numbers.
fn values_of(payload: &[u8], schema: &Schema) -> Result<Vec<u64>, String> {
    let decoded = batch::decode(payload, schema).map_err(|error| error.to_string())?;
    decoded.samples().map(|sample| number_of(sample.value)).collect()
}

fn number_of(value: ValueRef<'_>) -> Result<u64, String> {
    match value {
        ValueRef::Int(number) => u64::try_from(number).map_err(|error| error.to_string()),
        ValueRef::Bytes(bytes) => {
            let first = bytes.first_chunk().ok_or("a short value")?;
            Ok(u64::from_le_bytes(*first))
        }
        other => Err(format!("a value that nobody produced: {other:?}")),
    }
}

impl Tally {
    /// Adds what came of another world.
    pub(super) fn add(&mut self, other: &Self) {
        self.produced += other.produced;
        self.accepted += other.accepted;
        self.stored += other.stored;
        self.absent += other.absent;
        self.before += other.before;
        self.unknown += other.unknown;
        self.miscounted += other.miscounted;
        self.compared += other.compared;
        self.doubled += other.doubled;
        self.unaccounted += other.unaccounted;
        for (reason, samples) in &other.lost {
            *self.lost.entry(*reason).or_default() += samples;
        }
    }
}
