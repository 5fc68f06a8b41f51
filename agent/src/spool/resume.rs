//! Going on when the disk has failed: what can be saved at once, a spool in memory beside it, and the way back.
//!
//! ```text
//!              a write or sync fails                    a write and a sync succeed
//!   on disk ──────────────────────────► failed, read only ────────────────────────► on disk, under another epoch
//!               salvage: the last tokens        ▲               resume
//!                                               │
//!   open ───────────────────────────────────────┘ the disk refuses writes from the start: open_failed
//! ```
//!
//! Meanwhile a second spool, in memory, takes what comes; its limit is small, and what it has to evict is lost because
//! the disk failed, and recorded so.
//!
//! What was written and not synced when the disk failed is taken over by the one in memory under the numbers that it
//! has: the disk may have kept it after all, and then both copies are one batch to the gateway.

use std::{io, sync::Arc};

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    loss::Loss,
};

use super::{
    AppendError, Disk, Entry, LOCK_PATH, Medium, OpenError, Recovered, Span, Spool, SpoolConfig, SpoolFault,
    SpoolReader, Spooled, drained,
    marker::{self, Marker},
    memory_disk::MemoryDisk,
    recovery::{self, Recovery, Survey},
    writer::{LaneWriter, Site, Tail, WriteFailure},
};

/// What a probe writes: a few of the largest batches, so that a disk with room for a marker alone is not taken for mended.
const PROBE_BYTES: usize = 256 * 1024;

const PROBE_PATH: &str = "PROBE";

/// What is left when writing has ended by a fault.
#[derive(Debug)]
pub struct Salvage {
    /// The tokens of what was synced before.
    pub spooled: Vec<Spooled>,
    /// The epoch that ended.
    epoch: Epoch,
    /// Where what is synced of each lane ends.
    tails: [Tail; 3],
}

impl Salvage {
    /// Says whether a batch that was appended to the epoch that ended was not synced any more.
    pub fn lacks(&self, lane: Lane, seq: Seq) -> bool {
        seq >= self.tails[lane.index()].next
    }
}

impl Spool {
    /// Opens a spool whose disk refuses what [`Spool::open`] writes, for reading: its fault is latched, and
    /// [`Spool::resume`] may end that. Writes nothing. What cannot be read is left out and looked at again then.
    ///
    /// `why` is the error of [`Spool::open`]; one that is not of the disk is returned.
    pub fn open_failed(
        disk: Arc<dyn Disk>,
        config: SpoolConfig,
        random: u64,
        why: OpenError,
    ) -> Result<(Self, Recovered), OpenError> {
        let OpenError::Io { place, action, source } = why else { return Err(why) };
        let lock = match disk.lock(LOCK_PATH) {
            Ok(Some(lock)) => Some(lock),
            Ok(None) => return Err(OpenError::InUse { place }),
            Err(_) => None,
        };
        let survey = match recovery::survey(disk.as_ref(), &config.robot) {
            Err(OpenError::Io { .. }) => Survey::default(),
            surveyed => surveyed?,
        };
        let mut spool = Self::of(disk, config, random, Medium::Folder(lock), SpoolReader::default());
        spool.site.epoch.start = survey.start;
        let recovery = survey.look(&spool.site.shared);
        spool.latch(WriteFailure { action, source });
        spool.owed.clone_from(&recovery.losses);
        let spans = spool.spans();
        let recovered = spool.recovered(recovery, spans);
        Ok((spool, recovered))
    }

    /// Makes a spool in memory that is to take over from `failed`, whose reader it shares: see [`Spool::take_over`].
    pub fn in_memory(failed: &Self, limit_bytes: u64) -> Result<Self, OpenError> {
        let Site { robot, segment_bytes, .. } = &failed.site;
        let config = SpoolConfig { limit_bytes, segment_bytes: *segment_bytes, robot: robot.clone() };
        super::check_limit(&config)?;
        let disk = Arc::new(MemoryDisk::default());
        Ok(Self::of(disk, config, failed.next_random(), Medium::Memory, failed.reader.clone()))
    }

    /// Takes over what a spool that failed appended and did not sync, in the order in which it was appended, so that it
    /// has the same numbers; then begins an epoch after that one. Returns the tokens of what it took.
    ///
    /// The limit does not keep anything out: it was in memory before, too, and less than a sync lets wait.
    pub fn take_over<'a>(
        &mut self,
        salvage: &Salvage,
        unsynced: impl IntoIterator<Item = (Lane, &'a Entry)>,
    ) -> Result<Vec<Spooled>, AppendError> {
        let mut taken = self.end_epoch()?;
        self.site.epoch = salvage.epoch;
        self.lanes = Lane::ALL.map(|lane| LaneWriter::after(lane, salvage.tails[lane.index()]));
        for (lane, entry) in unsynced {
            self.put(lane, entry, u64::MAX)?;
        }
        taken.append(&mut self.end_epoch()?);
        self.begin(salvage.epoch.start).map_err(|failure| self.latch(failure))?;
        Ok(taken)
    }

