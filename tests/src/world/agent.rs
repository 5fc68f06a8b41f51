//! One run of an agent's program on a robot: the recorder's steps, the spool and delivery, driven as its thread and its
//! driver drive them, in virtual time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use muster_agent::{
    backoff::Backoff,
    batcher::{BatcherConfig, Manner, Stamped},
    delivery::{Action, Delivery, Who},
    driver::load,
    intake::{Intake, IntakeConfig, Shown, Source},
    link::Stream,
    recorder::{
        RecorderCommand, RecorderConfig, RecorderEvent,
        steps::{Flow, Reader, Steps},
    },
    spool::{Holding, ReadError, Recovered, Span, Spool, SpoolConfig, SpoolReader, Spooled, disk::Disk},
};
use muster_protocol::{
    frame::Frame,
    id::{InstanceId, RobotId, Seq},
    label::Labels,
    loss::LossReason,
    message::{Clock, NumberedHead},
    session::sender::{Sender, SenderConfig},
    time::MonoTime,
};

/// What the program asks of the world around it.
#[derive(Debug)]
pub(super) enum Effect {
    Connect,
    Send(Stream, Frame),
    Disconnect,
    /// Reads the spool; the answer comes a little later.
    Load(Vec<NumberedHead>),
    /// These were accepted just now.
    Accepted(Vec<Accepted>),
    /// The disk failed, and the program goes on in memory.
    Failed,
    /// The disk works again.
    Mended,
    /// The disk shows these by now.
    Found(Vec<NumberedHead>),
}

/// What the recorder says of a batch when it has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) head: NumberedHead,
    pub(super) samples: u32,
    /// Else it is in memory alone.
    pub(super) durable: bool,
}

/// A running agent.
pub(super) struct Process {
    steps: Steps,
    delivery: Delivery,
    reader: SpoolReader,
    commands: VecDeque<RecorderCommand>,
    live: Source,
    wait: Source,
    intake: Intake,
    pushed_wait: u64,
    /// The disk holds the recorder up until then.
    pub(super) stalled_until: MonoTime,
}

/// How an agent is set up.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) robot: RobotId,
    pub(super) limit_bytes: u64,
    pub(super) segment_bytes: u64,
    pub(super) sync_every: Duration,
    pub(super) linger: Duration,
}

/// Rows of a file that may wait in the queue: a real file blocks there, and a world has no threads that could.
const WAITING_ROWS_MAX: u64 = 16;

