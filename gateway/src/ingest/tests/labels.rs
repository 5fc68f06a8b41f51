//! What robots are called by: what goes to the log, and when.

use std::sync::atomic::AtomicBool;

use muster_protocol::label::{LabelPatch, Labels};

use super::*;
use crate::{
    fleet::Fleet,
    record::{LabelSet, LabelSource},
};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(key, value): &(&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
    Labels::new(pairs.iter().map(pair).collect()).unwrap()
}

fn patch(key: &str, value: Option<&str>) -> LabelPatch {
    LabelPatch([(key.parse().unwrap(), value.map(|value| value.parse().unwrap()))].into())
}

/// Commits or fails what waits, and returns what it says of labels.
fn settle(world: &World, result: Result<(), CommitError>) -> Vec<LabelSet> {
    let waiting = std::mem::take(&mut *world.log.queue.lock().unwrap());
    let mut sets = Vec::new();
    for entry in waiting {
        if let Body::Labels(set) = &entry.envelope.body {
            sets.push(set.clone());
        }
        (entry.done)(result.map(|()| committed()));
    }
    sets
}

fn say_hello(world: &World, instance: u8, labels: Labels) {
    let mut agent = world.connect(None);
    agent.say(&hello_with(instance, labels));
}

/// Commits each record as it comes, and folds it.
#[derive(Default)]
struct Folding {
    fleet: Fleet,
    taken: Mutex<Vec<Envelope>>,
    refuses: Mutex<Option<RejectReason>>,
    fails: AtomicBool,
}

impl Log for Folding {
    fn submit(&self, entry: Entry) -> Result<(), Rejected> {
        if let Some(why) = *self.refuses.lock().unwrap() {
            return Err(Rejected { entry: Box::new(entry), why });
        }
        if self.fails.load(Ordering::Relaxed) {
            (entry.done)(Err(CommitError::DiskFull));
            return Ok(());
        }
        let mut taken = self.taken.lock().unwrap();
        taken.push(entry.envelope.clone());
        let offset = muster_protocol::id::Offset(taken.len() as u64);
        drop(taken);
        self.fleet.apply(offset, &entry.envelope, None);
        (entry.done)(Ok(committed()));
        Ok(())
    }

    fn schema(&self, _: &RobotId, _: SchemaHash) -> Option<Arc<Schema>> {
        None
    }
}

impl Folding {
    fn ingest(self: &Arc<Self>) -> Ingest {
        let config = World::new().ingest.0.config;
        let log: Arc<dyn Log> = Arc::<Self>::clone(self);
        Ingest::new(config, Clock::new(), log, Arc::new(Metrics::new()))
    }

    /// Returns the labels of the robot as `key=value source`.
    fn shown(&self) -> Vec<String> {
        let state = self.fleet.robot(&robot()).unwrap();
        let state = state.read().unwrap();
        let merged = state.labels().merged().into_iter();
        merged.map(|(key, (value, source))| format!("{key}={value} {}", source.as_str())).collect()
    }

