//! One agent's session: what each of its frames does.

use std::sync::Arc;

use bytes::Bytes;

use muster_protocol::{
    batch,
    frame::Frame,
    message::{
        Bye, ByeReason, Heartbeat, HeartbeatReply, Hello, Message, NeedSchema, Numbered, NumberedHead,
        Refuse, RefuseReason, Welcome,
    },
    schema::Schema,
    session::receiver::{Claim, LossVerdict, Verdict},
    time::WallTime,
};

use super::{
    Ingest,
    absence::commit_absences,
    robot::{OpenSession, Robot, RobotState, SessionGauge},
    told::{LastTold, conflicting},
};
use crate::{
    committer::{CommitError, Decoded, Entry, RejectReason, Rejected},
    fleet::LiveLink,
    link::port::{self, AgentSession, Closed, Outbox, Peer, Ticket, TicketIssuer, Unhandled},
    record::{Body, DownReason, Envelope, SessionEvent, Transport},
};

/// The gateway's end of one agent's connection.
pub(super) struct Session {
    ingest: Ingest,
    peer: Peer,
    outbox: Outbox,
    open: Option<Open>,
}

/// After the Hello.
#[derive(Clone)]
struct Open {
    robot: Arc<Robot>,
    number: u64,
}

impl Session {
    pub(super) fn new(ingest: Ingest, peer: Peer, outbox: Outbox) -> Self {
        Self { ingest, peer, outbox, open: None }
    }

    fn take(&mut self, frame: &Frame) -> Result<Ticket, Bye> {
        let message = Message::from_frame(frame).map_err(|error| {
            tracing::warn!(address = %self.peer.address, "closed a session: {error}");
            BROKE_PROTOCOL
        })?;
        match (message, self.open.clone()) {
            (Message::Hello(hello), None) => self.handle_hello(&hello).map(|()| Ticket::done(Ok(()))),
            (message, Some(open)) => self.handle_message(&open, message),
            (_, None) => Err(BROKE_PROTOCOL),
        }
    }

    fn handle_message(&self, open: &Open, message: Message) -> Result<Ticket, Bye> {
        self.hear(open, &message)?;
        match message {
            Message::Heartbeat(beat) => self.handle_heartbeat(open, &beat),
            Message::Schema(schema) => return handle_schema(open, &schema.payload),
            Message::Batch(batch) => return Ok(self.handle_batch(open, batch)),
            Message::Loss(loss) => return Ok(self.handle_loss(open, &loss)),
            Message::Bye(_) => self.end(open, DownReason::Closed),
            _ => return Err(BROKE_PROTOCOL),
        }
        Ok(Ticket::done(Ok(())))
    }

    /// Takes a frame as a sign of life, if the session still speaks for its robot.
    fn hear(&self, open: &Open, message: &Message) -> Result<(), Bye> {
        let clock = self.ingest.0.clock;
        let mut state = open.robot.lock();
        if let Some(session) = state.session(open.number) {
            session.hear(clock.mono(), clock.wall());
            if let Message::Batch(sent) | Message::Loss(sent) = message {
                session.saw(&sent.head);
            }
            return Ok(());
        }
        // Without a newer session nothing took this one's place: it was silent for too long, or said Bye itself.
        let retry_after_ms = if state.session.is_some() { BROKEN_RETRY_MS } else { 0 };
        Err(Bye { reason: ByeReason::Superseded, retry_after_ms })
    }

    fn handle_hello(&mut self, hello: &Hello) -> Result<(), Bye> {
        if let Some(bound) = self.peer.robot.as_ref().filter(|bound| **bound != hello.robot) {
            let said = &hello.robot;
            tracing::warn!(address = %self.peer.address, "refused a Hello for {said} on a connection of {bound}");
            return Err(Bye { reason: ByeReason::IdentityMismatch, retry_after_ms: BROKEN_RETRY_MS });
        }
        let shared = &self.ingest.0;
        let Some(robot) = self.ingest.admit(&hello.robot) else {
            return Err(Bye { reason: ByeReason::TooManySessions, retry_after_ms: ROBOTS_FULL_RETRY_MS });
        };
        let number = shared.next_session();
        let now = shared.clock.wall();
        let old = {
            let mut state = robot.lock();
            let welcome = Welcome {
                instance: shared.config.instance.id,
                log: shared.config.log,
                session: number,
                window: shared.config.window,
                have: state.receiver.handle_hello(&hello.held, &hello.drained),
                schemas: state.schema_hashes(),
                now,
            };
            // Under the lock: once the session is in its place, acks go to its outbox, and none may come before the Welcome.
            let _ = self.outbox.send(Message::Welcome(welcome).to_frame());
            let told = SessionEvent::told(&hello.held, &hello.drained, hello.clock);
            for event in [self.up(hello), told] {
                robot.owe(&mut state, number, (now, event));
            }
            robot.owe_labels(&mut state, number, (now, &hello.labels));
            state.session.replace(self.opened(number, hello, now))
        };
        shared.commit_owed(&robot);
        if let Some(old) = old {
            self.supersede(&robot, &old, number, hello);
        }
        tracing::info!(robot = %robot.id, address = %self.peer.address, transport = %self.peer.transport, "session up");
        commit_absences(&self.ingest, &robot);
        self.open = Some(Open { robot, number });
        Ok(())
    }

