//! `muster aggregate`: robots taken together, one line per group and name.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    answer::{FRESHNESS, age_cell, count_cell, number},
    client::{Client, Query},
    failure::Failure,
    question::Question,
    robots::{freshness_cell, plain},
    table::{Cell, Look, Sheet},
    times,
};
use crate::query::Name;

/// What is taken together, as it was typed: names and functions separated by commas.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The robots.
    pub question: Question,
    /// What the robots of a group have in common.
    pub by: Option<String>,
    /// What is computed of them.
    pub of: Option<String>,
    /// How it is computed.
    pub functions: Option<String>,
}

/// An answer with its columns in the order in which they were asked for.
#[derive(Debug)]
pub struct Aggregate {
    answer: Value,
    by: Vec<String>,
    of: Vec<String>,
    functions: Vec<String>,
}

impl Order {
    /// Asks a gateway.
    pub fn run(&self, client: &Client) -> Result<Aggregate, Failure> {
        let mut query: Query = self.question.query();
        let given = [("by", &self.by), ("of", &self.of), ("fn", &self.functions)];
        query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        let answer = client.json(PATH, &query)?;
        if !answer.get("groups").is_some_and(Value::is_array) {
            return Err(client.not_ours(format!("{PATH} has no list `groups`")));
        }
        Ok(self.read(answer))
    }

    fn read(&self, answer: Value) -> Aggregate {
        let columns = |part: &str, typed: Option<&str>| in_order(members(&answer, part), typed);
        let by = columns("by", self.by.as_deref());
        let of = columns("of", self.of.as_deref());
        let computed = groups(&answer).filter_map(|group| group.get("of")?.as_object());
        let computed =
            computed.flat_map(|of| of.values().filter_map(Value::as_object)).flat_map(|of| of.keys());
        let functions = computed.filter(|name| !BESIDE.contains(&name.as_str())).cloned().collect();
        let functions = in_order(functions, Some(self.functions.as_deref().unwrap_or(FUNCTIONS)));
        Aggregate { answer, by, of, functions }
    }
}

impl Aggregate {
    /// Returns the answer as it came.
    pub fn answer(&self) -> &Value {
        &self.answer
    }

    /// Returns the groups, those with most robots first.
    pub fn groups(&self) -> impl Iterator<Item = &Value> {
        groups(&self.answer)
    }

    /// Says how many robots are in groups that are not told, if any are.
    pub fn beyond(&self) -> Option<String> {
        let robots = number(&self.answer, "/beyond").filter(|robots| *robots > 0)?;
        let robots = times::count(robots);
        Some(format!(
            "there are more groups than a gateway tells, with {robots} robots: ask for fewer with --where"
        ))
    }

    /// Draws the groups.
    pub fn render(&self, look: Look) -> String {
        let mut header: Vec<&str> = self.by.iter().map(String::as_str).chain(["robots"]).collect();
        if !self.of.is_empty() {
            header.push("of");
            header.extend(self.functions.iter().map(String::as_str));
            header.extend(["freshness", "oldest"]);
        }
        let mut sheet = Sheet::new(&header);
        for (group, name, computed) in self.rows() {
            let mut row: Vec<Cell> = self.by.iter().map(|by| common_cell(&group["by"][by])).collect();
            row.push(count_cell(group, "/robots"));
            if let Some(name) = name {
                row.push(Cell::new(name));
                row.extend(self.functions.iter().map(|function| figure_cell(&computed[function])));
                row.extend([freshness_cell(computed), age_cell(computed, "/oldest_age_ms")]);
            }
            sheet.push(row);
        }
        sheet.render(look)
    }

    /// Returns the header of the CSV.
    pub fn csv_header(&self) -> Vec<&str> {
        let mut header: Vec<&str> = self.by.iter().map(String::as_str).chain(["robots"]).collect();
        if !self.of.is_empty() {
            header.extend(
                ["of"].into_iter().chain(self.functions.iter().map(String::as_str)).chain(["numbers"]),
            );
            header.extend(FRESHNESS.into_iter().chain(["oldest_age_ms"]));
        }
        header
    }

    /// Returns the rows of the CSV.
    pub fn csv(&self) -> impl Iterator<Item = Vec<String>> {
        self.rows().map(|(group, name, computed)| {
            let mut row: Vec<String> = self.by.iter().map(|by| plain(group["by"].get(by))).collect();
            row.push(plain(group.get("robots")));
            if let Some(name) = name {
                row.push(name.to_owned());
                row.extend(self.functions.iter().map(|function| plain(computed.get(function))));
                row.push(plain(computed.get("numbers")));
                row.extend(FRESHNESS.map(|state| plain(computed["freshness"].get(state))));
                row.push(plain(computed.get("oldest_age_ms")));
            }
            row
        })
    }

    /// Returns each group once for each name, or once if nothing is computed.
    fn rows(&self) -> impl Iterator<Item = (&Value, Option<&str>, &Value)> {
        self.groups().flat_map(|group| {
            let bare = self.of.is_empty().then_some((group, None, &Value::Null));
            let of = self.of.iter().map(move |name| (group, Some(name.as_str()), &group["of"][name]));
            bare.into_iter().chain(of)
        })
    }
}

fn groups(answer: &Value) -> impl Iterator<Item = &Value> {
    answer.get("groups").and_then(Value::as_array).into_iter().flatten()
}

