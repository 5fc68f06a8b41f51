//! Ingest: from frames and plain JSON to records for the committer, and from commits to acks.
//!
//! One `Robot` per robot owns its receive windows and its session, across all connections: that is where "once"
//! is decided. The pure decisions are the protocol's [`Receiver`]; here
//! they meet the log's queue, the links' outboxes and the clock.
//!
//! ```text
//!   link -> AgentSession::handle_frame -> Receiver -> Verdict::Commit(claim) -> Log::submit(entry)
//!   link <- Outbox <- Acks::run <- Receiver::handle_committed(claim) <- entry.done(Ok(Committed))
//! ```
//!
//! *Never*: an ack or a resolved ticket before the commit that it speaks of; a wait while a robot's lock is held.

mod absence;
mod acks;
mod events;
mod json;
mod labels;
mod robot;
mod session;
#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{InstanceId, LogId, RobotId, SchemaHash},
    loss::AbsenceReason,
    message::{NumberedHead, Window},
    ndjson::Parser,
    schema::Schema,
    session::receiver::{CommittedLane, Receiver},
};

use crate::{
    clock::Clock,
    committer::{Entry, RejectReason, Rejected},
    conditions::facts::Refused,
    fleet::{LiveLink, LiveLinks},
    instance::Instance,
    link::port::{AgentSession, Intake, Outbox, Peer, Ticket},
    metrics::Metrics,
    record::{Body, DownReason, Envelope, SessionEvent},
};

pub use labels::{Labelling, NotLabelled};

use acks::Acks;
use robot::{OpenSession, Robot};
use session::Session;

/// Where records go, and where schemas are found again. The committer and the store behind it; a fake in tests.
pub trait Log: Send + Sync + 'static {
    /// Queues a record for commit. Gives it back if it is not taken.
    fn submit(&self, entry: Entry) -> Result<(), Rejected>;

    /// Queues all of these, or none: then they are dropped, and no `done` is called. As provided it takes them one by
    /// one, and those before the one that is refused are queued all the same: for logs that do not refuse by size.
    fn submit_all(&self, entries: Vec<Entry>) -> Result<(), RejectReason> {
        entries.into_iter().try_for_each(|entry| self.submit(entry).map_err(|rejected| rejected.why))
    }

    /// Returns a schema of a robot that the log holds.
    fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>>;
}

/// What a gateway grants and says of itself.
#[derive(Clone, Copy, Debug)]
pub struct IngestConfig {
    /// How much an agent may have unacknowledged.
    pub window: Window,
    /// A session that is not heard for so long is over.
    pub silence: Duration,
    /// This run of the gateway.
    pub instance: Instance,
    /// The log that it writes.
    pub log: LogId,
    /// Why this log may lack what it once held.
    pub forgot: AbsenceReason,
    /// Most robots that may come. Each costs a few KiB for good, and a client that makes up names must not take all memory.
    /// Those that the log holds are always restored.
    pub robots_max: usize,
    /// For how long a refusal of a robot counts as lately.
    pub lately: Duration,
}

/// All robots' receive windows and sessions.
#[derive(Clone)]
pub struct Ingest(Arc<Shared>);

/// One robot's receive windows in a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct RobotWindows {
    robot: RobotId,
    lanes: Vec<CommittedLane>,
}

