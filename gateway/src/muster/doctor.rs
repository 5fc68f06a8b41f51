//! `muster doctor`: what is wrong with a gateway and its robots, and what to do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    answer::{number, text},
    client::{Client, Query},
    failure::{Failure, Outcome},
    robots::plain,
    table::{Cell, Look, Sheet, Tone, printable},
    times,
};

/// What a gateway said.
#[derive(Debug, Default)]
pub struct Report {
    /// Why it takes no samples, if it does not.
    pub not_ready: Option<String>,
    /// One JSON object per condition, the gravest first.
    pub conditions: Vec<Value>,
    /// The counts of all conditions.
    pub counts: Value,
    /// The gateway's time, in nanoseconds.
    pub now: i64,
    /// Whether there are more than the limit.
    pub more: bool,
}

/// Asks whether the gateway takes samples, and for its conditions until there are `limit` or no more.
pub fn fetch(client: &Client, limit: usize) -> Result<Report, Failure> {
    let mut report = Report { not_ready: not_ready(client)?, ..Report::default() };
    let mut cursor: Option<String> = None;
    loop {
        let mut query = Query::new();
        query.push(("limit", (limit - report.conditions.len()).clamp(1, PAGE_CONDITIONS).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = client.json(PATH, &query)?;
        let Some(Value::Array(conditions)) = page.get_mut("conditions").map(Value::take) else {
            return Err(client.not_ours(format!("{PATH} has no list `conditions`")));
        };
        report.conditions.extend(conditions.into_iter().take(limit - report.conditions.len()));
        report.now = page["now"].as_i64().unwrap_or_default();
        report.counts = page["counts"].take();
        cursor = text(&page, "/next_cursor").map(str::to_owned);
        if cursor.is_none() || report.conditions.len() >= limit {
            report.more = cursor.is_some();
            return Ok(report);
        }
    }
}

/// Returns why the gateway takes no samples, if it says that it does not.
fn not_ready(client: &Client) -> Result<Option<String>, Failure> {
    match client.stream("/readyz", &Query::new()) {
        Ok(_) => Ok(None),
        Err(Failure::Refused { status: 503, detail }) => Ok(Some(detail)),
        Err(failure) => Err(failure),
    }
}

impl Report {
    /// Returns what the command ends with: failed if the gateway takes nothing or any condition is an error. What only
    /// warns fails nothing, so that a script can run it all day.
    pub fn outcome(&self) -> Outcome {
        let errors = number(&self.counts, "/by_severity/error").unwrap_or(0);
        if self.not_ready.is_some() || errors > 0 { Outcome::Wrong } else { Outcome::Done }
    }

    /// Returns everything as one JSON value.
    pub fn json(&self) -> Value {
        json!({
            "ready": self.not_ready.is_none(),
            "not_ready": self.not_ready,
            "counts": self.counts,
            "conditions": self.conditions,
        })
    }
}

/// Draws the conditions, and below them what to do about each code.
pub fn render(url: &str, report: &Report, look: Look) -> String {
    let count = |severity: &str| number(&report.counts, &format!("/by_severity/{severity}")).unwrap_or(0);
    let (errors, warnings, notes) = (count("error"), count("warn"), count("info"));
    let mut out = match &report.not_ready {
        None => format!("{} takes samples", printable(url)),
        Some(why) => format!("{} takes no samples: {}", printable(url), printable(why)),
    };
    if errors + warnings + notes == 0 {
        out.push_str("; nothing is wrong\n");
        return out;
    }
    let of = |n: u64, noun: &str| format!("{} {noun}{}", times::count(n), if n == 1 { "" } else { "s" });
    let counts = format!("{}, {}, {}", of(errors, "error"), of(warnings, "warning"), of(notes, "note"));
    out.push_str("; ");
    out.push_str(&counts);
    out.push_str("\n\n");
    let mut sheet = Sheet::new(&["severity", "code", "since", "subject", "what"]);
    for condition in &report.conditions {
        sheet.push(row(condition, report.now));
    }
    out.push_str(&sheet.render(look));
    let left_out = left_out(report);
    if !left_out.is_empty() {
        out.push_str("not shown: ");
        out.push_str(&left_out.join(", "));
        out.push('\n');
    }
    out.push_str("\nWhat to do:\n");
    out.push_str(&remedies(&report.conditions).render(look));
    out
}

fn row(condition: &Value, now: i64) -> Vec<Cell> {
    let severity = text(condition, "/severity").unwrap_or("-");
    let tone = match severity {
        "error" => Tone::Bad,
        "warn" => Tone::Warn,
        _ => Tone::Plain,
    };
    let since = condition["since"].as_i64().map(|since| times::age(now.saturating_sub(since) / 1_000_000));
    let word = |pointer: &str| text(condition, pointer).map_or_else(Cell::none, Cell::new);
    let times = number(condition, "/times").filter(|times| *times >= FLAPS_MIN);
    let often = times.map_or_else(String::new, |times| format!(" (came {times} times in ten minutes)"));
    vec![
        Cell::toned(severity, tone),
        word("/code"),
        since.map_or_else(Cell::none, Cell::new),
        Cell::new(text(condition, "/robot").unwrap_or("gateway")),
        Cell::new(format!("{}{often}", text(condition, "/detail").unwrap_or("-"))),
    ]
}

/// Returns how many conditions of which code are not in the list: those of a whole fleet hide no other.
fn left_out(report: &Report) -> Vec<String> {
    let listed = |code: &str| report.conditions.iter().filter(|one| text(one, "/code") == Some(code)).count();
    let all = report.counts["by_code"].as_object().into_iter().flatten();
    let more = all.filter_map(|(code, count)| {
        let more = count.as_u64()?.saturating_sub(listed(code) as u64);
        (more > 0).then(|| format!("{} {}", times::count(more), printable(code)))
    });
    more.collect()
}

/// Returns each code's remedy once.
fn remedies(conditions: &[Value]) -> Sheet {
    let mut sheet = Sheet::new(&[]);
    let mut said = BTreeSet::new();
    for condition in conditions {
        let Some(code) = text(condition, "/code") else { continue };
        if said.insert(code) {
            sheet.push(vec![Cell::new(code), Cell::new(text(condition, "/remedy").unwrap_or("-"))]);
        }
    }
    sheet
}

/// Returns the CSV row of one condition under [`CSV_HEADER`].
pub fn csv(condition: &Value) -> Vec<String> {
    CSV_HEADER.iter().map(|(_, pointer)| plain(condition.pointer(pointer))).collect()
}

/// The columns of the CSV and where the API has them.
pub const CSV_HEADER: [(&str, &str); 8] = [
    ("severity", "/severity"),
    ("code", "/code"),
    ("robot", "/robot"),
    ("since", "/since"),
    ("since_from", "/since_from"),
    ("times", "/times"),
    ("detail", "/detail"),
    ("remedy", "/remedy"),
];

const PATH: &str = "/v1/conditions";

/// Conditions asked for at once.
const PAGE_CONDITIONS: usize = 1000;

/// A condition that came so often is held on to, and its row says so.
const FLAPS_MIN: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { width: None, color: false };

    fn report(severity: &str) -> Report {
        let condition = json!({
            "code": "link_down", "severity": severity, "robot": "f/r", "title": "the robot cannot be heard",
            "detail": "the session ended: the connection broke", "since": 1_000_000_000_i64, "since_from": "log",
            "times": 4, "remedy": "look at the robot: see RUNBOOK.md#link_down",
        });
        let mut by_severity = json!({"error": 0, "warn": 0, "info": 0});
        by_severity[severity] = 2.into();
        let counts = json!({"by_severity": by_severity, "by_code": {"link_down": 2}});
        let conditions = vec![condition.clone(), condition];
        Report { not_ready: None, conditions, counts, now: 61_000_000_000, more: false }
    }

    #[test]
    fn each_condition_has_a_row_and_each_code_its_remedy_once() {
        let text = render("http://h:1", &report("warn"), LOOK);
        assert!(text.starts_with("http://h:1 takes samples; 0 errors, 2 warnings, 0 notes\n"), "{text}");
        let row: Vec<_> = text.lines().nth(3).unwrap().split_whitespace().take(7).collect();
        assert_eq!(row, ["warn", "link_down", "1", "min", "0", "s", "ago"]);
        assert!(text.contains("the connection broke (came 4 times in ten minutes)"), "{text}");
        assert_eq!(text.matches("RUNBOOK.md#link_down").count(), 1, "{text}");
    }

    #[test]
    fn what_the_list_leaves_out_is_counted_by_code() {
        let mut report = report("warn");
        assert!(!render("u", &report, LOOK).contains("not shown"));
        report.counts["by_code"] = json!({"disk_nearly_full": 1, "link_down": 9002});
        let text = render("u", &report, LOOK);
        assert!(text.contains("\nnot shown: 1 disk_nearly_full, 9,000 link_down\n"), "{text}");
    }

    #[test]
    fn only_an_error_or_a_gateway_that_takes_nothing_fails() {
        assert_eq!(report("info").outcome(), Outcome::Done);
        assert_eq!(report("warn").outcome(), Outcome::Done);
        assert_eq!(report("error").outcome(), Outcome::Wrong);
        let not_ready = Report { not_ready: Some("no room".to_owned()), ..Report::default() };
        assert_eq!(not_ready.outcome(), Outcome::Wrong);
        assert!(render("u", &not_ready, LOOK).contains("takes no samples: no room"));
    }

    #[test]
    fn a_gateway_that_is_well_is_one_line() {
        let well = Report::default();
        assert_eq!(render("http://h:1", &well, LOOK), "http://h:1 takes samples; nothing is wrong\n");
    }

    #[test]
    fn csv_has_the_columns_of_its_header() {
        let row = csv(&report("warn").conditions[0]);
        assert_eq!((row[1].as_str(), row[2].as_str(), row[5].as_str()), ("link_down", "f/r", "4"));
    }
}
