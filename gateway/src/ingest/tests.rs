//! Tests of ingest over a fake log, which keeps what is submitted until the test commits it or lets it fail.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, Waker},
};

use muster_protocol::{
    batch::BatchBuilder,
    id::{ChannelName, Epoch, Lane, Seq},
    label::Labels,
    loss::{Absence, AbsenceReason, Loss},
    message::{
        Ack, Bye, ByeReason, Clock as ClockReading, Heartbeat, HeldLane, Hello, LaneRanges, Message,
        Numbered, NumberedHead, SchemaBody, SeqRange, Welcome,
    },
    sample::{StampedBy, Value},
    schema::ChannelDef,
    time::{MonoTime, WallTime},
};

use super::*;
use crate::{
    committer::{CommitError, RejectReason},
    link::port::{Outgoing, Outlet, Transport, Unhandled, outbox},
    metrics::Gauges,
    record::SessionEvent,
    store::{Committed, Encoded, Store, StoreConfig},
};

mod conflicts;
mod delivery;
mod json;
mod labels;
mod restart;
mod sessions;

const ROBOTS_MAX: usize = 1000;
const EPOCH: Epoch = Epoch { start: 3, random: 7 };

#[derive(Default)]
struct FakeLog {
    queue: Mutex<VecDeque<Entry>>,
    refuses: Mutex<Option<RejectReason>>,
    schemas: Mutex<HashMap<(RobotId, SchemaHash), Arc<Schema>>>,
}

struct World {
    ingest: Ingest,
    log: Arc<FakeLog>,
    metrics: Arc<Metrics>,
}

/// The robot's end of a session.
struct Agent {
    session: Box<dyn AgentSession>,
    outlet: Outlet,
}

impl Log for FakeLog {
    fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        if let Some(why) = *self.refuses.lock().unwrap() {
            return Err(Rejected { entry: Box::new(entry), why });
        }
        self.queue.lock().unwrap().push_back(entry);
        Ok(())
    }

    fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.schemas.lock().unwrap().get(&(robot.clone(), hash)).cloned()
    }
}

impl FakeLog {
    /// Takes the batches and losses that wait. Session events are committed, and not returned.
    fn take_records(&self) -> Vec<Entry> {
        let waiting = std::mem::take(&mut *self.queue.lock().unwrap());
        let is_event = |entry: &Entry| matches!(entry.envelope.body, Body::Session(_));
        let (events, records): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_event);
        for event in events {
            self.commit(event);
        }
        records
    }

    /// Takes the session events that wait, and lets everything else wait on.
    fn take_events(&self) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        self.queue.lock().unwrap().retain(|entry| match &entry.envelope.body {
            Body::Session(event) => {
                events.push(event.clone());
                false
            }
            _ => true,
        });
        events
    }

    fn take_record(&self) -> Entry {
        let mut records = self.take_records();
        assert_eq!(records.len(), 1);
        records.remove(0)
    }

    fn commit(&self, entry: Entry) {
        if let Some((hash, encoded)) = entry.schema {
            let schema = Arc::new(Schema::decode(&encoded).unwrap());
            self.schemas.lock().unwrap().insert((entry.envelope.robot, hash), schema);
        }
        (entry.done)(Ok(committed()));
    }

    fn commit_all(&self) -> usize {
        let records = self.take_records();
        let count = records.len();
        for record in records {
            self.commit(record);
        }
        count
    }

    fn refuse(&self, why: Option<RejectReason>) {
        *self.refuses.lock().unwrap() = why;
    }
}

impl World {
    fn new() -> Self {
        Self::with_silence(Duration::from_secs(3600))
    }

    fn with_silence(silence: Duration) -> Self {
        Self::over(Arc::default(), silence)
    }

    fn over(log: Arc<FakeLog>, silence: Duration) -> Self {
        let window = Window { bytes: 1 << 20, batches: 64 };
        let instance = Instance { id: InstanceId([9; 16]), start: 2 };
        let config = IngestConfig {
            window,
            silence,
            instance,
            log: LogId([8; 16]),
            forgot: AbsenceReason::Restored,
            robots_max: ROBOTS_MAX,
            lately: Duration::from_secs(300),
        };
        let metrics = Arc::new(Metrics::new());
        let to_log: Arc<dyn Log> = Arc::<FakeLog>::clone(&log);
        let ingest = Ingest::new(config, Clock::new(), to_log, Arc::clone(&metrics));
        Self { ingest, log, metrics }
    }

