//! Robots taken together: grouped by what they have in common, and what a name amounts to in each group.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    str::FromStr,
};

use super::{Asked, Fact, Name, Scanned, Scene, Selection, TooLong, UndecidedRobots, View, name::Names};
use crate::fleet::Freshnesses;

/// What to take together.
#[derive(Clone, Default)]
pub struct Aggregation {
    /// The robots.
    pub selection: Selection,
    /// What the robots of a group have in common; one group of all without it.
    pub by: Names,
    /// What is computed of the robots in each group.
    pub of: Names,
}

/// What is computed of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// How many robots have a value of any kind.
    Count,
    /// The smallest number.
    Min,
    /// The greatest number.
    Max,
    /// The mean.
    Mean,
    /// The sum.
    Sum,
    /// The number that so many percent of the robots do not exceed: nearest rank, so one of the robots' own numbers.
    Percentile(u8),
}

/// A group of robots.
#[derive(Debug)]
pub struct Group {
    /// What they have in common, in the order asked for.
    pub by: Vec<Fact<'static>>,
    /// How many robots there are.
    pub robots: u64,
    /// What each name amounts to, in the order asked for.
    pub of: Vec<Amounts>,
}

/// The values that one name has in a group of robots.
#[derive(Debug, Default)]
pub struct Amounts {
    /// Robots that have a value of any kind.
    pub count: u64,
    /// The numbers among the values, ascending and finite.
    numbers: Vec<f64>,
    /// The values by freshness, where the name comes from a channel.
    pub freshness: Option<Freshnesses>,
    /// The age of the oldest value, where the name comes from a channel and the age is known.
    pub oldest_age_ns: Option<i64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Groups {
    /// The groups, those with most robots first.
    pub groups: Vec<Group>,
    /// Robots for which no answer was found.
    pub undecided: UndecidedRobots,
    /// Robots in groups beyond [`GROUPS_MAX`].
    pub beyond: u64,
}

/// Why a text is not a list of functions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is none of count, min, max, mean, sum and p1 to p99, separated by commas")]
pub struct FunctionError {
    name: String,
}

/// Most groups: labels of a site or a type have dozens of values. What belongs to more is counted.
pub const GROUPS_MAX: usize = 1000;

/// Groups by what their robots have in common, as text that tells all facts apart.
type Gathered = BTreeMap<Vec<u8>, Group>;

impl Aggregation {
    /// Takes the robots together.
    pub fn run(&self, scene: &Scene<'_>) -> Result<Groups, TooLong> {
        let asked = Asked {
            selection: &self.selection,
            heard: self.by.is_heard() || self.of.is_heard(),
            names: self.by.iter().chain(self.of.iter()).collect(),
        };
        let Scanned { parts, undecided } =
            scene.scan(&asked, Part::default, |part, view| self.add(part, view))?;
        let mut all = Part::default();
        for part in parts {
            all.beyond += part.beyond;
            for (key, group) in part.groups {
                all.join(key, group);
            }
        }
        let mut groups: Vec<Group> = all.groups.into_values().collect();
        groups.iter_mut().flat_map(|group| &mut group.of).for_each(Amounts::sort);
        groups.sort_by(|a, b| {
            let of_facts = || a.by.iter().zip(&b.by).map(|(a, b)| a.order(b)).find(|order| order.is_ne());
            b.robots.cmp(&a.robots).then_with(|| of_facts().unwrap_or(std::cmp::Ordering::Equal))
        });
        Ok(Groups { groups, undecided, beyond: all.beyond })
    }

