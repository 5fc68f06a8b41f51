//! The seam between links and the rest of the gateway, the same for every transport.
//!
//! A link calls [`Intake::open`] when an agent's first frame, its Hello, has arrived, and then
//! [`AgentSession::handle_frame`] for each frame in the order of arrival, the Hello included. Both return at once. The
//! gateway answers through the [`Outbox`]; the link takes the answers from the [`Outlet`]. Whatever the transport
//! confirms to the peer by itself (an MQTT PUBACK) waits for the [`Ticket`] of what it confirms.
//!
//! ```text
//!            open(peer, outbox)          handle_frame(frame) -> Ticket
//!    link ------------------------> Intake ------------------------> AgentSession
//!      ^                                                                   |
//!      '---- Outlet::next() <---- bounded queue <---- Outbox::send(frame) -'
//! ```

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use muster_protocol::{frame::Frame, id::RobotId, message::Bye};

/// What a link needs from the gateway. One per process; its methods never block.
pub trait Intake: Send + Sync + 'static {
    /// Starts a session: an agent's Hello has arrived and is the first frame that the session will be given.
    fn open(&self, peer: Peer, outbox: Outbox) -> Box<dyn AgentSession>;

    /// Takes a payload of plain JSON samples. The ticket resolves when the valid samples are durable and the refused
    /// ones durably counted; it fails if neither can be done now, and the sender has to send again.
    fn json(&self, robot: &RobotId, payload: Bytes) -> Ticket;

    /// Takes a payload of plain JSON samples that nobody will send again. The ticket resolves when it is stored as with
    /// [`Intake::json`], or else given up and counted; it does not fail.
    fn json_once(&self, robot: &RobotId, payload: Bytes) -> Ticket;
}

/// The gateway's end of one agent's connection.
pub trait AgentSession: Send {
    /// Takes the next frame. The ticket resolves when nothing more has to be done for it that a crash could undo: a
    /// refused batch is handled too. It fails when the gateway can no longer handle it; the link then closes.
    fn handle_frame(&mut self, frame: Frame) -> Ticket;

    /// The connection is over. Called once, whatever happened; a session closed for [`Closed::Superseded`] says
    /// nothing about whether the robot is gone.
    fn closed(self: Box<Self>, why: Closed);
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it came.
    pub transport: Transport,
    /// From where.
    pub address: SocketAddr,
    /// The robot that the connection is bound to (by its certificate, its login or its topics), if it is bound. A Hello
    /// that names another one is refused.
    pub robot: Option<RobotId>,
}

/// How a robot is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// QUIC, frames on streams.
    Quic,
    /// MQTT, frames as payloads, or plain JSON.
    Mqtt,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Closed {
    /// The peer ended it in order.
    ByPeer,
    /// It broke: reset, or an end without a farewell.
    Lost,
    /// Nothing came for longer than the transport allows.
    Silent,
    /// The peer broke the protocol; the link has logged how.
    BrokeProtocol,
    /// The peer did not take what was sent to it, and the [`Outbox`] was full.
    SlowReader,
    /// A newer connection of the same peer took its place.
    Superseded,
    /// The session asked for it with [`Outbox::close`].
    BySession,
    /// The gateway could not handle what arrived.
    NotHandled,
    /// The gateway shuts down.
    Shutdown,
    /// A bug: the connection's task panicked; the link has logged it.
    Failed,
}

/// A promise that something will have been handled durably. A future; dropping it does not undo what was begun.
#[derive(Debug)]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Done(Result<(), Unhandled>),
    Waiting(oneshot::Receiver<Result<(), Unhandled>>),
}

/// Why something was not handled. Nothing of it is promised, and the peer has to send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhandled {
    /// A queue is full. Soon it is not.
    #[error("the gateway is busy")]
    Busy,
    /// The robot is new, and the gateway holds as many as it may. That does not change while it runs.
    #[error("the gateway is full of robots")]
    FullOfRobots,
    /// The disk has no room.
    #[error("the gateway's disk is full")]
    DiskFull,
    /// The gateway is shutting down, or what would have handled it is gone.
    #[error("the gateway is shutting down")]
    Stopping,
}

