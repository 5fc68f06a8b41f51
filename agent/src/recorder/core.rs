//! What the recorder does, one step at a time: everything but the waiting.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use muster_protocol::{id::Lane, message::Clock as ClockReading, time::MonoTime};

use crate::{
    batcher::{Batcher, Closed, Manner},
    intake::{Item, Origin, Outlet, QueuedRow, Shown, SyncRequest, Want, Why},
    spool::{AppendError, Entry, MakeRoomError, Spool, SpoolFault, Spooled},
    uplink::channels::ChannelCosts,
};

use super::{RecorderCommand, RecorderConfig, RecorderEvent, UNSYNCED_BYTES_MAX};

/// How long nothing has to be recorded or released before the spool gives the disk back what is released.
const IDLE_AFTER: Duration = Duration::from_secs(5);

/// How often room is made for one batch. Making room changes what a batch needs, so once may not be enough.
const MAKE_ROOM_TRIES: u32 = 4;

type ReadClocks = dyn Fn() -> ClockReading + Send + Sync;

/// Owns the spool and the batcher.
pub(super) struct Core {
    spool: Spool,
    batcher: Batcher<Origin>,
    sync_every: Duration,
    costs: Arc<ChannelCosts>,
    /// Closed batches of waiting inputs for which the spool has no room, oldest first. Few: while there is one, no more
    /// rows of waiting inputs are taken.
    parked: VecDeque<Closed<Origin>>,
    /// Sync requests whose rows are in batches.
    requests: Vec<SyncRequest>,
    unsynced_bytes: usize,
    urgent_unsynced: bool,
    /// When all lanes were synced last.
    synced_at: Option<MonoTime>,
    /// When the next group sync is due; none if nothing waits for it.
    sync_at: Option<MonoTime>,
    /// When the spool is idle; none if it was looked at since.
    idle_at: Option<MonoTime>,
    /// Whether every input has ended, and whether that was said.
    drained: Drained,
    fault: Option<SpoolFault>,
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
        let held = RecorderEvent::Held(spool.held());
        Self {
            spool,
            batcher: Batcher::new(config.batcher),
            sync_every: config.sync_every,
            costs: config.costs,
            parked: VecDeque::new(),
            requests: Vec::new(),
            unsynced_bytes: 0,
            urgent_unsynced: false,
            synced_at: None,
            sync_at: None,
            idle_at: Some(MonoTime::default()),
            drained: Drained::No,
            fault: None,
            events: vec![held],
        }
    }

    /// Returns which rows may be taken.
    pub(super) fn want(&self) -> Want {
        if self.parked.is_empty() || self.fault.is_some() { Want::All } else { Want::Live }
    }

    /// Returns what happened since the last call.
    pub(super) fn take_events(&mut self) -> Vec<RecorderEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes a row or a sync request.
    pub(super) fn handle_item(&mut self, item: Item, now: MonoTime, outlet: &Outlet) {
        match item {
            Item::Row(row) => self.take_row(row, now, outlet),
            // Without a disk nothing is accepted: the request is dropped, which its sender sees.
            Item::Sync(_) if self.fault.is_some() => {}
            Item::Sync(mut request) => {
                request.reached();
                self.requests.push(request);
                self.sync_by(now + self.sync_every);
            }
        }
    }

    /// Acts on what the driver asks.
    pub(super) fn handle_command(&mut self, command: RecorderCommand, now: MonoTime) {
        let done = match command {
            RecorderCommand::Release(released) => self.spool.release(&released).map(|_removed| ()),
            RecorderCommand::GiveUp(head, reason) => self.spool.report_lost(head, reason).map(|gone| {
                self.events.extend(gone.map(|evicted| RecorderEvent::Evicted(vec![evicted])));
                // Its loss record is synced; its token comes with the next group.
                self.sync_by(now);
            }),
        };
        done.unwrap_or_else(|fault| self.fail(fault));
        self.idle_at = Some(now + IDLE_AFTER);
        self.retry_parked(now);
        self.events.push(RecorderEvent::Held(self.spool.held()));
    }

    /// Notes that every input has ended and everything was taken: there is nothing to wait for any more.
    pub(super) fn handle_drained(&mut self, now: MonoTime) {
        if self.drained == Drained::No {
            self.drained = Drained::Due;
            self.sync_by(now);
        }
    }

    /// Returns when [`Core::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<MonoTime> {
        [self.batcher.poll_timeout(), self.sync_at, self.idle_at].into_iter().flatten().min()
    }

    /// Does what is due: spools closed batches, syncs, answers.
    pub(super) fn handle_timeout(&mut self, now: MonoTime, read: &ReadClocks, outlet: &Outlet) {
        let sync_due = self.sync_at.is_some_and(|at| at <= now);
        if sync_due && (!self.requests.is_empty() || self.drained == Drained::Due) {
            self.batcher.close_all();
        }
        self.spool_closed(now, read, outlet);
        if sync_due || self.unsynced_bytes > UNSYNCED_BYTES_MAX {
            self.sync(now);
        } else if self.urgent_unsynced {
            self.sync_urgent();
        }
        if self.idle_at.is_some_and(|at| at <= now) {
            self.idle_at = None;
            if let Err(fault) = self.spool.drop_released() {
                self.fail(fault);
            }
        }
    }

    /// Records what is left, closes the spool and returns the last events.
    pub(super) fn finish(mut self, read: &ReadClocks, outlet: &Outlet) -> Vec<RecorderEvent> {
        let end = MonoTime(u64::MAX);
        self.batcher.close_all();
        self.spool_closed(end, read, outlet);
        self.sync(end);
        while let Some(closed) = self.parked.pop_front() {
            give_back(&closed, "spool_full", &"the agent stopped while the spool was full", outlet);
        }
        if self.fault.is_none() {
            match self.spool.close() {
                Ok(last) if last.is_empty() => {}
                Ok(last) => self.events.push(RecorderEvent::Spooled(last)),
                Err(fault) => self.events.push(RecorderEvent::Failed(fault)),
            }
        }
        self.events
    }

    fn take_row(&mut self, queued: QueuedRow, now: MonoTime, outlet: &Outlet) {
        let QueuedRow { row, origin, line, .. } = queued;
        let name = row.row.fields.first().map(|(name, _)| name.clone());
        let shown = Shown { line, text: name.as_ref().map_or(b"", |name| name.as_str().as_bytes()) };
        if let Some(fault) = &self.fault {
            let why = Why { reason: "spool_failed", lane: None, sentence: fault };
            return outlet.refuse(&origin, why, shown);
        }
        match self.batcher.push(row, origin.manner(), &origin, now) {
            Ok(()) => origin.count_recorded(),
            Err(refused) => {
                let why = Why { reason: refused.kind(), lane: None, sentence: &refused };
                outlet.refuse(&origin, why, shown);
            }
        }
    }

    fn spool_closed(&mut self, now: MonoTime, read: &ReadClocks, outlet: &Outlet) {
        while self.batcher.poll_timeout().is_some_and(|at| at <= now) {
            let Some(closed) = self.batcher.poll_batch(now, read()) else { return };
            self.append(closed, now, outlet);
        }
    }

    fn append(&mut self, closed: Closed<Origin>, now: MonoTime, outlet: &Outlet) {
        if let Some(fault) = &self.fault {
            return give_back(&closed, "spool_failed", fault, outlet);
        }
        let waits = closed.manner == Manner::Wait;
        if waits && !self.parked.is_empty() {
            return self.parked.push_back(closed);
        }
        let entry = entry_of(&closed);
        let appended = if waits {
            self.spool.append(closed.lane, &entry).map(|_| ())
        } else {
            self.force(closed.lane, &entry, now)
        };
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
            Err(error @ (AppendError::Full { .. } | AppendError::TooLarge { .. })) => {
                give_back(&closed, "spool_full", &error, outlet);
            }
            Err(AppendError::Fault(fault)) => {
                give_back(&closed, "spool_failed", &fault, outlet);
                self.fail(fault);
            }
        }
    }

    /// Appends, evicting the oldest data if that is what it takes.
    fn force(&mut self, lane: Lane, entry: &Entry, now: MonoTime) -> Result<(), AppendError> {
        let mut result = self.append_after_drop(lane, entry);
        for _ in 0..MAKE_ROOM_TRIES {
            let Err(AppendError::Full { needed_bytes, .. }) = result else { break };
            match self.spool.make_room(lane, needed_bytes) {
                Ok(evicted) => {
                    self.events.push(RecorderEvent::Evicted(evicted));
                    // The loss records are synced; their tokens come with the next group.
                    self.sync_by(now);
                }
                Err(MakeRoomError::Unsynced) => self.sync(now),
                Err(MakeRoomError::Fault(fault)) => return Err(fault.into()),
            }
            result = self.spool.append(lane, entry).map(|_| ());
        }
        result
    }

    /// Appends, giving back what is released but still takes room if that is what it takes.
    fn append_after_drop(&mut self, lane: Lane, entry: &Entry) -> Result<(), AppendError> {
        let mut result = self.spool.append(lane, entry);
        if matches!(result, Err(AppendError::Full { .. })) {
            self.spool.drop_released()?;
            result = self.spool.append(lane, entry);
        }
        result.map(|_| ())
    }

    fn appended(&mut self, closed: &Closed<Origin>, now: MonoTime) {
        self.costs.count(&closed.encoded, &closed.schema);
        self.unsynced_bytes += closed.encoded.bytes.len();
        self.urgent_unsynced |= closed.lane == Lane::Urgent;
        self.idle_at = Some(now + IDLE_AFTER);
        // At once if the last one is long ago: the same number of syncs, and no second wait after the linger.
        let next = self.synced_at.map_or(now, |at| at + self.sync_every);
        self.sync_by(next.max(now));
    }

    fn retry_parked(&mut self, now: MonoTime) {
        while let Some(closed) = self.parked.pop_front() {
            match self.append_after_drop(closed.lane, &entry_of(&closed)) {
                Ok(()) => self.appended(&closed, now),
                Err(error) => {
                    self.parked.push_front(closed);
                    if let AppendError::Fault(fault) = error {
                        self.fail(fault);
                    }
                    return;
                }
            }
        }
    }

    fn sync_by(&mut self, at: MonoTime) {
        self.sync_at = Some(self.sync_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Syncs all lanes; only then says what is accepted, and answers.
    fn sync(&mut self, now: MonoTime) {
        let due = self.sync_at.take();
        if self.fault.is_some() {
            return;
        }
        match self.spool.sync() {
            Ok(spooled) => self.synced(spooled),
            Err(fault) => return self.fail(fault),
        }
        self.synced_at = Some(now);
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
            self.sync_at = due.filter(|at| *at > now);
        }
    }

    fn sync_urgent(&mut self) {
        self.urgent_unsynced = false;
        match self.spool.sync_lane(Lane::Urgent) {
            Ok(spooled) => self.synced(spooled),
            Err(fault) => self.fail(fault),
        }
    }

    fn synced(&mut self, spooled: Vec<Spooled>) {
        if !spooled.is_empty() {
            self.events.push(RecorderEvent::Spooled(spooled));
            self.events.push(RecorderEvent::Held(self.spool.held()));
        }
    }

    /// Notes that the disk failed. Nobody gets an answer: what is not synced is not accepted.
    fn fail(&mut self, fault: SpoolFault) {
        self.requests.clear();
        self.sync_at = None;
        if self.fault.is_none() {
            self.events.push(RecorderEvent::Failed(fault.clone()));
            self.fault = Some(fault);
        }
    }
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
    for (origin, rows) in &closed.origins {
        outlet.give_back(origin, u64::from(*rows), Why { reason, lane: Some(closed.lane), sentence });
    }
}
