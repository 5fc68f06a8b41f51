//! What the agent decides between its spool and its links: when to connect and to whom, what to send, when a gateway
//! counts as gone. Pure: events and time come in, [`Action`]s come out; the [`driver`](crate::driver) carries them out.
//!
//! ```text
//!            Connect               connected            Welcome
//!   Waiting ---------> Connecting -----------> Greeting ---------> Live
//!      ^                   | failed               | closed, silent   | closed, silent, Bye
//!      '-------------------+----------------------+------------------'
//! ```

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use muster_protocol::{
    frame::Frame,
    id::{InstanceId, RobotId, SchemaHash},
    message::{
        Bye, ByeReason, Clock, Heartbeat, Hello, Message, MessageError, Numbered, NumberedHead, SchemaBody,
    },
    session::sender::{GaveUp, Released, Sender},
    time::MonoTime,
};

use crate::{backoff::Backoff, link::Stream, spool::Holding};

/// The agent's decisions about delivery.
#[derive(Debug)]
pub struct Delivery {
    who: Who,
    sender: Sender,
    phase: Phase,
    backoff: Backoff,
    url: usize,
    urls: usize,
    heartbeat_every: Duration,
    /// What the spool held last, for Hello and heartbeats.
    holding: Holding,
    loading: bool,
    actions: VecDeque<Action>,
    figures: Figures,
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
}

/// A batch or loss record as the spool keeps it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The payload.
    pub payload: Bytes,
    /// The schema of a batch; `None` makes it a loss record.
    pub schema: Option<(SchemaHash, Bytes)>,
}

/// What an operator may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether a session is established.
    pub up: bool,
    /// Batches and loss records released so far.
    pub released: u64,
    /// Sessions established so far.
    pub sessions: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting { until: MonoTime },
    Connecting,
    Greeting { since: MonoTime },
    Live { heard: MonoTime, beat_at: MonoTime },
}

/// Batches read from the spool at once: enough to fill a fast link, few enough to hold little memory.
pub const LOAD_BATCHES_MAX: usize = 16;

/// A gateway that says nothing for so long is gone. It answers each heartbeat.
const SILENCE: Duration = Duration::from_secs(45);

impl Delivery {
    /// Starts with what the sender holds, and connects at once.
    pub fn new(who: Who, sender: Sender, backoff: Backoff, urls: usize, heartbeat_every: Duration) -> Self {
        Self {
            who,
            sender,
            phase: Phase::Waiting { until: MonoTime::default() },
            backoff,
            url: 0,
            urls: urls.max(1),
            heartbeat_every,
            holding: Holding::default(),
            loading: false,
            actions: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// Gives access to the sender for what the spool reports: spooled, evicted.
    pub fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Takes what the spool holds now.
    pub fn handle_held(&mut self, holding: Holding) {
        self.holding = holding;
    }

    /// A connection stands. Says Hello.
    pub fn handle_connected(&mut self, queue_time: Option<Duration>, clock: Clock, now: MonoTime) {
        self.phase = Phase::Greeting { since: now };
        self.sender.set_queue_time(queue_time);
        let hello = Hello {
            robot: self.who.robot.clone(),
            instance: self.who.instance,
            version: self.who.version.to_owned(),
            held: self.holding.held.clone(),
            drained: self.holding.drained.clone(),
            clock,
        };
        self.say(&Message::Hello(hello));
    }

    /// A connection did not come about, or is over.
    pub fn handle_closed(&mut self, now: MonoTime) {
        let wait = self.backoff.next_wait();
        self.wait_until(now + wait);
        self.url = (self.url + 1) % self.urls;
    }

    /// Takes a frame from the gateway. An error means that it does not speak the protocol; the link is closed.
    pub fn handle_frame(&mut self, frame: &Frame, now: MonoTime) -> Result<(), MessageError> {
        let message = Message::from_frame(frame).inspect_err(|_| self.disconnect(now))?;
        if let Phase::Live { heard, .. } = &mut self.phase {
            *heard = now;
        }
        match message {
            Message::Welcome(welcome) => {
                self.phase = Phase::Live { heard: now, beat_at: now + self.heartbeat_every };
                self.backoff.reset();
                self.url = 0;
                self.figures.up = true;
                self.figures.sessions += 1;
                let released = self.sender.handle_welcome(&welcome, now);
                self.release(released);
            }
            Message::Ack(ack) => {
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
            let stream = Stream::Lane(head.lane);
            let numbered = Numbered { head, payload };
            let Some((hash, encoded)) = schema else {
                self.actions.push_back(Action::Send(stream, Message::Loss(numbered).to_frame()));
                continue;
            };
            if self.sender.claim_schema(head.lane, hash) {
                let schema = Message::Schema(SchemaBody { payload: encoded });
                self.actions.push_back(Action::Send(stream, schema.to_frame()));
            }
            self.actions.push_back(Action::Send(stream, Message::Batch(numbered).to_frame()));
        }
    }

    /// Does what is due. `clock` goes into a heartbeat.
    pub fn handle_timeout(&mut self, clock: Clock, now: MonoTime) {
        match self.phase {
            Phase::Waiting { until } if until <= now => {
                self.phase = Phase::Connecting;
                self.actions.push_back(Action::Connect(self.url));
            }
            Phase::Greeting { since } if since + SILENCE <= now => self.disconnect(now),
            Phase::Live { heard, .. } if heard + SILENCE <= now => self.disconnect(now),
            Phase::Live { heard, beat_at } if beat_at <= now => {
                self.phase = Phase::Live { heard, beat_at: now + self.heartbeat_every };
                let held = self.holding.held.clone();
                self.say(&Message::Heartbeat(Heartbeat { held, clock }));
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
            Phase::Greeting { since } => Some(since + SILENCE),
            Phase::Live { heard, beat_at } => Some(beat_at.min(heard + SILENCE)),
        };
        [phase, self.sender.poll_timeout()].into_iter().flatten().min()
    }

    /// Returns what to do next.
    pub fn poll_action(&mut self, now: MonoTime) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.loading || !self.is_live() {
            return None;
        }
        let heads: Vec<_> =
            std::iter::from_fn(|| self.sender.poll_transmit(now)).take(LOAD_BATCHES_MAX).collect();
        if heads.is_empty() {
            return None;
        }
        self.loading = true;
        Some(Action::Load(heads))
    }

    /// Says goodbye: the agent stops.
    pub fn handle_stop(&mut self) {
        if self.is_live() {
            self.say(&Message::Bye(Bye { reason: ByeReason::Shutdown, retry_after_ms: 0 }));
        }
    }

    /// Returns whether everything that was spooled is acknowledged.
    pub fn is_drained(&self) -> bool {
        self.sender.is_drained()
    }

    /// Returns what an operator may ask.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    fn handle_bye(&mut self, bye: &Bye, now: MonoTime) {
        let wait = self.backoff.next_wait().max(Duration::from_millis(bye.retry_after_ms.into()));
        self.wait_until(now + wait);
        self.actions.push_back(Action::Disconnect);
    }

    fn disconnect(&mut self, now: MonoTime) {
        self.handle_closed(now);
        self.actions.push_back(Action::Disconnect);
    }

    fn wait_until(&mut self, until: MonoTime) {
        self.phase = Phase::Waiting { until };
        self.figures.up = false;
        self.sender.handle_down();
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
mod tests;
