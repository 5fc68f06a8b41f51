use muster_protocol::{
    loss::{LossReason, LostSeq},
    message::{Clock, DrainedLane, SeqRange},
    time::{MonoTime, WallTime},
};
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    fleet::{
        LiveLink,
        acceptance::{Anchor, Anchors},
    },
    record::{SessionEvent, Transport},
};

const NOW: i64 = 1_800_000_000_000_000_000;
const S: i64 = 1_000_000_000;

fn epoch(start: u64) -> Epoch {
    Epoch { start, random: 7 }
}

/// A log that is folded as it is written. Each batch has ten samples, and seq `n` was accepted `n` seconds after `NOW`.
#[derive(Default)]
struct Log {
    holdings: Holdings,
    at: u64,
    session: u64,
}

fn accepted(seq: u64) -> WallTime {
    WallTime(NOW + i64::try_from(seq).unwrap() * S)
}

fn origin(seq: u64) -> Origin {
    let clock = Clock { boot: 1, mono: MonoTime(0), wall: accepted(seq), synchronised: true };
    Origin { session: 1, received_at: WallTime(NOW + 1000 * S), clock }
}

fn held(start: u64, lane: Lane, first: u64, next: u64) -> HeldLane {
    let (samples, spooled) = ((next - first) * 10, (next - 1) * 10);
    HeldLane {
        epoch: epoch(start),
        lane,
        first: Seq(first),
        next: Seq(next),
        samples,
        spooled,
        gone: Vec::new(),
    }
}

fn live_lane(first: u64, next: u64) -> HeldLane {
    held(1, Lane::Live, first, next)
}

impl Log {
    fn next(&mut self) -> Offset {
        self.at += 1;
        Offset(self.at)
    }

    fn hello(&mut self, held: &[HeldLane]) -> &mut Self {
        self.session += 1;
        self.heartbeat(held)
    }

    fn heartbeat(&mut self, held: &[HeldLane]) -> &mut Self {
        let at = self.next();
        let told = Origin { session: self.session, received_at: WallTime(NOW + 2000 * S), ..origin(2000) };
        self.holdings.saw_told(at, &told, held);
        self
    }

    fn batches(&mut self, start: u64, lane: Lane, seqs: impl IntoIterator<Item = u64>) -> &mut Self {
        for seq in seqs {
            let at = self.next();
            let head = NumberedHead { epoch: epoch(start), lane, seq: Seq(seq) };
            self.holdings.saw_batch(at, &head, 10, &origin(seq));
        }
        self
    }

    fn live(&mut self, seqs: impl IntoIterator<Item = u64>) -> &mut Self {
        self.batches(1, Lane::Live, seqs)
    }

    fn lost(&mut self, seqs: impl IntoIterator<Item = u64>) -> &mut Self {
        let lost = seqs.into_iter().map(|seq| LostSeq { seq: Seq(seq), samples: 10 }).collect();
        let (epoch, lane, reason) = (epoch(1), Lane::Live, LossReason::SpoolFull);
        let loss = Loss { epoch, lane, lost, unnumbered: 0, t_min: None, t_max: None, reason };
        let head = NumberedHead { epoch, lane: Lane::Urgent, seq: Seq(1) };
        let at = self.next();
        self.holdings.saw_loss(at, Some(&head), &loss);
        self
    }

    fn absent(&mut self, first: u64, end: u64, reason: AbsenceReason) -> &mut Self {
        let ranges = vec![SeqRange { first: Seq(first), end: Seq(end) }];
        let (epoch, lane, samples) = (epoch(1), Lane::Live, (end - first) * 10);
        let at = self.next();
        self.holdings.saw_absence(at, &Absence { epoch, lane, ranges, samples, reason });
        self
    }

    fn read(&self) -> Completeness {
        self.holdings.read(&Anchors::default(), None)
    }

