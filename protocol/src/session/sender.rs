//! The agent's end of the delivery session.
//!
//! It knows what the spool holds as spans of seqs, decides what to send next within the granted window, and mints
//! [`Released`] when an ack covers a batch: the only right, besides the spool's own eviction, to remove it.
//!
//! Order: the urgent lane first, then fresh live batches, then the live backlog (newest segment first, in order
//! within it), then bulk. Urgent batches have a window of their own, so that they never wait for room that a backlog
//! took. Fresh batches count against each other only, and the backlog against everything: so a fresh batch never waits
//! for a backlog's acks, and what is in flight before it is bounded in time (see [`SenderConfig::queue_time`]).
//!
//! How to drive it: hand in what happened by `handle_*`; while [`Sender::poll_transmit`] returns a number, read that
//! batch from the spool, call [`Sender::handle_loaded`], send its schema first if [`Sender::claim_schema`] says so,
//! and send it. Wake at [`Sender::poll_timeout`] and call [`Sender::handle_timeout`].

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use super::{
    pace::{Flight, Load, Pace},
    sending::LaneQueue,
};
use crate::{
    id::{Epoch, Lane, SchemaHash, Seq},
    message::{Ack, LaneRanges, NeedSchema, NumberedHead, Refuse, RefuseReason, SeqRange, Welcome, Window},
    time::MonoTime,
};

/// How the sender behaves.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// The shortest wait for an ack before a batch is sent again.
    pub ack_timeout_min: Duration,
    /// The longest.
    pub ack_timeout_max: Duration,
    /// On a link whose lanes share one queue, batches in flight are kept below what it delivers in this time, so that
    /// a fresh or urgent one does not wait behind them. On a slow link two batches may always be in flight if both pass
    /// within 600 ms, and one whatever it takes; on a path with a long delay, half as much again as that delay holds.
    pub queue_time: Option<Duration>,
}

/// What a batch is worth, least first: the order in which an uplink that is short of bytes does without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The bulk lane.
    Bulk,
    /// Live batches that an outage or an ack timeout held up.
    Backlog,
    /// Live batches as they are made.
    Live,
    /// The urgent lane.
    Urgent,
}

/// The agent's end of one robot's delivery session, across reconnects.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    lanes: [LaneQueue; 3],
    flying: BTreeMap<(Lane, Epoch, Seq), Flight>,
    session: Option<Session>,
    paused_until: [Option<MonoTime>; 3],
    /// Smoothed time from sending to ack.
    ack_time: Option<Duration>,
    pace: Pace,
    /// The least that may be sent; `None` for nothing at all.
    floor: Option<Priority>,
}

/// The right to remove acknowledged batches from the spool. Minted only by a [`Sender`], from an ack.
#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    lane: Lane,
    epoch: Epoch,
    ranges: Vec<SeqRange>,
}

/// A batch that the gateway refused for good: the spool has to replace it by a loss record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// Which batch.
    pub head: NumberedHead,
    /// What the gateway said.
    pub reason: RefuseReason,
}

#[derive(Debug)]
struct Session {
    window: Window,
    /// Per lane, because lanes are separate streams: a schema sent on one may arrive after a batch of another.
    sent_schemas: HashSet<(Lane, SchemaHash)>,
    known_schemas: HashSet<SchemaHash>,
}

/// The urgent lane's own window.
const URGENT_WINDOW: Window = Window { bytes: 128 * 1024, batches: 16 };

/// Most batches in flight of a lane that fills its oldest gap: the gateway takes them only as they join, so more would
/// go in vain.
const GAP_BATCHES: usize = 32;

impl SenderConfig {
    /// The defaults: acks are awaited for 5 to 60 s.
    pub const DEFAULT: Self = Self {
        ack_timeout_min: Duration::from_secs(5),
        ack_timeout_max: Duration::from_secs(60),
        queue_time: None,
    };
}

impl Released {
    /// Returns the lane of the batches.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Returns the epoch of the batches.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the seqs, as ascending, disjoint ranges.
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }
}