    fn opened(&self, number: u64, hello: &Hello, now: WallTime) -> OpenSession {
        let live = LiveLink {
            last_heard: now,
            told_at: now,
            held: hello.held.clone(),
            clock: Some(hello.clock),
            transport: transport(self.peer.transport),
            address: self.peer.address.to_string(),
        };
        let heard = self.ingest.0.clock.mono();
        let gauge = SessionGauge::open(&self.ingest.0.metrics, live.transport);
        let (instance, outbox) = (Some(hello.instance), Some(self.outbox.clone()));
        let told = Some(LastTold::new(&hello.held, hello.clock.wall.nanos_since(now), heard));
        OpenSession { number, instance, outbox, heard, live, told, sent: None, _gauge: gauge }
    }

    /// Ends the session that this one replaced. Another process of the same robot has to stay away for a while, so
    /// that two of them do not push each other out without end; a reconnect of the same process may come at once.
    fn supersede(&self, robot: &Arc<Robot>, old: &OpenSession, number: u64, newer: &Hello) {
        let shared = &self.ingest.0;
        let is_other = old.instance.is_some_and(|instance| instance != newer.instance);
        let retry_after_ms = if is_other { CONFLICT_RETRY_MS } else { 0 };
        if let Some(outbox) = &old.outbox {
            outbox.close(Bye { reason: ByeReason::Superseded, retry_after_ms });
        }
        shared.metrics.session_ended(old.live.transport, DownReason::Superseded);
        shared.commit_event(robot, old.number, SessionEvent::Down { why: DownReason::Superseded });
        if let Some(instance) = conflicting(old, newer) {
            let address = old.live.address.clone();
            tracing::warn!(
                robot = %robot.id, other = %address,
                "another process with another spool took over: this robot was wiped or replaced, or two speak for it and the \
                 older one is back in minutes"
            );
            shared.commit_event(robot, number, SessionEvent::Conflict { instance, address });
        }
    }

    fn up(&self, hello: &Hello) -> SessionEvent {
        SessionEvent::Up {
            transport: transport(self.peer.transport),
            address: self.peer.address.to_string(),
            version: hello.version.clone(),
            clock: Some(hello.clock),
            instance: Some(hello.instance),
        }
    }

    fn handle_heartbeat(&self, open: &Open, beat: &Heartbeat) {
        let clock = self.ingest.0.clock;
        let now = clock.wall();
        let skew_ns = beat.clock.wall.nanos_since(now);
        let mut state = open.robot.lock();
        state.receiver.handle_heartbeat(&beat.held);
        let mut is_news = false;
        if let Some(session) = state.session(open.number) {
            session.live.told_at = now;
            session.live.held.clone_from(&beat.held);
            session.live.clock = Some(beat.clock);
            let told = session.told.as_mut();
            is_news = told.is_some_and(|told| told.handle_heartbeat(&beat.held, skew_ns, clock.mono()));
        }
        drop(state);
        if is_news {
            let told = SessionEvent::told(&beat.held, &[], beat.clock);
            self.ingest.0.commit_event(&open.robot, open.number, told);
        }
        commit_absences(&self.ingest, &open.robot);
        let reply = HeartbeatReply { echo: beat.clock.mono, now };
        let _ = self.outbox.send(Message::HeartbeatReply(reply).to_frame());
    }

