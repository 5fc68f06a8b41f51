//! A robot's computer: its disk, its clocks and the agent that runs on it, if one does.

use std::{collections::BTreeSet, sync::Arc};

use muster_agent::{
    batcher::{Manner, Stamped},
    driver::load,
    spool::{SpoolReader, fake_disk::FakeDisk},
};
use muster_protocol::{
    id::{ChannelName, Lane},
    message::{Clock, NumberedHead},
    sample::{Row, Value},
    schema::Schema,
    time::{MonoTime, WallTime},
};

use super::{
    agent::{Accepted, Process, Setup, heads_of},
    checker::{Checker, Place, place},
    dice::Dice,
    network::Blocked,
};

/// When worlds begin.
pub(super) const BEGIN: i64 = 1_790_000_000_000_000_000;

/// A robot's computer.
pub(super) struct Machine {
    pub(super) setup: Setup,
    pub(super) disk: FakeDisk,
    pub(super) process: Option<Process>,
    /// Counts runs of the program.
    pub(super) life: u64,
    /// The connection that the program uses, or tries to make.
    pub(super) connection: Option<u64>,
    pub(super) blocked: Blocked,
    /// The power goes as soon as the disk refuses.
    pub(super) doomed: bool,
    /// The disk failed, and the recorder goes on in memory.
    pub(super) in_memory: bool,
    /// What was accepted in memory alone: it may end with the program.
    memory: BTreeSet<Place>,
    /// Reads what the program that has just ended wrote.
    pub(super) last_reader: Option<SpoolReader>,
    clock: MachineClock,
    /// What this disk was ever told to hold.
    pub(super) known: BTreeSet<Place>,
    dice: Dice,
}

/// The computer's clocks.
#[derive(Clone, Debug)]
pub(super) struct MachineClock {
    boot: u64,
    booted_at: u64,
    /// How far the wall clock is off.
    pub(super) offset_ns: i64,
    pub(super) drift_ppm: i64,
    pub(super) synchronised: bool,
}

impl Machine {
    pub(super) fn new(setup: Setup, disk: FakeDisk, mut dice: Dice) -> Self {
        let clock = MachineClock {
            boot: dice.bits(),
            booted_at: 0,
            offset_ns: 0,
            drift_ppm: if dice.chance(300) { dice.within(0..400) as i64 - 200 } else { 0 },
            synchronised: true,
        };
        Self {
            setup,
            disk,
            process: None,
            life: 0,
            connection: None,
            blocked: Blocked::default(),
            doomed: false,
            in_memory: false,
            memory: BTreeSet::new(),
            last_reader: None,
            clock,
            known: BTreeSet::new(),
            dice,
        }
    }

    /// Starts the program. What it finds in its spool and nobody was told of counts as accepted from now on.
    pub(super) fn start(&mut self, checker: &mut Checker) -> Result<(), String> {
        let random = std::array::from_fn(|_| self.dice.bits());
        let (process, recovered) = Process::start(Arc::new(self.disk.clone()), &self.setup, random)?;
        self.life += 1;
        self.connection = None;
        self.last_reader = None;
        self.in_memory = false;
        self.process = Some(process);
        if !recovered.unreadable.is_empty() {
            checker.disk_refuses(&self.setup.robot);
        }
        for head in recovered.spans.iter().flat_map(heads_of) {
            self.accept(head, None, checker);
        }
        Ok(())
    }

    /// Ends the program without asking it. What it had in memory alone is gone.
    pub(super) fn stop(&mut self, checker: &mut Checker) {
        self.process = None;
        self.last_reader = None;
        let memory = std::mem::take(&mut self.memory);
        self.known.retain(|place| !memory.contains(place));
        checker.spool_wiped(memory);
    }

    /// Returns what is known to be on the disk.
    pub(super) fn known_on_disk(&self) -> BTreeSet<Place> {
        self.known.difference(&self.memory).cloned().collect()
    }

