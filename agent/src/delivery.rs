//! What the agent decides between its spool and its links: when to connect and to whom, what to send, when a gateway
//! counts as gone. Pure: events and time come in, [`Action`]s come out; the [`driver`](crate::driver) carries them out.
//!
//! ```text
//!            Connect               connected            Welcome
//!   Waiting ---------> Connecting -----------> Greeting ---------> Live
//!      ^                   | failed               | closed, silent   | closed, silent, Bye
//!      '-------------------+----------------------+------------------'
//! ```

mod standing;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use muster_protocol::{
    frame::{Frame, HEADER_BYTES},
    id::{InstanceId, Lane, RobotId, SchemaHash},
    label::Labels,
    message::{
        Bye, ByeReason, Clock, Heartbeat, HeldLane, Hello, Message, MessageError, Numbered, NumberedHead,
        SchemaBody, SeqRange,
    },
    session::sender::{GaveUp, Priority, Released, Sender},
    time::{MonoTime, WallTime},
};

use crate::{
    backoff::Backoff,
    link::Stream,
    spool::{Holding, Span},
    uplink::{self, Uplink, ledger::Record},
};

pub use standing::{Figures, Stage, Standing};

/// The agent's decisions about delivery.
#[derive(Debug)]
pub struct Delivery {
    who: Who,
    sender: Sender,
    phase: Phase,
    backoff: Backoff,
    uplink: Uplink,
    url: usize,
    urls: usize,
    heartbeat_every: Duration,
    hello_every: Option<Duration>,
    /// What the spool held last, for Hello and heartbeats.
    holding: Holding,
    loading: bool,
    actions: VecDeque<Action>,
    figures: Figures,
    /// When a session began or ended last.
    turned: Option<MonoTime>,
    acked: Option<MonoTime>,
}

/// Who delivers.
#[derive(Clone, Debug)]
pub struct Who {
    /// The robot.
    pub robot: RobotId,
    /// This process.
    pub instance: InstanceId,
    /// The agent's version.
    pub version: &'static str,
    /// What its configuration calls the robot by.
    pub labels: Labels,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the URL with this number, then call [`Delivery::handle_connected`] or
    /// [`Delivery::handle_closed`].
    Connect(usize),
    /// Give the frame to the link.
    Send(Stream, Frame),
    /// Read these from the spool, then call [`Delivery::handle_loaded`].
    Load(Vec<NumberedHead>),
    /// Let the spool remove what was acknowledged.
    Release(Released),
    /// Let the spool replace a batch, refused for good, by a loss record.
    GiveUp(GaveUp),
    /// Close the link.
    Disconnect,
    /// Write how much may be sent, then call [`Delivery::handle_saved`].
    SaveUplink(Record),
}

/// A batch or loss record as the spool keeps it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The payload.
    pub payload: Bytes,
    /// The schema of a batch; `None` makes it a loss record.
    pub schema: Option<(SchemaHash, Bytes)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting { until: MonoTime },
    Connecting,
    Greeting { leave_at: MonoTime, hello_at: Option<MonoTime> },
    Live { since: MonoTime, heard: MonoTime, beat_at: MonoTime },
}

/// Batches read from the spool at once: enough to fill a fast link, few enough to hold little memory.
pub const LOAD_BATCHES_MAX: usize = 16;

/// A gateway that says nothing for so long is gone. It answers each heartbeat.
const SILENCE: Duration = Duration::from_secs(45);

/// How long a broker without a gateway behind it is kept when there is no other way: the broker itself answers, and a
/// Hello costs less than a connection.
const ALONE_SILENCE: Duration = Duration::from_secs(600);

/// A session that lasted so long was one; after a shorter one, waits go on growing.
const LASTED: Duration = Duration::from_secs(10);

