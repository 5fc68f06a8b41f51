//! Repair of times: what the agent stamped by a clock that was wrong is served as it should have been.
//!
//! A repair is a shift of all rows of one batch that the agent stamped, because its clocks were read together when it
//! was spooled and it spans no step of the clock. What an input stamped is never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use muster_protocol::{message::Clock, time::WallTime};

use super::{
    acceptance::{Anchors, REPAIR_NS_MIN},
    robot::RobotState,
};

/// What is known of a robot's clocks at one moment.
#[derive(Clone, Debug)]
pub struct Repair {
    anchors: Anchors,
    /// The least and the most that any batch is shifted by.
    shifts: (i64, i64),
}

/// By how much wall and monotonic time were apart in the batches of each boot whose clock was not synchronised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unsure {
    boots: BTreeMap<u64, (i64, i64)>,
    /// Of all further boots together.
    others: Option<(i64, i64)>,
}

/// Most boots that are told apart. Of the others all shifts that any of them needs are looked for.
const BOOTS_MAX: usize = 16;

/// Anchors that come or go later move a batch by its drift alone: this is that of ten days at 700 ppm.
const MARGIN_NS: i64 = 600_000_000_000;

impl Repair {
    /// Returns what has to be added to the times that the agent stamped in a batch with these clocks.
    pub fn shift(&self, clock: &Clock) -> i64 {
        self.anchors.shift(clock)
    }

    /// Returns the times, as they came, that samples of `from <= t < to` may have.
    pub fn raw(&self, from: WallTime, to: Option<WallTime>) -> (WallTime, Option<WallTime>) {
        let (least, most) = self.shifts;
        (from.shifted(most.saturating_neg()), to.map(|to| to.shifted(least.saturating_neg())))
    }
}

impl RobotState {
    /// Returns how the robot's times are repaired.
    pub fn repair(&self) -> Repair {
        Repair { anchors: self.anchors.clone(), shifts: self.unsure.shifts(&self.anchors) }
    }
}

impl Unsure {
    /// Takes the clocks of a batch.
    pub(super) fn saw(&mut self, clock: &Clock) {
        if clock.synchronised {
            return;
        }
        let offset = clock.wall.0.saturating_sub(i64::try_from(clock.mono.0).unwrap_or(i64::MAX));
        let span = self.boots.entry(clock.boot).or_insert((offset, offset));
        *span = joined(*span, (offset, offset));
        if self.boots.len() > BOOTS_MAX
            && let Some((_, span)) = self.boots.pop_last()
        {
            self.others = Some(self.others.map_or(span, |others| joined(others, span)));
        }
    }

    fn shifts(&self, anchors: &Anchors) -> (i64, i64) {
        let of_boots = self.boots.iter().map(|(boot, span)| (*span, anchors.offsets(|known| known == *boot)));
        let is_other = |boot: u64| !self.boots.contains_key(&boot);
        let of_others = self.others.map(|span| (span, anchors.offsets(is_other)));
        let mut shifts = (0, 0);
        for ((low, high), right) in of_boots.chain(of_others) {
            let Some((right_low, right_high)) = right else { continue };
            let (least, most) = (right_low.saturating_sub(high), right_high.saturating_sub(low));
            if least.unsigned_abs().max(most.unsigned_abs()) > REPAIR_NS_MIN {
                shifts = joined(shifts, (least.saturating_sub(MARGIN_NS), most.saturating_add(MARGIN_NS)));
            }
        }
        shifts
    }
}

fn joined(a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    (a.0.min(b.0), a.1.max(b.1))
}
