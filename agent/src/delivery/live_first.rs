//! Live first, measured in virtual time: a backlog that fills a modelled link, live data at half of its rate, urgent
//! events in between, and when each was stored. The link is one queue, as a robot's uplink is.

use std::collections::BTreeMap;

use muster_protocol::{
    id::{Epoch, LogId, Seq},
    message::{Ack, LaneRanges, SeqRange, Welcome, Window},
    session::sender::SenderConfig,
};

use super::*;
use crate::recorder::group_sync::GroupSync;

const EPOCH: Epoch = Epoch { start: 2, random: 9 };
const OLD: Epoch = Epoch { start: 1, random: 9 };
const CLOCK: Clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: false };

/// As the agent is without configuration.
const LINGER: Duration = Duration::from_millis(250);
const SYNC_EVERY: Duration = Duration::from_millis(250);
const SYNC: Duration = Duration::from_millis(10);
/// A group commit of the gateway.
const COMMIT: Duration = Duration::from_millis(15);
const QUEUE_TIME: Option<Duration> = Some(Duration::from_millis(250));
const URGENT_EVERY: Duration = Duration::from_millis(700);
const URGENT_BYTES: usize = 200;
const BATCH_BYTES: usize = 32 * 1024;
const RUN: Duration = Duration::from_secs(120);

enum Event {
    /// A linger is over: its batches close.
    Closed,
    /// A group sync begins, if it is still the one that is due.
    Sync,
    /// What closed in the lingers that began at these times is synced.
    Synced(Vec<MonoTime>),
    Urgent,
    Arrived(NumberedHead),
    Committed(Vec<NumberedHead>),
    Acked(Vec<NumberedHead>),
}

struct World {
    delivery: Delivery,
    events: BTreeMap<(MonoTime, u64), Event>,
    scheduled: u64,
    bytes_per_second: usize,
    one_way: Duration,
    link_free_at: MonoTime,
    carried_bytes: usize,
    /// When the lingers began whose batches wait for a sync.
    unsynced: Vec<MonoTime>,
    group_sync: GroupSync,
    /// What waits for the commit that runs, if one does.
    waiting: Vec<NumberedHead>,
    commits: bool,
    /// When the first row of what is in a batch was made.
    made: BTreeMap<(Lane, Seq), MonoTime>,
    spans: BTreeMap<Lane, Vec<Duration>>,
    next: BTreeMap<Lane, Seq>,
}

struct Shown {
    live_p99: Duration,
    urgent_p99: Duration,
    used: f64,
}

fn welcome() -> Frame {
    Message::Welcome(Welcome {
        instance: InstanceId([2; 16]),
        log: LogId([3; 16]),
        session: 1,
        window: Window { bytes: 1 << 20, batches: 256 },
        have: vec![],
        schemas: vec![],
        now: WallTime(0),
    })
    .to_frame()
}

