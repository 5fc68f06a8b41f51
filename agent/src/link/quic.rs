//! The QUIC link: one connection, a control stream both ways and one stream per lane. Control outranks urgent, urgent
//! outranks live, live outranks bulk. The socket is bound to the wildcard address, so that a robot that roams keeps
//! its session.

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, IdleTimeout, RecvStream, SendStream,
    TransportConfig, TransportErrorCode, VarInt,
};
use rustls::pki_types::CertificateDer;
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use muster_protocol::frame::{ALPN, FrameDecoder};

use super::{
    ConnectError, Doubts, EVENTS_QUEUED_MAX, Identity, Link, LinkEvent, Meter, Outlets, Path as UplinkPath,
    QUEUE_TIME,
    greeting::{self, Greeted, NoGreeting},
    outboxes, tls,
};

pub(super) async fn connect(
    (host, port): (&str, u16),
    identity: &Identity,
    doubts: &Doubts,
) -> Result<Link, ConnectError> {
    let no_ca = || ConnectError::NoCa { url: format!("quic://{host}:{port}") };
    let ca = identity.ca.as_deref().ok_or_else(no_ca)?;
    let tls = tls::client_config(ca, &[ALPN]).await?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
        .map_err(|error| ConnectError::Refused(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));

    let mut refused =
        ConnectError::Resolve { host: host.to_owned(), why: "it resolves to nothing".to_owned() };
    let addresses = tokio::net::lookup_host((host, port)).await;
    let resolve = |error: io::Error| ConnectError::Resolve { host: host.to_owned(), why: error.to_string() };
    for address in addresses.map_err(resolve)? {
        match dial(address, host, config.clone(), doubts).await {
            Ok((endpoint, connection)) => return open(endpoint, connection).await,
            Err(error) => refused = of_handshake(error, address, ca),
        }
    }
    Err(refused)
}

/// Says what a connection error means at this address.
fn of_handshake(error: DialError, address: SocketAddr, ca: &Path) -> ConnectError {
    let refused = |why: &dyn fmt::Display| ConnectError::Refused(format!("{address}: {why}"));
    match error {
        DialError::Socket(error) => ConnectError::Socket(error),
        DialError::Config(error) => refused(&error),
        DialError::Connection(ConnectionError::TransportError(error)) if is_bad_certificate(error.code) => {
            let why = error.reason;
            ConnectError::Untrusted { address: address.to_string(), ca: ca.display().to_string(), why }
        }
        DialError::Connection(error) => refused(&error),
    }
}

/// Returns whether the handshake ended with one of the TLS alerts about certificates (RFC 8446, section 6.2), which QUIC
/// counts from 0x100 (RFC 9001, section 4.8).
fn is_bad_certificate(code: TransportErrorCode) -> bool {
    // bad, unsupported, revoked, expired, unknown certificate; unknown authority; bad signature
    [42, 43, 44, 45, 46, 48, 51].contains(&u64::from(code).wrapping_sub(0x100))
}

/// Why a dialled address gave no connection.
enum DialError {
    Socket(io::Error),
    Config(quinn::ConnectError),
    Connection(ConnectionError),
}

async fn dial(
    address: SocketAddr,
    host: &str,
    config: ClientConfig,
    doubts: &Doubts,
) -> Result<(Endpoint, Connection), DialError> {
    let endpoint = Endpoint::client(wildcard(address)).map_err(DialError::Socket)?;
    let connecting = endpoint.connect_with(config, address, host).map_err(DialError::Config)?;
    tokio::pin!(connecting);
    let connected = tokio::select! {
        connected = &mut connecting => connected,
        doubt = doubt(address) => {
            // Only a word: the gateway may be about to start, and QUIC goes on asking.
            let _ = doubts.try_send(doubt);
            connecting.await
        }
    };
    Ok((endpoint, connected.map_err(DialError::Connection)?))
}

