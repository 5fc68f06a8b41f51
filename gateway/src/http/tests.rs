//! The API over real connections, on a log and sessions made for the test.

use std::{
    collections::{BTreeMap, HashMap},
    net::{SocketAddr, TcpListener},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use muster_protocol::{
    batch::{self, BatchBuilder},
    id::{Epoch, InstanceId, Lane, LogId, Offset, RobotId, SchemaHash, Seq},
    loss::{Absence, AbsenceReason, Loss, LossReason, LostSeq},
    message::{Clock as Clocks, HeldLane, NumberedHead, SeqRange},
    sample::{StampedBy, Value as Sample},
    schema::{ChannelDef, Schema},
    time::{MonoTime, WallTime},
};

use serde_json::Value;

use super::*;
use crate::{
    conditions::{
        Moment,
        facts::{GatewayFacts, Refused},
    },
    fleet::LiveLink,
    metrics::Gauges,
    record::{Body, Envelope, SessionEvent, Transport},
    store::ReadError,
    watch::{Sources, Watch},
};

mod answers;
mod conditions;
mod connections;
pub(super) mod described;
mod description;
mod groups;
mod labels;
mod losses;
mod mapped;
mod names;
mod past;
mod questions;
mod repaired;
mod stored;
mod streams;

const S: i64 = 1_000_000_000;

/// A log in memory.
#[derive(Default)]
struct Memory {
    records: Vec<(Offset, Envelope)>,
    schemas: HashMap<SchemaHash, Arc<Schema>>,
    first: u64,
    milestones: Vec<(WallTime, Vec<u8>)>,
    /// What comes after the records.
    end: End,
    /// Told when an iterator over the records is dropped.
    dropped: Mutex<Option<mpsc::SyncSender<()>>>,
    /// How often records were asked for.
    reads: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum End {
    #[default]
    Proper,
    Error,
    Damage,
    Panic,
    Never,
}

struct Told(Option<mpsc::SyncSender<()>>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.take().map(|told| told.send(()));
    }
}

impl Log for Memory {
    fn log_id(&self) -> LogId {
        LogId([7; 16])
    }

    fn first(&self) -> Offset {
        Offset(self.first.max(1))
    }

    fn next(&self) -> Offset {
        self.records.last().map_or(Offset::FIRST, |(offset, _)| offset.next())
    }

    fn robot_records<'a>(
        &'a self,
        robot: &RobotId,
        (t_from, t_to): TimeSpan,
        after: Option<Offset>,
    ) -> Records<'a> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let told = Told(self.dropped.lock().unwrap().take());
        let robot = robot.clone();
        let wanted = move |(offset, envelope): &&(Offset, Envelope)| {
            let head = envelope.head();
            let _ = &told;
            after.is_none_or(|after| *offset > after)
                && envelope.robot == robot
                && head.t_max >= t_from
                && t_to.is_none_or(|to| head.t_min < to)
        };
        let end = self.end;
        let after = std::iter::once_with(move || match end {
            End::Panic => panic!("a panic that the test wants"),
            End::Damage => {
                Err(ReadError::Damaged { first: Offset(50), end: Offset(60), why: "bad CRC".into() })
            }
            _ => Err(ReadError::Io { at: Offset(50), source: std::io::Error::other("the disk is gone") }),
        });
        let after = after.filter(move |_| end != End::Proper);
        if end == End::Never {
            return Box::new(self.records.iter().cycle().filter(wanted).map(|record| Ok(record.clone())));
        }
        Box::new(self.records.iter().filter(wanted).map(|record| Ok(record.clone())).chain(after))
    }

    fn records(&self, from: Offset) -> Records<'_> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        Box::new(
            self.records.iter().filter(move |(offset, _)| *offset >= from).map(|record| Ok(record.clone())),
        )
    }

    fn milestone(&self, by: WallTime) -> std::io::Result<Option<Vec<u8>>> {
        let found = self.milestones.iter().rfind(|(at, _)| *at <= by);
        Ok(found.map(|(_, image)| image.clone()))
    }

    fn first_milestone(&self) -> Option<WallTime> {
        self.milestones.first().map(|(at, _)| *at)
    }

    fn schema(&self, _: Offset, _: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.schemas.get(&hash).cloned()
    }

    fn gauges(&self, gauges: &mut Gauges<u64>) {
        gauges.partitions = 3;
        gauges.queue_bytes = 17;
    }
}

