//! The QUIC listener: one connection per agent, TLS 1.3, ALPN `muster/1`. The agent opens one control stream both ways
//! and one long-lived stream per lane; the frames of all of them go to the session in the order in which they arrive.
//! Answers go out on the control stream.
//!
//! Flow control bounds what a peer may park here: see `transport`. Reading stops while the session is behind.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    Connection, Endpoint, IdleTimeout, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, info, warn};

use muster_protocol::{
    frame::{ALPN, Frame, FrameDecoder, FrameError},
    message::{Bye, Message},
};

use super::port::{AgentSession, Closed, Intake, Outgoing, Outlet, Peer, Transport, outbox};
use crate::{
    metrics::Connections,
    tls::{Keys, KeysError},
};

/// A bound QUIC socket, not yet serving.
#[derive(Debug)]
pub struct QuicListener {
    endpoint: Endpoint,
}

/// Why the listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be bound.
    #[error(
        "cannot listen for QUIC on {address}: {error}; choose another with --quic ADDR (port 0 takes a free one)"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// TLS cannot be used for QUIC.
    #[error("TLS is not usable for QUIC: {0}")]
    Tls(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

/// Why a connection ended, if not in order.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it opened no control stream, or sent no Hello, within {HELLO_TIMEOUT:?}")]
    NoHello,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection ended: {0}")]
    Ended(#[from] quinn::ConnectionError),
    #[error("a stream broke: {0}")]
    Read(#[from] quinn::ReadError),
    #[error("a stream broke: {0}")]
    Write(#[from] quinn::WriteError),
    #[error("the gateway cannot handle what arrived")]
    NotHandled,
    #[error("the agent does not read what is sent to it")]
    SlowReader,
    #[error("the session ended it")]
    BySession,
    #[error("the gateway shuts down")]
    Shutdown,
}

impl QuicListener {
    /// Binds the socket.
    pub fn bind(address: SocketAddr, keys: &Keys) -> Result<Self, BindError> {
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(keys.server_config(ALPN)?)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(transport()));
        let token_key = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(&keys.quic().token);
        server.token_key(Arc::new(token_key));
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &keys.quic().reset);
        let mut endpoint = quinn::EndpointConfig::new(Arc::new(reset_key));
        let id_key = keys.quic().connection_id;
        endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        let bind = |error| BindError::Bind { address, error };
        let socket = bound_socket(address).map_err(bind)?;
        let runtime = quinn::default_runtime().expect("the caller runs on tokio");
        let endpoint = Endpoint::new(endpoint, Some(server), socket, runtime).map_err(bind)?;
        Ok(Self { endpoint })
    }

    /// Returns the address that is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves at most `connections_max` agents at once, some tens of KiB each when idle, until `shutdown` turns true, then closes every connection.
    pub async fn run(
        self,
        intake: Arc<dyn Intake>,
        connections_max: usize,
        counted: Connections,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    if connections.len() >= connections_max {
                        warn!(address = %incoming.remote_address(), "refused a QUIC connection: {connections_max} are open");
                        incoming.refuse();
                        counted.turned_away();
                        continue;
                    }
                    let (open, counted) = (counted.opened(), counted.clone());
                    let served = serve(incoming, Arc::clone(&intake), counted, shutdown.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(open);
                    });
                }
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a QUIC connection's task failed; the others go on");
                    }
                }
                () = asked_to_stop(&mut shutdown) => break,
            }
        }
        let _ = timeout(CLOSE_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
        self.endpoint.close(CODE_SHUTDOWN, b"shutdown");
        let _ = timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

/// The bounds of one connection before it has proved anything. The windows of the lanes together stay below the
/// connection's, so that a parked lane cannot starve control.
fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(2))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(512 * 1024))
        .receive_window(VarInt::from_u32(2 * 1024 * 1024))
        .send_window(256 * 1024)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(60_000))));
    config
}

/// One socket serves all connections: the system's default buffers would drop bursts of many robots.
fn bound_socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    let sized = socket2::SockRef::from(&socket);
    // The system caps what it grants: a smaller buffer costs resends, never data.
    let _ = sized.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = sized.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    Ok(socket)
}

async fn serve(
    incoming: quinn::Incoming,
    intake: Arc<dyn Intake>,
    counted: Connections,
    shutdown: watch::Receiver<bool>,
) {
    let address = incoming.remote_address();
    let connection = match incoming.await {
        Ok(connection) => connection,
        Err(error) => return debug!(%address, %error, "a QUIC handshake failed"),
    };
    match converse(&connection, intake, counted, shutdown).await {
        Failure::Ended(error) => debug!(%address, %error, "a QUIC connection ended"),
        failure @ (Failure::Frame(_) | Failure::NoHello) => {
            warn!(%address, "closed a QUIC connection: {failure}");
            connection.close(CODE_PROTOCOL, failure.to_string().as_bytes());
        }
        failure => {
            info!(%address, "closed a QUIC connection: {failure}");
            connection.close(CODE_CLOSED, failure.to_string().as_bytes());
        }
    }
}

