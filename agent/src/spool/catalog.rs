//! What the spool's writer and its readers share: the summary of each segment, and the indexes of a few.
//!
//! The lock is held for look-ups only, never across a read or a sync of the disk, so a reader goes on while the
//! writer waits for the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    message::NumberedHead,
    time::WallTime,
};

use super::{
    disk::{Disk, DiskFile},
    format::SegmentName,
    index::{Index, IndexEntry},
    segment::{Loaded, Segment, SegmentId},
};

/// Most sealed segments whose index and open file are kept. An index takes at most about 80 KiB.
const LOADED_MAX: usize = 8;

/// Disk and catalog, shared by writer and readers.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    catalog: Mutex<Catalog>,
    /// The last id given to a segment, by any spool of this agent.
    last_id: Arc<AtomicU64>,
}

/// All segments, ordered by lane, epoch and first seq.
#[derive(Default)]
pub(super) struct Catalog {
    pub(super) segments: BTreeMap<SegmentName, Segment>,
    /// Segments of which the disk does not even read the ends. They count as held, and are tried again at the next open.
    pub(super) unreadable: BTreeSet<SegmentName>,
    lane_bytes: [u64; 3],
    /// The most recently used one last.
    loaded: Vec<(SegmentName, Arc<Loaded>)>,
}

/// Where one seq stands.
pub(super) struct Located {
    pub(super) name: SegmentName,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) entry: IndexEntry,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, last_id: Arc<AtomicU64>) -> Self {
        Self { disk, catalog: Mutex::new(Catalog::default()), last_id }
    }

    pub(super) fn next_id(&self) -> SegmentId {
        SegmentId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Nothing that runs under this lock can panic half-way through a change, so a poisoned one is still right.
    pub(super) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a seq that is held and synced; `None` if it is not, or no longer.
    pub(super) fn locate(&self, head: NumberedHead) -> io::Result<Option<Located>> {
        let NumberedHead { lane, epoch, seq } = head;
        let name = {
            let catalog = self.catalog();
            let Some(segment) = catalog.find(lane, epoch, seq) else { return Ok(None) };
            if segment.released.contains(seq) {
                return Ok(None);
            }
            if let Some(live) = &segment.live {
                return Ok(located(segment.name, &live.file, &live.index, seq));
            }
            segment.name
        };
        match self.load(name) {
            Ok(loaded) => Ok(located(name, &loaded.file, &loaded.index, seq)),
            Err(_) if !self.catalog().segments.contains_key(&name) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the index of a sealed segment, from memory or from its file.
    pub(super) fn load(&self, name: SegmentName) -> io::Result<Arc<Loaded>> {
        if let Some(loaded) = self.catalog().used(name) {
            return Ok(loaded);
        }
        let loaded = Arc::new(Loaded::open(self.disk.as_ref(), name)?);
        self.catalog().keep(name, Arc::clone(&loaded));
        Ok(loaded)
    }

    /// Returns file and index of any segment, as far as it is synced.
    pub(super) fn loaded(&self, name: SegmentName) -> io::Result<Arc<Loaded>> {
        let live = self.catalog().segments.get(&name).and_then(|segment| segment.live.clone());
        match live {
            Some(live) => Ok(Arc::new(live)),
            None => self.load(name),
        }
    }
}

impl Catalog {
    pub(super) fn insert(&mut self, segment: Segment) {
        self.lane_bytes[segment.lane().index()] += segment.file_bytes;
        self.segments.insert(segment.name, segment);
    }

    pub(super) fn remove(&mut self, name: SegmentName) -> Option<Segment> {
        self.loaded.retain(|(kept, _)| *kept != name);
        let segment = self.segments.remove(&name)?;
        self.lane_bytes[name.lane.index()] -= segment.file_bytes;
        Some(segment)
    }

    /// Counts bytes that were appended to a segment.
    pub(super) fn grew(&mut self, name: SegmentName, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&name) {
            segment.file_bytes += bytes;
            self.lane_bytes[name.lane.index()] += bytes;
        }
    }

    /// Notes that a segment is sealed, and how long it is now.
    pub(super) fn sealed(&mut self, name: SegmentName, file_bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&name) {
            let lane_bytes = &mut self.lane_bytes[name.lane.index()];
            *lane_bytes = *lane_bytes - segment.file_bytes + file_bytes;
            segment.file_bytes = file_bytes;
            segment.live = None;
        }
    }

    pub(super) fn lane_bytes(&self) -> [u64; 3] {
        self.lane_bytes
    }

    /// Returns the earliest time in what is held; see [`SpoolReader::oldest`](super::SpoolReader::oldest).
    pub(super) fn oldest(&self) -> Option<WallTime> {
        let held = self.segments.values().filter(|segment| !segment.is_released());
        held.filter_map(Segment::oldest).min()
    }

    pub(super) fn find(&self, lane: Lane, epoch: Epoch, seq: Seq) -> Option<&Segment> {
        let (_, segment) = self.segments.range(..=SegmentName { lane, epoch, first: seq }).next_back()?;
        let holds = segment.name.lane == lane && segment.name.epoch == epoch && seq < segment.next;
        holds.then_some(segment)
    }

    /// Returns the segments of a lane of an epoch, oldest first.
    pub(super) fn of(&self, lane: Lane, epoch: Epoch) -> impl DoubleEndedIterator<Item = &Segment> {
        let bound = |seq| SegmentName { lane, epoch, first: Seq(seq) };
        self.segments.range(bound(0)..=bound(u64::MAX)).map(|(_, segment)| segment)
    }

    /// Says whether what a segment shows may not be synced, if nobody writes it.
    pub(super) fn may_be_unsynced(&self, segment: &Segment) -> bool {
        let newest = self.of(segment.name.lane, segment.name.epoch).next_back();
        segment.live.is_some() || newest.is_some_and(|newest| newest.name == segment.name)
    }

    fn used(&mut self, name: SegmentName) -> Option<Arc<Loaded>> {
        let position = self.loaded.iter().position(|(kept, _)| *kept == name)?;
        let kept = self.loaded.remove(position);
        let loaded = Arc::clone(&kept.1);
        self.loaded.push(kept);
        Some(loaded)
    }

    fn keep(&mut self, name: SegmentName, loaded: Arc<Loaded>) {
        if !self.segments.contains_key(&name) || self.used(name).is_some() {
            return;
        }
        if self.loaded.len() >= LOADED_MAX {
            self.loaded.remove(0);
        }
        self.loaded.push((name, loaded));
    }
}

fn located(name: SegmentName, file: &Arc<dyn DiskFile>, index: &Index, seq: Seq) -> Option<Located> {
    let entry = *index.entry(seq)?;
    Some(Located { name, file: Arc::clone(file), entry })
}
