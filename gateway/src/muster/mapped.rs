//! What a mapping says of a robot, for a person: where it is, how full its battery is, what it runs; each with its age
//! and its freshness.

use serde_json::Value;

use super::{
    answer::{text, tone},
    table::{Cell, Tone},
    times,
};

/// Returns the lines of a robot's view for what is known of it.
pub fn lines(state: &Value) -> Vec<(&'static str, Cell)> {
    let link = text(state, "/link/state").unwrap_or("unknown");
    let shown = [
        ("position", position_words as fn(&Value) -> Option<String>),
        ("pose", pose_words),
        ("battery", battery_words),
        ("version", |version| text(version, "/v").map(str::to_owned)),
    ];
    let line = |(name, words): (&'static str, fn(&Value) -> Option<String>)| {
        let value = state.get(name).filter(|value| value.is_object())?;
        let told =
            format!("{} ({}, {})", words(value)?, text(value, "/channel").unwrap_or("?"), told(value, link));
        Some((name, Cell::toned(told, freshness_tone(value, link))))
    };
    shown.into_iter().filter_map(line).collect()
}

/// Shows a robot's battery in a list, with its freshness where that is not the best.
pub fn battery_cell(robot: &Value) -> Cell {
    let Some(battery) = robot.get("battery").filter(|battery| battery.is_object()) else {
        return Cell::none();
    };
    let words = charge_words(battery).unwrap_or_else(|| "?".to_owned());
    let link = text(robot, "/link/state").unwrap_or("unknown");
    let words = match text(battery, "/freshness") {
        Some("fresh") | None => words,
        Some(freshness) => format!("{words} {freshness}"),
    };
    Cell::figure(words).with_tone(freshness_tone(battery, link))
}

fn position_words(position: &Value) -> Option<String> {
    let degrees = |name: &str| position.get(name)?.as_f64();
    let (latitude, longitude) = (degrees("latitude")?, degrees("longitude")?);
    let altitude = degrees("altitude").map_or_else(String::new, |metres| format!(", {metres:.1} m"));
    Some(format!("{latitude:.6}, {longitude:.6}{altitude}"))
}

fn pose_words(pose: &Value) -> Option<String> {
    let number = |name: &str| pose.get(name)?.as_f64();
    let (x, y) = (number("x")?, number("y")?);
    let heading = number("heading").map_or_else(String::new, |heading| format!(", heading {heading:.2} rad"));
    let map = text(pose, "/map").map_or_else(String::new, |map| format!(" on {map}"));
    Some(format!("x {x:.2} m, y {y:.2} m{heading}{map}"))
}

fn battery_words(battery: &Value) -> Option<String> {
    if let Some(problem) = text(battery, "/problem") {
        return Some(problem.to_owned());
    }
    let charging = match battery.get("charging").and_then(Value::as_bool) {
        Some(true) => ", charging",
        Some(false) => ", not charging",
        None => "",
    };
    Some(format!("{}{charging}", charge_words(battery)?))
}

fn charge_words(battery: &Value) -> Option<String> {
    Some(format!("{:.0} %", battery.get("charge")?.as_f64()? * 100.0))
}

/// Writes `fresh, 430 ms ago` of a value, and the link of a robot that cannot be heard.
pub(super) fn told(value: &Value, link: &str) -> String {
    let freshness = text(value, "/freshness").unwrap_or("unknown");
    let age = value
        .get("age_ms")
        .and_then(Value::as_i64)
        .map_or_else(String::new, |ms| format!(", {}", times::age(ms)));
    let link = if link == "up" { String::new() } else { format!(", link {link}") };
    format!("{freshness}{age}{link}")
}

/// A value of a robot that cannot be heard is never toned as good.
pub(super) fn freshness_tone(value: &Value, link: &str) -> Tone {
    match (text(value, "/freshness").map_or(Tone::Plain, tone), link) {
        (Tone::Good, "up") => Tone::Plain,
        (Tone::Good, _) => Tone::Bad,
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::muster::table::{Look, Sheet};

    fn state(link: &str, freshness: &str) -> Value {
        json!({
            "link": {"state": link},
            "position": {
                "latitude": 52.51631, "longitude": -0.5, "altitude": 34.52, "channel": "/fix.lat", "t": 1,
                "age_ms": 1500, "freshness": freshness
            },
            "pose": {
                "x": 8.25, "y": -0.301, "heading": 1.25, "map": "hall-3", "channel": "pose.x", "age_ms": 430,
                "freshness": freshness
            },
            "battery": {
                "charge": 0.814, "charging": true, "problem": null, "channel": "battery.soc", "age_ms": 430,
                "freshness": freshness
            },
            "version": null
        })
    }

    fn shown(state: &Value) -> Vec<String> {
        let mut sheet = Sheet::new(&[]);
        for (name, cell) in lines(state) {
            sheet.push(vec![Cell::new(name), cell]);
        }
        let drawn = sheet.render(Look { width: None, color: false });
        drawn.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn each_value_says_from_where_and_when_it_is() {
        assert_eq!(
            shown(&state("up", "fresh")),
            [
                "position 52.516310, -0.500000, 34.5 m (/fix.lat, fresh, 1.5 s ago)",
                "pose x 8.25 m, y -0.30 m, heading 1.25 rad on hall-3 (pose.x, fresh, 430 ms ago)",
                "battery 81 %, charging (battery.soc, fresh, 430 ms ago)",
            ]
        );
        assert!(shown(&state("down", "stale"))[0].ends_with("(/fix.lat, stale, 1.5 s ago, link down)"));
    }

    #[test]
    fn a_battery_in_a_list_shows_when_it_is_old() {
        assert_eq!(battery_cell(&state("up", "fresh")), Cell::figure("81 %"));
        let stale = Cell::figure("81 % stale").with_tone(Tone::Bad);
        assert_eq!(battery_cell(&state("up", "stale")), stale);
        assert_eq!(battery_cell(&json!({"battery": null})), Cell::none());
    }

    #[test]
    fn what_is_no_charge_says_what_to_do() {
        let mut state = state("up", "fresh");
        state["battery"]["charge"] = Value::Null;
        state["battery"]["problem"] = "battery.soc says 81".into();
        assert!(
            shown(&state)[2].starts_with("battery battery.soc says 81 (battery.soc"),
            "{:?}",
            shown(&state)
        );
        assert_eq!(battery_cell(&state), Cell::figure("?"));
    }
}
