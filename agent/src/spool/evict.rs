//! The two rights to remove: released by an acknowledgement, or lost with a synced record of it.

use std::{collections::BTreeSet, sync::Arc};

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    loss::{Loss, LossReason},
    message::{NumberedHead, SeqRange},
    session::sender::Released,
};

use super::{
    MakeRoomError, Spool, SpoolFault,
    drained::{self, Positions},
    format::SegmentName,
    index::{Index, IndexEntry, Standing},
    losses::{fold, losses_of},
    segment::{Segment, SegmentId, read_entry},
    token::{Evicted, Gone},
    writer::{Tail, WriteFailure},
};

/// Loss records and the seals of segments may use this part of the limit beyond what batches may.
const RESERVE_DIVISOR: u64 = 16;

/// What is to be given up, and how it will be told.
pub struct WriteOff {
    gone: Gone,
    losses: Vec<Loss>,
}

/// The loss records of a [`WriteOff`] are synced, in whichever spool.
pub struct WrittenOff(WriteOff);

impl Spool {
    /// Evicts whole segments until `bytes` fit for `lane`: the oldest of bulk, then live, then urgent, but only from
    /// lanes that hold more than their share. What was not acknowledged of them is recorded as lost, and that record
    /// is synced, before anything is removed. Its token comes from the next [`Spool::sync`].
    pub fn make_room(&mut self, lane: Lane, bytes: u64) -> Result<Vec<Evicted>, MakeRoomError> {
        self.check_fault()?;
        let mut evicted = Vec::new();
        while self.free_bytes() < bytes {
            let victim = self.pick_victim(lane, bytes).ok_or(MakeRoomError::Unsynced)?;
            self.end_active(victim)?;
            let write_off = self.write_off_segment(victim, self.medium.evicts_as());
            let written_off = self.record(write_off)?;
            evicted.push(self.forget(written_off)?);
        }
        Ok(evicted)
    }

    /// Gives one accepted record up: damaged ([`ReadError::Corrupt`](super::ReadError::Corrupt)), or refused by the
    /// gateway for good. Returns `None` if it is not held any more. If the disk refuses to read even the index of its
    /// segment, the whole segment is given up, as the token then says.
    pub fn report_lost(
        &mut self,
        head: NumberedHead,
        reason: LossReason,
    ) -> Result<Option<Evicted>, SpoolFault> {
        self.check_fault()?;
        let Some(write_off) = self.write_off(head, reason) else { return Ok(None) };
        let written_off = self.record(write_off)?;
        self.forget(written_off).map(Some)
    }

    /// Works out what is lost if one accepted record is given up; `None` if it is not held. Changes nothing: the loss
    /// goes to [`Spool::record`] of the spool that takes records, and then to [`Spool::forget`] of this one.
    pub fn write_off(&self, head: NumberedHead, reason: LossReason) -> Option<WriteOff> {
        let NumberedHead { lane, epoch, seq } = head;
        let shared = &self.site.shared;
        let (name, segment) = shared.catalog().find(lane, epoch, seq).map(|found| (found.name, found.id))?;
        let entry = match shared.locate(head) {
            Ok(found) => found?.entry,
            // Which records the segment holds cannot be read either: all of it goes, counted by its sum.
            Err(_) => return Some(self.write_off_segment(name, reason)),
        };
        let range = SeqRange { first: seq, end: seq.next() };
        let gone = Gone { lane, epoch, range, samples: u64::from(entry.samples), segment };
        let losses = losses_of(lane, epoch, &[(seq, entry)], reason);
        Some(WriteOff { gone, losses })
    }

    /// Works out what is lost if everything that is held is given up.
    pub fn write_off_all(&self, reason: LossReason) -> Vec<WriteOff> {
        let names: Vec<SegmentName> = {
            let catalog = self.site.shared.catalog();
            let held = catalog.segments.values().filter(|segment| !segment.is_released());
            held.map(|segment| segment.name).collect()
        };
        names.into_iter().map(|name| self.write_off_segment(name, reason)).collect()
    }