    fn add(&self, part: &mut Part, view: &View<'_>) {
        let mut key = Vec::new();
        for name in self.by.iter() {
            view.fact(name).write_key(&mut key);
        }
        if !part.groups.contains_key(&key) {
            if part.groups.len() >= GROUPS_MAX {
                part.beyond += 1;
                return;
            }
            let by = self.by.iter().map(|name| view.fact(name).into_owned()).collect();
            let of = self.of.iter().map(|_| Amounts::default()).collect();
            part.groups.insert(key.clone(), Group { by, robots: 0, of });
        }
        let group = part.groups.get_mut(&key).expect("it is there now");
        group.robots += 1;
        for (name, amounts) in self.of.iter().zip(&mut group.of) {
            amounts.add(name, view);
        }
    }
}

/// What one thread gathers.
#[derive(Debug, Default)]
struct Part {
    groups: Gathered,
    beyond: u64,
}

impl Part {
    fn join(&mut self, key: Vec<u8>, group: Group) {
        let has_room = self.groups.len() < GROUPS_MAX;
        match self.groups.entry(key) {
            Entry::Occupied(mut ours) => {
                let ours = ours.get_mut();
                ours.robots += group.robots;
                ours.of.iter_mut().zip(group.of).for_each(|(ours, theirs)| ours.join(theirs));
            }
            Entry::Vacant(place) if has_room => {
                place.insert(group);
            }
            Entry::Vacant(_) => self.beyond += group.robots,
        }
    }
}

impl Amounts {
    /// Applies a function; `None` without a number to apply it to.
    pub fn apply(&self, function: Function) -> Option<f64> {
        let numbers = &self.numbers;
        let sum = || numbers.iter().sum::<f64>();
        let last = numbers.len().checked_sub(1)?;
        match function {
            Function::Count => Some(self.count as f64),
            Function::Min => numbers.first().copied(),
            Function::Max => numbers.last().copied(),
            Function::Mean => Some(sum() / numbers.len() as f64),
            Function::Sum => Some(sum()),
            Function::Percentile(percent) => {
                let rank = (numbers.len() * usize::from(percent)).div_ceil(100);
                numbers.get(rank.saturating_sub(1).min(last)).copied()
            }
        }
    }

    /// Returns how many of the values are numbers.
    pub fn numbers(&self) -> usize {
        self.numbers.len()
    }

    fn add(&mut self, name: &Name, view: &View<'_>) {
        let fact = view.fact(name);
        if fact == Fact::Unknown {
            return;
        }
        self.count += 1;
        self.numbers.extend(fact.number());
        if let Some((freshness, age_ns)) = view.recency(name) {
            self.freshness.get_or_insert_default().count(freshness);
            self.oldest_age_ns = self.oldest_age_ns.max(age_ns);
        }
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.numbers.extend(other.numbers);
        if let Some(freshness) = other.freshness {
            *self.freshness.get_or_insert_default() += freshness;
        }
        self.oldest_age_ns = self.oldest_age_ns.max(other.oldest_age_ns);
    }

    fn sort(&mut self) {
        self.numbers.sort_unstable_by(f64::total_cmp);
    }
}

impl Function {
    /// Reads functions separated by commas, each once.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, FunctionError> {
        let mut functions = Vec::new();
        for part in text.split(',') {
            let function = part.trim().parse()?;
            if !functions.contains(&function) {
                functions.push(function);
            }
        }
        Ok(functions)
    }

    /// Returns the function's name.
    pub fn name(self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::Min => "min".to_owned(),
            Self::Max => "max".to_owned(),
            Self::Mean => "mean".to_owned(),
            Self::Sum => "sum".to_owned(),
            Self::Percentile(percent) => format!("p{percent}"),
        }
    }
}

impl FromStr for Function {
    type Err = FunctionError;

