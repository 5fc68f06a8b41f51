//! Why a connection ends: one sentence for the log, one code for a client that speaks MQTT 5, one word for the session.

use std::{io, time::Duration};

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode as Code, MqttError};

use muster_protocol::{
    frame::{FrameError, Kind},
    id::RobotId,
    message::{Bye, ByeReason},
};

use crate::link::port::{Closed, Unhandled};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    /// The client said DISCONNECT.
    #[error("the client disconnected")]
    ByPeer,
    /// The stream ended or failed.
    #[error("the connection broke: {0}")]
    Lost(io::Error),
    /// No CONNECT came.
    #[error("no MQTT CONNECT came within {within:?}; is this an MQTT client?")]
    NoConnect {
        /// How long was waited.
        within: Duration,
    },
    /// Another protocol speaks.
    #[error("the first byte is {first:#04x}, which is not an MQTT CONNECT{}", hint(*first))]
    NotMqtt {
        /// The first byte.
        first: u8,
    },
    /// Nothing came for longer than the keep-alive allows.
    #[error("nothing came for {silence:?}, longer than the keep-alive allows")]
    Silent {
        /// How long nothing came.
        silence: Duration,
    },
    /// The client does not read or does not confirm.
    #[error("the client did not take what was sent to it")]
    SlowReader,
    /// The same client of the same robot connected anew.
    #[error("a newer connection of the same client took over")]
    Superseded,
    /// The session asked for it.
    #[error("the session ended: {:?}", .0.reason)]
    BySession(Bye),
    /// What arrived could not be made durable.
    #[error("what arrived could not be taken: {0}; the client has to send it again")]
    NotHandled(Unhandled),
    /// The gateway shuts down.
    #[error("the gateway is shutting down")]
    Shutdown,
    /// The bytes are not MQTT, or break its rules.
    #[error("bad MQTT: {0}")]
    Mqtt(MqttError),
    /// A version of MQTT that is neither 3.1.1 nor 5.
    #[error("the client speaks neither MQTT 3.1.1 nor MQTT 5; set it to one of them")]
    Version,
    /// The client's name cannot be taken.
    #[error("a client id of {bytes} bytes; use 1 to {CLIENT_ID_BYTES_MAX}, or none with a clean session")]
    ClientId {
        /// How long it is.
        bytes: usize,
    },
    /// An exchange that this listener does not know.
    #[error("the client asks for an authentication exchange, which this gateway does not offer")]
    Authentication,
    /// A packet that has no place here.
    #[error("unexpected {0}")]
    Unexpected(&'static str),
    /// `QoS` 2.
    #[error("a PUBLISH at QoS 2; publish at QoS 1, whose PUBACK means durable here")]
    QosTwo,
    /// A topic that the client may not use.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The payload on a frame topic is not a frame.
    #[error("a payload on `{topic}` that is not a frame: {error}")]
    Frame {
        /// The topic.
        topic: String,
        /// What is wrong with it.
        error: FrameError,
    },
    /// The agent did not introduce itself.
    #[error("the first frame is {found:?} on `{topic}`; a session starts with Hello on up/control")]
    NotHello {
        /// The topic.
        topic: String,
        /// What came instead.
        found: Kind,
    },
    /// The client takes smaller packets than a frame may need.
    #[error("the client's maximum packet size is too small for a frame of {bytes} bytes")]
    ClientPacketSize {
        /// The frame's size.
        bytes: usize,
    },
}

/// A PUBLISH that is not taken because of its topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Another robot's topic, or one outside `muster/1/`.
    #[error("a PUBLISH to `{topic}`, which is not the client's own; it may publish under {own} only")]
    NotAuthorized {
        /// The topic.
        topic: String,
        /// Where it may publish.
        own: String,
    },
    /// No such topic.
    #[error(
        "a PUBLISH to `{topic}`, which does not exist; publish to muster/1/FLEET/ROBOT/json (samples) or .../up/... (frames)"
    )]
    NoSuchTopic {
        /// The topic.
        topic: String,
    },
}

