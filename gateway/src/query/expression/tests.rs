use muster_protocol::{id::RobotId, sample::Value, time::WallTime};
use proptest::prelude::*;

use super::*;
use crate::fleet::{Fleet, rehearsal::*};

const ROBOT: &str = "berlin/r1";

/// A robot that said something a second ago, with its link up.
fn fleet() -> Fleet {
    let robot: RobotId = ROBOT.parse().unwrap();
    let mut connected = batch_record(
        1,
        head(1, 1),
        NOW - S,
        (
            int_batch(&schema(&[("a", None, false)]), &[0], &[(NOW, 1)], clock(1, NOW)),
            schema(&[("a", None, false)]),
        ),
    );
    connected.batch = None;
    connected.envelope = envelope(robot.clone(), 1, NOW - S, up(Some(clock(1, NOW - S)), 1));
    let row = [
        ("battery.soc", Value::Float(0.15)),
        ("battery.cells[0]", Value::Int(3)),
        ("mode", Value::Text("auto".into())),
        ("docked", Value::Bool(false)),
        ("raw", Value::Bytes(vec![1])),
        ("odd", Value::Float(f64::NAN)),
        ("pose.y", Value::Float(2.0)),
    ];
    let old = [("pose.x", Value::Float(1.0))];
    fold([
        &connected,
        &row_record(2, robot.clone(), NOW - S, &row),
        &row_record(3, robot, NOW - 60 * S, &old),
    ])
}

fn asked(text: &str) -> Result<bool, String> {
    let expression = Expression::parse(text).map_err(|error| error.to_string())?;
    let (fleet, robot, live) = (fleet(), ROBOT.parse().unwrap(), heard(NOW - S));
    let state = fleet.robot(&robot).unwrap();
    let state = state.read().unwrap();
    let view = View::new(&robot, &state, WallTime(NOW), Some(&live).into());
    expression.matches(&view).map_err(|undecided| format!("undecided: {undecided}"))
}

#[test]
fn expressions_that_hold() {
    for text in [
        "link.up",
        r#"link.up && value("battery.soc") < 0.2"#,
        r#"value("battery.soc") == 0.15 && value("battery.cells[0]") == 3"#,
        r#"value("battery.cells[0]") < 3.5 && value("battery.cells[0]") == 3.0"#,
        r#"freshness("battery.soc") == "fresh" && freshness("nothing") == "never""#,
        // A group is as fresh as the worst of it.
        r#"freshness("pose") == "stale" && freshness("pose.y") == "fresh""#,
        r#"age_ms("battery.soc") == 1000 && age_ms("pose.x") > 30000"#,
        r#"known("mode") && !known("nothing")"#,
        r#"value("mode").startsWith("au") && size(value("mode")) == 4"#,
        r#"!value("docked") || false"#,
        r#"fleet == "berlin" && name in ["r1", "r2"] && id == robot"#,
        r#"health.level == "warn" || health.reasons.exists(why, why.contains("link"))  || true"#,
        "clock.skew_ms == 0 && channels == 8 && samples > 6",
        "completeness.unknown_up_to == 0 && loss.last_at == null",
        "!has(labels.site) && size(labels) == 0",
        // What is unknown does not matter where the rest decides.
        r#"value("nothing") < 1 || link.up"#,
        r#"!(value("nothing") < 1 && !link.up)"#,
        "[1, 2, 3].all(n, n < 4)",
        "double(samples) / 2.0 > 1.0 ? true : false",
    ] {
        assert_eq!(asked(text), Ok(true), "{text}");
    }
    assert_eq!(asked("!link.up"), Ok(false));
}

#[test]
fn what_is_unknown_is_undecided_and_says_what_it_was() {
    for (text, why) in [
        (r#"value("nothing") < 1"#, "there is no value of nothing"),
        (r#"value("raw") == 1"#, "there is no value of raw"),
        (r#"labels.site == "berlin""#, "there is no label site"),
        (r#"value("mode") < 1"#, "overload"),
        (r#"value("odd") < 1.0"#, "overload"),
        ("loss.last_at > 3", "there is no loss.last_at"),
        ("samples + 1", "int, and not true or false"),
        ("1 / 0 == 1", "zero"),
    ] {
        let said = asked(text).unwrap_err();
        assert!(said.starts_with("undecided") && said.contains(why), "{text}: {said}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, at, words) in [
        ("link.up &&", "at 1:11", ""),
        ("link.up && link.upp", "at character 12", "nearest that it has is `link.up`"),
        ("battery.soc < 0.2", "at character 1", r#"value("battery.soc")"#),
        ("value(battery.soc) < 0.2", "at 1:", r#"value("battery.soc")"#),
        (r#"value("a", "b") < 0.2"#, "at 1:", "one channel's name"),
        ("link.up && sqrt(4) > 1", "at character 1", "there is no function `sqrt`"),
        // It was taken, and then every robot was undecided.
        (r#"name.matches("r[0-9]")"#, "at character", "there is no function `matches`"),
        ("has(link.up)", "at character 5", "has(labels.site)"),
        ("", "at 1:1", ""),
        (r#"contains(name, "r")"#, "at character 9", r#"name.contains("r")"#),
        ("17", "at character 1", "neither true nor false"),
        ("link.up = true", "at 1:9", ""),
        ("Robot{id: 1} == 1", "at character", "messages cannot be made"),
    ] {
        let said = asked(text).unwrap_err();
        assert!(said.starts_with(at) && said.contains(words), "{text}: {said}");
    }
    let long = format!("link.up || {:?} == \"\"", "x".repeat(EXPRESSION_BYTES_MAX));
    assert!(asked(&long).unwrap_err().contains("too long"));
}

#[test]
fn what_could_take_long_is_refused_before_it_runs() {
    let list = format!("[{}]", vec!["1"; 100].join(", "));
    let twice = format!("{list}.all(a, {list}.all(b, a == b))");
    assert!(asked(&twice).unwrap_err().contains("steps for each robot"));
    assert_eq!(asked(&format!("{list}.all(a, a == 1)")), Ok(true));
    let labels = "labels.all(a, labels.all(b, labels.all(c, a == b)))";
    assert!(asked(labels).unwrap_err().contains("steps for each robot"));
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    for text in
        ["(".repeat(2000) + &")".repeat(2000), "-".repeat(3000) + "[", "[".repeat(4000), "-".repeat(4000)]
    {
        assert!(asked(&text).is_err());
    }
    let chain = vec!["link.up"; 300].join(" && ");
    assert_eq!(asked(&chain), Ok(true));
}

#[test]
fn it_knows_what_it_depends_on() {
    let expression =
        Expression::parse(r#"value("b") < 1 && freshness("a") == "fresh" && age_ms("b") > 1"#).unwrap();
    assert_eq!(expression.channels(), ["a", "b"]);
    assert!(expression.is_heard());
    assert!(!Expression::parse(r#"value("b") < 1 && labels.site == "x" && samples > 1"#).unwrap().is_heard());
    assert!(Expression::parse("link.up").unwrap().is_heard());
}

proptest! {
    #[test]
    fn no_text_panics(text in r#"([a-z."()\[\]!&|<>=+*/?:, 0-9_{}-]|value\("|link\.up|labels|\.all\(|é|\PC){0,60}"#) {
        let _ = asked(&text);
    }
}
