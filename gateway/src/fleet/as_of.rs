//! A robot as it was at a moment in the past, from a state that is older and the log behind it.
//!
//! Two questions are meant by that. What was *known then*: the fold of the records that had been received, so the state
//! that was served at that moment, but for what only an open session told (when it was heard last, and a backlog told by
//! heartbeats alone). And what is *known now* of that moment: samples that were still on the robot, and times that were
//! repaired since, are in it; a sample counts for the moment at which it happened. How whole the record of that moment
//! is can be answered only by what is known now, so completeness, losses and conflicts are those of today.
//!
//! Both are functions of the set of records: order and repetition do not matter.

use std::sync::Arc;

use muster_protocol::{batch::DecodedBatch, id::Offset, schema::Schema, time::WallTime};

use super::{acceptance::Anchor, channel::Origin, channels::Clocks, robot::RobotState};
use crate::record::{Body, Envelope, SessionEvent};

/// A moment in the past, and by whose knowledge it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The moment, in the gateway's time.
    pub at: WallTime,
    /// By whose knowledge.
    pub known: Known,
}

/// When what is told was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// At that moment.
    Then,
    /// Now.
    Now,
}

impl AsOf {
    /// How much later than the moment the earliest time of a record may be that is still looked into: by so much a clock
    /// may be ahead whose samples happened before.
    pub const AHEAD_NS_MAX: i64 = 3_600_000_000_000;

    /// Returns whether a record has something to say of the moment, as far as its head tells.
    pub fn takes(&self, envelope: &Envelope) -> bool {
        let known_then = envelope.received_at <= self.at;
        known_then || self.known == Known::Now && envelope.head().t_min <= self.at.shifted(Self::AHEAD_NS_MAX)
    }
}

impl RobotState {
    /// Takes in what a session record says of the robot's clocks, before the samples of [`RobotState::apply_as_of`].
    pub fn learn_clocks(&mut self, offset: Offset, envelope: &Envelope) {
        let clock = match &envelope.body {
            Body::Session(SessionEvent::Up { clock: Some(clock), .. } | SessionEvent::Told { clock, .. }) => {
                *clock
            }
            _ => return,
        };
        let (session, received_at) = (envelope.session, envelope.received_at);
        self.anchors.insert(offset, Anchor { session, received_at, clock });
    }

    /// Folds in a record that [`AsOf::takes`], in any order, and none twice.
    pub fn apply_as_of(
        &mut self,
        as_of: AsOf,
        offset: Offset,
        envelope: &Envelope,
        batch: Option<(&DecodedBatch, &Schema)>,
    ) {
        if as_of.known == Known::Then {
            self.apply(offset, envelope, batch);
        } else if envelope.received_at <= as_of.at {
            self.apply_until(offset, envelope, batch, Some(as_of.at));
        } else if let (Body::Batch { head, info, .. }, Some(batch)) = (&envelope.body, batch) {
            let (session, received_at) = (envelope.session, envelope.received_at);
            let origin = Arc::new(Origin { session, received_at, clock: info.clock });
            let clocks = Clocks { anchors: &self.anchors, until: Some(as_of.at) };
            self.channels.apply(head, &origin, batch, clocks);
        }
    }

    /// Ends the fold: what is known now of how whole it is comes from the robot's state of today.
    pub fn finish_as_of(&mut self, as_of: AsOf, today: &Self) {
        self.map(today.mapping_shared());
        if as_of.known == Known::Now {
            self.holdings = today.holdings.clone();
            self.conflicts = today.conflicts.clone();
            self.losses = today.losses.clone();
            self.totals.lost = today.totals.lost.clone();
            self.totals.last_loss = today.totals.last_loss.filter(|at| *at <= as_of.at);
        }
    }

    /// Returns whether the log named the robot by then.
    pub fn is_known(&self) -> bool {
        self.totals.records > 0
    }
}
