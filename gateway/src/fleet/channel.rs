//! One channel of one robot: its newest value by a total order, and its pace.

use serde::{Deserialize, Serialize};

use muster_protocol::{
    column::ValueRef,
    id::{Epoch, Lane, Seq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::ChannelDef,
    time::WallTime,
};

use super::{
    acceptance::{AHEAD_NS_MAX, Anchors, PLAUSIBLE_FROM},
    freshness::Pace,
    recent::RecentTimes,
};

/// A channel that has at least one value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    newest: Newest,
    recent: RecentTimes,
    samples: u64,
}

/// The newest value and what the records said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Newest {
    rank: Rank,
    t: WallTime,
    value: Value,
    stamped_by: StampedBy,
    unit: Option<String>,
    interval_ns: Option<u64>,
    on_change: bool,
    origin: Origin,
}

/// What all samples of one batch share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The session in which the batch came.
    pub(super) session: u64,
    pub(super) received_at: WallTime,
    /// The robot's clocks at spooling.
    pub(super) clock: Clock,
}

/// The total order of values: the greatest is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Rank {
    /// The sample's time, but at most [`EARLY_NS_MAX`] after its reception: one stamp from the future cannot freeze a
    /// channel.
    effective: WallTime,
    epoch: Epoch,
    lane: Lane,
    seq: Seq,
    row: u32,
    /// The place in the row, for a row that names a channel twice.
    field: u32,
}

/// One value that might be the newest.
pub(super) struct Candidate<'a> {
    pub(super) rank: Rank,
    pub(super) t: WallTime,
    pub(super) stamped_by: StampedBy,
    pub(super) value: ValueRef<'a>,
    pub(super) definition: &'a ChannelDef,
    pub(super) origin: &'a Origin,
}

/// Why a time is not believed. The value then ages by its acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// Before 2020: a clock that was never set, or a recording.
    Before2020,
    /// More than 60 s ahead when it was accepted.
    Ahead,
}

/// What a channel's newest value ages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aging {
    /// Age counts from here; `None` if nobody knows, and then the value is stale.
    pub since: Option<WallTime>,
    /// Why that is not the value's own time.
    pub mark: Option<Mark>,
}

/// How far after its reception a sample's time may rank.
const EARLY_NS_MAX: i64 = 5_000_000_000;

/// Returns the time by which a sample ranks.
pub(super) fn effective(t: WallTime, received_at: WallTime) -> WallTime {
    t.min(received_at.shifted(EARLY_NS_MAX))
}

impl Rank {
    /// Ranks a sample of a batch.
    pub(super) fn new(effective: WallTime, head: &NumberedHead, row: u32, field: u32) -> Self {
        Self { effective, epoch: head.epoch, lane: head.lane, seq: head.seq, row, field }
    }
}

impl Channel {
    /// Starts with a first value, which is not yet counted.
    pub(super) fn new(first: &Candidate<'_>) -> Self {
        Self { newest: Newest::new(first), recent: RecentTimes::default(), samples: 0 }
    }

    /// Takes a column: its newest value, its newest distinct times, and how many values it has.
    pub(super) fn apply(&mut self, candidate: &Candidate<'_>, times: &RecentTimes, samples: u64) {
        if candidate.rank > self.newest.rank {
            self.newest.replace(candidate);
        }
        self.recent.merge(times);
        self.samples += samples;
    }

    /// Returns the newest value.
    pub fn value(&self) -> &Value {
        &self.newest.value
    }

    /// Returns the newest value's time as it came.
    pub fn t(&self) -> WallTime {
        self.newest.t
    }

    /// Returns who gave the newest value its time.
    pub fn stamped_by(&self) -> StampedBy {
        self.newest.stamped_by
    }

    /// Returns when the gateway received the newest value.
    pub fn received_at(&self) -> WallTime {
        self.newest.origin.received_at
    }

    /// Returns the unit that was declared with the newest value.
    pub fn unit(&self) -> Option<&str> {
        self.newest.unit.as_deref()
    }

    /// Returns how many samples the log gave this channel.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns when the next value is due.
    pub fn pace(&self) -> Pace {
        if self.newest.on_change {
            return Pace::OnChange;
        }
        Pace::Every(self.newest.interval_ns.or_else(|| self.recent.interval()))
    }

    /// Decides what the newest value ages by.
    pub(super) fn aging(&self, anchors: &Anchors) -> Aging {
        let Origin { session, received_at, clock } = &self.newest.origin;
        let t = self.newest.t;
        let accepted = anchors.accepted(*session, clock, *received_at);
        let ahead = t.nanos_since(accepted.unwrap_or(*received_at)) > AHEAD_NS_MAX;
        let mark = if t < PLAUSIBLE_FROM { Some(Mark::Before2020) } else { ahead.then_some(Mark::Ahead) };
        Aging { since: if mark.is_some() { accepted } else { Some(t) }, mark }
    }
}

impl Newest {
    fn new(candidate: &Candidate<'_>) -> Self {
        let definition = candidate.definition;
        Self {
            rank: candidate.rank,
            t: candidate.t,
            value: candidate.value.to_value(),
            stamped_by: candidate.stamped_by,
            unit: definition.unit.clone(),
            interval_ns: definition.interval_ns,
            on_change: definition.on_change,
            origin: *candidate.origin,
        }
    }

    /// Becomes the candidate, without allocating where nothing changed.
    fn replace(&mut self, candidate: &Candidate<'_>) {
        let definition = candidate.definition;
        self.rank = candidate.rank;
        self.t = candidate.t;
        self.stamped_by = candidate.stamped_by;
        self.origin = *candidate.origin;
        self.interval_ns = definition.interval_ns;
        self.on_change = definition.on_change;
        if self.unit.as_deref() != definition.unit.as_deref() {
            self.unit.clone_from(&definition.unit);
        }
        match (&mut self.value, candidate.value) {
            (Value::Text(held), ValueRef::Text(new)) => new.clone_into(held),
            (Value::Bytes(held), ValueRef::Bytes(new)) => new.clone_into(held),
            (held, new) => *held = new.to_value(),
        }
    }
}

impl Mark {
    /// Returns the name as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before2020 => "before_2020",
            Self::Ahead => "ahead",
        }
    }
}
