//! Whose session a frame from the broker belongs to. Pure. This is the one place that says which robots behind a
//! broker are this gateway's.
//!
//! A broker tells nothing of who is connected to it, so a session begins with a Hello on the robot's topic and ends
//! with a Bye or by silence. A frame from a robot without a session is not handled: this gateway has started anew, or
//! heard nothing for too long, while the broker kept frames for it. Its robot is asked to say Hello again, and sends
//! what it did not see acknowledged once more. So nothing is lost by that, and nothing is handled without the session
//! that says which epochs are open.
//!
//! | frame | session | verdict |
//! |---|---|---|
//! | Hello on `up/control` of its own robot | any | [`Verdict::Open`], in the place of an older one |
//! | Hello of another robot | any | Bye{identity mismatch}; an open session stays |
//! | Hello, and as many sessions as there may be | none | Bye{too many sessions} |
//! | any other | open | [`Verdict::Hand`] |
//! | Bye | none | [`Verdict::Drop`] |
//! | any other | none | Bye{superseded}, 0 ms: say Hello again; at most once in [`ASK_EVERY`] |

use std::{collections::BTreeMap, time::Duration};

use muster_protocol::{
    frame::{Frame, Kind},
    id::RobotId,
    message::{Bye, ByeReason, Message},
    time::MonoTime,
};

use crate::link::topics::Leaf;

/// What a gateway subscribes to. A part of the fleet would be a matter of these filters and of nothing else.
pub(super) const FILTERS: [&str; 2] = ["muster/1/+/+/up/+", "muster/1/+/+/json"];

/// The open sessions of the robots behind one broker. `S` is what the caller keeps of each.
#[derive(Debug)]
pub(super) struct Sessions<S> {
    open: BTreeMap<RobotId, Open<S>>,
    /// When robots without a session were asked to say Hello.
    asked: BTreeMap<RobotId, MonoTime>,
    limits: Limits,
    next: u64,
}

/// How many sessions there may be, and how long each may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most sessions at once; more robots are turned away for a minute.
    pub(super) sessions_max: usize,
    /// A session that is not heard for so long is over.
    pub(super) silence: Duration,
}

/// What tells a session from an earlier one of the same robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionNumber(u64);

/// What to do with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Open a session and put it in with [`Sessions::insert`]; the frame is the first that it is given.
    Open,
    /// Give it to the robot's session.
    Hand,
    /// Tell the robot this; the frame is not handled.
    Tell(Bye),
    /// Nothing; the frame is not handled.
    Drop,
}

#[derive(Debug)]
struct Open<S> {
    number: SessionNumber,
    heard: MonoTime,
    session: S,
}

impl<S> Sessions<S> {
    /// Starts without sessions.
    pub(super) fn new(limits: Limits) -> Self {
        Self { open: BTreeMap::new(), asked: BTreeMap::new(), limits, next: 0 }
    }

    /// Decides on a frame that arrived on a topic of `robot`.
    pub(super) fn judge(&mut self, robot: &RobotId, leaf: Leaf, frame: &Frame, now: MonoTime) -> Verdict {
        if frame.kind == Kind::Hello && leaf == Leaf::Control {
            return self.judge_hello(robot, frame);
        }
        if let Some(open) = self.open.get_mut(robot) {
            open.heard = now;
            return Verdict::Hand;
        }
        match frame.kind {
            Kind::Bye => Verdict::Drop,
            _ => self.ask(robot, now),
        }
    }

    /// Puts an opened session in the place of the robot's older one, which is returned.
    pub(super) fn insert(&mut self, robot: &RobotId, session: S, now: MonoTime) -> Option<S> {
        self.asked.remove(robot);
        let number = SessionNumber(self.next);
        self.next += 1;
        let older = self.open.insert(robot.clone(), Open { number, heard: now, session });
        older.map(|older| older.session)
    }

    /// Returns the number that the next [`Sessions::insert`] gives.
    pub(super) fn next_number(&self) -> SessionNumber {
        SessionNumber(self.next)
    }

    /// Returns a robot's session.
    pub(super) fn session(&mut self, robot: &RobotId) -> Option<&mut S> {
        self.open.get_mut(robot).map(|open| &mut open.session)
    }

    /// Whether the robot's session is still the one with this number.
    pub(super) fn is_current(&self, robot: &RobotId, number: SessionNumber) -> bool {
        self.open.get(robot).is_some_and(|open| open.number == number)
    }