    fn handle_batch(&self, open: &Open, batch: Numbered) -> Ticket {
        let head = batch.head;
        let info = match batch::peek(&batch.payload) {
            Ok(info) => info,
            Err(error) => return self.refuse_malformed(open, head, &error),
        };
        let via = transport(self.peer.transport);
        self.ingest.0.metrics.received(via, info.samples.into(), batch.payload.len());
        let known = open.robot.lock().schema(info.schema);
        let schema = known.or_else(|| self.ingest.0.log.schema(&open.robot.id, info.schema));
        let Some(schema) = schema else {
            let _ = self
                .outbox
                .send(Message::NeedSchema(NeedSchema { batch: head, hash: info.schema }).to_frame());
            return Ticket::done(Ok(()));
        };
        let decoded = match batch::decode(&batch.payload, &schema) {
            Ok(decoded) => decoded,
            Err(error) => return self.refuse_malformed(open, head, &error),
        };
        let mut state = open.robot.lock();
        state.learn_schema(&schema);
        let claim = match state.receiver.handle_batch(head, info.samples) {
            Verdict::Commit(claim) => claim,
            Verdict::Committed => return self.say_again(open, &mut state, head),
            Verdict::Claimed => return self.await_claim(&mut state, head),
            Verdict::Refuse(reason) => return self.refuse(open, head, reason),
        };
        drop(state);
        let stored = (schema.hash(), schema.encoded().clone());
        let decoded = Arc::new(Decoded { schema, batch: decoded });
        let body = Body::Batch { head, info, payload: batch.payload };
        self.submit(open, claim, body, Some((stored, decoded)))
    }

    fn handle_loss(&self, open: &Open, loss: &Numbered) -> Ticket {
        let head = loss.head;
        let loss = match loss.loss() {
            Ok(loss) => loss,
            Err(error) => return self.refuse_malformed(open, head, &error),
        };
        let mut state = open.robot.lock();
        let (claim, loss) = match state.receiver.handle_loss(head, &loss) {
            LossVerdict::Commit(claim, loss) => (claim, loss),
            LossVerdict::Committed => return self.say_again(open, &mut state, head),
            LossVerdict::Claimed => return self.await_claim(&mut state, head),
            LossVerdict::Refuse(reason) => return self.refuse(open, head, reason),
        };
        drop(state);
        self.submit(open, claim, Body::Loss { head: Some(head), loss }, None)
    }

    fn submit(
        &self,
        open: &Open,
        claim: Claim,
        body: Body,
        batch: Option<((muster_protocol::id::SchemaHash, Bytes), Arc<Decoded>)>,
    ) -> Ticket {
        let (issuer, ticket) = Ticket::new();
        let head = claim.head().expect("what came from an agent has a number");
        let received_at = self.ingest.0.clock.wall();
        let envelope = Envelope { received_at, robot: open.robot.id.clone(), session: open.number, body };
        let (schema, decoded) = batch.unzip();
        let settle = settler(self.ingest.clone(), Arc::clone(&open.robot), claim, issuer);
        let entry =
            Entry { envelope, schema, decoded, done: Box::new(move |result| settle(result.map(drop))) };
        let Err(Rejected { entry, why }) = self.ingest.0.log.submit(entry) else { return ticket };
        (entry.done)(Err(CommitError::Failed));
        let reason = match why {
            RejectReason::QueueFull => RefuseReason::Busy,
            RejectReason::DiskFull => RefuseReason::DiskFull,
            RejectReason::Closed => return Ticket::done(Err(Unhandled::Stopping)),
        };
        self.refuse(open, head, reason)
    }

    /// Acknowledges what is committed already.
    fn say_again(&self, open: &Open, state: &mut RobotState, head: NumberedHead) -> Ticket {
        self.ingest.0.metrics.duplicate();
        state.unsaid.insert((head.epoch, head.lane, head.seq));
        self.ingest.0.acks.queue(&open.robot, state);
        Ticket::done(Ok(()))
    }

    /// Lets a copy's ticket follow its claim. `state` is locked since the verdict, so the claim is not settled yet.
    fn await_claim(&self, state: &mut RobotState, head: NumberedHead) -> Ticket {
        self.ingest.0.metrics.duplicate();
        let (issuer, ticket) = Ticket::new();
        state.await_claim(head, issuer);
        ticket
    }

    fn refuse_malformed(&self, open: &Open, head: NumberedHead, error: &dyn std::error::Error) -> Ticket {
        tracing::warn!(robot = %open.robot.id, lane = %head.lane, seq = %head.seq, "refused a batch: {error}");
        self.refuse(open, head, RefuseReason::Malformed)
    }

