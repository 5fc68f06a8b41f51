//! What the spool holds, in numbers: for the Hello, for the sender, for health and metrics.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    limits::{DRAINED_LANES_MAX, GONE_RANGES_MAX, HELD_LANES_MAX},
    message::{DrainedLane, HeldLane, SeqRange},
    session::ranges::RangeSet,
};

use super::{
    Spool,
    catalog::Catalog,
    segment::{Segment, SegmentId},
    writer::{LaneWriter, Tail},
};

/// What spools hold and held, as a Hello says it; all spools of an agent together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// The current epoch's lanes always, and of earlier epochs the oldest that fit into a Hello. Those in between wait
    /// until the oldest have drained.
    pub held: Vec<HeldLane>,
    /// Lanes of ended epochs of which nothing is held any more: the newest that fit into a Hello, newest last.
    pub drained: Vec<DrainedLane>,
}

/// Consecutive accepted seqs in one segment, at least one of which is still to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lane.
    pub lane: Lane,
    /// The epoch.
    pub epoch: Epoch,
    /// The segment.
    pub segment: SegmentId,
    /// The first seq.
    pub first: Seq,
    /// The seq after the last.
    pub next: Seq,
}

impl Holding {
    /// Sums up what some spools hold, oldest epoch first. One in memory may hold the end of a lane that another has on
    /// its disk; it comes after that one.
    pub fn of<'a>(spools: impl IntoIterator<Item = &'a Spool>) -> Self {
        let spools: Vec<&Spool> = spools.into_iter().collect();
        let current: BTreeSet<(Epoch, Lane)> =
            spools.iter().flat_map(|spool| spool.current_lanes()).collect();
        let mut earlier: BTreeSet<(Epoch, Lane)> =
            spools.iter().flat_map(|spool| spool.lanes_with_records()).collect();
        earlier.retain(|lane| !current.contains(lane));
        let drained = drained(&spools, |lane| current.contains(lane) || earlier.contains(lane));
        let room = HELD_LANES_MAX.saturating_sub(current.len());
        let listed: BTreeSet<_> = earlier.into_iter().take(room).chain(current).collect();
        let mut ranges_left = GONE_RANGES_MAX;
        let held = listed.into_iter().map(|(epoch, lane)| {
            let mut tally = Tally::default();
            for spool in &spools {
                tally.take_spool(spool, epoch, lane);
            }
            let mut lane = tally.held_lane(epoch, lane);
            lane.gone.truncate(ranges_left);
            ranges_left -= lane.gone.len();
            lane
        });
        Self { held: held.collect(), drained }
    }
}

/// Returns the newest lanes of which nothing is held any more, as far back as the spools remember.
fn drained(spools: &[&Spool], is_held: impl Fn(&(Epoch, Lane)) -> bool) -> Vec<DrainedLane> {
    let mut ended: BTreeMap<(Epoch, Lane), Tail> = BTreeMap::new();
    for (epoch, lane, tail) in spools.iter().flat_map(|spool| spool.positions.iter()) {
        let furthest = ended.entry((epoch, lane)).or_insert(tail);
        if tail.next > furthest.next {
            *furthest = tail;
        }
    }
    ended.retain(|lane, _| !is_held(lane));
    let newest = ended.len().saturating_sub(DRAINED_LANES_MAX);
    ended.into_iter().skip(newest).map(|((epoch, lane), tail)| tail.drained(epoch, lane)).collect()
}

impl Spool {
    /// Returns what is held, for Hello and heartbeats; see [`Holding::held`].
    pub fn held(&self) -> Vec<HeldLane> {
        Holding::of([self]).held
    }

    /// Returns the lanes of ended epochs of which nothing is held any more, as far back as the spool remembers.
    pub fn drained(&self) -> Vec<DrainedLane> {
        Holding::of([self]).drained
    }

    /// Returns the spans of what [`Spool::held`] lists, oldest epoch first, and in order within a lane.
    pub fn spans(&self) -> Vec<Span> {
        let held = self.held();
        let catalog = self.site.shared.catalog();
        let segments = held.iter().flat_map(|held| catalog.of(held.lane, held.epoch));
        segments
            .filter(|segment| !segment.is_released())
            .map(|segment| Span {
                lane: segment.name.lane,
                epoch: segment.name.epoch,
                segment: segment.id,
                first: segment.name.first,
                next: segment.next,
            })
            .collect()
    }

    /// Returns how many accepted samples are held and not released.
    pub fn samples_held(&self) -> u64 {
        self.site.shared.catalog().segments.values().map(Segment::samples_held).sum()
    }