    /// Takes a robot's session out: it is over.
    pub(super) fn remove(&mut self, robot: &RobotId) -> Option<S> {
        self.open.remove(robot).map(|open| open.session)
    }

    /// Takes out the sessions that were silent for too long. Call it about once a second.
    pub(super) fn take_silent(&mut self, now: MonoTime) -> Vec<S> {
        self.asked.retain(|_, asked| now.since(*asked) < ASK_EVERY);
        let silence = self.limits.silence;
        let silent = self.open.iter().filter(|(_, open)| now.since(open.heard) > silence);
        let silent: Vec<_> = silent.map(|(robot, _)| robot.clone()).collect();
        silent.iter().filter_map(|robot| self.remove(robot)).collect()
    }

    /// Takes all sessions out.
    pub(super) fn take_all(&mut self) -> Vec<(RobotId, S)> {
        std::mem::take(&mut self.open).into_iter().map(|(robot, open)| (robot, open.session)).collect()
    }

    fn judge_hello(&self, robot: &RobotId, frame: &Frame) -> Verdict {
        let Ok(Message::Hello(hello)) = Message::from_frame(frame) else {
            return Verdict::Tell(Bye { reason: ByeReason::ProtocolError, retry_after_ms: BROKEN_RETRY_MS });
        };
        if hello.robot != *robot {
            return Verdict::Tell(Bye {
                reason: ByeReason::IdentityMismatch,
                retry_after_ms: BROKEN_RETRY_MS,
            });
        }
        if !self.open.contains_key(robot) && self.open.len() >= self.limits.sessions_max {
            return Verdict::Tell(Bye { reason: ByeReason::TooManySessions, retry_after_ms: FULL_RETRY_MS });
        }
        Verdict::Open
    }

    /// Asks a robot to say Hello, once for all the frames that the broker may have kept of it.
    fn ask(&mut self, robot: &RobotId, now: MonoTime) -> Verdict {
        let may_ask = match self.asked.get(robot) {
            Some(asked) => now.since(*asked) >= ASK_EVERY,
            // It goes on sending, and is asked when there is room again: within a few seconds.
            None => self.asked.len() < self.limits.sessions_max,
        };
        if !may_ask {
            return Verdict::Drop;
        }
        self.asked.insert(robot.clone(), now);
        Verdict::Tell(SAY_HELLO)
    }
}

/// How often a robot without a session is asked to say Hello: long enough for its answer to arrive over a slow link,
/// so that it is not sent away from the connection on which it has just said it.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(5);

/// The session of a frame is over or was never here, and no newer one took its place: come again at once.
const SAY_HELLO: Bye = Bye { reason: ByeReason::Superseded, retry_after_ms: 0 };

/// An agent that broke the protocol will break it again.
const BROKEN_RETRY_MS: u32 = 60_000;

/// A gateway that is full of robots stays so until an operator acts.
const FULL_RETRY_MS: u32 = 60_000;

#[cfg(test)]
mod tests {
    use muster_protocol::{
        id::{InstanceId, Lane},
        message::{Clock, Hello},
        time::WallTime,
    };

    use super::*;

    const LIMITS: Limits = Limits { sessions_max: 2, silence: Duration::from_secs(45) };

    fn at(seconds: u64) -> MonoTime {
        MonoTime(seconds * 1_000_000_000)
    }

    fn robot(name: &str) -> RobotId {
        format!("fleet/{name}").parse().unwrap()
    }

