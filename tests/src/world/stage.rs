//! A world without chance: what happens in it is what a test does, and it is watched as a gateway is.
//!
//! One robot delivers to one gateway in virtual time, over the real code of both, and the gateway's own thread that
//! evaluates conditions is stood in for by the stage's clock: it looks every [`EVERY`], as the real one does. So what takes hours
//! to come and go, by rules that nobody can set, is seen to do so in a moment.

use std::{cell::RefCell, sync::Arc, time::Duration};

use muster_gateway::{
    clock::VirtualClock,
    conditions::{
        Code, Condition, Moment,
        facts::{GatewayFacts, Refused},
    },
    ingest::Ingest,
    metrics::Metrics,
    watch::{EVERY, Sources, Watch},
};
use muster_protocol::id::RobotId;
use serde_json::{Value, json};

use super::{
    Event, Plan, Trace, Way, World,
    dice::Dice,
    gateway::LATELY,
    network::{Blocked, nanos},
    plan::Wire,
};
use crate::conditions::Watched;

/// The world of one robot, with nothing wrong.
pub struct Stage(RefCell<Scenery>);

struct Scenery {
    world: World,
    watch: Watch,
    next_look: u64,
}

/// The gateway's own facts are not of this world; what it refuses is.
struct OfRobots(Ingest);

/// The robot of a stage.
pub const ROBOT: &str = "fleet/r0";

impl Stage {
    /// Begins with a robot that records and delivers, whose spool has so much room: 1 MiB at least.
    pub fn new(spool_bytes: u64) -> Self {
        let clock: &'static VirtualClock = Box::leak(Box::default());
        let mut world = World::planned(plan(spool_bytes), Dice::new(1), clock, Trace::Silent);
        world.set_clock();
        world.at(world.now, Event::StartGateway);
        world.go_on_until(world.now);
        assert!(world.machines[0].process.is_some(), "the robot does not start: is its spool too small?");
        let gateway = world.gateway.as_ref().expect("it was just started");
        let live = Arc::new(gateway.ingest.clone());
        let sources = Box::new(OfRobots(gateway.ingest.clone()));
        let (clock, metrics) = (world.gateway_clock(), Arc::new(Metrics::new()));
        let watch = Watch::new((Arc::clone(&gateway.fleet), live), sources, metrics, clock, LATELY);
        let next_look = world.now + nanos(EVERY);
        Self(RefCell::new(Scenery { world, watch, next_look }))
    }

    /// Lets so much time pass.
    pub fn go_on(&self, span: Duration) {
        let mut scenery = self.0.borrow_mut();
        let end = scenery.world.now + nanos(span);
        while scenery.next_look <= end {
            let look = scenery.next_look;
            scenery.world.go_on_until(look);
            scenery.world.set_clock();
            scenery.watch.evaluate();
            scenery.next_look = look + nanos(EVERY);
        }
        scenery.world.go_on_until(end);
    }

    /// Lets the robot's link carry so many bytes each second; as many as there are without a limit.
    pub fn limits_uplink(&self, bytes_per_s: Option<u64>) {
        self.0.borrow_mut().world.plan.uplink_bytes = bytes_per_s;
    }

    /// Lets nothing pass between the robot and the gateway any more, or again.
    pub fn cuts_off(&self, is_cut: bool) {
        let world = &mut self.0.borrow_mut().world;
        let until = if is_cut { u64::MAX / 2 } else { 0 };
        world.machines[0].blocked = Blocked { up: until, down: until };
        if is_cut {
            world.break_connection();
        }
    }

    /// Breaks the robot's connection; it may make another at once.
    pub fn breaks_connection(&self) {
        self.0.borrow_mut().world.break_connection();
    }

    /// Lets the robot record nothing any more.
    pub fn stops_recording(&self) {
        self.0.borrow_mut().world.peace = true;
    }

    /// Puts a second computer to work that is a copy of the robot's.
    pub fn clones_robot(&self) {
        assert!(self.0.borrow_mut().world.clone_robot(0), "there is none yet");
    }

    /// Switches the second computer off, for good.
    pub fn ends_clone(&self) {
        let world = &mut self.0.borrow_mut().world;
        world.machines[1].stop(&mut world.checker);
        world.tell_of(1, 1_000_000);
    }

    /// Returns how long it has been going on.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(self.0.borrow().world.now)
    }
}

impl Watched for Stage {
    fn holds(&self, code: Code, robot: Option<&str>) -> Option<Value> {
        let evaluation = self.0.borrow().watch.board().read();
        let is_it = |condition: &&Condition| {
            condition.code == code && condition.robot.as_ref().map(RobotId::as_str) == robot
        };
        let Condition { code, robot, since, since_from, times, detail } =
            evaluation.conditions.iter().find(is_it)?.clone();
        Some(json!({
            "code": code.as_str(), "severity": code.severity().as_str(), "remedy": code.remedy(),
            "robot": robot.map(|robot| robot.to_string()), "since": since.0, "since_from": since_from.as_str(),
            "times": times, "detail": detail,
        }))
    }

    /// Lets virtual time pass between, an evaluation each time.
    fn wait_for<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let bound = self.age() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(self.age() < bound, "{what}: not within {PATIENCE:?} of virtual time");
            self.go_on(EVERY);
        }
    }
}

impl World {
    /// Ends the robot's connection, and both ends are told.
    fn break_connection(&mut self) {
        let Some(number) = self.machines[0].connection else { return };
        for way in [Way::Up, Way::Down] {
            self.after(1, Event::Told { connection: number, way });
        }
    }
}

impl Sources for OfRobots {
    fn gateway(&mut self, _: Moment) -> GatewayFacts {
        GatewayFacts::default()
    }

    fn refused(&self, robot: &RobotId) -> Refused {
        self.0.refused(robot)
    }
}

/// Nothing goes wrong, and the robot records about 5 kB in 50 samples each second.
fn plan(spool_bytes: u64) -> Plan {
    let ms = Duration::from_millis;
    Plan {
        robots: 1,
        wire: Wire::Streams,
        trouble: Duration::ZERO,
        row_every: ms(60),
        blob_bytes: Some(100),
        limit_bytes: spool_bytes,
        latency: ms(20),
        commit: ms(5),
        queue_bytes: 8 << 20,
        window_batches: 64,
        checkpoint_every: Duration::from_secs(30),
        linger: ms(1000),
        sync_every: ms(250),
        fault_every: Duration::ZERO,
        faults: Vec::new(),
        broker: [0; 3],
        link_queue_full: 0,
        uplink_bytes: None,
    }
}

/// Longer than any condition takes to come or go.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
