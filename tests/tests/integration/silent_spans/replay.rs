//! A log through the agent's intake and batcher, and into the gateway's records, in virtual time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use muster_agent::{
    batcher::{Batcher, Closed, Manner, Stamped},
    config::{Config, PROGRAM},
    inputs::{
        self,
        replay::{Replay, ReplayConfig},
    },
    intake::{Intake, IntakeConfig, Item, LeftOut, Origin, Outlet, Shown, Want},
    recorder::RecorderConfig,
};
use muster_gateway::{
    fleet::{AsOf, Fleet, Known, LiveLink, RobotState},
    record::{Body, Envelope, SessionEvent, Transport},
};
use muster_protocol::{
    batch::{self, DecodedBatch},
    id::{Epoch, InstanceId, Offset, RobotId, Seq},
    message::{Clock, NumberedHead},
    ndjson::{Line, Parser, ParserLimits},
    schema::Schema,
    settings::Settings,
    time::{MonoTime, WallTime},
};

pub(super) const MS: i64 = 1_000_000;
pub(super) const S: i64 = 1000 * MS;

/// The moment at which the replay begins: a day in 2027.
pub(super) const START: i64 = 1_800_000_000_000_000_000;

/// What a batch takes from the robot to the gateway.
pub(super) const WAY: i64 = 30 * MS;

const ROBOT: &str = "match/frc";

/// What the gateway has received of a log.
pub(super) struct Replayed {
    pub(super) robot: RobotId,
    /// In the order of their reception.
    pub(super) records: Vec<Received>,
    /// What the agent left out.
    pub(super) left_out: Option<LeftOut>,
}

/// A record as the gateway holds it.
pub(super) struct Received {
    offset: Offset,
    envelope: Envelope,
    batch: Option<(DecodedBatch, Arc<Schema>)>,
}

impl Received {
    pub(super) fn at(&self) -> i64 {
        self.envelope.received_at.0
    }

    fn batch(&self) -> Option<(&DecodedBatch, &Schema)> {
        self.batch.as_ref().map(|(batch, schema)| (batch, &**schema))
    }

    pub(super) fn apply_to(&self, fleet: &Fleet) {
        assert!(fleet.apply(self.offset, &self.envelope, self.batch()), "each record is applied once");
    }
}

impl Replayed {
    /// Folds what counts for a moment, as the gateway does for an answer about the past.
    pub(super) fn as_of(&self, as_of: AsOf, today: &RobotState) -> RobotState {
        let mut state = RobotState::default();
        let taken = || self.records.iter().filter(|record| as_of.takes(&record.envelope));
        if as_of.known == Known::Now {
            taken().for_each(|record| state.learn_clocks(record.offset, &record.envelope));
        }
        for record in taken() {
            state.apply_as_of(as_of, record.offset, &record.envelope, record.batch());
        }
        state.finish_as_of(as_of, today);
        state
    }

    fn receive(&mut self, at: i64, body: Body, batch: Option<(DecodedBatch, Arc<Schema>)>) {
        let offset = Offset(self.records.len() as u64 + 1);
        let (received_at, robot) = (WallTime(at), self.robot.clone());
        let envelope = Envelope { received_at, robot, session: 1, body };
        self.records.push(Received { offset, envelope, batch });
    }
}

/// Replays a log at its pace from [`START`] on, by an agent with this configuration.
pub(super) fn replay(lines: &[String], configuration: &str) -> Replayed {
    let mut settings = Settings::defaults(&PROGRAM);
    settings.set("robot", "--robot", &[ROBOT.to_owned()]).unwrap();
    settings.read_file(configuration, "agent.toml").unwrap();
    let config = Config::from_settings(&settings).unwrap();
    let declarations = Arc::new(inputs::declarations(&config.channel, Vec::new()));
    let (intake, outlet) =
        Intake::new(&IntakeConfig { declarations: declarations.clone(), ..IntakeConfig::default() });
    let source = intake.source("file", Manner::Wait);
    let batcher = Batcher::new(RecorderConfig::new(&config, declarations).batcher);
    let replayed = Replayed { robot: config.robot, records: Vec::new(), left_out: None };
    let mut robot = Robot { outlet, batcher, seq: Seq(1), replayed };
    robot.begin();
    let (mut parser, mut replay) = (
        Parser::new(ParserLimits::default()),
        Replay::new(ReplayConfig { speed: Some(1.0), shift_now: true }),
    );
    let mut now = MonoTime::default();
    for (line, number) in lines.iter().zip(1..) {
        let Ok(Line::Row(mut row)) = parser.parse_line(line.as_bytes()) else {
            panic!("line {number} is a row")
        };
        now = replay.place(&mut row, now, wall(now)).unwrap_or(now);
        robot.record_due(now);
        let shown = Shown { line: number, text: line.as_bytes() };
        source.push(Stamped::at(row, wall(now), now), shown).unwrap();
        robot.take(now);
    }
    robot.batcher.close_all();
    robot.record_due(now);
    Replayed { left_out: intake.left_out(), ..robot.replayed }
}

/// The robot's clock is right.
fn wall(now: MonoTime) -> WallTime {
    WallTime(START.saturating_add_unsigned(now.0))
}

fn clock(now: MonoTime) -> Clock {
    Clock { boot: 1, mono: now, wall: wall(now), synchronised: true }
}

pub(super) fn live_link(now: i64) -> LiveLink {
    LiveLink {
        last_heard: WallTime(now),
        told_at: WallTime(now),
        held: Vec::new(),
        clock: None,
        transport: Transport::Quic,
        address: ADDRESS.to_owned(),
    }
}

const ADDRESS: &str = "10.0.0.5:4312";

/// The agent's recorder, and a link that brings each batch to the gateway.
struct Robot {
    outlet: Outlet,
    batcher: Batcher<Origin>,
    seq: Seq,
    replayed: Replayed,
}

impl Robot {
    fn begin(&mut self) {
        let up = SessionEvent::Up {
            transport: Transport::Quic,
            address: ADDRESS.to_owned(),
            version: "0.1.0".to_owned(),
            clock: Some(clock(MonoTime::default())),
            instance: Some(InstanceId([1; 16])),
        };
        self.replayed.receive(START, Body::Session(up), None);
    }

    fn take(&mut self, now: MonoTime) {
        let mut items = VecDeque::new();
        self.outlet.take(Want::All, Some(Duration::ZERO), &mut items);
        for item in items {
            let Item::Row(queued) = item else { panic!("nobody asks for a sync") };
            self.batcher.push(queued.row, Manner::Wait, &queued.origin, now).unwrap();
        }
    }

    fn record_due(&mut self, now: MonoTime) {
        while let Some(Closed { lane, encoded, schema, .. }) = self.batcher.poll_batch(now, clock(now)) {
            let decoded = batch::decode(&encoded.bytes, &schema).unwrap();
            let head = NumberedHead { epoch: Epoch { start: 1, random: 1 }, lane, seq: self.seq };
            self.seq = self.seq.next();
            let body = Body::Batch { head, info: encoded.info, payload: Bytes::new() };
            self.replayed.receive(wall(now).0 + WAY, body, Some((decoded, schema)));
        }
    }
}
