//! What goes wrong on robots and on their links, and how all is mended in the end.

use std::path::Path;

use muster_agent::spool::fake_disk::{FakeDisk, Faults};

use super::{
    Event, Machine, Mend, World,
    fault::Fault,
    machine::BEGIN,
    network::{Blocked, Way, nanos},
};

impl World {
    /// Lets one thing go wrong, and decides when the next one does.
    pub(super) fn chaos(&mut self) {
        if self.peace {
            return;
        }
        let fault = *self.dice.pick(&self.plan.faults);
        let machine = self.dice.index(self.machines.len());
        self.say(|_| format!("fault: {} (robot {machine})", fault.as_str()));
        if self.inject(fault, machine) {
            self.injected.count(fault);
        }
        let mean = nanos(self.plan.fault_every);
        let wait = self.dice.within(1..2 * mean);
        self.after(wait, Event::Chaos);
    }

    /// Returns whether the fault could happen as things stand.
    fn inject(&mut self, fault: Fault, machine: usize) -> bool {
        let runs = self.machines[machine].process.is_some();
        match fault {
            Fault::AgentKilled if runs => self.kill_agent(machine),
            Fault::AgentStopped if runs => self.stop_agent(machine),
            Fault::PowerCut => self.cut_power(machine),
            Fault::PowerCutInStep if runs => {
                let changes_left = Some(self.dice.within(0..12));
                self.machines[machine].doomed = true;
                self.machines[machine].disk.set_faults(Faults { changes_left, ..Faults::default() });
            }
            Fault::BitRot => return self.flip_bit(machine),
            Fault::DiskFull
            | Fault::DiskRefusesWrites
            | Fault::DiskRefusesSyncs
            | Fault::DiskRefusesReads => {
                self.break_disk(fault, machine);
            }
            Fault::SlowDisk if runs => {
                let until = self.now + self.dice.within(1..20_000_000_000);
                let until = self.machines[machine].mono(until);
                if let Some(process) = &mut self.machines[machine].process {
                    process.stalled_until = until;
                }
            }
            Fault::SpoolWiped => self.wipe_spool(machine),
            Fault::RobotCloned => return self.clone_robot(machine),
            Fault::ClockStep => self.step_clock(machine),
            Fault::Outage => {
                let until = self.now + self.dice.within(30_000_000_000..120_000_000_000);
                self.machines[machine].blocked = Blocked { up: until, down: until };
            }
            Fault::PartitionBoth | Fault::PartitionUp | Fault::PartitionDown => {
                self.partition(fault, machine);
            }
            Fault::LinkCut | Fault::HalfOpen | Fault::Takeover => return self.break_link(fault, machine),
            _ => return self.inject_gateway(fault),
        }
        true
    }

    fn kill_agent(&mut self, machine: usize) {
        self.machines[machine].disk.kill();
        self.machines[machine].stop(&mut self.checker);
        // The system closes what a killed program had open.
        self.tell_of(machine, 1_000_000_000);
        let wait = self.dice.within(1..10_000_000_000);
        self.after(wait, Event::Start(machine));
    }

    fn stop_agent(&mut self, machine: usize) {
        let mut effects = Vec::new();
        let there = &mut self.machines[machine];
        let (now, clock) = (there.mono(self.now), there.clocks(self.now));
        let Some(process) = there.process.take() else { return };
        let reader = process.reader().clone();
        process.finish(now, clock, &mut effects);
        there.last_reader = Some(reader);
        self.carry_out(machine, effects);
        self.machines[machine].disk.kill();
        self.machines[machine].stop(&mut self.checker);
        let wait = self.dice.within(1..10_000_000_000);
        self.after(wait, Event::Start(machine));
    }

    /// Cuts a robot's power. Nobody tells the gateway.
    pub(super) fn cut_power(&mut self, machine: usize) {
        let seed = self.dice.bits();
        if let Some(connection) = self.machines[machine].connection
            && let Some(connection) = self.connections.get_mut(&connection)
        {
            connection.broken = true;
        }
        let (now, forgets) = (self.now, self.dice.chance(200));
        let there = &mut self.machines[machine];
        there.disk.power_cut(seed);
        there.doomed = false;
        there.stop(&mut self.checker);
        there.reboot(now);
        self.clocks_ran_true &= !forgets;
        if forgets {
            // Without a battery the clock starts in 1970.
            let clock = there.clock_mut();
            clock.offset_ns = -BEGIN - i64::try_from(now).expect("a world is short");
            clock.synchronised = false;
        }
        let wait = self.dice.within(100_000_000..20_000_000_000);
        self.after(wait, Event::Start(machine));
    }

