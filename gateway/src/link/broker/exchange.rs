//! A gateway at a broker: [`Exchange::happens`] picks what happened, [`Exchange::apply`] says what follows. The
//! sessions of robots live here and outlast connections; what a connection needs beside them is in the ledger.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::BuildHasher as _,
    net::SocketAddr,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, Sleep, interval, sleep, timeout},
};

use muster_protocol::{
    frame::{Frame, Kind},
    id::RobotId,
    message::{Bye, ByeReason, Message},
    time::MonoTime,
};

use super::{
    Broker, BrokerSettings,
    agent::{Agent, Said, said, said_queue},
    connect,
    connection::{Connection, Event, Letter},
    json::{AGAIN_AFTER, say_bug, store},
    ledger::{Arrival, Ledger, Number, Taken},
    sessions::{Gone, Limits, Sessions, Verdict},
};
use crate::{
    clock::Clock,
    link::{
        port::{Closed, Intake, Outgoing, Peer, Ticket, Transport, Unhandled, outbox},
        topics::{self, Leaf, Topic},
    },
};

/// Everything that goes on between a gateway and a broker.
pub(super) struct Exchange {
    settings: BrokerSettings,
    intake: Arc<dyn Intake>,
    clock: Clock,
    connected: Gauge,
    link: Link,
    /// Where the broker is, since the last connection.
    address: SocketAddr,
    sessions: Sessions<Agent>,
    ledger: Ledger,
    handling: FuturesUnordered<Handling>,
    fingerprints: RandomState,
    said: (mpsc::Sender<Said>, mpsc::Receiver<Said>),
    tick: Interval,
    ceiling: Duration,
    refused: u64,
}

/// The way to the broker.
enum Link {
    /// Until the next try.
    Waiting(Pin<Box<Sleep>>),
    Opening(Opening),
    Up {
        connection: Connection,
        since: MonoTime,
    },
}

/// A connection on its way, with the broker's address.
type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;
type Opened = Result<(Connection, SocketAddr), String>;

/// A message on its way into the log.
type Handling = Pin<Box<dyn Future<Output = (Number, Result<(), Unhandled>)> + Send>>;

enum Happened {
    Due,
    Connected(Opened),
    Event(Event),
    Said(Said),
    Handled(Number, Result<(), Unhandled>),
    Tick,
    Stop,
}

