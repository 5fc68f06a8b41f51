//! One client's side of the listener as a state machine: bytes in, what they ask for and bytes out. It decides
//! everything that MQTT leaves to a server here, and does no I/O.
//!
//! Drive it like this: give what arrives to [`Conversation::handle_input`] until the input is empty, act on each
//! [`Heard`], write out [`Conversation::output`], and answer each publish with [`Conversation::confirm`] in the order
//! in which it was heard, once it is durable. After an [`Ending`], call [`Conversation::end`] and write once more.
//!
//! *Invariant:* no PUBACK is made here by itself; every one comes from a call of `confirm`.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::{
    Connection, Version,
    common::Cursor,
    connection::{ConnectionOptions, Event},
    packet::{GenericPacketTrait, Packet, Qos},
    result_code::{ConnectReasonCode, ConnectReturnCode, MqttError, PubackReasonCode},
    role::Server,
};

use muster_protocol::{
    frame::{Frame, Kind},
    id::RobotId,
};

use super::{
    Settings,
    ending::{CLIENT_ID_BYTES_MAX, Ending, Refused},
    incoming::{Connect, Incoming, Publish},
    packets::{self, Welcome},
    subscriptions::Subscriptions,
    topics::{self, Leaf, TopicError},
};

/// The state machine of one connection.
pub(super) struct Conversation {
    mqtt: Connection<Server>,
    settings: Settings,
    stage: Stage,
    /// Names a client that brought no name.
    number: u64,
    client_id: String,
    robot: Option<RobotId>,
    subscriptions: Subscriptions,
    output: BytesMut,
    unconfirmed: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come.
    Silent,
    /// A CONNECT has begun.
    Connecting,
    /// Connected; before the agent's Hello, if one speaks here at all.
    Connected,
    /// Connected, and an agent has said Hello.
    Greeted,
    /// Ended by the library, which has said goodbye already if it could: no PUBACK may follow.
    Over,
}

/// What some input amounts to.
#[derive(Debug)]
pub(super) enum Heard {
    /// Nothing to do: part of a packet, or one that is answered already.
    Nothing,
    /// The client is connected.
    Connected {
        /// The longest silence that it may keep.
        silence_max: Duration,
    },
    /// The client confirmed a frame.
    Confirmed,
    /// A message to handle; at `QoS` 1 its packet id has to be confirmed.
    Message(Message, Option<u16>),
    /// A message that was refused; its packet id has to be confirmed with the reason, in its turn.
    Refused(Refused, u16),
    /// The connection is over.
    Ended(Ending),
}

/// A message for the gateway, from the robot that the connection is bound to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The agent's Hello: its first frame, and said again while it has heard no Welcome.
    Hello(Frame),
    /// Any later frame.
    Frame(Frame),
    /// Plain JSON samples.
    Json(Bytes),
}

/// Whether a frame can go to the client now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Yes.
    Open,
    /// Not before it subscribes.
    NotSubscribed,
    /// Not before it confirms or reads what it has been sent.
    Full,
}

