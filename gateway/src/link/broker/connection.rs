//! One connection to a broker, over rumqttc's client for MQTT 5: messages in, confirmations and frames out.
//!
//! rumqttc drops what is pending when a broker forgets a session, and can wedge on a collision of packet ids. So each
//! connection has a client of its own, which is dropped on any error. What it polls with never waits for anybody: it
//! hands on what came, and the broker is told how much may be unconfirmed.
//!
//! ```text
//!   broker ──► poll ──► events (as many as may be unconfirmed) ──► Inbox::next
//!   broker ◄── poll ◄── rumqttc's queue of one ◄── publish ◄── Out::confirm, Out::send
//! ```
//!
//! MQTT 5, because 3.1.1 has no words for what this needs: how much may be unconfirmed (receive maximum), how large a
//! packet may be (a larger one would come again on every connection, for ever), how long the broker keeps what it has
//! for a gateway that is away (session expiry), and that retained messages are not wanted.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use rumqttc::{
    NetworkOptions,
    v5::{
        AsyncClient, ConnectionError, Event as Polled, EventLoop, Incoming, MqttOptions, StateError,
        mqttbytes::{
            QoS,
            v5::{
                ConnectReturnCode, Filter, Packet, PubAckReason, Publish, RetainForwardRule,
                SubscribeReasonCode,
            },
        },
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{FRAMES_QUEUED_MAX, RECEIVE_MAX, sessions::FILTERS};

/// Who connects, and where to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) client_id: String,
    pub(super) keep_alive: Duration,
    /// User name and password.
    pub(super) login: Option<(String, String)>,
}

/// An open connection. Dropping it closes it.
pub(super) struct Connection {
    /// Whether the broker still knows the session of the connection before.
    pub(super) kept: bool,
    pub(super) inbox: Inbox,
    pub(super) out: Out,
    tasks: JoinSet<()>,
}

/// What comes from a broker.
pub(super) struct Inbox(mpsc::Receiver<Event>);

/// What goes to a broker.
pub(super) struct Out {
    confirmations: mpsc::Sender<u16>,
    frames: mpsc::Sender<(String, Bytes)>,
}

/// What a connection says.
#[derive(Debug)]
pub(super) enum Event {
    /// A message arrived.
    Letter(Letter),
    /// The connection is over, and why.
    Closed(String),
}

/// A message from the broker.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) topic: Bytes,
    pub(super) payload: Bytes,
    /// To be confirmed; `None` for what came at `QoS` 0, without promise.
    pub(super) packet_id: Option<u16>,
    /// Whether the broker says that it has sent it before.
    pub(super) again: bool,
}

impl Connection {
    /// Connects and subscribes, or says why not.
    pub(super) async fn open(target: Target) -> Result<Self, String> {
        let (client, event_loop) = AsyncClient::new(options(&target), 1);
        client.try_subscribe_many(FILTERS.map(filter)).map_err(|error| error.to_string())?;
        // Kept messages come before the SUBACK. One more, for the end.
        let (events_in, events) = mpsc::channel(usize::from(RECEIVE_MAX) + UNPROMISED_MAX + 1);
        let (confirmations, to_confirm) = mpsc::channel(usize::from(RECEIVE_MAX));
        let (frames, to_send) = mpsc::channel(FRAMES_QUEUED_MAX);
        let (subscribed, ready) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let poller =
            Poller { events: events_in, subscribed: Some(subscribed), kept: false, said_denied: false };
        tasks.spawn(poller.run(event_loop, client.clone(), target.keep_alive * 3));
        let ended = || Err("the connection ended before it was ready".to_owned());
        let kept = match timeout(READY_MAX, ready).await {
            Ok(answer) => answer.unwrap_or_else(|_| ended())?,
            Err(_) => return Err(format!("no SUBACK within {READY_MAX:?}")),
        };
        tasks.spawn(publish(client, to_confirm, to_send));
        Ok(Self { kept, inbox: Inbox(events), out: Out { confirmations, frames }, tasks })
    }

    /// Sends what is queued, within a bound, and says goodbye. The broker keeps what it has for this gateway.
    pub(super) async fn close(self) {
        let Self { inbox, out, mut tasks, .. } = self;
        drop(out);
        let _ = timeout(CLOSE_MAX, async { while tasks.join_next().await.is_some() {} }).await;
        drop(inbox);
    }
}

impl Inbox {
    /// Waits for what the connection has to say. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        let gone = || Event::Closed("the connection is over".to_owned());
        self.0.recv().await.unwrap_or_else(gone)
    }
}

impl Out {
    /// Confirms a message to the broker.
    pub(super) fn confirm(&self, packet_id: u16) {
        // It holds as many as may be unconfirmed. A broker that breaks that gets no confirmation, and sends it again.
        let _ = self.confirmations.try_send(packet_id);
    }

    /// Waits until [`Out::send`] takes a frame. Cancel-safe. Waits for ever on a connection that is over.
    pub(super) async fn room(&self) {
        if self.frames.reserve().await.is_err() {
            pending::<()>().await;
        }
    }

    /// Publishes a frame on a topic. Without [`Out::room`] it may be dropped; then it has to be said again.
    pub(super) fn send(&self, topic: String, frame: Bytes) {
        let _ = self.frames.try_send((topic, frame));
    }
}

