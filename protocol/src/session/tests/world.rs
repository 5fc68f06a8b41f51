//! A robot's spool, a link, and a gateway's queue and log, as small as the session allows, with the checker.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use crate::{
    id::{Epoch, InstanceId, Lane, LogId, SchemaHash, Seq},
    label::Labels,
    limits::HELD_LANES_MAX,
    loss::{Loss, LossReason, LostSeq},
    message::{
        Ack, Clock, Heartbeat, HeldLane, Hello, Message, NeedSchema, Numbered, NumberedHead, Refuse,
        RefuseReason, SchemaBody, SeqRange, Welcome, Window,
    },
    session::{
        receiver::{Claim, LossVerdict, Receiver, Verdict},
        sender::{Released, Sender, SenderConfig},
    },
    time::{MonoTime, WallTime},
};

mod gateway;

/// How the link behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) loss_percent: u8,
    pub(super) doubled_percent: u8,
    pub(super) delay_ms_max: u16,
}

/// A number within one robot.
type Key = (Epoch, Lane, Seq);

/// What a spool keeps under a number.
#[derive(Clone, Debug)]
enum Item {
    Batch { schema: u8, malformed: bool },
    Loss(Loss),
}

/// A frame on its way. `link` tells connections apart.
struct InTransit {
    due: MonoTime,
    link: u64,
    message: Message,
}

/// A record that waits for its commit.
struct Queued {
    due: MonoTime,
    claim: Claim,
    lost: Vec<Key>,
}

pub(super) struct World {
    pub(super) weather: Weather,
    /// The agent cannot connect.
    pub(super) away: bool,
    pub(super) failing_commits: usize,
    pub(super) queue_bound: usize,
    pub(super) commit_time: Duration,
    pub(super) grant: u32,
    pub(super) batches_sent: usize,
    now: MonoTime,
    random: u64,

    sender: Sender,
    epoch: Epoch,
    next: [Seq; 3],
    spool: BTreeMap<Key, Item>,
    link: Option<u64>,
    links: u64,
    welcomed: bool,
    connect_at: MonoTime,
    beat_at: MonoTime,

    up: Vec<InTransit>,
    down: Vec<InTransit>,

    receiver: Receiver,
    session: Option<u64>,
    schemas: BTreeSet<SchemaHash>,
    queue: VecDeque<Queued>,

    /// The checker's: every number ever given, and how the log settled it.
    spooled: BTreeSet<Key>,
    settled: BTreeMap<Key, Settled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Stored,
    Lost,
}

const CALM: Weather = Weather { loss_percent: 0, doubled_percent: 0, delay_ms_max: 1 };
const COMMIT_TIME: Duration = Duration::from_millis(30);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
const SEGMENT_BATCHES: u64 = 8;

/// Everything has to be delivered within this time once nothing goes wrong any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(600);