impl Sender {
    /// Makes a sender that holds nothing.
    pub fn new(config: SenderConfig) -> Self {
        Self {
            config,
            lanes: Default::default(),
            flying: BTreeMap::new(),
            session: None,
            paused_until: [None; 3],
            ack_time: None,
            pace: Pace::new(config.queue_time),
            floor: Some(Priority::Bulk),
        }
    }

    /// Takes batches that the spool held at start, oldest segment first.
    pub fn handle_recovered(&mut self, lane: Lane, epoch: Epoch, segment: u64, range: SeqRange) {
        self.queue(lane).add(epoch, segment, range);
    }

    /// Takes a batch that the spool has synced.
    pub fn handle_spooled(&mut self, head: NumberedHead, segment: u64) {
        let range = SeqRange { first: head.seq, end: head.seq.next() };
        let connected = self.session.is_some();
        let queue = self.queue(head.lane);
        queue.add(head.epoch, segment, range);
        if connected {
            queue.add_fresh(head.epoch, head.seq);
        }
    }

    /// Forgets batches that the spool evicted.
    pub fn handle_evicted(&mut self, lane: Lane, epoch: Epoch, range: SeqRange) {
        self.queue(lane).evict(epoch, range);
        self.land(lane, epoch, range, None);
    }

    /// Sets how much may queue on the link that carries the next session; see [`SenderConfig::queue_time`].
    pub fn set_queue_time(&mut self, queue_time: Option<Duration>) {
        self.pace.reset(queue_time);
    }

    /// Sets the least that may be sent from now on, or that nothing may. What is on its way stays on its way.
    pub fn set_floor(&mut self, floor: Option<Priority>) {
        self.floor = floor;
    }

    /// Starts a session. What the gateway has is released, everything else is sent.
    pub fn handle_welcome(&mut self, welcome: &Welcome, now: MonoTime) -> Vec<Released> {
        self.handle_down();
        self.session = Some(Session {
            window: welcome.window,
            sent_schemas: HashSet::new(),
            known_schemas: welcome.schemas.iter().copied().collect(),
        });
        self.release(&welcome.have, now)
    }

    /// Ends the session: nothing is on its way any more.
    pub fn handle_down(&mut self) {
        self.session = None;
        self.flying.clear();
        self.pace.reset(self.pace.queue_time());
        self.paused_until = [None; 3];
        self.lanes.iter_mut().for_each(LaneQueue::rewind);
    }

    /// Takes an ack and returns what it newly covers.
    pub fn handle_ack(&mut self, ack: &Ack, now: MonoTime) -> Vec<Released> {
        self.release(&ack.lanes, now)
    }

    /// Takes a refusal. What was refused for good is returned and not sent again.
    pub fn handle_refuse(&mut self, refuse: &Refuse, now: MonoTime) -> Option<GaveUp> {
        let head = refuse.batch;
        self.flying.remove(&key(head));
        let Some(retry_after) = refuse.retry_after_ms else {
            let held = self.queue(head.lane).give_up(head.epoch, head.seq);
            return held.then_some(GaveUp { head, reason: refuse.reason });
        };
        self.queue(head.lane).send_again(head.epoch, head.seq);
        if refuse.reason == RefuseReason::WindowFull {
            self.queue(head.lane).fill_oldest_gap_first();
        }
        let until = now + Duration::from_millis(retry_after.into());
        if refuse.reason == RefuseReason::EpochClosed {
            self.queue(head.lane).park(head.epoch, until);
            return None;
        }
        if let Some(paused) = self.paused_until.get_mut(head.lane.index()) {
            *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
        }
        None
    }

    /// Takes a request for a schema: schema and batch go again.
    pub fn handle_need_schema(&mut self, need: &NeedSchema) {
        self.flying.remove(&key(need.batch));
        if let Some(session) = &mut self.session {
            session.known_schemas.remove(&need.hash);
            session.sent_schemas.remove(&(need.batch.lane, need.hash));
        }
        self.queue(need.batch.lane).send_again(need.batch.epoch, need.batch.seq);
    }