    fn hello(name: &str) -> Frame {
        let clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: false };
        Message::Hello(Hello {
            robot: robot(name),
            instance: InstanceId([1; 16]),
            version: "1".to_owned(),
            held: Vec::new(),
            drained: Vec::new(),
            clock,
        })
        .to_frame()
    }

    fn frame(kind: Kind) -> Frame {
        Frame { kind, body: vec![0].into() }
    }

    fn bye(reason: ByeReason, retry_after_ms: u32) -> Verdict {
        Verdict::Tell(Bye { reason, retry_after_ms })
    }

    fn greeted(names: &[&str]) -> Sessions<u32> {
        let mut sessions = Sessions::new(LIMITS);
        for (n, name) in (0..).zip(names) {
            assert_eq!(sessions.judge(&robot(name), Leaf::Control, &hello(name), at(0)), Verdict::Open);
            assert_eq!(sessions.insert(&robot(name), n, at(0)), None);
        }
        sessions
    }

    const LIVE: Leaf = Leaf::Lane(Lane::Live);

    #[test]
    fn a_frame_belongs_to_the_session_of_its_topics_robot() {
        let mut sessions = greeted(&["a", "b"]);
        for kind in [Kind::Batch, Kind::Schema, Kind::Loss, Kind::Heartbeat, Kind::Bye] {
            assert_eq!(sessions.judge(&robot("b"), LIVE, &frame(kind), at(1)), Verdict::Hand);
        }
        assert_eq!(sessions.session(&robot("b")), Some(&mut 1));
        assert_eq!(sessions.session(&robot("c")), None);
    }

    #[test]
    fn a_robot_without_a_session_is_asked_once_for_all_its_frames_to_say_hello() {
        let mut sessions = Sessions::<u32>::new(LIMITS);
        let say_hello = bye(ByeReason::Superseded, 0);
        assert_eq!(sessions.judge(&robot("a"), LIVE, &frame(Kind::Batch), at(0)), say_hello);
        assert_eq!(sessions.judge(&robot("a"), LIVE, &frame(Kind::Batch), at(1)), Verdict::Drop);
        assert_eq!(sessions.judge(&robot("b"), LIVE, &frame(Kind::Loss), at(1)), say_hello);
        assert_eq!(sessions.judge(&robot("a"), Leaf::Control, &frame(Kind::Heartbeat), at(5)), say_hello);
        assert_eq!(sessions.judge(&robot("a"), Leaf::Control, &frame(Kind::Bye), at(20)), Verdict::Drop);
    }

    #[test]
    fn robots_beyond_the_bound_are_neither_asked_nor_remembered() {
        let mut sessions = Sessions::<u32>::new(LIMITS);
        for name in ["a", "b", "c"] {
            sessions.judge(&robot(name), LIVE, &frame(Kind::Batch), at(0));
        }
        assert_eq!(sessions.asked.len(), 2);
        sessions.take_silent(at(6));
        assert_eq!(
            sessions.judge(&robot("c"), LIVE, &frame(Kind::Batch), at(6)),
            bye(ByeReason::Superseded, 0)
        );
    }

    #[test]
    fn a_newer_hello_takes_the_place_of_the_older_session() {
        let mut sessions = greeted(&["a", "b"]);
        let older = sessions.next_number();
        assert_eq!(sessions.insert(&robot("a"), 7, at(1)), Some(0));
        assert!(sessions.is_current(&robot("a"), older));
        assert_eq!(sessions.judge(&robot("a"), Leaf::Control, &hello("a"), at(2)), Verdict::Open);
        assert_eq!(sessions.insert(&robot("a"), 8, at(2)), Some(7));
        assert!(!sessions.is_current(&robot("a"), older));
    }

    #[test]
    fn a_hello_that_names_another_robot_is_refused_and_changes_nothing() {
        let mut sessions = greeted(&["a"]);
        let verdict = sessions.judge(&robot("a"), Leaf::Control, &hello("b"), at(1));
        assert_eq!(verdict, bye(ByeReason::IdentityMismatch, 60_000));
        assert_eq!(sessions.session(&robot("a")), Some(&mut 0));
        let broken = sessions.judge(&robot("a"), Leaf::Control, &frame(Kind::Hello), at(1));
        assert_eq!(broken, bye(ByeReason::ProtocolError, 60_000));
    }

    #[test]
    fn beyond_the_bound_a_new_robot_is_turned_away_and_a_known_one_is_not() {
        let mut sessions = greeted(&["a", "b"]);
        let verdict = sessions.judge(&robot("c"), Leaf::Control, &hello("c"), at(1));
        assert_eq!(verdict, bye(ByeReason::TooManySessions, 60_000));
        assert_eq!(sessions.judge(&robot("a"), Leaf::Control, &hello("a"), at(1)), Verdict::Open);
    }

    #[test]
    fn a_session_ends_by_silence_and_makes_room() {
        let mut sessions = greeted(&["a", "b"]);
        sessions.judge(&robot("a"), Leaf::Control, &frame(Kind::Heartbeat), at(40));
        assert_eq!(sessions.take_silent(at(45)), Vec::<u32>::new());
        assert_eq!(sessions.take_silent(at(46)), [1]);
        assert_eq!(sessions.judge(&robot("c"), Leaf::Control, &hello("c"), at(46)), Verdict::Open);
        assert_eq!(sessions.take_all().len(), 1);
    }
}
