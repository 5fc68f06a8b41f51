//! Cells from the API's JSON, by JSON pointer. What an answer lacks shows as `-`: a newer or older gateway stays readable.

use serde_json::Value;

use super::{
    table::{Cell, Tone, printable},
    times,
};

/// Returns the text at `pointer`.
pub fn text<'a>(answer: &'a Value, pointer: &str) -> Option<&'a str> {
    answer.pointer(pointer)?.as_str()
}

/// Returns the count at `pointer`.
pub fn number(answer: &Value, pointer: &str) -> Option<u64> {
    answer.pointer(pointer)?.as_u64()
}

/// Shows a text.
pub fn text_cell(answer: &Value, pointer: &str) -> Cell {
    text(answer, pointer).map_or_else(Cell::none, Cell::new)
}

/// Shows a count with thousands, aligned to the right.
pub fn count_cell(answer: &Value, pointer: &str) -> Cell {
    number(answer, pointer).map_or_else(Cell::none, |count| Cell::figure(times::count(count)))
}

/// Shows a count that should be zero.
pub fn trouble_cell(answer: &Value, pointer: &str) -> Cell {
    match number(answer, pointer) {
        Some(0) | None => count_cell(answer, pointer),
        Some(count) => Cell::figure(times::count(count)).with_tone(Tone::Bad),
    }
}

/// Shows an age in milliseconds as `3.2 s ago`.
pub fn age_cell(answer: &Value, pointer: &str) -> Cell {
    let age = answer.pointer(pointer).and_then(Value::as_i64);
    age.map_or_else(Cell::none, |ms| Cell::new(times::age(ms)))
}

/// Shows a state with the tone that it has everywhere: link, freshness and health have no word in common that differs.
pub fn state_cell(answer: &Value, pointer: &str) -> Cell {
    text(answer, pointer).map_or_else(Cell::none, |state| Cell::toned(state, tone(state)))
}

/// Returns the tone of a state's name.
pub fn tone(state: &str) -> Tone {
    match state.to_ascii_lowercase().as_str() {
        "up" | "fresh" | "ok" => Tone::Good,
        "late" | "warn" => Tone::Warn,
        "down" | "stale" | "error" => Tone::Bad,
        "never" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// Writes `3 fresh, 1 stale` from an object of counts, those of `order` first, without the zeros; `-` without any.
pub fn counts(answer: &Value, pointer: &str, order: &[&str]) -> String {
    let Some(object) = answer.pointer(pointer).and_then(Value::as_object) else {
        return "-".to_owned();
    };
    let others = object.keys().map(String::as_str).filter(|name| !order.contains(name));
    let shown = order.iter().copied().chain(others).filter_map(|name| match object.get(name)?.as_u64() {
        None | Some(0) => None,
        Some(count) => Some(format!("{} {}", times::count(count), printable(name).replace('_', " "))),
    });
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

/// The states of a link, the good one first.
pub const LINKS: [&str; 2] = ["up", "down"];

/// The states of a channel's freshness, the good one first.
pub const FRESHNESS: [&str; 4] = ["fresh", "late", "stale", "never"];

/// The levels of health, the good one first.
pub const HEALTH: [&str; 4] = ["ok", "warn", "error", "stale"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_shows_as_a_dash() {
        let answer = json!({"a": {"n": 1200, "s": "up"}});
        assert_eq!(text_cell(&answer, "/a/x"), Cell::none());
        assert_eq!(count_cell(&answer, "/a/s"), Cell::none());
        assert_eq!(count_cell(&answer, "/a/n"), Cell::figure("1,200"));
        assert_eq!(state_cell(&answer, "/a/s"), Cell::toned("up", Tone::Good));
    }

    #[test]
    fn counts_leave_the_zeros_out() {
        assert_eq!(counts(&json!({"by": {"spool_full": 3, "corrupt": 0}}), "/by", &[]), "3 spool full");
        assert_eq!(counts(&json!({"by": {}}), "/by", &[]), "-");
        assert_eq!(counts(&json!({"by": {"a": 1, "up": 2}}), "/by", &LINKS), "2 up, 1 a");
    }
}
