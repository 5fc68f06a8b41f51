//! One page of the robots that a question takes.

use std::sync::Arc;

use muster_protocol::{id::RobotId, time::WallTime};

use super::{
    Api,
    answer::{ChosenRobot, Ints, ListedRobot, Moment, RobotPage, RobotSummary, Undecided},
    fields::Fields,
    lists::{Cursor, Lists, Place},
    moments::Moments,
    parameters::{Page as Part, Parameters},
    past::when,
    problem::Problem,
    stage::{Stage, selection},
};
use crate::{
    fleet::{AsOf, Fleet},
    groups::Groups,
    query::{Found, Scene, Selection, Sort, UndecidedRobots, View},
};

/// Which page of which list is wanted, and what of each robot.
pub(super) struct List {
    selection: Selection,
    /// The channels that the selection names.
    named: Vec<String>,
    sort: Sort,
    fields: Option<Fields>,
    part: Part<Cursor>,
    /// The moment in the past that is asked about, if it is one.
    pub(super) as_of: Option<AsOf>,
    ints: Ints,
    /// What tells this list from others, as it was written.
    question: String,
}

/// The robots of a page, before they are looked at.
struct Page {
    robots: Vec<RobotId>,
    next: Option<Place>,
    matched: Option<usize>,
    undecided: UndecidedRobots,
}

impl List {
    /// Reads what a request wants.
    pub(super) fn of(query: &Parameters, groups: &Groups, now: WallTime) -> Result<Self, Problem> {
        let part = query.page()?;
        let question = ["where", "group", "sort", "at", "known"]
            .map(|name| query.text(name).unwrap_or_default())
            .join("\n");
        let selection = selection(query, groups)?;
        Ok(Self {
            named: selection.channels(),
            selection,
            sort: query.parsed("sort")?.unwrap_or_default(),
            fields: query.parsed("fields")?,
            part,
            as_of: when(query, now)?,
            ints: query.ints()?,
            question,
        })
    }

    /// Answers with the page.
    pub(super) fn page(&self, api: &Api, lists: &Lists, moments: &Moments) -> Result<RobotPage, Problem> {
        let moment = self.part.after.as_ref().and_then(|cursor| cursor.moment);
        let kept =
            self.as_of.zip(moment).and_then(|(as_of, number)| Stage::kept(api, as_of, moments, number));
        let moment = moment.filter(|_| kept.is_some());
        let stage = kept.map_or_else(|| Stage::set(api, self.as_of), Ok)?;
        let find = || stage.ask(|scene| self.selection.find(scene, &self.sort));
        let page = match self.part.after.as_ref().map(|cursor| &cursor.place) {
            None if self.is_plain() => self.cut_from_all(stage.fleet(), None),
            Some(Place::After(after)) if self.is_plain() => self.cut_from_all(stage.fleet(), Some(after)),
            None => self.first(api, lists, find()?)?,
            Some(Place::After(after)) if self.sort.is_by_id() => self.behind(find()?, Some(after)),
            Some(Place::Kept { list, at }) if !self.sort.is_by_id() => {
                let robots = lists.find(*list, &self.question, api.clock.mono())?;
                self.kept(&robots, *list, *at)
            }
            Some(_) => {
                let detail = "`cursor` belongs to another order: give `sort` as for the first page";
                return Err(Problem::parameter("cursor", detail.to_owned()));
            }
        };
        // The next page is read from the same fleet.
        let next_cursor = page.next.clone().map(|place| {
            let moment = moment.or_else(|| stage.keep(moments));
            Cursor { moment, place }.to_string()
        });
        let answer = stage.ask(|scene| Ok(self.answer(scene, page)))?;
        Ok(RobotPage { next_cursor, as_of: stage.as_of(self.ints), ..answer })
    }

    /// Whether the page can be cut from the tree of all robots without looking at any.
    fn is_plain(&self) -> bool {
        self.selection.is_all() && self.sort.is_by_id()
    }

    fn cut_from_all(&self, fleet: &Fleet, after: Option<&RobotId>) -> Page {
        let robots = fleet.robots();
        let from = after.map_or(0, |after| robots.partition_point(|robot| robot.id <= *after));
        let page = robots[from..].iter().take(self.part.limit + 1);
        self.cut(page.map(|robot| robot.id.clone()).collect(), None)
    }

    fn first(&self, api: &Api, lists: &Lists, found: Found) -> Result<Page, Problem> {
        if self.sort.is_by_id() || found.robots.len() <= self.part.limit {
            return Ok(self.behind(found, None));
        }
        let robots: Arc<[RobotId]> = found.robots.into();
        let list = lists.keep(self.question.clone(), robots.clone(), api.clock.mono())?;
        Ok(Page { undecided: found.undecided, ..self.kept(&robots, list, 0) })
    }

    fn behind(&self, found: Found, after: Option<&RobotId>) -> Page {
        let Found { mut robots, undecided } = found;
        let matched = (!self.selection.is_all()).then_some(robots.len());
        if let Some(after) = after {
            robots = robots.split_off(robots.partition_point(|id| id <= after));
        }
        Page { undecided, ..self.cut(robots, matched) }
    }

    fn kept(&self, robots: &[RobotId], list: u64, at: usize) -> Page {
        let end = at.saturating_add(self.part.limit).min(robots.len());
        Page {
            robots: robots.get(at..end).unwrap_or_default().to_vec(),
            next: (end < robots.len()).then_some(Place::Kept { list, at: end }),
            matched: (!self.selection.is_all()).then_some(robots.len()),
            undecided: UndecidedRobots::default(),
        }
    }

    /// Cuts a page off robots in the order of their ids.
    fn cut(&self, mut robots: Vec<RobotId>, matched: Option<usize>) -> Page {
        let next =
            (robots.len() > self.part.limit).then(|| Place::After(robots[self.part.limit - 1].clone()));
        robots.truncate(self.part.limit);
        Page { robots, next, matched, undecided: UndecidedRobots::default() }
    }

    /// Looks at the page's robots. One that the question does not take any more by now is left out.
    fn answer(&self, scene: &Scene<'_>, page: Page) -> RobotPage {
        let moment = Moment { now: scene.now, ints: self.ints };
        let mut gone = UndecidedRobots::default();
        let fields: Vec<_> = self.fields.iter().flat_map(Fields::names).collect();
        let names = self.selection.names().chain(self.sort.names()).chain(&fields);
        let listed = |id: &RobotId| {
            let look =
                |view: &View<'_>| self.selection.takes(view, &mut gone).then(|| self.listed(view, moment));
            scene.look_at(id, look).flatten()
        };
        RobotPage {
            robots: page.robots.iter().filter_map(listed).collect(),
            next_cursor: None,
            matched: page.matched,
            undecided: Undecided::of(page.undecided),
            unheard_of: scene.unheard_of(names),
            as_of: None,
            now: self.ints.time(scene.now),
        }
    }

    fn listed(&self, view: &View<'_>, moment: Moment) -> ListedRobot {
        match &self.fields {
            Some(fields) => ListedRobot::Chosen(ChosenRobot(fields.of(view, moment))),
            None => ListedRobot::Summary(Box::new(RobotSummary::naming(&self.named, view, moment))),
        }
    }
}
