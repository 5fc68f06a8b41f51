//! Links: how the agent reaches a gateway. A link is an adapter without decisions: frames in, frames out, closed. What
//! to send, and when to connect again, is decided by the [`driver`](crate::driver).

pub(crate) mod greeting;
mod mqtt;
mod quic;
mod tls;

use std::{fmt, io, net::Ipv6Addr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use muster_protocol::{
    frame::Frame,
    id::{Lane, RobotId},
};

use crate::{config::GatewayUrl, uplink::overhead::Path};

/// An open connection to a gateway. Dropping it closes it.
#[derive(Debug)]
pub struct Link {
    out: Outboxes,
    events: mpsc::Receiver<LinkEvent>,
    tasks: JoinSet<()>,
    /// See [`muster_protocol::session::sender::SenderConfig::queue_time`].
    queue_time: Option<Duration>,
    meter: Meter,
    hello_every: Option<Duration>,
}

/// What a link says.
#[derive(Debug)]
pub enum LinkEvent {
    /// A frame arrived.
    Frame(Frame),
    /// The connection is lost, and why.
    Closed(String),
    /// The gateway, or a broker before it, ended the connection, and why.
    ClosedByGateway(String),
}

/// What a link can measure.
struct Meter {
    /// The bytes that it has sent, with all overhead.
    sent: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Its round trip, where it knows it.
    rtt: Option<Arc<dyn Fn() -> Duration + Send + Sync>>,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Hello, heartbeats, farewell.
    Control,
    /// Batches, losses and schemas of a lane.
    Lane(Lane),
}

/// Who connects, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The robot that the agent speaks for.
    pub robot: RobotId,
    /// The certificates (PEM) that a gateway's certificate has to come from.
    pub ca: Option<PathBuf>,
}

/// Why no link came about. Another try may succeed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file of trusted certificates cannot be used.
    #[error("cannot use {path} as the gateway's CA: {why}; copy ca.pem from the gateway's data folder")]
    Ca {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// TLS needs to know whom to trust.
    #[error("{url} needs --ca FILE, the ca.pem of the gateway's data folder")]
    NoCa {
        /// The URL.
        url: String,
    },
    /// The gateway showed a certificate that does not come from the trusted ones.
    #[error(
        "{address} has a certificate that {ca} does not vouch for: {why}; copy ca.pem from that gateway's data folder, or \
         check the address"
    )]
    Untrusted {
        /// The gateway's address.
        address: String,
        /// The file of trusted certificates.
        ca: String,
        /// What the check says.
        why: String,
    },
    /// The host has no address.
    #[error("{host} has no address: {why}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// No local socket.
    #[error("cannot open a socket: {0}")]
    Socket(#[from] io::Error),
    /// The connection was refused or failed its handshake.
    #[error("{0}")]
    Refused(String),
    /// Nothing answered.
    #[error("no answer within {0:?}; check the address and the port, and that no firewall is in between")]
    Silent(Duration),
}

/// Takes what there is to say of an attempt that is still under way, a sentence each.
pub type Doubts = mpsc::Sender<String>;

/// One queue per stream, so that a full lane holds up no other.
#[derive(Debug)]
struct Outboxes {
    control: mpsc::Sender<Bytes>,
    lanes: [mpsc::Sender<Bytes>; 3],
}

/// The queues' other ends.
#[derive(Debug)]
struct Outlets {
    control: mpsc::Receiver<Bytes>,
    lanes: [mpsc::Receiver<Bytes>; 3],
}

impl Link {
    /// Connects, or says why not: within 10 s over QUIC and 30 s over MQTT.
    pub async fn connect(url: &GatewayUrl, identity: &Identity) -> Result<Self, ConnectError> {
        let (doubts, _unheard) = mpsc::channel(1);
        Self::connect_aloud(url, identity, &doubts).await
    }

    /// Connects like [`Link::connect`], and says sooner why it may take long.
    pub async fn connect_aloud(
        url: &GatewayUrl,
        identity: &Identity,
        doubts: &Doubts,
    ) -> Result<Self, ConnectError> {
        let connecting = async {
            match url {
                GatewayUrl::Quic { host, port } => quic::connect((host, *port), identity, doubts).await,
                GatewayUrl::Mqtt { host, port, tls } => mqtt::connect((host, *port), *tls, identity).await,
            }
        };
        let patience = match url {
            GatewayUrl::Quic { .. } => QUIC_CONNECT_TIMEOUT,
            GatewayUrl::Mqtt { .. } => MQTT_CONNECT_TIMEOUT,
        };
        timeout(patience, connecting).await.unwrap_or(Err(ConnectError::Silent(patience)))
    }