    /// Writes the loss records of what is to be given up here or in another spool, and syncs them.
    pub fn record(&mut self, write_off: WriteOff) -> Result<WrittenOff, SpoolFault> {
        self.check_fault()?;
        let written = write_off.losses.iter().try_for_each(|loss| self.write_loss(loss).map(|_| ()));
        let synced = written.and_then(|()| self.lanes[Lane::Urgent.index()].sync(&self.site));
        synced.map_err(|failure| self.latch(failure))?;
        Ok(WrittenOff(write_off))
    }

    /// Forgets what is given up, now that its loss is recorded. On a disk that failed, files may stay.
    #[expect(clippy::needless_pass_by_value, reason = "what is written off is forgotten once")]
    pub fn forget(&mut self, written_off: WrittenOff) -> Result<Evicted, SpoolFault> {
        let WrittenOff(WriteOff { gone, .. }) = written_off;
        let had_failed = self.is_failed();
        match self.release_ranges(gone.lane, gone.epoch, &[gone.range]) {
            Err(fault) if !had_failed => Err(fault),
            _ => Ok(Evicted::mint(gone)),
        }
    }

    /// Gives up for now what is given up while this spool's disk fails: its loss is recorded in memory alone, so what the
    /// disk has of it stays, to be told again if that record does not arrive.
    #[expect(clippy::needless_pass_by_value, reason = "what is written off is given up once")]
    pub fn set_aside(&self, written_off: WrittenOff) -> Evicted {
        let WrittenOff(WriteOff { gone, .. }) = written_off;
        Evicted::mint(gone)
    }

    /// Marks what the gateway has acknowledged, and removes each segment of which nothing else is left.
    ///
    /// Marks live in memory: after a restart the gateway's Welcome says again what it has.
    pub fn release(&mut self, released: &Released) -> Result<Vec<SegmentId>, SpoolFault> {
        self.release_ranges(released.lane(), released.epoch(), released.ranges())
    }

    /// Releases what earned it: by an acknowledgement, or because a loss record lists it.
    pub(super) fn release_ranges(
        &mut self,
        lane: Lane,
        epoch: Epoch,
        ranges: &[SeqRange],
    ) -> Result<Vec<SegmentId>, SpoolFault> {
        let named = |segment: &Segment| {
            let within = |range: &SeqRange| range.first < segment.next && segment.name.first < range.end;
            ranges.iter().any(within).then_some(segment.name)
        };
        let names: Vec<SegmentName> = self.site.shared.catalog().of(lane, epoch).filter_map(named).collect();
        for name in names {
            self.mark(name, ranges);
        }
        self.sweep_released().map_err(|failure| self.latch(failure))
    }

    /// Removes active segments too, if all of them is released: an idle robot's spool becomes empty. To be called when
    /// nothing was recorded for some seconds, and when room is short.
    pub fn drop_released(&mut self) -> Result<Vec<SegmentId>, SpoolFault> {
        self.save_positions();
        self.sweep(Sweep::Everything).map_err(|failure| self.latch(failure))
    }

    /// Returns the bytes that batches may still take.
    pub(super) fn free_bytes(&self) -> u64 {
        self.batch_bytes_max().saturating_sub(self.used_bytes())
    }

    /// Removes sealed segments of which all is released. Active ones stay: their lane goes on in them, and a robot that
    /// is always connected would otherwise make and remove a file for each batch.
    pub(super) fn sweep_released(&mut self) -> Result<Vec<SegmentId>, WriteFailure> {
        self.sweep(Sweep::Sealed)
    }

    fn batch_bytes_max(&self) -> u64 {
        self.limit_bytes - self.limit_bytes / RESERVE_DIVISOR
    }

    /// What a lane may hold without having to give back when the limit is reached.
    fn share_bytes(&self, lane: Lane) -> u64 {
        match lane {
            Lane::Urgent | Lane::Bulk => self.batch_bytes_max() / 4,
            Lane::Live => self.batch_bytes_max() / 2,
        }
    }

