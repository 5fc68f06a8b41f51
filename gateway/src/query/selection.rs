//! Which robots a question is about, and in which order.

use std::{cmp::Ordering, str::FromStr};

use muster_protocol::id::RobotId;

use super::{Asked, Expression, Fact, Name, NameError, Scanned, Scene, TooLong, View};
use crate::fleet::{ColumnKey, Row};

/// The robots that all of these describe.
#[derive(Clone, Default)]
pub struct Selection {
    /// What each of the robots has to be; all robots if there is nothing.
    pub conditions: Vec<Expression>,
}

/// What to sort by, the first thing first; what is still equal comes in the order of the robots' ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sort(Vec<SortBy>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SortBy {
    name: Name,
    descending: bool,
}

/// Why a text is not an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// One of its names is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There are too many of them.
    #[error("{count} names are too many to sort by; at most {SORT_NAMES_MAX} are taken")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// The robots that a selection found.
#[derive(Debug, Default)]
pub struct Found {
    /// The robots, in order.
    pub robots: Vec<RobotId>,
    /// Robots for which no answer was found.
    pub undecided: UndecidedRobots,
}

/// Robots that a condition neither describes nor excludes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndecidedRobots {
    /// How many.
    pub count: u64,
    /// One of them, and why.
    pub example: Option<(RobotId, String)>,
}

/// A robot with what it is sorted by.
struct Keyed {
    keys: Vec<Fact<'static>>,
    id: RobotId,
}

/// Most names to sort by.
const SORT_NAMES_MAX: usize = 4;

impl Selection {
    /// Returns whether it takes every robot.
    pub fn is_all(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Returns whether it depends on what is heard of the robots right now.
    pub fn is_heard(&self) -> bool {
        self.conditions.iter().any(Expression::is_heard)
    }

    /// Returns the channels that it names.
    pub fn channels(&self) -> Vec<String> {
        let mut channels: Vec<_> = self.conditions.iter().flat_map(Expression::channels).cloned().collect();
        channels.sort();
        channels.dedup();
        channels
    }

    /// Returns the names of the channels and labels that it asks about.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.conditions.iter().flat_map(Expression::names)
    }

    /// Returns the columns from which it can tell that it does not take a robot.
    pub fn column_keys(&self) -> Vec<ColumnKey> {
        let mut keys = Vec::new();
        for key in self.conditions.iter().flat_map(Expression::column_keys) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Returns whether a robot's row alone says that it does not take the robot.
    pub fn excludes(&self, row: &Row<'_>) -> bool {
        self.conditions.iter().any(|condition| condition.excludes(row))
    }

    /// Returns whether it takes a robot; if nothing says so, the robot is counted.
    pub fn takes(&self, view: &View<'_>, undecided: &mut UndecidedRobots) -> bool {
        let mut doubt = None;
        for condition in &self.conditions {
            match condition.matches(view) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(undecided) => doubt = Some(undecided.why),
            }
        }
        let Some(why) = doubt else { return true };
        undecided.count += 1;
        undecided.example.get_or_insert_with(|| (view.id().clone(), why));
        false
    }

    /// Finds all robots that it takes.
    pub fn find(&self, scene: &Scene<'_>, sort: &Sort) -> Result<Found, TooLong> {
        let asked = Asked { selection: self, heard: sort.is_heard(), names: sort.names().collect() };
        let Scanned { parts, undecided } = scene.scan(&asked, Vec::new, |found: &mut Vec<Keyed>, view| {
            found.push(Keyed { keys: sort.keys(view), id: view.id().clone() });
        })?;
        let mut robots: Vec<Keyed> = parts.into_iter().flatten().collect();
        sort.apply(&mut robots);
        Ok(Found { robots: robots.into_iter().map(|keyed| keyed.id).collect(), undecided })
    }
}

impl UndecidedRobots {
    /// Adds those of another part of the fleet, behind its own.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.example = self.example.take().or(other.example);
    }
}

impl Sort {
    /// Returns whether robots come in the order of their ids.
    pub fn is_by_id(&self) -> bool {
        self.0.is_empty()
    }

    fn is_heard(&self) -> bool {
        self.0.iter().any(|by| by.name.is_heard())
    }

    /// Returns the names that robots are sorted by.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|by| &by.name)
    }

    fn keys(&self, view: &View<'_>) -> Vec<Fact<'static>> {
        self.0.iter().map(|by| view.rank(&by.name).into_owned()).collect()
    }

    /// Sorts robots that come in the order of their ids.
    fn apply(&self, robots: &mut [Keyed]) {
        if !self.is_by_id() {
            robots.sort_by(|a, b| self.order(&a.keys, &b.keys));
        }
    }

    fn order(&self, a: &[Fact<'_>], b: &[Fact<'_>]) -> Ordering {
        let pairs = self.0.iter().zip(a.iter().zip(b));
        let orders = pairs.map(|(by, (a, b))| match (a, b) {
            (Fact::Unknown, _) | (_, Fact::Unknown) => a.order(b),
            _ if by.descending => b.order(a),
            _ => a.order(b),
        });
        orders.fold(Ordering::Equal, Ordering::then)
    }
}

impl FromStr for Sort {
    type Err = SortError;

    /// Reads names separated by commas, each descending with a `-` in front: `-health.level,battery.soc`.
    fn from_str(text: &str) -> Result<Self, SortError> {
        let count = text.split(',').count();
        if count > SORT_NAMES_MAX {
            return Err(SortError::TooMany { count });
        }
        let by = |part: &str| {
            let part = part.trim();
            let (descending, name) = part.strip_prefix('-').map_or((false, part), |name| (true, name));
            let name = Name::parse(name)?;
            Ok(SortBy { name, descending })
        };
        let by = text.split(',').map(by).collect::<Result<Vec<_>, NameError>>()?;
        let ascends_by_id = by.first().is_some_and(|first| first.name.is_id() && !first.descending);
        Ok(Self(if ascends_by_id { Vec::new() } else { by }))
    }
}
