//! How much of what a robot accepted is stored, in words: for `muster robot` and `muster status`.

use muster_protocol::time::WallTime;
use serde_json::Value;

use super::{
    answer::{number, text},
    table::{Cell, Tone},
    times,
};

/// Says up to when a robot's samples are whole, and where the others are.
pub fn whole_cell(state: &Value) -> Cell {
    let told = state.pointer("/completeness/age_ms").and_then(Value::as_i64);
    let told = told.map_or_else(String::new, |ms| format!(" (as of {})", times::age(ms)));
    let mut parts = vec![match time(state, "/completeness/whole_up_to") {
        Some(time) => format!("up to {time}{told}"),
        None if text(state, "/completeness/standing") == Some("not_told") => {
            "not known: it never said what it holds".to_owned()
        }
        None => format!("not known up to when{told}"),
    }];
    if let Some(samples) = number(state, "/completeness/on_robot/samples") {
        parts.push(format!("{} on the robot", times::samples(samples)));
    }
    if let Some(samples) = number(state, "/completeness/before_this_gateway/samples").filter(|n| *n > 0) {
        parts.push(format!("before this gateway: {}", times::count(samples)));
    }
    let unknown = number(state, "/completeness/unknown_up_to").filter(|n| *n > 0);
    if let Some(samples) = unknown {
        parts.push(format!("unknown: up to {}, on a spool that is gone", times::count(samples)));
    }
    let behind = number(state, "/completeness/on_robot/samples").is_some_and(|n| n > 0);
    let tone = if behind || unknown.is_some() { Tone::Warn } else { Tone::Plain };
    Cell::toned(parts.join("; "), tone)
}

/// Says what a robot lost, each reason with its lane, batches and time.
pub fn lost_cell(state: &Value) -> Cell {
    let lost = number(state, "/loss/samples").unwrap_or(0);
    if lost == 0 {
        return Cell::new("nothing");
    }
    let told = state.pointer("/completeness/lost").and_then(Value::as_array);
    let parts: Vec<_> = told.into_iter().flatten().map(loss).collect();
    Cell::toned(format!("{}: {}", times::samples(lost), parts.join("; ")), Tone::Bad)
}