impl World {
    fn new(kilobits_per_second: usize, round_trip: Duration) -> Self {
        let who = Who {
            robot: "a/b".parse().unwrap(),
            instance: InstanceId([1; 16]),
            version: "1",
            labels: Labels::default(),
        };
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), 1);
        let mut sender = Sender::new(SenderConfig::DEFAULT);
        sender.handle_recovered(Lane::Live, OLD, 1, SeqRange { first: Seq(1), end: Seq(1_000_000) });
        let mut delivery = Delivery::new(who, sender, backoff, 1, Duration::from_secs(15));
        let start = MonoTime::default();
        delivery.handle_timeout(CLOCK, start);
        while delivery.poll_action(start).is_some() {}
        delivery.handle_connected(QUEUE_TIME, CLOCK, start);
        delivery.handle_frame(&welcome(), start).unwrap();
        let mut world = Self {
            delivery,
            events: BTreeMap::new(),
            scheduled: 0,
            bytes_per_second: kilobits_per_second * 1000 / 8,
            one_way: round_trip / 2,
            link_free_at: start,
            carried_bytes: 0,
            unsynced: Vec::new(),
            group_sync: GroupSync::new(SYNC_EVERY),
            waiting: Vec::new(),
            commits: false,
            made: BTreeMap::new(),
            spans: BTreeMap::new(),
            next: BTreeMap::new(),
        };
        world.at(start + LINGER, Event::Closed);
        world.at(start + URGENT_EVERY, Event::Urgent);
        world
    }

    fn at(&mut self, at: MonoTime, event: Event) {
        self.scheduled += 1;
        self.events.insert((at, self.scheduled), event);
    }

    fn run(mut self) -> Shown {
        let end = MonoTime::default() + RUN;
        let mut now = MonoTime::default();
        self.act(now);
        while let Some(((at, _), event)) = self.events.pop_first().filter(|((at, _), _)| *at < end) {
            now = at;
            while let Some(due) = self.delivery.poll_timeout().filter(|due| *due <= now) {
                self.delivery.handle_timeout(CLOCK, due.max(now));
            }
            self.happens(event, now);
            self.act(now);
        }
        let p99 = |spans: &mut Vec<Duration>| {
            spans.sort_unstable();
            spans[spans.len() * 99 / 100]
        };
        let whole = self.bytes_per_second as f64 * RUN.as_secs_f64();
        Shown {
            live_p99: p99(self.spans.get_mut(&Lane::Live).unwrap()),
            urgent_p99: p99(self.spans.get_mut(&Lane::Urgent).unwrap()),
            used: self.carried_bytes as f64 / whole,
        }
    }

    fn happens(&mut self, event: Event, now: MonoTime) {
        match event {
            Event::Closed => {
                self.unsynced.push(now - LINGER);
                self.group_sync.handle_closed(now);
                let due = self.group_sync.due().expect("a batch waits for a sync");
                self.at(due.max(now), Event::Sync);
                self.at(now + LINGER, Event::Closed);
            }
            Event::Sync if self.group_sync.due().is_some_and(|due| due <= now) => {
                self.group_sync.start(now);
                let covered = std::mem::take(&mut self.unsynced);
                self.at(now + SYNC, Event::Synced(covered));
            }
            Event::Sync => {}
            Event::Synced(lingers) => {
                for made in lingers {
                    (0..self.parts()).for_each(|_| self.spool(Lane::Live, made));
                }
            }
            Event::Urgent => {
                self.spool(Lane::Urgent, now - SYNC);
                self.at(now + URGENT_EVERY, Event::Urgent);
            }
            Event::Arrived(head) => {
                self.waiting.push(head);
                self.commit(now);
            }
            Event::Committed(heads) => {
                for head in heads.iter().filter(|head| head.epoch == EPOCH) {
                    self.stored(*head, now);
                }
                self.commits = false;
                self.at(now + self.one_way, Event::Acked(heads));
                self.commit(now);
            }
            Event::Acked(heads) => {
                let ranges = |head: &NumberedHead| LaneRanges {
                    epoch: head.epoch,
                    lane: head.lane,
                    ranges: vec![SeqRange { first: head.seq, end: head.seq.next() }],
                };
                let ack = Ack { lanes: heads.iter().map(ranges).collect() };
                self.delivery.handle_frame(&Message::Ack(ack).to_frame(), now).unwrap();
            }
        }
    }

    fn commit(&mut self, now: MonoTime) {
        if !self.commits && !self.waiting.is_empty() {
            self.commits = true;
            let group = std::mem::take(&mut self.waiting);
            self.at(now + COMMIT, Event::Committed(group));
        }
    }

    fn spool(&mut self, lane: Lane, made: MonoTime) {
        let seq = *self.next.entry(lane).or_insert(Seq(1));
        self.next.insert(lane, seq.next());
        self.made.insert((lane, seq), made);
        self.delivery.sender().handle_spooled(NumberedHead { epoch: EPOCH, lane, seq }, 1);
    }

    /// Counts a live batch as ten rows, evenly made.
    fn stored(&mut self, head: NumberedHead, now: MonoTime) {
        let since = now.since(self.made[&(head.lane, head.seq)]);
        let spans = self.spans.entry(head.lane).or_default();
        match head.lane {
            Lane::Urgent => spans.push(since),
            _ => spans.extend((0..10).map(|row| since.saturating_sub(LINGER * row / 10))),
        }
    }

    fn parts(&self) -> usize {
        self.live_bytes().div_ceil(BATCH_BYTES)
    }

    fn live_bytes(&self) -> usize {
        self.bytes_per_second / 2 * usize::try_from(LINGER.as_millis()).unwrap() / 1000
    }

    fn act(&mut self, now: MonoTime) {
        while let Some(action) = self.delivery.poll_action(now) {
            match action {
                Action::Load(heads) => {
                    let loaded = heads.into_iter().map(|head| (head, Some(self.payload(head)))).collect();
                    self.delivery.handle_loaded(loaded, now);
                }
                Action::Send(Stream::Lane(_), frame) => self.carry(&frame, now),
                _ => {}
            }
        }
    }

    fn payload(&self, head: NumberedHead) -> Loaded {
        static ZEROS: [u8; BATCH_BYTES] = [0; BATCH_BYTES];
        let bytes = if head.lane == Lane::Urgent { URGENT_BYTES } else { self.live_bytes() / self.parts() };
        Loaded { payload: Bytes::from_static(&ZEROS[..bytes]), schema: None }
    }

    fn carry(&mut self, frame: &Frame, now: MonoTime) {
        let Message::Loss(numbered) = Message::from_frame(frame).unwrap() else { panic!("no batch") };
        let micros = numbered.payload.len() * 1_000_000 / self.bytes_per_second;
        self.link_free_at = self.link_free_at.max(now) + Duration::from_micros(micros as u64);
        if self.link_free_at < MonoTime::default() + RUN {
            self.carried_bytes += numbered.payload.len();
        }
        self.at(self.link_free_at + self.one_way, Event::Arrived(numbered.head));
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn beside_a_backlog_live_and_urgent_are_stored_within_a_second_and_the_link_is_full() {
    for kilobits_per_second in [128, 1000, 10_000] {
        let shown = World::new(kilobits_per_second, Duration::from_millis(80)).run();
        let Shown { live_p99, urgent_p99, used } = shown;
        let all =
            format!("{kilobits_per_second} kbit/s: live {live_p99:?}, urgent {urgent_p99:?}, used {used:.3}");
        assert!(live_p99 <= SECOND && urgent_p99 <= SECOND, "{all}");
        assert!(used >= 0.9, "{all}");
    }
}

#[test]
fn a_path_of_600_ms_is_filled_too() {
    let shown = World::new(1000, Duration::from_millis(600)).run();
    assert!(shown.used >= 0.9, "{:.3}", shown.used);
}

#[test]
fn the_model_lingers_and_syncs_as_an_agent_without_configuration() {
    let config = crate::config::Config::new(&"a/b".parse().unwrap());
    assert_eq!((config.batch.linger.duration(), config.spool.sync_every.duration()), (LINGER, SYNC_EVERY));
}