#[derive(Default)]
struct Live(BTreeMap<RobotId, LiveLink>);

impl LiveLinks for Live {
    fn live(&self, robot: &RobotId) -> Option<LiveLink> {
        self.0.get(robot).cloned()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// For tests that change no labels.
struct NoLabelling;

impl Labelling for NoLabelling {
    fn label(
        &self,
        _: &RobotId,
        _: &muster_protocol::label::LabelPatch,
    ) -> Result<(), crate::ingest::NotLabelled> {
        panic!("this test changes no labels")
    }
}

/// A fleet to be served.
#[derive(Default)]
struct World {
    log: Memory,
    live: Live,
    not_ready: Option<String>,
    /// Where groups are saved; nowhere if a test saves none.
    data_dir: std::path::PathBuf,
    /// Changes the gateway's facts, which are good.
    facts: Option<fn(&mut GatewayFacts)>,
}

/// A gateway with nothing wrong but what a test wants.
struct Facts(Option<fn(&mut GatewayFacts)>);

impl Sources for Facts {
    fn gateway(&mut self, _: Moment) -> GatewayFacts {
        let mut facts = GatewayFacts::default();
        self.0.inspect(|change| change(&mut facts));
        facts
    }

    fn refused(&self, _: &RobotId) -> Refused {
        Refused::default()
    }
}

/// A server on a thread of its own; it ends when this is dropped.
struct Server {
    address: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Result<String, String>,
}

impl World {
    fn schema(&mut self, channels: &[&str]) -> Arc<Schema> {
        let define = |name: &&str| ChannelDef::named(name.parse().unwrap());
        let schema = Arc::new(Schema::new(channels.iter().map(define).collect()).unwrap());
        self.log.schemas.insert(schema.hash(), schema.clone());
        schema
    }

    fn record(&mut self, robot: &str, body: Body) -> Offset {
        let offset = self.log.next();
        let envelope = Envelope { received_at: now(), robot: robot.parse().unwrap(), session: 1, body };
        self.log.records.push((offset, envelope));
        offset
    }

    fn batch(&mut self, robot: &str, schema: &Schema, rows: &[(i64, &[(u32, Sample)])]) -> Offset {
        let clock = Clocks { boot: 1, mono: MonoTime(5), wall: now(), synchronised: true };
        self.batch_of(robot, schema, (StampedBy::Input, clock), rows)
    }

    /// Stores a batch that was stamped and spooled as said.
    fn batch_of(
        &mut self,
        robot: &str,
        schema: &Schema,
        (stamped_by, clock): (StampedBy, Clocks),
        rows: &[(i64, &[(u32, Sample)])],
    ) -> Offset {
        let mut builder = BatchBuilder::new();
        for (t, fields) in rows {
            builder.push_row(WallTime(*t), stamped_by, fields).unwrap();
        }
        let [batch] = <[_; 1]>::try_from(builder.finish(schema, clock)).unwrap();
        let head = head(self.batches_of(robot).0 + 1);
        self.record(robot, Body::Batch { head, info: batch.info, payload: batch.bytes })
    }

    /// Returns how many batches a robot sent, and the samples in them.
    fn batches_of(&self, robot: &str) -> (u64, u64) {
        let of_robot = self.log.records.iter().filter(|(_, envelope)| envelope.robot.as_str() == robot);
        of_robot.fold((0, 0), |(batches, samples), (_, envelope)| match &envelope.body {
            Body::Batch { info, .. } => (batches + 1, samples + u64::from(info.samples)),
            _ => (batches, samples),
        })
    }

    /// Lets a robot be heard, which holds one more batch of so many samples, or nothing.
    fn hear(&mut self, robot: &str, backlog_samples: u64) {
        let (batches, samples) = self.batches_of(robot);
        let first = Seq(batches + 1);
        let held = HeldLane {
            epoch: head(1).epoch,
            lane: head(1).lane,
            first,
            next: if backlog_samples > 0 { first.next() } else { first },
            samples: backlog_samples,
            spooled: samples + backlog_samples,
            gone: Vec::new(),
        };
        let told_at = now();
        let wall = told_at.shifted(-250_000_000);
        let clock = Clocks { boot: 1, mono: MonoTime(9), wall, synchronised: true };
        let live = LiveLink {
            last_heard: told_at,
            told_at,
            held: vec![held],
            clock: Some(clock),
            transport: Transport::Quic,
            address: "10.0.0.5:4312".to_owned(),
        };
        self.live.0.insert(robot.parse().unwrap(), live);
    }

    fn serve(self) -> Server {
        Server::start(Arc::new(self.api()))
    }

    fn api(self) -> Api {
        let mut fleet = Fleet::default();
        fleet.map(crate::config::Config::default().mapping());
        let fleet = Arc::new(fleet);
        for (offset, envelope) in &self.log.records {
            let batch = match &envelope.body {
                Body::Batch { info, payload, .. } => {
                    let schema = self.log.schemas[&info.schema].clone();
                    batch::decode(payload, &schema).ok().map(|batch| (batch, schema))
                }
                _ => None,
            };
            fleet.apply(*offset, envelope, batch.as_ref().map(|(batch, schema)| (batch, &**schema)));
        }
        let not_ready = self.not_ready;
        let (live, metrics, clock) = (Arc::new(self.live), Arc::new(Metrics::new()), Clock::new());
        let facts = Box::new(Facts(self.facts));
        let lately = Duration::from_secs(300);
        let watch = Watch::new((fleet.clone(), live.clone()), facts, metrics.clone(), clock, lately);
        Api {
            fleet,
            log: Arc::new(self.log),
            live,
            groups: Arc::new(Groups::open(&self.data_dir).unwrap()),
            labelling: Arc::new(NoLabelling),
            metrics,
            clock,
            board: watch.board(),
            ready: Arc::new(move || not_ready.clone().map_or(Ok(()), Err)),
            version: "0.1.0",
        }
    }
}

impl Server {
    fn start(api: Arc<Api>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = router(api);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, service) => served.unwrap(),
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, _stop: stop }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn get(&self, path: &str) -> Answer {
        Answer::of(agent().get(self.url(path)).call().unwrap())
    }

    /// Asks for what breaks off: before its head, or inside its body.
    fn breaks_off(&self, path: &str) {
        if let Ok(response) = agent().get(self.url(path)).call() {
            let answer = Answer::of(response);
            assert_eq!(answer.status, 200);
            answer.body.unwrap_err();
        }
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        described::assert_described(path, 200, "application/json", answer.body.as_deref().unwrap());
        serde_json::from_str(&answer.body.unwrap()).unwrap()
    }

    /// Asks for what is refused, and returns the problem.
    fn problem(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let body = answer.body.unwrap();
        described::assert_described(path, answer.status, "application/problem+json", &body);
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], answer.status);
        problem
    }
}

impl Answer {
    fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string().map_err(|error| error.to_string()),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Returns a path with parameters that may hold any character.
fn asked(path: &str, parameters: &[(&str, &str)]) -> String {
    let encoded =
        |text: &str| text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"));
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

/// Returns what a request of another method is answered with.
fn sent(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(agent().run(request.body(body.to_owned()).unwrap()).unwrap())
}

fn agent() -> ureq::Agent {
    let deadline = Some(Duration::from_secs(60));
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(deadline).build().into()
}

fn now() -> WallTime {
    Clock::new().wall()
}

fn head(seq: u64) -> NumberedHead {
    NumberedHead { epoch: Epoch { start: 1, random: 1 }, lane: Lane::Live, seq: Seq(seq) }
}

fn loss(samples: u32) -> Body {
    let head = head(1);
    let lost = vec![LostSeq { seq: Seq(1), samples }];
    let reason = LossReason::SpoolFull;
    let loss =
        Loss { epoch: head.epoch, lane: head.lane, lost, unnumbered: 0, t_min: None, t_max: None, reason };
    Body::Loss { head: Some(head), loss }
}
