//! What goes wrong in the gateway of a world.

use muster_gateway::{link::port::Closed, store::simulated::SimulatedLog};
use muster_protocol::{id::Offset, loss::AbsenceReason};

use super::{
    Event, Mend, World,
    checker::Forgotten,
    fault::Fault,
    gateway::{GatewayDisk, log_id},
    network::Way,
};

impl World {
    /// Returns whether the fault could happen as things stand.
    pub(super) fn inject_gateway(&mut self, fault: Fault) -> bool {
        if self.gateway.is_none() {
            return false;
        }
        match fault {
            Fault::GatewayKilled => self.end_gateway(Told::Soon),
            Fault::GatewayPowerCut => self.end_gateway(Told::Never),
            Fault::GatewayStopped => self.stop_gateway(),
            Fault::CheckpointDamaged => {
                self.end_gateway(Told::Soon);
                self.disk.checkpoints.pop();
            }
            Fault::GatewayWiped => {
                self.end_gateway(Told::Soon);
                self.disk = GatewayDisk::new(&mut self.dice);
                self.backup = None;
                self.checker.log_is(&[], Forgotten::Wiped);
            }
            Fault::GatewayRestored => return self.back_up_or_restore(),
            Fault::Quarantined => return self.quarantine(),
            Fault::SlowCommit => self.commits_stall_until = self.now + self.dice.within(1..40_000_000_000),
            Fault::StoreFull => {
                self.store_full = true;
                if let Some(gateway) = &self.gateway {
                    gateway.log.set_full(true);
                }
                let wait = self.dice.within(1..60_000_000_000);
                self.after(wait, Event::Mend(Mend::StoreFull));
            }
            _ => return false,
        }
        true
    }

    /// Ends the program as a kill or a power cut does: of what is written and not synced, any first part survives.
    fn end_gateway(&mut self, told: Told) {
        self.queue_full += self.gateway.take().map_or(0, |gateway| gateway.log.rejected());
        let from = self.disk.log.next();
        let kept = self.dice.index(self.disk.log.unsynced() + 1);
        self.disk.log.crash(kept);
        self.hear_durable(&self.disk.log.clone(), from);
        self.tell_agents(told);
        let wait = self.dice.within(1_000_000..20_000_000_000);
        self.after(wait, Event::StartGateway);
    }

    fn stop_gateway(&mut self) {
        let Some(mut gateway) = self.gateway.take() else { return };
        if self.store_full {
            gateway.log.end_full();
        }
        let log = self.disk.log.clone();
        let from = log.next();
        let checkpoints = gateway.finish(&log, || {
            for (_, envelope) in log.records(from).into_iter().flatten() {
                self.checker.durable(&envelope);
            }
        });
        self.queue_full += gateway.log.rejected();
        for checkpoint in checkpoints {
            self.disk.keep(checkpoint);
        }
        self.tell_agents(Told::Soon);
        let wait = self.dice.within(1_000_000..20_000_000_000);
        self.after(wait, Event::StartGateway);
    }

    fn hear_durable(&mut self, log: &SimulatedLog, from: Offset) {
        for (_, envelope) in log.records(from).into_iter().flatten() {
            self.checker.durable(&envelope);
        }
    }

    /// Ends every connection at the gateway's end; the agents learn it soon, or by its silence.
    fn tell_agents(&mut self, told: Told) {
        let open: Vec<u64> =
            self.connections.iter().filter(|(_, held)| !held.broken).map(|(number, _)| *number).collect();
        for connection in open {
            if let Some(held) = self.connections.get_mut(&connection) {
                held.broken = true;
            }
            if told == Told::Soon {
                let wait = self.dice.within(1..2_000_000_000);
                self.after(wait, Event::Told { connection, way: Way::Down });
            }
        }
    }

    fn back_up_or_restore(&mut self) -> bool {
        let Some(mut backup) = self.backup.take() else {
            self.backup = Some(self.disk.backup());
            self.say(|_| "a backup is made".to_owned());
            return false;
        };
        self.end_gateway(Told::Soon);
        // What is restored is another log: its offsets go on apart from those of the log that was lost.
        backup.log_id = log_id(&mut self.dice);
        self.disk = backup;
        let records = self.durable_records();
        self.checker.log_is(&records, Forgotten::Restored);
        true
    }

    /// Loses some records in the middle of the log, as a damaged partition that is set aside at a start does.
    fn quarantine(&mut self) -> bool {
        let next = self.disk.log.next();
        if next.0 < 8 {
            return false;
        }
        self.end_gateway(Told::Soon);
        let first = self.dice.within(1..next.0 - 2);
        let end = self.dice.within(first + 1..next.0);
        self.disk.log.quarantine(Offset(first)..Offset(end), self.wall());
        self.disk.forgot = AbsenceReason::Quarantined;
        let records = self.durable_records();
        self.checker.log_is(&records, Forgotten::Quarantined);
        true
    }

    /// The gateway closes a connection; the agent learns it after the frames that are on their way.
    pub(super) fn close_gateway(&mut self, number: u64, why: Closed) {
        if let Some(gateway) = &mut self.gateway {
            gateway.handle_closed(number, why);
        }
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.closed = true;
        }
        let wait = super::network::nanos(self.plan.latency) * 3 + self.dice.within(0..100_000_000);
        self.after(wait, Event::Told { connection: number, way: Way::Down });
    }
}

/// Whether the agents learn that the gateway is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Soon,
    Never,
}
