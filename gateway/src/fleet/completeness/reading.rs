//! Completeness read at one moment, with what an open session says right now.

use std::collections::BTreeMap;

use muster_protocol::{
    id::{Epoch, Lane},
    message::HeldLane,
    time::WallTime,
};

use super::{
    Amount, Holdings,
    lane::{LaneTale, ToldLane},
    runs::Tail,
};
use crate::fleet::{acceptance::Anchors, link::LiveLink, reading::Backlog};

/// How much of what a robot accepted is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// In one word.
    pub standing: Standing,
    /// Everything that the robot accepted up to this moment, in the gateway's time, is stored or accounted for as lost,
    /// before this gateway or unknown. `None` if that can be said of no moment.
    pub whole_up_to: Option<WallTime>,
    /// What is still on the robot, and when it said so; `None` if it never said.
    pub on_robot: Option<Backlog>,
    /// What the robot had released before this gateway's log first heard of it.
    pub before: Amount,
    /// At most so many samples were held by a spool that is there no more.
    pub unknown_up_to: u64,
}

/// Whether something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Nothing was missing when the robot told last.
    Whole,
    /// Something is still to come.
    Behind,
    /// The robot has no spool, or never told what is in it.
    NotTold,
}

/// What an open session says, by lane.
type Said = BTreeMap<(Epoch, Lane), ToldLane>;

impl Holdings {
    /// Reads the completeness; `live` is the robot's open session, if one is open.
    pub(in crate::fleet) fn read(&self, anchors: &Anchors, live: Option<&LiveLink>) -> Completeness {
        let live = live.filter(|live| live.has_spool());
        let lane_said = |lane: &HeldLane| ((lane.epoch, lane.lane), ToldLane::from(lane));
        let said: Option<Said> = live.map(|live| live.held.iter().map(lane_said).collect());
        let told_at = live.map(|live| live.told_at).or(self.told.map(|told| told.origin.received_at));
        let mut sum = Sum::new(anchors);
        self.add_lanes(said.as_ref(), &mut sum);
        let Some(told_at) = told_at else {
            return Completeness {
                standing: Standing::NotTold,
                whole_up_to: None,
                on_robot: None,
                ..sum.read(self)
            };
        };
        let whole_up_to = if sum.is_behind { sum.whole_up_to } else { self.told_from(anchors, live) };
        let on_robot = Some(Backlog { samples: sum.on_robot, at: told_at });
        Completeness { whole_up_to, on_robot, ..sum.read(self) }
    }

    /// Returns when the robot said what it said last: earlier than it arrived, because a message may take its time.
    fn told_from(&self, anchors: &Anchors, live: Option<&LiveLink>) -> Option<WallTime> {
        let of_record = self.told.map(|told| told.origin);
        let told_at = live.map_or(of_record.map(|told| told.received_at), |live| Some(live.told_at))?;
        let clock = live.map_or(of_record.map(|told| told.clock), |live| live.clock);
        // Anchors of its boot tell; a wall clock that nothing corrects does not.
        Some(clock.and_then(|clock| anchors.since_boot(&clock)).map_or(told_at, |then| then.min(told_at)))
    }

    fn add_lanes(&self, said: Option<&Said>, sum: &mut Sum<'_>) {
        let new = LaneTale::default();
        let of_record = self.epochs.iter().flat_map(|(epoch, tale)| {
            let lanes = Lane::ALL.into_iter().zip(&tale.lanes);
            lanes.filter_map(|(lane, tale)| Some(((*epoch, lane), tale.as_ref()?)))
        });
        let mut lanes: BTreeMap<(Epoch, Lane), &LaneTale> = of_record.collect();
        for place in said.into_iter().flat_map(BTreeMap::keys) {
            if !self.closed.contains_key(&place.0) {
                lanes.entry(*place).or_insert(&new);
            }
        }
        let mut epoch_before = None;
        for ((epoch, lane), tale) in lanes {
            if epoch_before.is_some_and(|before| before != epoch) {
                sum.end_epoch();
            }
            epoch_before = Some(epoch);
            let now = said.and_then(|said| said.get(&(epoch, lane)));
            let is_listed = match said {
                Some(_) => now.is_some(),
                None => tale.told_at().is_some_and(|told| Some(told) == self.told.map(|told| told.at)),
            };
            let is_forgotten = !is_listed && self.is_forgotten(tale);
            sum.add(tale, now, (is_listed, is_forgotten));
        }
    }
}

/// Adds lanes up, epoch by epoch.
struct Sum<'a> {
    anchors: &'a Anchors,
    is_behind: bool,
    /// The earliest of what the lanes that miss something are whole up to.
    whole_up_to: Option<WallTime>,
    on_robot: u64,
    unknown: u64,
    /// When the last batch of earlier epochs was accepted, and that of this one.
    earlier: Option<WallTime>,
    latest: Option<WallTime>,
}

impl<'a> Sum<'a> {
    fn new(anchors: &'a Anchors) -> Self {
        Self {
            anchors,
            is_behind: false,
            whole_up_to: None,
            on_robot: 0,
            unknown: 0,
            earlier: None,
            latest: None,
        }
    }

    fn add(&mut self, tale: &LaneTale, live: Option<&ToldLane>, (is_listed, is_forgotten): (bool, bool)) {
        let view = tale.view(live);
        self.latest = self.latest.max(tale.last().and_then(|tail| self.accepted(tail)));
        self.unknown = self.unknown.saturating_add(view.forgotten);
        if is_forgotten {
            self.unknown = self.unknown.saturating_add(view.still);
            return;
        }
        if is_listed {
            self.on_robot = self.on_robot.saturating_add(view.still);
        }
        if tale.told_at().is_none() && live.is_none() {
            return;
        }
        if view.is_behind {
            // What this epoch holds was accepted after everything of earlier ones.
            let whole_up_to = view.before_missing.and_then(|tail| self.accepted(tail)).or(self.earlier);
            self.whole_up_to = if self.is_behind { self.whole_up_to.min(whole_up_to) } else { whole_up_to };
            self.is_behind = true;
        }
    }

    fn end_epoch(&mut self) {
        self.earlier = self.earlier.max(self.latest);
    }

    fn accepted(&self, tail: &Tail) -> Option<WallTime> {
        let origin = &tail.origin;
        self.anchors.accepted(origin.session, &origin.clock, origin.received_at)
    }

    fn read(&self, holdings: &Holdings) -> Completeness {
        Completeness {
            standing: if self.is_behind { Standing::Behind } else { Standing::Whole },
            whole_up_to: None,
            on_robot: None,
            before: holdings.before,
            unknown_up_to: self.unknown.saturating_add(holdings.closed_unknown),
        }
    }
}

impl Standing {
    /// All of them, as they are counted.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Behind, Self::NotTold];

    /// Returns the name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Behind => "behind",
            Self::NotTold => "not_told",
        }
    }
}
