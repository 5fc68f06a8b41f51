//! A walk over a whole fleet at one moment, on several threads: few robots' locks at a time, and for no longer than
//! looking at them takes.

use std::{
    hint::black_box,
    sync::{Arc, PoisonError, RwLockReadGuard, TryLockError},
};

use muster_protocol::{id::RobotId, sample::Value, time::WallTime};

use super::{Name, View};
use crate::{
    fleet::{Fleet, Heard, LiveLink, LiveLinks, Place, Robot, RobotState},
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

/// What a walk asks of each robot, said before it begins.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// Whether it asks for what is heard of the robots.
    pub heard: bool,
    /// What it asks for by name. The channels among it are fetched ahead; what is missing here is only slower.
    pub names: Vec<&'a Name>,
}

/// Robots between two looks at the time, and the fewest for which another thread is worth it.
const ROBOTS_AT_ONCE: usize = 256;

/// Most robots whose locks are held together; see [`Scene::visit`].
const HELD_AT_ONCE: usize = 16;

impl Scene<'_> {
    /// Shows `visit` each robot, and returns what it gathered, one of each thread, in the order of the robots' ids.
    /// What is heard of each robot is asked for before its lock is taken and never under it.
    pub fn scan<T: Send>(
        &self,
        asked: &Asked<'_>,
        gather: impl Fn() -> T + Sync,
        visit: impl Fn(&mut T, &View<'_>) + Sync,
    ) -> Result<Vec<T>, TooLong> {
        let of_part = |robots: &[Robot]| {
            let mut gathered = gather();
            for some in robots.chunks(ROBOTS_AT_ONCE) {
                if (self.is_late)() {
                    return Err(TooLong);
                }
                self.visit(some, asked, |view| visit(&mut gathered, view));
            }
            Ok(gathered)
        };
        in_parts(&self.fleet.robots(), ROBOTS_AT_ONCE, of_part).into_iter().collect()
    }

    /// Shows `visit` each robot.
    ///
    /// States lie all over memory, and a walk mostly waits for it: one that comes to a robot, takes its lock and only
    /// then learns where its values are waits several times for each. So a few robots are taken together, and each
    /// place of theirs is touched before the first is looked at: the processor fetches them all at once. Only the first
    /// lock is waited for, with none held; the others are taken if they are free, so that nobody can wait in a circle.
    fn visit(&self, mut robots: &[Robot], asked: &Asked<'_>, mut visit: impl FnMut(&View<'_>)) {
        let channels: Vec<&str> = asked.names.iter().filter_map(|name| name.as_channel()).collect();
        let mut places: Vec<Option<Place>> = channels.iter().map(|_| None).collect();
        while !robots.is_empty() {
            let some = &robots[..robots.len().min(HELD_AT_ONCE)];
            let live: Vec<_> =
                if asked.heard { some.iter().map(|(id, _)| self.live(id)).collect() } else { Vec::new() };
            // The counter stands beside the lock.
            touch(some.iter().map(|(_, robot)| Arc::strong_count(robot)));
            let held = hold(some);
            robots = &robots[held.len()..];
            for (channel, place) in channels.iter().zip(&mut places) {
                touch(held.iter().map(|state| usize::from(reach(state, channel, place))));
            }
            for (at, ((id, _), state)) in some.iter().zip(held).enumerate() {
                let live = live.get(at).and_then(Option::as_ref);
                visit(&View::new(id, &state, self.now, self.heard(live)));
            }
        }
    }

    /// Looks at a robot by its id, if there is one.
    pub fn look_at<T>(&self, id: &RobotId, look: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        Some(self.look(&(id.clone(), self.fleet.robot(id)?), look))
    }

    /// Looks at one robot.
    fn look<T>(&self, (id, robot): &Robot, look: impl FnOnce(&View<'_>) -> T) -> T {
        let live = self.live(id);
        let state = robot.read().unwrap_or_else(PoisonError::into_inner);
        look(&View::new(id, &state, self.now, self.heard(live.as_ref())))
    }

    /// Asks for what is heard of a robot, if the question is about now.
    fn live(&self, id: &RobotId) -> Option<LiveLink> {
        self.live.and_then(|live| live.live(id))
    }

    fn heard<'l>(&self, live: Option<&'l LiveLink>) -> Heard<'l> {
        if self.live.is_some() { Heard::Now(live) } else { Heard::OnRecord }
    }
}

/// Holds the first robot's state, and those after it up to one that somebody is changing, or is about to.
fn hold(robots: &[Robot]) -> Vec<RwLockReadGuard<'_, RobotState>> {
    let mut held = Vec::with_capacity(robots.len());
    for (_, robot) in robots {
        held.push(match robot.try_read() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if held.is_empty() => {
                robot.read().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => break,
        });
    }
    held
}

/// Goes where a channel's value lies, and no further; what it returns means nothing.
fn reach(state: &RobotState, channel: &str, place: &mut Option<Place>) -> bool {
    let channel = state.channel_by(channel, place);
    channel.is_some_and(|channel| matches!(state.value(channel), Value::Bool(true)))
}

/// Makes sure that what was read to compute these is read now.
fn touch(read: impl Iterator<Item = usize>) {
    black_box(read.fold(0, usize::wrapping_add));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rehearsal::{NOW, fold, robot, row_record};

    fn fleet(robots: u64) -> Fleet {
        let row = |number| row_record(number, robot(number), NOW, &[("n", Value::Int(number.cast_signed()))]);
        fold(&(1..=robots).map(row).collect::<Vec<_>>())
    }

    #[test]
    fn no_lock_is_waited_for_while_others_are_held() {
        let robots = fleet(5).robots();
        let changing = robots[2].1.write().unwrap();
        assert_eq!(hold(&robots).len(), 2);
        assert_eq!(hold(&robots[3..]).len(), 2);
        drop(changing);
        assert_eq!(hold(&robots).len(), 5);
    }

    #[test]
    fn each_robot_is_shown_once_and_in_order_while_some_are_changed() {
        let fleet = fleet(3 * HELD_AT_ONCE as u64 + 1);
        let robots = fleet.robots();
        let scene = Scene { fleet: &fleet, live: None, now: WallTime(NOW), is_late: &|| false };
        let name = Name::parse("channel.n").unwrap();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                for _ in 0..100 {
                    let mut shown = Vec::new();
                    let asked = Asked { heard: true, names: vec![&name] };
                    scene.visit(&robots, &asked, |view| shown.push(view.id().clone()));
                    assert!(shown.iter().eq(robots.iter().map(|(id, _)| id)));
                }
            });
            while !asking.is_finished() {
                for (_, robot) in &*robots {
                    drop(robot.write().unwrap());
                }
            }
        });
    }
}
