//! The gateway's own MQTT listener: robots report over MQTT 3.1.1 or 5 without a broker in between, so that a PUBACK
//! means durable.
//!
//! Frames of the agent and plain JSON of any client come in on the topics of PROTOCOL.md. A PUBACK goes out when the
//! gateway says that its message is handled durably, in the order of the `PUBLISHes`; a PINGRESP goes out at once. There
//! are no retained messages, no kept sessions and no delivery between clients: this is no broker.
//!
//! ```text
//! Listener::run      accepts, bounds, one task per connection; a panic ends one connection only
//!   connection       bytes in and out, deadlines: picks what happened
//!     conversation   PURE: what MQTT asks and answers     (incoming, packets, topics, subscriptions, ending)
//!     promises       tickets in order, each to become a PUBACK
//!     seats          a newer connection of the same client sends the older one away
//! ```
//!
//! It never confirms what is not durable, never reads more from a client than the gateway can take, and never decides
//! anything about the data.

mod agent;
mod alarm;
mod connection;
mod conversation;
mod ending;
mod incoming;
mod packets;
mod promises;
#[doc(hidden)]
pub mod rehearsal;
mod seats;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use self::connection::{Connection, House};
use super::{port::Intake, topics};
use crate::metrics::Connections;

/// Bounds and deadlines of the listener. [`Settings::default`] is what the gateway runs with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most connections at once; more are closed at once.
    pub connections_max: usize,
    /// Most `PUBLISHes` at `QoS` 1 of one connection that wait for their PUBACK; MQTT 5 clients are told.
    pub receive_max: u16,
    /// Largest packet in bytes; MQTT 5 clients are told.
    pub packet_bytes_max: u32,
    /// Longest wait for a TLS handshake and a CONNECT.
    pub connect_max: Duration,
    /// Longest silence of a client that wants no keep-alive. A client's own keep-alive counts one and a half times.
    pub silence_max: Duration,
    /// Longest time in which a client takes nothing of what is sent to it.
    pub stall_max: Duration,
    /// Longest time in which the gateway handles nothing of what waits; then the client has to send it again.
    pub patience: Duration,
    /// How long a client is held, unread, before it is closed because the gateway could not take what it sent.
    pub brake: Duration,
    /// Longest wait for what is still to be confirmed when the gateway closes a connection.
    pub drain_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            receive_max: 64,
            // A frame needs 60 KiB; four times that lets JSON clients send a few seconds at once.
            packet_bytes_max: 256 * 1024,
            connect_max: Duration::from_secs(10),
            silence_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(30),
            patience: Duration::from_secs(30),
            brake: Duration::from_secs(5),
            drain_max: Duration::from_secs(5),
        }
    }
}

/// What the listener has counted since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub connections: AtomicU64,
    /// Connections closed at once because there were [`Settings::connections_max`].
    pub too_many: AtomicU64,
    /// Frames that agents sent.
    pub frames: AtomicU64,
    /// Messages of plain JSON.
    pub json: AtomicU64,
    /// Messages refused because of their topic, on connections that stayed open.
    pub refused_topics: AtomicU64,
    /// Connections that ended by the client's fault or by a failure.
    pub faults: AtomicU64,
    /// Connections whose task panicked: a bug in this program or in a library.
    pub panics: AtomicU64,
}

/// The listener: what its connections share. One may run on several sockets, plain and with TLS.
pub struct Listener {
    house: Arc<House>,
    permits: Arc<Semaphore>,
    numbers: AtomicU64,
}

impl Listener {
    /// Makes a listener that hands everything to `intake`.
    pub fn new(intake: Arc<dyn Intake>, settings: Settings) -> Self {
        Self::counted(intake, settings, Connections::default())
    }

    /// Makes a listener that counts its connections and their bytes besides.
    pub fn counted(intake: Arc<dyn Intake>, settings: Settings, connections: Connections) -> Self {
        let (seats, counters) = (Arc::default(), Arc::default());
        let house = House { intake, settings, seats, counters, connections };
        Self {
            house: Arc::new(house),
            permits: Arc::new(Semaphore::new(settings.connections_max)),
            numbers: AtomicU64::new(1),
        }
    }

    /// Returns the counters, which stay live.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.house.counters)
    }

    /// Serves a socket until `shutdown` resolves; then takes no more connections, confirms what is still being handled
    /// (up to [`Settings::drain_max`]), says goodbye and returns when every connection is closed.
    pub async fn run(
        &self,
        socket: TcpListener,
        tls: Option<TlsAcceptor>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, address)) => {
                        if let Some(permit) = self.admit(address) {
                            let open = self.house.connections.opened();
                            let served = self.serve(stream, address, tls.clone(), stopped.clone());
                            tasks.spawn(served.map(|()| drop((permit, open))));
                        }
                    }
                    Err(error) => {
                        tracing::warn!("mqtt cannot accept a connection: {error}; trying again");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
                () = &mut shutdown => break,
            }
        }
        drop((socket, stop, stopped));
        while tasks.join_next().await.is_some() {}
    }

    fn admit(&self, address: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let counters = &self.house.counters;
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            count(&counters.connections);
            return Some(permit);
        }
        self.house.connections.turned_away();
        let refused = counters.too_many.fetch_add(1, Ordering::Relaxed) + 1;
        if refused.is_power_of_two() {
            let max = self.house.settings.connections_max;
            tracing::warn!(peer = %address, refused, "mqtt refused: there are {max} connections already; add a gateway");
        }
        None
    }

    /// Returns the life of one connection. A panic ends it and nothing else.
    fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        stopped: watch::Receiver<()>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let house = Arc::clone(&self.house);
        let counters = Arc::clone(&self.house.counters);
        let life = async move {
            // Frames are small and answered at once; waiting to fill packets would only delay acknowledgements.
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, address, number, house, stopped).await,
                Some(tls) => match shake_hands(&tls, stream, house.settings.connect_max).await {
                    Ok(stream) => converse(stream, address, number, house, stopped).await,
                    Err(error) => {
                        tracing::warn!(peer = %address, "mqtt closed: TLS handshake failed: {error}");
                    }
                },
            }
        };
        AssertUnwindSafe(life).catch_unwind().map(move |ended| {
            if ended.is_err() {
                count(&counters.panics);
                tracing::error!(peer = %address, "mqtt closed: this connection hit a bug in the gateway; please report it");
            }
        })
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite,
    address: SocketAddr,
    number: u64,
    house: Arc<House>,
    stopped: watch::Receiver<()>,
) {
    Connection::new(stream, address, number, house, stopped).serve().await;
}

async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    within: Duration,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    match timeout(within, tls.accept(stream)).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Counts one more. A figure for people: nothing is decided by it.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Pause after a failed accept, such as when there are no file descriptors left: it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