    /// Flips a bit of what later bytes on the disk confirm as synced. Behind that, nobody can tell damage from a write
    /// that a power cut tore, and the spool cuts it.
    fn flip_bit(&mut self, machine: usize) -> bool {
        let files = self.machines[machine].disk.durable_files();
        let confirmed = |(path, bytes): (String, Vec<u8>)| {
            let end = if Path::new(&path).extension().is_some_and(|end| end == "seg") {
                confirmed_bytes(&bytes)
            } else {
                0
            };
            (end > 0).then_some((path, end))
        };
        let files: Vec<_> = files.into_iter().filter_map(confirmed).collect();
        if files.is_empty() {
            return false;
        }
        let (path, end) = &files[self.dice.index(files.len())];
        let bit = self.dice.index(end * 8);
        self.machines[machine].disk.flip_bit(path, bit);
        true
    }

    fn break_disk(&mut self, fault: Fault, machine: usize) {
        let disk = self.machines[machine].disk.clone();
        let faults = match fault {
            Fault::DiskFull => {
                let capacity = disk.used_bytes() + self.dice.within(0..20_000);
                Faults { capacity_bytes: Some(capacity), ..Faults::default() }
            }
            Fault::DiskRefusesWrites => Faults { no_writes: true, ..Faults::default() },
            Fault::DiskRefusesSyncs => Faults { no_syncs: true, ..Faults::default() },
            _ => Faults { no_reads_of: Some(".seg".to_owned()), ..Faults::default() },
        };
        disk.set_faults(faults);
        let wait = self.dice.within(1..60_000_000_000);
        self.after(wait, Event::Mend(Mend::Disk(machine)));
    }

    fn wipe_spool(&mut self, machine: usize) {
        self.machines[machine].stop(&mut self.checker);
        self.tell_of(machine, 1_000_000_000);
        let known = std::mem::take(&mut self.machines[machine].known);
        let elsewhere = |place: &_| self.machines.iter().any(|other| other.known.contains(place));
        let gone: Vec<_> = known.into_iter().filter(|place| !elsewhere(place)).collect();
        self.checker.spool_wiped(gone);
        self.machines[machine].disk = FakeDisk::new();
        self.machines[machine].doomed = false;
        let wait = self.dice.within(1..5_000_000_000);
        self.after(wait, Event::Start(machine));
    }

    /// Puts a second computer with an image of the disk to work. What a failing disk did not make durable is in no image.
    pub(super) fn clone_robot(&mut self, machine: usize) -> bool {
        if self.machines.len() > self.plan.robots {
            return false;
        }
        let dice = self.dice.fork();
        let from = &self.machines[machine];
        let mut twin = Machine::new(from.setup.clone(), from.disk.image(), dice);
        twin.known = from.known_on_disk();
        self.machines.push(twin);
        let number = self.machines.len() - 1;
        self.at(self.now, Event::Start(number));
        self.after(1, Event::Row(number));
        true
    }

    fn step_clock(&mut self, machine: usize) {
        let step =
            *self.dice.pick(&[-3_600_000_000_000, 3_600_000_000_000, 150_000_000, -2_000_000_000, 0, 0]);
        self.clocks_ran_true &= step == 0;
        let clock = self.machines[machine].clock_mut();
        // A step of nothing is the clock being set right.
        clock.synchronised = step == 0;
        clock.offset_ns = if step == 0 { 0 } else { clock.offset_ns + step };
    }

    fn partition(&mut self, fault: Fault, machine: usize) {
        let until = self.now + self.dice.within(1..90_000_000_000);
        let blocked = &mut self.machines[machine].blocked;
        if fault != Fault::PartitionDown {
            blocked.up = until;
        }
        if fault != Fault::PartitionUp {
            blocked.down = until;
        }
    }

