//! When a robot accepted a batch, in the gateway's time, however wrong the robot's wall clock was; and by how much the
//! times that it stamped itself are off.
//!
//! A session's first records and its heartbeats carry the robot's clocks and the moment at which they arrived: an
//! *anchor*, good to the time that one message takes. A batch carries the same clocks as they were when it was
//! spooled. Within one boot the monotonic clocks give the time between the two; between two anchors the drift of the
//! robot's oscillator is spread evenly. Across boots only the wall clocks are left, corrected by the skew that the
//! anchor shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::Offset,
    message::Clock,
    time::{MonoTime, WallTime},
};

/// The robot's clocks over its last sessions: of each session and hour of the boot, one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchors {
    anchors: BTreeMap<Place, Anchor>,
    /// The reading in the record with the greatest offset.
    latest: Option<(Offset, Anchor)>,
}

/// Where an anchor stands: ascending, and within a boot by monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    session: u64,
    hour: u64,
    synchronised: bool,
}

/// The robot's clocks, and when the gateway read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchor {
    pub(super) session: u64,
    pub(super) received_at: WallTime,
    pub(super) clock: Clock,
}

/// Which clock is taken for the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The gateway's, at arrival.
    Gateway,
    /// The robot's, where its system said that it was synchronised.
    Robot,
}

/// 2020-01-01T00:00:00Z. An earlier stamp comes from a clock that was never set, or from a recording.
pub(super) const PLAUSIBLE_FROM: WallTime = WallTime(1_577_836_800_000_000_000);

/// How far ahead of its acceptance a stamp may be before it is marked.
pub(super) const AHEAD_NS_MAX: i64 = 60_000_000_000;

/// Times that an agent stamped are repaired when its clock was off by more. Below, a repair could be worse than the
/// fault: an anchor is as late as its message was.
pub(super) const REPAIR_NS_MIN: u64 = 1_000_000_000;

/// Two and a half days of one session, or the last sessions of a robot that reconnects all the time. Of an older batch
/// the nearest anchor of its boot tells the time, without the drift in between.
const ANCHORS_MAX: usize = 64;

const HOUR_NS: u64 = 3_600_000_000_000;

impl Anchors {
    /// Adds an anchor that stands in the record at `at`. Of one hour the reading that came with the least delay stays;
    /// the session and hour that is longest ago makes room.
    pub(super) fn insert(&mut self, at: Offset, anchor: Anchor) {
        if self.latest.is_none_or(|(known, _)| at > known) {
            self.latest = Some((at, anchor));
        }
        let Anchor { session, clock, .. } = anchor;
        let place = Place { session, hour: clock.mono.0 / HOUR_NS, synchronised: clock.synchronised };
        let kept = self.anchors.entry(place).or_insert(anchor);
        if anchor.delay() < kept.delay() {
            *kept = anchor;
        }
        if self.anchors.len() > ANCHORS_MAX {
            self.anchors.pop_first();
        }
    }

    /// Estimates when a batch with these clocks, received in this session, was accepted; never after it was received.
    /// `None` if nothing says: the robot's clock was not set, and no session of that boot is known.
    pub(super) fn accepted(&self, session: u64, clock: &Clock, received_at: WallTime) -> Option<WallTime> {
        let estimate = match self.offset_at(clock, Basis::Gateway) {
            Some(offset) => WallTime(offset).shifted(nanos(clock.mono)),
            None if clock.wall < PLAUSIBLE_FROM => return None,
            None => {
                let own = self.anchors.values().rfind(|anchor| anchor.session == session);
                clock.wall.shifted(own.map_or(0, |anchor| anchor.skew_ns().saturating_neg()))
            }
        };
        Some(estimate.min(received_at))
    }

    /// Returns what has to be added to the times that the agent stamped in a batch with these clocks; 0 where they are
    /// right, or where nothing tells.
    pub(super) fn shift(&self, clock: &Clock) -> i64 {
        if clock.synchronised {
            return 0;
        }
        let right = self.offset_at(clock, Basis::Robot).or_else(|| self.offset_at(clock, Basis::Gateway));
        let shift = right.map_or(0, |right| right.saturating_sub(offset(clock.wall, clock.mono)));
        if shift.unsigned_abs() > REPAIR_NS_MIN { shift } else { 0 }
    }

