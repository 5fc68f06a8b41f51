//! What a request asks of the fleet: which robots, in which order, what of each, and how long it may take.

use std::{sync::Arc, time::Duration};

use muster_protocol::time::MonoTime;

use super::{
    Api,
    answer::Ints,
    moments::Moments,
    parameters::{Parameters, wrong},
    past::{self, AsOfAnswer, Past},
    problem::Problem,
};
use crate::{
    fleet::{AsOf, Fleet},
    groups::Groups,
    query::{Expression, ExpressionError, Scene, Selection, TooLong},
};

/// The parameters that choose robots.
pub(super) const SELECTING: [&str; 2] = ["where", "group"];

/// How long the walk over the fleet may take before it is given up.
const WALK_MAX: Duration = Duration::from_secs(5);

/// How long a fold of the past may take.
pub(super) const FOLD_MAX: Duration = Duration::from_secs(20);

/// Reads which robots are wanted: those of a group and of an expression, if both are given.
pub(super) fn selection(query: &Parameters, groups: &Groups) -> Result<Selection, Problem> {
    let written = query.text("where").map(|text| condition("where", text));
    let grouped = query.text("group").map(|name| {
        let text = groups.expression(name).ok_or_else(|| {
            wrong("group", &format!("there is no group {name:?}; GET /v1/groups lists those that there are"))
        })?;
        condition("group", &text)
    });
    let conditions = grouped.into_iter().chain(written).collect::<Result<_, _>>()?;
    Ok(Selection { conditions })
}

/// Reads a condition, which came as this parameter.
pub(super) fn condition(parameter: &str, text: &str) -> Result<Expression, Problem> {
    Expression::parse(text).map_err(|error| {
        let problem = wrong(parameter, &error);
        match error {
            ExpressionError::Syntax { line, column, .. } => problem.at(line, column),
            ExpressionError::Unknown { column, .. } => problem.at(1, column),
            ExpressionError::TooLong { .. } | ExpressionError::Costly { .. } => problem,
        }
    })
}

/// Lets a question look at the fleet as it is now, for as long as it may take.
pub(super) fn ask<T>(
    api: &Api,
    question: impl FnOnce(&Scene<'_>) -> Result<T, TooLong>,
) -> Result<T, Problem> {
    let is_late = late_after(api, WALK_MAX);
    let scene = Scene { fleet: &api.fleet, live: Some(&*api.live), now: api.clock.wall(), is_late: &is_late };
    question(&scene).map_err(|error| Problem::too_costly(error.to_string()))
}

/// Says when an answer has taken too long.
pub(super) fn late_after(api: &Api, most: Duration) -> impl Fn() -> bool + Sync {
    let (clock, began): (_, MonoTime) = (api.clock, api.clock.mono());
    move || clock.mono().since(began) > most
}

/// The fleet of an answer: as it is now, or as it was.
pub(super) struct Stage<'a> {
    api: &'a Api,
    past: Option<(AsOf, Arc<Past<Fleet>>)>,
}

impl<'a> Stage<'a> {
    /// Sets the fleet as it is now, or folds it as it was.
    pub(super) fn set(api: &'a Api, as_of: Option<AsOf>) -> Result<Self, Problem> {
        let is_late = late_after(api, FOLD_MAX);
        let fold = |as_of| past::fleet(api, as_of, &is_late).map(|fleet| (as_of, Arc::new(fleet)));
        Ok(Self { api, past: as_of.map(fold).transpose()? })
    }

    /// Sets the fleet as it was, as an earlier page kept it under this number; `None` if it is not kept any more.
    pub(super) fn kept(api: &'a Api, as_of: AsOf, moments: &Moments, number: u64) -> Option<Self> {
        let past = moments.find(number, as_of, api.clock.mono())?;
        Some(Self { api, past: Some((as_of, past)) })
    }

    /// Keeps the fleet for the next page, if it is of the past and not too large, and returns its number.
    pub(super) fn keep(&self, moments: &Moments) -> Option<u64> {
        let (as_of, past) = self.past.as_ref()?;
        let mut channels = 0;
        past.state.visit(|_, state| {
            channels += state.channel_count();
            true
        });
        moments.keep(*as_of, past, channels, self.api.clock.mono())
    }

    /// Returns the fleet.
    pub(super) fn fleet(&self) -> &Fleet {
        self.past.as_ref().map_or(&*self.api.fleet, |(_, past)| &past.state)
    }

    /// Lets a question look at the fleet, for as long as it may take.
    pub(super) fn ask<T>(
        &self,
        question: impl FnOnce(&Scene<'_>) -> Result<T, TooLong>,
    ) -> Result<T, Problem> {
        let Some((as_of, past)) = &self.past else { return ask(self.api, question) };
        let is_late = late_after(self.api, WALK_MAX);
        let scene = Scene { fleet: &past.state, live: None, now: as_of.at, is_late: &is_late };
        question(&scene).map_err(|error| Problem::too_costly(error.to_string()))
    }

    /// Returns what an answer about the past says of itself.
    pub(super) fn as_of(&self, ints: Ints) -> Option<AsOfAnswer> {
        self.past.as_ref().map(|(as_of, past)| AsOfAnswer::of(*as_of, past.unreadable, ints))
    }
}
