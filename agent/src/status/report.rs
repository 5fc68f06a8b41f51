//! What an agent says of itself. The names are those of the JSON; add freely, change nothing.

use serde::{Deserialize, Serialize};

/// How an agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The agent's version.
    pub version: String,
    /// The robot, `FLEET/ROBOT`.
    pub robot: String,
    /// How long it has run, in milliseconds.
    pub running_ms: u64,
    /// The link.
    pub link: Link,
    /// What waits and what was lost, by lane.
    pub lanes: Vec<Lane>,
    /// What inputs were refused.
    pub refused: Vec<Refused>,
    /// What was left out because its value is declared to be none; absent if no channel declares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
    /// The robot's clock.
    pub clock: ClockReport,
    /// Bytes sent and their limits.
    pub uplink: Uplink,
    /// Encoded bytes by channel.
    pub channels: Channels,
    /// The spool.
    pub spool: Spool,
}

/// How a gateway is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC.
    Quic,
    /// MQTT.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
}

/// The link to the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// `up`, `waiting`, `connecting` or `greeting`.
    pub state: String,
    /// For how long it has been up, or down; absent before the first session.
    pub since_ms: Option<u64>,
    /// When the next attempt is made, while it waits.
    pub next_attempt_ms: Option<u64>,
    /// The gateway's URL.
    pub gateway: Option<String>,
    /// How it is reached.
    pub transport: Option<Transport>,
    /// How long ago the last acknowledgement came.
    pub last_ack_ms: Option<u64>,
    /// Attempts and links that failed since the last session.
    pub failures: u64,
    /// Why there is none.
    pub why_not: Option<String>,
}

/// What one lane holds and has lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// `urgent`, `live` or `bulk`.
    pub lane: String,
    /// Samples that wait for their acknowledgement.
    pub samples: u64,
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Samples lost since the agent started, what it found damaged at its start included.
    pub lost: u64,
}

/// Refusals of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The input.
    pub input: String,
    /// The short stable name of the reason.
    pub reason: String,
    /// The lane, where the reason depends on it.
    pub lane: Option<String>,
    /// How many rows or lines.
    pub count: u64,
    /// The line number of the first.
    pub line: u64,
    /// What the first said.
    pub example: String,
    /// The reason as a sentence.
    pub why: String,
}

/// Samples that were left out because their value is declared to be none, since the agent started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// How many.
    pub samples: u64,
    /// By channel, in the order of their names.
    pub channels: Vec<ChannelAbsent>,
}

/// What was left out of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelAbsent {
    /// The channel.
    pub channel: String,
    /// How many samples.
    pub samples: u64,
}

/// The robot's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockReport {
    /// Nanoseconds since 1970.
    pub wall: i64,
    /// The same in RFC 3339.
    pub time: String,
    /// Whether the system says that it is synchronised.
    pub synchronised: bool,
}

/// Bytes sent, with all overhead, and their limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uplink {
    /// Bytes of this day of UTC.
    pub today: u64,
    /// Bytes of this month of UTC.
    pub this_month: u64,
    /// The limits.
    pub limits: UplinkLimits,
    /// What is sent now: `everything`, `live backlog`, `live`, `urgent` (each with all that is worth more) or `control`.
    pub sends: String,
    /// Whether the counts are on disk.
    pub durable: bool,
}

/// Limits in bytes; absent where there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UplinkLimits {
    /// In a second.
    pub per_second: Option<u64>,
    /// In a day.
    pub per_day: Option<u64>,
    /// In a month.
    pub per_month: Option<u64>,
    /// What of each is kept for what is urgent, in hundredths.
    pub urgent_reserve_percent: u8,
}

/// Encoded bytes by channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channels {
    /// The channels that cost most today.
    pub top: Vec<ChannelBytes>,
    /// All others together.
    pub rest: ChannelBytes,
}

/// What a channel cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelBytes {
    /// The channel; empty for several together.
    pub channel: String,
    /// Bytes of this day of UTC.
    pub today: u64,
    /// Bytes since the agent started.
    pub since_start: u64,
}

/// The spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spool {
    /// The folder.
    pub dir: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// The most that it holds.
    pub limit: u64,
    /// Why its disk failed, if it did.
    pub fault: Option<String>,
}
