//! The MQTT link, over rumqttc: each frame is the payload of one publish. Only the frame `Ack` frees anything; a PUBACK
//! is between rumqttc and the broker.
//!
//! Lanes go at QoS 1, control at QoS 0: a broker keeps what is QoS 1 for a gateway that is away, and a Hello or a
//! heartbeat of long ago would only fill its queue. What matters of it is said again.
//!
//! rumqttc drops what is pending when a broker forgets a session, and can wedge on a collision of packet ids. So each
//! connection has a client of its own, which is dropped on any error; the session above resends.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet, QoS,
    StateError, SubscribeReasonCode, TlsConfiguration, Transport, mqttbytes,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use muster_protocol::{
    frame::Frame,
    id::{Lane, RobotId},
    message::{Bye, Message},
};

use super::{
    ConnectError, EVENTS_QUEUED_MAX, HELLO_EVERY, Identity, Link, LinkEvent, Meter, Outlets, Path,
    QUEUE_TIME, outboxes, path_to, tls,
};

pub(super) async fn connect(
    (host, port): (&str, u16),
    tls: bool,
    identity: &Identity,
) -> Result<Link, ConnectError> {
    let robot = &identity.robot;
    let topics = Topics::of(robot);
    let client_id = format!("muster-{}-{}", robot.fleet(), robot.robot());
    let mut options = MqttOptions::new(client_id, host, port);
    options.set_clean_session(true);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_inflight(INFLIGHT_MAX);
    options.set_request_channel_capacity(1);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    let will = Message::Bye(Bye::CUT_OFF).to_frame().encode();
    options.set_last_will(LastWill::new(&topics.control, will, QoS::AtMostOnce, false));
    if tls {
        let no_ca = || ConnectError::NoCa { url: format!("mqtts://{host}:{port}") };
        let config = tls::client_config(identity.ca.as_deref().ok_or_else(no_ca)?, &[]).await?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
    }
    let (client, mut event_loop) = AsyncClient::new(options, 1);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_tcp_send_buffer_size(SEND_BUFFER_BYTES);
    event_loop.set_network_options(network);

    let (out, outlets) = outboxes();
    let (events_in, events) = mpsc::channel(EVENTS_QUEUED_MAX);
    let (subscribed, ready) = oneshot::channel();
    let mut tasks = JoinSet::new();
    let done = client.clone();
    client
        .try_subscribe(&topics.down, QoS::AtLeastOnce)
        .map_err(|error| ConnectError::Refused(error.to_string()))?;
    let sent = Sent::new(path_to(host, tls));
    let server = format!("{host}:{port}");
    tasks.spawn(poll(event_loop, events_in, (subscribed, server), (done, sent.clone())));
    let failed = || ConnectError::Refused("the connection ended before it was ready".to_owned());
    ready.await.map_err(|_| failed())?.map_err(ConnectError::Refused)?;
    let meter = sent.meter();
    tasks.spawn(publish(client, topics, outlets, sent));
    Ok(Link { out, events, tasks, queue_time: Some(QUEUE_TIME), meter, hello_every: Some(HELLO_EVERY) })
}

/// Counts what goes out, by the estimate of [`overhead`](crate::uplink::overhead).
#[derive(Clone)]
struct Sent {
    path: Path,
    bytes: Arc<AtomicU64>,
}

impl Sent {
    fn new(path: Path) -> Self {
        let opening = path.of_tcp_opening() + path.of_write(OPENING_BYTES);
        Self { path, bytes: Arc::new(AtomicU64::new(opening)) }
    }

    /// A PUBLISH at QoS 1: its header with up to three bytes of length, topic and packet number (MQTT 3.1.1, 3.3).
    fn publish(&self, topic: &str, frame: usize) {
        self.add(self.path.of_write((4 + 2 + topic.len() + 2 + frame) as u64));
    }

    /// What came in is acknowledged by TCP; a PUBLISH by a PUBACK too.
    fn answer(&self, packet: &Packet) {
        let puback = matches!(packet, Packet::Publish(_));
        self.add(if puback { self.path.of_write(4) } else { self.path.of_segment() });
    }

