//! `muster robots`: one line per robot.

use serde_json::Value;

use super::{
    answer::{FRESHNESS, age_cell, count_cell, counts, state_cell, text, text_cell, tone, trouble_cell},
    client::{Client, Query},
    failure::Failure,
    mapped,
    table::{Cell, Look, Sheet, Tone},
};

/// The summaries that were asked for.
#[derive(Debug, Default)]
pub struct Listed {
    /// One JSON object per robot, in the API's order.
    pub robots: Vec<Value>,
    /// Whether there are more robots than the limit.
    pub more: bool,
    /// The first page without its robots: what it says of the whole list.
    pub about: Value,
}

/// Follows the pages of `/v1/robots` with these parameters until there are `limit` robots or no more.
pub fn fetch(client: &Client, asked: &Query, limit: usize) -> Result<Listed, Failure> {
    let mut listed = Listed::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = asked.clone();
        query.push(("limit", (limit - listed.robots.len()).clamp(1, PAGE_ROBOTS).to_string()));
        query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let mut page = client.json("/v1/robots", &query)?;
        let Some(Value::Array(robots)) = page.get_mut("robots").map(Value::take) else {
            return Err(client.not_ours("/v1/robots has no list `robots`".to_owned()));
        };
        listed.robots.extend(robots.into_iter().take(limit - listed.robots.len()));
        // A page may be empty and not the last: robots that no longer match when it is read are left out of it.
        let next = text(&page, "/next_cursor").map(str::to_owned);
        let is_first = cursor.is_none();
        let goes_on = next.is_some() && next != cursor;
        cursor = next;
        if is_first {
            listed.about = page;
        }
        if !goes_on || listed.robots.len() >= limit {
            listed.more = goes_on;
            return Ok(listed);
        }
    }
}

/// Draws the summaries.
pub fn render(robots: &[Value], look: Look) -> String {
    let mut sheet = Sheet::new(&[
        "robot",
        "link",
        "heard",
        "health",
        "freshness",
        "newest",
        "battery",
        "samples",
        "on robot",
        "lost",
        "agent",
    ]);
    sheet = sheet.spare(&["agent", "heard", "on robot", "lost", "samples", "newest", "battery"]);
    for robot in robots {
        sheet.push(vec![
            robot_cell(robot),
            state_cell(robot, "/link/state"),
            age_cell(robot, "/link/last_heard_age_ms"),
            state_cell(robot, "/health/level"),
            freshness_cell(robot),
            age_cell(robot, "/newest_age_ms"),
            mapped::battery_cell(robot),
            count_cell(robot, "/samples"),
            count_cell(robot, "/completeness/on_robot/samples"),
            trouble_cell(robot, "/loss/samples"),
            text_cell(robot, "/agent/version"),
        ]);
    }
    sheet.render(look)
}

/// Returns the CSV row of one summary under [`CSV_HEADER`].
pub fn csv(robot: &Value) -> Vec<String> {
    CSV_HEADER.iter().map(|(_, pointer)| plain(robot.pointer(pointer))).collect()
}

/// Writes a JSON scalar as the text of a CSV field.
pub(super) fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Names the robot, and says so where two processes speak for it.
pub(super) fn robot_cell(robot: &Value) -> Cell {
    match text(robot, "/conflict/other/address") {
        Some(_) => Cell::toned(format!("{} (conflict)", text(robot, "/robot").unwrap_or("-")), Tone::Bad),
        None => text_cell(robot, "/robot"),
    }
}

/// Shows counts by freshness in the tone of the worst.
pub(super) fn freshness_cell(robot: &Value) -> Cell {
    let worst = ["stale", "late", "fresh"].into_iter().find(|state| {
        robot.pointer(&format!("/freshness/{state}")).and_then(Value::as_u64).is_some_and(|n| n > 0)
    });
    Cell::toned(counts(robot, "/freshness", &FRESHNESS), worst.map_or(Tone::Dim, tone))
}

/// The columns of the CSV and where the API has them.
pub const CSV_HEADER: [(&str, &str); 32] = [
    ("robot", "/robot"),
    ("link", "/link/state"),
    ("link_since", "/link/since"),
    ("transport", "/link/transport"),
    ("last_heard_age_ms", "/link/last_heard_age_ms"),
    ("health", "/health/level"),
    ("fresh", "/freshness/fresh"),
    ("late", "/freshness/late"),
    ("stale", "/freshness/stale"),
    ("never", "/freshness/never"),
    ("newest_age_ms", "/newest_age_ms"),
    ("samples", "/samples"),
    ("on_robot", "/completeness/on_robot/samples"),
    ("lost", "/loss/samples"),
    ("completeness", "/completeness/standing"),
    ("whole_up_to", "/completeness/whole_up_to"),
    ("conflict_with", "/conflict/other/address"),
    ("charge", "/battery/charge"),
    ("charge_age_ms", "/battery/age_ms"),
    ("charge_freshness", "/battery/freshness"),
    ("latitude", "/position/latitude"),
    ("longitude", "/position/longitude"),
    ("position_age_ms", "/position/age_ms"),
    ("position_freshness", "/position/freshness"),
    ("x", "/pose/x"),
    ("y", "/pose/y"),
    ("map", "/pose/map"),
    ("pose_age_ms", "/pose/age_ms"),
    ("pose_freshness", "/pose/freshness"),
    ("version", "/version/v"),
    ("version_age_ms", "/version/age_ms"),
    ("version_freshness", "/version/freshness"),
];

/// Robots asked for at once: one answer stays small and a fleet of thousands takes few.
const PAGE_ROBOTS: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn robot() -> Value {
        json!({
            "robot": "demo/husky", "link": {"state": "down", "since": 5, "last_heard_age_ms": 61_000},
            "health": {"level": "ok"}, "freshness": {"fresh": 0, "late": 1, "stale": 37}, "newest_age_ms": 61_234,
            "samples": 226_378, "completeness": {"on_robot": {"samples": 0}}, "loss": {"samples": 12}, "agent": {"version": "0.1.0"}
        })
    }

    #[test]
    fn each_robot_shows_its_link_and_freshness() {
        let text = render(&[robot()], Look { width: None, color: false });
        let row = text.lines().nth(1).unwrap();
        for part in ["demo/husky", "down", "1 min 1 s ago", "1 late, 37 stale", "226,378", "12", "0.1.0"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }

    #[test]
    fn a_robot_with_two_processes_stands_out() {
        let mut robot = robot();
        robot["conflict"] = json!({"other": {"address": "10.0.0.9:1"}});
        assert!(render(&[robot], Look { width: None, color: false }).contains("demo/husky (conflict)"));
    }

    #[test]
    fn csv_keeps_numbers_as_they_came() {
        let row = csv(&robot());
        assert_eq!(row[0], "demo/husky");
        assert_eq!(row[2], "5");
        assert_eq!(row[9], "", "what is missing is empty");
        assert_eq!(row[11], "226378");
    }

    /// Guards: a charge of last week looked live in a row whose other values were a moment old.
    #[test]
    fn no_mapped_value_stands_in_csv_without_its_age_and_freshness() {
        for (part, value) in
            [("battery", "charge"), ("position", "latitude"), ("pose", "x"), ("version", "v")]
        {
            for member in [value, "age_ms", "freshness"] {
                let pointer = format!("/{part}/{member}");
                assert!(CSV_HEADER.iter().any(|(_, of)| *of == pointer), "{pointer}");
            }
        }
    }
}
