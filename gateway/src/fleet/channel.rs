//! One channel of one robot: its newest value by a total order, and its pace.

mod image;

use std::{cell::Cell, sync::Arc};

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

pub(super) use image::{BadImage, ChannelsImage};

/// A channel that has at least one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The newest value of the least [`Stamp`] kind that there is: nearly always the only one.
    first: Newest,
    /// Those of the other kinds, ascending; fewer than [`KINDS_MAX`].
    others: Box<[Newest]>,
    /// Shared with the channels that are sampled together with it.
    recent: Arc<RecentTimes>,
    samples: u64,
}

/// The newest value of one kind and what the records said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    rank: Rank,
    t: WallTime,
    value: Value,
    stamped_by: StampedBy,
    unit: Option<Box<str>>,
    interval_ns: Option<u64>,
    on_change: bool,
    origin: Arc<Origin>,
}

/// What all samples of one batch share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The session in which the batch came.
    pub(super) session: u64,
    pub(super) received_at: WallTime,
    /// The robot's clocks at spooling.
    pub(super) clock: Clock,
}

/// Whose clock a time came from. Only times of one kind compare as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Stamp {
    /// A clock that is believed: an input's, or the robot's while it was synchronised.
    Clock,
    /// The robot's, not synchronised, in this boot. Its monotonic time orders such samples, whatever the wall clock
    /// did; which wall time that was may become known later.
    Boot(u64),
}

/// The total order of values of one kind: the greatest is the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Rank {
    pub(super) stamp: Stamp,
    /// Of a clock that is believed, the sample's time, bounded by its reception as [`effective`] does: one stamp from the
    /// future cannot freeze a channel. Of another one, the boot's monotonic time, bounded by its spooling likewise.
    at: i64,
    place: RowPlace,
}

/// Where a value stands in the robot's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RowPlace {
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
    pub(super) origin: &'a Arc<Origin>,
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

/// Says what the robot's clocks make of the times of a batch. Channels that are read together mostly have their values
/// from one batch, and what was said of the last is remembered.
pub(super) struct Judge<'a> {
    anchors: &'a Anchors,
    last: Cell<Option<(&'a Origin, Judged)>>,
}

/// What is said of a batch.
#[derive(Clone, Copy)]
struct Judged {
    /// When the robot accepted it, if anybody knows.
    accepted: Option<WallTime>,
    /// By how much times are off that a clock gave which was not set, in nanoseconds.
    shift: i64,
}

/// How far after its reception a sample's time may rank.
const EARLY_NS_MAX: i64 = 5_000_000_000;

/// Kinds of stamps of which the newest value is kept: a believed clock and the last three boots. With more, the one
/// whose value is oldest by what is known at that moment makes room.
const KINDS_MAX: usize = 4;

/// Returns the time by which a sample ranks among all kinds. One from so far ahead that it is not believed ranks by its
/// reception, so that what comes next replaces it at once.
pub(super) fn effective(t: WallTime, received_at: WallTime) -> WallTime {
    let ahead = t.nanos_since(received_at);
    if ahead > AHEAD_NS_MAX { received_at } else { t.min(received_at.shifted(EARLY_NS_MAX)) }
}

/// Returns when a sample happened, in the gateway's time, as far as is known when which clock was right: what it ages
/// by, and if nobody knows, when it was received.
pub(super) fn happened<'a>(
    t: WallTime,
    stamped_by: StampedBy,
    origin: &'a Origin,
    judge: &Judge<'a>,
) -> WallTime {
    let t = match Stamp::of(stamped_by, &origin.clock) {
        Stamp::Clock => t,
        Stamp::Boot(_) => t.shifted(judge.of(origin).shift),
    };
    let since = aging(t, origin, judge).since.unwrap_or(origin.received_at);
    effective(since, origin.received_at)
}

/// Decides what a sample ages by; `t` is its time as it should have come.
fn aging<'a>(t: WallTime, origin: &'a Origin, judge: &Judge<'a>) -> Aging {
    let accepted = judge.of(origin).accepted;
    let ahead = t.nanos_since(accepted.unwrap_or(origin.received_at)) > AHEAD_NS_MAX;
    let mark = if t < PLAUSIBLE_FROM { Some(Mark::Before2020) } else { ahead.then_some(Mark::Ahead) };
    Aging { since: if mark.is_some() { accepted } else { Some(t) }, mark }
}

impl<'a> Judge<'a> {
    /// Judges by these.
    pub(super) fn new(anchors: &'a Anchors) -> Self {
        Self { anchors, last: Cell::new(None) }
    }

    fn of(&self, origin: &'a Origin) -> Judged {
        if let Some((last, judged)) = self.last.get()
            && std::ptr::eq(last, origin)
        {
            return judged;
        }
        let Origin { session, received_at, clock } = origin;
        let accepted = self.anchors.accepted(*session, clock, *received_at);
        let judged = Judged { accepted, shift: self.anchors.shift(clock) };
        self.last.set(Some((origin, judged)));
        judged
    }
}

impl Stamp {
    /// Returns whose clock a row's time came from.
    pub(super) fn of(stamped_by: StampedBy, clock: &Clock) -> Self {
        match stamped_by {
            StampedBy::Agent if !clock.synchronised => Self::Boot(clock.boot),
            StampedBy::Agent | StampedBy::Input => Self::Clock,
        }
    }

