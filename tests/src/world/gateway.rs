//! The gateway of a world: what its disk keeps across lives, and the running program over it.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    task::{Context, Waker},
    time::Duration,
};

use muster_gateway::{
    clock::Clock,
    committer::{CommittedGroup, Follow},
    fleet::Fleet,
    ingest::{Ingest, IngestConfig},
    instance::Instance,
    link::port::{AgentSession, Closed, Intake, Outgoing, Outlet, Peer, Transport, outbox},
    metrics::Metrics,
    projection::{self, Projection, Save, Saved},
    store::{Checkpoint, simulated::SimulatedLog},
};
use muster_protocol::{
    frame::Frame,
    id::{InstanceId, LogId, Offset},
    loss::AbsenceReason,
    message::Window,
};

use super::{dice::Dice, log::WorldLog};

/// What survives the program.
#[derive(Clone)]
pub(super) struct GatewayDisk {
    pub(super) log: SimulatedLog,
    pub(super) log_id: LogId,
    /// The last two.
    pub(super) checkpoints: Vec<Checkpoint>,
    starts: u64,
    /// Why the log may lack what it once held.
    pub(super) forgot: AbsenceReason,
}

/// How the gateway is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct GatewaySetup {
    pub(super) window: Window,
    pub(super) queue_bytes: usize,
    pub(super) checkpoint_every: Duration,
}

/// The running program.
pub(super) struct Running {
    pub(super) ingest: Ingest,
    pub(super) fleet: Arc<Fleet>,
    pub(super) log: WorldLog,
    projection: Projection,
    saved: Receiver<Saved>,
    sessions: BTreeMap<u64, Conversation>,
    acks: Pin<Box<dyn Future<Output = ()>>>,
}

struct Conversation {
    session: Box<dyn AgentSession>,
    outlet: Outlet,
}

impl GatewayDisk {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            log: SimulatedLog::default(),
            log_id: log_id(dice),
            checkpoints: Vec::new(),
            starts: 0,
            forgot: AbsenceReason::Restored,
        }
    }

    /// Returns a copy of what is durable, as a backup holds it.
    pub(super) fn backup(&self) -> Self {
        Self { log: self.log.copied(), ..self.clone() }
    }

    /// Keeps a checkpoint, and the one before it.
    pub(super) fn keep(&mut self, checkpoint: Checkpoint) {
        self.checkpoints.push(checkpoint);
        if self.checkpoints.len() > 2 {
            self.checkpoints.remove(0);
        }
    }
}

impl Running {
    /// Starts the program on what the disk holds.
    pub(super) fn start(disk: &mut GatewayDisk, setup: GatewaySetup, clock: Clock, dice: &mut Dice) -> Self {
        disk.starts += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&dice.bits().to_le_bytes());
        let instance = Instance { id: InstanceId(id), start: disk.starts };
        let config = IngestConfig {
            window: setup.window,
            silence: SILENCE,
            instance,
            log: disk.log_id,
            forgot: disk.forgot,
            robots_max: ROBOTS_MAX,
            lately: LATELY,
        };
        let log = WorldLog::new(disk.log.clone(), setup.queue_bytes);
        let metrics = Arc::new(Metrics::new());
        let ingest = Ingest::new(config, clock, Arc::new(log.clone()), Arc::clone(&metrics));
        let restored =
            projection::restore(disk.checkpoints.last(), &log, &ingest).expect("a log in memory is read");
        let fleet = Arc::new(restored.fleet);
        let (to_saver, saved) = sync_channel(1);
        let save = Save { clock, every: setup.checkpoint_every };
        let projection = Projection::new(Arc::clone(&fleet), ingest.clone(), metrics, to_saver, save);
        projection::end_lost_sessions(&fleet, &ingest);
        let acks = Box::pin({
            let ingest = ingest.clone();
            async move { ingest.run_acks().await }
        });
        Self { ingest, fleet, log, projection, saved, sessions: BTreeMap::new(), acks }
    }

    /// Gives a frame to the session of a connection; its first frame begins the session.
    pub(super) fn handle_frame(&mut self, connection: u64, frame: Frame, transport: Transport) {
        let conversation = self.sessions.entry(connection).or_insert_with(|| {
            let (outbox, outlet) = outbox();
            let peer = Peer { transport, address: ([10, 0, 0, 1], 4000).into(), robot: None };
            Conversation { session: self.ingest.open(peer, outbox), outlet }
        });
        drop(conversation.session.handle_frame(frame));
    }

    /// Notes that a connection is over.
    pub(super) fn handle_closed(&mut self, connection: u64, why: Closed) {
        if let Some(conversation) = self.sessions.remove(&connection) {
            conversation.session.closed(why);
        }
    }

    /// Returns what is to go out on each connection.
    pub(super) fn poll_outgoing(&mut self) -> Vec<(u64, Outgoing)> {
        let mut context = Context::from_waker(Waker::noop());
        let _ = self.acks.as_mut().poll(&mut context);
        let mut out = Vec::new();
        for (connection, conversation) in &mut self.sessions {
            while let Some(outgoing) = conversation.outlet.poll_next() {
                out.push((*connection, outgoing));
            }
        }
        out
    }

    /// Ends the group that is being committed: it is synced now, which `seen` learns before anybody else. Returns the
    /// checkpoints that were made with it.
    pub(super) fn handle_synced(&mut self, took: Duration, seen: impl FnOnce()) -> Vec<Checkpoint> {
        let group = self.log.end();
        seen();
        let records =
            group.iter().map(|(token, entry)| (*token, &entry.envelope, entry.decoded.as_deref())).collect();
        self.projection.handle_committed(&CommittedGroup { records, bytes: 0, took, latencies: Vec::new() });
        for (token, entry) in group {
            (entry.done)(Ok(token));
        }
        self.saved.try_iter().map(|saved| saved.checkpoint).collect()
    }

    /// Ends the program in order: every session, then what waits for the log. Returns the last checkpoint.
    pub(super) fn finish(&mut self, log: &SimulatedLog, mut seen: impl FnMut()) -> Vec<Checkpoint> {
        self.ingest.end_all_sessions();
        let mut checkpoints = Vec::new();
        while !self.log.is_idle() {
            self.log.begin();
            checkpoints.extend(self.handle_synced(Duration::ZERO, &mut seen));
        }
        checkpoints.extend(self.last_checkpoint(log.next()));
        checkpoints
    }

    /// Returns the state as a checkpoint at the end of the log, as a stop in order writes it.
    fn last_checkpoint(&self, next: Offset) -> Option<Checkpoint> {
        projection::last_checkpoint(&self.fleet, &self.ingest, next)
    }
}

pub(super) fn log_id(dice: &mut Dice) -> LogId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&dice.bits().to_le_bytes());
    LogId(id)
}

/// Far more than a world has.
const ROBOTS_MAX: usize = 1000;

/// What the program has without a configuration.
pub(super) const LATELY: Duration = Duration::from_secs(300);

/// A session that is not heard for so long is over.
const SILENCE: Duration = Duration::from_secs(45);
