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
//! | Hello of a process that another one has replaced, while that one lives | any | Bye{superseded, 180 s} |
//! | Hello of another robot | any | Bye{identity mismatch}; an open session stays |
//! | Hello, and as many sessions as there may be | none | Bye{too many sessions} |
//! | any other | open | [`Verdict::Hand`] |
//! | Bye | none | [`Verdict::Drop`] |
//! | the broker's word that the robot is cut off | open | see [`Sessions::cut_off`] |
//! | any other | none | Bye{superseded}, 0 ms: say Hello again; at most once in [`ASK_EVERY`] |
//!
//! Two processes with one identity (a cloned disk image) have one client id, too, so a broker lets only one of them be
//! connected: each pushes the other out. Whoever comes back after another one has taken its place is sent away for
//! minutes, as anywhere else; a process that was only restarted never comes back.

use std::{collections::BTreeMap, time::Duration};

use muster_protocol::{
    frame::{Frame, Kind},
    id::{InstanceId, RobotId},
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
    /// Who spoke for each robot last, for as long as a session may be silent.
    owners: BTreeMap<RobotId, Owner>,
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

/// The process that speaks for a robot.
#[derive(Debug)]
struct Owner {
    instance: InstanceId,
    heard: MonoTime,
    /// The process whose place it took.
    before: Option<InstanceId>,
}

#[derive(Debug)]
struct Open<S> {
    number: SessionNumber,
    heard: MonoTime,
    /// Since when its robot is said to be cut off.
    cut_off: Option<MonoTime>,
    session: S,
}

/// Why a session is over without a word of its robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Nothing was heard for too long.
    Silent,
    /// The broker said that its connection broke, and it has not come back.
    CutOff,
}

impl<S> Sessions<S> {
    /// Starts without sessions.
    pub(super) fn new(limits: Limits) -> Self {
        Self { open: BTreeMap::new(), asked: BTreeMap::new(), owners: BTreeMap::new(), limits, next: 0 }
    }

