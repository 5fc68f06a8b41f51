//! One connection: the bytes and the waiting around a [`Conversation`]. [`Connection::next`] picks what happened,
//! [`Connection::apply`] says what follows.

use std::{future::pending, io, net::SocketAddr, ops::ControlFlow, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::FutureExt;
use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::watch,
    time::{sleep, timeout},
};

use muster_protocol::{id::RobotId, message};

use crate::link::port::{Closed, Intake, Outgoing, Peer, Ticket, Transport, Unhandled, outbox};

use crate::metrics::Connections;

use super::{
    Counters, Settings,
    agent::{Agent, outgoing},
    alarm::Alarm,
    conversation::{Conversation, Delivery, Heard, Message, OUTPUT_BYTES_MAX},
    count,
    ending::{Ending, Refused},
    promises::{Promise, Promises, Puback},
    seats::{Seat, Seats},
};

/// What all connections share.
pub(super) struct House {
    pub(super) intake: Arc<dyn Intake>,
    pub(super) settings: Settings,
    pub(super) seats: Arc<Seats>,
    pub(super) counters: Arc<Counters>,
    pub(super) connections: Connections,
}

/// One connection and everything that it holds.
pub(super) struct Connection<S> {
    house: Arc<House>,
    address: SocketAddr,
    number: u64,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    /// Written bytes may still be held back below, by TLS.
    unflushed: bool,
    input: BytesMut,
    conversation: Conversation,
    promises: Promises,
    agent: Option<Agent>,
    seat: Option<Seat>,
    shutdown: watch::Receiver<()>,
    alarms: Alarms,
    refusals: u64,
}

/// The deadlines of a connection.
struct Alarms {
    /// The client is silent, or sends no CONNECT.
    silence: Alarm,
    /// The client takes nothing of what is sent to it.
    stall: Alarm,
    /// The gateway handles nothing of what came from it.
    patience: Alarm,
    connected: bool,
}