    /// Returns the next batch to send, or `None` until something happens.
    pub fn poll_transmit(&mut self, now: MonoTime) -> Option<NumberedHead> {
        self.session.as_ref()?;
        let others = self.load(|key, _| key.0 != Lane::Urgent);
        let (head, fresh) = self.next_urgent(now).or_else(|| self.next_other(others, now))?;
        let (bytes, alone) = (self.pace.expected_bytes(head.lane), others.batches == 0);
        self.flying.insert(key(head), Flight { at: now, bytes, fresh, alone });
        Some(head)
    }

    /// Says how large a batch from [`Sender::poll_transmit`] is, once it was read and is being sent.
    pub fn handle_loaded(&mut self, head: NumberedHead, bytes: usize, now: MonoTime) {
        if let Some(flight) = self.flying.get_mut(&key(head)) {
            *flight = Flight { at: now, bytes, ..*flight };
            self.pace.handle_loaded(head.lane, bytes);
        }
    }

    /// Says that the spool no longer has a batch from [`Sender::poll_transmit`]: nothing of it is left to wait for.
    pub fn handle_missing(&mut self, head: NumberedHead) {
        self.flying.remove(&key(head));
        self.queue(head.lane).evict(head.epoch, SeqRange { first: head.seq, end: head.seq.next() });
    }

    /// Says that a batch from [`Sender::poll_transmit`] is damaged in the spool. It is not sent again; its eviction is
    /// reported apart, once its loss is recorded.
    pub fn handle_damaged(&mut self, head: NumberedHead) {
        self.flying.remove(&key(head));
        self.queue(head.lane).give_up(head.epoch, head.seq);
    }

    /// Returns whether the schema has to be sent before a batch of this lane, and takes it as sent.
    pub fn claim_schema(&mut self, lane: Lane, hash: SchemaHash) -> bool {
        let Some(session) = &mut self.session else { return false };
        !session.known_schemas.contains(&hash) && session.sent_schemas.insert((lane, hash))
    }

