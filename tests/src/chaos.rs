//! A proxy between agent and gateway that misbehaves: a bad network as a process sees it, on loopback.
//!
//! One seed decides the `schedule`: which mood the network is in for how long. Over TCP it cuts, stalls, half-closes,
//! throttles and corrupts; over UDP it also drops, doubles and reorders. What each datagram or piece suffers within a
//! mood is thrown by dice of the same seed. It is calm before [`Proxy::storm`] and after [`Proxy::calm`], and counts
//! what it really did.

mod air;
mod schedule;
mod tcp;
mod udp;

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::{self, Runtime},
    sync::{oneshot, watch},
    time::sleep,
};

use crate::{dice::Dice, gateway::Transport};

use air::{Air, Harm};
pub use schedule::{Mood, Schedule, Way};

/// A proxy. Dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    transport: Transport,
    harm: Arc<Harm>,
    calm: Option<oneshot::Sender<()>>,
    mood: watch::Sender<Mood>,
    dice: Dice,
    runtime: Runtime,
}

impl Proxy {
    /// Starts a calm one on a free port, in front of this address.
    pub fn start(transport: Transport, upstream: SocketAddr, seed: u64) -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("chaos")
            .build()
            .expect("a runtime can be made");
        let (mood, watched) = watch::channel(Mood::Calm);
        let (harm, dice) = (Arc::new(Harm::default()), Dice::new(seed));
        let air = Air::new(watched, Arc::clone(&harm), dice.clone());
        let address = runtime.block_on(async {
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            match transport {
                Transport::Mqtt => {
                    let listener = TcpListener::bind(free).await.expect("a free port can be had");
                    let address = listener.local_addr();
                    tokio::spawn(tcp::run(listener, upstream, air));
                    address
                }
                Transport::Quic => {
                    let socket = UdpSocket::bind(free).await.expect("a free port can be had");
                    let address = socket.local_addr();
                    tokio::spawn(udp::run(socket, upstream, air));
                    address
                }
            }
        });
        let address = address.expect("a bound socket has an address");
        Self { address, transport, harm, calm: None, mood, dice, runtime }
    }

    /// Returns the URL for agents.
    pub fn url(&self) -> String {
        format!("{}://{}", self.transport.name(), self.address)
    }

    /// Misbehaves on the seed's schedule from now on.
    pub fn storm(&mut self) {
        let (calm, mut calmed) = oneshot::channel();
        let (mood, schedule) = (self.mood.clone(), Schedule::new(&self.dice, self.transport));
        self.calm = Some(calm);
        self.runtime.spawn(async move {
            for step in schedule {
                mood.send_replace(step.mood);
                tokio::select! {
                    () = sleep(step.lasts) => {}
                    _ = &mut calmed => break,
                }
            }
            mood.send_replace(Mood::Calm);
        });
    }

    /// Is in one mood until further notice.
    pub fn hold(&mut self, mood: Mood) {
        self.calm = None;
        self.mood.send_replace(mood);
    }

    /// Behaves from now on. Connections whose bytes were changed end, as they do when a broken middlebox is replaced.
    pub fn calm(&mut self) {
        if self.calm.take().is_none() {
            self.mood.send_replace(Mood::Calm);
        }
    }

    /// Returns how often it did what so far, as `name: count`, and nothing of what it did not do.
    pub fn harm(&self) -> Vec<(&'static str, u64)> {
        self.harm.counts()
    }
}
