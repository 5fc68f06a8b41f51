//! The spools of a recorder: the one on the disk, and beside it one in memory for as long as the disk fails and until
//! what it took is delivered.
//!
//! ```text
//!                     disk       memory
//!   normally          current    -
//!   the disk fails    drains     current      fail_over: what was written and not synced moves over
//!   it works again    current    drains       try_resume
//! ```
//!
//! What is written goes to the current one; what is acknowledged or given up is found in whichever holds it.

use std::error::Error;

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    loss::LossReason,
    message::NumberedHead,
    session::sender::Released,
};

use crate::spool::{
    AppendError, Entry, Holding, MakeRoomError, Recovered, Salvage, Span, Spool, SpoolFault, Spooled,
};

use super::RecorderEvent;

/// How often room is made for one batch. Making room changes what a batch needs, so once may not be enough.
const MAKE_ROOM_TRIES: u32 = 4;

/// Most records that are given up anew once the disk works; the others are after the next start.
const SET_ASIDE_MAX: usize = 1024;

/// See the module.
pub(super) struct Spools {
    disk: Spool,
    memory: Option<Spool>,
    memory_bytes: u64,
    /// What was appended to the current spool and not synced, to be written elsewhere if the sync fails.
    unsynced: Vec<Written>,
    /// Given up while the disk failed: recorded in memory alone, and to be recorded on the disk once it works.
    set_aside: Vec<(NumberedHead, LossReason)>,
    events: Vec<RecorderEvent>,
}

/// What was appended.
struct Written {
    lane: Lane,
    seq: Seq,
    entry: Entry,
}

impl Spools {
    /// Takes the spool on the disk; if it has failed already, [`Spools::fail_over`] is due.
    pub(super) fn new(disk: Spool, memory_bytes: u64) -> Self {
        let (unsynced, set_aside, events) = (Vec::new(), Vec::new(), Vec::new());
        Self { disk, memory: None, memory_bytes, unsynced, set_aside, events }
    }

    /// Returns what happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<RecorderEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns the failure of the disk, if it has failed.
    pub(super) fn fault(&self) -> Option<&SpoolFault> {
        self.disk.fault()
    }

    /// Says whether something is in memory alone, so that nobody can be told that all before is on the disk.
    pub(super) fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn epoch(&self) -> Epoch {
        match &self.memory {
            Some(memory) if self.disk.is_failed() => memory.epoch(),
            _ => self.disk.epoch(),
        }
    }

    pub(super) fn holding(&self) -> Holding {
        Holding::of(std::iter::once(&self.disk).chain(&self.memory))
    }

    /// Appends to the current spool.
    pub(super) fn append(&mut self, lane: Lane, entry: &Entry) -> Result<(), AppendError> {
        let seq = self.current().append(lane, entry)?;
        self.unsynced.push(Written { lane, seq, entry: entry.clone() });
        Ok(())
    }

    /// Appends, giving back what is released but still takes room if that is what it takes.
    pub(super) fn append_after_drop(&mut self, lane: Lane, entry: &Entry) -> Result<(), AppendError> {
        let result = self.append(lane, entry);
        if !matches!(result, Err(AppendError::Full { .. })) {
            return result;
        }
        self.current().drop_released()?;
        self.append(lane, entry)
    }

    /// Appends, evicting the oldest data if that is what it takes.
    pub(super) fn force(&mut self, lane: Lane, entry: &Entry) -> Result<(), AppendError> {
        let mut result = self.append_after_drop(lane, entry);
        for _ in 0..MAKE_ROOM_TRIES {
            let Err(AppendError::Full { needed_bytes, .. }) = result else { break };
            match self.current().make_room(lane, needed_bytes) {
                Ok(evicted) => self.events.push(RecorderEvent::Evicted(evicted)),
                Err(MakeRoomError::Unsynced) => self.sync()?,
                Err(MakeRoomError::Fault(fault)) => return Err(fault.into()),
            }
            result = self.append(lane, entry);
        }
        result
    }

    /// Syncs what was appended; only then tells its tokens.
    pub(super) fn sync(&mut self) -> Result<(), SpoolFault> {
        let spooled = self.current().sync()?;
        self.unsynced.clear();
        self.tell(spooled);
        Ok(())
    }

    /// Syncs the urgent lane.
    pub(super) fn sync_urgent(&mut self) -> Result<(), SpoolFault> {
        let spooled = self.current().sync_lane(Lane::Urgent)?;
        self.unsynced.retain(|written| written.lane != Lane::Urgent);
        self.tell(spooled);
        Ok(())
    }

    /// Lets go of what was acknowledged. Returns a fault that was not there before.
    pub(super) fn release(&mut self, released: &Released) -> Result<(), SpoolFault> {
        let had_failed = self.disk.is_failed();
        if let Some(memory) = &mut self.memory {
            memory.release(released)?;
        }
        let done = self.disk.release(released);
        self.retire_memory();
        if had_failed { Ok(()) } else { done.map(|_| ()) }
    }