    /// Returns when to call [`Sender::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.session.as_ref()?;
        let resend = self.flying.values().map(|flight| flight.at).min().map(|at| at + self.ack_timeout());
        let resume = self.paused_until.iter().flatten().min().copied();
        let parked = self.lanes.iter().filter_map(LaneQueue::parked_until).min();
        [resend, resume, parked].into_iter().flatten().min()
    }

    /// Sends again what was not acknowledged in time, and ends pauses that are over.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        let timeout = self.ack_timeout();
        let overdue = |flight: &Flight| flight.at + timeout <= now;
        let late: Vec<_> =
            self.flying.iter().filter(|(_, flight)| overdue(flight)).map(|(key, _)| *key).collect();
        for (lane, epoch, seq) in late {
            self.flying.remove(&(lane, epoch, seq));
            self.queue(lane).send_again(epoch, seq);
            let doubled = self.ack_time.unwrap_or(self.config.ack_timeout_min) * 2;
            self.ack_time = Some(doubled.min(self.config.ack_timeout_max));
        }
        self.lanes.iter_mut().for_each(|lane| lane.unpark(now));
        for paused in &mut self.paused_until {
            *paused = paused.filter(|until| *until > now);
        }
    }

    /// Returns whether everything that was spooled is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.lanes.iter().all(LaneQueue::is_empty)
    }

    /// Returns the smoothed time from sending a batch to its acknowledgement; `None` before the first.
    pub fn ack_time(&self) -> Option<Duration> {
        self.ack_time
    }

    /// Returns how many batches are sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    fn next_urgent(&mut self, now: MonoTime) -> Option<(NumberedHead, bool)> {
        let load = self.load(|key, _| key.0 == Lane::Urgent);
        if !self.allows(Priority::Urgent) || !has_room(URGENT_WINDOW, load) {
            return None;
        }
        self.next_of(Lane::Urgent, now, true).or_else(|| self.next_of(Lane::Urgent, now, false))
    }

    fn next_other(&mut self, others: Load, now: MonoTime) -> Option<(NumberedHead, bool)> {
        if !has_room(self.session.as_ref()?.window, others) {
            return None;
        }
        let fresh = self.load(|key, flight| key.0 != Lane::Urgent && flight.fresh);
        if self.allows(Priority::Live)
            && self.pace.has_room(Lane::Live, fresh)
            && let Some(next) = self.next_of(Lane::Live, now, true)
        {
            return Some(next);
        }
        if self.pace.stands_back(others, now) {
            return None;
        }
        let backlog = [
            (Priority::Backlog, Lane::Live, false),
            (Priority::Bulk, Lane::Bulk, true),
            (Priority::Bulk, Lane::Bulk, false),
        ];
        backlog.into_iter().find_map(|(priority, lane, fresh)| {
            let may = self.allows(priority) && self.pace.has_room(lane, others);
            // Bulk that is new is still no more than backlog to what is live.
            may.then(|| self.next_of(lane, now, fresh)).flatten().map(|(head, _)| (head, false))
        })
    }

    fn allows(&self, priority: Priority) -> bool {
        self.floor.is_some_and(|floor| floor <= priority)
    }

    fn next_of(&mut self, lane: Lane, now: MonoTime, fresh: bool) -> Option<(NumberedHead, bool)> {
        if self.paused_until.get(lane.index()).copied().flatten().is_some_and(|until| until > now) {
            return None;
        }
        let of_lane = |key: &&(Lane, Epoch, Seq)| key.0 == lane;
        let Self { lanes, flying, .. } = self;
        let queue = lanes.get_mut(lane.index())?;
        if queue.fills_gap() && flying.keys().filter(of_lane).count() >= GAP_BATCHES {
            return None;
        }
        let is_flying = |epoch, seq| flying.contains_key(&(lane, epoch, seq));
        let (epoch, seq) = if fresh { queue.poll_fresh()? } else { queue.poll_backlog(is_flying)? };
        Some((NumberedHead { epoch, lane, seq }, fresh))
    }

    fn load(&self, counts: impl Fn(&(Lane, Epoch, Seq), &Flight) -> bool) -> Load {
        let flights = self.flying.iter().filter(|(key, flight)| counts(key, flight));
        flights.fold(Load::default(), |load, (_, flight)| Load {
            bytes: load.bytes + flight.bytes,
            batches: load.batches + 1,
        })
    }

    fn ack_timeout(&self) -> Duration {
        let expected = self.ack_time.unwrap_or_default() * 4;
        expected.clamp(self.config.ack_timeout_min, self.config.ack_timeout_max)
    }

    fn release(&mut self, lanes: &[LaneRanges], now: MonoTime) -> Vec<Released> {
        let mut released = Vec::new();
        for acked in lanes {
            let mut ranges = Vec::new();
            for range in &acked.ranges {
                self.land(acked.lane, acked.epoch, *range, Some(now));
                ranges.extend(self.queue(acked.lane).ack(acked.epoch, *range));
            }
            if !ranges.is_empty() {
                released.push(Released { lane: acked.lane, epoch: acked.epoch, ranges });
            }
        }
        released
    }

    /// Takes batches out of flight; with `acked_at`, learns from them how long acks take.
    fn land(&mut self, lane: Lane, epoch: Epoch, range: SeqRange, acked_at: Option<MonoTime>) {
        let keys = (lane, epoch, range.first)..(lane, epoch, range.end);
        let landed: Vec<_> = self.flying.range(keys).map(|(key, flight)| (*key, *flight)).collect();
        for (key, flight) in landed {
            self.flying.remove(&key);
            let Some(now) = acked_at else { continue };
            let took = now.since(flight.at);
            self.ack_time = Some(self.ack_time.map_or(took, |smooth| (smooth * 7 + took) / 8));
            if lane != Lane::Urgent {
                self.pace.handle_acked(&flight, now);
            }
        }
    }

    fn queue(&mut self, lane: Lane) -> &mut LaneQueue {
        self.lanes.get_mut(lane.index()).expect("there is a queue for each lane")
    }
}

fn has_room(window: Window, load: Load) -> bool {
    load.bytes < window.bytes as usize && load.batches < window.batches as usize
}

fn key(head: NumberedHead) -> (Lane, Epoch, Seq) {
    (head.lane, head.epoch, head.seq)
}

#[cfg(test)]
mod tests;