/// Says after a while why an address may not answer. The datagram that it sends is answered by nobody, but where no
/// program has the port, the other machine's system says so, which QUIC does not listen to.
async fn doubt(address: SocketAddr) -> String {
    sleep(DOUBT_AFTER).await;
    match knock(address).await {
        NoGreeting::Nobody => format!(
            "no program takes UDP at {address}; check the port, the gateway's ready line shows it as quic="
        ),
        NoGreeting::Unreachable(why) => format!("{address} cannot be reached over UDP: {why}"),
        _ => format!(
            "{address} does not answer over QUIC; check the address and the port, and that no firewall drops UDP"
        ),
    }
}

/// Returns what the network says of an address at which nothing answers.
async fn knock(address: SocketAddr) -> NoGreeting {
    let asking = async {
        let socket = UdpSocket::bind(wildcard(address)).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 16]).await
    };
    match timeout(KNOCK_PATIENCE, asking).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => NoGreeting::Nobody,
        Ok(Err(error)) => NoGreeting::Unreachable(error.to_string()),
        Ok(Ok(_)) | Err(_) => NoGreeting::Silent,
    }
}

/// Asks for a handshake and nothing more; see [`greeting`](super::greeting).
pub(super) async fn greet(address: SocketAddr, host: &str, ca: &Path) -> Result<Greeted, NoGreeting> {
    let stranger = |why: &dyn fmt::Display| NoGreeting::Stranger(why.to_string());
    let tls = tls::client_config(ca, &[ALPN]).await.map_err(|error| stranger(&error))?;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(|error| stranger(&error))?;
    let config = ClientConfig::new(Arc::new(crypto));
    let unreachable = |error: io::Error| NoGreeting::Unreachable(error.to_string());
    let endpoint = Endpoint::client(wildcard(address)).map_err(unreachable)?;
    let connecting = endpoint.connect_with(config, address, host).map_err(|error| stranger(&error))?;
    let knocking = async {
        match knock(address).await {
            NoGreeting::Silent => std::future::pending().await,
            known => known,
        }
    };
    let connected = tokio::select! {
        connected = timeout(greeting::PATIENCE, connecting) => connected.map_err(|_| NoGreeting::Silent)?,
        known = knocking => return Err(known),
    };
    let connection = connected.map_err(|error| match error {
        ConnectionError::TransportError(error) if is_bad_certificate(error.code) => {
            NoGreeting::Untrusted(error.reason)
        }
        ConnectionError::TimedOut => NoGreeting::Silent,
        error => NoGreeting::Stranger(format!("what answers over QUIC is no gateway: {error}")),
    })?;
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
    let certificate = chain.and_then(|chain| chain.first().map(|der| der.to_vec()));
    let took = connection.rtt();
    connection.close(VarInt::from_u32(0), b"");
    let _ = timeout(KNOCK_PATIENCE, endpoint.wait_idle()).await;
    Ok(Greeted { took, certificate })
}

/// Returns the address from which one is reached that is local to none.
fn wildcard(address: SocketAddr) -> SocketAddr {
    if address.is_ipv6() { ([0_u16; 8], 0).into() } else { ([0_u8; 4], 0).into() }
}

