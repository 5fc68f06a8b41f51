//! The world: many robots and a gateway in virtual time, over the real code of both, decided by one number.
//!
//! Real are the batcher, the recorder's steps, the spool, delivery and its backoff on the robot; ingest, sessions,
//! receive windows, records, the fleet's state, checkpoints and their restore in the gateway. Simulated are the clock,
//! the disks, the network and the committer's thread. Everything that goes wrong is drawn from the seed: the same seed
//! is the same world, event by event.
//!
//! ```text
//!   Plan::draw(seed)
//!   trouble:  rows in, faults by chance            Checker hears what is accepted, synced, acknowledged
//!   peace:    faults end, all is started again     until everything is delivered, or a bound of virtual time
//!   verdict:  Checker::finish reads the log        each accepted sample once in the log, or in one loss record
//! ```
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a world is short, and its numbers are small"
)]

mod agent;
mod as_of;
mod chaos;
mod checker;
mod dice;
mod fault;
mod gateway;
mod gateway_chaos;
mod log;
mod machine;
mod network;
mod newest;
mod plan;
mod run;
mod seeds;
pub mod stage;
mod step;
mod whole;

use std::collections::BTreeMap;

use muster_agent::link::Stream;
use muster_gateway::clock::{Clock, VirtualClock};
use muster_protocol::{
    frame::Frame,
    id::{Offset, RobotId},
    message::{NumberedHead, Window},
    time::{MonoTime, WallTime},
};

pub use run::{Outcome, Summary, main, run, run_all};
pub use seeds::KEPT;

use agent::Setup;
use as_of::Probe;
use checker::{Checker, Tally};
use dice::Dice;
use fault::{Fault, Injected};
use gateway::{GatewayDisk, GatewaySetup, Running};
use machine::{BEGIN, Machine};
use network::{Connection, Way, nanos};
use newest::Clocks;
use plan::Plan;

/// A world at one moment.
struct World {
    plan: Plan,
    dice: Dice,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    events_made: u64,
    machines: Vec<Machine>,
    connections: BTreeMap<u64, Connection>,
    connections_made: u64,
    disk: GatewayDisk,
    backup: Option<GatewayDisk>,
    gateway: Option<Running>,
    gateway_life: u64,
    clock: &'static VirtualClock,
    checker: Checker,
    /// What was served at some moments.
    probes: Vec<Probe>,
    injected: Injected,
    samples_made: u64,
    /// How often earlier lives of the gateway had no room in their queue.
    queue_full: u64,
    /// No robot's clock ever stepped or was lost.
    clocks_ran_true: bool,
    /// The gateway's disk takes nothing.
    store_full: bool,
    /// Commits take until then.
    commits_stall_until: u64,
    /// No more faults and no more rows.
    peace: bool,
    trace: Trace,
}

/// Whether the story of a world is told while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing is said.
    Silent,
    /// Each event is printed.
    Aloud,
}

/// What happens at a moment.
#[derive(Debug)]
enum Event {
    /// A machine records a row, and sets the time of its next one.
    Row(usize),
    /// Something goes wrong.
    Chaos,
    /// A connection stands, or does not come about.
    Connected {
        connection: u64,
    },
    NotConnected {
        machine: usize,
        life: u64,
    },
    /// A frame reaches the other end.
    Arrives {
        connection: u64,
        way: Way,
        frame: Frame,
    },
    /// An end learns that its connection is over.
    Told {
        connection: u64,
        way: Way,
    },
    /// What was read from a spool.
    Loaded {
        machine: usize,
        life: u64,
        heads: Vec<NumberedHead>,
    },
    /// A machine's program starts again.
    Start(usize),
    /// A group is synced.
    Synced {
        life: u64,
        began: u64,
    },
    /// A checkpoint is on the disk.
    Saved {
        life: u64,
        checkpoint: muster_gateway::store::Checkpoint,
    },
    /// The gateway's program starts again.
    StartGateway,
    /// The gateway looks after silent sessions.
    Housekeeping {
        life: u64,
    },
    /// Something that a fault did ends.
    Mend(Mend),
}

/// What ends by itself.
#[derive(Debug)]
enum Mend {
    /// A robot's power, which goes before it comes back.
    Power(usize),
    Disk(usize),
    StoreFull,
}

impl World {
    fn new(seed: u64, clock: &'static VirtualClock, trace: Trace) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice, &mut Dice::new(!seed));
        Self::planned(plan, dice, clock, trace)
    }

    fn planned(plan: Plan, mut dice: Dice, clock: &'static VirtualClock, trace: Trace) -> Self {
        let disk = GatewayDisk::new(&mut dice);
        let mut world = Self {
            now: 1_000_000_000,
            events: BTreeMap::new(),
            events_made: 0,
            machines: Vec::new(),
            connections: BTreeMap::new(),
            connections_made: 0,
            disk,
            backup: None,
            gateway: None,
            gateway_life: 0,
            clock,
            checker: Checker::default(),
            probes: Vec::new(),
            injected: Injected::default(),
            samples_made: 0,
            queue_full: 0,
            clocks_ran_true: true,
            store_full: false,
            commits_stall_until: 0,
            peace: false,
            trace,
            plan,
            dice,
        };
        world.say(|world| format!("{:?}", world.plan));
        for number in 0..world.plan.robots {
            world.add_machine(number);
        }
        world
    }

