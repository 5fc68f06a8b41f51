//! A walk over a whole fleet at one moment, on several threads: few robots' locks at a time, and for no longer than
//! looking at them takes.

use std::{
    hint::black_box,
    sync::{PoisonError, RwLockReadGuard},
};

use muster_protocol::{id::RobotId, sample::Value, time::WallTime};

use super::{Name, Selection, UndecidedRobots, View};
use crate::{
    fleet::{Fleet, Heard, Learned, LiveLink, LiveLinks, Place, Robot, RobotState, Table},
    parts::{cut, in_parts},
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

/// What a walk is about, said before it begins.
pub struct Asked<'a> {
    /// The robots.
    pub selection: &'a Selection,
    /// Whether it asks for what is heard of them, beside what the selection asks.
    pub heard: bool,
    /// What else it asks for by name. The channels among it are fetched ahead; what is missing here is only slower.
    pub names: Vec<&'a Name>,
}

/// What a walk found.
#[derive(Debug)]
pub struct Scanned<T> {
    /// What was gathered, in the order of the robots' ids.
    pub parts: Vec<T>,
    /// Robots for which the selection found no answer.
    pub undecided: UndecidedRobots,
}

/// Robots between two looks at the time, and the fewest for which another thread is worth it.
const ROBOTS_AT_ONCE: usize = 256;

/// Most robots whose locks are held together; see [`Scene::visit`].
const HELD_AT_ONCE: usize = 16;

