//! The columns of `muster robots` that were asked for: members of the state, labels and channels.
//!
//! A channel's value never stands alone: its age and its freshness are in the same cell, and so is the link of a robot
//! that cannot be heard.

use std::collections::BTreeSet;

use muster_protocol::glob::Glob;
use serde_json::Value;

use super::{
    answer::{text, tone},
    mapped::{freshness_tone, told},
    robot::value_words,
    robots::{plain, robot_cell},
    table::{Cell, Look, Sheet},
    times, whole,
};
use crate::query::{Expression, Name};

/// What was asked for of each robot, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These fields, and no others.
    Fields(Vec<String>),
    /// What the question names: these channels, and those of a group's expression, which only the gateway knows.
    Named(Vec<String>),
}

/// The columns behind the robot's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<Column>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// A member of the state, by its path.
    Member(Vec<String>),
    Channel(String),
}

impl Wanted {
    /// Reads what `--fields` and `--where` name.
    pub fn of(fields: Option<&str>, r#where: Option<&str>) -> Self {
        let Some(fields) = fields else {
            let expression = r#where.and_then(|text| Expression::parse(text).ok());
            return Self::Named(expression.map_or_else(Vec::new, |parsed| parsed.channels().to_vec()));
        };
        Self::Fields(fields.split(',').map(|name| name.trim().to_owned()).collect())
    }

    /// Returns the `fields` to ask for. A person is also told what keeps a value from looking live.
    pub fn asked(&self, for_a_person: bool) -> Option<String> {
        let Self::Fields(names) = self else { return None };
        let mut asked = names.clone();
        if for_a_person {
            let parts = MAPPED.iter().filter(|part| names.iter().any(|name| is_within(name, part)));
            let beside =
                parts.flat_map(|part| ["freshness", "age_ms"].map(|member| format!("{part}.{member}")));
            let beside: Vec<_> = beside.chain(["link.state".to_owned()]).collect();
            if asked.len() + beside.len() <= FIELDS_MAX {
                asked.extend(beside);
            }
        }
        Some(asked.join(","))
    }
}

impl Columns {
    /// Finds the columns that the robots have of what was asked for; `None` where nothing was, and the summary is told.
    pub fn of(robots: &[Value], wanted: &Wanted) -> Option<Self> {
        let mut columns = Vec::new();
        match wanted {
            Wanted::Fields(names) => columns.extend(names.iter().flat_map(|name| find(robots, name))),
            Wanted::Named(channels) => {
                let named: BTreeSet<&str> =
                    channels.iter().map(String::as_str).chain(valued(robots)).collect();
                columns.extend(named.into_iter().map(|name| Column::Channel(name.to_owned())));
                if columns.is_empty() {
                    return None;
                }
            }
        }
        let mut once = Vec::new();
        for column in columns {
            if !once.contains(&column) && column != Column::Member(vec!["robot".to_owned()]) {
                once.push(column);
            }
        }
        Some(Self(once))
    }

    /// Draws the robots.
    pub fn render(&self, robots: &[Value], look: Look) -> String {
        let names: Vec<String> = self.0.iter().map(Column::name).collect();
        let header: Vec<&str> = ["robot"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let mut sheet = Sheet::new(&header);
        for robot in robots {
            sheet.push(
                [robot_cell(robot)]
                    .into_iter()
                    .chain(self.0.iter().map(|column| column.cell(robot)))
                    .collect(),
            );
        }
        sheet.render(look)
    }

    /// Returns the header of the CSV: each channel is three columns.
    pub fn csv_header(&self) -> Vec<String> {
        let of = |column: &Column| match column {
            Column::Member(_) => vec![column.name()],
            Column::Channel(name) => {
                vec![name.clone(), format!("{name}.age_ms"), format!("{name}.freshness")]
            }
        };
        ["robot".to_owned()].into_iter().chain(self.0.iter().flat_map(of)).collect()
    }

    /// Returns the CSV row of a robot.
    pub fn csv(&self, robot: &Value) -> Vec<String> {
        let of = |column: &Column| match column {
            Column::Member(path) => vec![plain(at(robot, path))],
            Column::Channel(name) => {
                let channel = value_of(robot, name).unwrap_or(&Value::Null);
                let value = match channel.get("v") {
                    Some(Value::Null) => plain(channel.get("f").or_else(|| channel.get("b"))),
                    value => plain(value),
                };
                vec![value, plain(channel.get("age_ms")), plain(channel.get("freshness"))]
            }
        };
        [plain(robot.get("robot"))].into_iter().chain(self.0.iter().flat_map(of)).collect()
    }
}

impl Column {
    fn name(&self) -> String {
        match self {
            Self::Member(path) => path.join("."),
            Self::Channel(name) => name.clone(),
        }
    }