impl Process {
    /// Starts the program. `random` is drawn for this start.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        setup: &Setup,
        random: [u64; 4],
    ) -> Result<(Self, Recovered), String> {
        let config = SpoolConfig {
            limit_bytes: setup.limit_bytes,
            segment_bytes: setup.segment_bytes,
            robot: setup.robot.clone(),
        };
        let (spool, recovered) = Spool::open(disk, config, random[0]).map_err(|error| error.to_string())?;
        let (held, reader) = (Holding::of([&spool]), spool.reader());
        let (intake, outlet) = Intake::new(&IntakeConfig::default());
        let batcher = BatcherConfig {
            linger_live: setup.linger,
            linger_bulk: setup.linger * 2,
            ..BatcherConfig::default()
        };
        let steps = Steps::new(
            spool,
            outlet,
            RecorderConfig { sync_every: setup.sync_every, batcher, ..RecorderConfig::default() },
        );
        let mut delivery = delivery(&setup.robot, random);
        delivery.handle_held(held);
        delivery.handle_found(&recovered.spans);
        let (live, wait) = (intake.source("live", Manner::Live), intake.source("wait", Manner::Wait));
        let process = Self {
            steps,
            delivery,
            reader,
            commands: VecDeque::new(),
            live,
            wait,
            intake,
            pushed_wait: 0,
            stalled_until: MonoTime::default(),
        };
        Ok((process, recovered))
    }

    /// Puts a row in. Returns false if it was not taken.
    pub(super) fn push(&mut self, row: Stamped, manner: Manner) -> bool {
        let shown = Shown { line: 0, text: b"" };
        match manner {
            Manner::Live => self.live.push(row, shown).is_ok(),
            Manner::Wait => {
                let counts = self.wait.counts();
                let waiting = self.pushed_wait.saturating_sub(counts.accepted + counts.refused);
                if waiting >= WAITING_ROWS_MAX {
                    return false;
                }
                self.pushed_wait += 1;
                self.wait.push(row, shown).is_ok()
            }
        }
    }

    /// Returns when [`Process::drive`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<MonoTime> {
        let recorder = self.steps.poll_timeout().map(|at| at.max(self.stalled_until));
        let commands = (!self.commands.is_empty()).then_some(self.stalled_until);
        [recorder, commands, self.delivery.poll_timeout()].into_iter().flatten().min()
    }

    /// Does everything that is due.
    pub(super) fn drive(&mut self, now: MonoTime, clock: Clock, effects: &mut Vec<Effect>) {
        for _ in 0..TURNS_MAX {
            let mut idle = true;
            if now >= self.stalled_until {
                idle = self.record(now, clock, effects);
            }
            if self.delivery.poll_timeout().is_some_and(|at| at <= now) {
                self.delivery.handle_timeout(clock, now);
            }
            while let Some(action) = self.delivery.poll_action(now) {
                idle = false;
                self.act(action, effects);
            }
            if idle {
                return;
            }
        }
        panic!("the agent is busy without end");
    }

    /// Ends the program in order: says goodbye, records what is left and closes the spool.
    pub(super) fn finish(mut self, now: MonoTime, clock: Clock, effects: &mut Vec<Effect>) {
        self.drive(now, clock, effects);
        self.delivery.handle_stop(clock);
        while let Some(action) = self.delivery.poll_action(now) {
            if !matches!(action, Action::Load(_)) {
                self.act(action, effects);
            }
        }
        for command in std::mem::take(&mut self.commands) {
            self.steps.handle_command(command, now);
        }
        self.intake.close();
        while self.steps.take(Reader::KeepsUp, Some(Duration::ZERO), || now) == Flow::Open {
            report(&self.steps.handle_timeout(now, &move || clock), effects);
        }
        let last = self.steps.finish(&move || clock);
        report(&last.events, effects);
        effects.push(Effect::Disconnect);
    }

    pub(super) fn handle_connected(&mut self, queue_time: Option<Duration>, clock: Clock, now: MonoTime) {
        self.delivery.handle_connected(queue_time, clock, now);
    }

    pub(super) fn handle_closed(&mut self, now: MonoTime) {
        self.delivery.handle_closed(now);
    }

    pub(super) fn handle_frame(&mut self, frame: &Frame, now: MonoTime) -> Result<(), String> {
        self.delivery.handle_frame(frame, now).map_err(|error| error.to_string())
    }

    /// Reads what delivery asked for, and hands it over.
    pub(super) fn load(&mut self, heads: Vec<NumberedHead>, now: MonoTime) {
        let mut loaded = Vec::with_capacity(heads.len());
        for head in heads {
            match load(&self.reader, head) {
                Ok(found) => loaded.push((head, found)),
                Err(ReadError::Corrupt { .. }) => {
                    self.commands.push_back(RecorderCommand::GiveUp(head, LossReason::Corrupt));
                    self.delivery.sender().handle_damaged(head);
                }
                Err(ReadError::Io { .. }) => {}
            }
        }
        self.delivery.handle_loaded(loaded, now);
    }

    pub(super) fn reader(&self) -> &SpoolReader {
        &self.reader
    }

    pub(super) fn in_flight(&mut self) -> usize {
        self.delivery.sender().in_flight()
    }

    pub(super) fn is_up(&self) -> bool {
        self.delivery.figures().up
    }

    /// Returns whether everything that was accepted is acknowledged.
    pub(super) fn is_drained(&self) -> bool {
        self.delivery.is_drained() && self.commands.is_empty()
    }

    /// Lets the recorder take a turn. Returns whether nothing happened.
    fn record(&mut self, now: MonoTime, clock: Clock, effects: &mut Vec<Effect>) -> bool {
        let commands = std::mem::take(&mut self.commands);
        let had_commands = !commands.is_empty();
        for command in commands {
            self.steps.handle_command(command, now);
        }
        self.steps.take(Reader::KeepsUp, Some(Duration::ZERO), || now);
        let events = self.steps.handle_timeout(now, &move || clock);
        report(&events, effects);
        let idle = events.is_empty() && !had_commands;
        for event in events {
            self.handle_recorder(event);
        }
        idle
    }

    fn handle_recorder(&mut self, event: RecorderEvent) {
        match event {
            RecorderEvent::Spooled(spooled) => {
                for one in spooled {
                    self.delivery.sender().handle_spooled(one.head(), one.segment().number());
                }
            }
            RecorderEvent::Evicted(evicted) => {
                for one in evicted {
                    self.delivery.sender().handle_evicted(one.lane(), one.epoch(), one.range());
                }
            }
            RecorderEvent::Held(held) => self.delivery.handle_held(held),
            RecorderEvent::Found(spans) => self.delivery.handle_found(&spans),
            RecorderEvent::Failed(_) | RecorderEvent::Mended | RecorderEvent::InputsDrained => {}
        }
    }

    fn act(&mut self, action: Action, effects: &mut Vec<Effect>) {
        match action {
            Action::Connect(_) => effects.push(Effect::Connect),
            Action::Send(stream, frame) => effects.push(Effect::Send(stream, frame)),
            Action::Load(heads) => effects.push(Effect::Load(heads)),
            Action::Release(released) => self.commands.push_back(RecorderCommand::Release(released)),
            Action::GiveUp(gave_up) => {
                self.commands.push_back(RecorderCommand::GiveUp(gave_up.head, LossReason::Refused));
            }
            Action::Disconnect => effects.push(Effect::Disconnect),
            // A robot of the world has no limits, and its counts are in memory.
            Action::SaveUplink(_) => {}
        }
    }
}