impl Scene<'_> {
    /// Shows `visit` each robot that is selected, and returns what it gathered, one of each thread, in the order of the
    /// robots' ids. What is heard of each robot is asked for before its lock is taken and never under it.
    ///
    /// A robot that the fleet's columns alone exclude is not gone to at all.
    pub fn scan<T: Send>(
        &self,
        asked: &Asked<'_>,
        gather: impl Fn() -> T + Sync,
        visit: impl Fn(&mut T, &View<'_>) + Sync,
    ) -> Result<Scanned<T>, TooLong> {
        let selection = asked.selection;
        let keys = selection.column_keys();
        let table = self.fleet.table(&keys);
        let of_part = |part| {
            let (mut gathered, mut undecided, mut learned) =
                (gather(), UndecidedRobots::default(), Learned::default());
            for some in cut(part, ROBOTS_AT_ONCE) {
                if (self.is_late)() {
                    return Err(TooLong);
                }
                let excludes = |at: &usize| table.row(*at).is_some_and(|row| selection.excludes(&row));
                let left: Vec<usize> = some.filter(|at| !excludes(at)).collect();
                self.visit(&table, &left, asked, |at, view| {
                    table.read(at, view.state(), &mut learned);
                    if selection.takes(view, &mut undecided) {
                        visit(&mut gathered, view);
                    }
                });
            }
            Ok((gathered, undecided, learned))
        };
        let mut scanned = Scanned { parts: Vec::new(), undecided: UndecidedRobots::default() };
        let mut all_learned = Vec::new();
        for part in in_parts(table.robots().len(), ROBOTS_AT_ONCE, of_part) {
            let (gathered, undecided, learned) = part?;
            scanned.parts.push(gathered);
            scanned.undecided.add(undecided);
            all_learned.push(learned);
        }
        self.fleet.learn(table, all_learned);
        Ok(scanned)
    }

    /// Shows `visit` the robots at these places.
    ///
    /// States lie all over memory, and a walk mostly waits for it: one that comes to a robot, takes its lock and only
    /// then learns where its values are waits several times for each. So a few robots are taken together, and each
    /// place of theirs is touched before the first is looked at: the processor fetches them all at once. Only the first
    /// lock is waited for, with none held; the others are taken if they are free, so that nobody can wait in a circle.
    fn visit(
        &self,
        table: &Table<'_>,
        mut places: &[usize],
        asked: &Asked<'_>,
        mut visit: impl FnMut(usize, &View<'_>),
    ) {
        let names = asked.selection.names().chain(asked.names.iter().copied());
        let channels: Vec<&str> = names.filter_map(Name::as_channel).collect();
        let mut found: Vec<Option<Place>> = channels.iter().map(|_| None).collect();
        let is_heard = asked.heard || asked.selection.is_heard();
        while !places.is_empty() {
            let some: Vec<(usize, &Robot)> =
                places.iter().take(HELD_AT_ONCE).map(|at| (*at, &table.robots()[*at])).collect();
            let live: Vec<_> = if is_heard {
                some.iter().map(|(_, robot)| self.live(&robot.id)).collect()
            } else {
                Vec::new()
            };
            touch(some.iter().map(|(_, robot)| robot.reach()));
            let held = hold(some.iter().map(|(_, robot)| *robot));
            places = &places[held.len()..];
            for (channel, place) in channels.iter().zip(&mut found) {
                touch(held.iter().map(|state| usize::from(reach(state, channel, place))));
            }
            for (n, ((at, robot), state)) in some.iter().zip(held).enumerate() {
                let live = live.get(n).and_then(Option::as_ref);
                visit(*at, &View::new(&robot.id, &state, self.now, self.heard(live)));
            }
        }
    }

    /// Looks at a robot by its id, if there is one.
    pub fn look_at<T>(&self, id: &RobotId, look: impl FnOnce(&View<'_>) -> T) -> Option<T> {
        let robot = self.fleet.robot(id)?;
        let live = self.live(id);
        let state = robot.read().unwrap_or_else(PoisonError::into_inner);
        Some(look(&View::new(id, &state, self.now, self.heard(live.as_ref()))))
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
fn hold<'r>(robots: impl Iterator<Item = &'r Robot>) -> Vec<RwLockReadGuard<'r, RobotState>> {
    let mut held = Vec::with_capacity(HELD_AT_ONCE);
    for robot in robots {
        match robot.try_read() {
            Some(state) => held.push(state),
            None if held.is_empty() => held.push(robot.read()),
            None => break,
        }
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
    use proptest::prelude::*;

    use super::*;
    use crate::fleet::rehearsal::{NOW, fold, robot, row_record};
    use crate::query::Expression;

    fn fleet(robots: u64) -> Fleet {
        let row = |number| row_record(number, robot(number), NOW, &[("n", Value::Int(number.cast_signed()))]);
        fold(&(1..=robots).map(row).collect::<Vec<_>>())
    }

    fn scene(fleet: &Fleet) -> Scene<'_> {
        Scene { fleet, live: None, now: WallTime(NOW), is_late: &|| false }
    }

    fn selection(text: &str) -> Selection {
        Selection { conditions: vec![Expression::parse(text).unwrap()] }
    }

    /// Returns the robots that are selected, and how many the walk had to go to.
    fn found(fleet: &Fleet, selection: &Selection) -> (Vec<RobotId>, usize) {
        let keys = selection.column_keys();
        let table = fleet.table(&keys);
        let excluded = |at: &usize| table.row(*at).is_some_and(|row| selection.excludes(&row));
        let excluded = (0..table.robots().len()).filter(excluded).count();
        let asked = Asked { selection, heard: false, names: Vec::new() };
        let list = |found: &mut Vec<RobotId>, view: &View<'_>| found.push(view.id().clone());
        let parts = scene(fleet).scan(&asked, Vec::new, list).unwrap().parts;
        (parts.concat(), fleet.len() - excluded)
    }

    #[test]
    fn no_lock_is_waited_for_while_others_are_held() {
        let fleet = fleet(5);
        let changing = fleet.robot(&robot(3)).unwrap();
        let changing = changing.write().unwrap();
        let robots = fleet.robots();
        assert_eq!(hold(robots.iter()).len(), 2);
        assert_eq!(hold(robots[3..].iter()).len(), 2);
        drop(changing);
        assert_eq!(hold(robots.iter()).len(), 5);
    }

    #[test]
    fn a_robot_that_its_columns_exclude_is_gone_to_again_once_it_changed() {
        let (fleet, low) = (fleet(100), selection("value(\"n\") <= 5"));
        let (first, asked) = found(&fleet, &low);
        assert_eq!((first.len(), asked), (5, 100));
        assert_eq!(found(&fleet, &low), (first.clone(), 5));
        row_record(101, robot(50), NOW + 1, &[("n", Value::Int(3))]).apply_to(&fleet);
        let (then, asked) = found(&fleet, &low);
        assert_eq!((then.len(), asked), (6, 6));
        assert!(then.contains(&robot(50)));
    }

    #[test]
    fn a_robot_that_comes_is_found() {
        let (fleet, low) = (fleet(10), selection("value(\"n\") <= 5"));
        assert_eq!(found(&fleet, &low).0.len(), 5);
        row_record(11, robot(11), NOW, &[("n", Value::Int(4))]).apply_to(&fleet);
        assert_eq!(found(&fleet, &low).0.len(), 6);
        assert_eq!(found(&fleet, &low), (found(&fleet, &low).0, 6));
    }

    #[test]
    fn robots_of_which_a_column_says_nothing_stay_undecided() {
        let (fleet, low) = (fleet(10), selection("value(\"nothing\") < 1"));
        for _ in 0..2 {
            let asked = Asked { selection: &low, heard: false, names: Vec::new() };
            let scanned = scene(&fleet).scan(&asked, || 0, |found, _| *found += 1).unwrap();
            assert_eq!((scanned.parts, scanned.undecided.count), (vec![0], 10));
        }
    }

    proptest! {
        /// Whatever changes between the questions, and whichever were asked before.
        #[test]
        fn columns_change_no_answer(steps in prop::collection::vec((0..8_u64, 0..4_usize, 0..4_usize), 1..60)) {
            let texts = ["value(\"n\") < 3", "!(value(\"n\") < 3 || value(\"m\") == \"b\")",
                "value(\"m\") != \"b\" && value(\"n\") > 1.5", "!link.up && value(\"m\") == \"a\""];
            let fleet = fleet(6);
            for (offset, (number, value, text)) in (100..).zip(steps) {
                let values = [Value::Int(2), Value::Float(f64::NAN), Value::Text("b".into()), Value::Text("a".into())];
                let name = if value < 2 { "n" } else { "m" };
                let t = NOW + i64::try_from(offset).unwrap();
                row_record(offset, robot(number), t, &[(name, values[value].clone())]).apply_to(&fleet);
                let selection = selection(texts[text]);
                // A fleet that was never asked has empty columns.
                let unasked = Fleet::from_bytes(&fleet.to_bytes()).unwrap();
                prop_assert_eq!(found(&fleet, &selection).0, found(&unasked, &selection).0);
            }
        }
    }

    #[test]
    fn each_robot_is_shown_once_and_in_order_while_some_are_changed() {
        let (fleet, all) = (fleet(3 * HELD_AT_ONCE as u64 + 1), Selection::default());
        let robots = fleet.robots();
        let name = Name::parse("channel.n").unwrap();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                for _ in 0..100 {
                    let asked = Asked { selection: &all, heard: true, names: vec![&name] };
                    let list = |shown: &mut Vec<RobotId>, view: &View<'_>| shown.push(view.id().clone());
                    let shown = scene(&fleet).scan(&asked, Vec::new, list).unwrap().parts.concat();
                    assert!(shown.iter().eq(robots.iter().map(|robot| &robot.id)));
                }
            });
            while !asking.is_finished() {
                for robot in &*robots {
                    drop(fleet.robot(&robot.id).unwrap().write().unwrap());
                }
            }
        });
    }
}