impl Delivery {
    /// Starts with what the sender holds, and connects at once.
    pub fn new(who: Who, sender: Sender, backoff: Backoff, urls: usize, heartbeat_every: Duration) -> Self {
        Self {
            who,
            sender,
            phase: Phase::Waiting { until: MonoTime::default() },
            backoff,
            uplink: Uplink::default(),
            url: 0,
            urls: urls.max(1),
            heartbeat_every,
            hello_every: None,
            holding: Holding::default(),
            loading: false,
            actions: VecDeque::new(),
            figures: Figures::default(),
            turned: None,
            acked: None,
        }
    }

    /// Gives it limits of what may be sent; without, there are none.
    #[must_use]
    pub fn with_uplink(self, uplink: Uplink) -> Self {
        Self { uplink, ..self }
    }

    /// Gives access to the sender for what the spool reports: spooled, evicted.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Takes what was found in the spool and is to be sent.
    pub fn handle_found(&mut self, spans: &[Span]) {
        for span in spans {
            let range = SeqRange { first: span.first, end: span.next };
            self.sender.handle_recovered(span.lane, span.epoch, span.segment.number(), range);
        }
    }

    /// Takes what the spool holds now.
    pub fn handle_held(&mut self, holding: Holding) {
        let is_told = |lane: &HeldLane| self.holding.held.iter().any(|known| known.epoch == lane.epoch);
        let all_told = holding.held.iter().all(is_told);
        self.holding = holding;
        // The gateway refuses an epoch that it was not told of.
        if let (false, Phase::Live { beat_at, .. }) = (all_told, &mut self.phase) {
            *beat_at = MonoTime::default();
        }
    }

    /// Takes how often the next link asks for a Hello until a Welcome comes: behind a broker nobody may be listening
    /// yet. Without it, Hello is said once.
    pub fn set_hello_every(&mut self, hello_every: Option<Duration>) {
        self.hello_every = hello_every;
    }

    /// A connection stands. Says Hello.
    pub fn handle_connected(&mut self, queue_time: Option<Duration>, clock: Clock, now: MonoTime) {
        self.sender.set_queue_time(queue_time);
        self.uplink.handle_link_up();
        let patience = match self.hello_every {
            Some(_) if self.urls == 1 => ALONE_SILENCE,
            _ => SILENCE,
        };
        self.greet(now + patience, clock, now);
    }

    fn greet(&mut self, leave_at: MonoTime, clock: Clock, now: MonoTime) {
        let hello_at = self.hello_every.map(|every| now + self.backoff.spread(every));
        self.phase = Phase::Greeting { leave_at, hello_at };
        let hello = Hello {
            robot: self.who.robot.clone(),
            instance: self.who.instance,
            version: self.who.version.to_owned(),
            held: self.holding.held.clone(),
            drained: self.holding.drained.clone(),
            clock,
            labels: self.who.labels.clone(),
        };
        self.say(&Message::Hello(hello));
    }

    /// A connection did not come about, or was lost on the way.
    pub fn handle_closed(&mut self, now: MonoTime) {
        self.end_session(now);
        let wait = self.backoff.next_wait();
        self.wait_until(now + wait);
        self.url = (self.url + 1) % self.urls;
    }

    /// The gateway ended the connection: most likely it ended those of all its robots.
    pub fn handle_closed_by_gateway(&mut self, now: MonoTime) {
        self.end_session(now);
        let wait = self.backoff.return_wait();
        self.wait_until(now + wait);
        self.url = (self.url + 1) % self.urls;
    }

    /// Takes the clocks and what the link has counted since it was opened, zero without one. Call it before asking what
    /// to do, so that limits follow.
    pub fn handle_uplink(&mut self, counted: u64, wall: WallTime, now: MonoTime) {
        self.uplink.handle_clock(wall, now);
        self.uplink.handle_counted(counted);
        if self.sender.in_flight() == 0 {
            self.uplink.handle_idle();
        }
    }

    /// Takes what an attempt to connect has sent that no link counts.
    pub fn handle_spent(&mut self, bytes: u64) {
        self.uplink.handle_spent(bytes);
    }

    /// Takes what became of [`Action::SaveUplink`]. Returns whether a failure is new and has to be said.
    pub fn handle_saved(&mut self, record: Record, written: bool) -> bool {
        self.uplink.handle_saved(record, written)
    }

