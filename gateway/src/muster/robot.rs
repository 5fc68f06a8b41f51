//! `muster robot`: one robot's whole state, each value with its age, its freshness and the robot's link.

use serde_json::Value;

use super::{
    answer::{age_cell, number, text, text_cell, tone},
    label, mapped, question,
    robots::plain,
    table::{Cell, Look, Sheet, Tone},
    times,
    whole::{conflict_cell, lost_cell, whole_cell},
};

/// Draws the answer of `/v1/robots/F/R`: what is known of the robot, then its channels.
pub fn render(state: &Value, look: Look) -> String {
    let mut head = Sheet::new(&[]);
    for (name, cell) in lines(state) {
        head.push(vec![Cell::new(name), cell]);
    }
    let link = text(state, "/link/state").unwrap_or("unknown");
    let age = if question::moment(state).is_some() { "age then" } else { "age" };
    let mut channels = Sheet::new(&["channel", "value", "unit", age, "freshness", ""]);
    for (name, channel) in each_channel(state) {
        channels.push(vec![
            Cell::new(name),
            value_cell(channel),
            text_cell(channel, "/unit"),
            age_cell(channel, "/age_ms"),
            freshness_cell(channel, link),
            mark_cell(channel),
        ]);
    }
    format!("{}\n{}", head.render(look), channels.render(look))
}

/// Returns one CSV row per channel under [`CSV_HEADER`].
pub fn csv(state: &Value) -> impl Iterator<Item = Vec<String>> {
    each_channel(state).map(|(name, channel)| {
        let of_robot = [plain(state.get("robot")), plain(state.pointer("/link/state")), name.to_owned()];
        let of_channel =
            ["/v", "/t", "/age_ms", "/freshness", "/unit"].map(|pointer| plain(channel.pointer(pointer)));
        of_robot.into_iter().chain(of_channel).collect()
    })
}

/// The columns of [`csv()`].
pub const CSV_HEADER: [&str; 8] = ["robot", "link", "channel", "v", "t", "age_ms", "freshness", "unit"];

fn each_channel(state: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let channels = state.get("channels").and_then(Value::as_object);
    channels.into_iter().flatten().map(|(name, channel)| (name.as_str(), channel))
}

fn lines(state: &Value) -> Vec<(&'static str, Cell)> {
    let link = text(state, "/link/state").unwrap_or("unknown");
    let health = text(state, "/health/level").unwrap_or("unknown");
    let mut lines = vec![
        ("robot", text_cell(state, "/robot")),
        ("link", Cell::toned(link_line(state, link), tone(link))),
        ("health", Cell::toned(health_line(state, health), tone(health))),
        ("whole", whole_cell(state)),
        ("lost", lost_cell(state)),
        ("clock", Cell::new(clock_line(state))),
        ("agent", text_cell(state, "/agent/version")),
    ];
    let labels = label::line(state);
    if !labels.is_empty() {
        lines.push(("labels", Cell::new(labels)));
    }
    lines.extend(mapped::lines(state));
    if let Some(conflict) = conflict_cell(state) {
        lines.insert(2, ("conflict", conflict));
    }
    if let Some(moment) = question::moment(state) {
        let told = format!("{moment}; ages count from that moment");
        lines.insert(0, ("THE PAST", Cell::toned(told, Tone::Warn)));
    }
    lines
}

fn link_line(state: &Value, link: &str) -> String {
    let mut line = link.to_owned();
    for (word, pointer) in [("over", "/link/transport"), ("from", "/link/address")] {
        if let Some(told) = text(state, pointer).filter(|told| !told.is_empty()) {
            line = format!("{line} {word} {told}");
        }
    }
    if let Some(evidence) = text(state, "/link/evidence") {
        line = format!("{line}, {evidence}");
    }
    if let Some(age) = state.pointer("/link/last_heard_age_ms").and_then(Value::as_i64) {
        line = format!("{line}, heard {}", times::age(age));
    }
    line
}

fn health_line(state: &Value, health: &str) -> String {
    let reasons = state.pointer("/health/reasons").and_then(Value::as_array);
    let reasons: Vec<_> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    if reasons.is_empty() { health.to_owned() } else { format!("{health}: {}", reasons.join("; ")) }
}

fn clock_line(state: &Value) -> String {
    let skew = match state.pointer("/clock/skew_ms").and_then(Value::as_i64) {
        None => "not told".to_owned(),
        Some(skew @ 0..) => format!("{} ahead of the gateway's", times::span(skew.unsigned_abs())),
        Some(skew) => format!("{} behind the gateway's", times::span(skew.unsigned_abs())),
    };
    let synchronised = match state.pointer("/clock/synchronised").and_then(Value::as_bool) {
        None => skew,
        Some(true) => format!("{skew}, synchronised"),
        Some(false) => format!("{skew}, not synchronised"),
    };
    match number(state, "/clock/repaired") {
        None | Some(0) => synchronised,
        Some(1) => format!("{synchronised}; the time of 1 channel is repaired"),
        Some(channels) => {
            format!("{synchronised}; the times of {} channels are repaired", times::count(channels))
        }
    }
}