/// What happens in one step of time has to end: more is a live-lock.
const EVENTS_MAX: usize = 40_000;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            weather: CALM,
            away: false,
            failing_commits: 0,
            queue_bound: 1000,
            commit_time: COMMIT_TIME,
            grant: 32,
            batches_sent: 0,
            now: MonoTime(1_000_000_000),
            random: seed | 1,
            sender: Sender::new(SenderConfig::DEFAULT),
            epoch: Epoch { start: 1, random: 77 },
            next: [Seq::FIRST; 3],
            spool: BTreeMap::new(),
            link: None,
            links: 0,
            welcomed: false,
            connect_at: MonoTime::default(),
            beat_at: MonoTime::default(),
            up: Vec::new(),
            down: Vec::new(),
            receiver: Receiver::default(),
            session: None,
            schemas: BTreeSet::new(),
            queue: VecDeque::new(),
            spooled: BTreeSet::new(),
            settled: BTreeMap::new(),
        }
    }

    pub(super) fn spool(&mut self, lane: Lane, schema: u8) {
        self.append(lane, Item::Batch { schema, malformed: false });
    }

    pub(super) fn spool_malformed(&mut self, lane: Lane) {
        self.append(lane, Item::Batch { schema: 0, malformed: true });
    }

    pub(super) fn evict(&mut self, lane: Lane, count: usize) {
        let oldest: Vec<Key> = self
            .spool
            .iter()
            .filter(|(key, item)| key.1 == lane && matches!(item, Item::Batch { .. }))
            .map(|(key, _)| *key)
            .take(count)
            .collect();
        let epochs: BTreeSet<Epoch> = oldest.iter().map(|key| key.0).collect();
        for epoch in epochs {
            let gone: Vec<Seq> = oldest.iter().filter(|key| key.0 == epoch).map(|key| key.2).collect();
            self.lose(epoch, lane, &gone, LossReason::SpoolFull);
        }
    }

    pub(super) fn cut(&mut self) {
        if self.link.take().is_some() {
            self.sender.handle_down();
            self.welcomed = false;
            self.connect_at = self.now + RECONNECT_AFTER;
        }
    }

    pub(super) fn restart_agent(&mut self) {
        self.cut();
        self.sender = Sender::new(SenderConfig::DEFAULT);
        self.epoch = Epoch { start: self.epoch.start + 1, random: self.random() };
        self.next = [Seq::FIRST; 3];
        for (epoch, lane, seq) in self.spool.keys() {
            let range = SeqRange { first: *seq, end: seq.next() };
            self.sender.handle_recovered(*lane, *epoch, segment(*seq), range);
        }
    }

    /// Kills the gateway. Of what waits for its commit, the first `committed` are in the log, unanswered.
    pub(super) fn restart_gateway(&mut self, committed: usize) {
        self.cut();
        let queue = std::mem::take(&mut self.queue);
        let mut rebuilt = Receiver::from_committed(self.receiver.committed());
        for queued in queue.into_iter().take(committed) {
            self.store(&queued);
            let head = queued.claim.head();
            let loss = loss_of(&queued.lost);
            rebuilt.replay(head.expect("this world judges no absence"), 1, loss.as_ref());
        }
        self.receiver = rebuilt;
        self.session = None;
        self.schemas.clear();
        self.up.clear();
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Ends all trouble, and checks that everything that was ever spooled is stored once or declared lost once.
    pub(super) fn settle(&mut self) {
        self.weather = CALM;
        self.away = false;
        self.failing_commits = 0;
        self.queue_bound = 1000;
        self.commit_time = COMMIT_TIME;
        let end = self.now + SETTLES_WITHIN;
        while self.now < end && !self.sender.is_drained() {
            self.wait_ms(1000);
        }
        assert!(self.sender.is_drained(), "not drained: {:?}", self.spool);
        assert!(self.spool.is_empty(), "released less than acknowledged: {:?}", self.spool);
        let settled: BTreeSet<Key> = self.settled.keys().copied().collect();
        assert_eq!(settled, self.spooled, "what the log settled, and what was spooled");
    }

    fn append(&mut self, lane: Lane, item: Item) {
        let next = &mut self.next[lane.index()];
        let head = NumberedHead { epoch: self.epoch, lane, seq: *next };
        *next = next.next();
        self.spool.insert(key(head), item);
        self.spooled.insert(key(head));
        self.sender.handle_spooled(head, segment(head.seq));
    }

    fn lose(&mut self, epoch: Epoch, lane: Lane, seqs: &[Seq], reason: LossReason) {
        for seq in seqs {
            self.spool.remove(&(epoch, lane, *seq)).expect("only what is held is lost");
            self.sender.handle_evicted(lane, epoch, SeqRange { first: *seq, end: seq.next() });
        }
        let lost = seqs.iter().map(|seq| LostSeq { seq: *seq, samples: 1 }).collect();
        let loss = Loss { epoch, lane, lost, unnumbered: 0, t_min: None, t_max: None, reason };
        self.append(lane, Item::Loss(loss));
    }

    fn run_until(&mut self, end: MonoTime) {
        for _ in 0..EVENTS_MAX {
            self.turn();
            match self.next_event() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("no end of events at {:?}", self.now);
    }

    fn next_event(&self) -> Option<MonoTime> {
        let connect = (self.link.is_none() && !self.away).then_some(self.connect_at);
        let beat = self.link.map(|_| self.beat_at);
        let transit = self.up.iter().chain(&self.down).map(|frame| frame.due).min();
        let commit = self.queue.front().map(|queued| queued.due);
        [connect, beat, transit, commit, self.sender.poll_timeout()].into_iter().flatten().min()
    }

    fn turn(&mut self) {
        self.keep_link();
        for frame in take_due(&mut self.up, self.now) {
            self.gateway_takes(frame.link, frame.message);
        }
        self.commit_due();
        for frame in take_due(&mut self.down, self.now) {
            if self.link == Some(frame.link) {
                self.agent_takes(frame.message);
            }
        }
        self.sender.handle_timeout(self.now);
        self.transmit();
    }

    fn keep_link(&mut self) {
        let clock = Clock { boot: 1, mono: self.now, wall: WallTime(0), synchronised: true };
        if self.link.is_some() && self.beat_at <= self.now {
            if !self.welcomed {
                return self.cut(); // no Welcome came
            }
            self.beat_at = self.now + HEARTBEAT_EVERY;
            self.send_up(&Message::Heartbeat(Heartbeat { held: self.held(), clock }));
        }
        if self.link.is_none() && !self.away && self.connect_at <= self.now {
            self.links += 1;
            self.link = Some(self.links);
            self.beat_at = self.now + HEARTBEAT_EVERY;
            let (robot, instance) = ("f/r".parse().unwrap(), InstanceId([1; 16]));
            let held = self.held();
            self.send_up(&Message::Hello(Hello {
                robot,
                instance,
                version: "1".to_owned(),
                held,
                drained: Vec::new(),
                clock,
                labels: Labels::default(),
            }));
        }
    }

    /// As the spool says it: the oldest epochs that hold something, and the current one.
    fn held(&self) -> Vec<HeldLane> {
        let mut held: BTreeMap<(Epoch, Lane), HeldLane> = BTreeMap::new();
        for (epoch, lane, seq) in self.spool.keys() {
            let new = HeldLane {
                epoch: *epoch,
                lane: *lane,
                first: *seq,
                next: *seq,
                samples: 0,
                spooled: 0,
                gone: Vec::new(),
            };
            let lane = held.entry((*epoch, *lane)).or_insert(new);
            lane.next = seq.next();
            lane.samples += 1;
            lane.spooled += 1;
        }
        held.retain(|key, _| key.0 != self.epoch);
        let current = Lane::ALL.map(|lane| {
            let next = self.next[lane.index()];
            let mut of_lane = self.spool.keys().filter(|key| key.0 == self.epoch && key.1 == lane);
            let first = of_lane.next().map_or(next, |key| key.2);
            HeldLane { epoch: self.epoch, lane, first, next, samples: 0, spooled: 0, gone: Vec::new() }
        });
        held.into_values().take(HELD_LANES_MAX - current.len()).chain(current).collect()
    }

    fn transmit(&mut self) {
        while let Some(head) = self.sender.poll_transmit(self.now) {
            assert!(self.welcomed, "sent without a session");
            assert!(self.sender.in_flight() <= self.grant as usize + 16, "the window is exceeded");
            let item = self.spool.get(&key(head)).expect("only what is held is sent").clone();
            self.sender.handle_loaded(head, 1000, self.now);
            match item {
                Item::Loss(loss) => self.send_up(&Message::Loss(Numbered::from_loss(head, &loss))),
                Item::Batch { schema, malformed } => {
                    let hash = SchemaHash([schema; 16]);
                    if self.sender.claim_schema(head.lane, hash) {
                        self.send_up(&Message::Schema(SchemaBody { payload: Bytes::from(vec![schema]) }));
                    }
                    self.batches_sent += 1;
                    let payload = Bytes::from(vec![schema, u8::from(malformed)]);
                    self.send_up(&Message::Batch(Numbered { head, payload }));
                }
            }
        }
    }

    fn agent_takes(&mut self, message: Message) {
        match message {
            Message::Welcome(welcome) => {
                self.welcomed = true;
                let released = self.sender.handle_welcome(&welcome, self.now);
                self.release(&released);
            }
            Message::Ack(ack) => {
                let released = self.sender.handle_ack(&ack, self.now);
                self.release(&released);
            }
            Message::Refuse(refuse) => {
                if let Some(gave_up) = self.sender.handle_refuse(&refuse, self.now) {
                    let NumberedHead { epoch, lane, seq } = gave_up.head;
                    self.lose(epoch, lane, &[seq], LossReason::Refused);
                }
            }
            Message::NeedSchema(need) => self.sender.handle_need_schema(&need),
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, released: &[Released]) {
        for released in released {
            for range in released.ranges() {
                for seq in range.first.0..range.end.0 {
                    let key = (released.epoch(), released.lane(), Seq(seq));
                    assert!(self.settled.contains_key(&key), "{key:?} was released before it was committed");
                    assert!(self.spool.remove(&key).is_some(), "{key:?} was released twice");
                }
            }
        }
    }

    fn send_up(&mut self, message: &Message) {
        let link = self.link.expect("only a connected agent sends");
        let frames = self.travel(link, message);
        self.up.extend(frames);
    }

    fn send_down(&mut self, link: u64, message: &Message) {
        let frames = self.travel(link, message);
        self.down.extend(frames);
    }

    /// Puts a message on the link: none, one or two copies of its frame, each with a delay of its own.
    fn travel(&mut self, link: u64, message: &Message) -> Vec<InTransit> {
        let message = Message::from_frame(&message.to_frame()).expect("what is sent can be read");
        let Weather { loss_percent, doubled_percent, delay_ms_max } = self.weather;
        let copies =
            if self.percent(loss_percent) { 0 } else { 1 + usize::from(self.percent(doubled_percent)) };
        let frame = |due| InTransit { due, link, message: message.clone() };
        (0..copies)
            .map(|_| self.now + Duration::from_millis(1 + self.random() % u64::from(delay_ms_max)))
            .map(frame)
            .collect()
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.random() % 100 < u64::from(percent)
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}

fn take_due(frames: &mut Vec<InTransit>, now: MonoTime) -> Vec<InTransit> {
    let (mut due, later): (Vec<_>, Vec<_>) = std::mem::take(frames).into_iter().partition(|f| f.due <= now);
    *frames = later;
    due.sort_by_key(|frame| frame.due);
    due
}

fn loss_of(lost: &[Key]) -> Option<Loss> {
    let (epoch, lane, _) = *lost.first()?;
    let lost = lost.iter().map(|key| LostSeq { seq: key.2, samples: 1 }).collect();
    let reason = LossReason::SpoolFull;
    Some(Loss { epoch, lane, lost, unnumbered: 0, t_min: None, t_max: None, reason })
}

fn segment(seq: Seq) -> u64 {
    seq.0 / SEGMENT_BATCHES
}

fn key(head: NumberedHead) -> Key {
    (head.epoch, head.lane, head.seq)
}
