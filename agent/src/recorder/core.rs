//! What the recorder does, one step at a time: everything but the waiting.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use muster_protocol::{
    id::Lane,
    loss::{Loss, LossReason},
    message::Clock as ClockReading,
    time::MonoTime,
};

use crate::{
    batcher::{Batcher, Closed, Manner},
    intake::{Item, Origin, Outlet, QueuedRow, Shown, SyncRequest, Untold, Want, Why},
    spool::{AppendError, Entry, Spool, SpoolFault},
    uplink::channels::ChannelCosts,
};

use super::{
    RecorderCommand, RecorderConfig, RecorderEvent, UNSYNCED_BYTES_MAX, group_sync::GroupSync, spools::Spools,
};

/// How long nothing has to be recorded or released before the spool gives the disk back what is released.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// How often a disk that failed is tried again, and what it did not let be read. A try of the former writes 256 KiB.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// How often loss records tell what the inputs were refused: a program that sends nonsense must not fill the spool with
/// records of it.
const UNTOLD_EVERY: Duration = Duration::from_secs(10);

/// How long the first refusal waits for others to share its loss record.
const UNTOLD_AFTER: Duration = Duration::from_secs(1);

type ReadClocks<'a> = &'a dyn Fn() -> ClockReading;

/// Owns the spools and the batcher.
pub(super) struct Core {
    spools: Spools,
    batcher: Batcher<Origin>,
    costs: Arc<ChannelCosts>,
    /// Closed batches of waiting inputs for which the spool has no room, oldest first. Few: while there is one, no more
    /// rows of waiting inputs are taken.
    parked: VecDeque<Closed<Origin>>,
    /// Sync requests whose rows are in batches.
    requests: Vec<SyncRequest>,
    unsynced_bytes: usize,
    urgent_unsynced: bool,
    /// When all lanes are synced next.
    group_sync: GroupSync,
    /// When the spool is idle; none if it was looked at since.
    idle_at: Option<MonoTime>,
    /// Whether every input has ended, and whether that was said.
    drained: Drained,
    /// When the disk that failed is tried again; none while it works.
    probe_at: Option<MonoTime>,
    /// When segments are looked at again that the disk did not let be read; none if there are none.
    look_at: Option<MonoTime>,
    /// When loss records tell what was refused; none if nothing was.
    tell_at: Option<MonoTime>,
    /// When they last did.
    told_at: Option<MonoTime>,
    events: Vec<RecorderEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    No,
    Due,
    Said,
}

impl Core {
    pub(super) fn new(spool: Spool, config: RecorderConfig) -> Self {
        let failed = spool.fault().cloned();
        let mut core = Self {
            spools: Spools::new(spool, config.memory_bytes),
            batcher: Batcher::new(config.batcher),
            costs: config.costs,
            parked: VecDeque::new(),
            requests: Vec::new(),
            unsynced_bytes: 0,
            urgent_unsynced: false,
            group_sync: GroupSync::new(config.sync_every),
            idle_at: Some(MonoTime::default()),
            drained: Drained::No,
            probe_at: None,
            look_at: None,
            tell_at: None,
            told_at: None,
            events: Vec::new(),
        };
        core.note_unreadable(MonoTime::default());
        core.note_held();
        if let Some(fault) = failed {
            core.fail(fault, MonoTime::default());
        }
        core
    }

    /// Returns which rows may be taken.
    pub(super) fn want(&self) -> Want {
        if self.parked.is_empty() { Want::All } else { Want::Live }
    }

    /// Returns the epoch that numbers what comes.
    #[cfg(test)]
    pub(super) fn epoch(&self) -> muster_protocol::id::Epoch {
        self.spools.epoch()
    }

    #[cfg(test)]
    pub(super) fn holding(&self) -> crate::spool::Holding {
        self.spools.holding()
    }

    /// Returns what happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<RecorderEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes a row or a sync request.
    pub(super) fn handle_item(&mut self, item: Item, now: MonoTime, outlet: &Outlet) {
        match item {
            Item::Row(row) => self.take_row(row, now, outlet),
            // What is in memory alone is not accepted: the request is dropped, which its sender sees.
            Item::Sync(_) if self.spools.has_memory() => {}
            Item::Sync(mut request) => {
                request.reached();
                self.requests.push(request);
                self.group_sync.soon(now);
            }
        }
    }