    /// Returns how many records the log has.
    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

#[test]
fn an_agents_labels_are_recorded_when_they_are_news_and_only_then() {
    let world = World::new();
    let told = |pairs| LabelSet { by: LabelSource::Agent, labels: labels(pairs) };
    say_hello(&world, 1, labels(&[]));
    assert_eq!(settle(&world, Ok(())), []);
    say_hello(&world, 1, labels(&[("site", "berlin")]));
    assert_eq!(settle(&world, Ok(())), [told(&[("site", "berlin")])]);
    say_hello(&world, 1, labels(&[("site", "berlin")]));
    assert_eq!(settle(&world, Ok(())), []);
    say_hello(&world, 1, labels(&[]));
    assert_eq!(settle(&world, Ok(())), [told(&[])]);
}

#[test]
fn labels_that_the_log_did_not_take_are_tried_again() {
    let world = World::new();
    say_hello(&world, 1, labels(&[("site", "berlin")]));
    assert_eq!(settle(&world, Err(CommitError::DiskFull)).len(), 1);
    world.ingest.end_silent_sessions();
    assert_eq!(settle(&world, Ok(())).len(), 1);
    world.log.refuse(Some(RejectReason::DiskFull));
    // So many sessions come and go that the oldest events are given up.
    for process in 2..9 {
        say_hello(&world, process, labels(&[("site", "kiel")]));
    }
    world.log.refuse(None);
    world.ingest.end_silent_sessions();
    let mut settled = settle(&world, Ok(()));
    say_hello(&world, 9, labels(&[("site", "kiel")]));
    settled.extend(settle(&world, Ok(())));
    assert_eq!(settled.last().unwrap().labels, labels(&[("site", "kiel")]), "it was not forgotten with them");
}

#[test]
fn an_operators_change_is_in_the_state_when_it_returns_and_hides_what_the_agent_says() {
    let log = Arc::new(Folding::default());
    let ingest = log.ingest();
    let (outbox, _outlet) = outbox();
    let peer = Peer { transport: Transport::Quic, address: ([127, 0, 0, 1], 1).into(), robot: None };
    let mut session = ingest.open(peer, outbox);
    session.handle_frame(hello_with(1, labels(&[("site", "berlin")])).to_frame());
    assert_eq!(log.shown(), ["site=berlin agent"]);
    ingest.label(&robot(), &patch("site", Some("kiel"))).unwrap();
    assert_eq!(log.shown(), ["site=kiel operator"]);
    let before = log.count();
    ingest.label(&robot(), &patch("site", Some("kiel"))).unwrap();
    ingest.label(&robot(), &patch("other", None)).unwrap();
    assert_eq!(log.count(), before, "what changes nothing is not recorded");
    ingest.label(&robot(), &patch("site", None)).unwrap();
    assert_eq!(log.shown(), ["site=berlin agent"]);
}

#[test]
fn after_a_start_a_change_is_applied_to_what_the_log_holds() {
    let log = Arc::new(Folding::default());
    log.ingest().label(&robot(), &patch("site", Some("kiel"))).unwrap();
    let ingest = log.ingest();
    ingest.know_labels(&log.fleet);
    ingest.label(&robot(), &patch("line", Some("3"))).unwrap();
    assert_eq!(log.shown(), ["line=3 operator", "site=kiel operator"]);
}

#[test]
fn a_change_that_the_log_does_not_take_is_an_error_and_changes_nothing() {
    let log = Arc::new(Folding::default());
    let ingest = log.ingest();
    ingest.label(&robot(), &patch("site", Some("kiel"))).unwrap();
    for (why, expected) in [
        (RejectReason::QueueFull, NotLabelled::Busy),
        (RejectReason::DiskFull, NotLabelled::DiskFull),
        (RejectReason::Closed, NotLabelled::Stopping),
    ] {
        *log.refuses.lock().unwrap() = Some(why);
        assert_eq!(ingest.label(&robot(), &patch("site", None)), Err(expected));
    }
    *log.refuses.lock().unwrap() = None;
    log.fails.store(true, Ordering::Relaxed);
    assert_eq!(ingest.label(&robot(), &patch("site", None)), Err(NotLabelled::DiskFull));
    assert_eq!(log.shown(), ["site=kiel operator"]);
    log.fails.store(false, Ordering::Relaxed);
    ingest.label(&robot(), &patch("line", Some("3"))).unwrap();
    assert_eq!(
        log.shown(),
        ["line=3 operator", "site=kiel operator"],
        "the failed removal left nothing behind"
    );
}

#[test]
fn changes_of_one_robot_from_many_threads_are_all_kept() {
    let log = Arc::new(Folding::default());
    let ingest = log.ingest();
    std::thread::scope(|scope| {
        for n in 0..16 {
            let ingest = &ingest;
            scope.spawn(move || ingest.label(&robot(), &patch(&format!("k{n}"), Some("v"))).unwrap());
        }
    });
    assert_eq!(log.shown().len(), 16);
}

/// Guards: retention dropped the partition with an operator's labels, and a state that was folded anew lacked them.
#[test]
fn labels_in_the_older_half_of_the_log_are_written_again_as_they_are() {
    let log = Arc::new(Folding::default());
    let ingest = log.ingest();
    let (outbox, _outlet) = outbox();
    let peer = Peer { transport: Transport::Quic, address: ([127, 0, 0, 1], 1).into(), robot: None };
    let mut session = ingest.open(peer, outbox);
    session.handle_frame(hello_with(1, labels(&[("site", "berlin")])).to_frame());
    ingest.label(&robot(), &patch("site", Some("kiel"))).unwrap();
    let (shown, count) = (log.shown(), log.count());
    let heard = || log.fleet.robot(&robot()).unwrap().read().unwrap().totals().received;
    let before = heard();
    let held = |end: u64| muster_protocol::id::Offset(1)..muster_protocol::id::Offset(end);
    assert_eq!(ingest.carry_labels(&log.fleet, &held(3)), 0, "they stand in the newer half");
    let oldest = {
        let state = log.fleet.robot(&robot()).unwrap();
        let state = state.read().unwrap();
        state.labels().record_of(LabelSource::Agent).unwrap().1.0
    };
    assert_eq!(ingest.carry_labels(&log.fleet, &held(2 * oldest - 1)), 0, "the newer half begins with it");
    assert_eq!(ingest.carry_labels(&log.fleet, &held(100)), 2);
    assert_eq!((log.shown(), log.count(), heard()), (shown.clone(), count + 2, before));
    // What is left of the log when its start is dropped says the same.
    let left = Fleet::default();
    for (at, envelope) in (1..).zip(log.taken.lock().unwrap().iter()).skip(count) {
        left.apply(muster_protocol::id::Offset(at), envelope, None);
    }
    let state = left.robot(&robot()).unwrap();
    assert_eq!(state.read().unwrap().labels().merged().len(), shown.len());
    // The agent of the same session is not overridden by its own older words, nor the operator by theirs.
    ingest.label(&robot(), &patch("site", None)).unwrap();
    assert_eq!(log.shown(), ["site=berlin agent"]);
    assert_eq!(ingest.carry_labels(&log.fleet, &held(100)), 1, "an empty set needs no record");
}