/// Says how many robots are whole, and what the others are.
pub fn fleet_cell(fleet: &Value) -> Cell {
    let words = [
        ("/completeness/whole", "whole"),
        ("/completeness/behind", "behind"),
        ("/completeness/not_told", "not told"),
        ("/loss/robots", "lost something"),
    ];
    let told = words.into_iter().filter_map(|(pointer, word)| {
        let robots = number(fleet, pointer).filter(|robots| *robots > 0)?;
        Some(format!("{} {word}", times::count(robots)))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return Cell::none();
    }
    let any = |pointer: &str| number(fleet, pointer).is_some_and(|robots| robots > 0);
    let tone = match (any("/loss/robots"), any("/completeness/behind")) {
        (true, _) => Tone::Bad,
        (_, true) => Tone::Warn,
        _ => Tone::Plain,
    };
    Cell::toned(told.join(", "), tone)
}

/// Says who else speaks for a robot, if anybody does.
pub fn conflict_cell(state: &Value) -> Option<Cell> {
    let address = text(state, "/conflict/other/address")?;
    let instance = text(state, "/conflict/other/instance").unwrap_or_default();
    let since = time(state, "/conflict/since").map_or_else(String::new, |time| format!(" since {time}"));
    let who = format!("{address} (process {})", instance.get(..8).unwrap_or(instance));
    let told =
        format!("another process speaks for this robot too{since}: {who}; give each robot a name of its own");
    Some(Cell::toned(told, Tone::Bad))
}

/// Returns the seqs of a loss as `84010-84012`.
pub fn seqs(loss: &Value) -> Option<String> {
    let (first, last) = (number(loss, "/seqs/first")?, number(loss, "/seqs/last")?);
    Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
}

/// Returns the time at `pointer` to the second.
pub fn time(answer: &Value, pointer: &str) -> Option<String> {
    let text = WallTime(answer.pointer(pointer)?.as_i64()?).to_string();
    let seconds = text.get(.."2026-03-01T12:00:00".len())?;
    Some(format!("{seconds}Z"))
}

/// Writes `40 spool_full, live batches 84010-84012, 10:31:00 to 10:33:10`.
fn loss(loss: &Value) -> String {
    let samples = number(loss, "/samples").unwrap_or(0);
    let mut told = format!("{} {}", times::count(samples), text(loss, "/reason").unwrap_or("lost"));
    let lane = text(loss, "/lane").unwrap_or_default();
    let among = number(loss, "/batches").unwrap_or(0);
    match seqs(loss) {
        Some(seqs) => told = format!("{told}, {lane} batches {seqs}"),
        None if among > 0 => told = format!("{told}, {} {lane} batches", times::count(among)),
        None => {}
    }
    match (time(loss, "/t_min"), time(loss, "/t_max")) {
        (Some(from), Some(to)) if from == to => format!("{told}, {from}"),
        (Some(from), Some(to)) => format!("{told}, {from} to {to}"),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const T: i64 = 1_500_000_000_000_000_000;

    #[test]
    fn a_robot_tells_where_each_of_its_samples_is() {
        let state = json!({
            "completeness": {
                "standing": "behind", "whole_up_to": T, "age_ms": 4000,
                "on_robot": {"samples": 3120, "age_ms": 4000},
                "lost": [
                    {"reason": "spool_full", "lane": "live", "samples": 40, "batches": 3, "t_min": T, "t_max": T + 130_000_000_000_i64,
                     "seqs": {"first": 84010, "last": 84012}},
                    {"reason": "malformed", "lane": "live", "samples": 2, "batches": 0, "t_min": T, "t_max": T, "seqs": null},
                    {"reason": "corrupt", "lane": "bulk", "samples": 1, "batches": 1, "t_min": null, "t_max": null, "seqs": null}
                ],
                "before_this_gateway": {"samples": 1204, "batches": 12},
                "unknown_up_to": 500
            },
            "loss": {"samples": 43}
        });
        let whole = "up to 2017-07-14T02:40:00Z (as of 4.0 s ago); 3,120 samples on the robot; before this gateway: \
                     1,204; unknown: up to 500, on a spool that is gone";
        assert_eq!(whole_cell(&state), Cell::toned(whole, Tone::Warn));
        let lost = "43 samples: 40 spool_full, live batches 84010-84012, 2017-07-14T02:40:00Z to 2017-07-14T02:42:10Z; \
                    2 malformed, 2017-07-14T02:40:00Z; 1 corrupt, 1 bulk batches";
        assert_eq!(lost_cell(&state), Cell::toned(lost, Tone::Bad));
    }

    #[test]
    fn what_nobody_told_is_not_called_whole() {
        let state = json!({"completeness": {"standing": "not_told", "whole_up_to": null, "age_ms": null}});
        assert_eq!(whole_cell(&state), Cell::new("not known: it never said what it holds"));
        assert_eq!(lost_cell(&state), Cell::new("nothing"));
        assert_eq!(whole_cell(&json!({})), Cell::new("not known up to when"));
    }

    #[test]
    fn the_fleet_is_counted_by_completeness() {
        let fleet = json!({"completeness": {"whole": 3, "behind": 1, "not_told": 0}, "loss": {"robots": 1}});
        assert_eq!(fleet_cell(&fleet), Cell::toned("3 whole, 1 behind, 1 lost something", Tone::Bad));
        assert_eq!(fleet_cell(&json!({})), Cell::none());
    }

    #[test]
    fn a_conflict_names_the_other_process() {
        let other = json!({"address": "10.0.0.9:1", "instance": "0123456789abcdef"});
        let state = json!({"conflict": {"since": T, "other": other}});
        let told = "another process speaks for this robot too since 2017-07-14T02:40:00Z: 10.0.0.9:1 (process \
                    01234567); give each robot a name of its own";
        assert_eq!(conflict_cell(&state), Some(Cell::toned(told, Tone::Bad)));
        assert_eq!(conflict_cell(&json!({"conflict": null})), None);
    }
}
