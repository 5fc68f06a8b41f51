//! What goes wrong, and how it is mended in the end.

use muster_agent::spool::fake_disk::Faults;

use super::{
    Event, World,
    fault::Fault,
    network::{Blocked, nanos},
};

impl World {
    /// Lets one thing go wrong, and decides when the next one does.
    pub(super) fn chaos(&mut self) {
        if self.peace {
            return;
        }
        let fault = *self.dice.pick(&self.plan.faults);
        let machine = self.dice.index(self.machines.len());
        self.inject(fault, machine);
        let mean = nanos(self.plan.fault_every);
        let wait = self.dice.within(1..2 * mean);
        self.after(wait, Event::Chaos);
    }

    fn inject(&mut self, fault: Fault, machine: usize) {
        self.say(|_| format!("fault: {} (robot {machine})", fault.as_str()));
        self.injected.count(fault);
        match fault {
            _ => {}
        }
    }

    /// The recorder said that its disk failed.
    pub(super) fn disk_failed(&mut self, machine: usize) {
        self.say(|_| format!("robot {machine}: the disk failed"));
    }

    /// Returns how much longer a commit takes that begins now.
    pub(super) fn stalls(&self) -> u64 {
        self.commits_stall_until.saturating_sub(self.now)
    }

    /// Ends all faults, and starts whatever does not run.
    pub(super) fn make_peace(&mut self) {
        self.say(|_| "peace".to_owned());
        self.peace = true;
        self.commits_stall_until = 0;
        self.mend(super::Mend::StoreFull);
        for machine in 0..self.machines.len() {
            self.machines[machine].blocked = Blocked::default();
            self.machines[machine].disk.set_faults(Faults::default());
            self.at(self.now, Event::Start(machine));
        }
        self.at(self.now, Event::StartGateway);
    }
}