impl Exchange {
    pub(super) fn new(broker: &Broker, limits: Limits) -> Self {
        let Broker { settings, intake, clock, connected } = broker;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            link: Link::Opening(Box::pin(connect(settings.clone()))),
            settings: settings.clone(),
            intake: intake.clone(),
            clock: *clock,
            connected: connected.clone(),
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            sessions: Sessions::new(limits),
            ledger: Ledger::default(),
            handling: FuturesUnordered::new(),
            fingerprints: RandomState::new(),
            said: said_queue(),
            tick,
            ceiling: BACKOFF_MIN,
            refused: 0,
        }
    }

    /// Runs until `stop` turns true, and ends in order.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let happened = self.happens(&mut stop).await;
            if self.apply(happened).is_break() {
                break;
            }
        }
        self.finish().await;
    }

    /// Waits for the next thing to happen.
    async fn happens(&mut self, stop: &mut watch::Receiver<bool>) -> Happened {
        tokio::select! {
            happened = on_link(&mut self.link, &mut self.said.1, self.ledger.is_full()) => happened,
            Some((number, result)) = self.handling.next() => Happened::Handled(number, result),
            _ = self.tick.tick() => Happened::Tick,
            _ = stop.wait_for(|stop| *stop) => Happened::Stop,
        }
    }

    fn apply(&mut self, happened: Happened) -> ControlFlow<()> {
        match happened {
            Happened::Due => self.link = Link::Opening(Box::pin(connect(self.settings.clone()))),
            Happened::Connected(Ok((connection, address))) => self.connected(connection, address),
            Happened::Connected(Err(why)) => self.wait(&format!("no connection to the broker: {why}")),
            Happened::Event(Event::Letter(letter)) => self.take(letter),
            Happened::Event(Event::Closed(why)) => self.disconnected(&why),
            Happened::Said(said) => self.say(said),
            Happened::Handled(number, result) => self.handled(number, result),
            Happened::Tick => {
                for (agent, gone) in self.sessions.take_gone(self.clock.mono()) {
                    agent.end(match gone {
                        Gone::Silent => Closed::Silent,
                        Gone::CutOff => Closed::Lost,
                    });
                }
            }
            Happened::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn connected(&mut self, connection: Connection, address: SocketAddr) {
        let kept = connection.kept;
        tracing::info!(broker = %self.settings.address(), kept, "connected to the broker");
        self.connected.set(1);
        self.ledger.handle_connected(kept);
        self.address = address;
        self.link = Link::Up { connection, since: self.clock.mono() };
    }

    fn disconnected(&mut self, why: &str) {
        self.ledger.handle_disconnected();
        if let Link::Up { since, .. } = &self.link
            && self.clock.mono().since(*since) > STEADY_AFTER
        {
            self.ceiling = BACKOFF_MIN;
        }
        self.wait(&format!("lost the broker: {why}"));
    }

    /// Waits before the next connection: evenly from zero to a ceiling that doubles, because the broker's robots and
    /// other gateways come back at the same time.
    fn wait(&mut self, why: &str) {
        let wait = self.ceiling.mul_f64(draw());
        tracing::warn!(broker = %self.settings.address(), "{why}; next try in {wait:?}");
        self.connected.set(0);
        self.ceiling = (self.ceiling * 2).min(BACKOFF_MAX);
        self.link = Link::Waiting(Box::pin(sleep(wait)));
    }

    /// Takes a message in, and sees to its confirmation.
    fn take(&mut self, letter: Letter) {
        let Letter { topic, payload, packet_id, again } = letter;
        let named = std::str::from_utf8(&topic).ok().and_then(|name| topics::parse(name).ok());
        match named {
            Some(Topic { robot, leaf: Leaf::Json }) => {
                let fingerprint = Some(self.fingerprints.hash_one((&topic, &payload)));
                let bytes = payload.len();
                let arrival = packet_id.map(|packet_id| Arrival { packet_id, bytes, again, fingerprint });
                self.take_json(robot, payload, arrival);
            }
            Some(Topic { robot, leaf }) => {
                let bytes = payload.len();
                let handled = catch_unwind(AssertUnwindSafe(|| self.take_frame(&robot, leaf, payload)));
                let ticket = handled.unwrap_or_else(|_| self.failed(&robot));
                self.follow(ticket, packet_id, bytes);
            }
            None => {
                self.refuse("a topic that does not exist", &topic);
                self.follow(Ticket::done(Ok(())), packet_id, payload.len());
            }
        }
        self.confirm();
    }

    fn take_json(&mut self, robot: RobotId, payload: Bytes, arrival: Option<Arrival>) {
        let Some(arrival) = arrival else {
            // QoS 0 is taken without promise; what is given up is counted.
            drop(self.intake.json_once(&robot, payload));
            return;
        };
        if let Taken::New(number) = self.ledger.take(arrival) {
            let intake = self.intake.clone();
            let stored = async move {
                let stored =
                    AssertUnwindSafe(store(&*intake, &robot, payload, AGAIN_AFTER)).catch_unwind().await;
                (number, stored.unwrap_or_else(|_| say_bug(&robot)))
            };
            self.handling.push(Box::pin(stored));
        }
    }

    fn take_frame(&mut self, robot: &RobotId, leaf: Leaf, payload: Bytes) -> Ticket {
        let handled = Ticket::done(Ok(()));
        let Ok(frame) = Frame::decode(payload) else {
            self.refuse("a payload that is not a frame, of", robot.as_str().as_bytes());
            return handled;
        };
        match self.sessions.judge(robot, leaf, &frame, self.clock.mono()) {
            Verdict::Open => self.open(robot, frame),
            Verdict::Hand => self.hand(robot, frame),
            Verdict::Tell(bye) => {
                if bye.retry_after_ms > 0 {
                    self.refuse(&format!("{:?}, a Hello of", bye.reason), robot.as_str().as_bytes());
                }
                self.tell(robot, bye);
                handled
            }
            Verdict::Drop => handled,
        }
    }

    /// Opens a session, and ends the robot's older one without a word: what that one had to say would reach the robot
    /// on the same topic, and the new session has said it already.
    fn open(&mut self, robot: &RobotId, hello: Frame) -> Ticket {
        let (outbox, outlet) = outbox();
        let peer = Peer { transport: Transport::Mqtt, address: self.address, robot: Some(robot.clone()) };
        let mut session = self.intake.open(peer, outbox);
        let ticket = session.handle_frame(hello);
        let whose = (robot.clone(), self.sessions.next_number());
        let agent = Agent::new(session, outlet, whose, self.said.0.clone());
        if let Some(older) = self.sessions.insert(robot, agent, self.clock.mono()) {
            older.end(Closed::Superseded);
        }
        ticket
    }

    fn hand(&mut self, robot: &RobotId, frame: Frame) -> Ticket {
        let Some(agent) = self.sessions.session(robot) else { return Ticket::done(Ok(())) };
        if frame.kind != Kind::Bye {
            return agent.handle(frame);
        }
        if Message::from_frame(&frame) == Ok(Message::Bye(Bye::CUT_OFF)) {
            self.sessions.cut_off(robot, self.clock.mono());
            return Ticket::done(Ok(()));
        }
        let ticket = agent.handle(frame);
        self.end(robot, Closed::ByPeer);
        ticket
    }

    fn failed(&mut self, robot: &RobotId) -> Ticket {
        self.end(robot, Closed::Failed);
        Ticket::done(say_bug(robot))
    }

    fn end(&mut self, robot: &RobotId, why: Closed) {
        if let Some(agent) = self.sessions.remove(robot) {
            agent.end(why);
        }
    }

    /// Will confirm a message once its ticket resolves.
    fn follow(&mut self, ticket: Ticket, packet_id: Option<u16>, bytes: usize) {
        let Some(packet_id) = packet_id else { return };
        let arrival = Arrival { packet_id, bytes, again: false, fingerprint: None };
        if let Taken::New(number) = self.ledger.take(arrival) {
            self.handling.push(Box::pin(async move { (number, ticket.await) }));
        }
    }

    fn handled(&mut self, number: Number, result: Result<(), Unhandled>) {
        // A frame that found no room is handled: its robot was told, or sends it again when no ack comes. What was not
        // looked at because the gateway stops stays with the broker.
        if result != Err(Unhandled::Stopping) {
            self.ledger.settle(number);
        }
        self.confirm();
    }

    fn confirm(&mut self) {
        let Link::Up { connection, .. } = &self.link else { return };
        while let Some(packet_id) = self.ledger.poll_due() {
            connection.out.confirm(packet_id);
        }
    }

    /// Brings to a robot what its session has to say.
    fn say(&mut self, said: Said) {
        let Said { robot, number, outgoing } = said;
        if !self.sessions.is_current(&robot, number) {
            return;
        }
        match outgoing {
            Outgoing::Frame(frame) => self.send(&robot, &frame),
            Outgoing::Close(bye) => {
                self.tell(&robot, bye);
                self.end(&robot, Closed::BySession);
            }
            Outgoing::Overrun => self.end(&robot, Closed::SlowReader),
        }
    }

    fn tell(&self, robot: &RobotId, bye: Bye) {
        self.send(robot, &Message::Bye(bye).to_frame());
    }

    fn send(&self, robot: &RobotId, frame: &Frame) {
        if let Link::Up { connection, .. } = &self.link {
            connection.out.send(topics::down(robot), frame.encode());
        }
    }

    /// Counts what nobody can handle, and says so now and then.
    fn refuse(&mut self, what: &str, whose: &[u8]) {
        self.refused += 1;
        if self.refused.is_power_of_two() {
            let whose: String = String::from_utf8_lossy(whose).chars().take(SHOWN_CHARS_MAX).collect();
            tracing::warn!(refused = self.refused, "refused a message through the broker: {what} {whose:?}");
        }
    }

    /// Ends in order: what is being handled is confirmed, robots are told, and the broker keeps the rest.
    async fn finish(mut self) {
        let _ = timeout(DRAIN_MAX, self.drain()).await;
        let farewell = Bye { reason: ByeReason::Shutdown, retry_after_ms: SHUTDOWN_RETRY_MS };
        let agents = self.sessions.take_all();
        let Link::Up { mut connection, .. } = self.link else {
            for (_, agent) in agents {
                agent.end(Closed::Shutdown);
            }
            return;
        };
        let Connection { inbox, out, .. } = &mut connection;
        let tell_all = async {
            for (robot, agent) in agents {
                agent.end(Closed::Shutdown);
                out.room().await;
                out.send(topics::down(&robot), Message::Bye(farewell.clone()).to_frame().encode());
            }
        };
        let told = async {
            tokio::select! { () = tell_all => {}, () = inbox.discard() => {} }
        };
        let _ = timeout(DRAIN_MAX, told).await;
        connection.close().await;
    }

    async fn drain(&mut self) {
        while !self.ledger.is_empty() {
            let Link::Up { connection: Connection { inbox, out, .. }, .. } = &mut self.link else { return };
            tokio::select! {
                Some((number, result)) = self.handling.next() => self.handled(number, result),
                said = said(out, &mut self.said.1) => self.say(said),
                () = inbox.discard() => {}
            }
        }
        while let Ok(said) = self.said.1.try_recv() {
            self.say(said);
        }
    }
}

/// Waits for what happens on the way to the broker. Cancel-safe.
async fn on_link(link: &mut Link, sayings: &mut mpsc::Receiver<Said>, full: bool) -> Happened {
    match link {
        Link::Waiting(until) => {
            until.await;
            Happened::Due
        }
        Link::Opening(opening) => Happened::Connected(opening.await),
        Link::Up { connection: Connection { inbox, out, .. }, .. } => tokio::select! {
            event = inbox.next(), if !full => Happened::Event(event),
            said = said(out, sayings) => Happened::Said(said),
        },
    }
}

/// Returns a number from 0 to 1.
fn draw() -> f64 {
    // Without random bytes the greatest wait is as good as any.
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

/// First ceiling of the wait before connecting again; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// Last ceiling: robots keep what they have meanwhile, and a broker that restarts is found soon.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// A connection that lived so long was a good one. Two gateways with one client id push each other out faster.
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// How often sessions are looked at for silence.
const TICK: Duration = Duration::from_secs(1);

/// Longest wait for what is still being handled, and for the farewells, when the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// When robots may come back after a shutdown: a restart takes about so long.
const SHUTDOWN_RETRY_MS: u32 = 1000;

/// Longest piece of a hostile name in the log.
const SHOWN_CHARS_MAX: usize = 120;