    /// Reads while a session is open that says this.
    fn read_live(&self, held: &[HeldLane]) -> Completeness {
        let live = LiveLink {
            last_heard: WallTime(NOW + 3000 * S),
            told_at: WallTime(NOW + 3000 * S),
            held: held.to_vec(),
            clock: None,
            transport: Transport::Quic,
            address: String::new(),
        };
        self.holdings.read(&Anchors::default(), Some(&live))
    }
}

fn on_robot(completeness: &Completeness) -> Option<u64> {
    completeness.on_robot.map(|told| told.samples)
}

#[test]
fn a_robot_is_whole_up_to_what_it_told_last() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 4)]).live(1..4);
    let read = log.read();
    assert_eq!((read.standing, read.whole_up_to), (Standing::Whole, Some(WallTime(NOW + 2000 * S))));
    assert_eq!((on_robot(&read), read.before, read.unknown_up_to), (Some(0), Amount::default(), 0));
    let read = log.read_live(&[live_lane(4, 4)]);
    assert_eq!(read.whole_up_to, Some(WallTime(NOW + 3000 * S)), "an open session tells later");
}

#[test]
fn a_robot_that_never_told_claims_nothing() {
    let read = Log::default().live([1, 2]).read();
    assert_eq!((read.standing, read.whole_up_to, read.on_robot), (Standing::NotTold, None, None));
}

#[test]
fn what_is_missing_ends_what_is_whole() {
    let mut log = Log::default();
    // The newest come first after an outage.
    log.hello(&[live_lane(1, 101)]).live(1..41).live(81..101);
    let read = log.read();
    assert_eq!((read.standing, read.whole_up_to), (Standing::Behind, Some(accepted(40))));
    assert_eq!(on_robot(&read), Some(400), "what came since is counted off");
    let read = log.live(41..81).read();
    assert_eq!((read.standing, on_robot(&read)), (Standing::Whole, Some(0)));
}

#[test]
fn an_open_session_tells_of_what_no_record_has_yet() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 4)]).live(1..4);
    let read = log.read_live(&[live_lane(4, 10)]);
    assert_eq!(
        (read.standing, read.whole_up_to, on_robot(&read)),
        (Standing::Behind, Some(accepted(3)), Some(60))
    );
    let read = log.live(4..7).read_live(&[live_lane(4, 10)]);
    assert_eq!((read.whole_up_to, on_robot(&read)), (Some(accepted(6)), Some(30)));
    let other = held(1, Lane::Bulk, 1, 3);
    let read = log.read_live(&[live_lane(7, 7), other]);
    assert_eq!((read.whole_up_to, on_robot(&read)), (None, Some(20)), "nothing of that lane is here");
}

#[test]
fn the_lane_that_lags_most_decides() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 50), held(1, Lane::Bulk, 1, 50)]);
    log.live(1..40).batches(1, Lane::Bulk, 1..10);
    assert_eq!(log.read().whole_up_to, Some(accepted(9)));
    // A lane of a later epoch of which nothing is here was begun after everything of earlier epochs.
    log.live(40..50).batches(1, Lane::Bulk, 10..50).hello(&[held(2, Lane::Live, 1, 5)]);
    assert_eq!(log.read().whole_up_to, Some(accepted(49)));
}

#[test]
fn what_is_lost_or_before_this_gateway_is_not_missing() {
    let mut log = Log::default();
    log.hello(&[live_lane(5, 20), held(1, Lane::Urgent, 1, 2)]).live(12..20);
    assert_eq!(log.read().whole_up_to, None);
    log.absent(1, 5, AbsenceReason::BeforeThisGateway).lost(5..10);
    let read = log.read();
    assert_eq!(
        (read.standing, read.whole_up_to),
        (Standing::Behind, None),
        "nothing before seq 10 has a time"
    );
    assert_eq!((on_robot(&read), read.before), (Some(20), Amount { samples: 40, batches: 4 }));
    let read = log.live([10, 11]).read();
    assert_eq!((read.standing, on_robot(&read)), (Standing::Whole, Some(0)));
    log.heartbeat(&[live_lane(30, 30), held(1, Lane::Urgent, 2, 2)]);
    assert_eq!(log.read().standing, Standing::Behind, "gone and not judged yet");
    let read = log.absent(20, 30, AbsenceReason::Restored).read();
    assert_eq!((read.standing, read.before.samples), (Standing::Whole, 40));
}

