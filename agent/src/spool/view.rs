//! What the spool holds, in numbers: for the Hello, for the sender, for health and metrics.

use std::collections::BTreeSet;

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
    writer::LaneWriter,
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
    /// Sums up what some spools hold, oldest epoch first.
    pub fn of<'a>(spools: impl IntoIterator<Item = &'a Spool>) -> Self {
        let spools: Vec<&Spool> = spools.into_iter().collect();
        let mut listed: Vec<(Epoch, Lane, &Spool)> = Vec::new();
        let current: Vec<_> = spools
            .iter()
            .flat_map(|spool| spool.current_lanes().map(|(epoch, lane)| (epoch, lane, *spool)))
            .collect();
        for spool in &spools {
            listed.extend(spool.earlier_lanes().map(|(epoch, lane)| (epoch, lane, *spool)));
        }
        listed.sort_by_key(|(epoch, lane, _)| (*epoch, *lane));
        listed.truncate(HELD_LANES_MAX.saturating_sub(current.len()));
        listed.extend(current);
        listed.sort_by_key(|(epoch, lane, _)| (*epoch, *lane));
        let mut held: Vec<HeldLane> = Vec::with_capacity(listed.len());
        let mut ranges_left = GONE_RANGES_MAX;
        for (epoch, lane, spool) in listed {
            let mut lane = spool.held_lane(epoch, lane);
            lane.gone.truncate(ranges_left);
            ranges_left -= lane.gone.len();
            held.push(lane);
        }
        let mut drained: Vec<DrainedLane> = spools.iter().flat_map(|spool| spool.drained()).collect();
        drained.sort_by_key(|lane| (lane.epoch, lane.lane));
        drained.drain(..drained.len().saturating_sub(DRAINED_LANES_MAX));
        Self { held, drained }
    }
}

impl Spool {
    /// Returns what is held, for Hello and heartbeats; see [`Holding::held`].
    pub fn held(&self) -> Vec<HeldLane> {
        Holding::of([self]).held
    }

    /// Returns the lanes of ended epochs of which nothing is held any more, as far back as the spool remembers.
    pub fn drained(&self) -> Vec<DrainedLane> {
        let catalog = self.site.shared.catalog();
        let ended = self.positions.iter().filter(|(epoch, lane, _)| {
            *epoch != self.site.epoch
                && catalog.of(*lane, *epoch).next().is_none()
                && !catalog.unreadable.iter().any(|name| name.epoch == *epoch && name.lane == *lane)
        });
        let lane_of = |(epoch, lane, position): (Epoch, Lane, super::drained::Position)| DrainedLane {
            epoch,
            lane,
            next: position.next,
            spooled: position.spooled,
        };
        ended.map(lane_of).collect()
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

    fn earlier_lanes(&self) -> impl Iterator<Item = (Epoch, Lane)> + use<> {
        let catalog = self.site.shared.catalog();
        let held = catalog.segments.values().filter(|segment| !segment.is_released());
        let names = held.map(|segment| segment.name).chain(catalog.unreadable.iter().copied());
        let lanes: BTreeSet<(Epoch, Lane)> = names.map(|name| (name.epoch, name.lane)).collect();
        let current = self.site.epoch;
        lanes.into_iter().filter(move |(epoch, _)| *epoch != current)
    }

    fn held_lane(&self, epoch: Epoch, lane: Lane) -> HeldLane {
        let catalog = self.site.shared.catalog();
        let mut tally = Tally::default();
        if epoch == self.site.epoch {
            let writer = &self.lanes[lane.index()];
            (tally.next, tally.spooled) = (writer.synced(), writer.synced_samples());
        }
        catalog.of(lane, epoch).for_each(|segment| tally.take(&catalog, segment));
        tally.take_unreadable_from(&catalog, lane, epoch);
        tally.held_lane(epoch, lane)
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

    /// Takes the last segment if it cannot be read: how far it goes is not known, but that it is held.
    fn take_unreadable_from(&mut self, catalog: &Catalog, lane: Lane, epoch: Epoch) {
        let of_lane = catalog.unreadable.iter().filter(|name| name.lane == lane && name.epoch == epoch);
        for name in of_lane.filter(|name| name.first >= self.end) {
            self.held.insert(name.first);
            self.next = self.next.max(name.first.next());
        }
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
