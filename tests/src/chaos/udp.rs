//! The proxy's UDP half: a socket towards the gateway for each address that an agent sends from.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
};

use tokio::{
    net::UdpSocket,
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    task::AbortHandle,
};

use super::{
    air::{Air, Deed},
    schedule::{Mood, Way},
};

/// Carries datagrams until the proxy goes.
pub(super) async fn run(listener: UdpSocket, upstream: SocketAddr, mut air: Air) {
    let listener = Arc::new(listener);
    let mut flows: HashMap<SocketAddr, Flow> = HashMap::new();
    let (mut user, mut buffer) = (FIRST_FLOW, vec![0; DATAGRAM_BYTES]);
    let mut was_cut = false;
    loop {
        let Ok((length, client)) = listener.recv_from(&mut buffer).await else { continue };
        let cut = air.mood() == Mood::Cut;
        if cut && !was_cut {
            // The gateway sees the robot come back from another port, as behind a NAT that forgot it.
            flows.clear();
            air.harm.done(Deed::Cut);
        }
        was_cut = cut;
        if cut {
            continue;
        }
        let flow = match flows.entry(client) {
            Entry::Occupied(flow) => flow.into_mut(),
            Entry::Vacant(place) => {
                user += 1;
                let flow = Flow::start(&listener, client, upstream, air.for_user(user)).await;
                let Ok(flow) = flow else { continue };
                place.insert(flow)
            }
        };
        queue(&flow.up, &buffer[..length], &mut air);
    }
}

/// What one address of an agent has: a socket of its own, and a queue each way.
struct Flow {
    up: Sender<Vec<u8>>,
    tasks: Vec<AbortHandle>,
}

impl Flow {
    async fn start(
        listener: &Arc<UdpSocket>,
        client: SocketAddr,
        upstream: SocketAddr,
        air: Air,
    ) -> std::io::Result<Self> {
        let server = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        server.connect(upstream).await?;
        let server = Arc::new(server);
        let ((up, up_queue), (down, down_queue)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        let (to_server, to_client) = (Arc::clone(&server), Arc::clone(listener));
        let (up_air, down_air) = (air.for_user(1), air.for_user(2));
        let tasks = [
            tokio::spawn(cross(up_queue, up_air, Way::Up, async move |bytes: &[u8]| {
                let _ = to_server.send(bytes).await;
            })),
            tokio::spawn(cross(down_queue, down_air, Way::Down, async move |bytes: &[u8]| {
                let _ = to_client.send_to(bytes, client).await;
            })),
            tokio::spawn(listen(server, down, air)),
        ];
        Ok(Self { up, tasks: tasks.map(|task| task.abort_handle()).into() })
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Takes what the gateway answers.
async fn listen(server: Arc<UdpSocket>, down: Sender<Vec<u8>>, mut air: Air) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        // A gateway that is away refuses; it may come back.
        match server.recv(&mut buffer).await {
            Ok(length) => queue(&down, &buffer[..length], &mut air),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A full queue drops, as any router's does.
fn queue(queue: &Sender<Vec<u8>>, bytes: &[u8], air: &mut Air) {
    if let Err(TrySendError::Full(_)) = queue.try_send(bytes.to_vec()) {
        air.harm.done(Deed::Dropped);
    }
}

/// Carries datagrams one way.
async fn cross(mut queue: Receiver<Vec<u8>>, mut air: Air, way: Way, send: impl AsyncFn(&[u8])) {
    let mut late: Option<Vec<u8>> = None;
    while let Some(mut bytes) = queue.recv().await {
        match air.mood() {
            Mood::Stall => {
                air.harm.done(Deed::Stalled);
                air.wait_for(|mood| mood != Mood::Stall).await;
            }
            Mood::Throttle(rate) => {
                air.harm.done(Deed::Throttled);
                air.wait_for_bytes(bytes.len(), rate).await;
            }
            Mood::Corrupt(often) if air.dice.per_mille(often) => air.corrupt(&mut bytes),
            Mood::Drop(often) if air.dice.per_mille(often) => {
                air.harm.done(Deed::Dropped);
                continue;
            }
            Mood::HalfClose(closed) if closed == way => {
                air.harm.done(Deed::HalfClosed);
                continue;
            }
            Mood::Double(often) if air.dice.per_mille(often) => {
                air.harm.done(Deed::Doubled);
                send(&bytes).await;
            }
            Mood::Reorder(often) if late.is_none() && air.dice.per_mille(often) => {
                air.harm.done(Deed::Reordered);
                late = Some(bytes);
                continue;
            }
            _ => {}
        }
        send(&bytes).await;
        if let Some(bytes) = late.take_if(|_| air.dice.per_mille(LATE_NO_MORE)) {
            send(&bytes).await;
        }
    }
}

/// Which users of the seed the flows are.
const FIRST_FLOW: u64 = 1_000_000;

/// Largest datagram.
const DATAGRAM_BYTES: usize = 65_535;

/// Datagrams that wait each way: about what a router on a slow link holds.
const QUEUE: usize = 128;

/// How often in a thousand times a datagram that is late comes after the one that just went.
const LATE_NO_MORE: u64 = 300;