    fn connect(&self, bound: Option<RobotId>) -> Agent {
        let (outbox, outlet) = outbox();
        let peer = Peer { transport: Transport::Quic, address: ([127, 0, 0, 1], 1).into(), robot: bound };
        Agent { session: self.ingest.open(peer, outbox), outlet }
    }

    /// Connects an agent and lets it say Hello.
    fn agent(&self, instance: u8) -> Agent {
        let mut agent = self.connect(None);
        let _ = agent.welcome(instance);
        agent
    }

    /// Connects an agent whose schema the gateway knows.
    fn ready_agent(&self) -> Agent {
        let mut agent = self.agent(1);
        agent.say(&schema_message());
        agent
    }

    fn send_acks(&self) {
        self.ingest.0.acks.send_all();
    }

    /// Whether the metrics say this line.
    fn counts(&self, line: &str) -> bool {
        self.metrics.encode(&Gauges::default()).lines().any(|found| found == line)
    }
}

impl Agent {
    fn welcome(&mut self, instance: u8) -> Welcome {
        assert_eq!(poll(&mut self.say(&hello(instance))), Some(Ok(())));
        match self.heard().as_slice() {
            [Message::Welcome(welcome)] => welcome.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, message: &Message) -> Ticket {
        self.session.handle_frame(message.to_frame())
    }

    /// Returns what the gateway has said since; a Bye that closes the link is the last of it.
    fn heard(&mut self) -> Vec<Message> {
        let message = |outgoing| match outgoing {
            Outgoing::Frame(frame) => Message::from_frame(&frame).unwrap(),
            Outgoing::Close(bye) => Message::Bye(bye),
            Outgoing::Overrun => panic!("the link is overrun"),
        };
        std::iter::from_fn(|| self.outlet.poll_next()).map(message).collect()
    }
}

/// Returns a promise that a real store gave: nothing else can make one.
fn committed() -> Committed {
    static PROMISE: OnceLock<Committed> = OnceLock::new();
    *PROMISE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { ballast_bytes: 1024, ..StoreConfig::default() };
        let mut store = Store::open(folder.path(), config, LogId([1; 16])).unwrap().store;
        let body = Body::Session(SessionEvent::Down { why: DownReason::Closed });
        let envelope = Envelope { received_at: WallTime(1), robot: robot(), session: 1, body };
        store.append(&[Encoded::new(&envelope, None)]).unwrap()[0]
    })
}

/// Returns how a ticket resolved, if it has.
fn poll(ticket: &mut Ticket) -> Option<Result<(), Unhandled>> {
    match Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn robot() -> RobotId {
    "yard/r1".parse().unwrap()
}

fn clock_reading() -> ClockReading {
    ClockReading { boot: 1, mono: MonoTime(5), wall: WallTime(1_000), synchronised: true }
}

fn hello(instance: u8) -> Message {
    hello_with(instance, Labels::default())
}

fn hello_with(instance: u8, labels: Labels) -> Message {
    let held = vec![HeldLane {
        epoch: EPOCH,
        lane: Lane::Live,
        first: Seq(1),
        next: Seq(9),
        samples: 4,
        spooled: 8,
        gone: Vec::new(),
    }];
    let instance = InstanceId([instance; 16]);
    Message::Hello(Hello {
        robot: robot(),
        instance,
        version: "1".to_owned(),
        held,
        drained: Vec::new(),
        clock: clock_reading(),
        labels,
    })
}

fn schema() -> Schema {
    Schema::new(vec![ChannelDef::named(ChannelName::new("battery.soc").unwrap())]).unwrap()
}

fn schema_message() -> Message {
    Message::Schema(SchemaBody { payload: schema().encoded().clone() })
}

fn head(seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
}

fn batch_at(head: NumberedHead) -> Message {
    let mut builder = BatchBuilder::new();
    builder.push_row(WallTime(1_000), StampedBy::Input, &[(0, Value::Float(0.5))]).unwrap();
    let payload = builder.finish(&schema(), clock_reading()).remove(0).bytes;
    Message::Batch(Numbered { head, payload })
}

fn batch(seq: u64) -> Message {
    batch_at(head(seq))
}

/// The ack of the seqs from `first` up to but not including `end`.
fn ack(first: u64, end: u64) -> Message {
    let ranges = vec![SeqRange { first: Seq(first), end: Seq(end) }];
    Message::Ack(Ack { lanes: vec![LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges }] })
}

fn bye(reason: ByeReason, retry_after_ms: u32) -> Message {
    Message::Bye(Bye { reason, retry_after_ms })
}