    /// Returns what was sent and what may be.
    pub fn uplink(&self) -> uplink::Figures {
        self.uplink.figures()
    }

    /// Returns the exact counts, to be written at the end.
    pub fn last_record(&self) -> Option<Record> {
        self.uplink.last_record()
    }

    /// Takes a frame from the gateway. An error means that it does not speak the protocol; the link is closed.
    pub fn handle_frame(&mut self, frame: &Frame, now: MonoTime) -> Result<(), MessageError> {
        let message = Message::from_frame(frame).inspect_err(|_| self.disconnect(now))?;
        if let Phase::Live { heard, .. } = &mut self.phase {
            *heard = now;
        }
        match message {
            Message::Welcome(welcome) => {
                self.phase = Phase::Live { since: now, heard: now, beat_at: now + self.heartbeat_every };
                self.url = 0;
                self.figures.up = true;
                self.turned = Some(now);
                self.figures.sessions += 1;
                let released = self.sender.handle_welcome(&welcome, now);
                self.release(released);
            }
            Message::Ack(ack) => {
                self.acked = Some(now);
                let released = self.sender.handle_ack(&ack, now);
                self.release(released);
            }
            Message::Refuse(refuse) => {
                let gave_up = self.sender.handle_refuse(&refuse, now);
                self.actions.extend(gave_up.map(Action::GiveUp));
            }
            Message::NeedSchema(need) => self.sender.handle_need_schema(&need),
            Message::Bye(bye) => self.handle_bye(&bye, now),
            // A heartbeat's answer was heard, which is all; what only agents say is not for us.
            _ => {}
        }
        Ok(())
    }

    /// Takes what was read for [`Action::Load`]; `None` where the spool no longer has it.
    pub fn handle_loaded(&mut self, loaded: Vec<(NumberedHead, Option<Loaded>)>, now: MonoTime) {
        self.loading = false;
        if !self.is_live() {
            return;
        }
        for (head, loaded) in loaded {
            let Some(Loaded { payload, schema }) = loaded else {
                self.sender.handle_missing(head);
                continue;
            };
            self.sender.handle_loaded(head, payload.len(), now);
            let numbered = Numbered { head, payload };
            let Some((hash, encoded)) = schema else {
                self.send(head.lane, &Message::Loss(numbered));
                continue;
            };
            if self.sender.claim_schema(head.lane, hash) {
                self.send(head.lane, &Message::Schema(SchemaBody { payload: encoded }));
            }
            self.send(head.lane, &Message::Batch(numbered));
        }
    }