    fn from_str(text: &str) -> Result<Self, FunctionError> {
        let percentile = || {
            let percent = text.strip_prefix('p')?.parse().ok()?;
            (1..=99).contains(&percent).then_some(Self::Percentile(percent))
        };
        match text {
            "count" => Ok(Self::Count),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            "sum" => Ok(Self::Sum),
            _ => percentile().ok_or_else(|| FunctionError { name: text.chars().take(40).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::{id::RobotId, sample::Value, time::WallTime};

    use super::*;
    use crate::fleet::{LiveLink, LiveLinks, rehearsal::*};

    struct Nobody;

    impl LiveLinks for Nobody {
        fn live(&self, _: &RobotId) -> Option<LiveLink> {
            None
        }

        fn count(&self) -> usize {
            0
        }
    }

    fn run(aggregation: &Aggregation, robots: i64) -> Groups {
        let records: Vec<Record> = (0..robots)
            .map(|n| {
                let robot = format!("f{}/r{n}", n % 3).parse().unwrap();
                let age = n * S;
                let mode = if n % 2 == 0 { Value::Text("auto".into()) } else { Value::Int(n) };
                let row = [("soc", Value::Float(n as f64)), ("mode", mode), ("odd", Value::Float(f64::NAN))];
                row_record(n.unsigned_abs() + 1, robot, NOW - age, &row)
            })
            .collect();
        let scene =
            Scene { fleet: &fold(&records), live: Some(&Nobody), now: WallTime(NOW), is_late: &|| false };
        aggregation.run(&scene).unwrap()
    }

    fn names(text: &str) -> Names {
        text.parse().unwrap()
    }

    #[test]
    fn robots_are_grouped_by_what_they_have_in_common() {
        let aggregation = Aggregation { by: names("fleet"), of: names("soc"), ..Aggregation::default() };
        let groups = run(&aggregation, 10);
        let shown: Vec<_> = groups
            .groups
            .iter()
            .map(|group| {
                let amounts = &group.of[0];
                let of = |name: &str| amounts.apply(name.parse().unwrap()).unwrap();
                (group.by[0].clone(), group.robots, of("min"), of("max"), of("mean"), of("p50"), of("p95"))
            })
            .collect();
        assert_eq!(
            shown,
            [
                (Fact::from("f0"), 4, 0.0, 9.0, 4.5, 3.0, 9.0),
                (Fact::from("f1"), 3, 1.0, 7.0, 4.0, 4.0, 7.0),
                (Fact::from("f2"), 3, 2.0, 8.0, 5.0, 5.0, 8.0),
            ]
        );
    }

    #[test]
    fn a_group_says_how_old_its_values_are() {
        let groups = run(&Aggregation { of: names("soc"), ..Aggregation::default() }, 10);
        let amounts = &groups.groups[0].of[0];
        let freshness = amounts.freshness.unwrap();
        assert_eq!((freshness.fresh, freshness.late, freshness.stale), (3, 3, 4));
        assert_eq!(amounts.oldest_age_ns, Some(9 * S));
    }

    #[test]
    fn what_is_no_number_is_counted_and_not_computed_with() {
        let groups = run(&Aggregation { of: names("mode,odd,nothing"), ..Aggregation::default() }, 10);
        let [mode, odd, nothing] = &groups.groups[0].of[..] else { panic!("three names") };
        assert_eq!((mode.count, mode.numbers(), mode.apply(Function::Max)), (10, 5, Some(9.0)));
        assert_eq!((odd.count, odd.numbers(), odd.apply(Function::Mean)), (10, 0, None));
        assert_eq!((nothing.count, nothing.apply(Function::Min)), (0, None));
    }

    #[test]
    fn several_threads_find_the_same_groups_as_one() {
        let by = Aggregation { by: names("fleet"), of: names("soc"), ..Aggregation::default() };
        let groups = run(&by, 2000);
        assert_eq!(groups.groups.iter().map(|group| group.robots).sum::<u64>(), 2000);
        assert_eq!(
            groups.groups[0].of[0].apply(Function::Sum),
            Some((0..2000).step_by(3).map(f64::from).sum())
        );
    }

    #[test]
    fn groups_are_bounded_and_the_rest_is_counted() {
        let groups = run(&Aggregation { by: names("id"), ..Aggregation::default() }, 1500);
        assert_eq!((groups.groups.len(), groups.beyond), (GROUPS_MAX, 500));
    }

    #[test]
    fn functions_are_known_by_name() {
        let functions = Function::parse_list("count, min,max,mean,sum,p50,p95,min").unwrap();
        let names: Vec<_> = functions.into_iter().map(Function::name).collect();
        assert_eq!(names, ["count", "min", "max", "mean", "sum", "p50", "p95"]);
        for text in ["", "p0", "p100", "median", "p"] {
            assert!(Function::parse_list(text).is_err(), "{text}");
        }
    }
}