    /// Returns what a time ranks by within its kind.
    pub(super) fn rank_of(self, t: WallTime, origin: &Origin) -> i64 {
        match self {
            Self::Clock => effective(t, origin.received_at).0,
            Self::Boot(_) => {
                let mono = i64::try_from(origin.clock.mono.0).unwrap_or(i64::MAX);
                let since_boot = t.nanos_since(origin.clock.wall).saturating_add(mono);
                since_boot.min(mono.saturating_add(EARLY_NS_MAX))
            }
        }
    }
}

impl Rank {
    /// Ranks a sample of a batch by what [`Stamp::rank_of`] returned.
    pub(super) fn new(stamp: Stamp, at: i64, head: &NumberedHead, (row, field): (u32, u32)) -> Self {
        let place = RowPlace { epoch: head.epoch, lane: head.lane, seq: head.seq, row, field };
        Self { stamp, at, place }
    }
}

impl Channel {
    /// Starts with a first value, and what its batch says of the channel's times and how many values there are.
    pub(super) fn new(first: &Candidate<'_>, recent: Arc<RecentTimes>, samples: u64) -> Self {
        Self { first: Newest::new(first), others: Box::default(), recent, samples }
    }

    /// Takes a column's newest value of one kind.
    pub(super) fn offer(&mut self, candidate: &Candidate<'_>, anchors: &Anchors) {
        let mut kinds = std::iter::once(&mut self.first).chain(&mut self.others);
        match kinds.find(|newest| newest.rank.stamp == candidate.rank.stamp) {
            Some(newest) if candidate.rank > newest.rank => newest.replace(candidate),
            Some(_) => {}
            None => self.add(Newest::new(candidate), anchors),
        }
    }

    /// Counts a column's values, and lets `recent` say what the newest times become by it.
    pub(super) fn count(&mut self, samples: u64, recent: impl FnOnce(&Arc<RecentTimes>) -> Arc<RecentTimes>) {
        self.recent = recent(&self.recent);
        self.samples += samples;
    }

    /// Returns the newest value, as far as is known when which clock was right.
    #[inline]
    pub(super) fn newest<'a>(&'a self, judge: &Judge<'a>) -> &'a Newest {
        if self.others.is_empty() { &self.first } else { self.newest_of_several(judge) }
    }

    #[cold]
    fn newest_of_several<'a>(&'a self, judge: &Judge<'a>) -> &'a Newest {
        self.kinds().max_by_key(|newest| newest.order(judge)).expect("never none")
    }

    /// Returns how many samples the log gave this channel.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns when the value after `newest` is due.
    pub(super) fn pace(&self, newest: &Newest) -> Pace {
        if newest.on_change {
            return Pace::OnChange;
        }
        Pace::Every(newest.interval_ns.or_else(|| self.recent.interval()))
    }

    /// Returns the newest value of each kind, ascending.
    fn kinds(&self) -> impl Iterator<Item = &Newest> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Adds the first value of a kind. With too many kinds the oldest value makes room.
    fn add(&mut self, newest: Newest, anchors: &Anchors) {
        let mut kinds: Vec<Newest> = self.kinds().cloned().chain([newest]).collect();
        if kinds.len() > KINDS_MAX {
            let judge = Judge::new(anchors);
            let oldest = kinds.iter().enumerate().min_by_key(|(_, newest)| newest.order(&judge));
            let (at, _) = oldest.expect("there are several");
            kinds.remove(at);
        }
        kinds.sort_by_key(|newest| newest.rank.stamp);
        self.others = kinds.split_off(1).into();
        self.first = kinds.pop().expect("there are several");
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
            unit: definition.unit.as_deref().map(Box::from),
            interval_ns: definition.interval_ns,
            on_change: definition.on_change,
            origin: candidate.origin.clone(),
        }
    }

    /// Returns the value.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the time as it came.
    pub(super) fn raw_t(&self) -> WallTime {
        self.t
    }

    /// Returns the time as it should have come.
    pub(super) fn t<'a>(&'a self, judge: &Judge<'a>) -> WallTime {
        match self.rank.stamp {
            Stamp::Clock => self.t,
            Stamp::Boot(_) => self.t.shifted(judge.of(&self.origin).shift),
        }
    }

    /// Returns who gave the value its time.
    pub(super) fn stamped_by(&self) -> StampedBy {
        self.stamped_by
    }

    /// Returns when the gateway received the value.
    pub(super) fn received_at(&self) -> WallTime {
        self.origin.received_at
    }

    /// Returns the unit that was declared with the value.
    pub(super) fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// Decides what the value ages by; `t` is its time as it should have come.
    pub(super) fn aging<'a>(&'a self, t: WallTime, judge: &Judge<'a>) -> Aging {
        aging(t, &self.origin, judge)
    }

    /// Orders values of all kinds.
    fn order<'a>(&'a self, judge: &Judge<'a>) -> (WallTime, RowPlace) {
        (effective(self.t(judge), self.origin.received_at), self.rank.place)
    }

    /// Becomes the candidate, without allocating where nothing changed.
    fn replace(&mut self, candidate: &Candidate<'_>) {
        let definition = candidate.definition;
        self.rank = candidate.rank;
        self.t = candidate.t;
        self.stamped_by = candidate.stamped_by;
        self.origin.clone_from(candidate.origin);
        self.interval_ns = definition.interval_ns;
        self.on_change = definition.on_change;
        if self.unit.as_deref() != definition.unit.as_deref() {
            self.unit = definition.unit.as_deref().map(Box::from);
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