    fn ping(&self) {
        self.add(self.path.of_write(2));
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn meter(&self) -> Meter {
        let bytes = Arc::clone(&self.bytes);
        Meter { sent: Arc::new(move || bytes.load(Ordering::Relaxed)), rtt: None }
    }
}

/// The topics of one robot.
struct Topics {
    control: String,
    lanes: [String; 3],
    down: String,
}

impl Topics {
    fn of(robot: &RobotId) -> Self {
        let lane = |lane: Lane| format!("muster/1/{robot}/up/{lane}");
        Self {
            control: format!("muster/1/{robot}/up/control"),
            lanes: Lane::ALL.map(lane),
            down: format!("muster/1/{robot}/down"),
        }
    }
}

/// Publishes frames, the most urgent first. Waits in rumqttc's queue of one while its window is full.
async fn publish(client: AsyncClient, topics: Topics, outlets: Outlets, sent: Sent) {
    let Outlets { mut control, lanes: [mut urgent, mut live, mut bulk] } = outlets;
    let [to_urgent, to_live, to_bulk] = &topics.lanes;
    loop {
        let (topic, qos, frame) = tokio::select! {
            biased;
            Some(frame) = control.recv() => (&topics.control, QoS::AtMostOnce, frame),
            Some(frame) = urgent.recv() => (to_urgent, QoS::AtLeastOnce, frame),
            Some(frame) = live.recv() => (to_live, QoS::AtLeastOnce, frame),
            Some(frame) = bulk.recv() => (to_bulk, QoS::AtLeastOnce, frame),
            else => break,
        };
        let bytes = frame.len();
        if client.publish_bytes(topic, qos, false, frame).await.is_err() {
            return;
        }
        sent.publish(topic, bytes);
    }
    // The outboxes are closed: the link ends in order.
    let _ = client.disconnect().await;
}

/// Polls rumqttc until the connection is over. A connection that neither brings nor takes anything for several
/// keep-alives has wedged, and is over too.
async fn poll(
    mut event_loop: EventLoop,
    events: mpsc::Sender<LinkEvent>,
    (subscribed, server): (oneshot::Sender<Result<(), String>>, String),
    (_keeps_the_queue_open, sent): (AsyncClient, Sent),
) {
    let mut subscribed = Some(subscribed);
    let mut by_gateway = false;
    let why = loop {
        let event = match timeout(WEDGED_AFTER, event_loop.poll()).await {
            Ok(Ok(Event::Incoming(packet))) => packet,
            Ok(Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect))) => break "closed".to_owned(),
            Ok(Ok(Event::Outgoing(rumqttc::Outgoing::PingReq))) => {
                sent.ping();
                continue;
            }
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Err(error)) => {
                by_gateway = is_ended_by_peer(&error);
                break if subscribed.is_some() { greeting_failed(&error, &server) } else { sentence(&error) };
            }
            Err(_) => break format!("nothing moved for {WEDGED_AFTER:?}"),
        };
        sent.answer(&event);
        by_gateway = matches!(event, Packet::Disconnect);
        match handle_packet(event, &mut subscribed) {
            Ok(Some(frame)) => {
                if events.send(LinkEvent::Frame(frame)).await.is_err() {
                    break "closed".to_owned();
                }
            }
            Ok(None) => {}
            Err(why) => break why,
        }
    };
    if let Some(subscribed) = subscribed {
        let _ = subscribed.send(Err(why.clone()));
    }
    let _ =
        events.try_send(if by_gateway { LinkEvent::ClosedByGateway(why) } else { LinkEvent::Closed(why) });
}

fn handle_packet(
    packet: Packet,
    subscribed: &mut Option<oneshot::Sender<Result<(), String>>>,
) -> Result<Option<Frame>, String> {
    match packet {
        Packet::SubAck(ack) => {
            if ack.return_codes.iter().any(|code| matches!(code, SubscribeReasonCode::Failure)) {
                return Err("the broker refused the subscription to this robot's `down` topic".to_owned());
            }
            if let Some(subscribed) = subscribed.take() {
                let _ = subscribed.send(Ok(()));
            }
            Ok(None)
        }
        Packet::Publish(publish) => frame_of(publish.payload).map(Some),
        Packet::Disconnect => Err("the broker ended the connection".to_owned()),
        _ => Ok(None),
    }
}

fn frame_of(payload: Bytes) -> Result<Frame, String> {
    Frame::decode(payload).map_err(|error| error.to_string())
}

/// Whether the other end closed the connection, as far as the system tells it from a network that broke.
fn is_ended_by_peer(error: &ConnectionError) -> bool {
    let io = match error {
        ConnectionError::Io(error) | ConnectionError::MqttState(StateError::Io(error)) => error,
        ConnectionError::MqttState(StateError::ConnectionAborted) => return true,
        _ => return false,
    };
    is_from_peer(io)
}

fn is_from_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// Says why there was no connection, in which an MQTT server would have answered first. An HTTP server, say, answers
/// with text that reads as some packet, as none, or as the start of one.
fn greeting_failed(error: &ConnectionError, server: &str) -> String {
    use mqttbytes::Error::Io;
    let not_mqtt =
        || format!("what answers at {server} is not an MQTT server; check the address and the port");
    let ended = || format!("{server} ended the connection without an answer; is it an MQTT server?");
    match error {
        ConnectionError::NotConnAck(_) => not_mqtt(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => ended(),
        ConnectionError::MqttState(StateError::Deserialization(error)) => match error {
            Io(error) if is_from_peer(error) => ended(),
            // The stream itself failed, but for an end within a packet, which has no kind.
            Io(error) if error.kind() != io::ErrorKind::Other => error.to_string(),
            _ => not_mqtt(),
        },
        error => sentence(error),
    }
}

fn sentence(error: &ConnectionError) -> String {
    match error {
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// rumqttc's own window; the session's is above it.
const INFLIGHT_MAX: u16 = 32;

/// CONNECT and SUBSCRIBE with the longest names.
const OPENING_BYTES: u64 = 300;

/// A frame with its topic, and room.
const PACKET_BYTES_MAX: usize = 128 * 1024;

/// What waits in the kernel waits in front of an urgent frame.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

const KEEP_ALIVE: Duration = Duration::from_secs(20);
const WEDGED_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Guards: what rumqttc made of an HTTP server's answer was logged, `PubAck(..)` and all.
    #[tokio::test]
    async fn a_server_that_does_not_speak_mqtt_is_called_so() {
        let long = format!("HTTP/1.1 400 Bad Request\r\nX: {}\r\n\r\n", "x".repeat(200));
        for (answer, words) in [
            (long.as_str(), "is not an MQTT server"),
            ("SSH-2.0-OpenSSH_9.6\r\n", "is not an MQTT server"),
            ("HTTP/1.1 400 Bad Request\r\n\r\n", "is not an MQTT server"),
            ("", "is it an MQTT server?"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                stream
            };
            let identity = Identity { robot: "demo/r1".parse().unwrap(), ca: None };
            let link = connect(("127.0.0.1", address.port()), false, &identity);
            let (_stream, link) = tokio::join!(server, link);
            let error = link.unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(&address.to_string()), "{answer:?}: {error}");
        }
    }
}
