//! What an agent says of its spool and its clocks, as records: when it is worth one, and what it says of an older
//! process that spoke for the same robot.

use std::time::Duration;

use muster_protocol::{
    id::InstanceId,
    message::{HeldLane, Hello, NumberedHead},
    time::{MonoTime, WallTime},
};

use super::robot::OpenSession;
use crate::record::SessionEvent;

/// What the log holds of the agent's last words.
pub(super) struct LastTold {
    at: MonoTime,
    held: Vec<HeldLane>,
    skew_ns: i64,
    /// Whether a batch came since that the last heartbeat does not know of: what that one said is no longer all.
    outdated: bool,
}

/// A fleet of ten thousand robots that are all in order writes fewer than two hundred such records a second, and what a
/// robot that is gone told last is never older than a minute and a heartbeat.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// A backlog that has doubled, and is larger than what a healthy robot has on its way, is told at once: it grows so
/// only a few times, and a robot that is cut off then is not shown as whole.
const GREW_SAMPLES_MIN: u64 = 1000;

/// A clock that moved by less is told with the next change of what is held.
const SKEW_NS_MOVED: u64 = 250_000_000;

impl LastTold {
    /// Remembers what was just told; `skew_ns` is how far the robot's wall clock is ahead.
    pub(super) fn new(held: &[HeldLane], skew_ns: i64, now: MonoTime) -> Self {
        Self { at: now, held: held.to_vec(), skew_ns, outdated: false }
    }

    /// Takes what a heartbeat says, and returns whether it is to be recorded.
    pub(super) fn handle_heartbeat(&mut self, held: &[HeldLane], skew_ns: i64, now: MonoTime) -> bool {
        self.outdated = false;
        let changed = self.held != held || self.skew_ns.abs_diff(skew_ns) > SKEW_NS_MOVED;
        let grew = samples(held) > samples(&self.held).saturating_mul(2).max(GREW_SAMPLES_MIN);
        let due = grew || changed && now.since(self.at) >= TOLD_EVERY;
        if due {
            *self = Self::new(held, skew_ns, now);
        }
        due
    }
}

fn samples(held: &[HeldLane]) -> u64 {
    held.iter().fold(0, |sum, lane| sum.saturating_add(lane.samples))
}

impl OpenSession {
    /// Notes a batch or loss record. One that was spooled after the last heartbeat makes outdated what that one said.
    pub(super) fn saw(&mut self, head: &NumberedHead) {
        self.sent = self.sent.max(Some(head.epoch));
        let told =
            |lane: &HeldLane| (lane.epoch, lane.lane) == (head.epoch, head.lane) && head.seq < lane.next;
        if let Some(last) = &mut self.told
            && !self.live.held.iter().any(told)
        {
            last.outdated = true;
        }
    }

    /// Returns what the agent said last and when, if the log does not hold it and it still is all that is known.
    pub(super) fn last_words(&self) -> Option<(WallTime, SessionEvent)> {
        self.told.as_ref().filter(|told| !told.outdated && told.held != self.live.held)?;
        Some((self.live.told_at, SessionEvent::told(&self.live.held, &[], self.live.clock?)))
    }
}

/// Returns the older process if it is another one than the newer, and has another spool: the epoch that it wrote is
/// none that the newer one lists. A process that was started anew lists what it wrote before.
pub(super) fn conflicting(old: &OpenSession, newer: &Hello) -> Option<InstanceId> {
    let instance = old.instance.filter(|instance| *instance != newer.instance)?;
    let wrote = old.live.held.iter().map(|lane| lane.epoch).max()?;
    let told_any = old.live.held.iter().any(|lane| lane.epoch == wrote && lane.next.0 > 1);
    let wrote_any = told_any || old.sent == Some(wrote);
    let held = newer.held.iter().map(|lane| lane.epoch);
    let mut listed = held.chain(newer.drained.iter().map(|lane| lane.epoch));
    (wrote_any && !listed.any(|epoch| epoch == wrote)).then_some(instance)
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::{Epoch, Lane, Seq};

    use super::*;

    fn held(next: u64) -> Vec<HeldLane> {
        holding(next, 0)
    }

    fn holding(next: u64, samples: u64) -> Vec<HeldLane> {
        let epoch = Epoch { start: 1, random: 1 };
        let (first, next) = (Seq(1), Seq(next));
        vec![HeldLane { epoch, lane: Lane::Live, first, next, samples, spooled: samples, gone: Vec::new() }]
    }

    #[test]
    fn a_backlog_that_doubles_is_recorded_at_once() {
        let at = |seconds| MonoTime::default() + Duration::from_secs(seconds);
        let mut told = LastTold::new(&held(5), 0, at(0));
        let grown = [(1000, false), (1001, true), (2002, false), (2003, true), (1500, false)];
        for (number, (samples, recorded)) in (1..).zip(grown) {
            let held = holding(5 + number, samples);
            assert_eq!(told.handle_heartbeat(&held, 0, at(number)), recorded, "{samples} samples");
        }
    }

    #[test]
    fn a_heartbeat_is_recorded_when_something_changed_and_a_minute_passed() {
        let at = |seconds| MonoTime::default() + Duration::from_secs(seconds);
        let ms = 1_000_000;
        let table = [
            // (next, skew, seconds) -> recorded
            (5, 0, 600, false),
            (6, 0, 59, false),
            (6, 0, 60, true),
            (6, 250 * ms, 120, false),
            (6, -251 * ms, 120, true),
            (6, 0, 179, false),
            (6, 0, 180, true),
        ];
        let mut told = LastTold::new(&held(5), 0, at(0));
        for (next, skew_ns, seconds, recorded) in table {
            assert_eq!(told.handle_heartbeat(&held(next), skew_ns, at(seconds)), recorded, "at {seconds} s");
        }
    }
}
