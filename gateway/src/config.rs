//! What a gateway is told: where it listens, where it keeps what it takes in, and how much of everything it allows.
//!
//! [`Config`] is the resolved result. It comes from the [`PROGRAM`]'s table of keys, over which defaults, file,
//! environment and flags are laid (see [`muster_protocol::settings`]). Each field is a key of the table and each key a
//! field. A gateway that other machines can reach without authentication does not start by accident: such a
//! configuration is refused here.

mod broker;
mod keys;
mod listen;
mod map;

use std::{net::SocketAddr, path::PathBuf};

use muster_protocol::settings::{LogFormat, Settings, SettingsError, Size, Span};
use serde::{Deserialize, Serialize};

use crate::fleet::Mapping;

pub use broker::{BrokerUrl, ClientId, ParseBrokerUrlError, ParseClientIdError};
pub use keys::PROGRAM;
pub use listen::{Listen, ParseListenError};
pub use map::{MapConfig, ParseThresholdNameError, ThresholdConfig, ThresholdLevel, ThresholdName};

/// Everything that a gateway is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of everything that it keeps.
    pub data_dir: PathBuf,
    /// Where the API and the dashboard are served.
    pub http: Listen,
    /// Where agents connect over QUIC.
    pub quic: Listen,
    /// How agents and other MQTT clients reach it.
    pub mqtt: MqttConfig,
    /// Whether to listen for other machines without authentication.
    pub insecure_listen: bool,
    /// How the log is kept on disk.
    pub store: StoreConfig,
    /// How records are committed together.
    pub commit: CommitConfig,
    /// What one session may have unacknowledged.
    pub window: WindowConfig,
    /// What sessions are allowed.
    pub session: SessionConfig,
    /// How logs are written.
    pub log: LogConfig,
    /// Which channels say where robots are, how full their batteries are, what they run and how they are.
    pub map: MapConfig,
    /// Most robots that it takes in.
    pub robots_max: u32,
    /// When something counts as wrong.
    pub conditions: ConditionsConfig,
    /// What values are worth a warning.
    pub threshold: Vec<ThresholdConfig>,
}

/// How agents and other MQTT clients reach a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttConfig {
    /// Where they connect.
    pub listen: Listen,
    /// The broker through which they report besides.
    pub broker: BrokerConfig,
}

/// A broker that is there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Where it is; without it there is none.
    pub url: Option<BrokerUrl>,
    /// The gateway's name there, under which the broker keeps what it has for it.
    pub client_id: Option<ClientId>,
    /// How often it hears from a gateway that has nothing to say.
    pub keep_alive: Span,
    /// The gateway's user name there.
    pub username: Option<String>,
    /// The file whose first line is its password.
    pub password_file: Option<PathBuf>,
}

/// How the log is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// The bytes of records at which a partition is sealed and the next one begun.
    pub partition_size: Size,
    /// The size on disk of all partitions above which the oldest is dropped.
    pub retention_size: Size,
    /// The size on disk above which nothing more is acknowledged; see [`StoreConfig::quota`].
    pub quota_size: Option<Size>,
    /// How often windows and fleet state are saved, so that a start reads only what came after.
    pub checkpoint_every: Span,
}

/// How records are committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitConfig {
    /// The most that one sync covers.
    pub group_size: Size,
    /// The most that waits for a commit; beyond it batches are refused for a moment.
    pub queue_size: Size,
}

/// What one session may have unacknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// In bytes of batches.
    pub size: Size,
    /// In number of batches.
    pub batches: u32,
}

/// What sessions are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionConfig {
    /// How long a session may be silent before its link counts as down.
    pub silence: Span,
    /// The most connections at once of each listener; more are turned away.
    pub max: u32,
}