    fn cell(&self, robot: &Value) -> Cell {
        let link = text(robot, "/link/state").unwrap_or("unknown");
        match self {
            Self::Channel(name) => {
                let shown = value_of(robot, name).and_then(|channel| Some((channel, value_words(channel)?)));
                shown.map_or_else(Cell::none, |(channel, value)| channel_cell(channel, &value, link))
            }
            Self::Member(path) => member_cell(robot, path, link),
        }
    }
}

/// Finds the columns of one name.
fn find(robots: &[Value], name: &str) -> Vec<Column> {
    if name.contains(['*', '?'])
        && let Ok(glob) = name.parse::<Glob>()
    {
        let names: BTreeSet<&str> = valued(robots).filter(|name| glob.matches(name)).collect();
        return names.into_iter().map(|name| Column::Channel(name.to_owned())).collect();
    }
    let path = match name.strip_prefix("labels.") {
        Some(key) => vec!["labels".to_owned(), key.to_owned()],
        None => name.split('.').map(str::to_owned).collect(),
    };
    let mut path: Vec<String> = path;
    if robots.iter().all(|robot| at(robot, &path).is_none()) {
        match Name::parse(name) {
            Ok(Name::Channel(channel)) => return vec![Column::Channel(channel.as_str().to_owned())],
            // It may be a short word for the member.
            Ok(Name::Member(member)) => path = member.name.split('.').map(str::to_owned).collect(),
            _ => {}
        }
    }
    let mut leaves = BTreeSet::new();
    for robot in robots {
        if let Some(value) = at(robot, &path) {
            collect(&path, value, &mut leaves);
        }
    }
    if leaves.is_empty() {
        leaves.insert(path);
    }
    leaves.into_iter().map(Column::Member).collect()
}

/// Collects the paths of what is no object, and not null.
fn collect(path: &[String], value: &Value, leaves: &mut BTreeSet<Vec<String>>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, member) in members {
                collect(&[path, std::slice::from_ref(name)].concat(), member, leaves);
            }
        }
        _ => {
            leaves.insert(path.to_vec());
        }
    }
}

fn at<'a>(robot: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(robot, |value, name| value.as_object()?.get(name))
}

fn value_of<'a>(robot: &'a Value, channel: &str) -> Option<&'a Value> {
    robot.get("values")?.get(channel)
}

fn valued(robots: &[Value]) -> impl Iterator<Item = &str> {
    let values = robots.iter().filter_map(|robot| robot.get("values")?.as_object());
    values.flatten().map(|(name, _)| name.as_str())
}

fn channel_cell(channel: &Value, value: &str, link: &str) -> Cell {
    let unit = text(channel, "/unit")
        .filter(|unit| *unit != "1")
        .map_or_else(String::new, |unit| format!(" {unit}"));
    Cell::toned(format!("{value}{unit} ({})", told(channel, link)), freshness_tone(channel, link))
}

fn member_cell(robot: &Value, path: &[String], link: &str) -> Cell {
    let last = path.last().map_or("", String::as_str);
    let cell = match at(robot, path) {
        None | Some(Value::Null) => return Cell::none(),
        Some(Value::Number(number)) => match number.as_i64() {
            Some(ms) if last.ends_with("age_ms") => Cell::new(times::age(ms)),
            Some(nanos) if TIMES.contains(&last) => {
                whole::time(&nanos.into(), "").map_or_else(Cell::none, Cell::new)
            }
            _ => Cell::figure(number.to_string()),
        },
        Some(Value::String(word)) if ["state", "level", "freshness"].contains(&last) => {
            Cell::toned(word, tone(word))
        }
        Some(Value::String(text)) => Cell::new(text),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            Cell::new(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
        }
        Some(other) => Cell::new(other.to_string()),
    };
    match path {
        [part, member] if MAPPED.contains(&part.as_str()) && !OF_SOURCE.contains(&member.as_str()) => {
            let source = &robot[part];
            let value = plain(at(robot, path));
            Cell::toned(format!("{value} ({})", told(source, link)), freshness_tone(source, link))
        }
        _ => cell,
    }
}