/// A checkpoint's receive windows do not decode.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint's receive windows do not decode: {0}")]
pub struct WindowsError(#[from] postcard::Error);

struct Shared {
    config: IngestConfig,
    clock: Clock,
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
    robots: RwLock<HashMap<RobotId, Arc<Robot>>>,
    acks: Acks,
    next_session: AtomicU64,
    /// How often a robot was turned away because there were as many as there may be.
    turned_away: AtomicU64,
    parser: Mutex<Parser>,
}

impl Ingest {
    /// Starts without robots; [`Ingest::restore`] and [`Ingest::replay`] bring back what the log holds.
    pub fn new(config: IngestConfig, clock: Clock, log: Arc<dyn Log>, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Shared {
            next_session: AtomicU64::new(config.instance.first_session()),
            config,
            clock,
            log,
            metrics,
            robots: RwLock::default(),
            acks: Acks::default(),
            turned_away: AtomicU64::new(0),
            parser: Mutex::new(Parser::default()),
        }))
    }

    /// Takes the receive windows of a checkpoint.
    pub fn restore(&self, windows: &[u8]) -> Result<(), WindowsError> {
        let restored: Vec<RobotWindows> = postcard::from_bytes(windows)?;
        let mut robots = self.0.robots.write().unwrap_or_else(PoisonError::into_inner);
        for RobotWindows { robot, lanes } in restored {
            robots.insert(robot.clone(), Arc::new(Robot::new(robot, Receiver::from_committed(lanes))));
        }
        Ok(())
    }

    /// Takes a record that the log holds, while windows are rebuilt at start.
    pub fn replay(&self, envelope: &Envelope) {
        let robot = self.robot(&envelope.robot);
        let receiver = &mut robot.lock().receiver;
        match &envelope.body {
            Body::Batch { head, info, .. } => receiver.replay(*head, info.samples.into(), None),
            Body::Loss { head: Some(head), loss } => receiver.replay(*head, 0, Some(loss)),
            Body::Absence(absence) => receiver.replay_absence(absence),
            Body::Session(SessionEvent::Told { held, .. }) => receiver.replay_told(held),
            Body::Loss { head: None, loss } => receiver.replay_lost(loss),
            Body::Session(_) | Body::ClockFix(_) | Body::Labels(_) => {}
        }
    }

    /// Returns whether a record of this number is committed.
    pub fn has(&self, robot: &RobotId, number: NumberedHead) -> bool {
        let NumberedHead { epoch, lane, seq } = number;
        self.known(robot).is_some_and(|robot| !robot.lock().receiver.ack([(epoch, lane, seq)]).is_empty())
    }

    /// Returns the receive windows for a checkpoint. They hold at least every record below the offset that was the
    /// log's next before this call.
    pub fn windows(&self) -> Vec<u8> {
        let robots = self.all();
        let windows: Vec<_> = robots
            .iter()
            .map(|robot| RobotWindows { robot: robot.id.clone(), lanes: robot.lock().receiver.committed() })
            .collect();
        postcard::to_stdvec(&windows).expect("windows have only lengths that postcard knows")
    }

    /// Sends acks to agents as commits come in. Runs until the program ends.
    pub async fn run_acks(&self) {
        self.0.acks.run().await;
    }

    /// Ends sessions that were silent for too long, and tries again what the log did not take of what became of sessions.
    /// Call it about once a second.
    pub fn end_silent_sessions(&self) {
        let now = self.0.clock.mono();
        for robot in self.all() {
            let is_silent = |session: &OpenSession| now.since(session.heard) > self.0.config.silence;
            if self.0.end_session_if(&robot, DownReason::Silent, is_silent).is_some() {
                tracing::info!(robot = %robot.id, "not heard for {:?}: its link is down", self.0.config.silence);
            }
            if !robot.lock().owed.is_empty() {
                self.0.commit_owed(&robot);
            }
        }
    }

    /// Ends all sessions in order, as the last records before the committer stops.
    pub fn end_all_sessions(&self) {
        for robot in self.all() {
            self.0.end_session_if(&robot, DownReason::GatewayShutdown, |_| true);
        }
    }

    /// Says of a session that was open when the gateway last ended without saying so that it is over.
    pub fn commit_lost_session(&self, robot: &RobotId, session: u64) {
        self.0.commit_event(&self.robot(robot), session, SessionEvent::Down { why: DownReason::GatewayLost });
    }

    /// Returns how often a new robot was turned away because there were as many as there may be.
    pub fn turned_away_ever(&self) -> u64 {
        self.0.turned_away.load(Ordering::Relaxed)
    }

    /// Returns how many robots may come.
    pub fn robots_max(&self) -> usize {
        self.0.config.robots_max
    }

    /// Returns what was refused of a robot last.
    pub fn refused(&self, robot: &RobotId) -> Refused {
        self.known(robot).map_or_else(Refused::default, |robot| robot.refused())
    }

    /// Returns how many frames wait in the fullest queue towards a robot.
    pub fn fullest_outbox(&self) -> usize {
        let robots = self.all();
        let queued = robots.iter().filter_map(|robot| {
            let state = robot.lock();
            state.session.as_ref()?.outbox.as_ref().map(Outbox::queued)
        });
        queued.max().unwrap_or(0)
    }

    /// Returns this run's instance id.
    pub fn instance(&self) -> InstanceId {
        self.0.config.instance.id
    }

    fn all(&self) -> Vec<Arc<Robot>> {
        self.0.robots.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn known(&self, id: &RobotId) -> Option<Arc<Robot>> {
        self.0.robots.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Returns a robot that the log holds, whatever the bound.
    fn robot(&self, id: &RobotId) -> Arc<Robot> {
        self.known(id).or_else(|| self.add(id, usize::MAX)).expect("no map has so many entries")
    }

    /// Returns a robot that speaks to the gateway, or `None` if it is new and there are as many as there may be.
    fn admit(&self, id: &RobotId) -> Option<Arc<Robot>> {
        let robots_max = self.robots_max();
        let robot = self.known(id).or_else(|| self.add(id, robots_max));
        if robot.is_none() && self.0.turned_away.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                robot = %id,
                "refused a robot, and will refuse every further one: this gateway already holds robots_max = \
                 {robots_max}; see muster_json_given_up_samples_total for what of their plain JSON is lost"
            );
        }
        robot
    }

    fn add(&self, id: &RobotId, robots_max: usize) -> Option<Arc<Robot>> {
        let mut robots = self.0.robots.write().unwrap_or_else(PoisonError::into_inner);
        let count = robots.len();
        match robots.entry(id.clone()) {
            hash_map::Entry::Occupied(robot) => Some(Arc::clone(robot.get())),
            hash_map::Entry::Vacant(_) if count >= robots_max => None,
            hash_map::Entry::Vacant(free) => {
                Some(Arc::clone(free.insert(Arc::new(Robot::new(id.clone(), Receiver::default())))))
            }
        }
    }
}

impl Intake for Ingest {
    fn open(&self, peer: Peer, outbox: Outbox) -> Box<dyn AgentSession> {
        Box::new(Session::new(self.clone(), peer, outbox))
    }

    fn json(&self, robot: &RobotId, payload: Bytes) -> Ticket {
        json::take(self, robot, &payload)
    }

    fn json_once(&self, robot: &RobotId, payload: Bytes) -> Ticket {
        json::take_once(self, robot, &payload)
    }
}

impl LiveLinks for Ingest {
    fn live(&self, robot: &RobotId) -> Option<LiveLink> {
        let robot = self.0.robots.read().unwrap_or_else(PoisonError::into_inner).get(robot).cloned()?;
        let state = robot.lock();
        state.session.as_ref().map(|session| session.live.clone())
    }

    fn count(&self) -> usize {
        self.all().iter().filter(|robot| robot.lock().session.is_some()).count()
    }
}

impl Shared {
    fn next_session(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }
}
