//! The gateway's end of a delivery session, to an agent that says anything.
//!
//! Input: steps, each a byte and what it needs. What the agent says goes through frames first, as it would.

use std::collections::VecDeque;

use muster_protocol::{
    id::{Epoch, InstanceId, Lane, RobotId, Seq},
    label::Labels,
    loss::{AbsenceReason, Loss, LossReason, LostSeq},
    message::{
        Clock, DrainedLane, HeldLane, Hello, LaneRanges, Message, Numbered, NumberedHead, RefuseReason,
        SeqRange,
    },
    session::receiver::{Claim, LossVerdict, Receiver, Verdict},
    time::{MonoTime, WallTime},
};

use super::{
    input::Input,
    spool::{EPOCHS, first_seq},
};

/// Hellos, heartbeats, batches, losses, commits that succeed and fail, restarts.
pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::default();
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        match input.byte() % 10 {
            0 => world.hello(&mut input),
            1 => world.heartbeat(&mut input),
            2 | 3 => world.batch(&mut input),
            4 => world.loss(&mut input),
            5 | 6 => world.end_claim(Outcome::Committed),
            7 => world.end_claim(Outcome::Failed),
            8 => world.absences(),
            _ => world.restart(),
        }
    }
}

/// The receiver, and beside it what it may not contradict.
#[derive(Default)]
struct World {
    receiver: Receiver,
    open: Vec<Epoch>,
    claims: VecDeque<(Claim, Vec<Place>)>,
    /// What was handed out, until it failed.
    claimed: Vec<Place>,
    committed: Vec<Place>,
}

/// Seqs of one lane.
type Place = (Epoch, Lane, SeqRange);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Committed,
    Failed,
}

impl World {
    fn hello(&mut self, input: &mut Input<'_>) {
        let (held, drained) = (held(input), drained(input));
        let clock = Clock { boot: 1, mono: MonoTime(2), wall: WallTime(3), synchronised: true };
        let robot: RobotId = "f/r".parse().expect("a robot");
        let (instance, version) = (InstanceId([1; 16]), String::new());
        let hello = Message::Hello(Hello {
            robot,
            instance,
            version,
            held,
            drained,
            clock,
            labels: Labels::default(),
        });
        let Ok(Message::Hello(hello)) = Message::from_frame(&hello.to_frame()) else { return };
        self.open = hello.held.iter().map(|lane| lane.epoch).collect();
        let have = self.receiver.handle_hello(&hello.held, &hello.drained);
        self.check_said(&have);
    }

    fn heartbeat(&mut self, input: &mut Input<'_>) {
        let held = held(input);
        let clock = Clock { boot: 1, mono: MonoTime(2), wall: WallTime(3), synchronised: true };
        let beat = Message::Heartbeat(muster_protocol::message::Heartbeat { held, clock });
        let Ok(Message::Heartbeat(beat)) = Message::from_frame(&beat.to_frame()) else { return };
        self.open = beat.held.iter().map(|lane| lane.epoch).collect();
        self.receiver.handle_heartbeat(&beat.held);
    }

    fn batch(&mut self, input: &mut Input<'_>) {
        let batch = Numbered { head: head(input), payload: b"batch"[..].into() };
        let Ok(Message::Batch(batch)) = Message::from_frame(&Message::Batch(batch).to_frame()) else {
            return;
        };
        let place = place(batch.head);
        match self.receiver.handle_batch(batch.head, input.byte().into()) {
            Verdict::Commit(claim) => self.claim(claim, vec![place]),
            Verdict::Committed => assert!(covered(&self.committed, &place), "{place:?}"),
            Verdict::Claimed => assert!(covered(&self.claimed, &place), "{place:?}"),
            Verdict::Refuse(reason) => self.check_refusal(batch.head, reason),
        }
    }

    fn loss(&mut self, input: &mut Input<'_>) {
        let head = head(input);
        let NumberedHead { epoch, lane, .. } = self::head(input);
        let count = input.byte() % 8;
        let lost = (0..count).map(|_| LostSeq { seq: seq(input), samples: input.byte().into() }).collect();
        let (unnumbered, reason) = (u64::from(input.byte() & 1) * u64::MAX, LossReason::Corrupt);
        let loss = Loss { epoch, lane, lost, unnumbered, t_min: None, t_max: None, reason };
        let said = Message::Loss(Numbered::from_loss(head, &loss)).to_frame();
        let Ok(Message::Loss(said)) = Message::from_frame(&said) else { return };
        let Ok(loss) = said.loss() else { return };
        match self.receiver.handle_loss(head, &loss) {
            LossVerdict::Commit(claim, taken) => {
                assert!(taken.lost.iter().all(|lost| loss.lost.contains(lost)), "nothing is made up");
                let number = |lost: &LostSeq| place(NumberedHead { epoch, lane, seq: lost.seq });
                let places = taken.lost.iter().map(number).filter(|lost| *lost != place(head));
                self.claim(claim, places.chain([place(head)]).collect());
            }
            LossVerdict::Committed => assert!(covered(&self.committed, &place(head))),
            LossVerdict::Claimed => assert!(covered(&self.claimed, &place(head))),
            LossVerdict::Refuse(RefuseReason::Busy) => {}
            LossVerdict::Refuse(reason) => self.check_refusal(head, reason),
        }
    }