    /// Seals what was written, and returns its tokens.
    pub(super) fn end_epoch(&mut self) -> Result<Vec<Spooled>, SpoolFault> {
        let spooled = self.sync()?;
        let Self { lanes, site, .. } = self;
        let sealed = lanes.iter_mut().try_for_each(|lane| lane.seal(site));
        sealed.map_err(|failure| self.latch(failure))?;
        Ok(spooled)
    }

    /// Makes a spool that has not begun an epoch, and adds it to what the reader shows.
    pub(super) fn of(
        disk: Arc<dyn Disk>,
        config: SpoolConfig,
        random: u64,
        medium: Medium,
        reader: SpoolReader,
    ) -> Self {
        let segment_bytes = config.segment_bytes.min(super::SEGMENT_BYTES_MAX).min(config.limit_bytes / 16);
        let positions = drained::read(disk.as_ref());
        let shared = reader.shelve(disk);
        let epoch = Epoch { start: 0, random };
        let durable = matches!(medium, Medium::Folder(_));
        let site = Site { shared, robot: config.robot, epoch, segment_bytes, durable };
        Self {
            site,
            limit_bytes: config.limit_bytes,
            lanes: Lane::ALL.map(LaneWriter::new),
            began: false,
            fault: None,
            positions,
            positions_unsaved: false,
            untold: Vec::new(),
            owed: Vec::new(),
            reader,
            medium,
        }
    }

    /// Begins an epoch above `above`: durable before its first seq.
    pub(super) fn begin(&mut self, above: u64) -> Result<(), WriteFailure> {
        let random = self.site.epoch.random;
        let epoch = match self.medium {
            Medium::Folder(_) => recovery::epoch_on_disk(above, random),
            Medium::Memory => recovery::epoch_in_memory(above, random),
        };
        let disk = self.site.shared.disk.as_ref();
        let start = || {
            Lane::ALL.into_iter().try_for_each(|lane| disk.make_folder(lane.as_str()))?;
            marker::write(disk, &Marker { start: epoch.start, robot: self.site.robot.clone() })
        };
        start().map_err(|source| WriteFailure { action: "count the start".to_owned(), source })?;
        self.site.epoch = epoch;
        self.lanes = Lane::ALL.map(LaneWriter::new);
        self.began = true;
        Ok(())
    }

