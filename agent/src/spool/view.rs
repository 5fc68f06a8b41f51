//! What the spool holds, in numbers: for the Hello, for the sender, for health and metrics.

use std::collections::BTreeSet;

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    limits::HELD_LANES_MAX,
    message::HeldLane,
};

use super::{
    Spool,
    catalog::Catalog,
    segment::{Segment, SegmentId},
    writer::LaneWriter,
};

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

impl Spool {
    /// Returns what is held, for Hello and heartbeats: the current epoch's lanes always, and of earlier epochs the oldest
    /// that fit into a Hello. Those in between wait until the oldest have drained.
    pub fn held(&self) -> Vec<HeldLane> {
        let catalog = self.site.shared.catalog();
        listed(&catalog, self.site.epoch)
            .into_iter()
            .map(|(epoch, lane)| self.held_lane(&catalog, epoch, lane))
            .collect()
    }

    /// Returns the spans of what [`Spool::held`] lists, oldest epoch first, and in order within a lane.
    pub fn spans(&self) -> Vec<Span> {
        let catalog = self.site.shared.catalog();
        let listed = listed(&catalog, self.site.epoch);
        let held = listed.iter().flat_map(|(epoch, lane)| catalog.of(*lane, *epoch));
        held.filter(|segment| !segment.is_released())
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

    fn held_lane(&self, catalog: &Catalog, epoch: Epoch, lane: Lane) -> HeldLane {
        let mut next = if epoch == self.site.epoch { self.lanes[lane.index()].synced() } else { Seq::FIRST };
        let (mut first, mut samples) = (None, 0);
        for segment in catalog.of(lane, epoch) {
            let gap = segment.released.next_absent(segment.name.first);
            first = first.or((gap < segment.next).then_some(gap));
            next = next.max(segment.next);
            samples += segment.samples_held();
        }
        HeldLane {
            epoch,
            lane,
            first: first.unwrap_or(next),
            next,
            samples,
            spooled: samples,
            gone: Vec::new(),
        }
    }
}

fn listed(catalog: &Catalog, current: Epoch) -> Vec<(Epoch, Lane)> {
    let held = catalog.segments.values().filter(|segment| !segment.is_released());
    let earlier: BTreeSet<(Epoch, Lane)> = held
        .map(|segment| (segment.name.epoch, segment.name.lane))
        .filter(|(epoch, _)| *epoch != current)
        .collect();
    let newest = Lane::ALL.map(|lane| (current, lane));
    earlier.into_iter().take(HELD_LANES_MAX - newest.len()).chain(newest).collect()
}
