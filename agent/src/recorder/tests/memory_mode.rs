//! The disk fails, in each way, at each moment, and comes back: every sample arrives once, or a loss record tells of it.

use std::{collections::BTreeMap, io::ErrorKind};

use muster_protocol::{batch, column::ValueRef, id::Epoch, loss::Loss, schema::Schema};

use super::*;
use crate::spool::{StoredKind, fake_disk::Deed};

/// What a gateway makes of what it gets, written apart from the code under test: one record for each number.
#[derive(Default)]
struct Checker {
    settled: BTreeMap<(Epoch, Lane, Seq), Vec<i64>>,
    lost: BTreeMap<LossReason, u64>,
}

impl Checker {
    fn take(&mut self, reader: &SpoolReader, head: NumberedHead) {
        let NumberedHead { epoch, lane, seq } = head;
        if self.settled.contains_key(&(epoch, lane, seq)) {
            return;
        }
        let Some(stored) = reader.read(head).unwrap() else { return };
        let StoredKind::Batch { schema } = stored.kind else {
            self.settled.insert((epoch, lane, seq), Vec::new());
            let loss: Loss = postcard::from_bytes(&stored.payload).unwrap();
            loss.check().unwrap();
            *self.lost.entry(loss.reason).or_default() += loss.unnumbered;
            for lost in &loss.lost {
                let entry = self.settled.entry((loss.epoch, loss.lane, lost.seq));
                entry.or_insert_with(|| {
                    *self.lost.entry(loss.reason).or_default() += u64::from(lost.samples);
                    Vec::new()
                });
            }
            return;
        };
        let encoded = reader.schema(head, schema).unwrap().unwrap();
        let decoded = batch::decode(&stored.payload, &Schema::decode(&encoded).unwrap()).unwrap();
        let int = |value| if let ValueRef::Int(int) = value { int } else { panic!("an integer was pushed") };
        let values = decoded.samples().map(|sample| int(sample.value)).collect();
        self.settled.insert((epoch, lane, seq), values);
    }

    /// Every value from 0 on came once, but for as many as loss records tell.
    fn check(&self, pushed: u64, what: &str) {
        let mut values: Vec<i64> = self.settled.values().flatten().copied().collect();
        values.sort_unstable();
        let came = values.len() as u64;
        values.dedup();
        assert_eq!(values.len() as u64, came, "{what}: doubled");
        let lost: u64 = self.lost.values().sum();
        assert_eq!(came + lost, pushed, "{what}: {:?}", self.lost);
    }
}

/// A recorder, a source, and a gateway that acknowledges now and then.
struct Story {
    bench: Bench,
    source: Source,
    checker: Checker,
    told: usize,
    pushed: u64,
}

impl Story {
    fn new() -> Self {
        let bench = Bench::new();
        let source = bench.intake.source("unix:x", Manner::Live);
        Self { bench, source, checker: Checker::default(), told: 0, pushed: 0 }
    }

    fn record(&mut self, rows: u64) {
        for _ in 0..rows {
            let lane = Lane::ALL[usize::try_from(self.pushed % 3).unwrap()];
            let value = Value::Int(i64::try_from(self.pushed).unwrap());
            self.source.push(stamped(Some(lane), value), Shown { line: 1, text: b"" }).unwrap();
            self.pushed += 1;
            self.bench.advance(millis(100));
        }
    }

    fn deliver(&mut self) {
        for (event, _) in self.bench.events.drain(self.told..).collect::<Vec<_>>() {
            let heads: Vec<NumberedHead> = match &event {
                RecorderEvent::Spooled(spooled) => spooled.iter().map(Spooled::head).collect(),
                RecorderEvent::Found(spans) => spans.iter().flat_map(heads_of).collect(),
                _ => Vec::new(),
            };
            for head in heads {
                self.checker.take(&self.bench.reader, head);
            }
            self.bench.events.push((event, 0));
        }
        self.bench.acknowledge_all();
        self.told = self.bench.events.len();
    }

    /// Ends the program without a word, starts it anew on the same disk, and delivers what is there.
    fn kill_and_restart(mut self, what: &str) {
        // What is in open batches is not accepted.
        self.bench.advance(millis(5000));
        let disk = self.bench.disk.clone();
        disk.set_faults(Faults::default());
        disk.kill();
        let (spool, recovered) = Spool::open(Arc::new(disk), config(LIMIT_BYTES), 99).unwrap();
        assert_eq!(recovered.losses, [], "{what}");
        let reader = spool.reader();
        recovered.spans.iter().flat_map(heads_of).for_each(|head| self.checker.take(&reader, head));
        self.checker.check(self.pushed, what);
    }
}

