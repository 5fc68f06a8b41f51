//! One step of a world after the other: what happens, and what both programs do about it.

use std::time::Duration;

use muster_agent::link::Stream;
use muster_gateway::{
    link::port::{Closed, Outgoing, Transport},
    record::RECORD_BYTES_MAX,
};
use muster_protocol::{
    frame::{Frame, Kind},
    id::Offset,
    message::Message,
};

use super::{
    ANSWERS, Connection, Event, Fault, Running, Trace, Way, World,
    agent::Effect,
    as_of::{PROBES_MAX, Probe},
    network::{Times, nanos},
    plan::Wire,
};

impl World {
    /// Lets everything happen up to a time.
    pub(super) fn go_on_until(&mut self, end: u64) {
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timeout = self.next_timeout();
            let next = event.into_iter().chain(timeout.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.set_clock();
            if event == Some(next) {
                let (_, event) = self.events.pop_first().expect("it was just seen");
                self.handle(event);
            } else if let Some((_, machine)) = timeout {
                self.drive(machine);
            }
            self.serve();
        }
        self.now = end;
    }

    fn next_timeout(&self) -> Option<(u64, usize)> {
        let due = |(number, machine): (usize, &super::Machine)| {
            let at = machine.process.as_ref()?.poll_timeout()?;
            Some((machine.world_time(at), number))
        };
        self.machines.iter().enumerate().filter_map(due).min()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Row(machine) => self.record(machine),
            Event::Chaos => self.chaos(),
            Event::Connected { connection } => self.connected(connection),
            Event::NotConnected { machine, life } => {
                if self.machines[machine].life == life {
                    self.close_agent(machine);
                }
            }
            Event::Arrives { connection, way: Way::Up, frame } => self.arrives_up(connection, frame),
            Event::Arrives { connection, way: Way::Down, frame } => self.arrives_down(connection, &frame),
            Event::Told { connection, way } => self.told(connection, way),
            Event::Loaded { machine, life, heads } => {
                let now = self.machines[machine].mono(self.now);
                let there = &mut self.machines[machine];
                if let Some(process) = there.process.as_mut().filter(|_| there.life == life) {
                    process.load(heads, now);
                    self.drive(machine);
                }
            }
            Event::Start(machine) => self.start(machine),
            Event::Synced { life, began } => self.synced(life, began),
            Event::Saved { life, checkpoint } => {
                if self.gateway_life == life && self.gateway.is_some() {
                    self.disk.keep(checkpoint);
                }
            }
            Event::StartGateway => self.start_gateway(),
            Event::Housekeeping { life } => self.housekeeping(life),
            Event::Mend(mend) => self.mend(&mend),
        }
    }

    fn record(&mut self, machine: usize) {
        if self.peace {
            return;
        }
        if self.machines[machine].process.is_some() {
            let samples = self.machines[machine].produce(self.now, self.samples_made, self.plan.blob_bytes);
            self.samples_made += samples;
            self.checker.produced(samples);
            self.drive(machine);
        }
        let mean = nanos(self.plan.row_every);
        let wait = if self.dice.chance(300) { 0 } else { self.dice.within(1..2 * mean) };
        self.after(wait, Event::Row(machine));
    }

    pub(super) fn start(&mut self, machine: usize) {
        if self.machines[machine].process.is_some() {
            return;
        }
        match self.machines[machine].start(&mut self.checker) {
            Ok(()) => {
                self.say(|world| {
                    let there = &world.machines[machine];
                    format!("robot {machine} starts, life {}, {} known", there.life, there.known.len())
                });
                self.drive(machine);
            }
            Err(why) => {
                self.say(|_| format!("robot {machine} does not start: {why}"));
                self.checker.disk_refuses(&self.machines[machine].setup.robot);
                self.after(1_000_000_000, Event::Start(machine));
            }
        }
    }

    /// Lets a machine's program do what is due, and carries out what it asks for.
    pub(super) fn drive(&mut self, machine: usize) {
        let mut effects = Vec::new();
        let there = &mut self.machines[machine];
        let (now, clock) = (there.mono(self.now), there.clocks(self.now));
        let Some(process) = &mut there.process else { return };
        process.drive(now, clock, &mut effects);
        let in_flight = process.in_flight();
        let bound = self.plan.window_batches as usize + URGENT_BATCHES_MAX;
        if in_flight > bound {
            self.checker.wrong.push(format!("{in_flight} batches in flight, {bound} were granted"));
        }
        self.carry_out(machine, effects);
    }

    pub(super) fn carry_out(&mut self, machine: usize, effects: Vec<Effect>) {
        // What was accepted in the very turn in which the disk failed may be in memory already.
        self.machines[machine].in_memory |= effects.iter().any(|effect| matches!(effect, Effect::Failed));
        for effect in effects {
            match effect {
                Effect::Connect => self.connect(machine),
                Effect::Send(stream, frame) => self.send_up(machine, stream, frame),
                Effect::Disconnect => self.disconnect(machine),
                Effect::Load(heads) => {
                    let took = self.dice.within(0..20_000_000);
                    let life = self.machines[machine].life;
                    self.after(took, Event::Loaded { machine, life, heads });
                }
                Effect::Accepted(batches) => {
                    self.say(|_| format!("robot {machine} accepted {batches:?}"));
                    for batch in batches {
                        self.machines[machine].accept_told(batch, &mut self.checker);
                    }
                }
                Effect::Failed => self.disk_failed(machine),
                Effect::Mended => {
                    self.say(|_| format!("robot {machine}: the disk works again"));
                    self.machines[machine].in_memory = false;
                }
                Effect::Found(heads) => {
                    for head in heads {
                        self.machines[machine].accept(head, None, &mut self.checker);
                    }
                }
            }
        }
    }

    fn connect(&mut self, machine: usize) {
        let there = &self.machines[machine];
        let (life, blocked) = (there.life, there.blocked.up.max(there.blocked.down));
        let latency = self.latency();
        if self.gateway.is_none() || blocked > self.now + CONNECT_NS_MAX {
            self.after(latency.min(CONNECT_NS_MAX), Event::NotConnected { machine, life });
            return;
        }
        self.connections_made += 1;
        let connection = self.connections_made;
        self.connections.insert(connection, Connection::new(machine, life, self.gateway_life));
        self.machines[machine].connection = Some(connection);
        self.at(blocked.max(self.now) + 2 * latency, Event::Connected { connection });
    }

    fn connected(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        let (machine, life) = (connection.machine, connection.life);
        if self.machines[machine].life != life || self.machines[machine].connection != Some(number) {
            return;
        }
        if connection.broken || self.gateway.is_none() || self.gateway_life != connection.gateway_life {
            return self.close_agent(machine);
        }
        let queue_time = (self.plan.wire != Wire::Broker).then(|| Duration::from_millis(250));
        let there = &mut self.machines[machine];
        let (now, clock) = (there.mono(self.now), there.clocks(self.now));
        if let Some(process) = &mut there.process {
            process.handle_connected(queue_time, clock, now);
            self.drive(machine);
        }
    }

    /// The agent's program learns that its connection is gone, or never was.
    pub(super) fn close_agent(&mut self, machine: usize) {
        let now = self.machines[machine].mono(self.now);
        self.machines[machine].connection = None;
        if let Some(process) = &mut self.machines[machine].process {
            process.handle_closed(now);
            self.drive(machine);
        }
    }

    /// The agent's program closes its connection.
    fn disconnect(&mut self, machine: usize) {
        let Some(connection) = self.machines[machine].connection.take() else { return };
        let wait = nanos(self.plan.latency) + self.dice.within(0..100_000_000);
        self.after(wait, Event::Told { connection, way: Way::Up });
    }

    fn send_up(&mut self, machine: usize, stream: Stream, frame: Frame) {
        let Some(number) = self.machines[machine].connection else { return };
        let blocked = self.machines[machine].blocked.until(Way::Up);
        if stream != Stream::Control && self.dice.chance(self.plan.link_queue_full) {
            return self.injected.count(Fault::LinkQueueFull);
        }
        self.send(number, Way::Up, stream, (frame, blocked));
    }

    fn send(&mut self, number: u64, way: Way, stream: Stream, (frame, blocked): (Frame, u64)) {
        let copies = self.copies(&frame);
        for copy in 0..copies {
            let late = if copy > 0 || self.is_late() { self.dice.within(0..20_000_000_000) } else { 0 };
            let times = Times { now: self.now + late, latency: self.latency(), blocked };
            let Some(connection) = self.connections.get_mut(&number).filter(|held| !held.broken) else {
                return;
            };
            let mut times = times;
            if let Some(bytes_per_s) = self.plan.uplink_bytes.filter(|_| way == Way::Up) {
                times.now = connection.leave(times.now, frame.encode().len() as u64, bytes_per_s);
            }
            let at = connection.arrival(self.plan.wire, way, stream, times);
            self.at(at, Event::Arrives { connection: number, way, frame: frame.clone() });
        }
    }

    /// Returns how many copies of a frame arrive. A broker keeps the first words of a session: they cross before any
    /// subscription can be lost.
    fn copies(&mut self, frame: &Frame) -> u64 {
        let [lost, doubled, _] = self.plan.broker;
        let first = matches!(frame.kind, Kind::Hello | Kind::Welcome | Kind::Bye);
        if self.peace || first {
            1
        } else if self.dice.chance(lost) {
            self.injected.count(Fault::FrameLost);
            0
        } else if self.dice.chance(doubled) {
            self.injected.count(Fault::FrameDoubled);
            2
        } else {
            1
        }
    }

    fn is_late(&mut self) -> bool {
        let late = !self.peace && self.plan.broker[2] > 0 && self.dice.chance(self.plan.broker[2]);
        if late {
            self.injected.count(Fault::FrameOvertaken);
        }
        late
    }

    fn arrives_up(&mut self, number: u64, frame: Frame) {
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.broken || connection.closed || connection.gateway_life != self.gateway_life {
            return;
        }
        let transport = if self.plan.wire == Wire::Streams { Transport::Quic } else { Transport::Mqtt };
        self.say(|_| format!("connection {number} > {}", told(&frame)));
        if let Some(gateway) = &mut self.gateway {
            gateway.handle_frame(number, frame, transport);
        }
    }

    fn arrives_down(&mut self, number: u64, frame: &Frame) {
        let Some(connection) = self.connections.get(&number).filter(|held| !held.broken) else { return };
        let (machine, life) = (connection.machine, connection.life);
        let there = &mut self.machines[machine];
        if there.life != life || there.connection != Some(number) {
            return;
        }
        let now = there.mono(self.now);
        let Some(process) = &mut there.process else { return };
        if self.trace == Trace::Aloud {
            eprintln!("{:>12} connection {number} < {}", "", told(frame));
        }
        if let Err(error) = process.handle_frame(frame, now) {
            self.checker.wrong.push(format!("the gateway broke the protocol: {error}"));
        }
        self.drive(machine);
    }

    /// One end learns that a connection is over: `Up` tells the gateway, `Down` the agent.
    fn told(&mut self, number: u64, way: Way) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.broken = true;
        let (machine, life, gateway_life) = (connection.machine, connection.life, connection.gateway_life);
        if way == Way::Up {
            if let Some(gateway) = self.gateway.as_mut().filter(|_| self.gateway_life == gateway_life) {
                gateway.handle_closed(number, Closed::Lost);
            }
        } else if self.machines[machine].life == life && self.machines[machine].connection == Some(number) {
            self.close_agent(machine);
        }
    }

    /// Sends what the gateway has to say, and lets its committer begin.
    fn serve(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        let outgoing = gateway.poll_outgoing();
        let (queued, most) = gateway.log.queued_bytes();
        if queued > most + RECORD_BYTES_MAX {
            self.checker.wrong.push(format!("{queued} bytes wait for the committer, {most} may"));
        }
        let (life, began) = (self.gateway_life, self.now);
        if gateway.log.begin() {
            let took = self.dice.within(0..nanos(self.plan.commit) + 1) + self.stalls();
            self.after(took, Event::Synced { life, began });
        }
        for (connection, outgoing) in outgoing {
            match outgoing {
                Outgoing::Frame(frame) => self.send_down(connection, frame),
                Outgoing::Close(bye) => {
                    self.send_down(connection, Message::Bye(bye).to_frame());
                    self.close_gateway(connection, Closed::BySession);
                }
                Outgoing::Overrun => self.close_gateway(connection, Closed::SlowReader),
            }
        }
    }

    fn send_down(&mut self, number: u64, frame: Frame) {
        let Some(connection) = self.connections.get(&number) else { return };
        let there = &self.machines[connection.machine];
        let (robot, blocked) = (there.setup.robot.clone(), there.blocked.until(Way::Down));
        match Message::from_frame(&frame) {
            Ok(Message::Ack(ack)) => self.checker.acknowledged(&robot, &ack.lanes),
            Ok(Message::Welcome(welcome)) => self.checker.acknowledged(&robot, &welcome.have),
            Ok(_) => {}
            Err(error) => self.checker.wrong.push(format!("the gateway sends what does not decode: {error}")),
        }
        self.send(number, Way::Down, ANSWERS, (frame, blocked));
    }

    fn synced(&mut self, life: u64, began: u64) {
        let Some(gateway) = self.gateway.as_mut().filter(|_| self.gateway_life == life) else { return };
        if self.store_full {
            return gateway.log.end_full();
        }
        let from = self.disk.log.next();
        let took = Duration::from_nanos(self.now - began);
        // The checker looks at what is durable before anybody may be told.
        let checkpoints = gateway.handle_synced(took, || {
            for (_, envelope) in self.disk.log.records(from).into_iter().flatten() {
                self.checker.durable(&envelope);
            }
        });
        self.probe();
        for checkpoint in checkpoints {
            let wait = self.dice.within(0..2_000_000_000);
            self.after(wait, Event::Saved { life, checkpoint });
        }
    }

    /// Looks now and then at what is served, at moments that no dice decide: the world goes on as without it.
    fn probe(&mut self) {
        let Some(gateway) = self.gateway.as_ref().filter(|gateway| gateway.log.is_idle()) else { return };
        let next = gateway.fleet.next();
        let due = self.probes.last().map_or(0, |probe| probe.next().0) + PROBE_RECORDS;
        if next.0 >= due && self.probes.len() < PROBES_MAX {
            let at = self.gateway_clock().wall();
            self.probes.push(Probe::take(&gateway.fleet, self.disk.log_id, at));
        }
    }

    fn start_gateway(&mut self) {
        if self.gateway.is_some() {
            return;
        }
        self.gateway_life += 1;
        let (setup, clock) = (self.gateway_setup(), self.gateway_clock());
        self.gateway = Some(Running::start(&mut self.disk, setup, clock, &mut self.dice));
        let life = self.gateway_life;
        self.say(|world| format!("the gateway starts, life {life}, log up to {}", world.disk.log.next()));
        self.after(HOUSEKEEPING_NS, Event::Housekeeping { life });
    }

    fn housekeeping(&mut self, life: u64) {
        let Some(gateway) = self.gateway.as_ref().filter(|_| self.gateway_life == life) else { return };
        gateway.ingest.end_silent_sessions();
        self.after(HOUSEKEEPING_NS, Event::Housekeeping { life });
    }

    fn latency(&mut self) -> u64 {
        let most = nanos(self.plan.latency);
        self.dice.within(most / 4..most + 1)
    }

    /// Returns the durable log, for a wipe or a restore.
    pub(super) fn durable_records(&self) -> Vec<muster_gateway::record::Envelope> {
        self.disk.log.records(Offset::FIRST).into_iter().flatten().map(|(_, envelope)| envelope).collect()
    }
}

/// Returns a frame in words, for a story.
fn told(frame: &Frame) -> String {
    match Message::from_frame(frame) {
        Ok(Message::Batch(batch)) => format!("Batch {:?}", batch.head),
        Ok(Message::Loss(loss)) => format!("Loss {:?} {:?}", loss.head, loss.loss()),
        Ok(Message::Schema(_)) => "Schema".to_owned(),
        other => format!("{other:?}"),
    }
}

const CONNECT_NS_MAX: u64 = 10_000_000_000;
const HOUSEKEEPING_NS: u64 = 1_000_000_000;

/// The urgent lane has a window of its own.
const URGENT_BATCHES_MAX: usize = 16;

/// Records between two looks at what is served.
const PROBE_RECORDS: u64 = 40;