/// When something counts as wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionsConfig {
    /// For how long what happened is told.
    pub lately: Span,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// One of them alone is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Anybody who reaches the address could read and write.
    #[error(
        "{listener} = \"{addr}\" can be reached from other machines, and nothing there is authenticated: \
         use a loopback address, as in --{listener} {}, or take the risk with --insecure-listen",
        loopback(*addr)
    )]
    Exposed {
        /// `http`, `quic` or `mqtt`.
        listener: &'static str,
        /// The address that is not loopback.
        addr: SocketAddr,
    },
    /// A part has to be smaller than its whole.
    #[error("{part} = \"{size}\" is too large for {whole} = \"{limit}\": it has to fit in {times} times")]
    TooLarge {
        /// The key of the part.
        part: &'static str,
        /// Its value.
        size: Size,
        /// The key of the whole.
        whole: &'static str,
        /// Its value.
        limit: Size,
        /// How often the part has to fit into the whole.
        times: u64,
    },
    /// A password is nothing without a name.
    #[error("mqtt.broker.password_file is set and mqtt.broker.username is not: set both or neither")]
    PasswordAlone,
    /// Channels that belong together stand side by side.
    #[error(
        "{part} has {has} channels and {whole} has {most}: they stand side by side, so give one for one, and - for a \
         part that is not there"
    )]
    NotBeside {
        /// The key of the one list.
        part: &'static str,
        /// How many it has.
        has: usize,
        /// The key of the other.
        whole: &'static str,
        /// How many it has.
        most: usize,
    },
    /// Everything that is mapped is looked for whenever a robot is read.
    #[error("{key} has {count} entries, and may have {most}: leave those out that no robot has")]
    TooMany {
        /// The key.
        key: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        most: usize,
    },
    /// A threshold without a bound judges nothing.
    #[error("the threshold {name:?} has neither below nor above: give one, as in below = 0.2")]
    NoBound {
        /// Its name.
        name: String,
    },
}

impl Default for Config {
    /// Returns what a gateway without any settings is told.
    fn default() -> Self {
        Settings::defaults(&PROGRAM).config().expect("every key has a default or is optional")
    }
}

impl Config {
    /// Returns what the settings say, if they go together.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let config: Self = settings.config()?;
        config.check()?;
        Ok(config)
    }

    /// Checks that the fields go together.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (listener, listen) in [("http", self.http), ("quic", self.quic), ("mqtt", self.mqtt.listen)] {
            let exposed = listen.addr().filter(|addr| !addr.ip().to_canonical().is_loopback());
            if let (Some(addr), false) = (exposed, self.insecure_listen) {
                return Err(ConfigError::Exposed { listener, addr });
            }
        }
        if self.mqtt.broker.password_file.is_some() && self.mqtt.broker.username.is_none() {
            return Err(ConfigError::PasswordAlone);
        }
        let partition = ("store.partition_size", self.store.partition_size);
        let retention = ("store.retention_size", self.store.retention_size);
        fits(partition, retention, PARTITIONS_MIN)?;
        fits(retention, ("store.quota_size", self.store.quota()), 1)?;
        self.map.mapping(&self.threshold)?;
        fits(("commit.group_size", self.commit.group_size), ("commit.queue_size", self.commit.queue_size), 1)
    }
}

impl Config {
    /// Returns what channels are mapped to.
    ///
    /// # Panics
    /// If it was not checked.
    pub fn mapping(&self) -> Mapping {
        self.map.mapping(&self.threshold).expect("a configuration is checked before it is used")
    }
}

impl StoreConfig {
    /// Returns the size on disk above which nothing more is acknowledged: what is set, or a quarter above what is
    /// retained, so that retention always acts first.
    pub fn quota(&self) -> Size {
        let retained = self.retention_size.bytes();
        self.quota_size.unwrap_or(Size::from_bytes(retained.saturating_add(retained / 4)))
    }
}

/// Checks that a part fits into its whole so many times.
fn fits(part: (&'static str, Size), whole: (&'static str, Size), times: u64) -> Result<(), ConfigError> {
    let ((part, size), (whole, limit)) = (part, whole);
    if size.bytes().saturating_mul(times) > limit.bytes() {
        return Err(ConfigError::TooLarge { part, size, whole, limit, times });
    }
    Ok(())
}

/// Returns the same port on the loopback address of the same family.
fn loopback(addr: SocketAddr) -> SocketAddr {
    let ip = if addr.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(ip, addr.port())
}

/// Fewest partitions that are retained: one open, one sealed.
const PARTITIONS_MIN: u64 = 2;

#[cfg(test)]
mod tests;
