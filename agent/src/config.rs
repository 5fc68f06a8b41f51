//! What an agent is told: who it is, where its samples come from and go to, and how it keeps them.
//!
//! [`Config`] is the resolved result. It comes from the [`PROGRAM`]'s table of keys, over which defaults, file,
//! environment and flags are laid (see [`muster_protocol::settings`]), or from [`Config::new`] in a program that embeds
//! the agent. Each field is a key of the table and each key a field.

mod absent;
mod channel;
mod every;
mod input;
mod keys;
mod percent;
mod url;

use std::path::PathBuf;

use muster_protocol::{
    id::RobotId,
    label::Labels,
    settings::{LogFormat, Settings, SettingsError, Size, Span},
};
use serde::{Deserialize, Serialize};

use crate::uplink::Limits;

pub use absent::{ABSENT_VALUES_MAX, AbsentValue, AbsentValues, TooManyAbsentValues};
pub use channel::{ChannelRule, ParseUnitError, Unit};
pub use every::{Every, ParseEveryError};
pub use input::{Input, ParseInputError};
pub use keys::PROGRAM;
pub use percent::{ParsePercentError, Percent};
pub use url::{GatewayUrl, ParseUrlError};

/// Everything that an agent is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who the robot is.
    pub robot: RobotId,
    /// Ways to one gateway, at least one, tried in order.
    pub gateway: Vec<GatewayUrl>,
    /// The certificates (PEM) that a gateway's certificate has to come from.
    pub ca: Option<PathBuf>,
    /// Where samples come from.
    pub input: Vec<Input>,
    /// Whether to stop when every input has ended and everything is acknowledged.
    pub once: bool,
    /// How samples are kept on disk.
    pub spool: SpoolConfig,
    /// How samples become batches.
    pub batch: BatchConfig,
    /// What a sample may be.
    pub sample: SampleConfig,
    /// How the gateway is reached.
    pub link: LinkConfig,
    /// How much may be sent.
    pub uplink: UplinkConfig,
    /// How the agent tells of itself.
    #[serde(rename = "self")]
    pub own: OwnConfig,
    /// How logs are written.
    pub log: LogConfig,
    /// What the robot is called by.
    pub labels: Labels,
    /// What is declared of channels, in order.
    pub channel: Vec<ChannelRule>,
}

/// How samples are kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolConfig {
    /// The folder.
    pub dir: PathBuf,
    /// The most that it holds, over all lanes.
    pub limit: Size,
    /// The most that is kept in memory while the disk fails.
    pub memory_limit: Size,
    /// The size at which a segment file is closed and the next one begun.
    pub segment_size: Size,
    /// How long samples may wait for a sync; urgent ones never do.
    pub sync_every: Span,
}

/// How samples become batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// How long a batch waits for more samples; urgent ones do not.
    pub linger: Span,
}

/// What a sample may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// The most elements of an array; longer ones are refused and counted.
    pub array_elements_max: u32,
}

/// How the gateway is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkConfig {
    /// How often the gateway hears from the agent when there is nothing to send.
    pub heartbeat_every: Span,
    /// How long a batch waits for its acknowledgement before it is sent again.
    pub ack_timeout: Span,
    /// The first wait before connecting again.
    pub backoff_min: Span,
    /// The longest wait before connecting again.
    pub backoff_max: Span,
    /// The range of the first wait after the gateway ended a session.
    pub return_spread: Span,
}

/// How much may be sent, with all overhead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UplinkConfig {
    /// The most in a second.
    pub bytes_per_second: Option<Size>,
    /// The most in a day of UTC.
    pub bytes_per_day: Option<Size>,
    /// The most in a month of UTC.
    pub bytes_per_month: Option<Size>,
    /// What of each is kept for what is urgent.
    pub urgent_reserve: Percent,
}

/// How the agent tells of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnConfig {
    /// How often its own figures are recorded.
    pub every: Every,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
}