/// Resolves a [`Ticket`]. Dropped unused, it fails the ticket with [`Unhandled::Stopping`].
#[derive(Debug)]
pub struct TicketIssuer(oneshot::Sender<Result<(), Unhandled>>);

/// The bounded queue of frames towards one peer. Clones share it.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

/// The link's end of an [`Outbox`].
pub struct Outlet(Arc<Shared>);

/// What the link has to do next for its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Send this frame.
    Frame(Frame),
    /// Send this as the last frame, then close.
    Close(Bye),
    /// Close: the peer does not take what is sent to it.
    Overrun,
}

/// The connection is closed or closing; the frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is closed")]
pub struct LinkClosed;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    end: Option<End>,
}

enum End {
    /// After the queued frames.
    Close(Bye),
    /// At once.
    Overrun,
    /// The link has gone.
    Gone,
}

impl Unhandled {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Busy, Self::FullOfRobots, Self::DiskFull, Self::Stopping];

    /// Returns the name as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::FullOfRobots => "full_of_robots",
            Self::DiskFull => "disk_full",
            Self::Stopping => "stopping",
        }
    }
}

impl Transport {
    /// Returns the name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Mqtt => "mqtt",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Ticket {
    /// Returns a ticket that is resolved already.
    pub fn done(result: Result<(), Unhandled>) -> Self {
        Self(State::Done(result))
    }

    /// Returns a ticket and what resolves it.
    pub fn new() -> (TicketIssuer, Self) {
        let (sender, receiver) = oneshot::channel();
        (TicketIssuer(sender), Self(State::Waiting(receiver)))
    }
}

impl Future for Ticket {
    type Output = Result<(), Unhandled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(result) => Poll::Ready(*result),
            State::Waiting(receiver) => {
                Pin::new(receiver).poll(context).map(|answer| answer.unwrap_or(Err(Unhandled::Stopping)))
            }
        }
    }
}

impl TicketIssuer {
    /// Resolves the ticket. Nobody may be waiting any more; that changes nothing.
    pub fn resolve(self, result: Result<(), Unhandled>) {
        let _ = self.0.send(result);
    }
}

/// Makes the queue of frames towards one peer: its two ends.
pub fn outbox() -> (Outbox, Outlet) {
    let shared = Arc::new(Shared::default());
    (Outbox(Arc::clone(&shared)), Outlet(shared))
}

impl Outbox {
    /// Queues a frame. At [`OUTBOX_FRAMES_MAX`] or [`OUTBOX_BYTES_MAX`] the peer is not reading: the link closes
    /// rather than let the queue grow, and what was queued is dropped. The agent learns it again from the next
    /// Welcome.
    pub fn send(&self, frame: Frame) -> Result<(), LinkClosed> {
        self.0.change(|queue| {
            if queue.end.is_some() {
                return Err(LinkClosed);
            }
            let bytes = queue.bytes + frame.body.len();
            if queue.frames.len() >= OUTBOX_FRAMES_MAX || bytes > OUTBOX_BYTES_MAX {
                queue.stop(End::Overrun);
                return Err(LinkClosed);
            }
            queue.bytes = bytes;
            queue.frames.push_back(frame);
            Ok(())
        })
    }

    /// Returns how many frames wait.
    pub fn queued(&self) -> usize {
        self.0.lock(|queue| queue.frames.len())
    }

    /// Ends the connection after the frames that are queued, with `bye` as the last one. The first call counts.
    pub fn close(&self, bye: Bye) {
        self.0.change(|queue| {
            if queue.end.is_none() {
                queue.end = Some(End::Close(bye));
            }
        });
    }
}

impl Outlet {
    /// Waits for what to do next. Cancel-safe. After [`Outgoing::Close`] or [`Outgoing::Overrun`] it waits for ever.
    pub async fn next(&mut self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.poll_next() {
                return outgoing;
            }
            self.0.changed.notified().await;
        }
    }

    /// Waits for the end alone, for a link that cannot send frames now: those queued stay queued, and are passed over
    /// if the session ends. Cancel-safe.
    pub async fn ended(&mut self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.0.lock(Queue::take_end) {
                return outgoing;
            }
            self.0.changed.notified().await;
        }
    }

    /// Returns what to do next, if there is anything now.
    pub fn poll_next(&mut self) -> Option<Outgoing> {
        self.0.lock(|queue| {
            if let Some(frame) = queue.frames.pop_front() {
                queue.bytes -= frame.body.len();
                return Some(Outgoing::Frame(frame));
            }
            queue.take_end()
        })
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.lock(|queue| queue.stop(End::Gone));
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outbox").finish_non_exhaustive()
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        // A panic while it was held left whole frames in it: the queue has no state in between.
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        let result = self.lock(work);
        self.changed.notify_one();
        result
    }
}