    /// Queues a frame. Returns false if the link no longer takes any: it is closing, or so far behind that the
    /// granted window was broken.
    pub fn send(&self, stream: Stream, frame: &Frame) -> bool {
        let outbox = match stream {
            Stream::Control => &self.out.control,
            Stream::Lane(lane) => self.out.lanes.get(lane.index()).expect("there is an outbox for each lane"),
        };
        outbox.try_send(frame.encode()).is_ok()
    }

    /// Waits for what the link has to say. Cancel-safe.
    pub async fn event(&mut self) -> LinkEvent {
        let gone = || LinkEvent::Closed("the connection is over".to_owned());
        self.events.recv().await.unwrap_or_else(gone)
    }

    /// Returns the bytes that left the robot through this link so far, with IP and all above it; see
    /// [`overhead`](crate::uplink::overhead) for what is measured and what estimated.
    pub fn sent_bytes(&self) -> u64 {
        (self.meter.sent)()
    }

    /// Returns the round trip of its packets; `None` over MQTT, which does not measure it.
    pub fn rtt(&self) -> Option<Duration> {
        self.meter.rtt.as_ref().map(|rtt| rtt())
    }

    /// Returns about how many bytes an attempt has sent that gave no link after a while.
    pub fn cost_of_failure(url: &GatewayUrl, error: &ConnectError, waited: Duration) -> u64 {
        use ConnectError::{Refused, Silent, Untrusted};
        if !matches!(error, Refused(_) | Silent(_) | Untrusted { .. }) {
            return 0;
        }
        match url {
            GatewayUrl::Quic { host, .. } => path_to(host, false).of_unanswered_quic(waited),
            GatewayUrl::Mqtt { host, tls, .. } => path_to(host, *tls).of_tcp_opening(),
        }
    }

    /// How much may queue on this link; lanes share one connection or one uplink.
    pub fn queue_time(&self) -> Option<Duration> {
        self.queue_time
    }

    /// How often to say Hello until a Welcome comes: `None` where a link stands only if a gateway is at its end.
    pub fn hello_every(&self) -> Option<Duration> {
        self.hello_every
    }

    /// Sends what is queued, within a bound, and closes.
    pub async fn close(self) {
        let Self { out, mut tasks, events, .. } = self;
        drop(out);
        let _ = timeout(CLOSE_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
        drop(events);
    }
}

/// Guesses from its name how a host is reached; a name that is no address counts as IPv4.
fn path_to(host: &str, tls: bool) -> Path {
    Path { v6: host.parse::<Ipv6Addr>().is_ok(), tls }
}

impl fmt::Debug for Meter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Meter({})", (self.sent)())
    }
}

fn outboxes() -> (Outboxes, Outlets) {
    let (control, control_outlet) = mpsc::channel(FRAMES_QUEUED_MAX);
    let (urgent, urgent_outlet) = mpsc::channel(FRAMES_QUEUED_MAX);
    let (live, live_outlet) = mpsc::channel(FRAMES_QUEUED_MAX);
    let (bulk, bulk_outlet) = mpsc::channel(FRAMES_QUEUED_MAX);
    let outlets = Outlets { control: control_outlet, lanes: [urgent_outlet, live_outlet, bulk_outlet] };
    (Outboxes { control, lanes: [urgent, live, bulk] }, outlets)
}

/// More frames than a window has batches, each with its schema. Their bytes are bounded by the granted window.
const FRAMES_QUEUED_MAX: usize = 1024;

/// Events that wait for the driver; then the link is not read.
const EVENTS_QUEUED_MAX: usize = 64;

/// QUIC asks a silent address ever more rarely: after this, a fresh try notices sooner that a gateway is back.
const QUIC_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker far away, TLS included.
const MQTT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Behind a broker a gateway may be away for long; a Hello costs less than a connection.
const HELLO_EVERY: Duration = Duration::from_secs(4);

const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What waits in front of an urgent frame, on links whose lanes share one connection.
const QUEUE_TIME: Duration = Duration::from_millis(250);
