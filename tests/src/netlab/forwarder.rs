//! Packets from one device into the other, at the times that links say.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    time::{Instant, sleep_until},
};
use tokio_tun::Tun;

use super::link::Link;

/// A path: its device on the robot, and its link each way.
pub(super) struct Ways {
    pub(super) tun: Tun,
    pub(super) up: Mutex<Link>,
    pub(super) down: Mutex<Link>,
    pub(super) traffic: Traffic,
}

/// What came out of a link, in bytes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

impl Traffic {
    pub(super) fn bytes(&self) -> [u64; 2] {
        [&self.up, &self.down].map(|bytes| bytes.load(Ordering::Relaxed))
    }
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ways").field("up", &self.up).field("down", &self.down).finish_non_exhaustive()
    }
}

/// A packet on its way, and when it comes out.
type Flying = (Instant, Vec<u8>);

/// Carries packets until the runtime ends.
pub(super) async fn run(wan: Tun, paths: Vec<Arc<Ways>>) {
    let (wan, start) = (Arc::new(wan), start());
    let mut downs = Vec::new();
    for path in paths {
        let (up, flying_up) = mpsc::channel(FLYING_MAX);
        let (down, flying_down) = mpsc::channel(FLYING_MAX);
        let (lands_up, lands_down) = (Arc::clone(&wan), Arc::clone(&path));
        let (counts_up, counts_down) = (Arc::clone(&path), Arc::clone(&path));
        tokio::spawn(land(flying_up, async move |packet: &[u8]| {
            counts_up.traffic.up.fetch_add(packet.len() as u64, Ordering::Relaxed);
            let _ = lands_up.send(packet).await;
        }));
        tokio::spawn(land(flying_down, async move |packet: &[u8]| {
            counts_down.traffic.down.fetch_add(packet.len() as u64, Ordering::Relaxed);
            let _ = lands_down.tun.send(packet).await;
        }));
        downs.push((Arc::clone(&path), down));
        tokio::spawn(async move {
            let mut buffer = vec![0; PACKET_BYTES_MAX];
            while let Ok(length) = path.tun.recv(&mut buffer).await {
                fly(&path.up, &up, &buffer[..length], start);
            }
        });
    }
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while let Ok(length) = wan.recv(&mut buffer).await {
        let packet = &buffer[..length];
        if let Some((path, down)) = path_of(packet).and_then(|path| downs.get(path)) {
            fly(&path.down, down, packet, start);
        }
    }
}

fn fly(link: &Mutex<Link>, flying: &Sender<Flying>, packet: &[u8], start: Instant) {
    let now = start.elapsed();
    let out = link.lock().unwrap_or_else(PoisonError::into_inner).offer(now, packet.len());
    if let Some(out) = out
        && let Err(TrySendError::Closed(_)) = flying.try_send((start + out, packet.to_vec()))
    {
        // The lab is going.
    }
}

async fn land(mut flying: Receiver<Flying>, put: impl AsyncFn(&[u8])) {
    while let Some((at, packet)) = flying.recv().await {
        // The timer's unit is a millisecond: what is due within less is not worth its waiting.
        if at.saturating_duration_since(start()) >= SOON {
            sleep_until(at).await;
        }
        put(&packet).await;
    }
}

/// Returns which path leads to an IPv4 packet's destination, 10.99.N.2.
fn path_of(packet: &[u8]) -> Option<usize> {
    let is_ipv4 = packet.first()? >> 4 == 4;
    let destination = packet.get(16..20).filter(|_| is_ipv4)?;
    usize::from(destination[2]).checked_sub(1)
}

fn start() -> Instant {
    crate::patience::now().into()
}

/// Packets between the ends of a link; more are lost. Twice what 64 MiB/s have in flight on a link of 0.1 s.
const FLYING_MAX: usize = 8192;

/// The largest that a device may hand over.
const PACKET_BYTES_MAX: usize = 65_535;

const SOON: Duration = Duration::from_micros(500);