#[test]
fn what_a_wiped_robot_held_is_unknown_until_its_spool_comes_back() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 11)]).live(1..4).heartbeat(&[live_lane(4, 15)]).live([4]);
    let wiped = held(2, Lane::Live, 1, 1);
    let read = log.hello(std::slice::from_ref(&wiped)).read();
    assert_eq!((read.standing, read.unknown_up_to, on_robot(&read)), (Standing::Whole, 100, Some(0)));
    assert!(read.whole_up_to.is_some(), "what is unknown does not hold it up for ever");
    // A clone of the old disk connects: nothing is unknown any more.
    let read = log.hello(&[live_lane(4, 15), held(3, Lane::Live, 1, 1)]).read();
    assert_eq!((read.standing, read.unknown_up_to, on_robot(&read)), (Standing::Behind, 0, Some(100)));
    let read = log.live(5..15).hello(&[wiped]).read();
    assert_eq!((read.standing, read.unknown_up_to), (Standing::Whole, 0), "everything came in the meantime");
}

#[test]
fn what_ended_with_the_robots_memory_is_unknown_and_holds_nothing_up() {
    let urgent = |next| held(1, Lane::Urgent, 1, next);
    let mut log = Log::default();
    // Its disk fails after seq 6 of a lane, and before the first of another; seqs up to 10 are in memory alone.
    log.hello(&[live_lane(1, 11), urgent(3)]).live(1..8);
    let again = [live_lane(7, 7), held(3, Lane::Live, 1, 1)];
    let read = log.hello(&again).read();
    assert_eq!((read.standing, read.unknown_up_to, on_robot(&read)), (Standing::Whole, 30 + 20, Some(0)));
    let read = log.live(8..11).batches(1, Lane::Urgent, 1..3).read();
    assert_eq!((read.standing, read.unknown_up_to), (Standing::Whole, 0), "it was on its way");
}

/// Guards: what a wiped robot had sent with a gap held its clone's completeness up for ever.
#[test]
fn what_an_older_image_does_not_know_of_holds_nothing_up() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 3)]).live([1, 2, 6]);
    assert_eq!(log.read().standing, Standing::Behind);
    let read = log.hello(&[live_lane(3, 3)]).read();
    assert_eq!((read.standing, on_robot(&read)), (Standing::Whole, Some(0)));
    // Whoever goes on with the epoch is asked for all of it.
    assert_eq!(log.live([8]).read().standing, Standing::Behind);
}

#[test]
fn an_epoch_that_drained_is_not_unknown() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 11)]).live(1..8);
    // It drained to another gateway, and this one has not judged yet what it lacks.
    let drained = DrainedLane { epoch: epoch(1), lane: Lane::Live, next: Seq(11), spooled: 100 };
    let clock = origin(1).clock;
    let SessionEvent::Told { held, .. } = SessionEvent::told(&[held(2, Lane::Live, 1, 1)], &[drained], clock)
    else {
        unreachable!()
    };
    let read = log.hello(&held).read();
    assert_eq!((read.standing, read.unknown_up_to, on_robot(&read)), (Standing::Behind, 0, Some(0)));
    // A heartbeat lists no drained lanes, which says nothing of them.
    let read = log.absent(8, 11, AbsenceReason::Restored).heartbeat(&held[..1]).read();
    assert_eq!((read.standing, read.unknown_up_to), (Standing::Whole, 0));
}