async fn open(endpoint: Endpoint, connection: Connection) -> Result<Link, ConnectError> {
    let refused = |error: ConnectionError| ConnectError::Refused(error.to_string());
    let (control, answers) = connection.open_bi().await.map_err(refused)?;
    set_rank(&control, CONTROL_RANK);
    let mut lanes = Vec::with_capacity(LANE_RANKS.len());
    for rank in LANE_RANKS {
        let lane = connection.open_uni().await.map_err(refused)?;
        set_rank(&lane, rank);
        lanes.push(lane);
    }
    let (out, Outlets { control: control_outlet, lanes: lane_outlets }) = outboxes();
    let (events_in, events) = mpsc::channel(EVENTS_QUEUED_MAX);
    let mut writers = JoinSet::new();
    writers.spawn(write_frames(control, control_outlet));
    for (lane, outlet) in lanes.into_iter().zip(lane_outlets) {
        writers.spawn(write_frames(lane, outlet));
    }
    let meter = meter(connection.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(carry(endpoint, connection, writers, answers, events_in));
    Ok(Link { out, events, tasks, queue_time: Some(QUEUE_TIME), meter, hello_every: None })
}

/// Counts what the connection sent: each datagram, also those sent again, the handshake's and those that probe the path.
fn meter(connection: Connection) -> Meter {
    let timed = connection.clone();
    let sent = move || {
        let sent = connection.stats().udp_tx;
        let path = UplinkPath { v6: connection.remote_address().is_ipv6(), tls: false };
        path.of_datagrams(sent.datagrams, sent.bytes)
    };
    Meter { sent: Arc::new(sent), rtt: Some(Arc::new(move || timed.rtt())) }
}

/// Runs the connection until its writers are done or it breaks, then says why it is over.
async fn carry(
    endpoint: Endpoint,
    connection: Connection,
    mut writers: JoinSet<Result<(), quinn::WriteError>>,
    answers: RecvStream,
    events: mpsc::Sender<LinkEvent>,
) {
    let write_all = async {
        while let Some(written) = writers.join_next().await {
            if let Ok(Err(error)) = written {
                return error.to_string();
            }
        }
        "closed".to_owned()
    };
    let why = tokio::select! {
        why = write_all => why,
        why = read_frames(answers, &events) => why,
    };
    let reason = connection.close_reason();
    let lost = matches!(
        reason,
        Some(ConnectionError::TimedOut | ConnectionError::LocallyClosed | ConnectionError::CidsExhausted)
    );
    let why = reason.map_or(why, |reason| reason.to_string());
    connection.close(VarInt::from_u32(0), b"");
    let _ = events.try_send(if lost { LinkEvent::Closed(why) } else { LinkEvent::ClosedByGateway(why) });
    endpoint.wait_idle().await;
}

async fn write_frames(
    mut stream: SendStream,
    mut frames: mpsc::Receiver<Bytes>,
) -> Result<(), quinn::WriteError> {
    while let Some(frame) = frames.recv().await {
        stream.write_chunk(frame).await?;
    }
    let _ = stream.finish();
    // Closing the connection drops what the peer has not taken yet.
    let _ = stream.stopped().await;
    Ok(())
}

async fn read_frames(mut stream: RecvStream, events: &mpsc::Sender<LinkEvent>) -> String {
    let mut decoder = FrameDecoder::default();
    loop {
        match stream.read_chunk(READ_BYTES_MAX, true).await {
            Ok(Some(chunk)) => decoder.push(&chunk.bytes),
            Ok(None) => return "the gateway closed the connection".to_owned(),
            Err(error) => return error.to_string(),
        }
        loop {
            match decoder.poll_frame() {
                Ok(Some(frame)) => {
                    if events.send(LinkEvent::Frame(frame)).await.is_err() {
                        return "closed".to_owned();
                    }
                }
                Ok(None) => break,
                Err(error) => return error.to_string(),
            }
        }
    }
}

fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .keep_alive_interval(Some(Duration::from_secs(15)))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(60_000))))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(256 * 1024))
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        .send_window(512 * 1024)
        // A radio link loses packets that no queue dropped. A controller that takes each for congestion falls below the
        // pace of recording at 5 % loss, and fills the queue before live data where nothing is lost.
        .congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()))
        .datagram_receive_buffer_size(None);
    config
}

fn set_rank(stream: &SendStream, rank: i32) {
    // An error means that the connection is over, which the writer finds out.
    let _ = stream.set_priority(rank);
}

const CONTROL_RANK: i32 = 3;

/// The ranks of urgent, live and bulk.
const LANE_RANKS: [i32; 3] = [2, 1, 0];

const READ_BYTES_MAX: usize = 64 * 1024;

/// Longer than an answer takes on any path that is of use.
const DOUBT_AFTER: Duration = Duration::from_secs(1);

/// How long the other machine may take to say that nobody is there.
const KNOCK_PATIENCE: Duration = Duration::from_secs(2);