    fn break_link(&mut self, fault: Fault, machine: usize) -> bool {
        let Some(number) = self.machines[machine].connection else { return false };
        let Some(connection) = self.connections.get_mut(&number) else { return false };
        // At a takeover the old connection lives on at the gateway, with all that is on its way.
        connection.broken |= fault != Fault::Takeover;
        let (up, down) = match fault {
            Fault::LinkCut => (true, true),
            Fault::Takeover => (false, true),
            _ => *self.dice.pick(&[(false, false), (true, false), (false, true)]),
        };
        for way in
            [(Way::Up, up), (Way::Down, down)].into_iter().filter_map(|(way, told)| told.then_some(way))
        {
            let wait = self.dice.within(1..1_000_000_000);
            if fault == Fault::Takeover {
                self.close_agent(machine);
            } else {
                self.after(wait, Event::Told { connection: number, way });
            }
        }
        true
    }

    /// Tells the gateway that a robot's program is gone.
    pub(super) fn tell_of(&mut self, machine: usize, within: u64) {
        for (number, connection) in &mut self.connections {
            if connection.machine == machine && !connection.broken && !connection.told {
                connection.told = true;
                let wait = self.dice.within(1..within);
                self.events_made += 1;
                let told = Event::Told { connection: *number, way: Way::Up };
                self.events.insert((self.now + wait, self.events_made), told);
            }
        }
    }

    /// The recorder said that its disk failed: the power goes with it, or the program is started again later.
    pub(super) fn disk_failed(&mut self, machine: usize) {
        self.say(|_| format!("robot {machine}: the disk failed"));
        self.checker.disk_refuses(&self.machines[machine].setup.robot);
        self.machines[machine].in_memory = true;
        if self.machines[machine].doomed {
            self.at(self.now, Event::Mend(Mend::Power(machine)));
        }
    }

    /// Returns how much longer a commit takes that begins now.
    pub(super) fn stalls(&self) -> u64 {
        self.commits_stall_until.saturating_sub(self.now)
    }

    pub(super) fn mend(&mut self, mend: &Mend) {
        match mend {
            Mend::Power(machine) => self.cut_power(*machine),
            Mend::Disk(machine) => self.mend_disk(*machine),
            Mend::StoreFull => {
                self.store_full = false;
                if let Some(gateway) = &self.gateway {
                    gateway.log.set_full(false);
                }
            }
        }
    }

    fn mend_disk(&mut self, machine: usize) {
        self.machines[machine].disk.set_faults(Faults::default());
        self.machines[machine].doomed = false;
    }

    /// Ends all faults, and starts whatever does not run.
    pub(super) fn make_peace(&mut self) {
        self.say(|_| "peace".to_owned());
        self.peace = true;
        self.commits_stall_until = 0;
        self.mend(&Mend::StoreFull);
        for machine in 0..self.machines.len() {
            self.machines[machine].blocked = Blocked::default();
            self.mend_disk(machine);
            self.at(self.now, Event::Start(machine));
        }
        self.at(self.now, Event::StartGateway);
    }
}

/// Returns where the first record begins that the last one does not confirm: see the spool's format. Zero if the bytes
/// are not as they were written, or confirm nothing.
fn confirmed_bytes(segment: &[u8]) -> usize {
    let number =
        |at: usize| segment.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let is_whole = |at: usize| {
        let header = segment.get(at..at + HEADER_BYTES).and_then(<[u8]>::split_last_chunk::<4>);
        header.is_some_and(|(covered, crc)| crc32c::crc32c(covered).to_le_bytes() == *crc)
    };
    let begins = |at: &usize| segment[*at..].starts_with(RECORD_MAGIC) && is_whole(*at);
    let records: Vec<usize> = (0..segment.len()).filter(begins).collect();
    let Some(synced) = records.last().and_then(|last| number(last + SYNCED_AT)) else { return 0 };
    let unconfirmed = |at: &&usize| number(**at + SEQ_AT).is_none_or(|seq| seq >= synced);
    records.iter().find(unconfirmed).copied().unwrap_or(0)
}

/// Marks a record in a segment; then its seq, and the seq below which all was synced when it was written, in a header
/// that ends with its CRC.
const RECORD_MAGIC: &[u8] = b"MREC";
const HEADER_BYTES: usize = 96;
const SEQ_AT: usize = 32;
const SYNCED_AT: usize = 48;