    fn mark(&mut self, name: SegmentName, ranges: &[SeqRange]) {
        let shared = &self.site.shared;
        let fresh: Vec<Seq> = {
            let mut catalog = shared.catalog();
            let Some(segment) = catalog.segments.get_mut(&name) else { return };
            let mut fresh = Vec::new();
            for range in ranges {
                let (first, end) = (range.first.max(name.first), range.end.min(segment.next));
                fresh.extend((first.0..end.0).map(Seq).filter(|seq| !segment.released.contains(*seq)));
                segment.released.insert_range(SeqRange { first, end });
            }
            if segment.is_released() {
                segment.released_samples = segment.samples;
                return;
            }
            fresh
        };
        if fresh.is_empty() {
            return;
        }
        // A segment that cannot be read shows its samples as held until it is released whole.
        let Ok(loaded) = shared.loaded(name) else { return };
        let samples = fresh
            .iter()
            .filter_map(|seq| loaded.index.entry(*seq))
            .map(|entry| u64::from(entry.samples))
            .sum::<u64>();
        if let Some(segment) = shared.catalog().segments.get_mut(&name) {
            segment.released_samples += samples;
        }
    }

    fn sweep(&mut self, sweep: Sweep) -> Result<Vec<SegmentId>, WriteFailure> {
        let active: Vec<(SegmentName, bool)> = self
            .lanes
            .iter()
            .filter_map(|lane| lane.active().map(|name| (name, lane.is_dirty() || sweep == Sweep::Sealed)))
            .collect();
        let kept = |name: SegmentName| active.iter().any(|(active, keep)| *active == name && *keep);
        let done: Vec<SegmentName> = {
            let catalog = self.site.shared.catalog();
            let released =
                catalog.segments.values().filter(|segment| segment.is_released() && !kept(segment.name));
            released.map(|segment| segment.name).collect()
        };
        for (name, _) in active.iter().filter(|(name, _)| done.contains(name)) {
            self.lanes[name.lane.index()].drop_active();
        }
        self.remove(&done)
    }

    /// Removes files and makes that durable.
    pub(super) fn remove(&mut self, names: &[SegmentName]) -> Result<Vec<SegmentId>, WriteFailure> {
        self.note_positions(names);
        let shared = &self.site.shared;
        let mut removed = Vec::new();
        for name in names {
            let failed = |source| WriteFailure { action: format!("remove segment {}", name.path()), source };
            shared.disk.remove(&name.path()).map_err(failed)?;
            removed.extend(shared.catalog().remove(*name).map(|segment| segment.id));
        }
        for lane in Lane::ALL.into_iter().filter(|lane| names.iter().any(|name| name.lane == *lane)) {
            let failed = |source| WriteFailure { action: format!("sync folder {lane}"), source };
            shared.disk.sync_folder(lane.as_str()).map_err(failed)?;
        }
        self.save_positions();
        Ok(removed)
    }

    /// Takes over how far the lanes of a spool came that ends.
    pub(super) fn adopt_positions(&mut self, positions: &Positions) {
        for (epoch, lane, position) in positions.iter() {
            self.positions_unsaved |= self.positions.note(epoch, lane, position);
        }
        self.save_positions();
    }

    /// Notes how far the lanes came whose newest segments are about to go: no other segment tells it. The newest often go
    /// first, so once for each lane is enough. A disk that is full takes it once something is removed.
    fn note_positions(&mut self, going: &[SegmentName]) {
        let lanes: BTreeSet<(Epoch, Lane)> = going.iter().map(|name| (name.epoch, name.lane)).collect();
        let mut news = false;
        let shared = Arc::clone(&self.site.shared);
        let catalog = shared.catalog();
        for (epoch, lane) in lanes {
            // One without a synced record tells nothing: a power cut may leave not even its header.
            let newest = catalog.of(lane, epoch).rfind(|segment| segment.name.first < segment.next);
            let Some(newest) = newest.filter(|newest| going.contains(&newest.name)) else { continue };
            let position = Tail { next: newest.next, spooled: newest.spooled_until() };
            news |= self.positions.note(epoch, lane, position);
        }
        drop(catalog);
        self.positions_unsaved |= news;
        self.save_positions();
    }