/// Runs one agent's connection to its end.
async fn converse(
    connection: &Connection,
    intake: Arc<dyn Intake>,
    counted: Connections,
    mut shutdown: watch::Receiver<bool>,
) -> Failure {
    let (frames, mut arrived) = mpsc::channel(FRAMES_QUEUED_MAX);
    let mut streams = JoinSet::new();
    let opened = timeout(HELLO_TIMEOUT, async {
        let (control, incoming) = connection.accept_bi().await?;
        streams.spawn(read_frames(incoming, frames.clone(), counted.clone()));
        Ok::<_, Failure>((control, arrived.recv().await))
    });
    let (mut control, hello) = match opened.await {
        Ok(Ok((control, Some(hello)))) => (control, hello),
        Ok(Ok((_, None))) => return ended_stream(&mut streams).await.unwrap_or(Failure::NoHello),
        Ok(Err(failure)) => return failure,
        Err(_) => return Failure::NoHello,
    };
    let (outbox, mut outlet) = outbox();
    let peer = Peer { transport: Transport::Quic, address: connection.remote_address(), robot: None };
    let mut session = intake.open(peer, outbox);
    drop(session.handle_frame(hello));
    let mut wires = Wires { connection, control: &mut control, frames, streams, counted };
    let failure = wires.exchange(&mut *session, &mut arrived, &mut outlet, &mut shutdown).await;
    session.closed(failure.closed());
    failure
}

/// The streams of one connection.
struct Wires<'a> {
    connection: &'a Connection,
    control: &'a mut SendStream,
    frames: mpsc::Sender<Frame>,
    streams: JoinSet<Result<(), Failure>>,
    counted: Connections,
}

impl Wires<'_> {
    async fn exchange(
        &mut self,
        session: &mut dyn AgentSession,
        arrived: &mut mpsc::Receiver<Frame>,
        outlet: &mut Outlet,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Failure {
        loop {
            tokio::select! {
                Some(frame) = arrived.recv() => drop(session.handle_frame(frame)),
                outgoing = outlet.next() => {
                    if let Err(failure) = self.send(outgoing).await {
                        return failure;
                    }
                }
                lane = self.connection.accept_uni() => match lane {
                    Ok(lane) => {
                        let reading = read_frames(lane, self.frames.clone(), self.counted.clone());
                        self.streams.spawn(reading);
                    }
                    Err(error) => return error.into(),
                },
                Some(failure) = ended_stream(&mut self.streams), if !self.streams.is_empty() => return failure,
                () = asked_to_stop(shutdown) => {
                    let bye = Bye { reason: muster_protocol::message::ByeReason::Shutdown, retry_after_ms: 1000 };
                    let _ = self.farewell(bye).await;
                    return Failure::Shutdown;
                }
            }
        }
    }

    async fn send(&mut self, outgoing: Outgoing) -> Result<(), Failure> {
        match outgoing {
            Outgoing::Frame(frame) => {
                let bytes = frame.encode();
                self.counted.said(bytes.len());
                Ok(self.control.write_all(&bytes).await?)
            }
            Outgoing::Close(bye) => {
                self.farewell(bye).await?;
                Err(Failure::BySession)
            }
            Outgoing::Overrun => Err(Failure::SlowReader),
        }
    }

    /// Sends the last frame and waits until the agent has it: closing drops what it has not read.
    async fn farewell(&mut self, bye: Bye) -> Result<(), Failure> {
        self.control.write_all(&Message::Bye(bye).to_frame().encode()).await?;
        let _ = self.control.finish();
        let _ = timeout(CLOSE_TIMEOUT, self.control.stopped()).await;
        Ok(())
    }
}

/// Waits until the program shuts down.
async fn asked_to_stop(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the program's end is gone, which is a shutdown too.
    drop(shutdown.wait_for(|stop| *stop).await);
}

/// Waits for a stream that broke. One that ended in order says nothing: its lane may be opened again.
async fn ended_stream(streams: &mut JoinSet<Result<(), Failure>>) -> Option<Failure> {
    match streams.join_next().await? {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some(Failure::NotHandled),
    }
}

async fn read_frames(
    mut stream: RecvStream,
    frames: mpsc::Sender<Frame>,
    counted: Connections,
) -> Result<(), Failure> {
    let mut decoder = FrameDecoder::default();
    while let Some(chunk) = stream.read_chunk(READ_BYTES_MAX, true).await? {
        counted.heard(chunk.bytes.len());
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.poll_frame()? {
            if frames.send(frame).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(decoder.finish()?)
}

impl Failure {
    fn closed(&self) -> Closed {
        match self {
            Self::Ended(quinn::ConnectionError::ApplicationClosed(_)) => Closed::ByPeer,
            Self::Ended(quinn::ConnectionError::TimedOut) => Closed::Silent,
            Self::Ended(_) | Self::Read(_) | Self::Write(_) => Closed::Lost,
            Self::NoHello | Self::Frame(_) => Closed::BrokeProtocol,
            Self::NotHandled => Closed::NotHandled,
            Self::SlowReader => Closed::SlowReader,
            Self::BySession => Closed::BySession,
            Self::Shutdown => Closed::Shutdown,
        }
    }
}

/// Frames of one connection that wait for its session; then its streams are not read.
const FRAMES_QUEUED_MAX: usize = 8;

const READ_BYTES_MAX: usize = 64 * 1024;
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

const CODE_SHUTDOWN: VarInt = VarInt::from_u32(0);
const CODE_CLOSED: VarInt = VarInt::from_u32(1);
const CODE_PROTOCOL: VarInt = VarInt::from_u32(2);