    fn refuse(&self, open: &Open, head: NumberedHead, reason: RefuseReason) -> Ticket {
        tracing::debug!(robot = %open.robot.id, lane = %head.lane, seq = %head.seq, ?reason, "refused");
        self.ingest.0.metrics.refused(reason, transport(self.peer.transport));
        open.robot.note_refused(reason, &self.ingest.0.clock, self.ingest.0.config.lately);
        let retry_after_ms = match reason {
            RefuseReason::Malformed => None,
            RefuseReason::WindowFull | RefuseReason::Busy => Some(BUSY_RETRY_MS),
            RefuseReason::EpochClosed => Some(EPOCH_CLOSED_RETRY_MS),
            RefuseReason::DiskFull => Some(DISK_FULL_RETRY_MS),
        };
        let _ = self.outbox.send(Message::Refuse(Refuse { batch: head, reason, retry_after_ms }).to_frame());
        Ticket::done(Ok(()))
    }

    fn end(&self, open: &Open, why: DownReason) {
        let is_this = |session: &OpenSession| session.number == open.number;
        if self.ingest.0.end_session_if(&open.robot, why, is_this).is_some() {
            tracing::info!(robot = %open.robot.id, %why, "session down");
        }
    }
}

impl AgentSession for Session {
    fn handle_frame(&mut self, frame: Frame) -> Ticket {
        match self.take(&frame) {
            Ok(ticket) => ticket,
            Err(bye) => {
                self.outbox.close(bye);
                // A ticket that failed would end the link at once, without the Bye that says why.
                Ticket::done(Ok(()))
            }
        }
    }

    fn closed(self: Box<Self>, why: Closed) {
        let Some(open) = &self.open else { return };
        let why = match why {
            Closed::ByPeer => DownReason::Closed,
            Closed::Silent => DownReason::Silent,
            Closed::BrokeProtocol => DownReason::ProtocolError,
            Closed::Superseded => DownReason::Superseded,
            Closed::Shutdown => DownReason::GatewayShutdown,
            Closed::Lost | Closed::SlowReader | Closed::BySession | Closed::NotHandled | Closed::Failed => {
                DownReason::Lost
            }
        };
        self.end(open, why);
    }
}

impl OpenSession {
    fn hear(&mut self, mono: muster_protocol::time::MonoTime, wall: WallTime) {
        self.heard = mono;
        self.live.last_heard = wall;
    }
}

/// Makes what the committer calls once a record is synced, or never will be.
pub(super) fn settler(
    ingest: Ingest,
    robot: Arc<Robot>,
    claim: Claim,
    issuer: TicketIssuer,
) -> impl FnOnce(Result<(), CommitError>) + Send {
    move |committed| {
        let result = committed.map_err(unhandled);
        let copies = {
            let mut state = robot.lock();
            let copies = state.settle(claim, result);
            ingest.0.acks.queue(&robot, &mut state);
            copies
        };
        issuer.resolve(result);
        resolve(copies, result);
        if result.is_ok() {
            commit_absences(&ingest, &robot);
        }
    }
}

pub(super) fn unhandled(error: CommitError) -> Unhandled {
    match error {
        CommitError::DiskFull => Unhandled::DiskFull,
        CommitError::NoSchema | CommitError::Failed => Unhandled::Stopping,
    }
}

fn resolve(issuers: Vec<TicketIssuer>, result: Result<(), Unhandled>) {
    for issuer in issuers {
        issuer.resolve(result);
    }
}

fn handle_schema(open: &Open, payload: &Bytes) -> Result<Ticket, Bye> {
    let schema = Schema::decode(payload).map_err(|error| {
        tracing::warn!(robot = %open.robot.id, "closed a session: a schema does not decode: {error}");
        BROKE_PROTOCOL
    })?;
    open.robot.lock().learn_schema(&Arc::new(schema));
    Ok(Ticket::done(Ok(())))
}

fn transport(transport: port::Transport) -> Transport {
    match transport {
        port::Transport::Quic => Transport::Quic,
        port::Transport::Mqtt => Transport::Mqtt,
    }
}

/// A queue that is full has room again within a few commits.
const BUSY_RETRY_MS: u32 = 250;

/// A closed epoch opens with one of the next heartbeats, if at all.
const EPOCH_CLOSED_RETRY_MS: u32 = 5_000;

/// A full disk waits for an operator.
const DISK_FULL_RETRY_MS: u32 = 30_000;

/// An agent that broke the protocol will break it again.
const BROKEN_RETRY_MS: u32 = 60_000;

/// For what no agent that keeps to the protocol says.
const BROKE_PROTOCOL: Bye = Bye { reason: ByeReason::ProtocolError, retry_after_ms: BROKEN_RETRY_MS };

/// A gateway that is full of robots stays so until an operator acts.
const ROBOTS_FULL_RETRY_MS: u32 = 60_000;

/// How long the loser of two processes with one identity stays away.
const CONFLICT_RETRY_MS: u32 = 180_000;
