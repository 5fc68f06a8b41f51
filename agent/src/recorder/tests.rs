use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, sync_channel},
};

use muster_protocol::{
    id::{ChannelName, InstanceId, Lane, LogId, Seq},
    message::{LaneRanges, SeqRange, Welcome, Window},
    sample::{Row, Value},
    session::sender::{Sender, SenderConfig},
    time::{MonoTime, WallTime},
};

use super::{core::Core, *};
use crate::{
    batcher::{Manner, Stamped},
    intake::{Counts, IntakeConfig, Shown, Source, Want},
    spool::{
        SpoolConfig, SpoolReader,
        fake_disk::{FakeDisk, Faults, Operation},
    },
};

mod clock_steps;
mod memory_mode;
mod order;
mod refusals;

const LIMIT_BYTES: u64 = 1024 * 1024;

fn config(limit_bytes: u64) -> SpoolConfig {
    SpoolConfig { limit_bytes, segment_bytes: 64 * 1024, robot: "fleet/robot".parse().unwrap() }
}

/// A recorder without its thread, in virtual time.
struct Bench {
    disk: FakeDisk,
    reader: SpoolReader,
    core: Core,
    intake: Intake,
    outlet: Outlet,
    now: MonoTime,
    /// Every event with how many syncs of files the disk had seen before it.
    events: Vec<(RecorderEvent, usize)>,
}

fn reading() -> ClockReading {
    ClockReading { boot: 1, mono: MonoTime(2), wall: WallTime(3), synchronised: false }
}

fn stamped(lane: Option<Lane>, value: Value) -> Stamped {
    let fields = vec![(ChannelName::new("a").unwrap(), value)];
    Stamped::new(Row { t: Some(WallTime(1)), lane, unit: None, fields }, WallTime(0))
}

fn push(source: &Source, lane: Option<Lane>) {
    source.push(stamped(lane, Value::Int(1)), Shown { line: 1, text: b"" }).unwrap();
}

/// About 16 KiB that do not compress, different for each number.
fn push_noise(source: &Source, number: u64) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let value = Value::Bytes(noise.take(2000).flatten().collect());
    source.push(stamped(None, value), Shown { line: number, text: b"" }).unwrap();
}

fn sync(source: &Source) -> Receiver<Counts> {
    let (respond, answer) = sync_channel(1);
    source.sync(move |counts| respond.send(counts).unwrap()).unwrap();
    answer
}

impl Bench {
    fn new() -> Self {
        Self::with_limit(LIMIT_BYTES)
    }

    fn with_limit(limit_bytes: u64) -> Self {
        let disk = FakeDisk::new();
        let (spool, _) = Spool::open(Arc::new(disk.clone()), config(limit_bytes), 7).unwrap();
        Self::of(disk, spool)
    }

    fn of(disk: FakeDisk, spool: Spool) -> Self {
        let reader = spool.reader();
        let (intake, outlet) = Intake::new(&IntakeConfig::default());
        let core = Core::new(spool, RecorderConfig::default());
        Self { disk, reader, core, intake, outlet, now: MonoTime::default(), events: Vec::new() }
    }

    /// Lets time pass, and the recorder do all that is due, as its thread would.
    fn advance(&mut self, span: Duration) {
        self.advance_with(span, &reading);
    }

    fn advance_with(&mut self, span: Duration, read: &dyn Fn() -> ClockReading) {
        let end = self.now + span;
        loop {
            self.turn_with(read);
            match self.core.poll_timeout() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
        }
        self.now = end;
        self.turn_with(read);
    }

    fn turn(&mut self) {
        self.turn_with(&reading);
    }

    fn turn_with(&mut self, read: &dyn Fn() -> ClockReading) {
        let mut items = VecDeque::new();
        let state = self.outlet.take(self.core.want(), Some(Duration::ZERO), &mut items);
        items.drain(..).for_each(|item| self.core.handle_item(item, self.now, &self.outlet));
        if state.drained {
            self.core.handle_drained(self.now);
        }
        self.core.handle_timeout(self.now, read, &self.outlet);
        let mut events = self.core.take_events();
        events.retain(|event| !matches!(event, RecorderEvent::Held(_)));
        if !events.is_empty() {
            let syncs = self.syncs();
            self.events.extend(events.into_iter().map(|event| (event, syncs)));
        }
    }