    /// Returns the lowest and highest offset of wall to monotonic time that a repair may take in the boots of `which`.
    pub(super) fn offsets(&self, which: impl Fn(u64) -> bool) -> Option<(i64, i64)> {
        let of_boot = self.anchors.values().filter(|anchor| which(anchor.clock.boot));
        let offsets = of_boot.flat_map(|anchor| {
            let robots = anchor.clock.synchronised.then(|| anchor.offset(Basis::Robot));
            robots.into_iter().chain([anchor.offset(Basis::Gateway)])
        });
        offsets.fold(None, |span, offset| {
            Some(span.map_or((offset, offset), |(low, high): (i64, i64)| (low.min(offset), high.max(offset))))
        })
    }

    /// Returns how far the robot's wall clock was ahead of the gateway's when it was told last.
    pub(super) fn skew_ns(&self) -> Option<i64> {
        self.latest.map(|(_, anchor)| anchor.skew_ns())
    }

    /// Returns the robot's clocks as they were told last.
    pub(super) fn latest(&self) -> Option<Clock> {
        self.latest.map(|(_, anchor)| anchor.clock)
    }

    /// Returns the wall time at which the monotonic clock of the batch's boot was 0, as the anchors around the batch
    /// have it. Anchors of one boot ascend in time.
    fn offset_at(&self, clock: &Clock, basis: Basis) -> Option<i64> {
        let usable = |anchor: &&Anchor| {
            anchor.clock.boot == clock.boot && (basis == Basis::Gateway || anchor.clock.synchronised)
        };
        let mut after: Option<&Anchor> = None;
        for anchor in self.anchors.values().rev().filter(usable) {
            if anchor.clock.mono <= clock.mono {
                return Some(
                    after.map_or(anchor.offset(basis), |after| between(anchor, after, clock.mono, basis)),
                );
            }
            after = Some(anchor);
        }
        after.map(|anchor| anchor.offset(basis))
    }
}

impl Anchor {
    fn skew_ns(&self) -> i64 {
        self.clock.wall.nanos_since(self.received_at)
    }

    fn offset(&self, basis: Basis) -> i64 {
        match basis {
            Basis::Gateway => offset(self.received_at, self.clock.mono),
            Basis::Robot => offset(self.clock.wall, self.clock.mono),
        }
    }

    /// Orders readings of one hour: the least delayed first, and equal ones by everything else.
    fn delay(&self) -> (i64, MonoTime, WallTime, u64) {
        (self.offset(Basis::Gateway), self.clock.mono, self.clock.wall, self.clock.boot)
    }
}

/// Spreads the difference of two anchors' offsets evenly over the time between them.
fn between(before: &Anchor, after: &Anchor, at: MonoTime, basis: Basis) -> i64 {
    let (low, high) = (before.offset(basis), after.offset(basis));
    let whole = i128::from(after.clock.mono.0) - i128::from(before.clock.mono.0);
    let part = i128::from(at.0) - i128::from(before.clock.mono.0);
    let drift = i128::from(high) - i128::from(low);
    let spread = if whole > 0 { drift * part / whole } else { 0 };
    low.saturating_add(i64::try_from(spread).unwrap_or(0))
}

fn offset(wall: WallTime, mono: MonoTime) -> i64 {
    wall.0.saturating_sub(nanos(mono))
}