    /// Acts on what the driver asks.
    pub(super) fn handle_command(&mut self, command: RecorderCommand, now: MonoTime) {
        match command {
            RecorderCommand::Release(released) => {
                if let Err(fault) = self.spools.release(&released) {
                    self.fail(fault, now);
                }
            }
            RecorderCommand::GiveUp(head, reason) => {
                if let Err(fault) = self.spools.give_up(head, reason) {
                    self.fail(fault, now);
                    // In memory its loss can be recorded.
                    self.spools.give_up(head, reason).unwrap_or_else(|fault| self.fail(fault, now));
                }
                // Its loss record is synced; its token comes with the next group.
                self.group_sync.by(now);
            }
        }
        self.idle_at = Some(now + IDLE_AFTER);
        self.retry_parked(now);
        self.note_held();
    }

    /// Notes that every input has ended and everything was taken: there is nothing to wait for any more.
    pub(super) fn handle_drained(&mut self, now: MonoTime) {
        if self.drained == Drained::No {
            self.drained = Drained::Due;
            self.group_sync.by(now);
        }
    }

    /// Returns when [`Core::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<MonoTime> {
        [
            self.batcher.poll_timeout(),
            // At once: what an answer from the gateway made room for waits for no row and no other timer.
            self.urgent_unsynced.then(MonoTime::default),
            self.group_sync.due(),
            self.idle_at,
            self.probe_at,
            self.look_at,
            self.tell_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due: spools closed batches, syncs, answers.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, read: ReadClocks<'_>, outlet: &Outlet) {
        let sync_due = self.group_sync.due().is_some_and(|at| at <= now);
        if sync_due && (!self.requests.is_empty() || self.drained == Drained::Due) {
            self.batcher.close_all();
        }
        self.spool_closed(now, read, outlet);
        self.tell_refused(now, outlet);
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probe(now);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_again(now);
        }
        if sync_due || self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.sync(now);
        } else if self.urgent_unsynced {
            self.sync_urgent(now);
        }
        if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            if let Err(fault) = self.spools.drop_released() {
                self.fail(fault, now);
            }
        }
    }

    /// Records what is left, closes the spool and returns the last events.
    pub(super) fn finish(mut self, read: ReadClocks<'_>, outlet: &Outlet) -> Finished {
        let end = MonoTime(u64::MAX);
        self.batcher.close_all();
        self.spool_closed(end, read, outlet);
        while let Some(closed) = self.parked.pop_front() {
            give_back(&closed, "spool_full", &"the agent stopped while the spool was full", outlet);
        }
        for untold in outlet.take_untold() {
            self.append_loss(untold, end);
        }
        self.sync(end);
        if self.spools.has_memory() && self.spools.fault().is_some() {
            self.probe(end);
        }
        let mut events = self.take_events();
        let (last, lost) = self.spools.close();
        events.extend(last);
        Finished { events, lost: lost > 0 }
    }

    fn take_row(&mut self, queued: QueuedRow, now: MonoTime, outlet: &Outlet) {
        let QueuedRow { row, origin, line, .. } = queued;
        let name = row.row.fields.first().map(|(name, _)| name.clone());
        let shown = Shown { line, text: name.as_ref().map_or(b"", |name| name.as_str().as_bytes()) };
        let (samples, t, lane) = (row.row.fields.len() as u64, row.t, row.row.lane);
        match self.batcher.push(row, origin.manner(), &origin, now) {
            Ok(()) => origin.count_recorded(),
            Err(refused) => {
                let why = Why { reason: refused.kind(), lane: None, sentence: &refused };
                outlet.refuse(&origin, why, shown);
                if let Some(reason) = refused.loss() {
                    let lane = lane.unwrap_or(Lane::Live);
                    outlet.lose(Untold { reason, lane, samples, span: Some((t, t)) });
                }
            }
        }
    }

    fn spool_closed(&mut self, now: MonoTime, read: ReadClocks<'_>, outlet: &Outlet) {
        while self.batcher.poll_timeout().is_some_and(|at| at <= now) {
            let Some(closed) = self.batcher.poll_batch(now, read()) else { return };
            self.append(closed, now, outlet);
        }
    }

    fn append(&mut self, closed: Closed<Origin>, now: MonoTime, outlet: &Outlet) {
        let waits = closed.manner == Manner::Wait;
        if waits && !self.parked.is_empty() {
            return self.parked.push_back(closed);
        }
        let entry = entry_of(&closed);
        let mut appended = self.append_by(closed.manner, closed.lane, &entry, now);
        if let Err(AppendError::Fault(fault)) = appended {
            self.fail(fault, now);
            appended = self.append_by(closed.manner, closed.lane, &entry, now);
        }
        match appended {
            Ok(()) => self.appended(&closed, now),
            Err(AppendError::Full { .. }) if waits => {
                self.parked.push_back(closed);
                self.retry_parked(now);
                if !self.parked.is_empty() {
                    tracing::info!(
                        "the spool is full: files and pipes wait until the gateway has taken some of it"
                    );
                }
            }
            Err(error) => give_back(&closed, "spool_full", &error, outlet),
        }
    }

    fn append_by(
        &mut self,
        manner: Manner,
        lane: Lane,
        entry: &Entry,
        now: MonoTime,
    ) -> Result<(), AppendError> {
        match manner {
            Manner::Wait => self.spools.append(lane, entry),
            Manner::Live => {
                let forced = self.spools.force(lane, entry);
                if self.collect_events() {
                    // What was evicted has its loss records synced; their tokens come with the next group.
                    self.group_sync.by(now);
                }
                forced
            }
        }
    }

    /// Lets loss records tell what the inputs were refused: soon after the first, then at most once in a while.
    fn tell_refused(&mut self, now: MonoTime, outlet: &Outlet) {
        if self.tell_at.is_none() && outlet.has_untold() {
            let soon = now + UNTOLD_AFTER;
            self.tell_at = Some(self.told_at.map_or(soon, |told| soon.max(told + UNTOLD_EVERY)));
        }
        let at_end = self.drained == Drained::Due;
        if self.tell_at.is_some_and(|at| at <= now || at_end) {
            (self.tell_at, self.told_at) = (None, Some(now));
            for untold in outlet.take_untold() {
                self.append_loss(untold, now);
            }
        }
    }

    fn append_loss(&mut self, untold: Untold, now: MonoTime) {
        let Untold { reason, lane, samples, span } = untold;
        let loss = Loss {
            epoch: self.spools.epoch(),
            lane,
            lost: Vec::new(),
            unnumbered: samples,
            t_min: span.map(|(t_min, _)| t_min),
            t_max: span.map(|(_, t_max)| t_max),
            reason,
        };
        let entry = Entry::Loss(loss);
        if let Err(AppendError::Fault(fault)) = self.spools.append(Lane::Urgent, &entry) {
            self.fail(fault, now);
            if let Err(error) = self.spools.append(Lane::Urgent, &entry) {
                tracing::error!("cannot record that {samples} samples were refused: {error}");
            }
        }
        self.group_sync.soon(now);
    }

    fn appended(&mut self, closed: &Closed<Origin>, now: MonoTime) {
        self.costs.count(&closed.encoded, &closed.schema);
        self.unsynced_bytes += closed.encoded.bytes.len();
        self.urgent_unsynced |= closed.lane == Lane::Urgent;
        self.idle_at = Some(now + IDLE_AFTER);
        // The urgent lane is synced at once, by itself.
        if closed.lane != Lane::Urgent {
            self.group_sync.handle_closed(now);
        }
    }

    fn retry_parked(&mut self, now: MonoTime) {
        while let Some(closed) = self.parked.pop_front() {
            match self.spools.append_after_drop(closed.lane, &entry_of(&closed)) {
                Ok(()) => self.appended(&closed, now),
                Err(AppendError::Fault(fault)) => {
                    self.parked.push_front(closed);
                    self.fail(fault, now);
                }
                Err(_) => return self.parked.push_front(closed),
            }
        }
    }

    /// Syncs all lanes; only then says what is accepted, and answers.
    fn sync(&mut self, now: MonoTime) {
        let due = self.group_sync.start(now);
        if let Err(fault) = self.spools.sync() {
            self.fail(fault, now);
            // What was not synced is in memory now.
            self.spools.sync().unwrap_or_else(|fault| self.fail(fault, now));
        }
        if self.collect_events() {
            self.note_held();
        }
        self.unsynced_bytes = 0;
        self.urgent_unsynced = false;
        // Rows may still be in a batch that is open, or parked. Those that are parked set a time when they move on.
        let (open, parked) = (self.batcher.poll_timeout().is_some(), !self.parked.is_empty());
        let held_back = |request: &SyncRequest| open || parked && request.origin().manner() == Manner::Wait;
        let requests = std::mem::take(&mut self.requests);
        let (waiting, covered): (Vec<_>, Vec<_>) = requests.into_iter().partition(held_back);
        self.requests = waiting;
        covered.into_iter().for_each(SyncRequest::answer);
        if self.drained == Drained::Due && !open && !parked {
            self.drained = Drained::Said;
            self.events.push(RecorderEvent::InputsDrained);
        }
        if !self.requests.is_empty() || self.drained == Drained::Due {
            due.filter(|at| *at > now).into_iter().for_each(|at| self.group_sync.by(at));
        }
    }

    fn sync_urgent(&mut self, now: MonoTime) {
        self.urgent_unsynced = false;
        if let Err(fault) = self.spools.sync_urgent() {
            self.fail(fault, now);
            self.spools.sync_urgent().unwrap_or_else(|fault| self.fail(fault, now));
        }
        if self.collect_events() {
            self.note_held();
        }
    }

    /// Goes on in memory, because the disk failed. Nobody gets an answer: what is not synced is not accepted.
    fn fail(&mut self, fault: SpoolFault, now: MonoTime) {
        self.requests.clear();
        if self.probe_at.is_some() {
            return;
        }
        self.probe_at = Some(now + PROBE_EVERY);
        self.events.push(RecorderEvent::Failed(fault));
        self.spools.fail_over();
        self.collect_events();
        self.group_sync.soon(now);
        self.note_held();
    }

    /// Goes back to the disk, if it works again.
    fn probe(&mut self, now: MonoTime) {
        self.probe_at = Some(now + PROBE_EVERY);
        match self.spools.try_resume() {
            Ok(found) => {
                self.probe_at = None;
                // First what came into memory before.
                self.collect_events();
                self.events.extend([RecorderEvent::Mended, RecorderEvent::Found(found)]);
                self.note_unreadable(now);
                self.retry_parked(now);
            }
            Err(fault) => tracing::warn!("samples are still kept in memory only: {fault}"),
        }
        self.collect_events();
        self.group_sync.soon(now);
        self.note_held();
    }

    /// Shows what the disk lets be read by now.
    fn look_again(&mut self, now: MonoTime) {
        match self.spools.look_again() {
            Ok(found) => self.events.push(RecorderEvent::Found(found)),
            Err(fault) => self.fail(fault, now),
        }
        self.group_sync.by(now);
        self.note_unreadable(now);
        self.note_held();
    }

    fn note_unreadable(&mut self, now: MonoTime) {
        self.look_at = self.spools.has_unreadable().then_some(now + PROBE_EVERY);
    }

    /// Takes what the spools have to tell. Returns whether it was anything.
    fn collect_events(&mut self) -> bool {
        let events = self.spools.take_events();
        let any = !events.is_empty();
        self.events.extend(events);
        any
    }

    fn note_held(&mut self) {
        self.events.push(RecorderEvent::Held(self.spools.holding()));
    }
}

/// How a recorder ended.
pub struct Finished {
    /// The last events.
    pub events: Vec<RecorderEvent>,
    /// Whether samples were lost that were only in memory.
    pub lost: bool,
}

fn entry_of(closed: &Closed<Origin>) -> Entry {
    let info = &closed.encoded.info;
    Entry::Batch {
        bytes: closed.encoded.bytes.clone(),
        samples: info.samples,
        t_min: info.t_min,
        t_max: info.t_max,
        schema: Arc::clone(&closed.schema),
    }
}

/// Counts the rows of a batch that the spool refused in the end.
fn give_back(closed: &Closed<Origin>, reason: &'static str, sentence: &dyn fmt::Display, outlet: &Outlet) {
    let info = &closed.encoded.info;
    outlet.lose(Untold {
        reason: LossReason::Overrun,
        lane: closed.lane,
        samples: info.samples.into(),
        span: Some((info.t_min, info.t_max)),
    });
    for (origin, rows) in &closed.origins {
        outlet.give_back(origin, u64::from(*rows), Why { reason, lane: Some(closed.lane), sentence });
    }
}
