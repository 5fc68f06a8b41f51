//! Tests of ingest over a fake log, which commits when the test says so.

use std::{future::Future, pin::pin, task::Context, task::Poll, task::Waker};

use muster_protocol::{
    batch::BatchBuilder,
    frame::Frame,
    id::{ChannelName, Epoch, Lane, Offset, Seq},
    loss::{LossReason, LostSeq},
    message::{
        ByeReason, Clock as ClockReading, HeldLane, Hello, Message, Numbered, RefuseReason, SchemaBody,
        Welcome,
    },
    sample::{StampedBy, Value},
    schema::{ChannelDef, SchemaBuilder},
    time::{MonoTime, WallTime},
};

use super::*;
use crate::{
    committer::{CommitError, RejectReason},
    link::port::{self, Closed, Outgoing, Outlet, Transport, Unhandled},
    metrics::Gauges,
    record::SessionEvent,
    store::Committed,
};

mod agents;
mod json;

const EPOCH: Epoch = Epoch { start: 1, random: 5 };

/// Keeps entries until the test commits or fails them.
#[derive(Default)]
struct FakeLog {
    entries: Mutex<Vec<Entry>>,
    full: Mutex<Option<RejectReason>>,
    next: AtomicU64,
}

impl Log for FakeLog {
    fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        if let Some(why) = *self.full.lock().unwrap() {
            return Err(Rejected { entry: Box::new(entry), why });
        }
        self.entries.lock().unwrap().push(entry);
        Ok(())
    }

    fn schema(&self, _: &RobotId, _: SchemaHash) -> Option<Arc<Schema>> {
        None
    }
}

impl FakeLog {
    /// Syncs everything that waits, and answers. Returns what was committed.
    fn commit(&self) -> Vec<Envelope> {
        let entries = std::mem::take(&mut *self.entries.lock().unwrap());
        let commit = |entry: Entry| {
            let offset = Offset(self.next.fetch_add(1, Ordering::Relaxed) + 1);
            (entry.done)(Ok(Committed::for_test(offset)));
            entry.envelope
        };
        entries.into_iter().map(commit).collect()
    }

    fn fail(&self, error: CommitError) {
        for entry in std::mem::take(&mut *self.entries.lock().unwrap()) {
            (entry.done)(Err(error));
        }
    }

    fn waiting(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    fn refuse(&self, why: Option<RejectReason>) {
        *self.full.lock().unwrap() = why;
    }
}

/// A gateway without links and without a disk.
struct Bench {
    log: Arc<FakeLog>,
    ingest: Ingest,
    metrics: Arc<Metrics>,
}

impl Bench {
    fn new() -> Self {
        Self::with_silence(Duration::from_secs(45))
    }

    fn with_silence(silence: Duration) -> Self {
        let log = Arc::new(FakeLog::default());
        let metrics = Arc::new(Metrics::new());
        let config = IngestConfig {
            window: Window { bytes: 1 << 20, batches: 100 },
            silence,
            instance: Instance { id: InstanceId([8; 16]), start: 4 },
            log: LogId([9; 16]),
        };
        let ingest = Ingest::new(config, Clock::new(), log.clone(), metrics.clone());
        Self { log, ingest, metrics }
    }

    /// Opens a connection and says Hello.
    fn connect(&self, instance: u8) -> Agent {
        let mut agent = self.open(None);
        assert_eq!(agent.send(&hello(instance)), Some(Ok(())));
        agent
    }

    fn open(&self, robot: Option<RobotId>) -> Agent {
        let (outbox, outlet) = port::outbox();
        let peer = Peer { transport: Transport::Quic, address: "127.0.0.1:9".parse().unwrap(), robot };
        Agent { session: self.ingest.open(peer, outbox), outlet }
    }

    /// Commits what waits, and sends the acks that follow.
    fn commit(&self) -> Vec<Envelope> {
        let committed = self.log.commit();
        self.ingest.0.acks.send_all();
        committed
    }

    fn metric(&self, line: &str) -> bool {
        self.metrics.encode(&Gauges::default()).lines().any(|found| found == line)
    }
}

/// The gateway's end of a connection, and what comes out of it.
struct Agent {
    session: Box<dyn AgentSession>,
    outlet: Outlet,
}

impl Agent {
    /// Hands in a message. Returns how its ticket stands at once, `None` while it waits.
    fn send(&mut self, message: &Message) -> Option<Result<(), Unhandled>> {
        let ticket = self.give(message);
        now_or_never(ticket)
    }

    fn give(&mut self, message: &Message) -> Ticket {
        self.session.handle_frame(message.to_frame())
    }

    /// Returns what the gateway has sent since the last call.
    fn received(&mut self) -> Vec<Message> {
        let frame = |outgoing| match outgoing {
            Outgoing::Frame(frame) => Message::from_frame(&frame).unwrap(),
            Outgoing::Close(bye) => Message::Bye(bye),
            Outgoing::Overrun => panic!("nobody reads"),
        };
        std::iter::from_fn(|| self.outlet.poll_next()).map(frame).collect()
    }

    fn welcome(&mut self) -> Welcome {
        match &self.received()[..] {
            [Message::Welcome(welcome)] => welcome.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the seqs that an ack named.
    fn acked(&mut self) -> Vec<(u64, u64)> {
        let ranges = |message| match message {
            Message::Ack(ack) => ack.lanes.into_iter().flat_map(|lane| lane.ranges).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        self.received().into_iter().flat_map(ranges).map(|range| (range.first.0, range.end.0)).collect()
    }
}

fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn robot() -> RobotId {
    "yard/r1".parse().unwrap()
}

fn clock() -> ClockReading {
    ClockReading { boot: 1, mono: MonoTime(1), wall: WallTime(1), synchronised: true }
}

fn hello(instance: u8) -> Message {
    let held = HeldLane { epoch: EPOCH, lane: Lane::Live, first: Seq(1), next: Seq(1), samples: 0 };
    let (robot, instance) = (robot(), InstanceId([instance; 16]));
    Message::Hello(Hello { robot, instance, version: "1".to_owned(), held: vec![held], clock: clock() })
}

fn head(seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
}

/// A schema of one channel, and a batch of one sample of it.
fn sample() -> (Arc<Schema>, Bytes) {
    let mut channels = SchemaBuilder::new();
    let index = channels.try_add(ChannelDef::named(ChannelName::new("battery").unwrap())).unwrap();
    let schema = channels.schema();
    let mut batch = BatchBuilder::new();
    batch.push_row(WallTime(7), StampedBy::Input, &[(index, Value::Float(0.5))]).unwrap();
    let encoded = batch.finish(&schema, clock());
    (schema, encoded[0].bytes.clone())
}

fn schema() -> Message {
    Message::Schema(SchemaBody { payload: sample().0.encoded().clone() })
}

fn batch(seq: u64) -> Message {
    Message::Batch(Numbered { head: head(seq), payload: sample().1 })
}
