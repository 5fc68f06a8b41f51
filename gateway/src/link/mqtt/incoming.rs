//! Packets from a client, the same for both versions of MQTT: what this listener acts on, and nothing else.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{MqttString, Packet, Property, Qos, SubEntry};

/// What a client says.
#[derive(Debug)]
pub(super) enum Incoming {
    Connect(Connect),
    Publish(Publish),
    Subscribe {
        packet_id: u16,
        filters: Vec<(String, Qos)>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    /// The client has a message that was sent to it.
    Puback,
    /// Answered by the library already.
    Ping,
    Disconnect,
    /// What has no place on a connection without `QoS` 2 and without authentication exchanges.
    Unexpected(&'static str),
}

/// The fields of a CONNECT that matter here. A will is taken and dropped: the gateway tells its own view of a link.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) client_id: String,
    /// Seconds; zero for none.
    pub(super) keep_alive: u16,
    /// Whether the client asks to forget what was before. Nothing is ever remembered.
    pub(super) clean: bool,
    /// Whether it asks for an exchange of AUTH packets (MQTT 5).
    pub(super) authentication: bool,
}

/// A PUBLISH. The retain flag is ignored.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: Qos,
    /// Set at `QoS` 1 and 2.
    pub(super) packet_id: Option<u16>,
}

impl From<Packet> for Incoming {
    fn from(packet: Packet) -> Self {
        match packet {
            Packet::V3_1_1Connect(connect) => Self::Connect(Connect {
                client_id: connect.client_id().to_owned(),
                keep_alive: connect.keep_alive(),
                clean: connect.clean_session(),
                authentication: false,
            }),
            Packet::V5_0Connect(connect) => Self::Connect(Connect {
                client_id: connect.client_id().to_owned(),
                keep_alive: connect.keep_alive(),
                clean: connect.clean_start(),
                authentication: connect
                    .props()
                    .iter()
                    .any(|p| matches!(p, Property::AuthenticationMethod(_))),
            }),
            Packet::V3_1_1Publish(publish) => Self::Publish(Publish {
                topic: publish.topic_name().to_owned(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                packet_id: publish.packet_id(),
            }),
            Packet::V5_0Publish(publish) => Self::Publish(Publish {
                topic: publish.topic_name().to_owned(),
                payload: Bytes::copy_from_slice(publish.payload().as_slice()),
                qos: publish.qos(),
                packet_id: publish.packet_id(),
            }),
            Packet::V3_1_1Subscribe(subscribe) => {
                Self::Subscribe { packet_id: subscribe.packet_id(), filters: filters(subscribe.entries()) }
            }
            Packet::V5_0Subscribe(subscribe) => {
                Self::Subscribe { packet_id: subscribe.packet_id(), filters: filters(subscribe.entries()) }
            }
            Packet::V3_1_1Unsubscribe(unsubscribe) => Self::Unsubscribe {
                packet_id: unsubscribe.packet_id(),
                filters: texts(unsubscribe.entries()),
            },
            Packet::V5_0Unsubscribe(unsubscribe) => Self::Unsubscribe {
                packet_id: unsubscribe.packet_id(),
                filters: texts(unsubscribe.entries()),
            },
            Packet::V3_1_1Puback(_) | Packet::V5_0Puback(_) => Self::Puback,
            Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => Self::Ping,
            Packet::V3_1_1Disconnect(_) | Packet::V5_0Disconnect(_) => Self::Disconnect,
            Packet::V5_0Auth(_) => Self::Unexpected("AUTH"),
            Packet::V3_1_1Pubrel(_) | Packet::V5_0Pubrel(_) => Self::Unexpected("PUBREL"),
            Packet::V3_1_1Pubrec(_) | Packet::V5_0Pubrec(_) => Self::Unexpected("PUBREC"),
            Packet::V3_1_1Pubcomp(_) | Packet::V5_0Pubcomp(_) => Self::Unexpected("PUBCOMP"),
            _ => Self::Unexpected("packet that only a server sends"),
        }
    }
}

fn filters(entries: &[SubEntry]) -> Vec<(String, Qos)> {
    entries.iter().map(|entry| (entry.topic_filter().to_owned(), entry.sub_opts().qos())).collect()
}

fn texts(entries: &[MqttString]) -> Vec<String> {
    entries.iter().map(|entry| entry.as_str().to_owned()).collect()
}