fn options(target: &Target) -> MqttOptions {
    let mut options = MqttOptions::new(&target.client_id, &target.host, target.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_clean_start(false)
        .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_keep_alive(target.keep_alive)
        .set_connection_timeout(CONNECT_TIMEOUT_S)
        .set_manual_acks(true)
        .set_request_channel_capacity(1)
        .set_outgoing_inflight_upper_limit(INFLIGHT_MAX)
        .set_network_options(network);
    if let Some((username, password)) = &target.login {
        options.set_credentials(username, password);
    }
    options
}

fn filter(path: &str) -> Filter {
    // What a client retained long ago would come again with every connection.
    let retain_forward_rule = RetainForwardRule::Never;
    Filter { retain_forward_rule, ..Filter::new(path, QoS::AtLeastOnce) }
}

/// What polls rumqttc.
struct Poller {
    events: mpsc::Sender<Event>,
    subscribed: Option<oneshot::Sender<Result<bool, String>>>,
    kept: bool,
    said_denied: bool,
}

impl Poller {
    /// Polls until the connection is over. One that neither brings nor takes anything for several keep-alives has
    /// wedged, and is over too.
    async fn run(
        mut self,
        mut event_loop: EventLoop,
        _keeps_the_queue_open: AsyncClient,
        wedged_after: Duration,
    ) {
        let why = loop {
            let packet = match timeout(wedged_after, event_loop.poll()).await {
                Ok(Ok(Polled::Incoming(packet))) => packet,
                Ok(Ok(Polled::Outgoing(rumqttc::Outgoing::Disconnect))) => break "closed".to_owned(),
                Ok(Ok(Polled::Outgoing(_))) => continue,
                Ok(Err(error)) => break sentence(&error),
                Err(_) => break format!("nothing moved for {wedged_after:?}"),
            };
            if let Err(why) = self.handle_packet(packet) {
                break why;
            }
        };
        if let Some(subscribed) = self.subscribed.take() {
            let _ = subscribed.send(Err(why.clone()));
        }
        let _ = self.events.try_send(Event::Closed(why));
    }

    fn handle_packet(&mut self, packet: Incoming) -> Result<(), String> {
        match packet {
            Packet::ConnAck(ack) => self.kept = ack.session_present,
            Packet::SubAck(ack) => {
                let granted = |code: &SubscribeReasonCode| {
                    matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce))
                };
                if ack.return_codes.len() != FILTERS.len() || !ack.return_codes.iter().all(granted) {
                    return Err(format!(
                        "the broker refused a subscription at QoS 1 to {FILTERS:?}: {:?}; let this client id or user \
                         read them",
                        ack.return_codes
                    ));
                }
                if let Some(subscribed) = self.subscribed.take() {
                    let _ = subscribed.send(Ok(self.kept));
                }
            }
            Packet::Publish(publish) => return self.hand_on(publish),
            Packet::PubAck(ack) if ack.reason == PubAckReason::NotAuthorized && !self.said_denied => {
                self.said_denied = true;
                tracing::warn!(
                    "the broker refused a frame to a robot; let this gateway write muster/1/+/+/down"
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn hand_on(&mut self, publish: Publish) -> Result<(), String> {
        let Publish { dup: again, qos, topic, pkid, payload, .. } = publish;
        let packet_id = (qos != QoS::AtMostOnce).then_some(pkid);
        if packet_id.is_none() && self.events.capacity() <= usize::from(RECEIVE_MAX) {
            // Taken without promise, and dropped while the gateway is behind: what has to arrive is said again.
            return Ok(());
        }
        let letter = Letter { topic, payload, packet_id, again };
        let handed = self.events.try_send(Event::Letter(letter));
        handed.map_err(|_| format!("the broker left more than {RECEIVE_MAX} messages unconfirmed"))
    }
}

/// Confirms messages and sends frames; confirmations first, because they make room at the broker. Waits in rumqttc's
/// queue of one while its window is full.
async fn publish(
    client: AsyncClient,
    mut to_confirm: mpsc::Receiver<u16>,
    mut to_send: mpsc::Receiver<(String, Bytes)>,
) {
    loop {
        let queued = tokio::select! {
            biased;
            Some(pkid) = to_confirm.recv() => {
                client.ack(&Publish { pkid, qos: QoS::AtLeastOnce, ..Publish::default() }).await
            }
            Some((topic, frame)) = to_send.recv() => {
                client.publish_bytes(topic, QoS::AtLeastOnce, false, frame).await
            }
            else => break,
        };
        if queued.is_err() {
            return;
        }
    }
    // Both queues are closed: the connection ends in order.
    let _ = client.disconnect().await;
}

fn sentence(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => refusal(*code),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let words = reason_string.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
            format!("the broker ended the connection: {reason_code:?}{words}")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => "the connection broke".to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => "the broker does not answer".to_owned(),
        ConnectionError::Timeout(_) => format!("no answer within {CONNECT_TIMEOUT_S} s"),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn refusal(code: ConnectReturnCode) -> String {
    let hint = match code {
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            "; it has to speak MQTT 5"
        }
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => {
            "; check mqtt.broker.username and mqtt.broker.password_file"
        }
        _ => "",
    };
    format!("the broker refused the connection: {code:?}{hint}")
}

/// How long the broker keeps what it has for a gateway that is away: a long weekend, and then it forgets one that was
/// taken down for good.
const SESSION_EXPIRY_S: u32 = 7 * 24 * 3600;

/// Largest packet that the broker may send, as on the gateway's own listener; larger ones it drops.
const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// Messages at `QoS` 0 that wait to be handled, Hellos and heartbeats above all; more are dropped.
const UNPROMISED_MAX: usize = 256;

/// rumqttc's own window of frames to robots that the broker has not confirmed.
const INFLIGHT_MAX: u16 = 128;

const CONNECT_TIMEOUT_S: u64 = 20;

/// Longest wait for a connection with its subscription; longer than the one without.
const READY_MAX: Duration = Duration::from_secs(40);

/// Longest wait for what is still queued when the gateway closes the connection.
const CLOSE_MAX: Duration = Duration::from_secs(2);
