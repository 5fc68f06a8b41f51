//! `muster status`: the fleet in a few lines.

use serde_json::Value;

use super::{
    answer::{FRESHNESS, HEALTH, LINKS, counts, number},
    question,
    table::{Cell, Look, Sheet, Tone},
    times,
    whole::fleet_cell,
};

/// Draws the answer of `/v1/fleet`.
pub fn render(url: &str, fleet: &Value, look: Look) -> String {
    let mut sheet = Sheet::new(&[]);
    for (name, cell) in lines(url, fleet) {
        sheet.push(vec![Cell::new(name), cell]);
    }
    sheet.render(look)
}

/// Returns the header and the one row of the answer as CSV: each figure under its path.
pub fn csv(fleet: &Value) -> (Vec<String>, Vec<String>) {
    let mut columns = Vec::new();
    flatten("", fleet, &mut columns);
    columns.into_iter().unzip()
}

fn lines(url: &str, fleet: &Value) -> Vec<(&'static str, Cell)> {
    let down = number(fleet, "/link/down").unwrap_or(0);
    let robots = number(fleet, "/robots").map_or_else(|| "-".to_owned(), times::count);
    let rate = fleet.pointer("/ingest/samples_per_s").and_then(Value::as_f64);
    let stored = number(fleet, "/samples").map_or_else(|| "-".to_owned(), times::count);
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.0}/s now"));
    let moment = question::moment(fleet);
    // What comes in and where the log stands is of now, whatever moment is asked about.
    let rate = if moment.is_some() { String::new() } else { rate };
    let mut lines = vec![
        ("gateway", Cell::new(url)),
        ("robots", Cell::new(robots)),
        ("link", Cell::toned(counts(fleet, "/link", &LINKS), if down > 0 { Tone::Bad } else { Tone::Good })),
        ("channels", Cell::new(counts(fleet, "/freshness", &FRESHNESS))),
        ("health", Cell::new(counts(fleet, "/health", &HEALTH))),
        ("samples", Cell::new(format!("{stored} stored{rate}"))),
        ("complete", fleet_cell(fleet)),
        ("on robots", Cell::new(number(fleet, "/on_robots").map_or_else(|| "-".to_owned(), times::count))),
        ("lost", lost(fleet)),
    ];
    if let Some(moment) = moment {
        lines.insert(1, ("THE PAST", Cell::toned(moment, Tone::Warn)));
        return lines;
    }
    lines.push(("log", Cell::new(log(fleet))));
    if let Some(given_up) = number(fleet, "/ingest/json_given_up").filter(|samples| *samples > 0) {
        let told = format!("{} of plain JSON, in no loss record", times::samples(given_up));
        lines.push(("given up", Cell::toned(told, Tone::Bad)));
    }
    if let Some(conflicts) = number(fleet, "/conflicts").filter(|conflicts| *conflicts > 0) {
        let told = format!("{conflicts} robots with two processes each: see muster robots");
        lines.push(("conflicts", Cell::toned(told, Tone::Bad)));
    }
    lines
}

fn lost(fleet: &Value) -> Cell {
    match number(fleet, "/loss/samples") {
        None => Cell::none(),
        Some(0) => Cell::new("nothing"),
        Some(lost) => Cell::toned(times::samples(lost), Tone::Bad),
    }
}

fn log(fleet: &Value) -> String {
    match (number(fleet, "/log/first"), number(fleet, "/log/next")) {
        (Some(first), Some(next)) if next > first => format!("offsets {first} to {}", next - 1),
        (Some(_), Some(_)) => "empty".to_owned(),
        _ => "-".to_owned(),
    }
}

fn flatten(path: &str, value: &Value, columns: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, member, columns);
            }
        }
        Value::String(text) => columns.push((path.to_owned(), text.clone())),
        Value::Null => columns.push((path.to_owned(), String::new())),
        other => columns.push((path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PIPE: Look = Look { width: None, color: false };

    #[test]
    fn the_fleet_is_told_in_a_few_lines() {
        let fleet = json!({
            "robots": 5, "link": {"up": 4, "down": 1}, "freshness": {"fresh": 80, "late": 0, "stale": 3, "never": 0},
            "health": {"ok": 5, "warn": 0}, "samples": 1_234_567, "ingest": {"samples_per_s": 2999.6},
            "log": {"id": "x", "first": 1, "next": 900}, "now": 1, "on_robots": 3120, "loss": {"samples": 0, "robots": 0},
            "completeness": {"whole": 4, "behind": 1, "not_told": 0}
        });
        let text = render("http://gw", &fleet, PIPE);
        let lines: Vec<_> =
            text.lines().map(|line| line.split_once("  ").unwrap()).map(|(_, told)| told.trim()).collect();
        assert_eq!(
            lines,
            [
                "http://gw",
                "5",
                "4 up, 1 down",
                "80 fresh, 3 stale",
                "5 ok",
                "1,234,567 stored, 3000/s now",
                "4 whole, 1 behind",
                "3,120",
                "nothing",
                "offsets 1 to 899"
            ]
        );
    }

    #[test]
    fn plain_json_that_no_record_names_has_a_line_when_there_is_any() {
        let told = |samples: u64| render("http://gw", &json!({"ingest": {"json_given_up": samples}}), PIPE);
        assert!(told(7).contains("given up   7 samples of plain JSON, in no loss record"), "{}", told(7));
        assert!(!told(0).contains("given up"));
    }

    #[test]
    fn the_past_is_told_without_what_is_of_now() {
        let fleet = json!({
            "robots": 1, "samples": 7, "ingest": {"samples_per_s": 2.0}, "log": {"first": 1, "next": 9},
            "as_of": {"at": 1_500_000_000_000_000_000_i64, "known": "now", "unreadable": 0}
        });
        let text = render("http://gw", &fleet, PIPE);
        assert!(text.contains("THE PAST   2017-07-14T02:40:00Z, as it is known now"), "{text}");
        assert!(text.contains("7 stored\n") && !text.contains("offsets"), "{text}");
    }

    #[test]
    fn an_answer_without_figures_is_told_with_dashes() {
        assert!(render("http://gw", &json!({}), PIPE).contains("robots     -"));
    }

    #[test]
    fn csv_names_each_figure_by_its_path() {
        let (header, row) = csv(&json!({"link": {"up": 4}, "log": {"id": "x"}}));
        assert_eq!((header, row), (vec!["link.up".into(), "log.id".into()], vec!["4".into(), "x".into()]));
    }
}
