//! A robot whose frames are put together by hand, over MQTT: it says of itself what the test wants.

use muster_protocol::{
    id::{Epoch, InstanceId, Lane, Seq},
    label::Labels,
    message::{Clock, Heartbeat, HeldLane, Hello, Message, Numbered, NumberedHead},
    time::{MonoTime, WallTime},
};
use muster_tests::{
    gateway::Gateway,
    outside::{Answered, ByHand},
};

/// A connection of a robot.
pub(super) struct Robot {
    link: ByHand,
    name: String,
}

/// One life of a robot's spool, which numbered one batch of so many samples and still holds it.
#[derive(Clone, Copy)]
pub(super) struct Spool {
    pub(super) epoch: u64,
    pub(super) samples: u64,
}

impl Robot {
    /// Says Hello as a process, with these spools and a clock that is so far off.
    pub(super) fn hello(gateway: &Gateway, name: &str, process: u8, spools: &[Spool], off_ns: i64) -> Self {
        let mut robot = Self { link: ByHand::connect(gateway.mqtt_port()), name: name.to_owned() };
        let hello = Hello {
            robot: name.parse().expect("it is a robot's name"),
            instance: InstanceId([process; 16]),
            version: "by-hand".to_owned(),
            held: spools.iter().map(|spool| held(*spool)).collect(),
            drained: Vec::new(),
            clock: clock(gateway, off_ns),
            labels: Labels::default(),
        };
        robot.control(&Message::Hello(hello));
        robot
    }

    /// Says with a heartbeat what its clock shows.
    pub(super) fn beat(&mut self, gateway: &Gateway, spools: &[Spool], off_ns: i64) {
        let held = spools.iter().map(|spool| held(*spool)).collect();
        self.control(&Message::Heartbeat(Heartbeat { held, clock: clock(gateway, off_ns) }));
    }

    /// Sends a batch that is none.
    pub(super) fn send_nonsense(&mut self, spool: Spool) {
        let head = NumberedHead { epoch: epoch(spool), lane: Lane::Live, seq: Seq(1) };
        let payload = b"this is no batch"[..].into();
        let frame = Message::Batch(Numbered { head, payload }).to_frame().encode();
        let topic = format!("muster/1/{}/up/live", self.name);
        assert_eq!(self.link.publish(&topic, &frame), Answered::Puback, "a refused batch is handled");
    }

    fn control(&mut self, message: &Message) {
        let topic = format!("muster/1/{}/up/control", self.name);
        let answered = self.link.publish(&topic, &message.to_frame().encode());
        assert_eq!(answered, Answered::Puback, "the gateway takes it");
    }
}

fn held(spool: Spool) -> HeldLane {
    let Spool { samples, .. } = spool;
    let (first, next) = (Seq(1), Seq(2));
    HeldLane {
        epoch: epoch(spool),
        lane: Lane::Live,
        first,
        next,
        samples,
        spooled: samples,
        gone: Vec::new(),
    }
}

fn epoch(spool: Spool) -> Epoch {
    Epoch { start: spool.epoch, random: spool.epoch }
}

/// Returns clocks that are so far off the gateway's.
fn clock(gateway: &Gateway, off_ns: i64) -> Clock {
    let now = gateway.ask("/v1/fleet")["now"].as_i64().expect("it is a time");
    Clock { boot: 1, mono: MonoTime(5), wall: WallTime(now + off_ns), synchronised: true }
}
