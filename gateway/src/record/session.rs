//! Session events: a robot's link going up or down, as records of the log. Link state is a fold over them like
//! everything else.

use std::fmt;

use muster_protocol::{
    id::InstanceId,
    limits::BATCH_BYTES_MAX,
    message::{Clock, DrainedLane, HeldLane},
};
use serde::{Deserialize, Serialize};

/// What a robot's session says of itself. The number is on disk: new ones are appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionEvent {
    /// The robot said Hello and was welcomed, or a plain MQTT client published for it.
    Up {
        /// How it is connected.
        transport: Transport,
        /// The remote address as text, for people.
        address: String,
        /// The agent's version; empty without an agent.
        version: String,
        /// The robot's clocks, if it said them.
        clock: Option<Clock>,
        /// The agent's process, if it is one.
        instance: Option<InstanceId>,
    },
    /// The session ended.
    Down {
        /// Why.
        why: DownReason,
    },
    /// The robot said what its spool holds: with its Hello, and now and then with a heartbeat. Make
    /// it with [`SessionEvent::told`].
    Told {
        /// What it holds; the drained lanes of a Hello as lanes that hold nothing.
        held: Vec<HeldLane>,
        /// The robot's clocks.
        clock: Clock,
    },
    /// This session took the place of one that lived, as far as the gateway knew, and belongs to another process on
    /// another spool: the robot was wiped or replaced, or two processes speak for it. Then the older one comes back.
    Conflict {
        /// The process that has to wait.
        instance: InstanceId,
        /// From where it spoke, as text, for people.
        address: String,
    },
}

/// How a robot is connected. The number is on disk: new ones are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// An agent over QUIC.
    Quic,
    /// An agent over MQTT.
    Mqtt,
    /// Any MQTT client that publishes plain JSON.
    MqttJson,
}

/// Why a session ended. The number is on disk: new ones are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownReason {
    /// The robot closed it in order.
    Closed,
    /// The connection broke.
    Lost,
    /// Nothing was heard for longer than a live link stays silent.
    Silent,
    /// A newer process of the same robot took over.
    Superseded,
    /// The robot broke the protocol.
    ProtocolError,
    /// The gateway shut down in order.
    GatewayShutdown,
    /// The gateway ended without saying so; written at its next start.
    GatewayLost,
}

impl SessionEvent {
    /// Makes a [`SessionEvent::Told`] that fits a record: where the numbers are so large that it would not, what is
    /// gone between what is held is left out, which then counts as held. `drained` is what a Hello lists.
    pub fn told(held: &[HeldLane], drained: &[DrainedLane], clock: Clock) -> Self {
        let emptied = |lane: &DrainedLane| {
            let DrainedLane { epoch, lane, next, spooled } = *lane;
            HeldLane { epoch, lane, first: next, next, samples: 0, spooled, gone: Vec::new() }
        };
        let mut held: Vec<HeldLane> = held.iter().cloned().chain(drained.iter().map(emptied)).collect();
        if postcard::experimental::serialized_size(&held).is_ok_and(|bytes| bytes > HELD_BYTES_MAX) {
            for lane in &mut held {
                lane.gone.clear();
            }
        }
        Self::Told { held, clock }
    }
}

/// What the other fields of a [`SessionEvent::Told`] take stays far below the rest.
const HELD_BYTES_MAX: usize = BATCH_BYTES_MAX - 64;

impl Transport {
    /// Each of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Quic, Self::Mqtt, Self::MqttJson];

    /// Returns the transport's name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Mqtt => "mqtt",
            Self::MqttJson => "mqtt_json",
        }
    }
}

impl DownReason {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::Closed,
        Self::Lost,
        Self::Silent,
        Self::Superseded,
        Self::ProtocolError,
        Self::GatewayShutdown,
        Self::GatewayLost,
    ];

    /// Returns the reason's name as in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Superseded => "superseded",
            Self::ProtocolError => "protocol_error",
            Self::GatewayShutdown => "gateway_shutdown",
            Self::GatewayLost => "gateway_lost",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