    /// Says whether nothing is held that is still to be delivered, and nothing waits for a sync.
    pub fn is_drained(&self) -> bool {
        let dirty = self.lanes.iter().any(LaneWriter::is_dirty);
        !dirty && self.site.shared.catalog().segments.values().all(Segment::is_released)
    }

    /// Returns the size of all segments in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.site.shared.catalog().lane_bytes().iter().sum()
    }

    /// Returns the size limit in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The lanes of the current epoch; of one that failed before it began, none.
    fn current_lanes(&self) -> impl Iterator<Item = (Epoch, Lane)> {
        let began = self.began;
        Lane::ALL.into_iter().filter(move |_| began).map(|lane| (self.site.epoch, lane))
    }

    /// The lanes of which something is held.
    fn lanes_with_records(&self) -> BTreeSet<(Epoch, Lane)> {
        let catalog = self.site.shared.catalog();
        let held = catalog.segments.values().filter(|segment| !segment.is_released());
        let names = held.map(|segment| segment.name).chain(catalog.unreadable.iter().copied());
        names.map(|name| (name.epoch, name.lane)).collect()
    }
}

/// Adds up one lane, segment by segment.
struct Tally {
    next: Seq,
    spooled: u64,
    samples: u64,
    held: RangeSet,
    /// Where the segments taken so far end.
    end: Seq,
    end_spooled: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let (next, end) = (Seq::FIRST, Seq::FIRST);
        Self { next, spooled: 0, samples: 0, held: RangeSet::default(), end, end_spooled: 0 }
    }
}

impl Tally {
    /// Takes what one spool has of the lane.
    fn take_spool(&mut self, spool: &Spool, epoch: Epoch, lane: Lane) {
        let catalog = spool.site.shared.catalog();
        let written = (epoch == spool.site.epoch).then(|| spool.lanes[lane.index()].tail());
        let noted = spool.positions.of(epoch, lane);
        for Tail { next, spooled } in written.into_iter().chain(noted) {
            (self.next, self.spooled) = (self.next.max(next), self.spooled.max(spooled));
        }
        catalog.of(lane, epoch).for_each(|segment| self.take(&catalog, segment));
        self.take_unreadable_from(&catalog, lane, epoch);
    }

    fn take(&mut self, catalog: &Catalog, segment: &Segment) {
        let first = segment.name.first;
        // A segment that the disk does not read just now lies in between: it is held, and may be read again.
        let hidden = |name: &&super::format::SegmentName| {
            name.lane == segment.name.lane
                && name.epoch == segment.name.epoch
                && (self.end..first).contains(&name.first)
        };
        if let Some(name) = catalog.unreadable.iter().find(hidden) {
            self.held.insert_range(SeqRange { first: name.first, end: first });
            self.samples += segment.before.saturating_sub(self.end_spooled);
        }
        let mut at = segment.released.next_absent(first);
        while at < segment.next {
            let gone = segment.released.ranges().iter().find(|range| range.first >= at);
            let end = gone.map_or(segment.next, |range| range.first.min(segment.next));
            self.held.insert_range(SeqRange { first: at, end });
            at = segment.released.next_absent(end);
        }
        self.samples += segment.samples_held();
        (self.end, self.end_spooled) = (segment.next, segment.spooled_until());
        (self.next, self.spooled) = (self.next.max(self.end), self.spooled.max(self.end_spooled));
    }

    /// Takes the last segments if they cannot be read. Each goes up to the next one; how far the last one goes is not
    /// known, but that it is held.
    fn take_unreadable_from(&mut self, catalog: &Catalog, lane: Lane, epoch: Epoch) {
        let of_lane = catalog.unreadable.iter().filter(|name| name.lane == lane && name.epoch == epoch);
        let last: Vec<Seq> = of_lane.map(|name| name.first).filter(|first| *first >= self.end).collect();
        let (Some(first), Some(end)) = (last.first(), last.last()) else { return };
        self.held.insert_range(SeqRange { first: *first, end: end.next() });
        self.next = self.next.max(end.next());
    }

    fn held_lane(self, epoch: Epoch, lane: Lane) -> HeldLane {
        let Self { next, spooled, samples, held, .. } = self;
        let first = held.ranges().first().map_or(next, |range| range.first);
        let ends = held.ranges().iter().map(|range| range.end);
        let starts = held.ranges().iter().skip(1).map(|range| range.first).chain([next]);
        let between = ends.zip(starts).map(|(first, end)| SeqRange { first, end });
        // What is gone at the end stands strictly between first and next too, as long as something before it is held.
        let gone = between.filter(|range| range.first < range.end).collect();
        HeldLane { epoch, lane, first, next, samples, spooled: spooled.max(samples), gone }
    }
}