/// Tells the world what was accepted, and that the disk failed.
fn report(events: &[RecorderEvent], effects: &mut Vec<Effect>) {
    for event in events {
        match event {
            RecorderEvent::Spooled(spooled) => {
                let accepted = |one: &Spooled| Accepted {
                    head: one.head(),
                    samples: one.samples(),
                    durable: one.is_durable(),
                };
                effects.push(Effect::Accepted(spooled.iter().map(accepted).collect()));
            }
            RecorderEvent::Failed(_) => effects.push(Effect::Failed),
            RecorderEvent::Mended => effects.push(Effect::Mended),
            RecorderEvent::Found(spans) => {
                effects.push(Effect::Found(spans.iter().flat_map(heads_of).collect()));
            }
            _ => {}
        }
    }
}

/// Returns every seq of a span.
pub(super) fn heads_of(span: &Span) -> Vec<NumberedHead> {
    let head = |seq| NumberedHead { epoch: span.epoch, lane: span.lane, seq: Seq(seq) };
    (span.first.0..span.next.0).map(head).collect()
}

fn delivery(robot: &RobotId, random: [u64; 4]) -> Delivery {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random[1].to_le_bytes());
    id[8..].copy_from_slice(&random[2].to_le_bytes());
    let who =
        Who { robot: robot.clone(), instance: InstanceId(id), version: "world", labels: Labels::default() };
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), random[3]);
    Delivery::new(who, Sender::new(SenderConfig::DEFAULT), backoff, 1, HEARTBEAT_EVERY)
}

const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Turns of one drive, far beyond what any takes.
const TURNS_MAX: u32 = 10_000;
