//! Two processes with two spools that speak for one robot: a cloned disk image, or a name given twice.
//!
//! Nothing of either is mixed, because each has epochs of its own. They take turns: the newer one speaks, the older one
//! comes back after minutes, and each take-over is a record. A take-over alone says little: a robot that is wiped or
//! replaced comes with a new spool too, while the gateway still holds the connection of the old one. So it is a conflict
//! when the process that had to wait says Hello again, and over when nobody came back for a while.
//!
//! ```text
//!   clone:     Hello A    Hello B, A has to wait    Hello A, B has to wait: a conflict
//!   wiped:     Hello A    Hello B, A has to wait    nobody ever hears of A again
//! ```

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{InstanceId, Offset},
    time::WallTime,
};

/// The fold of a robot's conflicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Conflicts {
    /// Spans in which take-overs followed each other within [`CONFLICT_NS_OVER`], ascending and apart, the last
    /// [`SPANS_MAX`].
    spans: Vec<(WallTime, WallTime)>,
    /// The last take-overs, ascending by offset, at most [`TAKE_OVERS_MAX`].
    take_overs: Vec<TakeOver>,
    /// The last Hello of each process, ascending by offset, at most [`PROCESSES_MAX`].
    hellos: Vec<Hello>,
}

/// A process had to wait for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TakeOver {
    offset: Offset,
    at: WallTime,
    waits: InstanceId,
}

/// A process was welcomed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    offset: Offset,
    at: WallTime,
    instance: InstanceId,
    address: String,
}

/// Another process speaks for the same robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Since when the two push each other out.
    pub since: WallTime,
    /// The last time that one did.
    pub last_at: WallTime,
    /// From where the process speaks that has to wait now.
    pub address: String,
    /// That process.
    pub instance: InstanceId,
}

/// A process that had to wait comes back after three minutes, and its backoff: after three times that it is gone.
pub const CONFLICT_NS_OVER: i64 = 600_000_000_000;

/// Only the last span is shown. Some more, so that the order of records does not matter.
const SPANS_MAX: usize = 8;

/// The last but one shows whether who had to wait came back; more, for processes that come back in another order.
const TAKE_OVERS_MAX: usize = 4;

/// Two take turns. With more than this the ones that were silent longest are forgotten: every robot of the fleet pays.
const PROCESSES_MAX: usize = 4;

impl Conflicts {
    /// Takes the start of a process's session.
    pub(super) fn saw_hello(&mut self, offset: Offset, at: WallTime, instance: InstanceId, address: &str) {
        if self.hello(instance).is_some_and(|last| last.offset >= offset) {
            return;
        }
        self.hellos.retain(|hello| hello.instance != instance);
        let place = self.hellos.partition_point(|hello| hello.offset < offset);
        self.hellos.insert(place, Hello { offset, at, instance, address: address.to_owned() });
        if self.hellos.len() > PROCESSES_MAX {
            self.hellos.remove(0);
        }
    }

    /// Takes a take-over: this process has to wait.
    pub(super) fn saw_take_over(&mut self, offset: Offset, at: WallTime, waits: InstanceId) {
        let near = |span: &(WallTime, WallTime)| {
            at.nanos_since(span.1) <= CONFLICT_NS_OVER && span.0.nanos_since(at) <= CONFLICT_NS_OVER
        };
        let joined = self.spans.iter().filter(|span| near(span));
        let span = joined.fold((at, at), |(first, last), span| (first.min(span.0), last.max(span.1)));
        self.spans.retain(|span| !near(span));
        let place = self.spans.partition_point(|known| *known < span);
        self.spans.insert(place, span);
        if self.spans.len() > SPANS_MAX {
            self.spans.remove(0);
        }
        let place = self.take_overs.partition_point(|known| known.offset < offset);
        self.take_overs.insert(place, TakeOver { offset, at, waits });
        if self.take_overs.len() > TAKE_OVERS_MAX {
            self.take_overs.remove(0);
        }
    }

