//! Lists of robots that are read page by page, and where the next page goes on.
//!
//! A list in the order of the robots' ids goes on behind an id: whatever the fleet does meanwhile, no robot comes twice
//! and none is left out. In any other order what a robot is sorted by may change between two pages; so the order of the
//! first page is kept for a while, and the others follow it.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_protocol::{id::RobotId, time::MonoTime};

use super::problem::Problem;

/// Orders of the last lists that have more than a page, the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists(Arc<Mutex<VecDeque<List>>>);

#[derive(Debug)]
struct List {
    number: u64,
    /// What was asked for, as it was written.
    question: String,
    robots: Arc<[RobotId]>,
    asked_at: MonoTime,
}

/// Where a list goes on, and in which fleet of the past, if it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The number under which the fleet is kept.
    pub(super) moment: Option<u64>,
    pub(super) place: Place,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this robot, in the order of the ids.
    After(RobotId),
    /// In a list that is kept.
    Kept {
        /// Which.
        list: u64,
        /// How many robots come before.
        at: usize,
    },
}

/// How long a list is kept after its first page: a person reads on, or a program is slow.
const KEPT_MAX: Duration = Duration::from_secs(600);

/// Robots in all lists that are kept, 16 bytes each. Beyond that the oldest list goes.
const ROBOTS_KEPT_MAX: usize = 1_000_000;

impl Lists {
    /// Keeps a list, and returns its number.
    pub(super) fn keep(
        &self,
        question: String,
        robots: Arc<[RobotId]>,
        now: MonoTime,
    ) -> Result<u64, Problem> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| Problem::internal(format!("the system gives no random bytes: {error}")))?;
        let number = u64::from_le_bytes(bytes);
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|list| now.since(list.asked_at) <= KEPT_MAX);
        let mut kept: usize = lists.iter().map(|list| list.robots.len()).sum();
        while kept + robots.len() > ROBOTS_KEPT_MAX
            && let Some(oldest) = lists.pop_front()
        {
            kept -= oldest.robots.len();
        }
        lists.push_back(List { number, question, robots, asked_at: now });
        Ok(number)
    }

    /// Returns the robots of a list that is kept.
    pub(super) fn find(&self, number: u64, question: &str, now: MonoTime) -> Result<Arc<[RobotId]>, Problem> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let list = lists.iter().find(|list| list.number == number && now.since(list.asked_at) <= KEPT_MAX);
        let list = list.ok_or_else(|| {
            let minutes = KEPT_MAX.as_secs() / 60;
            let detail = format!(
                "the list that `cursor` goes on with is not kept any more: a sorted list is kept for {minutes} minutes; \
                 start again without `cursor`"
            );
            Problem::expired(detail)
        })?;
        if list.question != question {
            let detail = "`cursor` belongs to another question: give `where`, `group` and `sort` as for the first page";
            return Err(Problem::parameter("cursor", detail.to_owned()));
        }
        Ok(list.robots.clone())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(moment) = self.moment {
            write!(out, "past:{moment:x}:")?;
        }
        match &self.place {
            Place::After(id) => write!(out, "after:{id}"),
            Place::Kept { list, at } => write!(out, "list:{list:016x}:{at}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cursor = match text.strip_prefix("past:").map(|rest| rest.split_once(':')) {
            None => place(text).map(|place| Self { moment: None, place }),
            Some(split) => split.and_then(|(number, rest)| {
                let moment = Some(u64::from_str_radix(number, 16).ok()?);
                Some(Self { moment, place: place(rest)? })
            }),
        };
        cursor.ok_or_else(|| format!("{text:?} is not a `next_cursor` of this list"))
    }
}

fn place(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_once(':')?;
    match kind {
        "after" => rest.parse().ok().map(Place::After),
        "list" => {
            let (list, at) = rest.split_once(':')?;
            Some(Place::Kept { list: u64::from_str_radix(list, 16).ok()?, at: at.parse().ok()? })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn robots(count: usize) -> Arc<[RobotId]> {
        (0..count).map(|n| format!("f/r{n}").parse().unwrap()).collect()
    }

    fn at(seconds: u64) -> MonoTime {
        MonoTime::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn cursors_are_what_they_print() {
        for place in [Place::After("a/b".parse().unwrap()), Place::Kept { list: u64::MAX, at: 100 }] {
            for moment in [None, Some(0), Some(u64::MAX)] {
                let cursor = Cursor { moment, place: place.clone() };
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        for text in [
            "",
            "past:",
            "past:1",
            "past:x:after:a/b",
            "past:1:past:1:after:a/b",
            "after:",
            "after:a",
            "list:1",
            "list:x:1",
            "list:1:-1",
            "0:a/b",
        ] {
            assert!(text.parse::<Cursor>().unwrap_err().contains("is not a `next_cursor`"), "{text}");
        }
    }

    #[test]
    fn a_list_is_kept_for_its_question_and_a_while() {
        let lists = Lists::default();
        let number = lists.keep("sort=x".to_owned(), robots(3), at(0)).unwrap();
        assert_eq!(lists.find(number, "sort=x", at(600)).unwrap().len(), 3);
        assert!(
            format!("{:?}", lists.find(number, "sort=y", at(1)).unwrap_err()).contains("another question")
        );
        assert!(format!("{:?}", lists.find(number, "sort=x", at(601)).unwrap_err()).contains("start again"));
    }

    #[test]
    fn a_list_that_is_not_kept_any_more_takes_no_memory() {
        let (lists, old) = (Lists::default(), robots(3));
        lists.keep(String::new(), old.clone(), at(0)).unwrap();
        lists.keep(String::new(), robots(1), at(600)).unwrap();
        assert_eq!(Arc::strong_count(&old), 2);
        lists.keep(String::new(), robots(1), at(601)).unwrap();
        assert_eq!(Arc::strong_count(&old), 1);
    }

    #[test]
    fn the_oldest_list_makes_room() {
        let lists = Lists::default();
        let many = robots(1000);
        let first = lists.keep(String::new(), many.clone(), at(0)).unwrap();
        let second = lists.keep(String::new(), many.clone(), at(0)).unwrap();
        for _ in 0..ROBOTS_KEPT_MAX / many.len() - 1 {
            lists.keep(String::new(), many.clone(), at(1)).unwrap();
        }
        assert!(lists.find(first, "", at(1)).is_err());
        assert!(lists.find(second, "", at(1)).is_ok());
    }
}
