//! Which robots are asked about and as of when, and what an answer says of itself: the moment in the past that it tells,
//! what could not be read for it, and the robots that were neither taken nor left out.

use muster_protocol::time::WallTime;
use serde_json::Value;

use super::{
    answer::{number, text},
    client::Query,
    group::GroupName,
    table::printable,
    times, whole,
};

/// Which robots, and as of when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The CEL expression that describes them; the gateway reads it.
    pub r#where: Option<String>,
    /// Their group.
    pub group: Option<GroupName>,
    /// The moment in the past.
    pub at: Option<WallTime>,
    /// `then` or `now`.
    pub known: Option<&'static str>,
}

impl Question {
    /// Returns the parameters that ask it.
    pub fn query(&self) -> Query {
        let given = [
            ("where", self.r#where.clone()),
            ("group", self.group.as_ref().map(ToString::to_string)),
            ("at", self.at.map(|at| at.0.to_string())),
            ("known", self.known.map(str::to_owned)),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Says which moment in the past an answer tells, if it is not of now.
pub fn moment(answer: &Value) -> Option<String> {
    let at = whole::time(answer, "/as_of/at")?;
    Some(match text(answer, "/as_of/known") {
        Some("now") => format!("{at}, as it is known now"),
        _ => format!("{at}, as it was known then"),
    })
}

/// Says what could not be read of the past, if that is anything.
pub fn unreadable(answer: &Value) -> Option<String> {
    let records = number(answer, "/as_of/unreadable").filter(|records| *records > 0)?;
    let damaged = match records {
        1 => "1 place of the log is damaged".to_owned(),
        _ => format!("{} places of the log are damaged", times::count(records)),
    };
    Some(format!("{damaged}, and what stood there is missing here: see muster doctor"))
}

/// Says which robots the question has no answer for, with one of them and what it lacks.
pub fn undecided(answer: &Value) -> Option<String> {
    let robots = number(answer, "/undecided/robots").filter(|robots| *robots > 0)?;
    let robots = match robots {
        1 => "1 robot is undecided and not among these".to_owned(),
        _ => format!("{} robots are undecided and not among these", times::count(robots)),
    };
    Some(match (text(answer, "/undecided/example"), text(answer, "/undecided/why")) {
        (Some(robot), Some(why)) => format!("{robots}, such as {}: {}", printable(robot), printable(why)),
        _ => robots,
    })
}

/// Says which names no robot has, if there are such in the question.
pub fn unheard_of(answer: &Value) -> Option<String> {
    let names = answer.pointer("/unheard_of")?.as_array()?;
    let names: Vec<_> = names.iter().filter_map(Value::as_str).map(printable).collect();
    let named = names.join(", ");
    (!names.is_empty()).then(|| format!("no robot has {named}: is the name right?"))
}

/// Says how many robots a list has in all, if it was asked for some of them.
pub fn matched(answer: &Value) -> Option<String> {
    Some(match number(answer, "/matched")? {
        1 => "1 robot matches".to_owned(),
        robots => format!("{} robots match", times::count(robots)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_asks_for_what_was_given_and_no_more() {
        assert_eq!(Question::default().query(), []);
        let question = Question {
            r#where: Some("link.up".into()),
            group: Some("low".parse().unwrap()),
            at: Some(WallTime(7)),
            known: Some("now"),
        };
        let asked: Vec<_> =
            question.query().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(asked, ["where=link.up", "group=low", "at=7", "known=now"]);
    }

    #[test]
    fn an_answer_about_the_past_names_the_moment_and_whose_knowledge_it_is() {
        let answer = |known: &str, unreadable: u64| json!({"as_of": {"at": 1_500_000_000_000_000_000_i64, "known": known, "unreadable": unreadable}});
        assert_eq!(moment(&answer("then", 0)).unwrap(), "2017-07-14T02:40:00Z, as it was known then");
        assert_eq!(moment(&answer("now", 0)).unwrap(), "2017-07-14T02:40:00Z, as it is known now");
        assert_eq!(unreadable(&answer("now", 0)), None);
        assert!(unreadable(&answer("now", 3)).unwrap().starts_with("3 places of the log are damaged"));
        let now = json!({"now": 1});
        assert_eq!((moment(&now), unreadable(&now), matched(&now)), (None, None, None));
    }

    #[test]
    fn undecided_robots_are_told_with_an_example_that_cannot_steer_the_terminal() {
        let answer =
            json!({"undecided": {"robots": 2, "example": "a/1", "why": "there is no value of x\u{1b}"}});
        assert_eq!(
            undecided(&answer).unwrap(),
            "2 robots are undecided and not among these, such as a/1: there is no value of x\u{fffd}"
        );
        assert_eq!(undecided(&json!({"undecided": null})), None);
    }
}