fn members(answer: &Value, part: &str) -> BTreeSet<String> {
    let objects = groups(answer).filter_map(|group| group.get(part)?.as_object());
    objects.flat_map(|object| object.keys().cloned()).collect()
}

/// Puts names into the order in which they were typed; those that were spelled in another way stand behind.
fn in_order(found: BTreeSet<String>, typed: Option<&str>) -> Vec<String> {
    let typed: Vec<&str> = typed.unwrap_or_default().split(',').map(str::trim).collect();
    let place = |name: &String| {
        let means = |typed: &&str| Name::parse(typed).is_ok_and(|parsed| parsed.to_string() == *name);
        let is_it = |typed: &&str| *typed == name.as_str() || means(typed);
        typed.iter().position(is_it).unwrap_or(typed.len())
    };
    let mut found: Vec<String> = found.into_iter().collect();
    found.sort_by_key(place);
    found
}

/// Shows what robots have in common; what nobody knows is a group too.
fn common_cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::none(),
        Value::String(text) => Cell::new(text),
        Value::Number(number) => Cell::figure(number.to_string()),
        other => Cell::new(other.to_string()),
    }
}

fn figure_cell(value: &Value) -> Cell {
    match (value.as_u64(), value.as_f64()) {
        (Some(count), _) => Cell::figure(times::count(count)),
        (None, Some(number)) => Cell::figure(short(number)),
        (None, None) => Cell::none(),
    }
}

/// Writes a number with about six figures: what is computed has more digits than it has meaning.
fn short(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-4..1e15).contains(&size) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 14")]
        let whole = size.log10().max(0.0) as usize;
        let text = format!("{number:.*}", 6_usize.saturating_sub(whole + 1));
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    format!("{number:e}")
}

const PATH: &str = "/v1/aggregate";

/// The order of functions when none was asked for.
const FUNCTIONS: &str = "count,min,max,mean";

/// What stands beside the functions.
const BESIDE: [&str; 3] = ["numbers", "freshness", "oldest_age_ms"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn aggregate(by: &str, of: &str, functions: Option<&str>, answer: Value) -> Aggregate {
        let typed = |text: &str| Some(text.to_owned());
        Order { by: typed(by), of: typed(of), functions: functions.map(str::to_owned), ..Order::default() }
            .read(answer)
    }

    fn answer() -> Value {
        let computed = json!({
            "count": 1200, "mean": 0.549_999_999_999, "p50": null, "numbers": 2,
            "freshness": {"fresh": 1, "late": 0, "stale": 1, "never": 0}, "oldest_age_ms": 83_000
        });
        json!({
            "groups": [
                {"by": {"fleet": "a", "labels.site": "kiel"}, "robots": 2, "of": {"soc": computed, "samples": {"count": 2, "mean": 7.0, "p50": 7.0, "numbers": 2, "oldest_age_ms": null}}},
                {"by": {"fleet": "a", "labels.site": null}, "robots": 1, "of": {}}
            ],
            "beyond": 3
        })
    }

    #[test]
    fn each_group_and_name_has_a_line_with_how_fresh_its_values_are() {
        let aggregate =
            aggregate("labels.site,fleet", "channels.soc,samples", Some("p50,count,mean"), answer());
        let text = aggregate.render(Look { width: None, color: false });
        let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[0],
            ["labels.site", "fleet", "robots", "of", "p50", "count", "mean", "freshness", "oldest"]
        );
        assert_eq!(
            rows[1],
            [
                "kiel", "a", "2", "soc", "-", "1,200", "0.55", "1", "fresh,", "1", "stale", "1", "min", "23",
                "s", "ago"
            ]
        );
        assert_eq!(rows[2], ["kiel", "a", "2", "samples", "7", "2", "7", "-", "-"]);
        assert_eq!(rows[3][..4], ["-", "a", "1", "soc"]);
        assert!(aggregate.beyond().unwrap().contains("3 robots"));
    }

    #[test]
    fn csv_has_a_row_for_each_group_and_name() {
        let aggregate = aggregate("fleet,labels.site", "soc,samples", None, answer());
        let header = aggregate.csv_header();
        assert_eq!(header[..7], ["fleet", "labels.site", "robots", "of", "count", "mean", "p50"]);
        let rows: Vec<_> = aggregate.csv().collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(
            rows[0],
            ["a", "kiel", "2", "soc", "1200", "0.549999999999", "", "2", "1", "0", "1", "0", "83000"]
        );
        assert!(rows.iter().all(|row| row.len() == header.len()));
    }

    #[test]
    fn without_names_each_group_is_counted() {
        let answer = json!({"groups": [{"by": {"fleet": "a"}, "robots": 2, "of": {}}], "beyond": 0});
        let aggregate = aggregate("fleet", "", None, answer);
        assert_eq!(aggregate.render(Look { width: None, color: false }), "fleet  robots\na           2\n");
        assert_eq!((aggregate.csv_header(), aggregate.beyond()), (vec!["fleet", "robots"], None));
    }

    #[test]
    fn computed_numbers_have_the_figures_that_mean_something() {
        for (number, text) in [
            (0.549_999_999, "0.55"),
            (1_234_567.89, "1234568"),
            (-0.1, "-0.1"),
            (12.0, "12"),
            (0.0, "0"),
            (1e-9, "1e-9"),
        ] {
            assert_eq!(short(number), text);
        }
    }
}