/// Why settings that are right one by one do not go together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// One of them alone is wrong or missing.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no gateway to send to.
    #[error("gateway is an empty list: give at least one, as in --gateway {DEFAULT_GATEWAY}")]
    NoGateway,
    /// The same input twice would record every sample twice.
    #[error("the input `{input}` is given twice: every sample would be recorded twice; give it once")]
    InputTwice {
        /// The input.
        input: Input,
    },
    /// The waits are upside down.
    #[error("link.backoff_min = \"{min}\" is longer than link.backoff_max = \"{max}\": give a shorter one")]
    Backoff {
        /// The first wait.
        min: Span,
        /// The longest wait.
        max: Span,
    },
    /// Every lane needs room for some segments, so that removing the oldest leaves the newest.
    #[error(
        "spool.limit = \"{limit}\" has no room for {SEGMENTS_MIN} segments of spool.segment_size = \
         \"{segment}\": give a greater limit or smaller segments"
    )]
    Spool {
        /// The most that the spool holds.
        limit: Size,
        /// The size of a segment.
        segment: Size,
    },
    /// A shorter time may send more than a longer one.
    #[error(
        "{shorter} = \"{more}\" is more than {longer} = \"{less}\" lets through: give less for the one or more for the other"
    )]
    Uplink {
        /// The key of the shorter time.
        shorter: &'static str,
        /// Its limit.
        more: Size,
        /// The key of the longer time.
        longer: &'static str,
        /// Its limit.
        less: Size,
    },
}

impl Config {
    /// Returns the defaults for this robot: a gateway on this machine, no inputs.
    ///
    /// # Panics
    /// Never: a test checks that the robot is all that the table of keys has no default for.
    pub fn new(robot: &RobotId) -> Self {
        let mut settings = Settings::defaults(&PROGRAM);
        let robot = [robot.to_string()];
        settings
            .set("robot", "--robot", &robot)
            .and_then(|()| settings.config())
            .expect("the robot is all that has no default")
    }

    /// Returns what the settings say, if they are complete and go together.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let config: Self = settings.config()?;
        config.check()?;
        Ok(config)
    }

    /// Checks that the fields go together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.gateway.is_empty() {
            return Err(ConfigError::NoGateway);
        }
        for (at, input) in self.input.iter().enumerate() {
            if self.input[..at].iter().any(|earlier| earlier.is_same_source(input)) {
                return Err(ConfigError::InputTwice { input: input.clone() });
            }
        }
        let LinkConfig { backoff_min: min, backoff_max: max, .. } = self.link;
        if min > max {
            return Err(ConfigError::Backoff { min, max });
        }
        let SpoolConfig { limit, segment_size: segment, .. } = self.spool;
        if limit.bytes() / segment.bytes() < SEGMENTS_MIN {
            return Err(ConfigError::Spool { limit, segment });
        }
        self.uplink.check()
    }
}

impl UplinkConfig {
    /// Returns the limits for [`Uplink`](crate::uplink::Uplink).
    pub fn limits(&self) -> Limits {
        Limits {
            per_second: self.bytes_per_second.map(Size::bytes),
            per_day: self.bytes_per_day.map(Size::bytes),
            per_month: self.bytes_per_month.map(Size::bytes),
            urgent_reserve: self.urgent_reserve.share(),
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("uplink.bytes_per_second", self.bytes_per_second),
            ("uplink.bytes_per_day", self.bytes_per_day),
            ("uplink.bytes_per_month", self.bytes_per_month),
        ];
        for (at, (longer, less)) in limits.iter().enumerate() {
            for (shorter, more) in &limits[..at] {
                if let (Some(more), Some(less)) = (*more, *less)
                    && more > less
                {
                    return Err(ConfigError::Uplink { shorter, more, longer, less });
                }
            }
        }
        Ok(())
    }
}

/// Fewest segments that the spool has room for: two for each of the three lanes, one being written, one kept.
const SEGMENTS_MIN: u64 = 6;

/// The gateway on this machine, as it starts without a configuration.
const DEFAULT_GATEWAY: &str = "quic://127.0.0.1:4443";

#[cfg(test)]
mod tests;
