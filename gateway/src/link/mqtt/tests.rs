//! The listener over real TCP, with a client that writes its packets byte by byte and an intake whose tickets the test
//! resolves by hand.

mod frames;
mod hostile;
mod limits;
mod promises;
mod tls;
mod topics;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use muster_protocol::{
    frame::{Frame, Kind},
    id::RobotId,
};

use super::{Counters, Listener, Settings};
use crate::link::port::{AgentSession, Closed, Intake, Outbox, Peer, Ticket, TicketIssuer};

/// A version of MQTT, as the byte in CONNECT.
const V4: u8 = 4;
const V5: u8 = 5;

const JSON: &str = "muster/1/f/r/json";
const CONTROL: &str = "muster/1/f/r/up/control";
const DOWN: &str = "muster/1/f/r/down";

/// What the listener asked of the gateway.
#[derive(Debug)]
enum Asked {
    Json(RobotId, Bytes, TicketIssuer),
    JsonOnce(TicketIssuer),
    Opened(Peer, Outbox),
    Frame(Frame, TicketIssuer),
    Closed(Closed),
}

/// An intake that passes everything on to the test.
struct FakeIntake(mpsc::Sender<Asked>);

struct FakeSession(mpsc::Sender<Asked>);

impl Intake for FakeIntake {
    fn open(&self, peer: Peer, outbox: Outbox) -> Box<dyn AgentSession> {
        self.0.try_send(Asked::Opened(peer, outbox)).unwrap();
        Box::new(FakeSession(self.0.clone()))
    }

    fn json(&self, robot: &RobotId, payload: Bytes) -> Ticket {
        assert_ne!(&payload[..], b"panic", "the test asks for it");
        let (issuer, ticket) = Ticket::new();
        self.0.try_send(Asked::Json(robot.clone(), payload, issuer)).unwrap();
        ticket
    }

    fn json_once(&self, _: &RobotId, _: Bytes) -> Ticket {
        let (issuer, ticket) = Ticket::new();
        self.0.try_send(Asked::JsonOnce(issuer)).unwrap();
        ticket
    }
}

impl AgentSession for FakeSession {
    fn handle_frame(&mut self, frame: Frame) -> Ticket {
        let (issuer, ticket) = Ticket::new();
        self.0.try_send(Asked::Frame(frame, issuer)).unwrap();
        ticket
    }

    fn closed(self: Box<Self>, why: Closed) {
        self.0.try_send(Asked::Closed(why)).unwrap();
    }
}