fn freshness_cell(channel: &Value, link: &str) -> Cell {
    let freshness = text(channel, "/freshness").unwrap_or("unknown");
    match link {
        "up" => Cell::toned(freshness, tone(freshness)),
        _ => Cell::toned(
            format!("{freshness}, link {link}"),
            if freshness == "never" { Tone::Dim } else { Tone::Bad },
        ),
    }
}

/// Says what is wrong with a value's own time, such as `before 2020`, or that it was put right.
fn mark_cell(channel: &Value) -> Cell {
    match text(channel, "/marked") {
        None if channel.get("raw_t").is_some() => Cell::toned("repaired", Tone::Dim),
        mark => Cell::toned(mark.unwrap_or_default().replace('_', " "), Tone::Warn),
    }
}

fn value_cell(channel: &Value) -> Cell {
    let Some(words) = value_words(channel) else { return Cell::none() };
    match channel.get("v") {
        Some(Value::Number(_)) => Cell::figure(words),
        _ => Cell::new(words),
    }
}

/// Writes a value as the API does; long text is cut, for the whole one there is `-o json`.
pub(super) fn value_words(channel: &Value) -> Option<String> {
    let value = match channel.get("v")? {
        Value::Null => text(channel, "/f").or_else(|| text(channel, "/b")).unwrap_or("null").to_owned(),
        Value::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    };
    let cut: String = value.chars().take(VALUE_CHARS_SHOWN).collect();
    Some(if cut.len() < value.len() { format!("{cut}…") } else { cut })
}

/// Enough for any number; a wall of text would push age and freshness out of sight.
const VALUE_CHARS_SHOWN: usize = 48;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PIPE: Look = Look { width: None, color: false };

    fn state(link: &str) -> Value {
        json!({
            "robot": "demo/husky",
            "link": {"state": link, "transport": "quic", "address": "10.0.0.7:4000", "last_heard_age_ms": 1500},
            "health": {"level": "warn", "reasons": ["clock 9 s ahead"]},
            "channels": {
                "battery.soc": {"v": 0.81, "t": 1, "age_ms": 420, "freshness": "fresh", "unit": "1"},
                "mode": {"v": "auto\u{1b}[2J", "t": 1, "age_ms": 90_000, "freshness": "stale", "marked": "before_2020"},
                "range": {"v": null, "f": "NaN", "t": 1, "raw_t": 0, "age_ms": 10, "freshness": "fresh"}
            },
            "completeness": {
                "whole_up_to": 1_500_000_000_000_000_000_i64, "age_ms": 900,
                "on_robot": {"samples": 3120, "age_ms": 900},
                "lost": [{"reason": "spool_full", "lane": "live", "samples": 40, "batches": 2}]
            },
            "conflict": {"since": 1_500_000_000_000_000_000_i64, "other": {"address": "10.0.0.9:1"}},
            "loss": {"samples": 40, "by_reason": {"spool_full": 40}},
            "clock": {"skew_ms": -250, "synchronised": true, "repaired": 2}, "agent": {"version": "0.1.0"},
            "labels": {"line": "3", "site": "kiel"}, "label_sources": {"line": "agent", "site": "operator"}
        })
    }

    #[test]
    fn the_head_tells_link_health_completeness_loss_and_clock() {
        let text = render(&state("up"), PIPE);
        for part in [
            "up over quic from 10.0.0.7:4000, heard 1.5 s ago",
            "warn: clock 9 s ahead",
            "up to 2017-07-14T02:40:00Z (as of 900 ms ago); 3,120 samples on the robot",
            "40 samples: 40 spool_full, 2 live batches",
            "another process speaks for this robot too",
            "250 ms behind the gateway's, synchronised; the times of 2 channels are repaired",
            "repaired",
            "stale      before 2020",
            "line=3 (agent), site=kiel",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn each_value_stands_beside_its_age_and_freshness() {
        let text = render(&state("up"), PIPE);
        let row = text.lines().find(|line| line.starts_with("battery.soc")).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["battery.soc", "0.81", "1", "420", "ms", "ago", "fresh"]
        );
        assert!(text.contains("NaN"));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn no_value_of_a_robot_whose_link_is_down_looks_live() {
        let text = render(&state("down"), PIPE);
        let table = text.split_once("\n\n").unwrap().1;
        assert!(table.lines().skip(1).all(|row| row.contains("link down")), "{table}");
    }

    #[test]
    fn a_robot_of_the_past_cannot_be_taken_for_one_of_now() {
        let mut state = state("up");
        state["as_of"] = json!({"at": 1_500_000_000_000_000_000_i64, "known": "then", "unreadable": 0});
        let text = render(&state, PIPE);
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("THE PAST  2017-07-14T02:40:00Z, as it was known then"), "{text}");
        assert!(text.contains("age then"), "{text}");
    }

    #[test]
    fn csv_has_a_row_per_channel() {
        let rows: Vec<_> = csv(&state("up")).collect();
        assert_eq!(rows[0], ["demo/husky", "up", "battery.soc", "0.81", "1", "420", "fresh", "1"]);
        assert!(rows.iter().all(|row| row.len() == CSV_HEADER.len()));
    }
}
