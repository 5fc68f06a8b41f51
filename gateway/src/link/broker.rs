//! Robots behind a broker that is there already: the gateway is a client of it, beside its own listeners.
//!
//! The same frames and the same plain JSON come in on the topics of PROTOCOL.md, through any broker that speaks MQTT 5
//! (the robots may speak 3.1.1 to it). For frames the broker is a wire that may lose, repeat and delay: the session's
//! own acks decide, so whatever happens to the broker, nothing is lost and nothing is doubled. For plain JSON there is
//! no more than the broker can promise: what it has confirmed to a robot lives in its memory until this gateway has
//! committed it. A message is confirmed to the broker after its commit, in the order of arrival.
//!
//! ```text
//! Broker::run
//!   exchange      what happens next, and what follows: tickets, reconnects     (agent: sessions' frames; json)
//!     ledger      PURE: which messages are due to be confirmed, in which order
//!     sessions    PURE: whose session a frame belongs to; the subscription's filters
//!   connection    rumqttc: one client for each connection, polled by a task that never waits
//! ```

mod agent;
mod connection;
mod exchange;
mod json;
mod ledger;
mod sessions;

use std::{net::SocketAddr, panic::AssertUnwindSafe, path::PathBuf, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{net::lookup_host, sync::watch, task::spawn_blocking, time::sleep};

use self::{
    connection::{Connection, Target},
    exchange::Exchange,
    sessions::Limits,
};
use super::port::Intake;
use crate::clock::Clock;

/// What a gateway has to know of a broker.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// Its name or address, an IPv6 one without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The gateway's name there: the same at each start, and no other client's.
    pub client_id: String,
    /// How often it hears from a gateway that has nothing to say.
    pub keep_alive: Duration,
    /// The gateway's user name there.
    pub username: Option<String>,
    /// The file whose first line is its password, read at each connection.
    pub password_file: Option<PathBuf>,
    /// Most robots behind it that may be connected at once; more are turned away.
    pub sessions_max: usize,
    /// A robot that is not heard for so long is gone.
    pub silence: Duration,
}

/// A gateway's place at a broker.
pub struct Broker {
    settings: BrokerSettings,
    intake: Arc<dyn Intake>,
    clock: Clock,
    connected: Gauge,
}

impl BrokerSettings {
    /// Returns the broker's name and port, for people.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl Broker {
    /// Will take what comes through this broker, and hand it to `intake`. `connected` will be 1 while it is a client
    /// there, and 0 otherwise.
    pub fn new(settings: BrokerSettings, intake: Arc<dyn Intake>, clock: Clock, connected: Gauge) -> Self {
        Self { settings, intake, clock, connected }
    }

    /// Connects, again and again, until `stop` turns true. Then it confirms what is still being handled, within a few
    /// seconds, says goodbye to the robots and returns. A broker that cannot be reached is no error: robots keep what
    /// they have.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let limits = Limits { sessions_max: self.settings.sessions_max, silence: self.settings.silence };
        loop {
            let exchange = Exchange::new(&self, limits);
            let ended = AssertUnwindSafe(exchange.run(stop.clone())).catch_unwind().await;
            self.connected.set(0);
            if ended.is_ok() {
                return;
            }
            tracing::error!(
                "the link to the broker hit a bug in the gateway and starts anew; please report it"
            );
            sleep(AFTER_PANIC).await;
        }
    }
}

/// Connects to the broker. Returns its address besides, for people.
async fn connect(settings: BrokerSettings) -> Result<(Connection, SocketAddr), String> {
    let BrokerSettings { host, port, client_id, keep_alive, username, password_file, .. } = settings;
    let found = lookup_host((host.as_str(), port)).await;
    let mut addresses = found.map_err(|error| format!("{host} has no address: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{host} has no address"))?;
    drop(addresses);
    let login = match (username, password_file) {
        (Some(username), Some(path)) => Some((username, password(path).await?)),
        (Some(username), None) => Some((username, String::new())),
        (None, _) => None,
    };
    let target = Target { host, port, client_id, keep_alive, login };
    Ok((Connection::open(target).await?, address))
}

async fn password(path: PathBuf) -> Result<String, String> {
    let shown = path.display().to_string();
    let read = spawn_blocking(move || std::fs::read_to_string(path)).await;
    let text = read.map_err(std::io::Error::other).and_then(|text| text);
    let text = text.map_err(|error| format!("cannot read the password file {shown}: {error}"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Most messages that the broker is told it may leave unconfirmed. Many stop at 10 to 32 by themselves.
const RECEIVE_MAX: u16 = 128;

/// Most messages that it may leave unconfirmed all the same; then nothing more is read until some are committed.
/// Above the 1000 that Mosquitto keeps for a client that is away.
const UNCONFIRMED_MAX: usize = 2048;

/// Their bytes, at which nothing more is read either: half of the log's queue.
const UNCONFIRMED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Pause after a bug, so that one that comes with each start does not spin.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// Frames to robots that wait for the client; then they wait in their sessions.
const FRAMES_QUEUED_MAX: usize = 64;