    /// Counts a boot: the monotonic clock starts anew, under another id.
    pub(super) fn reboot(&mut self, now: u64) {
        self.clock.boot = self.dice.bits();
        self.clock.booted_at = now;
    }

    pub(super) fn clock_mut(&mut self) -> &mut MachineClock {
        &mut self.clock
    }

    pub(super) fn mono(&self, now: u64) -> MonoTime {
        MonoTime(now - self.clock.booted_at)
    }

    /// Turns a time of this boot into the world's.
    pub(super) fn world_time(&self, at: MonoTime) -> u64 {
        at.0.saturating_add(self.clock.booted_at)
    }

    pub(super) fn clocks(&self, now: u64) -> Clock {
        let MachineClock { boot, offset_ns, drift_ppm, synchronised, .. } = self.clock;
        let drifted = i64::try_from(now).expect("a world is short") / 1_000_000 * drift_ppm;
        let wall = WallTime(BEGIN).shifted(now as i64 + offset_ns + drifted);
        Clock { boot, mono: self.mono(now), wall, synchronised }
    }

    /// Tells the checker that the recorder has just said that a batch is accepted.
    pub(super) fn accept_told(&mut self, accepted: Accepted, checker: &mut Checker) {
        let Accepted { head, samples, durable } = accepted;
        if !durable {
            self.memory.insert(place(&self.setup.robot, head));
            if !self.in_memory {
                checker.wrong.push(format!("{head:?} is in memory alone, and the disk works"));
            }
        }
        self.accept(head, Some(samples), checker);
    }

    /// Tells the checker that a batch is accepted, as the spool gives it back, with so many samples as the spool said.
    pub(super) fn accept(&mut self, head: NumberedHead, samples: Option<u32>, checker: &mut Checker) {
        let reader = self.process.as_ref().map(Process::reader).or(self.last_reader.as_ref());
        let place = place(&self.setup.robot, head);
        self.known.insert(place.clone());
        if samples.is_none() {
            checker.found(&place);
        }
        match reader.map(|reader| load(reader, head)) {
            Some(Ok(Some(loaded))) => {
                let schema = loaded.schema.map(|(_, encoded)| Schema::decode(&encoded));
                let schema = schema.transpose().expect("a spooled schema decodes");
                checker.accepted(place, &loaded.payload, schema.as_ref());
            }
            _ => checker.accepted_unread(place, samples),
        }
    }

    /// Produces one row with samples numbered from `first`, and returns how many.
    pub(super) fn produce(&mut self, now: u64, first: u64, blob_bytes: Option<u64>) -> u64 {
        let wall = self.clocks(now).wall;
        let lane =
            *self.dice.pick(&[None, None, None, Some(Lane::Live), Some(Lane::Urgent), Some(Lane::Bulk)]);
        let manner = if self.dice.chance(150) { Manner::Wait } else { Manner::Live };
        let samples = self.dice.within(1..4);
        let numbers = first..first + samples;
        let fields = numbers.map(|number| (self.channel(), self.value(number, blob_bytes))).collect();
        let t = self
            .dice
            .chance(200)
            .then(|| wall.shifted(self.dice.within(0..4_000_000_000) as i64 - 2_000_000_000));
        let row = Stamped::new(Row { t, lane, unit: None, fields }, wall);
        if let Some(process) = &mut self.process {
            process.push(row, manner);
        }
        samples
    }
}

impl Machine {
    fn channel(&mut self) -> ChannelName {
        ChannelName::new(&format!("c{}", self.dice.within(0..6))).expect("a short name")
    }

    /// Returns a value that names its sample.
    fn value(&mut self, number: u64, blob_bytes: Option<u64>) -> Value {
        let Some(bytes) = blob_bytes else { return Value::Int(number as i64) };
        let mut value = number.to_le_bytes().to_vec();
        while value.len() < bytes as usize {
            value.extend_from_slice(&self.dice.bits().to_le_bytes());
        }
        Value::Bytes(value)
    }
}