    /// Does what is due. `clock` goes into a heartbeat.
    pub fn handle_timeout(&mut self, clock: Clock, now: MonoTime) {
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Connecting;
                self.actions.push_back(Action::Connect(self.url));
            }
            Phase::Greeting { leave_at, .. } if leave_at <= now => self.disconnect(now),
            Phase::Greeting { leave_at, hello_at: Some(hello_at) } if hello_at <= now => {
                self.greet(leave_at, clock, now);
            }
            Phase::Live { heard, .. } if heard + SILENCE <= now => self.disconnect(now),
            Phase::Live { since, heard, beat_at } if beat_at <= now => {
                self.phase = Phase::Live { since, heard, beat_at: now + self.heartbeat_every };
                self.say_held(clock);
            }
            _ => {}
        }
        self.sender.handle_timeout(now);
    }

    /// Returns when to call [`Delivery::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        let phase = match self.phase {
            Phase::Waiting { until } => Some(until),
            Phase::Connecting => None,
            Phase::Greeting { leave_at, hello_at } => Some(hello_at.map_or(leave_at, |at| at.min(leave_at))),
            Phase::Live { heard, beat_at, .. } => Some(beat_at.min(heard + SILENCE)),
        };
        let uplink = if self.is_live() { self.uplink.poll_timeout() } else { None };
        [phase, self.sender.poll_timeout(), uplink].into_iter().flatten().min()
    }

    /// Returns what to do next.
    pub fn poll_action(&mut self, now: MonoTime) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if let Some(record) = self.uplink.poll_save() {
            return Some(Action::SaveUplink(record));
        }
        if self.loading || !self.is_live() {
            return None;
        }
        self.sender.set_floor(self.uplink.floor());
        let most = if self.uplink.is_tight() { 1 } else { LOAD_BATCHES_MAX };
        let heads: Vec<_> = std::iter::from_fn(|| self.sender.poll_transmit(now)).take(most).collect();
        if heads.is_empty() {
            return None;
        }
        self.loading = true;
        Some(Action::Load(heads))
    }

    /// Says what is held and goodbye: the agent stops.
    pub fn handle_stop(&mut self, clock: Clock) {
        if self.is_live() {
            self.say_held(clock);
            self.say(&Message::Bye(Bye { reason: ByeReason::Shutdown, retry_after_ms: 0 }));
        }
    }

    fn say_held(&mut self, clock: Clock) {
        let held = self.holding.held.clone();
        self.say(&Message::Heartbeat(Heartbeat { held, clock }));
    }

    /// Returns whether everything that was spooled is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.sender.is_drained()
    }

    /// Returns what an operator may ask.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    fn send(&mut self, lane: Lane, message: &Message) {
        let frame = message.to_frame();
        let priority = if lane == Lane::Urgent { Priority::Urgent } else { Priority::Live };
        self.uplink.handle_sent((HEADER_BYTES + frame.body.len()) as u64, priority);
        self.actions.push_back(Action::Send(Stream::Lane(lane), frame));
    }

    /// Returns where it stands.
    pub fn standing(&self) -> Standing {
        let stage = match self.phase {
            Phase::Waiting { until } => Stage::Waiting { until },
            Phase::Connecting => Stage::Connecting,
            Phase::Greeting { .. } => Stage::Greeting,
            Phase::Live { .. } => Stage::Up,
        };
        Standing { stage, since: self.turned, acked: self.acked }
    }

    /// Returns the smoothed time from sending a batch to its acknowledgement; `None` before the first.
    pub fn ack_time(&self) -> Option<Duration> {
        self.sender.ack_time()
    }

    /// Returns how many samples wait for their acknowledgement, by lane.
    pub fn samples_held(&self) -> [u64; 3] {
        Lane::ALL.map(|lane| {
            self.holding.held.iter().filter(|held| held.lane == lane).map(|held| held.samples).sum()
        })
    }

    fn handle_bye(&mut self, bye: &Bye, now: MonoTime) {
        self.end_session(now);
        // On top of what it asks for, which it asks of all its robots.
        let wait = self.backoff.return_wait() + Duration::from_millis(bye.retry_after_ms.into());
        self.wait_until(now + wait);
        self.actions.push_back(Action::Disconnect);
    }

    fn disconnect(&mut self, now: MonoTime) {
        self.handle_closed(now);
        self.actions.push_back(Action::Disconnect);
    }

    fn end_session(&mut self, now: MonoTime) {
        if self.is_live() {
            self.turned = Some(now);
        }
        if matches!(self.phase, Phase::Live { since, .. } if since + LASTED <= now) {
            self.backoff.reset();
        }
    }

    fn wait_until(&mut self, until: MonoTime) {
        self.phase = Phase::Waiting { until };
        self.figures.up = false;
        self.sender.handle_down();
        self.uplink.handle_idle();
        // What was meant for the old link is found again; what is meant for the spool stays.
        self.actions.retain(|action| matches!(action, Action::Release(_) | Action::GiveUp(_)));
    }

    fn release(&mut self, released: Vec<Released>) {
        for released in released {
            self.figures.released +=
                released.ranges().iter().map(|range| range.end.0 - range.first.0).sum::<u64>();
            self.actions.push_back(Action::Release(released));
        }
    }

    fn say(&mut self, message: &Message) {
        self.actions.push_back(Action::Send(Stream::Control, message.to_frame()));
    }

    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }
}

#[cfg(test)]
mod live_first;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
