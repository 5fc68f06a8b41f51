//! A walk over a whole fleet at one moment, on several threads: one robot's lock at a time, and for no longer than
//! looking at it takes.

use std::sync::PoisonError;

use muster_protocol::{id::RobotId, time::WallTime};

use super::View;
use crate::{
    fleet::{Fleet, Heard, LiveLinks, Robot},
    parts::in_parts,
};

/// The fleet that a question is about, at one moment.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The robots.
    pub fleet: &'a Fleet,
    /// Who knows what is heard of them; nobody does of a moment in the past.
    pub live: Option<&'a dyn LiveLinks>,
    /// The moment.
    pub now: WallTime,
    /// Says when the answer has taken too long; asked between robots.
    pub is_late: &'a (dyn Fn() -> bool + Sync),
}

/// The walk took too long and was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the question takes too long for this fleet: ask for less of each robot, or of fewer robots")]
pub struct TooLong;

/// Robots between two looks at the time, and the fewest for which another thread is worth it.
const ROBOTS_AT_ONCE: usize = 256;

impl Scene<'_> {
    /// Shows `visit` each robot, and returns what it gathered, one of each thread in the order of the robots' ids.
    /// With `heard`, what is heard of each robot is asked for, before its lock is taken and never under it.
    pub fn scan<T: Send>(
        &self,
        heard: bool,
        gather: impl Fn() -> T + Sync,
        visit: impl Fn(&mut T, &View<'_>) + Sync,
    ) -> Result<Vec<T>, TooLong> {
        let of_part = |robots: &[Robot]| {
            let mut gathered = gather();
            for some in robots.chunks(ROBOTS_AT_ONCE) {
                if (self.is_late)() {
                    return Err(TooLong);
                }
                for robot in some {
                    self.look(robot, heard, |view| visit(&mut gathered, view));
                }
            }
            Ok(gathered)
        };
        in_parts(&self.fleet.robots(), ROBOTS_AT_ONCE, of_part).into_iter().collect()
    }

    /// Looks at a robot by its id, if there is one.
    pub fn look_at<T>(&self, id: &RobotId, look: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        Some(self.look(&(id.clone(), self.fleet.robot(id)?), true, look))
    }

    /// Looks at one robot.
    fn look<T>(&self, (id, robot): &Robot, heard: bool, look: impl FnOnce(&View<'_>) -> T) -> T {
        let live = self.live.filter(|_| heard).and_then(|live| live.live(id));
        let heard = if self.live.is_some() { Heard::Now(live.as_ref()) } else { Heard::OnRecord };
        let state = robot.read().unwrap_or_else(PoisonError::into_inner);
        look(&View::new(id, &state, self.now, heard))
    }
}