impl Conversation {
    /// Starts with nothing heard. `number` is unique among the connections of the process.
    pub(super) fn new(settings: Settings, number: u64) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(settings.packet_bytes_max);
        let mut mqtt = Connection::with_options(Version::Undetermined, options);
        mqtt.set_auto_pub_response(false);
        mqtt.set_auto_ping_response(true);
        Self {
            mqtt,
            settings,
            stage: Stage::Silent,
            number,
            client_id: String::new(),
            robot: None,
            subscriptions: Subscriptions::default(),
            output: BytesMut::new(),
            unconfirmed: 0,
        }
    }

    /// The client's name, unique if it brought none; empty before CONNECT.
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The robot whose topics the client uses, from the first one on.
    pub(super) fn robot(&self) -> Option<&RobotId> {
        self.robot.as_ref()
    }

    /// Bytes to be written to the client.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Bytes that wait to be written.
    pub(super) fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// Takes at most one packet off the input. Takes at least one byte if there is any.
    pub(super) fn handle_input(&mut self, input: &mut BytesMut) -> Heard {
        if let (Stage::Silent, Some(&first)) = (self.stage, input.first()) {
            if first != CONNECT {
                input.clear();
                return Heard::Ended(Ending::NotMqtt { first });
            }
            self.stage = Stage::Connecting;
        }
        let mut cursor = Cursor::new(&input[..]);
        let events = self.mqtt.recv(&mut cursor);
        let taken = usize::try_from(cursor.position()).unwrap_or(input.len());
        input.advance(taken.min(input.len()));
        match self.handle_events(events) {
            Ok(None) => Heard::Nothing,
            Ok(Some(packet)) => self.handle_packet(packet.into()),
            Err(error) => Heard::Ended(self.library_ended(error)),
        }
    }

    /// Confirms a publish to the client: it is durable, or refused for good.
    pub(super) fn confirm(&mut self, packet_id: u16, reason: PubackReasonCode) {
        let puback = packets::puback(self.version(), packet_id, reason);
        self.send(puback);
    }

    /// Says whether the client may still be sent a PUBACK.
    pub(super) fn can_confirm(&self) -> bool {
        matches!(self.stage, Stage::Connected | Stage::Greeted)
    }

    /// Says whether a frame can go out.
    pub(super) fn delivery(&self) -> Delivery {
        match self.subscriptions.down() {
            None => Delivery::NotSubscribed,
            Some(_) if self.output.len() >= OUTPUT_BYTES_MAX => Delivery::Full,
            Some(Qos::AtMostOnce) => Delivery::Open,
            Some(_) if self.unconfirmed >= self.unconfirmed_max() => Delivery::Full,
            Some(_) => Delivery::Open,
        }
    }

    /// Sends a frame to the agent.
    pub(super) fn deliver(&mut self, frame: &Frame) -> Result<(), Ending> {
        // Only a farewell comes without a subscription; it has nowhere to go then.
        let (Some(robot), Some(qos)) = (&self.robot, self.subscriptions.down()) else { return Ok(()) };
        let topic = topics::down(robot);
        let packet_id = if qos == Qos::AtMostOnce { None } else { self.mqtt.acquire_packet_id().ok() };
        let publish = packets::publish(self.version(), &topic, packet_id, &frame.encode());
        let sent = self.mqtt.send(publish);
        match self.handle_events(sent) {
            Ok(_) => {
                self.unconfirmed = self.unconfirmed.saturating_add(u16::from(packet_id.is_some()));
                Ok(())
            }
            Err(MqttError::PacketTooLarge) => Err(Ending::ClientPacketSize { bytes: frame.body.len() }),
            Err(error) => Err(Ending::Mqtt(error)),
        }
    }

    /// Says goodbye, as far as the client's version has words for it.
    pub(super) fn end(&mut self, ending: &Ending) {
        let (Version::V5_0, Some(code)) = (self.version(), ending.code()) else { return };
        let why = ending.to_string();
        if !self.send(packets::disconnect(code, Some(&why))) {
            // The client may take only tiny packets.
            self.send(packets::disconnect(code, None));
        }
    }

    fn version(&self) -> Version {
        self.mqtt.get_protocol_version()
    }

    fn unconfirmed_max(&self) -> u16 {
        let granted = self.mqtt.get_receive_maximum_vacancy_for_send();
        let vacancy = granted.unwrap_or(u16::MAX).saturating_add(self.unconfirmed);
        vacancy.min(self.settings.receive_max)
    }

    /// Sends what the library lets pass; it refuses only where the connection is closed or the client takes less.
    fn send(&mut self, packet: Packet) -> bool {
        let events = self.mqtt.send(packet);
        self.handle_events(events).is_ok()
    }

    /// Moves what is to be sent into the output, and returns the packet that was heard or the first error.
    fn handle_events(&mut self, events: Vec<Event>) -> Result<Option<Packet>, MqttError> {
        let mut heard = Ok(None);
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketReceived(packet) if heard.is_ok() => heard = Ok(Some(packet)),
                Event::NotifyError(error) if heard.is_ok() => heard = Err(error),
                // Closing goes with an error or follows from the packet; time is kept by the caller.
                _ => {}
            }
        }
        heard
    }

    /// The library found the input wrong.
    fn library_ended(&mut self, error: MqttError) -> Ending {
        self.stage = Stage::Over;
        if error == MqttError::UnsupportedProtocolVersion && self.version() == Version::Undetermined {
            // No version to build the packet in: CONNACK of MQTT 3.1.1, unacceptable protocol version.
            self.output.extend_from_slice(&[0x20, 0x02, 0x00, 0x01]);
            return Ending::Version;
        }
        Ending::Mqtt(error)
    }

    fn handle_packet(&mut self, packet: Incoming) -> Heard {
        match packet {
            Incoming::Connect(connect) => self.connect(connect),
            Incoming::Publish(publish) => self.publish(publish),
            Incoming::Subscribe { packet_id: 0, .. } | Incoming::Unsubscribe { packet_id: 0, .. } => {
                Heard::Ended(Ending::Mqtt(MqttError::MalformedPacket))
            }
            Incoming::Subscribe { packet_id, filters } => {
                let grant = |(filter, qos)| self.subscriptions.subscribe(filter, qos, &mut self.robot);
                let codes = filters.into_iter().map(grant).collect();
                self.answer(packets::suback(self.version(), packet_id, codes))
            }
            Incoming::Unsubscribe { packet_id, filters } => {
                let codes = filters.iter().map(|filter| self.subscriptions.unsubscribe(filter)).collect();
                self.answer(packets::unsuback(self.version(), packet_id, codes))
            }
            Incoming::Puback => {
                self.unconfirmed = self.unconfirmed.saturating_sub(1);
                Heard::Confirmed
            }
            Incoming::Ping => Heard::Nothing,
            Incoming::Disconnect => Heard::Ended(Ending::ByPeer),
            Incoming::Unexpected(name) => Heard::Ended(Ending::Unexpected(name)),
        }
    }

    fn answer(&mut self, packet: Packet) -> Heard {
        if self.send(packet) { Heard::Nothing } else { Heard::Ended(Ending::Mqtt(MqttError::PacketTooLarge)) }
    }

    fn connect(&mut self, connect: Connect) -> Heard {
        let bytes = connect.client_id.len();
        let version = self.version();
        // MQTT 3.1.1, 3.1.3.1: a client without a name cannot be remembered.
        let nameless = bytes == 0 && version == Version::V3_1_1 && !connect.clean;
        if nameless || bytes > CLIENT_ID_BYTES_MAX {
            let old = ConnectReturnCode::IdentifierRejected;
            self.send(packets::not_accepted(version, old, ConnectReasonCode::ClientIdentifierNotValid));
            return Heard::Ended(Ending::ClientId { bytes });
        }
        if connect.authentication {
            let new = ConnectReasonCode::BadAuthenticationMethod;
            self.send(packets::not_accepted(version, ConnectReturnCode::NotAuthorized, new));
            return Heard::Ended(Ending::Authentication);
        }
        self.accept(connect)
    }

    fn accept(&mut self, connect: Connect) -> Heard {
        let assigned = connect.client_id.is_empty().then(|| format!("client-{}", self.number));
        let bound = u16::try_from(self.settings.silence_max.as_secs()).unwrap_or(u16::MAX);
        // Only MQTT 5 lets the server set the keep-alive; in 3.1.1 a client without one is bounded without being told.
        let can_set = self.version() == Version::V5_0 && bound > 0;
        let keep_alive = (can_set && !(1..=bound).contains(&connect.keep_alive)).then_some(bound);
        let silence_max = match keep_alive.unwrap_or(connect.keep_alive) {
            0 => self.settings.silence_max,
            seconds => Duration::from_millis(u64::from(seconds) * 1500),
        };
        let welcome = Welcome {
            receive_max: self.settings.receive_max,
            packet_bytes_max: self.settings.packet_bytes_max,
            keep_alive,
            client_id: assigned.clone(),
        };
        self.client_id = assigned.unwrap_or(connect.client_id);
        self.stage = Stage::Connected;
        match self.answer(packets::accepted(self.version(), &welcome)) {
            Heard::Nothing => Heard::Connected { silence_max },
            ended => ended,
        }
    }

    fn publish(&mut self, publish: Publish) -> Heard {
        if publish.qos == Qos::ExactlyOnce {
            return Heard::Ended(Ending::QosTwo);
        }
        if publish.packet_id == Some(0) {
            return Heard::Ended(Ending::Mqtt(MqttError::MalformedPacket));
        }
        match self.addressed(&publish.topic) {
            Ok(Leaf::Json) => Heard::Message(Message::Json(publish.payload), publish.packet_id),
            Ok(leaf) => match self.frame(publish, leaf) {
                Ok((message, packet_id)) => Heard::Message(message, packet_id),
                Err(ending) => Heard::Ended(ending),
            },
            Err(refused) => match publish.packet_id {
                Some(packet_id) if self.version() == Version::V5_0 => Heard::Refused(refused, packet_id),
                _ => Heard::Ended(refused.into()),
            },
        }
    }

    /// Checks that the client may publish to the topic, and binds it to the topic's robot if it is the first.
    fn addressed(&mut self, name: &str) -> Result<Leaf, Refused> {
        let topic = match topics::parse(name) {
            Ok(topic) => topic,
            Err(TopicError::Foreign | TopicError::Shared) => {
                return Err(Refused::not_authorized(name, self.robot.as_ref()));
            }
            Err(TopicError::Invalid) => return Err(Refused::no_such_topic(name)),
        };
        let own = self.robot.as_ref().is_none_or(|robot| *robot == topic.robot);
        if !own || topic.leaf == Leaf::Down {
            return Err(Refused::not_authorized(name, self.robot.as_ref()));
        }
        self.robot = Some(topic.robot);
        Ok(topic.leaf)
    }

    fn frame(&mut self, publish: Publish, leaf: Leaf) -> Result<(Message, Option<u16>), Ending> {
        let Publish { topic, payload, packet_id, .. } = publish;
        let frame = match Frame::decode(payload) {
            Ok(frame) => frame,
            Err(error) => return Err(Ending::Frame { topic, error }),
        };
        if frame.kind == Kind::Hello && leaf == Leaf::Control {
            self.stage = Stage::Greeted;
            return Ok((Message::Hello(frame), packet_id));
        }
        if self.stage == Stage::Greeted {
            return Ok((Message::Frame(frame), packet_id));
        }
        Err(Ending::NotHello { topic, found: frame.kind })
    }
}

/// The first byte of every connection (MQTT 5, 3.1.1).
const CONNECT: u8 = 0x10;

/// Output at which no more frames are taken from the session and no more input is handled: a few socket buffers.
pub(super) const OUTPUT_BYTES_MAX: usize = 64 * 1024;