    /// Writes what is known of drained lanes, if the file does not say it yet.
    pub(super) fn save_positions(&mut self) {
        if !self.positions_unsaved {
            return;
        }
        match drained::write(self.site.shared.disk.as_ref(), &self.positions) {
            Ok(()) => self.positions_unsaved = false,
            Err(error) => tracing::debug!("the spool cannot note yet which lanes are drained: {error}"),
        }
    }

    fn pick_victim(&self, asking: Lane, bytes: u64) -> Option<SegmentName> {
        let catalog = self.site.shared.catalog();
        let used = catalog.lane_bytes();
        let over_share = |lane: &Lane| {
            let wanted = if *lane == asking { bytes } else { 0 };
            used[lane.index()] + wanted > self.share_bytes(*lane)
        };
        let oldest = |lane: Lane| {
            let segment = catalog.segments.values().find(|segment| segment.lane() == lane)?;
            (!self.lanes[lane.index()].owes_tokens(segment.id)).then_some(segment.name)
        };
        [Lane::Bulk, Lane::Live, Lane::Urgent].into_iter().filter(over_share).find_map(oldest)
    }

    /// Seals the segment if it is active: its loss record must not be written into what is about to be removed.
    fn end_active(&mut self, name: SegmentName) -> Result<(), SpoolFault> {
        let writer = &mut self.lanes[name.lane.index()];
        if writer.active() == Some(name) {
            writer.seal(&self.site).map_err(|failure| self.latch(failure))?;
        }
        Ok(())
    }

    /// Works out what is lost with a segment: its batches, and what loss records in it say of others.
    fn write_off_segment(&self, name: SegmentName, reason: LossReason) -> WriteOff {
        let shared = &self.site.shared;
        let loaded = shared.loaded(name).ok();
        let catalog = shared.catalog();
        let segment = &catalog.segments[&name];
        let lost = match &loaded {
            Some(loaded) => held_of(segment, &loaded.index),
            None => summed(segment),
        };
        let SegmentName { lane, epoch, first } = name;
        let samples = lost.iter().map(|(_, entry)| u64::from(entry.samples)).sum();
        let gone =
            Gone { lane, epoch, range: SeqRange { first, end: segment.next }, samples, segment: segment.id };
        // Beyond half a segment of nothing but losses, carrying each of them on would free nothing.
        let exact_bytes_max = usize::try_from(self.site.segment_bytes / 2).unwrap_or(usize::MAX);
        drop(catalog);
        let mut losses = losses_of(lane, epoch, &lost, reason);
        let told =
            lost.iter().filter(|(_, entry)| entry.standing == Standing::Loss).filter_map(|(seq, entry)| {
                let (_, payload) = read_entry(loaded.as_ref()?.file.as_ref(), name, *seq, entry).ok()??;
                postcard::from_bytes::<Loss>(&payload).ok()
            });
        losses.extend(fold(told.collect(), exact_bytes_max));
        WriteOff { gone, losses }
    }
}

/// Returns what a segment holds.
fn held_of(segment: &Segment, index: &Index) -> Vec<(Seq, IndexEntry)> {
    let held = |seq: Seq| seq < segment.next && !segment.released.contains(seq);
    index.seqs().filter(|(seq, _)| held(*seq)).map(|(seq, entry)| (seq, *entry)).collect()
}

/// Returns what a segment holds whose index the disk refuses to read: only the sum of the samples is known, and is put on
/// the first seq.
fn summed(segment: &Segment) -> Vec<(Seq, IndexEntry)> {
    let all = (segment.name.first.0..segment.next.0).map(Seq);
    let held = all.filter(|seq| !segment.released.contains(*seq));
    let samples = u32::try_from(segment.samples_held()).unwrap_or(u32::MAX);
    held.zip(std::iter::once(samples).chain(std::iter::repeat(0)))
        .map(|(seq, samples)| (seq, IndexEntry::lost(samples)))
        .collect()
}

/// Which released segments to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sweep {
    /// Those that are sealed.
    Sealed,
    /// Active ones too.
    Everything,
}
