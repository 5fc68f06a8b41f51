//! The proxy's TCP half: a connection to the gateway for each of the agent's.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    air::{Air, Deed},
    schedule::{Mood, Way},
};

/// Carries connections until the proxy goes.
pub(super) async fn run(listener: TcpListener, upstream: SocketAddr, air: Air) {
    let mut user = FIRST_CONNECTION;
    while let Ok((client, _)) = listener.accept().await {
        user += 1;
        tokio::spawn(carry(client, upstream, air.for_user(user)));
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, air: Air) {
    if air.mood() == Mood::Cut {
        return air.harm.done(Deed::Cut);
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let changed = Arc::new(AtomicBool::new(false));
    let pump = |way, user| Pump { air: air.for_user(user), way, changed: Arc::clone(&changed) };
    let (up, down) = (pump(Way::Up, 1), pump(Way::Down, 2));
    let ways = async { tokio::join!(up.run(from_client, to_server), down.run(from_server, to_client)) };
    // Dropped sockets are closed; what was not read of them makes that a reset.
    tokio::select! {
        _ = ways => {}
        () = cut(air.clone(), &changed) => air.harm.done(Deed::Cut),
    }
}

/// Waits until the connection is to be cut: in that mood, and when it calms down after bytes were changed.
async fn cut(mut air: Air, changed: &AtomicBool) {
    loop {
        if air.wait_for(|mood| matches!(mood, Mood::Cut | Mood::Corrupt(_))).await == Mood::Cut {
            return;
        }
        air.wait_for(|mood| !matches!(mood, Mood::Corrupt(_))).await;
        if changed.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// One way of a connection.
struct Pump {
    air: Air,
    way: Way,
    changed: Arc<AtomicBool>,
}

impl Pump {
    async fn run(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let closing = Mood::HalfClose(self.way);
            let length = tokio::select! {
                length = from.read(&mut buffer) => length?,
                _ = self.air.wait_for(|mood| mood == closing) => {
                    self.air.harm.done(Deed::HalfClosed);
                    0
                }
            };
            if length == 0 {
                return to.shutdown().await;
            }
            self.pass(&mut buffer[..length], &mut to).await?;
        }
    }

    async fn pass(&mut self, bytes: &mut [u8], to: &mut OwnedWriteHalf) -> io::Result<()> {
        match self.air.mood() {
            Mood::Stall => {
                self.air.harm.done(Deed::Stalled);
                self.air.wait_for(|mood| mood != Mood::Stall).await;
            }
            Mood::Throttle(rate) => {
                self.air.harm.done(Deed::Throttled);
                return self.pass_slowly(bytes, to, rate).await;
            }
            Mood::Corrupt(often) if self.air.dice.per_mille(often) => {
                self.changed.store(true, Ordering::Relaxed);
                self.air.corrupt(bytes);
            }
            _ => {}
        }
        to.write_all(bytes).await
    }

    /// At the rate, until the mood is another.
    async fn pass_slowly(&mut self, bytes: &[u8], to: &mut OwnedWriteHalf, rate: u64) -> io::Result<()> {
        for sip in bytes.chunks(SIP_BYTES) {
            to.write_all(sip).await?;
            if self.air.mood() == Mood::Throttle(rate) {
                self.air.wait_for_bytes(sip.len(), rate).await;
            }
        }
        Ok(())
    }
}

/// Which users of the seed the connections are.
const FIRST_CONNECTION: u64 = 1000;

/// What is read at once: some frames.
const PIECE_BYTES: usize = 16 * 1024;

/// What a throttled connection passes at once.
const SIP_BYTES: usize = 512;
