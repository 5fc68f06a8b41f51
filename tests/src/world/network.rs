//! The links of a world: what is on its way, what is cut, and who has been told.

use std::{collections::BTreeMap, time::Duration};

use muster_agent::link::Stream;

use super::plan::Wire;

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// From the robot to the gateway.
    Up,
    /// From the gateway to the robot.
    Down,
}

/// One connection between a run of an agent and a run of the gateway.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) machine: usize,
    /// Which life of the machine's program opened it.
    pub(super) life: u64,
    /// Which life of the gateway took it.
    pub(super) gateway_life: u64,
    /// Nothing passes any more.
    pub(super) broken: bool,
    /// The gateway hears nothing of it any more.
    pub(super) closed: bool,
    /// The gateway is about to be told that it is over.
    pub(super) told: bool,
    /// When the last frame of each stream arrives: none of it may come before that.
    last: BTreeMap<(Way, u8), u64>,
    /// When the last bit that was sent up has left.
    free_at: u64,
}

/// Until when a robot's frames are held up, in each direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Blocked {
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Connection {
    pub(super) fn new(machine: usize, life: u64, gateway_life: u64) -> Self {
        Self {
            machine,
            life,
            gateway_life,
            broken: false,
            closed: false,
            told: false,
            last: BTreeMap::new(),
            free_at: 0,
        }
    }

    /// Returns when the last bit of so many bytes has left, that are sent up now behind what is still leaving.
    pub(super) fn leave(&mut self, now: u64, bytes: u64, bytes_per_s: u64) -> u64 {
        self.free_at = self.free_at.max(now) + bytes * 1_000_000_000 / bytes_per_s;
        self.free_at
    }

    /// Returns when a frame that leaves now arrives, after `latency` and not before `blocked` ends.
    pub(super) fn arrival(&mut self, wire: Wire, way: Way, stream: Stream, times: Times) -> u64 {
        let at = times.now.max(times.blocked) + times.latency;
        let number = match (wire, stream) {
            (Wire::Broker, _) => return at,
            (Wire::Single, _) | (Wire::Streams, Stream::Control) => 0,
            (Wire::Streams, Stream::Lane(lane)) => 1 + lane.index() as u8,
        };
        let last = self.last.entry((way, number)).or_default();
        *last = at.max(*last + 1);
        *last
    }
}

/// What decides when a frame arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: u64,
    pub(super) latency: u64,
    pub(super) blocked: u64,
}

impl Blocked {
    pub(super) fn until(&self, way: Way) -> u64 {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