    /// Returns the conflict that goes on at `now`.
    pub(super) fn read(&self, now: WallTime) -> Option<Conflict> {
        let (take_over, back) = self.take_overs.iter().rev().find_map(|take_over| {
            let back = self.hello(take_over.waits).filter(|hello| hello.is_answer_to(take_over))?;
            Some((take_over, back))
        })?;
        let span = self.spans.iter().find(|(first, last)| (first..=last).contains(&&take_over.at));
        let (since, last) = *span.unwrap_or(&(take_over.at, take_over.at));
        let last_at = last.max(back.at);
        // Who spoke last speaks now; before it, the other one did.
        let Hello { instance, address, .. } = self.hellos.iter().rev().nth(1)?.clone();
        let goes_on = now.nanos_since(last_at) <= CONFLICT_NS_OVER;
        goes_on.then_some(Conflict { since, last_at, address, instance })
    }

    fn hello(&self, instance: InstanceId) -> Option<&Hello> {
        self.hellos.iter().find(|hello| hello.instance == instance)
    }
}

impl Hello {
    /// Whether the process that had to wait came back. One that does so after the conflict was over would be alone.
    fn is_answer_to(&self, take_over: &TakeOver) -> bool {
        self.offset > take_over.offset && self.at.nanos_since(take_over.at) <= CONFLICT_NS_OVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = 60_000_000_000;
    const A: u8 = 0xa;
    const B: u8 = 0xb;

    /// What the log says of processes that say Hello at these minutes; each takes over from the one before, if that is
    /// another one that `lives`.
    fn log(hellos: &[(i64, u8)], lives: impl Fn(u8) -> bool) -> Conflicts {
        let mut conflicts = Conflicts::default();
        let mut before = None;
        for (offset, (minute, process)) in (1..).zip(hellos) {
            let (at, instance) = (WallTime(minute * MIN), InstanceId([*process; 16]));
            conflicts.saw_hello(Offset(10 * offset), at, instance, &format!("from {process:x}"));
            if let Some(older) = before.filter(|older| older != process && lives(*older)) {
                conflicts.saw_take_over(Offset(10 * offset + 1), at, InstanceId([older; 16]));
            }
            before = Some(*process);
        }
        conflicts
    }

    #[test]
    fn a_conflict_lasts_while_take_overs_follow_each_other() {
        let conflicts = log(&[(-100, A), (0, B), (100, A), (103, B), (107, A)], |_| true);
        let read = |minute: i64| conflicts.read(WallTime(minute * MIN));
        let conflict = read(110).unwrap();
        assert_eq!((conflict.since, conflict.last_at), (WallTime(100 * MIN), WallTime(107 * MIN)));
        assert_eq!((conflict.address.as_str(), conflict.instance), ("from b", InstanceId([B; 16])));
        assert!(read(117).is_some());
        assert_eq!(read(118), None, "nobody came back");
    }

    #[test]
    fn a_clone_is_a_conflict_as_soon_as_the_one_that_had_to_wait_is_back() {
        let two = [(0, A), (60, B), (63, A)];
        assert_eq!(log(&two[..2], |_| true).read(WallTime(60 * MIN)), None);
        let since = |lives: fn(u8) -> bool| {
            let conflict = log(&two, lives).read(WallTime(63 * MIN)).unwrap();
            assert_eq!(conflict.instance, InstanceId([B; 16]));
            (conflict.since.0 / MIN, conflict.last_at.0 / MIN)
        };
        assert_eq!(since(|_| true), (60, 63));
        // The clone has gone meanwhile. It was one all the same.
        assert_eq!(since(|process| process == A), (60, 63));
    }

    /// Guards: a robot that was wiped and started again within 45 s had a conflict for ten minutes.
    #[test]
    fn a_robot_that_is_wiped_or_replaced_again_and_again_is_no_conflict() {
        for replaced in [&[(0, A), (60, B)][..], &[(0, A), (60, B), (61, 3), (62, 4), (63, 5), (64, 6)]] {
            assert_eq!(log(replaced, |_| true).read(WallTime(64 * MIN)), None, "{replaced:?}");
        }
    }

    #[test]
    fn a_process_that_comes_back_long_after_is_alone() {
        let conflicts = log(&[(0, A), (60, B), (71, A)], |process| process == A);
        assert_eq!(conflicts.read(WallTime(71 * MIN)), None);
    }

    #[test]
    fn no_take_over_is_no_conflict() {
        assert_eq!(Conflicts::default().read(WallTime(0)), None);
    }
}