    fn absences(&mut self) {
        for _ in 0..ABSENCES_MAX {
            let Some((claim, absence)) = self.receiver.poll_absent(AbsenceReason::Restored) else { return };
            assert!(!absence.ranges.is_empty(), "an absence of nothing");
            let places = absence.ranges.iter().map(|range| (absence.epoch, absence.lane, *range)).collect();
            self.claim(claim, places);
        }
        panic!("absences without end");
    }

    /// Takes a claim: nobody else may have any of it, and none of it may be in the log.
    fn claim(&mut self, claim: Claim, places: Vec<Place>) {
        for place in &places {
            assert!(place.2.first < place.2.end, "{place:?} is nothing");
            let known = self.claimed.iter().chain(&self.committed).find(|known| overlap(known, place));
            assert_eq!(known, None, "{place:?} is decided twice");
        }
        self.claimed.extend(&places);
        self.claims.push_back((claim, places));
    }

    fn end_claim(&mut self, outcome: Outcome) {
        let Some((claim, places)) = self.claims.pop_front() else { return };
        self.claimed.retain(|place| !places.contains(place));
        if outcome == Outcome::Failed {
            return self.receiver.handle_failed(claim);
        }
        self.receiver.handle_committed(claim);
        self.committed.extend(&places);
        let firsts = places.iter().map(|(epoch, lane, range)| (*epoch, *lane, range.first));
        let acked = self.receiver.ack(firsts);
        self.check_said(&acked);
    }

    /// Starts the gateway anew from its checkpoint: what was not committed was never claimed.
    fn restart(&mut self) {
        let kept = self.receiver.committed();
        let receiver = Receiver::from_committed(kept.clone());
        assert_eq!(receiver.committed(), kept, "a checkpoint comes back");
        self.receiver = receiver;
        self.open.clear();
        self.claims.clear();
        self.claimed.clear();
    }

    /// Checks that only what is committed is said to be.
    fn check_said(&self, said: &[LaneRanges]) {
        for LaneRanges { epoch, lane, ranges } in said {
            for range in ranges {
                let place = (*epoch, *lane, *range);
                assert!(covered(&self.committed, &place), "{place:?} is said to be committed");
            }
        }
    }

    fn check_refusal(&self, head: NumberedHead, reason: RefuseReason) {
        let open = self.open.contains(&head.epoch);
        assert_eq!(reason == RefuseReason::EpochClosed, !open, "{head:?}");
    }
}

fn held(input: &mut Input<'_>) -> Vec<HeldLane> {
    let one = |input: &mut Input<'_>| {
        let NumberedHead { epoch, lane, seq: first } = head(input);
        let (next, spooled) = (seq(input), u64::from(input.byte()));
        let samples = spooled.saturating_sub(input.byte().into());
        let spooled = if spooled == 0xff { u64::MAX } else { spooled };
        let count = input.byte() % 3;
        let gone = (0..count).map(|_| SeqRange { first: seq(input), end: seq(input) }).collect();
        HeldLane { epoch, lane, first, next, samples, spooled, gone }
    };
    (0..input.byte() % 5).map(|_| one(input)).collect()
}

fn drained(input: &mut Input<'_>) -> Vec<DrainedLane> {
    let one = |input: &mut Input<'_>| {
        let NumberedHead { epoch, lane, seq: next } = head(input);
        DrainedLane { epoch, lane, next, spooled: first_seq(input.byte()) }
    };
    (0..input.byte() % 3).map(|_| one(input)).collect()
}

fn head(input: &mut Input<'_>) -> NumberedHead {
    let byte = usize::from(input.byte());
    let lane = Lane::ALL[byte % 3];
    NumberedHead { epoch: EPOCHS[byte / 3 % EPOCHS.len()], lane, seq: seq(input) }
}

fn seq(input: &mut Input<'_>) -> Seq {
    Seq(first_seq(input.byte()))
}

fn place(head: NumberedHead) -> Place {
    (head.epoch, head.lane, SeqRange { first: head.seq, end: head.seq.next() })
}

fn overlap(a: &Place, b: &Place) -> bool {
    (a.0, a.1) == (b.0, b.1) && a.2.first < b.2.end && b.2.first < a.2.end
}

/// Says whether the known places together hold all of this one.
fn covered(known: &[Place], place: &Place) -> bool {
    let (epoch, lane, range) = *place;
    let mut next = range.first;
    while next < range.end {
        let holds = |known: &&Place| {
            (known.0, known.1) == (epoch, lane) && known.2.first <= next && next < known.2.end
        };
        match known.iter().find(holds) {
            Some((.., known)) => next = known.end,
            None => return false,
        }
    }
    true
}

/// Longer stories repeat themselves, and the check of each step looks at all before it.
const STEPS_MAX: usize = 256;

/// More than there are lanes.
const ABSENCES_MAX: usize = 64;