    /// Cuts, syncs and seals every segment without a writer, removes those that are empty, and makes the folders
    /// durable: then everything that the spool shows is synced. The newest segment of a lane may have a seal that was
    /// written and not synced; the others were synced before the next one was begun.
    pub(super) fn mend(&mut self) -> Result<(), WriteFailure> {
        let shared = Arc::clone(&self.site.shared);
        let active: Vec<_> = self.lanes.iter().filter_map(LaneWriter::active).collect();
        let open: Vec<_> = {
            let catalog = shared.catalog();
            let open = catalog.segments.values().filter(|segment| catalog.may_be_unsynced(segment));
            open.map(|segment| (segment.name, segment.next == segment.name.first)).collect()
        };
        for (name, empty) in open.into_iter().filter(|(name, _)| !active.contains(name)) {
            let failed = |source| WriteFailure { action: format!("mend segment {}", name.path()), source };
            if empty {
                self.remove(&[name]).map(|_| ())?;
            } else {
                recovery::mend(&shared, name).map_err(failed)?;
            }
        }
        for lane in Lane::ALL {
            let failed = |source| WriteFailure { action: format!("sync folder {lane}"), source };
            shared.disk.sync_folder(lane.as_str()).map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the epoch after a fault, and returns what is left of it. What it held stays readable and releasable.
    pub fn salvage(&mut self) -> Salvage {
        let epoch = self.site.epoch;
        let Self { lanes, site, .. } = self;
        let spooled = lanes.iter_mut().flat_map(|lane| lane.take_spooled(site)).collect();
        let tails = Lane::ALL.map(|lane| self.lanes[lane.index()].tail());
        self.lanes.iter_mut().for_each(LaneWriter::abandon);
        Salvage { spooled, epoch, tails }
    }

    /// Goes on after a fault under a new epoch after `above`, if the disk takes and syncs a probe. Returns what was found
    /// that was not seen before.
    pub fn resume(&mut self, above: Epoch) -> Result<Recovered, SpoolFault> {
        let survey = self.try_disk().map_err(|failure| self.fault_of(&failure))?;
        let recovery = survey.look(&self.site.shared);
        let recovery = self.take_found(recovery);
        let start = above.start.max(survey.start).max(self.site.epoch.start);
        self.site.epoch.random = self.next_random();
        self.begin(start).map_err(|failure| self.latch(failure))?;
        self.fault = None;
        self.save_positions();
        let mut found = self.show_found(recovery)?;
        let epoch = self.site.epoch;
        found.spans.extend(self.spans().into_iter().filter(|span| span.epoch == epoch));
        self.tell_by_span();
        Ok(found)
    }

    /// Says whether the disk did not let segments be read when they were found.
    pub fn has_unreadable(&self) -> bool {
        !self.site.shared.catalog().unreadable.is_empty()
    }

    /// Looks again at segments that could not be read. Returns what is found in them; the tokens of the records of what
    /// damage took come with the next sync.
    pub fn look_again(&mut self) -> Result<Recovered, SpoolFault> {
        let site = &self.site;
        let Ok(survey) = recovery::survey(site.shared.disk.as_ref(), &site.robot) else {
            return Ok(Recovered::default());
        };
        let recovery = survey.look(&site.shared);
        let recovery = self.take_found(recovery);
        self.show_found(recovery)
    }

    /// Takes what was found: it is owed to the caller, also if the disk fails again before all is done.
    fn take_found(&mut self, mut recovery: Recovery) -> Recovery {
        self.owed.append(&mut recovery.losses);
        self.untold.append(&mut recovery.found);
        recovery
    }

    /// Records what damage took of what was found, makes the rest durable, and returns it.
    fn show_found(&mut self, mut recovery: Recovery) -> Result<Recovered, SpoolFault> {
        recovery.losses = self.settle().map_err(|failure| self.latch(failure))?;
        let untold = std::mem::take(&mut self.untold);
        let mut spans = self.spans();
        spans.retain(|span| untold.contains(&span.segment));
        Ok(self.recovered(recovery, spans))
    }

    /// Returns the damage that opening or resuming found and no spool has recorded yet. Whoever takes it records it.
    pub fn take_owed(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.owed)
    }

    /// Forgets the tokens of the loss records with which an epoch begins: they are told by their span, like all that was
    /// found.
    pub(super) fn tell_by_span(&mut self) {
        self.lanes[Lane::Urgent.index()].take_spooled(&self.site);
    }

    /// Records the losses that are owed, then mends, and returns them.
    pub(super) fn settle(&mut self) -> Result<Vec<Loss>, WriteFailure> {
        let owed = self.owed.clone();
        for loss in &owed {
            self.write_loss(loss)?;
        }
        self.lanes[Lane::Urgent.index()].sync(&self.site)?;
        self.owed.clear();
        self.mend()?;
        Ok(owed)
    }

    pub(super) fn recovered(&self, recovery: Recovery, spans: Vec<Span>) -> Recovered {
        let Recovery { losses, torn_bytes, unreadable, .. } = recovery;
        Recovered { spans, samples: self.samples_held(), losses, torn_bytes, unreadable }
    }

    /// Ends a spool in memory of which nothing is held any more; `on_disk` remembers how far its lanes came.
    pub fn retire(mut self, on_disk: &mut Self) {
        debug_assert!(self.is_drained(), "only what is delivered or told as lost may be forgotten");
        // A disk in memory refuses nothing.
        let _ = self.drop_released();
        on_disk.adopt_positions(&self.positions);
        self.reader.unshelve(&self.site.shared);
    }

    /// Looks whether the disk takes writes, and what is on it.
    fn try_disk(&mut self) -> Result<Survey, WriteFailure> {
        let Self { site, medium, .. } = self;
        let disk = site.shared.disk.as_ref();
        let failed = |action: &str| {
            let action = action.to_owned();
            move |source: io::Error| WriteFailure { action, source }
        };
        let Medium::Folder(lock) = medium else { return Ok(Survey::default()) };
        disk.make_folder("").map_err(failed("make the folder"))?;
        if lock.is_none() {
            let taken = disk.lock(LOCK_PATH).map_err(failed("lock the folder"))?;
            let in_use = || failed("lock the folder")(io::Error::other("another agent has it"));
            *lock = Some(taken.ok_or_else(in_use)?);
        }
        probe(disk).map_err(failed("write a probe"))?;
        recovery::survey(disk, &site.robot)
            .map_err(|error| failed("look at the folder")(io::Error::other(error.to_string())))
    }

    fn next_random(&self) -> u64 {
        // Each open draws 64 random bits; the epochs that follow within one run are mixed from them (SplitMix64).
        let mut mixed = self.site.epoch.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Writes, syncs and removes a file.
fn probe(disk: &dyn Disk) -> io::Result<()> {
    remove_probe(disk)?;
    let file = disk.create(PROBE_PATH)?;
    let written = file.append(&vec![0; PROBE_BYTES]).and_then(|()| file.sync_data());
    disk.remove(PROBE_PATH)?;
    written
}

/// Removes what a probe left that did not come to its end.
pub(super) fn remove_probe(disk: &dyn Disk) -> io::Result<()> {
    if disk.list("")?.iter().any(|name| name == PROBE_PATH) { disk.remove(PROBE_PATH) } else { Ok(()) }
}