    fn syncs(&self) -> usize {
        self.disk.log().iter().filter(|done| matches!(done, Operation::SyncData(_))).count()
    }

    fn appends(&self, lane: &str) -> usize {
        let of = |done: &&Operation| matches!(done, Operation::Append(path, _) if path.starts_with(lane));
        self.disk.log().iter().filter(of).count()
    }

    fn spooled(&self) -> Vec<NumberedHead> {
        let tokens = self.events.iter().filter_map(|(event, _)| match event {
            RecorderEvent::Spooled(spooled) => Some(spooled),
            _ => None,
        });
        tokens.flatten().map(Spooled::head).collect()
    }

    fn count(&self, of: fn(&RecorderEvent) -> bool) -> usize {
        self.events.iter().filter(|(event, _)| of(event)).count()
    }

    /// Has everything that is spooled acknowledged.
    fn acknowledge_all(&mut self) {
        let mut sender = Sender::new(SenderConfig::DEFAULT);
        let heads = self.spooled();
        for (number, head) in heads.iter().enumerate() {
            sender.handle_spooled(*head, number as u64);
        }
        let whole = |head: &NumberedHead| LaneRanges {
            epoch: head.epoch,
            lane: head.lane,
            ranges: vec![SeqRange { first: Seq::FIRST, end: Seq(u64::MAX) }],
        };
        let welcome = Welcome {
            instance: InstanceId([1; 16]),
            log: LogId([2; 16]),
            session: 1,
            window: Window { bytes: 1, batches: 1 },
            have: heads.iter().map(whole).collect(),
            schemas: Vec::new(),
            now: WallTime(0),
        };
        for released in sender.handle_welcome(&welcome, self.now) {
            self.core.handle_command(RecorderCommand::Release(released), self.now);
        }
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn nothing_is_spooled_or_answered_before_the_sync_that_covers_it() {
    let mut bench = Bench::new();
    let source = bench.intake.source("unix:x", Manner::Live);
    let syncs_at_start = bench.syncs();
    push(&source, None);
    source.refuse("not_json", Some(LossReason::Malformed), &"no", Shown { line: 2, text: b"" });
    let answer = sync(&source);
    bench.advance(millis(499));
    assert_eq!((bench.syncs(), bench.events.len()), (syncs_at_start, 0));
    assert!(answer.try_recv().is_err());
    bench.advance(millis(1));
    assert_eq!(answer.try_recv(), Ok(Counts { accepted: 1, refused: 1 }));
    assert_eq!(bench.spooled().len(), 1);
    let (_, syncs) = &bench.events[0];
    assert_eq!(*syncs, syncs_at_start + 1);
}

#[test]
fn a_failed_sync_answers_nothing_and_what_it_failed_to_sync_goes_on_in_memory() {
    let mut bench = Bench::new();
    let failed = bench.core.epoch();
    let source = bench.intake.source("unix:x", Manner::Live);
    push(&source, None);
    let answer = sync(&source);
    bench.disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
    bench.advance(millis(1000));
    assert_eq!(bench.count(|event| matches!(event, RecorderEvent::Failed(_))), 1);
    assert_eq!(answer.recv(), Err(std::sync::mpsc::RecvError), "the request is dropped without an answer");
    let first = NumberedHead { epoch: failed, lane: Lane::Live, seq: Seq::FIRST };
    assert_eq!(bench.spooled(), [first], "the disk may have kept it after all, under this number");
    push(&source, None);
    let answer = sync(&source);
    bench.advance(millis(10_000));
    let heads = bench.spooled();
    assert_eq!(heads.len(), 2);
    assert!(heads[1].epoch > failed && heads[1].epoch.start.is_multiple_of(2), "{heads:?}");
    let held = bench.core.holding().held;
    let lane = |epoch| held.iter().find(|lane| (lane.epoch, lane.lane) == (epoch, Lane::Live)).unwrap();
    assert_eq!((lane(failed).samples, lane(failed).next), (1, Seq(2)));
    assert_eq!((lane(heads[1].epoch).samples, lane(heads[1].epoch).next), (1, Seq(2)));
    assert_eq!(answer.recv(), Err(std::sync::mpsc::RecvError));
    assert_eq!(bench.intake.ledger().total(), 0, "nothing is refused");
    assert_eq!(bench.count(|event| matches!(event, RecorderEvent::Failed(_))), 1);
}

#[test]
fn urgent_rows_are_synced_at_once_and_the_others_in_groups() {
    let mut bench = Bench::new();
    let source = bench.intake.source("host", Manner::Live);
    push(&source, None);
    push(&source, Some(Lane::Urgent));
    bench.advance(Duration::ZERO);
    assert_eq!(bench.spooled().iter().map(|head| head.lane).collect::<Vec<_>>(), [Lane::Urgent]);
    assert_eq!(bench.appends("live"), 0);
    bench.advance(millis(1000));
    assert_eq!(bench.spooled().len(), 2);
}

#[test]
fn in_a_stream_a_batch_that_closes_when_a_sync_is_due_does_not_wait_for_the_next() {
    let mut bench = Bench::new();
    let source = bench.intake.source("unix:x", Manner::Live);
    let (mut closed, mut accepted, mut syncs) = (0, 0, Vec::new());
    for _ in 0..1000 {
        push(&source, None);
        bench.advance(millis(10));
        let (appends, spooled) = (bench.appends("live"), bench.spooled().len());
        if spooled > accepted {
            syncs.push(appends > closed);
        }
        (closed, accepted) = (appends, spooled);
    }
    assert!(syncs.iter().skip(4).all(|with_a_close| *with_a_close), "{syncs:?}");
    assert!((17..=21).contains(&syncs.len()), "the number of syncs is what it was: {syncs:?}");
}

#[test]
fn a_file_is_synced_by_bytes_and_drained_at_once_at_its_end() {
    let mut bench = Bench::new();
    let source = bench.intake.source("file:x", Manner::Wait);
    for number in 0..40 {
        push_noise(&source, number);
        bench.turn();
    }
    bench.intake.seal();
    bench.advance(millis(1));
    assert_eq!(bench.count(|event| matches!(event, RecorderEvent::InputsDrained)), 0);
    let origin = source.origin().clone();
    drop(source);
    bench.advance(Duration::ZERO);
    assert!(matches!(bench.events.last(), Some((RecorderEvent::InputsDrained, _))));
    assert_eq!(origin.counts(), Counts { accepted: 40, refused: 0 });
    bench.advance(millis(60_000));
    assert_eq!(bench.count(|event| matches!(event, RecorderEvent::InputsDrained)), 1);
}

#[test]
fn bytes_beyond_the_bound_are_synced_before_their_time() {
    let mut bench = Bench::with_limit(64 * LIMIT_BYTES);
    let source = bench.intake.source("file:x", Manner::Wait);
    let mut pushed_bytes = 0;
    while bench.spooled().is_empty() {
        assert!(pushed_bytes < 4 * UNSYNCED_BYTES_MAX, "no time passes, and still it has to sync");
        push_noise(&source, pushed_bytes as u64);
        pushed_bytes += 16_000;
        bench.turn();
    }
    assert!(pushed_bytes > UNSYNCED_BYTES_MAX);
}

#[test]
fn a_full_spool_keeps_waiting_inputs_back_until_room_is_released_and_loses_nothing() {
    let mut bench = Bench::new();
    let source = bench.intake.source("file:x", Manner::Wait);
    let mut number = 0;
    while bench.core.want() == Want::All {
        push_noise(&source, number);
        number += 1;
        bench.advance(millis(500));
    }
    let spooled = bench.spooled().len();
    push(&source, None);
    bench.advance(millis(60_000));
    assert_eq!(bench.spooled().len(), spooled, "nothing more is taken while the gateway is absent");
    bench.acknowledge_all();
    assert_eq!(bench.core.want(), Want::All);
    bench.advance(millis(1000));
    assert_eq!(source.counts(), Counts { accepted: number + 1, refused: 0 });
    assert_eq!(bench.count(|event| matches!(event, RecorderEvent::Evicted(_))), 0);
}

#[test]
fn what_is_acknowledged_makes_room_before_anything_is_evicted_or_waits() {
    for manner in [Manner::Wait, Manner::Live] {
        let mut bench = Bench::new();
        let source = bench.intake.source("x", manner);
        for number in 0..200 {
            push_noise(&source, number);
            bench.advance(millis(1000));
            assert_eq!(bench.core.want(), Want::All, "{manner:?} {number}");
            bench.acknowledge_all();
        }
        assert_eq!(source.counts(), Counts { accepted: 200, refused: 0 });
        assert_eq!(bench.count(|event| matches!(event, RecorderEvent::Evicted(_))), 0);
    }
}

#[test]
fn a_full_spool_evicts_for_live_inputs_while_waiting_ones_wait() {
    let mut bench = Bench::new();
    let (wait, live) =
        (bench.intake.source("file:x", Manner::Wait), bench.intake.source("host", Manner::Live));
    let mut number = 0;
    while bench.core.want() == Want::All {
        push_noise(&wait, number);
        number += 1;
        bench.advance(millis(500));
    }
    for number in 1000..1200 {
        push_noise(&live, number);
        bench.advance(millis(500));
    }
    assert!(bench.count(|event| matches!(event, RecorderEvent::Evicted(_))) > 0);
    assert_eq!(live.counts(), Counts { accepted: 200, refused: 0 });
    assert_eq!(bench.core.want(), Want::Live);
    // Every sample is spooled or evicted with a synced record of it; the record has a token like a batch.
    let answer = sync(&live);
    bench.advance(millis(500));
    assert_eq!(answer.try_recv(), Ok(Counts { accepted: 200, refused: 0 }));
}

/// Guards: an urgent batch that had waited for room was synced only when something else happened.
#[test]
fn an_urgent_batch_that_gets_room_is_synced_at_once() {
    let mut bench = Bench::new();
    let source = bench.intake.source("file:x", Manner::Wait);
    while bench.core.want() == Want::All {
        push(&source, Some(Lane::Urgent));
        bench.turn();
    }
    bench.acknowledge_all();
    assert!(bench.core.poll_timeout() <= Some(bench.now), "the batch that waited is due");
    bench.turn();
    assert!(bench.core.poll_timeout() > Some(bench.now), "and is synced");
}

#[test]
fn a_flood_does_not_put_a_sync_answer_off() {
    let mut bench = Bench::with_limit(64 * LIMIT_BYTES);
    let (file, socket) =
        (bench.intake.source("file:x", Manner::Wait), bench.intake.source("unix:x", Manner::Live));
    push(&socket, None);
    let answer = sync(&socket);
    let syncs = bench.syncs();
    for number in 0..10 {
        assert!(answer.try_recv().is_err());
        for noise in 0..100 {
            push_noise(&file, number * 100 + noise);
            bench.turn();
        }
        bench.advance(millis(50));
    }
    assert!(bench.syncs() > syncs + 5, "the flood is synced by its bytes");
    assert!(answer.try_recv().is_ok());
}

#[test]
fn an_idle_recorder_waits_for_nothing() {
    let mut bench = Bench::new();
    let source = bench.intake.source("host", Manner::Live);
    push(&source, None);
    bench.advance(millis(60_000));
    assert_eq!(bench.core.poll_timeout(), None);
}

/// The real thread, with a real clock and a fake disk.
#[test]
fn the_thread_records_answers_and_ends_with_the_last_events() {
    let bench = Bench::new();
    let Bench { core, outlet, intake, .. } = bench;
    let steps = Steps::of(core, outlet);
    let outbox = Arc::new(Outbox::default());
    let mut events = RecorderEvents::new(Arc::clone(&outbox), intake.clone());
    let (_commands, waiting) = mpsc::channel(1);
    let clocks = Clocks { mono: Clock::new(), read: Arc::new(reading) };
    let thread = RecorderThread { steps, commands: waiting, outbox, clocks };
    let thread = std::thread::spawn(move || thread.run());
    let source = intake.source("unix:x", Manner::Live);
    push(&source, None);
    let answer = sync(&source);
    assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok(Counts { accepted: 1, refused: 0 }));
    push(&source, None);
    drop(source);
    intake.close();
    thread.join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = runtime.block_on(async {
        let mut all = Vec::new();
        while let Some(more) = events.next().await {
            all.extend(more);
        }
        all
    });
    let spooled: usize =
        all.iter().map(|event| if let RecorderEvent::Spooled(some) = event { some.len() } else { 0 }).sum();
    assert_eq!(spooled, 2);
}