enum Happened {
    Read(io::Result<usize>),
    Wrote(io::Result<()>),
    Handled(Option<Puback>, Result<(), Unhandled>),
    Outgoing(Outgoing),
    Silent,
    Stalled,
    Impatient,
    Evicted,
    Shutdown,
}

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    pub(super) fn new(
        stream: S,
        address: SocketAddr,
        number: u64,
        house: Arc<House>,
        shutdown: watch::Receiver<()>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let settings = &house.settings;
        let alarms = Alarms {
            silence: Alarm::new(settings.connect_max),
            stall: Alarm::new(settings.stall_max),
            patience: Alarm::new(settings.patience),
            connected: false,
        };
        Self {
            address,
            number,
            reader,
            writer,
            unflushed: false,
            input: BytesMut::new(),
            conversation: Conversation::new(house.settings, number),
            promises: Promises::default(),
            agent: None,
            seat: None,
            shutdown,
            alarms,
            refusals: 0,
            house,
        }
    }

    /// Serves the client until the connection is over.
    pub(super) async fn serve(mut self) {
        self.alarms.silence.restart();
        let mut ending = loop {
            let happened = self.next().await;
            if let ControlFlow::Break(ending) = self.apply(happened) {
                break ending;
            }
        };
        if ending.confirms_the_rest() && self.conversation.can_confirm() {
            let drain_max = self.house.settings.drain_max;
            if let Ok(Err(other)) = timeout(drain_max, self.drain()).await {
                ending = other;
            }
        }
        self.log(&ending);
        if let Some(mut agent) = self.agent.take() {
            agent.close(ending.closed());
        }
        if let Ending::NotHandled(Unhandled::Busy | Unhandled::FullOfRobots | Unhandled::DiskFull) = ending {
            // A client that comes back at once would send the same again at once.
            sleep(self.house.settings.brake).await;
        }
        self.part(&ending).await;
    }

    /// Waits for the next thing to happen.
    async fn next(&mut self) -> Happened {
        let listens = self.listens();
        let delivery = self.conversation.delivery();
        let writes = self.unflushed || self.conversation.output_bytes() > 0;
        self.alarms.silence.run_while(listens);
        self.alarms.stall.run_while(writes || delivery == Delivery::Full);
        self.alarms.patience.run_while(!self.promises.is_empty());
        if listens {
            self.input.reserve(READ_BYTES);
        }
        tokio::select! {
            read = self.reader.read_buf(&mut self.input), if listens => Happened::Read(read),
            wrote = write(&mut self.writer, self.conversation.output(), &mut self.unflushed), if writes => {
                Happened::Wrote(wrote.map(|bytes| self.house.connections.said(bytes)))
            }
            (puback, result) = self.promises.next() => Happened::Handled(puback, result),
            outgoing = outgoing(self.agent.as_mut(), delivery) => Happened::Outgoing(outgoing),
            () = self.alarms.silence.rung() => Happened::Silent,
            () = self.alarms.stall.rung() => Happened::Stalled,
            () = self.alarms.patience.rung() => Happened::Impatient,
            () = evicted(self.seat.as_ref()) => Happened::Evicted,
            _ = self.shutdown.changed() => Happened::Shutdown,
        }
    }

    fn apply(&mut self, happened: Happened) -> ControlFlow<Ending> {
        match happened {
            Happened::Read(Ok(0)) => {
                return ControlFlow::Break(Ending::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            Happened::Read(Ok(bytes)) => {
                self.house.connections.heard(bytes);
                if self.alarms.connected {
                    self.alarms.silence.restart();
                }
            }
            Happened::Wrote(Ok(())) => self.alarms.stall.restart(),
            Happened::Read(Err(error)) | Happened::Wrote(Err(error)) => {
                return ControlFlow::Break(Ending::Lost(error));
            }
            Happened::Handled(puback, result) => self.all_handled(puback, result)?,
            Happened::Outgoing(outgoing) => self.send_all(outgoing)?,
            Happened::Silent => return ControlFlow::Break(self.silent()),
            Happened::Stalled => return ControlFlow::Break(Ending::SlowReader),
            Happened::Impatient => return ControlFlow::Break(Ending::NotHandled(Unhandled::Busy)),
            Happened::Evicted => return ControlFlow::Break(Ending::Superseded),
            Happened::Shutdown => return ControlFlow::Break(Ending::Shutdown),
        }
        self.hear()
    }

    /// Whether more may come in: everything that came is handled, answered and written, up to the bounds.
    fn listens(&self) -> bool {
        !self.promises.is_full() && self.conversation.output_bytes() < OUTPUT_BYTES_MAX
    }

    /// Works off the input, as far as the bounds allow.
    fn hear(&mut self) -> ControlFlow<Ending> {
        while !self.input.is_empty() && self.listens() {
            match self.conversation.handle_input(&mut self.input) {
                Heard::Nothing => {}
                Heard::Connected { silence_max } => {
                    self.alarms.connected = true;
                    self.alarms.silence.set_after(silence_max);
                }
                Heard::Confirmed => self.alarms.stall.restart(),
                Heard::Message(message, packet_id) => {
                    self.sit_down();
                    let bytes = message.bytes();
                    let ticket = self.take(message, packet_id);
                    let puback =
                        packet_id.map(|packet_id| Puback { packet_id, reason: PubackReasonCode::Success });
                    self.promises.push(Promise { ticket, puback, bytes });
                }
                Heard::Refused(refused, packet_id) => self.refuse(&refused, packet_id),
                Heard::Ended(ending) => return ControlFlow::Break(ending),
            }
            self.sit_down();
        }
        ControlFlow::Continue(())
    }

    /// Takes the client's seat once it is known whose client it is, which sends an older connection away.
    fn sit_down(&mut self) {
        if let (None, Some(robot)) = (&self.seat, self.conversation.robot()) {
            self.seat = Some(self.house.seats.take(robot, self.conversation.client_id(), self.number));
        }
    }

    fn take(&mut self, message: Message, packet_id: Option<u16>) -> Ticket {
        let counters = &self.house.counters;
        match (message, &mut self.agent) {
            (Message::Json(payload), _) => {
                count(&counters.json);
                let robot = self.conversation.robot().expect("a message is heard on a robot's topic only");
                match packet_id {
                    Some(_) => self.house.intake.json(robot, payload),
                    None => self.house.intake.json_once(robot, payload),
                }
            }
            (Message::Hello(frame), agent) => {
                count(&counters.frames);
                let peer = Peer {
                    transport: Transport::Mqtt,
                    address: self.address,
                    robot: self.conversation.robot().cloned(),
                };
                let (outbox, outlet) = outbox();
                let mut newer = Agent::new(self.house.intake.open(peer, outbox), outlet);
                let ticket = newer.handle(frame);
                if let Some(mut older) = agent.replace(newer) {
                    older.close(Closed::Superseded);
                }
                ticket
            }
            (Message::Frame(frame), Some(agent)) => {
                count(&counters.frames);
                agent.handle(frame)
            }
            (Message::Frame(_), None) => unreachable!("the conversation lets no frame pass before a Hello"),
        }
    }

    fn refuse(&mut self, refused: &Refused, packet_id: u16) {
        let reason = match refused {
            Refused::NotAuthorized { .. } => PubackReasonCode::NotAuthorized,
            Refused::NoSuchTopic { .. } => PubackReasonCode::TopicNameInvalid,
        };
        count(&self.house.counters.refused_topics);
        if self.refusals == 0 {
            // One line for a client that repeats it with every message.
            tracing::warn!(peer = %self.address, client = self.conversation.client_id(), "mqtt refused: {refused}");
        }
        self.refusals += 1;
        let puback = Some(Puback { packet_id, reason });
        self.promises.push(Promise { ticket: Ticket::done(Ok(())), puback, bytes: 0 });
    }

    /// Confirms what was handled and everything behind it that was, so that they share a write.
    fn all_handled(&mut self, puback: Option<Puback>, result: Result<(), Unhandled>) -> ControlFlow<Ending> {
        self.handled(puback, result)?;
        while let Some((puback, result)) = self.promises.next().now_or_never() {
            self.handled(puback, result)?;
        }
        ControlFlow::Continue(())
    }

    fn handled(&mut self, puback: Option<Puback>, result: Result<(), Unhandled>) -> ControlFlow<Ending> {
        self.alarms.patience.restart();
        match (puback, result) {
            (Some(Puback { packet_id, reason }), Ok(())) => self.conversation.confirm(packet_id, reason),
            (Some(_), Err(unhandled)) => return ControlFlow::Break(Ending::NotHandled(unhandled)),
            // QoS 0 is taken without promise; plain JSON that was given up is counted.
            (None, _) => {}
        }
        ControlFlow::Continue(())
    }

    /// Sends what the session wants sent and everything behind it, as far as the client can take it.
    fn send_all(&mut self, outgoing: Outgoing) -> ControlFlow<Ending> {
        self.send(outgoing)?;
        while self.conversation.delivery() == Delivery::Open
            && let Some(outgoing) = self.agent.as_mut().and_then(Agent::poll_next)
        {
            self.send(outgoing)?;
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self, outgoing: Outgoing) -> ControlFlow<Ending> {
        let sent = match outgoing {
            Outgoing::Frame(frame) => self.conversation.deliver(&frame),
            Outgoing::Close(bye) => {
                let farewell = message::Message::Bye(bye.clone()).to_frame();
                self.conversation.deliver(&farewell).and(Err(Ending::BySession(bye)))
            }
            Outgoing::Overrun => Err(Ending::SlowReader),
        };
        match sent {
            Ok(()) => ControlFlow::Continue(()),
            Err(ending) => ControlFlow::Break(ending),
        }
    }

    fn silent(&self) -> Ending {
        let after = self.alarms.silence.after();
        if self.alarms.connected {
            Ending::Silent { silence: after }
        } else {
            Ending::NoConnect { within: after }
        }
    }

    /// Confirms what was heard before the end, in order, as it is handled, and sends what the session still has.
    async fn drain(&mut self) -> Result<(), Ending> {
        while !self.promises.is_empty() {
            let (puback, result) = self.promises.next().await;
            if let ControlFlow::Break(ending) = self.handled(puback, result) {
                return Err(ending);
            }
            self.write_out().await.map_err(Ending::Lost)?;
        }
        while self.conversation.delivery() == Delivery::Open
            && let Some(Outgoing::Frame(frame)) = self.agent.as_mut().and_then(Agent::poll_next)
        {
            self.conversation.deliver(&frame)?;
        }
        self.write_out().await.map_err(Ending::Lost)
    }

    async fn write_out(&mut self) -> io::Result<()> {
        self.writer.write_all_buf(self.conversation.output()).await?;
        self.writer.flush().await
    }

    /// Says goodbye and closes the stream, for a client that still reads.
    async fn part(&mut self, ending: &Ending) {
        self.conversation.end(ending);
        let goodbye = async {
            self.writer.write_all_buf(self.conversation.output()).await?;
            self.writer.shutdown().await?;
            if ending.closed() == Closed::ByPeer {
                return Ok(());
            }
            // Closing over unread input would reset the connection, and the client would lose the goodbye.
            loop {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                if self.reader.read_buf(&mut self.input).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // The connection is over either way; a client that does not read its last bytes loses them.
        let _ = timeout(PART_MAX, goodbye).await;
    }

    fn log(&self, ending: &Ending) {
        let robot = self.conversation.robot().map_or("", RobotId::as_str);
        let client = self.conversation.client_id();
        if ending.is_fault() {
            count(&self.house.counters.faults);
            tracing::warn!(peer = %self.address, client, robot, "mqtt closed: {ending}");
        } else {
            tracing::info!(peer = %self.address, client, robot, "mqtt closed: {ending}");
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Self::Hello(frame) | Self::Frame(frame) => frame.body.len(),
            Self::Json(payload) => payload.len(),
        }
    }
}

/// Writes what there is, and flushes when there is no more. Returns how many bytes were taken. Cancel-safe.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    output: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<usize> {
    if output.is_empty() {
        writer.flush().await?;
        *unflushed = false;
        return Ok(0);
    }
    let bytes = writer.write_buf(output).await?;
    if bytes == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    *unflushed = true;
    Ok(bytes)
}

async fn evicted(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.evicted().await,
        None => pending().await,
    }
}

/// Read at once: a few packets of samples, and little memory for a quiet connection.
const READ_BYTES: usize = 8 * 1024;

/// Longest wait for the client to take the last bytes and to close.
const PART_MAX: Duration = Duration::from_secs(2);