impl Queue {
    fn take_end(&mut self) -> Option<Outgoing> {
        match self.end.take()? {
            End::Close(bye) => {
                self.stop(End::Gone);
                Some(Outgoing::Close(bye))
            }
            End::Overrun => {
                self.stop(End::Gone);
                Some(Outgoing::Overrun)
            }
            End::Gone => {
                self.end = Some(End::Gone);
                None
            }
        }
    }

    fn stop(&mut self, end: End) {
        self.frames.clear();
        self.bytes = 0;
        self.end = Some(end);
    }
}

/// Most frames that wait for one peer: a few seconds of acknowledgements.
pub const OUTBOX_FRAMES_MAX: usize = 256;

/// Most bytes of frame bodies that wait for one peer.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use muster_protocol::{frame::Kind, message::ByeReason};

    use super::*;

    fn ack(bytes: usize) -> Frame {
        Frame { kind: Kind::Ack, body: vec![0; bytes].into() }
    }

    const BYE: Bye = Bye { reason: ByeReason::Superseded, retry_after_ms: 1000 };

    #[test]
    fn the_farewell_follows_what_was_queued_and_nothing_follows_it() {
        let (outbox, mut outlet) = outbox();
        outbox.send(ack(1)).unwrap();
        outbox.close(BYE);
        assert_eq!(outbox.send(ack(2)), Err(LinkClosed));
        assert_eq!(outlet.poll_next(), Some(Outgoing::Frame(ack(1))));
        assert_eq!(outlet.poll_next(), Some(Outgoing::Close(BYE)));
        assert_eq!(outlet.poll_next(), None);
        assert_eq!(outbox.send(ack(3)), Err(LinkClosed));
    }

    #[test]
    fn a_peer_that_does_not_read_is_dropped_at_either_bound() {
        for (frames, body) in [(OUTBOX_FRAMES_MAX, 1), (OUTBOX_BYTES_MAX / 8192, 8192)] {
            let (outbox, mut outlet) = outbox();
            for _ in 0..frames {
                outbox.send(ack(body)).unwrap();
            }
            assert_eq!(outbox.send(ack(body)), Err(LinkClosed));
            assert_eq!(outlet.poll_next(), Some(Outgoing::Overrun));
        }
    }

    #[tokio::test]
    async fn the_end_reaches_a_link_that_cannot_send() {
        let (outbox, mut outlet) = outbox();
        outbox.send(ack(1)).unwrap();
        outbox.close(BYE);
        assert_eq!(outlet.ended().await, Outgoing::Close(BYE));
        assert_eq!(outlet.poll_next(), None);
    }

    #[test]
    fn a_link_that_went_away_refuses_frames() {
        let (outbox, outlet) = outbox();
        drop(outlet);
        assert_eq!(outbox.send(ack(1)), Err(LinkClosed));
    }

    #[tokio::test]
    async fn a_waiting_link_is_woken() {
        let (outbox, mut outlet) = outbox();
        let waiting = tokio::spawn(async move { outlet.next().await });
        tokio::task::yield_now().await;
        outbox.send(ack(1)).unwrap();
        assert_eq!(waiting.await.unwrap(), Outgoing::Frame(ack(1)));
    }

    #[tokio::test]
    async fn a_ticket_resolves_as_it_is_told_and_fails_when_forgotten() {
        let (issuer, ticket) = Ticket::new();
        issuer.resolve(Err(Unhandled::DiskFull));
        assert_eq!(ticket.await, Err(Unhandled::DiskFull));
        let (issuer, ticket) = Ticket::new();
        drop(issuer);
        assert_eq!(ticket.await, Err(Unhandled::Stopping));
        assert_eq!(Ticket::done(Ok(())).await, Ok(()));
    }
}