fn nanos(mono: MonoTime) -> i64 {
    i64::try_from(mono.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000_000;
    const S: i64 = 1_000_000_000;

    fn clock(boot: u64, mono_s: u64, wall: i64) -> Clock {
        Clock { boot, mono: MonoTime(mono_s * 1_000_000_000), wall: WallTime(wall), synchronised: false }
    }

    fn anchored(session: u64, clock: Clock) -> Anchors {
        let mut anchors = Anchors::default();
        anchors.insert(Offset(session), Anchor { session, received_at: WallTime(NOW), clock });
        anchors
    }

    #[test]
    fn within_a_boot_the_monotonic_clock_decides() {
        // The robot came up in 1970, spooled at 100 s, connected at 400 s, and its clock was set in between.
        let anchors = anchored(7, clock(1, 400, NOW));
        let accepted = anchors.accepted(7, &clock(1, 100, 100 * S), WallTime(NOW + S));
        assert_eq!(accepted, Some(WallTime(NOW - 300 * S)));
    }

    #[test]
    fn across_boots_the_skew_corrects_the_wall_clock() {
        let anchors = anchored(7, clock(2, 10, NOW + 3600 * S));
        let accepted = anchors.accepted(7, &clock(1, 100, NOW + 3000 * S), WallTime(NOW + S));
        assert_eq!(accepted, Some(WallTime(NOW - 600 * S)));
    }

    #[test]
    fn an_earlier_session_of_the_same_boot_helps() {
        let mut anchors = anchored(7, clock(1, 400, 400 * S));
        let received_at = WallTime(NOW + 900 * S);
        anchors.insert(Offset(8), Anchor { session: 8, received_at, clock: clock(2, 1, NOW) });
        let accepted = anchors.accepted(8, &clock(1, 500, 500 * S), WallTime(NOW + 901 * S));
        assert_eq!(accepted, Some(WallTime(NOW + 100 * S)));
    }

    #[test]
    fn a_clock_that_was_never_set_and_no_anchor_say_nothing() {
        assert_eq!(Anchors::default().accepted(1, &clock(1, 5, 5 * S), WallTime(NOW)), None);
    }

    #[test]
    fn nothing_is_accepted_after_it_was_received() {
        let ahead = clock(1, 5, NOW + 9 * S);
        assert_eq!(Anchors::default().accepted(1, &ahead, WallTime(NOW)), Some(WallTime(NOW)));
    }

    #[test]
    fn only_the_last_sessions_are_kept() {
        let mut anchors = Anchors::default();
        for session in (0..200).rev() {
            let clock = clock(1, session, NOW);
            anchors.insert(Offset(session), Anchor { session, received_at: WallTime(NOW), clock });
        }
        let kept: Vec<u64> = anchors.anchors.keys().map(|place| place.session).collect();
        assert_eq!(kept, (136..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_clock_that_was_not_set_is_repaired_by_what_is_known_of_its_boot() {
        let synchronised = |clock| Clock { synchronised: true, ..clock };
        let spooled = clock(1, 100, 100 * S);
        let gateway = anchored(7, clock(1, 400, 400 * S));
        assert_eq!(gateway.shift(&spooled), NOW - 400 * S);
        // Once the robot's own clock was synchronised in that boot, it is the one that is believed.
        let mut robot = gateway.clone();
        let set = synchronised(clock(1, 900, NOW + 507 * S));
        robot.insert(Offset(8), Anchor { session: 8, received_at: WallTime(NOW + 500 * S), clock: set });
        assert_eq!(robot.shift(&spooled), NOW - 393 * S);
        assert_eq!(robot.shift(&synchronised(spooled)), 0, "a synchronised clock is right");
        assert_eq!(robot.shift(&clock(2, 100, 100 * S)), 0, "nothing is known of another boot");
        assert_eq!(gateway.shift(&clock(1, 100, NOW - 301 * S)), 0, "a second is not worth a repair");
    }

    #[test]
    fn a_clock_that_stepped_back_is_repaired_from_the_step_on() {
        let mut anchors = anchored(7, clock(1, 400, NOW));
        let stepped = clock(1, 500, NOW - 3500 * S);
        let received_at = WallTime(NOW + 100 * S);
        anchors.insert(Offset(8), Anchor { session: 7, received_at, clock: stepped });
        assert_eq!(anchors.shift(&clock(1, 450, NOW + 50 * S)), 0);
        assert_eq!(anchors.shift(&clock(1, 480, NOW - 3520 * S)), 3600 * S);
    }

    #[test]
    fn drift_is_spread_over_the_time_between_two_sessions() {
        // 200 ppm fast: after five days without a link the robot's clock is 86.4 s ahead.
        let days = |days: u64| days * 86_400;
        let wall = |mono_s: u64| NOW + i64::try_from(mono_s).unwrap() * (S + S / 5000);
        let mono = |mono_s: u64| MonoTime(u64::try_from(wall(mono_s) - NOW).unwrap());
        let clock = |true_s: u64| Clock { mono: mono(true_s), ..clock(1, 0, wall(true_s)) };
        let mut anchors = Anchors::default();
        for true_s in [0, days(5)] {
            let received_at = WallTime(NOW + i64::try_from(true_s).unwrap() * S);
            anchors.insert(Offset(true_s), Anchor { session: 7 + true_s, received_at, clock: clock(true_s) });
        }
        for true_s in [days(1), days(2), days(4)] {
            let shift = anchors.shift(&clock(true_s));
            let off = wall(true_s) + shift - (NOW + i64::try_from(true_s).unwrap() * S);
            assert!(off.abs() < S / 1000, "{off} ns off after {true_s} s");
        }
        assert_eq!(anchors.shift(&clock(3600)), 0, "0.72 s after an hour");
    }
}