#[test]
fn epochs_that_are_whole_are_summarised() {
    let mut log = Log::default();
    log.hello(&[held(1, Lane::Live, 1, 9)]).live(1..3);
    for start in 2..200 {
        log.hello(&[live_lane(3, 9), held(start, Lane::Live, 1, 4)]).batches(start, Lane::Live, 1..4);
        log.heartbeat(&[live_lane(3, 9), held(start, Lane::Live, 4, 4)]);
    }
    assert!(log.holdings.epochs.len() <= EPOCHS_MAX && log.holdings.closed.len() <= CLOSED_MAX);
    let read = log.read();
    assert_eq!((read.whole_up_to, on_robot(&read)), (Some(accepted(2)), Some(60)));
    // A drained epoch that is listed again is still known to be whole.
    let read = log.hello(&[live_lane(3, 9), held(180, Lane::Live, 4, 4)]).live(3..9).read();
    assert_eq!((read.standing, read.unknown_up_to), (Standing::Whole, 0));
}

#[test]
fn epochs_of_which_something_is_missing_are_bounded_too() {
    let mut log = Log::default();
    for start in 1..200 {
        log.hello(&[held(start, Lane::Live, 1, 2)]);
    }
    assert_eq!(log.holdings.epochs.len(), EPOCHS_MISSING_MAX);
    assert_eq!(log.read().unknown_up_to, 198 * 10);
}

#[test]
fn counts_that_contradict_each_other_fall_back_to_what_the_robot_says() {
    let lane = HeldLane { spooled: 30, ..live_lane(1, 11) };
    let mut log = Log::default();
    log.hello(&[lane]).live(1..6);
    assert_eq!(on_robot(&log.read()), Some(100));
}

#[test]
fn a_message_that_took_its_time_says_nothing_of_the_meantime() {
    let mut log = Log::default();
    log.hello(&[live_lane(1, 4)]).live(1..4);
    // The clocks of the robot's boot are known from an earlier message: the last one was said 40 s before it arrived.
    let mut anchors = Anchors::default();
    let clock = Clock { mono: MonoTime(40_000_000_000), ..origin(1).clock };
    anchors.insert(Offset(1), Anchor { session: 1, received_at: WallTime(NOW + 2000 * S), clock });
    let read = log.holdings.read(&anchors, None);
    assert_eq!(read.whole_up_to, Some(WallTime(NOW + 1960 * S)));
    assert_eq!(read.on_robot.map(|told| told.at), Some(WallTime(NOW + 2000 * S)));
}

/// One step of a robot with one spool, told by what it would say.
#[derive(Clone, Debug)]
enum Step {
    Spool,
    Arrive(Index),
    Tell,
}

proptest! {
    /// Against a plain count of what was spooled and what came.
    #[test]
    fn it_counts_what_is_missing(
        steps in prop::collection::vec(
            prop_oneof![4 => Just(Step::Spool), 3 => any::<Index>().prop_map(Step::Arrive), 1 => Just(Step::Tell)], 1..60),
    ) {
        let mut log = Log::default();
        let (mut next, mut waiting, mut came): (u64, Vec<u64>, Vec<u64>) = (1, Vec::new(), Vec::new());
        for step in &steps {
            match step {
                Step::Spool => {
                    waiting.push(next);
                    next += 1;
                }
                Step::Arrive(which) if !waiting.is_empty() => {
                    let seq = waiting.remove(which.index(waiting.len()));
                    came.push(seq);
                    log.live([seq]);
                }
                Step::Arrive(_) => {}
                Step::Tell => {
                    let first = waiting.iter().min().copied().unwrap_or(next);
                    log.hello(&[live_lane(first, next)]);
                    let read = log.read();
                    prop_assert_eq!(on_robot(&read), Some(waiting.len() as u64 * 10));
                    let whole_up_to = match waiting.iter().min() {
                        None => Some(WallTime(NOW + 2000 * S)),
                        Some(missing) => came.iter().filter(|seq| *seq < missing).max().map(|seq| accepted(*seq)),
                    };
                    prop_assert_eq!(read.whole_up_to, whole_up_to);
                }
            }
        }
    }
}