    fn add_machine(&mut self, number: usize) {
        let setup = Setup {
            robot: RobotId::new("fleet", &format!("r{number}")).expect("a short name"),
            limit_bytes: self.plan.limit_bytes,
            segment_bytes: 64 * 1024,
            sync_every: self.plan.sync_every,
            linger: self.plan.linger,
        };
        let dice = self.dice.fork();
        self.machines.push(Machine::new(setup, muster_agent::spool::fake_disk::FakeDisk::default(), dice));
        self.at(self.now, Event::Start(number));
        self.at(self.now, Event::Row(number));
    }

    fn settle(&mut self, bound: u64) {
        while self.now < bound && !self.is_settled() {
            self.go_on_until(self.now + SETTLE_NS);
        }
    }

    /// Lives through trouble and peace, and returns the verdict.
    fn live(mut self) -> (Tally, Injected, Vec<String>) {
        self.at(self.now, Event::StartGateway);
        if !self.plan.faults.is_empty() {
            self.at(self.now, Event::Chaos);
        }
        let trouble_ends = self.now + nanos(self.plan.trouble);
        self.go_on_until(trouble_ends);
        self.make_peace();
        let bound = self.now + PEACE_NS_MAX;
        while self.now < bound {
            self.settle(bound);
            // A few heartbeats more: what is gone is judged when the robot says so, and all else is in. Meanwhile a disk
            // that stalled may have given more to deliver.
            let turns = if self.machines.len() > self.plan.robots { TURNS_NS } else { 0 };
            self.go_on_until(self.now + JUDGED_NS + turns);
            if self.is_settled() {
                break;
            }
        }
        if !self.is_settled() {
            let open = self.unsettled();
            self.checker
                .wrong
                .push(format!("not settled after {} s of peace: {open}", PEACE_NS_MAX / 1_000_000_000));
        }
        self.verdict()
    }

    fn verdict(mut self) -> (Tally, Injected, Vec<String>) {
        let log = self.disk.log.clone();
        let mut records = Vec::new();
        for record in log.records(Offset::FIRST) {
            match record {
                Ok(record) => records.push(record),
                Err(error) => self.checker.wrong.push(error.to_string()),
            }
        }
        let schema = |robot: &RobotId, hash| log.schema(robot, hash);
        let mut tally = self.checker.finish(&records, &schema);
        // A state from a checkpoint remembers what the log has lost since; a repaired clock moves times.
        let counts = |fault| self.injected.of(fault);
        if let Some(gateway) = self.gateway.as_ref().filter(|_| counts(Fault::Quarantined) == 0) {
            let clocks = if self.clocks_ran_true { Clocks::True } else { Clocks::Wrong };
            let wrong = newest::check(&records, &schema, &gateway.fleet, clocks);
            self.checker.wrong.extend(wrong);
            self.checker.wrong.extend(whole::check(&gateway.fleet, &self.checker.refused));
            let compared = as_of::check(&self.probes, (self.disk.log_id, &records), &schema, &gateway.fleet);
            tally.compared = compared.robots;
            self.checker.wrong.extend(compared.wrong);
        }
        let queue_full = self.queue_full + self.gateway.as_ref().map_or(0, |gateway| gateway.log.rejected());
        self.injected.count_many(Fault::CommitQueueFull, queue_full);
        (tally, self.injected, self.checker.wrong)
    }

    fn at(&mut self, time: u64, event: Event) {
        self.events_made += 1;
        self.events.insert((time, self.events_made), event);
    }

    fn after(&mut self, span: u64, event: Event) {
        self.at(self.now + span, event);
    }

    fn say(&self, text: impl FnOnce(&Self) -> String) {
        if self.trace == Trace::Aloud {
            eprintln!("{:>12.6} {}", (self.now - 1_000_000_000) as f64 / 1e9, text(self));
        }
    }

    fn set_clock(&self) {
        self.clock.set(MonoTime(self.now), self.wall());
    }

    fn wall(&self) -> WallTime {
        WallTime(BEGIN).shifted(self.now as i64)
    }

    fn gateway_clock(&self) -> Clock {
        Clock::of(self.clock)
    }

    fn gateway_setup(&self) -> GatewaySetup {
        GatewaySetup {
            window: Window { bytes: 256 * 1024, batches: self.plan.window_batches },
            queue_bytes: self.plan.queue_bytes,
            checkpoint_every: self.plan.checkpoint_every,
        }
    }

    /// Returns whether every robot has delivered all, and nothing is on its way.
    fn is_settled(&self) -> bool {
        let delivered = |machine: &Machine| machine.process.as_ref().is_some_and(agent::Process::is_drained);
        self.machines.iter().all(delivered)
            && self.gateway.as_ref().is_some_and(|gateway| gateway.log.is_idle())
    }

    fn unsettled(&self) -> String {
        let state = |machine: &Machine| match &machine.process {
            None => format!("{} does not run", machine.setup.robot),
            Some(process) => {
                let (drained, up) = (process.is_drained(), process.is_up());
                format!("{}: drained {drained}, up {up}", machine.setup.robot)
            }
        };
        self.machines.iter().map(state).collect::<Vec<_>>().join("; ")
    }
}

/// Virtual time that a mended world has to settle in: two processes of one robot take turns every three minutes.
const PEACE_NS_MAX: u64 = 3_600_000_000_000;

/// How long a settled world goes on: some heartbeats, and what the gateway says to them.
const JUDGED_NS: u64 = 120_000_000_000;

/// Two computers that are one robot take turns of three minutes: each comes to say once more what is gone.
const TURNS_NS: u64 = 400_000_000_000;

/// How often it is looked at.
const SETTLE_NS: u64 = 5_000_000_000;

/// How a stream of answers is named on its way down.
const ANSWERS: Stream = Stream::Control;
