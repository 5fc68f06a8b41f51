//! One robot, as the log tells it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use muster_protocol::{
    batch::DecodedBatch,
    id::Offset,
    loss::{Absence, Loss, LossReason},
    schema::Schema,
    time::WallTime,
};

use super::{
    acceptance::{Anchor, Anchors},
    channel::Origin,
    channels::{Channels, Clocks},
    completeness::Holdings,
    conflict::Conflicts,
    labels::RobotLabels,
    link::{SessionDown, SessionUp, Sessions},
    losses::Losses,
    mapping::Mapping,
    repair::Unsure,
    survey::Kept,
};
use crate::record::{Body, Envelope, SessionEvent};

/// The fold of one robot's records. Read it with [`RobotState::read`](Self::read).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RobotState {
    pub(super) sessions: Sessions,
    pub(super) anchors: Anchors,
    pub(super) unsure: Unsure,
    pub(super) holdings: Holdings,
    pub(super) conflicts: Conflicts,
    pub(super) losses: Losses,
    pub(super) channels: Channels,
    pub(super) labels: RobotLabels,
    pub(super) totals: Totals,
    /// How its channels are read: configuration, and no part of what the log says.
    #[serde(skip)]
    mapping: Option<Arc<Mapping>>,
    #[serde(skip)]
    pub(super) surveyed: Kept,
}

/// What the log holds of a robot, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Records of every kind.
    pub records: u64,
    /// Batches.
    pub batches: u64,
    /// Samples.
    pub samples: u64,
    /// Samples that are lost, by reason.
    pub lost: BTreeMap<LossReason, u64>,
    /// When the last loss was reported.
    pub last_loss: Option<WallTime>,
    /// When the first and the last record were received that were heard of the robot: those of labels may be
    /// an operator's, or written again.
    pub received: Option<(WallTime, WallTime)>,
    /// The offsets of the first and the last record.
    pub offsets: Option<(Offset, Offset)>,
}

impl RobotState {
    /// Folds in a record that was not folded in before.
    pub(super) fn apply(
        &mut self,
        offset: Offset,
        envelope: &Envelope,
        batch: Option<(&DecodedBatch, &Schema)>,
    ) {
        self.apply_until(offset, envelope, batch, None);
    }

    /// The same, without the samples that happened after `until`.
    pub(super) fn apply_until(
        &mut self,
        offset: Offset,
        envelope: &Envelope,
        batch: Option<(&DecodedBatch, &Schema)>,
        until: Option<WallTime>,
    ) {
        let received_at = envelope.received_at;
        self.surveyed.forget();
        self.totals.saw(offset);
        if !matches!(envelope.body, Body::Labels(_)) {
            self.totals.received = Some(widened(self.totals.received, received_at));
        }
        match &envelope.body {
            Body::Batch { head, info, .. } => {
                self.totals.batches += 1;
                self.totals.samples += u64::from(info.samples);
                self.unsure.saw(&info.clock);
                let (session, clock) = (envelope.session, info.clock);
                let origin = Arc::new(Origin { session, received_at, clock });
                self.holdings.saw_batch(offset, head, info.samples, &origin);
                if let Some(batch) = batch {
                    self.channels.apply(head, &origin, batch, Clocks { anchors: &self.anchors, until });
                }
            }
            Body::Loss { head, loss } => {
                self.totals.lost(loss, received_at);
                self.losses.saw(offset, received_at, loss);
                self.holdings.saw_loss(offset, head.as_ref(), loss);
            }
            Body::Absence(absence) => self.apply_absence(offset, received_at, absence),
            Body::Session(event) => self.apply_session(offset, envelope, event),
            Body::ClockFix(_) => {}
            Body::Labels(set) => self.labels.saw(offset, envelope.session, set),
        }
    }

    fn apply_absence(&mut self, offset: Offset, received_at: WallTime, absence: &Absence) {
        self.totals.absent(absence, received_at);
        self.losses.saw_absence(offset, received_at, absence);
        self.holdings.saw_absence(offset, absence);
    }

    fn apply_session(&mut self, offset: Offset, envelope: &Envelope, event: &SessionEvent) {
        let (session, received_at) = (envelope.session, envelope.received_at);
        match event {
            SessionEvent::Up { transport, address, version, clock, instance } => {
                if let Some(instance) = *instance {
                    self.conflicts.saw_hello(offset, received_at, instance, address);
                }
                let (address, version) = (address.clone(), version.clone());
                let at = received_at;
                self.sessions.began(SessionUp { session, at, transport: *transport, address, version });
                if let Some(clock) = *clock {
                    self.anchors.insert(offset, Anchor { session, received_at, clock });
                }
            }
            SessionEvent::Down { why } => {
                self.sessions.ended(SessionDown { session, at: received_at, why: *why });
            }
            SessionEvent::Told { held, clock } => {
                self.anchors.insert(offset, Anchor { session, received_at, clock: *clock });
                self.holdings.saw_told(offset, &Origin { session, received_at, clock: *clock }, held);
            }
            SessionEvent::Conflict { instance, .. } => {
                self.conflicts.saw_take_over(offset, received_at, *instance);
            }
        }
    }

    /// Returns what the log holds of this robot.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns what is lost.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Starts without records, read through this mapping.
    pub(super) fn mapped(mapping: Option<Arc<Mapping>>) -> Self {
        Self { mapping, ..Self::default() }
    }

    /// Reads the robot through this mapping from now on.
    pub(super) fn map(&mut self, mapping: Option<Arc<Mapping>>) {
        self.mapping = mapping;
    }

    /// Returns the mapping to be shared with another state.
    pub(super) fn mapping_shared(&self) -> Option<Arc<Mapping>> {
        self.mapping.clone()
    }

    /// Returns how the robot's channels are read.
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_deref()
    }

    /// Returns what the robot is called by.
    pub fn labels(&self) -> &RobotLabels {
        &self.labels
    }

    /// Returns the number of the last session, if the log does not say that it ended.
    pub fn open_session(&self) -> Option<u64> {
        self.sessions.open()
    }
}

impl Totals {
    /// Returns how many samples are lost, for any reason.
    pub fn lost_samples(&self) -> u64 {
        self.lost.values().fold(0, |sum, samples| sum.saturating_add(*samples))
    }

    fn saw(&mut self, offset: Offset) {
        self.records += 1;
        self.offsets = Some(widened(self.offsets, offset));
    }

    fn absent(&mut self, absence: &Absence, received_at: WallTime) {
        if let Some(reason) = absence.reason.loss() {
            self.count_lost(reason, absence.samples, received_at);
        }
    }

    fn lost(&mut self, loss: &Loss, received_at: WallTime) {
        self.count_lost(loss.reason, loss.samples(), received_at);
    }

    /// Counts what an agent says, which may be any number.
    fn count_lost(&mut self, reason: LossReason, samples: u64, received_at: WallTime) {
        let lost = self.lost.entry(reason).or_default();
        *lost = lost.saturating_add(samples);
        self.last_loss = self.last_loss.max(Some(received_at));
    }
}

fn widened<T: Ord + Copy>(span: Option<(T, T)>, value: T) -> (T, T) {
    span.map_or((value, value), |(first, last)| (first.min(value), last.max(value)))
}