fn heads_of(span: &Span) -> Vec<NumberedHead> {
    let head = |seq| NumberedHead { epoch: span.epoch, lane: span.lane, seq: Seq(seq) };
    (span.first.0..span.next.0).map(head).collect()
}

const DEEDS: [Deed; 5] = [Deed::Append, Deed::Create, Deed::Remove, Deed::Sync, Deed::Change];

#[test]
fn whatever_the_disk_refuses_every_sample_arrives_once_and_the_disk_is_used_again() {
    let kinds = [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other];
    for (deed, kinds) in
        DEEDS.into_iter().zip([&kinds[..1], &kinds[..1], &kinds[2..], &kinds[2..], &kinds[1..2]])
    {
        for kind in kinds.iter().copied() {
            for before in [0, 1, 7, 20] {
                let what = format!("{deed:?} {kind:?} after {before}");
                let mut story = Story::new();
                story.record(before);
                if before == 7 {
                    story.deliver();
                }
                story.bench.disk.set_faults(Faults { refused: Some((deed, kind)), ..Faults::default() });
                story.record(40);
                if before == 20 {
                    story.deliver();
                    story.record(40);
                }
                story.bench.disk.set_faults(Faults::default());
                story.bench.advance(Duration::from_secs(61));
                let failed = story.bench.count(|event| matches!(event, RecorderEvent::Failed(_)));
                let mended = story.bench.count(|event| matches!(event, RecorderEvent::Mended));
                assert_eq!(failed, mended, "{what}");
                story.record(10);
                story.deliver();
                assert_eq!(story.bench.core.epoch().start % 2, 1, "{what}: on the disk again");
                let answer = sync(&story.source);
                story.bench.advance(millis(1000));
                assert!(answer.try_recv().is_ok(), "{what}: what comes is accepted again");
                story.record(10);
                story.kill_and_restart(&what);
            }
        }
    }
}

#[test]
fn a_disk_that_fails_again_and_again_loses_nothing() {
    let mut story = Story::new();
    for round in 0..6 {
        story.record(7);
        let fault = (DEEDS[round % DEEDS.len()], ErrorKind::StorageFull);
        story.bench.disk.set_faults(Faults { refused: Some(fault), ..Faults::default() });
        story.record(9);
        story.bench.disk.set_faults(Faults::default());
        story.bench.advance(Duration::from_secs(31));
    }
    story.deliver();
    story.kill_and_restart("again and again");
}

#[test]
fn what_the_memory_has_no_room_for_is_told_as_lost_because_the_disk_failed() {
    let mut story = Story::new();
    story
        .bench
        .disk
        .set_faults(Faults { refused: Some((Deed::Change, ErrorKind::Other)), ..Faults::default() });
    story.record(3);
    let (noise, pushed) = (story.bench.intake.source("host", Manner::Live), story.pushed);
    for number in 0..1000 {
        push_noise(&noise, number);
        story.bench.advance(millis(100));
    }
    story.bench.disk.set_faults(Faults::default());
    story.bench.advance(Duration::from_secs(31));
    let mut lost = 0;
    for head in story.bench.spooled() {
        if let Ok(Some(stored)) = story.bench.reader.read(head)
            && stored.kind == StoredKind::Loss
        {
            let loss: Loss = postcard::from_bytes(&stored.payload).unwrap();
            assert_eq!(loss.reason, LossReason::DiskFailed);
            lost += loss.samples();
        }
    }
    let held: u64 = story.bench.core.holding().held.iter().map(|lane| lane.samples).sum();
    assert!(lost > 300, "8 MiB are far less than 16 MB: {lost}");
    assert_eq!(held + lost, pushed + 1000);
}