    /// Decides on a frame that arrived on a topic of `robot`.
    pub(super) fn judge(&mut self, robot: &RobotId, leaf: Leaf, frame: &Frame, now: MonoTime) -> Verdict {
        if frame.kind == Kind::Hello && leaf == Leaf::Control {
            return self.judge_hello(robot, frame, now);
        }
        if let Some(open) = self.open.get_mut(robot) {
            open.heard = now;
            open.cut_off = None;
            if let Some(owner) = self.owners.get_mut(robot) {
                owner.heard = now;
            }
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
        let older = self.open.insert(robot.clone(), Open { number, heard: now, cut_off: None, session });
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

    /// The broker says that a robot's connection to it broke. Its session goes on for a moment: a robot that only
    /// connected anew says Hello now, and whoever else comes in its place is seen to be another.
    pub(super) fn cut_off(&mut self, robot: &RobotId, now: MonoTime) {
        if let Some(open) = self.open.get_mut(robot) {
            open.cut_off = Some(now);
        }
    }

    /// Takes out the sessions that are over. Call it about once a second.
    pub(super) fn take_gone(&mut self, now: MonoTime) -> Vec<(S, Gone)> {
        self.asked.retain(|_, asked| now.since(*asked) < ASK_EVERY);
        let silence = self.limits.silence;
        self.owners.retain(|_, owner| now.since(owner.heard) <= silence);
        let gone = |open: &Open<S>| match open.cut_off {
            Some(cut_off) if now.since(cut_off) >= CUT_OFF_GRACE => Some(Gone::CutOff),
            _ => (now.since(open.heard) > silence).then_some(Gone::Silent),
        };
        let gone = self.open.iter().filter_map(|(robot, open)| Some((robot.clone(), gone(open)?)));
        let gone: Vec<_> = gone.collect();
        gone.into_iter().filter_map(|(robot, why)| Some((self.remove(&robot)?, why))).collect()
    }

    /// Takes all sessions out.
    pub(super) fn take_all(&mut self) -> Vec<(RobotId, S)> {
        std::mem::take(&mut self.open).into_iter().map(|(robot, open)| (robot, open.session)).collect()
    }

    fn judge_hello(&mut self, robot: &RobotId, frame: &Frame, now: MonoTime) -> Verdict {
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
        if self.claim(robot, hello.instance, now) {
            return Verdict::Open;
        }
        Verdict::Tell(Bye { reason: ByeReason::Superseded, retry_after_ms: CONFLICT_RETRY_MS })
    }

    /// Lets a process speak for a robot, unless a newer one has taken its place and lives.
    fn claim(&mut self, robot: &RobotId, instance: InstanceId, now: MonoTime) -> bool {
        let owner = self.owners.get(robot).filter(|owner| now.since(owner.heard) <= self.limits.silence);
        let before = match owner {
            Some(owner) if owner.instance == instance => owner.before,
            Some(owner) if owner.before == Some(instance) => return false,
            Some(owner) => Some(owner.instance),
            None => None,
        };
        let has_room = self.owners.contains_key(robot) || self.owners.len() < self.owners_max();
        if has_room {
            self.owners.insert(robot.clone(), Owner { instance, heard: now, before });
        }
        true
    }

    /// Those with a session, and as many that had one a moment ago. Of a robot beyond that, two processes would go on
    /// pushing each other out.
    fn owners_max(&self) -> usize {
        self.limits.sessions_max.saturating_mul(2)
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

/// How long a robot that is cut off may take to come back as if nothing had been.
const CUT_OFF_GRACE: Duration = Duration::from_secs(2);

/// The session of a frame is over or was never here, and no newer one took its place: come again at once.
const SAY_HELLO: Bye = Bye { reason: ByeReason::Superseded, retry_after_ms: 0 };

/// An agent that broke the protocol will break it again.
const BROKEN_RETRY_MS: u32 = 60_000;

/// A gateway that is full of robots stays so until an operator acts.
const FULL_RETRY_MS: u32 = 60_000;

/// How long the older of two processes with one identity stays away.
const CONFLICT_RETRY_MS: u32 = 180_000;

#[cfg(test)]
mod tests {
    use muster_protocol::{
        id::{InstanceId, Lane},
        label::Labels,
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
        hello_of(name, 1)
    }

    fn hello_of(name: &str, process: u8) -> Frame {
        let clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(0), synchronised: false };
        Message::Hello(Hello {
            robot: robot(name),
            instance: InstanceId([process; 16]),
            version: "1".to_owned(),
            held: Vec::new(),
            drained: Vec::new(),
            clock,
            labels: Labels::default(),
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
        sessions.take_gone(at(6));
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
    fn of_two_processes_with_one_identity_the_older_is_sent_away_while_the_newer_lives() {
        let mut sessions = Sessions::<u32>::new(LIMITS);
        let mut says_hello = |process, seconds| {
            sessions.judge(&robot("a"), Leaf::Control, &hello_of("a", process), at(seconds))
        };
        let sent_away = bye(ByeReason::Superseded, 180_000);
        assert_eq!(says_hello(1, 0), Verdict::Open);
        assert_eq!(says_hello(2, 1), Verdict::Open, "the newer wins, which may be a restart");
        assert_eq!(says_hello(1, 2), sent_away, "but a process that was restarted does not come back");
        assert_eq!(says_hello(2, 3), Verdict::Open);
        assert_eq!(says_hello(1, 40), sent_away);
        assert_eq!(says_hello(3, 41), Verdict::Open, "a restart of the newer one");
        assert_eq!(says_hello(3, 42), Verdict::Open);
        assert_eq!(says_hello(2, 86), sent_away);
        assert_eq!(says_hello(2, 88), Verdict::Open, "the one that took its place is gone");
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
    fn a_robot_that_is_cut_off_is_gone_unless_it_comes_back_at_once() {
        let mut sessions = greeted(&["a", "b"]);
        for name in ["a", "b", "c"] {
            sessions.cut_off(&robot(name), at(10));
        }
        assert!(sessions.take_gone(at(11)).is_empty());
        sessions.judge(&robot("b"), LIVE, &frame(Kind::Batch), at(11));
        assert_eq!(sessions.take_gone(at(12)), [(0, Gone::CutOff)]);
        sessions.cut_off(&robot("b"), at(13));
        assert_eq!(sessions.judge(&robot("b"), Leaf::Control, &hello("b"), at(14)), Verdict::Open);
        assert_eq!(
            sessions.insert(&robot("b"), 9, at(14)),
            Some(1),
            "the older session is there to be replaced"
        );
        assert!(sessions.take_gone(at(20)).is_empty());
    }

    #[test]
    fn a_session_ends_by_silence_and_makes_room() {
        let mut sessions = greeted(&["a", "b"]);
        sessions.judge(&robot("a"), Leaf::Control, &frame(Kind::Heartbeat), at(40));
        assert!(sessions.take_gone(at(45)).is_empty());
        assert_eq!(sessions.take_gone(at(46)), [(1, Gone::Silent)]);
        assert_eq!(sessions.judge(&robot("c"), Leaf::Control, &hello("c"), at(46)), Verdict::Open);
        assert_eq!(sessions.take_all().len(), 1);
    }
}
