//! No batch is handed to a link before the disk has it: rows go in at the recorder, frames are taken where a link would
//! take them, and the power fails at every step between.

use bytes::Bytes;
use muster_protocol::{
    frame::Frame,
    label::Labels,
    message::{Message, Numbered},
};

use super::*;
use crate::{
    backoff::Backoff,
    delivery::{Action, Delivery, Loaded, Who},
    spool::StoredKind,
};

const STEPS: u64 = 30;
const STEP: Duration = Duration::from_millis(60);

/// A recorder, the decisions about delivery, and a capture in the place of the link.
struct Robot {
    bench: Bench,
    delivery: Delivery,
    told: usize,
    /// Every batch that was handed out, and how much the disk had done before.
    sent: Vec<(Numbered, usize)>,
}

impl Robot {
    fn new() -> Self {
        let bench = Bench::new();
        let who = Who {
            robot: "a/b".parse().unwrap(),
            instance: InstanceId([1; 16]),
            version: "1",
            labels: Labels::default(),
        };
        let backoff = Backoff::new(millis(100), millis(100), 1);
        let sender = Sender::new(SenderConfig::DEFAULT);
        let mut delivery = Delivery::new(who, sender, backoff, 1, Duration::from_secs(15));
        delivery.handle_timeout(reading(), bench.now);
        assert_eq!(delivery.poll_action(bench.now), Some(Action::Connect(0)));
        delivery.handle_connected(None, reading(), bench.now);
        let welcome = Welcome {
            instance: InstanceId([1; 16]),
            log: LogId([2; 16]),
            session: 1,
            window: Window { bytes: 1 << 20, batches: 1000 },
            have: Vec::new(),
            schemas: Vec::new(),
            now: WallTime(0),
        };
        delivery.handle_frame(&Message::Welcome(welcome).to_frame(), bench.now).unwrap();
        Self { bench, delivery, told: 0, sent: Vec::new() }
    }

    /// Records a row of a lane that changes with each step, and does what the driver would.
    fn step(&mut self, source: &Source, number: u64) {
        push(source, Some(Lane::ALL[usize::try_from(number % 3).unwrap()]));
        self.bench.advance(STEP);
        for (event, _) in &self.bench.events[self.told..] {
            if let RecorderEvent::Spooled(spooled) = event {
                for one in spooled {
                    self.delivery.sender().handle_spooled(one.head(), one.segment().number());
                }
            }
        }
        self.told = self.bench.events.len();
        while let Some(action) = self.delivery.poll_action(self.bench.now) {
            match action {
                Action::Send(_, frame) => self.capture(&frame),
                Action::Load(heads) => {
                    let loaded = heads.into_iter().map(|head| (head, self.load(head))).collect();
                    self.delivery.handle_loaded(loaded, self.bench.now);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn capture(&mut self, frame: &Frame) {
        if let Message::Batch(batch) = Message::from_frame(frame).unwrap() {
            self.sent.push((batch, self.bench.disk.log().len()));
        }
    }

    fn load(&self, head: NumberedHead) -> Option<Loaded> {
        let stored = self.bench.reader.read(head).unwrap()?;
        let schema = match stored.kind {
            StoredKind::Batch { schema } => schema,
            StoredKind::Loss => return Some(Loaded { payload: stored.payload, schema: None }),
        };
        let encoded: Bytes = self.bench.reader.schema(head, schema).unwrap().unwrap();
        Some(Loaded { payload: stored.payload, schema: Some((schema, encoded)) })
    }
}

#[test]
fn whenever_the_power_fails_the_disk_has_each_batch_that_was_handed_out() {
    let mut handed_out = 0;
    for cut_after in 0..STEPS {
        let mut robot = Robot::new();
        let source = robot.bench.intake.source("unix:x", Manner::Live);
        for number in 0..=cut_after {
            robot.step(&source, number);
        }
        let disk = robot.bench.disk.clone();
        disk.power_cut(cut_after);
        let (spool, _) = Spool::open(Arc::new(disk), config(LIMIT_BYTES), 8).unwrap();
        for (batch, _) in &robot.sent {
            let stored = spool.reader().read(batch.head).unwrap();
            let stored = stored.unwrap_or_else(|| panic!("{:?} was sent and is gone", batch.head));
            assert_eq!(stored.payload, batch.payload);
        }
        handed_out += robot.sent.len();
    }
    assert!(handed_out > 100, "{handed_out}");
}

#[test]
fn in_the_disks_log_a_sync_of_the_lane_stands_between_append_and_hand_out() {
    let mut robot = Robot::new();
    let source = robot.bench.intake.source("unix:x", Manner::Live);
    for number in 0..200 {
        robot.step(&source, number);
    }
    let log = robot.bench.disk.log();
    for lane in Lane::ALL {
        let of_lane = robot.sent.iter().filter(|(batch, _)| batch.head.lane == lane);
        let mut appends_sent = 0;
        for (_, done) in of_lane {
            let before = &log[..*done];
            let synced = before
                .iter()
                .rposition(
                    |done| matches!(done, Operation::SyncData(path) if path.starts_with(lane.as_str())),
                )
                .expect("the lane was synced before anything of it was sent");
            let appended = |done: &&Operation| matches!(done, Operation::Append(path, _) if path.starts_with(lane.as_str()));
            let durable = before[..synced].iter().filter(appended).count();
            appends_sent += 1;
            assert!(durable >= appends_sent, "{lane}: {appends_sent} sent, {durable} appended and synced");
        }
        assert!(appends_sent > 0, "{lane}");
    }
}

#[test]
fn what_the_disk_refuses_to_sync_keeps_its_numbers_and_the_disk_gets_no_further_ones() {
    let mut robot = Robot::new();
    let failed = robot.bench.core.epoch();
    let source = robot.bench.intake.source("unix:x", Manner::Live);
    robot.bench.disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
    push(&source, None);
    push(&source, Some(Lane::Urgent));
    robot.step(&source, 1);
    robot.bench.advance(Duration::from_secs(5));
    let first = NumberedHead { epoch: failed, lane: Lane::Urgent, seq: Seq::FIRST };
    let sent: Vec<NumberedHead> = robot.sent.iter().map(|(batch, _)| batch.head).collect();
    assert_eq!(sent, [first], "from memory it is sent");
    push(&source, None);
    push(&source, Some(Lane::Urgent));
    robot.step(&source, 2);
    robot.bench.advance(Duration::from_secs(5));
    robot.step(&source, 3);
    let of_failed = robot.sent.iter().filter(|(batch, _)| batch.head.epoch == failed);
    assert_eq!(of_failed.count(), 1, "{:?}", robot.sent);
    assert!(robot.sent.len() > 3, "what comes later is sent too: {:?}", robot.sent);
}