    /// Gives up one record, wherever it is held, once its loss is recorded in the current spool.
    pub(super) fn give_up(&mut self, head: NumberedHead, reason: LossReason) -> Result<(), SpoolFault> {
        let from_disk = self.disk.write_off(head, reason);
        let is_on_disk = from_disk.is_some();
        let found = from_disk.or_else(|| self.memory.as_ref()?.write_off(head, reason));
        let Some(write_off) = found else { return Ok(()) };
        let written_off = self.current().record(write_off)?;
        let evicted = match &mut self.memory {
            _ if is_on_disk && self.disk.is_failed() => {
                if self.set_aside.len() < SET_ASIDE_MAX {
                    self.set_aside.push((head, reason));
                }
                self.disk.set_aside(written_off)
            }
            Some(memory) if !is_on_disk => memory.forget(written_off)?,
            _ => self.disk.forget(written_off)?,
        };
        self.events.push(RecorderEvent::Evicted(vec![evicted]));
        self.retire_memory();
        Ok(())
    }

    /// Gives back the room of what is released.
    pub(super) fn drop_released(&mut self) -> Result<(), SpoolFault> {
        if let Some(memory) = &mut self.memory {
            memory.drop_released()?;
        }
        let had_failed = self.disk.is_failed();
        let done = self.disk.drop_released();
        if had_failed { Ok(()) } else { done.map(|_| ()) }
    }

    /// Goes on in memory after the disk failed, with what was written and not synced.
    pub(super) fn fail_over(&mut self) {
        let mut salvage = self.disk.salvage();
        self.tell(std::mem::take(&mut salvage.spooled));
        let mut unsynced = std::mem::take(&mut self.unsynced);
        unsynced.retain(|written| salvage.lacks(written.lane, written.seq));
        match self.take_over(&salvage, &unsynced) {
            Ok(taken) => self.tell(taken),
            Err(error) => tracing::error!("cannot go on in memory: {error}"),
        }
        for loss in self.disk.take_owed() {
            if let Err(error) = self.force(Lane::Urgent, &Entry::Loss(loss)) {
                tracing::error!("cannot keep in memory what damage took: {error}");
            }
        }
    }

    fn take_over(&mut self, salvage: &Salvage, unsynced: &[Written]) -> Result<Vec<Spooled>, Box<dyn Error>> {
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(Spool::in_memory(&self.disk, self.memory_bytes)?),
        };
        let entries = unsynced.iter().map(|written| (written.lane, &written.entry));
        Ok(memory.take_over(salvage, entries)?)
    }

    /// Goes back to the disk if it takes and syncs writes again. Returns what was found there that was not seen before.
    pub(super) fn try_resume(&mut self) -> Result<Vec<Span>, SpoolFault> {
        self.sync()?;
        let above = self.epoch();
        let recovered = self.disk.resume(above)?;
        for (head, reason) in std::mem::take(&mut self.set_aside) {
            if let Err(fault) = self.give_up(head, reason) {
                // The next write finds out as well.
                tracing::warn!("the disk failed again: {fault}");
                self.set_aside.push((head, reason));
            }
        }
        self.retire_memory();
        Ok(found(recovered))
    }

    /// Says whether the disk holds segments that it did not let be read.
    pub(super) fn has_unreadable(&self) -> bool {
        self.disk.has_unreadable()
    }

    /// Looks again at what the disk did not let be read, unless it has failed. Returns what was found.
    pub(super) fn look_again(&mut self) -> Result<Vec<Span>, SpoolFault> {
        if self.disk.is_failed() { Ok(Vec::new()) } else { self.disk.look_again().map(found) }
    }

    /// Syncs and closes. What is in memory alone is lost then: on a disk that works, a loss record says so. Returns how
    /// many samples that were.
    pub(super) fn close(mut self) -> (Vec<RecorderEvent>, u64) {
        let mut lost = 0;
        if let Some(memory) = self.memory.take() {
            lost = memory.samples_held();
            let recorded = memory
                .write_off_all(LossReason::DiskFailed)
                .into_iter()
                .try_for_each(|write_off| self.disk.record(write_off).map(|_| ()));
            if lost > 0 || recorded.is_err() {
                let told = if recorded.is_ok() {
                    "a loss record says so"
                } else {
                    "and the disk takes no record of it"
                };
                tracing::error!(samples = lost, "samples that were only in memory are lost: {told}");
            }
        }
        if !self.disk.is_failed() {
            match self.disk.close() {
                Ok(last) if last.is_empty() => {}
                Ok(last) => self.events.push(RecorderEvent::Spooled(last)),
                Err(fault) => self.events.push(RecorderEvent::Failed(fault)),
            }
        }
        (self.events, lost)
    }

    fn current(&mut self) -> &mut Spool {
        match &mut self.memory {
            Some(memory) if self.disk.is_failed() => memory,
            _ => &mut self.disk,
        }
    }

    fn retire_memory(&mut self) {
        let idle = |memory: &mut Spool| memory.is_drained();
        if !self.disk.is_failed()
            && let Some(memory) = self.memory.take_if(idle)
        {
            memory.retire(&mut self.disk);
        }
    }

    fn tell(&mut self, spooled: Vec<Spooled>) {
        if !spooled.is_empty() {
            self.events.push(RecorderEvent::Spooled(spooled));
        }
    }
}

/// Tells what damage took, and returns the rest.
fn found(recovered: Recovered) -> Vec<Span> {
    for loss in &recovered.losses {
        tracing::error!(lane = %loss.lane, epoch = %loss.epoch, samples = loss.samples(), reason = %loss.reason, "samples in the spool are lost");
    }
    recovered.spans
}
