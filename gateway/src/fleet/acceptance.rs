//! When a robot accepted a batch, in the gateway's time, however wrong the robot's wall clock was.
//!
//! A session's first record carries the robot's clocks and the moment at which they arrived: an *anchor*, good to the
//! time that one message takes. A batch carries the same clocks as they were when it was spooled. Within one boot the
//! monotonic clocks give the time between the two. Across boots only the wall clocks are left, corrected by the skew
//! that the anchor shows.

use serde::{Deserialize, Serialize};

use muster_protocol::{
    message::Clock,
    time::{MonoTime, WallTime},
};

/// The robot's clocks at the start of its last sessions, ascending by session, at most [`ANCHORS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchors {
    anchors: Vec<Anchor>,
}

/// The robot's clocks, and when the gateway read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Anchor {
    pub(super) session: u64,
    pub(super) received_at: WallTime,
    pub(super) clock: Clock,
}

/// 2020-01-01T00:00:00Z. An earlier stamp comes from a clock that was never set, or from a recording.
pub(super) const PLAUSIBLE_FROM: WallTime = WallTime(1_577_836_800_000_000_000);

/// How far ahead of its acceptance a stamp may be before it is marked.
pub(super) const AHEAD_NS_MAX: i64 = 60_000_000_000;

/// A robot that reconnects each minute keeps half an hour. A newest value from a session before that is long stale by
/// any estimate.
const ANCHORS_MAX: usize = 32;

impl Anchors {
    /// Adds an anchor; the session that is longest ago makes room.
    pub(super) fn insert(&mut self, anchor: Anchor) {
        let at = self.anchors.partition_point(|known| known.session < anchor.session);
        if self.anchors.get(at).is_some_and(|known| known.session == anchor.session) {
            return;
        }
        self.anchors.insert(at, anchor);
        if self.anchors.len() > ANCHORS_MAX {
            self.anchors.remove(0);
        }
    }

    /// Estimates when a batch with these clocks, received in this session, was accepted; never after it was received.
    /// `None` if nothing says: the robot's clock was not set, and no session of that boot is known.
    pub(super) fn accepted(&self, session: u64, clock: &Clock, received_at: WallTime) -> Option<WallTime> {
        let own = self.anchors.iter().rfind(|anchor| anchor.session == session);
        let same_boot = |anchor: &&Anchor| anchor.clock.boot == clock.boot;
        let estimate = match own.filter(same_boot).or_else(|| self.anchors.iter().rfind(same_boot)) {
            Some(anchor) => anchor.received_at.shifted(mono_difference(clock.mono, anchor.clock.mono)),
            None if clock.wall < PLAUSIBLE_FROM => return None,
            None => clock.wall.shifted(own.map_or(0, |anchor| anchor.skew_ns().saturating_neg())),
        };
        Some(estimate.min(received_at))
    }

    /// Returns how far the robot's wall clock was ahead of the gateway's when its last session began.
    pub(super) fn skew_ns(&self) -> Option<i64> {
        self.anchors.last().map(Anchor::skew_ns)
    }

    /// Returns whether the robot's system said that its clock is synchronised when its last session began.
    pub(super) fn synchronised(&self) -> Option<bool> {
        self.anchors.last().map(|anchor| anchor.clock.synchronised)
    }
}

impl Anchor {
    fn skew_ns(&self) -> i64 {
        self.clock.wall.nanos_since(self.received_at)
    }
}

fn mono_difference(later: MonoTime, earlier: MonoTime) -> i64 {
    let span = i64::try_from(later.0.abs_diff(earlier.0)).unwrap_or(i64::MAX);
    if later >= earlier { span } else { -span }
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
        anchors.insert(Anchor { session, received_at: WallTime(NOW), clock });
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
        anchors.insert(Anchor { session: 8, received_at: WallTime(NOW + 900 * S), clock: clock(2, 1, NOW) });
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
        for session in (0..100).rev() {
            anchors.insert(Anchor { session, received_at: WallTime(NOW), clock: clock(1, session, NOW) });
        }
        let kept: Vec<u64> = anchors.anchors.iter().map(|anchor| anchor.session).collect();
        assert_eq!(kept, (68..100).collect::<Vec<_>>());
    }
}