impl Refused {
    /// The topic is not the client's own.
    pub(super) fn not_authorized(topic: &str, robot: Option<&RobotId>) -> Self {
        let own = match robot {
            Some(robot) => format!("muster/1/{robot}/"),
            None => "muster/1/FLEET/ROBOT/".to_owned(),
        };
        Self::NotAuthorized { topic: shown(topic), own }
    }

    /// The topic does not exist.
    pub(super) fn no_such_topic(topic: &str) -> Self {
        Self::NoSuchTopic { topic: shown(topic) }
    }
}

impl Ending {
    /// The reason code of a DISCONNECT to a client that speaks MQTT 5; `None` where none may or need be sent.
    pub(super) fn code(&self) -> Option<Code> {
        Some(match self {
            Self::Silent { .. } => Code::KeepAliveTimeout,
            Self::SlowReader => Code::UnspecifiedError,
            Self::Superseded => Code::SessionTakenOver,
            Self::BySession(bye) => bye_code(bye.reason),
            Self::NotHandled(Unhandled::Busy | Unhandled::FullOfRobots) => Code::ServerBusy,
            Self::NotHandled(Unhandled::DiskFull) => Code::QuotaExceeded,
            Self::NotHandled(Unhandled::Stopping) | Self::Shutdown => Code::ServerShuttingDown,
            Self::Mqtt(error) => Code::from(*error),
            Self::Unexpected(_) | Self::NotHello { .. } => Code::ProtocolError,
            Self::QosTwo => Code::QosNotSupported,
            Self::Refused(Refused::NotAuthorized { .. }) => Code::NotAuthorized,
            Self::Refused(Refused::NoSuchTopic { .. }) => Code::TopicNameInvalid,
            Self::Frame { .. } => Code::PayloadFormatInvalid,
            Self::ClientPacketSize { .. } => Code::ImplementationSpecificError,
            // Nobody listens, or a CONNACK has said what there is to say.
            Self::ByPeer
            | Self::Lost(_)
            | Self::NoConnect { .. }
            | Self::NotMqtt { .. }
            | Self::Version
            | Self::ClientId { .. }
            | Self::Authentication => {
                return None;
            }
        })
    }

    /// What the session is told.
    pub(super) fn closed(&self) -> Closed {
        match self {
            Self::ByPeer => Closed::ByPeer,
            Self::Lost(_) => Closed::Lost,
            Self::Silent { .. } | Self::NoConnect { .. } => Closed::Silent,
            Self::SlowReader => Closed::SlowReader,
            Self::Superseded => Closed::Superseded,
            Self::BySession(_) => Closed::BySession,
            Self::NotHandled(_) => Closed::NotHandled,
            Self::Shutdown => Closed::Shutdown,
            _ => Closed::BrokeProtocol,
        }
    }

    /// Whether what arrived before is still confirmed: the gateway ends it, and the client may be listening.
    pub(super) fn confirms_the_rest(&self) -> bool {
        matches!(self.closed(), Closed::BrokeProtocol | Closed::Shutdown | Closed::BySession)
    }

    /// Whether somebody has to mend something, unlike what robots do every day: leave, and lose their network.
    pub(super) fn is_fault(&self) -> bool {
        !matches!(
            self.closed(),
            Closed::ByPeer
                | Closed::Lost
                | Closed::Silent
                | Closed::Superseded
                | Closed::Shutdown
                | Closed::BySession
        )
    }
}

/// Longest client id taken: it is kept for as long as the connection lives.
pub(super) const CLIENT_ID_BYTES_MAX: usize = 256;

/// What another protocol's first byte suggests.
fn hint(first: u8) -> &'static str {
    const TLS_HANDSHAKE: u8 = 0x16;
    if first == TLS_HANDSHAKE { "; it is TLS: use the mqtts listener, or mqtt:// in the client" } else { "" }
}

fn bye_code(reason: ByeReason) -> Code {
    match reason {
        ByeReason::Shutdown => Code::ServerShuttingDown,
        ByeReason::Superseded => Code::SessionTakenOver,
        ByeReason::IdentityMismatch => Code::NotAuthorized,
        ByeReason::ProtocolError => Code::ProtocolError,
        ByeReason::TooManySessions => Code::QuotaExceeded,
    }
}

/// Cuts hostile text to a length that fits a log line, and escapes what would break one.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 120;
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}