#[test]
fn a_disk_that_is_full_at_start_does_not_keep_the_agent_from_starting_and_what_it_holds_is_delivered() {
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem] {
        let mut story = Story::new();
        story.record(30);
        story.bench.advance(millis(5000));
        let Story { bench, checker, pushed, .. } = story;
        let disk = bench.disk.clone();
        drop(bench);
        disk.kill();
        disk.set_faults(Faults { refused: Some((Deed::Change, kind)), ..Faults::default() });
        let Err(why) = Spool::open(Arc::new(disk.clone()), config(LIMIT_BYTES), 8) else {
            panic!("it takes writes")
        };
        assert!(why.is_disk_failure(), "{why}");
        let (spool, recovered) =
            Spool::open_failed(Arc::new(disk.clone()), config(LIMIT_BYTES), 8, why).unwrap();
        let mut bench = Bench::of(disk, spool);
        let source = bench.intake.source("unix:x", Manner::Live);
        let mut story = Story { bench: Bench::new(), source, checker, told: 0, pushed };
        std::mem::swap(&mut story.bench, &mut bench);
        story.record(30);
        assert_eq!(story.bench.count(|event| matches!(event, RecorderEvent::Failed(_))), 1);
        recovered
            .spans
            .iter()
            .flat_map(heads_of)
            .for_each(|head| story.checker.take(&story.bench.reader, head));
        story.deliver();
        story.bench.disk.set_faults(Faults::default());
        story.bench.advance(Duration::from_secs(31));
        assert_eq!(story.bench.count(|event| matches!(event, RecorderEvent::Mended)), 1);
        story.deliver();
        story.record(10);
        story.kill_and_restart("full at start");
    }
}

#[test]
fn what_the_disk_did_not_let_be_read_at_the_start_is_delivered_once_it_does() {
    let mut story = Story::new();
    story.record(30);
    story.bench.advance(millis(5000));
    let Story { bench, checker, pushed, .. } = story;
    let disk = bench.disk.clone();
    drop(bench);
    disk.kill();
    disk.set_faults(Faults { no_reads_of: Some("live/".to_owned()), ..Faults::default() });
    let (spool, recovered) = Spool::open(Arc::new(disk.clone()), config(LIMIT_BYTES), 8).unwrap();
    assert!(!recovered.unreadable.is_empty());
    let bench = Bench::of(disk, spool);
    let source = bench.intake.source("unix:x", Manner::Live);
    let mut story = Story { bench, source, checker, told: 0, pushed };
    recovered.spans.iter().flat_map(heads_of).for_each(|head| story.checker.take(&story.bench.reader, head));
    story.record(3);
    story.bench.advance(Duration::from_secs(61));
    assert_eq!(
        story.bench.count(|event| matches!(event, RecorderEvent::Found(found) if !found.is_empty())),
        0
    );
    story.bench.disk.set_faults(Faults::default());
    story.bench.advance(Duration::from_secs(31));
    assert_eq!(
        story.bench.count(|event| matches!(event, RecorderEvent::Found(found) if !found.is_empty())),
        1
    );
    assert_eq!(story.bench.core.poll_timeout(), None, "nothing is left to look at");
    story.deliver();
    story.kill_and_restart("unreadable at the start");
}

/// Guards: a record that was given up while the disk failed went from the disk, and its loss was in memory alone.
#[test]
fn what_is_given_up_while_the_disk_fails_stays_on_it_until_the_disk_has_its_loss() {
    for works_again in [false, true] {
        let mut story = Story::new();
        story.record(9);
        story.bench.advance(millis(5000));
        let head = *story.bench.spooled().iter().find(|head| head.lane == Lane::Live).unwrap();
        story.bench.disk.set_faults(Faults { no_syncs: true, ..Faults::default() });
        story.record(3);
        story.bench.core.handle_command(RecorderCommand::GiveUp(head, LossReason::Corrupt), story.bench.now);
        story.bench.advance(millis(1000));
        if works_again {
            story.bench.disk.set_faults(Faults::default());
            story.bench.advance(Duration::from_secs(31));
        }
        let disk = story.bench.disk.clone();
        drop(story);
        disk.set_faults(Faults::default());
        disk.power_cut(1);
        let (spool, _) = Spool::open(Arc::new(disk), config(LIMIT_BYTES), 99).unwrap();
        let held = spool.reader().read(head).unwrap();
        let tells = |span: &Span| {
            heads_of(span).into_iter().any(|one| {
                let stored =
                    spool.reader().read(one).unwrap().filter(|stored| stored.kind == StoredKind::Loss);
                let loss = stored.map(|stored| postcard::from_bytes::<Loss>(&stored.payload).unwrap());
                loss.is_some_and(|loss| {
                    loss.lost.iter().any(|lost| (loss.lane, lost.seq) == (head.lane, head.seq))
                })
            })
        };
        let is_told = spool.spans().iter().any(tells);
        assert!(held.is_some(), "marks are in memory, and what was recorded besides is to come");
        assert_eq!(is_told, works_again);
    }
}