fn is_within(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'))
}

/// Parts of the state that mappings take from channels, so that they are as old as those.
const MAPPED: [&str; 3] = ["battery", "pose", "position"];

/// Members of such a part that say where it comes from.
const OF_SOURCE: [&str; 5] = ["age_ms", "channel", "freshness", "problem", "t"];

/// Members that are times in nanoseconds.
const TIMES: [&str; 8] =
    ["since", "last_heard", "last_at", "whole_up_to", "t", "t_min", "t_max", "received_at"];

/// Most fields that a gateway takes.
const FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PIPE: Look = Look { width: None, color: false };

    fn robots() -> [Value; 2] {
        let value = |v: f64, age: u64, freshness: &str| json!({"v": v, "age_ms": age, "freshness": freshness, "unit": "V"});
        [
            json!({
                "robot": "a/1", "link": {"state": "up", "since": 1_500_000_000_000_000_000_i64}, "labels": {"site.x": "kiel"},
                "battery": {"charge": 0.5, "age_ms": 900, "freshness": "late"}, "conflict": null,
                "values": {"bat.v": value(24.5, 430, "fresh"), "bat.\u{1b}": value(1.0, 1, "fresh")}
            }),
            json!({"robot": "a/2", "link": {"state": "down"}, "values": {"bat.v": value(23.0, 500, "fresh")}}),
        ]
    }

    fn table(fields: &str) -> Vec<Vec<String>> {
        let robots = robots();
        let columns = Columns::of(&robots, &Wanted::of(Some(fields), None)).unwrap();
        let text = columns.render(&robots, PIPE);
        text.lines()
            .map(|line| {
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
            })
            .collect()
    }

    #[test]
    fn the_columns_are_those_asked_for_in_their_order() {
        let rows = table("labels.site.x,link.since,bat.v,nothing,health.level");
        assert_eq!(rows[0], ["robot", "labels.site.x", "link.since", "bat.v", "nothing", "health.level"]);
        assert_eq!(rows[1], ["a/1", "kiel", "2017-07-14T02:40:00Z", "24.5 V (fresh, 430 ms ago)", "-", "-"]);
        assert_eq!(rows[2], ["a/2", "-", "-", "23.0 V (fresh, 500 ms ago, link down)", "-", "-"]);
    }

    #[test]
    fn patterns_and_parts_become_columns_of_their_own_and_cannot_steer_the_terminal() {
        assert_eq!(table("bat.*,bat.v,robot,conflict")[0], ["robot", "bat.\u{fffd}", "bat.v", "conflict"]);
        assert_eq!(table("link")[0], ["robot", "link.since", "link.state"]);
    }

    #[test]
    fn what_a_mapping_takes_from_a_channel_is_told_with_its_age() {
        assert_eq!(table("battery.charge")[1], ["a/1", "0.5 (late, 900 ms ago)"]);
        let asked = |fields: &str, person| Wanted::of(Some(fields), None).asked(person).unwrap();
        assert_eq!(
            asked("battery.charge", true),
            "battery.charge,battery.freshness,battery.age_ms,link.state"
        );
        assert_eq!(asked("battery.charge", false), "battery.charge");
    }

    #[test]
    fn a_question_that_names_channels_shows_them() {
        let wanted = Wanted::of(None, Some("value(\"x\") > 1 && link.up"));
        assert_eq!((&wanted, wanted.asked(true)), (&Wanted::Named(vec!["x".into()]), None));
        let columns = Columns::of(&robots(), &wanted).unwrap();
        let text = columns.render(&robots(), PIPE);
        let header: Vec<_> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["robot", "bat.\u{fffd}", "bat.v", "x"], "a group may name channels too");
        let plain = [json!({"robot": "a/1"})];
        assert_eq!(Columns::of(&plain, &Wanted::of(None, Some("link.up"))), None);
    }

    #[test]
    fn csv_has_a_channels_age_and_freshness_beside_its_value() {
        let robots = robots();
        let columns = Columns::of(&robots, &Wanted::of(Some("bat.v,labels.site.x"), None)).unwrap();
        assert_eq!(
            columns.csv_header(),
            ["robot", "bat.v", "bat.v.age_ms", "bat.v.freshness", "labels.site.x"]
        );
        assert_eq!(columns.csv(&robots[0]), ["a/1", "24.5", "430", "fresh", "kiel"]);
    }
}
