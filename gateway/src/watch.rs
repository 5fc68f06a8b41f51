//! Looks at the gateway and at its fleet again and again, and keeps what is wrong right now.
//!
//! Evaluations are periodic, on a thread of their own, and not on request: what comes and goes is damped, and what
//! happened lately is counted, only by somebody who looks all the time; and looking at ten thousand robots takes a core
//! for tens of milliseconds. Readers get the last [`Evaluation`], which says how old it is, and wait for nobody. The pace
//! is [`EVERY`], or slower where one evaluation takes long: it takes one [`SHARE`]th of a processor at most.

mod sources;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use muster_protocol::id::RobotId;

use crate::{
    clock::Clock,
    conditions::{
        Code, Condition, Moment, Severity, Tracker,
        facts::{GatewayFacts, Refused},
        gateway,
        robot::{Memory, Robot},
    },
    fleet::{Fleet, LiveLinks, Tallies},
    metrics::Metrics,
};

pub use sources::{GatewaySources, Lately};

/// How often to look.
pub const EVERY: Duration = Duration::from_secs(2);

/// An evaluation is followed by so many times its own length without one.
pub const SHARE: u32 = 20;

/// Where the facts come from that are not the fleet's. Called on the thread that evaluates: it may block for a moment.
pub trait Sources: Send {
    /// Returns the gateway's own facts.
    fn gateway(&mut self, now: Moment) -> GatewayFacts;

    /// Returns what was refused of a robot last.
    fn refused(&self, robot: &RobotId) -> Refused;
}

/// What one evaluation found.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// When.
    pub at: Moment,
    /// How long it took.
    pub took: Duration,
    /// What is wrong, the gravest first.
    pub conditions: Vec<Condition>,
    /// Causes beyond those that can be listed.
    pub not_listed: u64,
    /// How many conditions there are of each code, in the order of [`Code::all`].
    counts: [u64; Code::COUNT],
    /// The fleet in counts.
    pub fleet: Tallies,
}

/// The last evaluation, for whoever wants to read it. Clones share it.
#[derive(Clone, Debug)]
pub struct Board(Arc<RwLock<Arc<Evaluation>>>);

/// Evaluates.
pub struct Watch {
    fleet: Arc<Fleet>,
    live: Arc<dyn LiveLinks>,
    sources: Box<dyn Sources>,
    metrics: Arc<Metrics>,
    clock: Clock,
    tracker: Tracker,
    memory: Memory,
    board: Board,
}

/// The thread that evaluates. Dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Board {
    /// Returns the last evaluation.
    pub fn read(&self) -> Arc<Evaluation> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn show(&self, evaluation: Evaluation) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(evaluation);
    }
}

impl Evaluation {
    fn none(at: Moment) -> Self {
        let (conditions, counts) = (Vec::new(), [0; Code::COUNT]);
        let fleet = Tallies::default();
        Self { at, took: Duration::ZERO, conditions, not_listed: 0, counts, fleet }
    }

    /// Returns how many conditions there are of a code.
    pub fn count(&self, code: Code) -> u64 {
        self.counts[code as usize]
    }

    /// Returns how many conditions are so grave.
    pub fn count_of(&self, severity: Severity) -> u64 {
        Code::all().filter(|code| code.severity() == severity).map(|code| self.count(code)).sum()
    }
}

impl Watch {
    /// Looks for the first time. What is shown is true from the start, and what happened is told for `lately`.
    pub fn new(
        (fleet, live): (Arc<Fleet>, Arc<dyn LiveLinks>),
        sources: Box<dyn Sources>,
        metrics: Arc<Metrics>,
        clock: Clock,
        lately: Duration,
    ) -> Self {
        let now = Moment { mono: clock.mono(), wall: clock.wall() };
        let board = Board(Arc::new(RwLock::new(Arc::new(Evaluation::none(now)))));
        let (tracker, memory) = (Tracker::default(), Memory::new(lately));
        let mut watch = Self { fleet, live, sources, metrics, clock, tracker, memory, board };
        watch.evaluate();
        watch
    }

    /// Returns where the last evaluation is shown.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Goes on looking, on a thread of its own.
    pub fn start(mut self) -> io::Result<Watching> {
        let (stop, stopped) = sync_channel(0);
        let look = move || self.run(&stopped);
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(look)?;
        Ok(Watching { stop: Some(stop), thread: Some(thread) })
    }

    fn run(&mut self, stopped: &Receiver<()>) {
        let mut took = Duration::ZERO;
        while stopped.recv_timeout(EVERY.max(took * SHARE)) == Err(RecvTimeoutError::Timeout) {
            took = self.evaluate();
        }
    }

    /// Looks once and shows what it found. Returns how long it took.
    pub fn evaluate(&mut self) -> Duration {
        let at = Moment { mono: self.clock.mono(), wall: self.clock.wall() };
        let mut found = gateway::find(&self.sources.gateway(at), at);
        let mut fleet = Tallies::default();
        self.memory.begin(at);
        for robot in &*self.fleet.robots() {
            let id = &robot.id;
            let live = self.live.live(id);
            let refused = self.sources.refused(id);
            let state = robot.read();
            let reading = state.read(at.wall, live.as_ref());
            fleet.count(&reading, state.totals());
            self.memory.find(&Robot { id, state: &state, reading: &reading, refused }, at, &mut found);
        }
        let tracked = self.tracker.track(found, at);
        let mut counts = [0; Code::COUNT];
        for condition in &tracked.conditions {
            counts[condition.code as usize] += 1;
        }
        let took = self.clock.mono().since(at.mono);
        let (conditions, not_listed) = (tracked.conditions, tracked.not_listed);
        self.metrics.set_fleet(&fleet);
        self.metrics.set_conditions(|code| counts[code as usize], not_listed, took);
        self.board.show(Evaluation { at, took, conditions, not_listed, counts, fleet });
        took
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been said, and the gateway serves on without new evaluations
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watch").field("board", &self.board).finish_non_exhaustive()
    }
}