/// A running listener.
struct Gateway {
    address: SocketAddr,
    asked: Mutex<mpsc::Receiver<Asked>>,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Gateway {
    async fn start() -> Self {
        Self::start_with(Settings { brake: Duration::from_millis(1), ..Settings::default() }).await
    }

    async fn start_with(settings: Settings) -> Self {
        let (ask, asked) = mpsc::channel(1024);
        let listener = Listener::new(Arc::new(FakeIntake(ask)), settings);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let counters = listener.counters();
        let (stop, stopped) = oneshot::channel::<()>();
        let task =
            tokio::spawn(async move { listener.run(socket, None, async { drop(stopped.await) }).await });
        Self { address, asked: Mutex::new(asked), counters, stop, task }
    }

    #[expect(clippy::await_holding_lock, reason = "one test, one task")]
    async fn asked(&self) -> Asked {
        soon(self.asked.lock().unwrap().recv()).await.unwrap()
    }

    async fn json(&self) -> (Bytes, TicketIssuer) {
        match self.asked().await {
            Asked::Json(robot, payload, issuer) => {
                assert_eq!(robot.as_str(), "f/r");
                (payload, issuer)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits for plain JSON that the client will not send again.
    async fn json_once(&self) -> TicketIssuer {
        match self.asked().await {
            Asked::JsonOnce(issuer) => issuer,
            other => panic!("{other:?}"),
        }
    }

    async fn closed(&self) -> Closed {
        match self.asked().await {
            Asked::Closed(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn asked_nothing(&self) {
        assert!(self.asked.lock().unwrap().try_recv().is_err());
    }

    fn count(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        of(&self.counters).load(Ordering::Relaxed)
    }

    async fn connect(&self, version: u8) -> Client {
        self.connect_as(version, "client", 60).await
    }

    async fn connect_as(&self, version: u8, client_id: &str, keep_alive: u16) -> Client {
        let mut client = Client::open(self.address, version).await;
        client.write(&connect(version, client_id, keep_alive)).await;
        let (kind, body) = client.read().await.unwrap();
        assert_eq!(
            (kind, &body[..2]),
            (0x20, &[0, 0][..]),
            "no session is ever present, and this is a success"
        );
        client
    }

    /// An agent that is subscribed, has said Hello, and whose session is open.
    async fn agent(&self, version: u8) -> (Client, Outbox) {
        let mut client = self.connect_as(version, "agent", 60).await;
        client.subscribe(9, DOWN, 1).await;
        assert_eq!(client.read().await.unwrap().0, 0x90);
        client.publish(1, 1, CONTROL, &frame(Kind::Hello, b"hello").encode()).await;
        let Asked::Opened(_, outbox) = self.asked().await else { panic!("no session") };
        let Asked::Frame(_, issuer) = self.asked().await else { panic!("no frame") };
        issuer.resolve(Ok(()));
        client.expect_puback(1).await;
        (client, outbox)
    }
}

/// A client that knows nothing of the library under test.
struct Client {
    stream: TcpStream,
    version: u8,
}

impl Client {
    async fn open(address: SocketAddr, version: u8) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), version }
    }

    async fn write(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    async fn publish(&mut self, qos: u8, packet_id: u16, topic: &str, payload: &[u8]) {
        let packet = publish(self.version, qos, packet_id, topic, payload);
        self.write(&packet).await;
    }

    async fn subscribe(&mut self, packet_id: u16, filter: &str, qos: u8) {
        let mut body = packet_id.to_be_bytes().to_vec();
        if self.version == V5 {
            body.push(0);
        }
        body.extend(text(filter));
        body.push(qos);
        self.write(&packet(0x82, &body)).await;
    }

    /// Returns the next packet, or `None` if the gateway has closed.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = match soon(self.stream.read_u8()).await {
            Ok(first) => first,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        };
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = soon(self.stream.read_u8()).await.unwrap();
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        soon(self.stream.read_exact(&mut body)).await.unwrap();
        Some((first, body))
    }

    /// Proves that nothing was sent before: the answer to a PINGREQ comes at once and next.
    async fn expect_nothing(&mut self) {
        self.write(&[0xc0, 0]).await;
        assert_eq!(self.read().await, Some((0xd0, vec![])));
    }

    async fn expect_puback(&mut self, packet_id: u16) {
        assert_eq!(self.read().await, Some((0x40, packet_id.to_be_bytes().to_vec())));
    }

    /// The end: in MQTT 5 a DISCONNECT with this code first.
    async fn expect_end(&mut self, code: u8) {
        if self.version == V5 {
            let (kind, body) = self.read().await.expect("a DISCONNECT comes before the end");
            assert_eq!((kind, body[0]), (0xe0, code), "{}", String::from_utf8_lossy(&body));
        }
        assert_eq!(self.read().await, None);
    }
}

/// Nothing here takes long; a test that waits for ever fails instead.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("this comes soon")
}

fn frame(kind: Kind, body: &'static [u8]) -> Frame {
    Frame { kind, body: Bytes::from_static(body) }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 0x80;
        bytes.push(u8::try_from(length & 0x7f).unwrap() | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn connect(version: u8, client_id: &str, keep_alive: u16) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([version, 0x02]);
    body.extend(keep_alive.to_be_bytes());
    if version == V5 {
        body.push(0);
    }
    body.extend(text(client_id));
    packet(0x10, &body)
}

fn publish(version: u8, qos: u8, packet_id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    if version == V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}
