//! Robots behind a broker that is there already: the gateway is a client of it, beside its own listeners.
//!
//! The same frames and the same plain JSON come in on the topics of CONTRACT.md, through any broker that speaks MQTT 5
//! (the robots may speak 3.1.1 to it). For frames the broker is a wire that may lose, repeat and delay: the session's
//! own acks decide, so whatever happens to the broker, nothing is lost and nothing is doubled. For plain JSON there is
//! no more than the broker can promise: what it has confirmed to a robot lives in its memory until this gateway has
//! committed it. A message is confirmed to the broker after its commit, in the order of arrival.
//!
//! ```text
//! Broker::run
//!   exchange      what happens next, and what follows: tickets, sessions' frames, reconnects
//!     ledger      PURE: which messages are due to be confirmed, in which order
//!     sessions    PURE: whose session a frame belongs to; the subscription's filters
//!   connection    rumqttc: one client for each connection, polled by a task that never waits
//! ```

mod connection;
mod exchange;
mod ledger;
mod sessions;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::watch, task::spawn_blocking};

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
}

impl Broker {
    /// Will take what comes through this broker, and hand it to `intake`.
    pub fn new(settings: BrokerSettings, intake: Arc<dyn Intake>, clock: Clock) -> Self {
        Self { settings, intake, clock }
    }

    /// Connects, again and again, until `stop` turns true. Then it confirms what is still being handled, within a few
    /// seconds, says goodbye to the robots and returns. A broker that cannot be reached is no error: robots keep what
    /// they have.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let limits = Limits { sessions_max: self.settings.sessions_max, silence: self.settings.silence };
        Exchange::new(self.settings, limits, self.intake, self.clock).run(stop).await;
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

/// Most messages that the broker may leave unconfirmed: with packets of at most 256 KiB it bounds what is held here.
/// Many brokers stop at 10 to 32 by themselves, Mosquitto at its `max_inflight_messages`.
const RECEIVE_MAX: u16 = 128;

/// Frames to robots that wait for the client; then they wait in their sessions.
const FRAMES_QUEUED_MAX: usize = 64;
