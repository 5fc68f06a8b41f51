use muster_protocol::{id::RobotId, sample::Value, time::WallTime};
use proptest::prelude::*;

use super::*;
use crate::fleet::{Fleet, rehearsal::*};

const ROBOT: &str = "berlin/r1";

/// A robot that said something a second ago, with its link up.
pub(in crate::query) fn fleet() -> Fleet {
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
        (r#"value("mode")"#, "string, and not true or false"),
        (r#"link.up ? value("battery.cells[0]") : false"#, "int, and not true or false"),
        ("battery.charging", "there is no battery.charging"),
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
        ("link.up && sqrt(4) > 1", "at character 12", "there is no function `sqrt`"),
        // It was taken, and then every robot was undecided.
        (r#"name.matches("r[0-9]")"#, "at character", "there is no function `matches`"),
        ("has(link.up)", "at character 5", "has(labels.site)"),
        ("", "at 1:1", ""),
        (r#"contains(name, "r")"#, "at character 1:", r#"name.contains("r")"#),
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

/// Each of these was taken once, and then every robot was undecided.
#[test]
fn what_can_be_neither_true_nor_false_is_refused_with_its_place() {
    for (text, at, words) in [
        ("channels", 1, "`channels` is a number"),
        ("battery.charge", 1, "as in battery.charge > 1"),
        ("health.level", 1, r#"as in health.level == "a""#),
        ("link.since", 1, "a number"),
        ("health.reasons", 1, "a list of texts"),
        ("labels.site", 1, "`labels.site` is text"),
        ("labels", 1, "a map"),
        ("link.up && null", 12, "null"),
        ("samples + 1", 9, "a number"),
        (r#"age_ms("pose")"#, 1, "a number"),
        (r#"freshness("pose")"#, 1, "text"),
        ("size(name)", 1, "a number"),
        ("!channels", 2, "`channels`"),
        ("link.up && battery.charge", 12, "`battery.charge`"),
        ("battery.charge || link.up", 1, "`battery.charge`"),
        ("channels ? link.up : link.up", 1, "`channels`"),
        ("link.up ? true : samples", 18, "`samples`"),
        ("link.up ? channels : link.up", 11, "`channels`"),
        ("(channels ? 1 : 2) == 1", 2, "`channels`"),
        ("health.reasons.all(why, why)", 25, "`why` is text"),
        ("[1, 2].exists(n, samples)", 18, "`samples`"),
        ("[1, 2].filter(n, samples) == []", 18, "`samples`"),
        ("[1, 2].map(n, n)", 11, "a list"),
    ] {
        let said = asked(text).unwrap_err();
        let place = format!("at character {at}");
        assert!(said.starts_with(&format!("{place}: ")) && said.contains(words), "{text}: {said}");
    }
}

/// Guards: places were counted in bytes.
#[test]
fn places_are_counted_in_characters() {
    for (text, place) in [
        ("name == \"Jürgen ÄÖ\" && lnk.up", "at character 24: "),
        ("name == \"Jürgen ÄÖ\" && size(link) == freshnes(\"a\")", "at character 38: "),
        ("name == \"ÄÖ\" && && link.up", "at 1:17: "),
        ("link.up &&\n name == \"ÄÖ\" && && link.up", "at 2:18: "),
    ] {
        let said = asked(text).unwrap_err();
        assert!(said.starts_with(place), "{text}: {said}");
    }
}

#[test]
fn what_can_never_be_equal_or_ordered_is_refused() {
    for text in [
        "link.up == \"up\"",
        "channels == \"8\"",
        "health.level > 2",
        "labels.site != 3",
        "freshness(\"pose\") == true",
        "health.reasons == \"x\"",
        "health.reasons < [\"x\"]",
        "samples > null",
    ] {
        let said = asked(text).unwrap_err();
        assert!(said.starts_with("at character") && said.contains("is compared with"), "{text}: {said}");
    }
    for text in
        ["loss.last_at == null", "channels == 8.0", "value(\"mode\") == \"auto\"", "[1] != health.reasons"]
    {
        assert_eq!(asked(text), Ok(true), "{text}");
    }
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

/// Guards: a text or a list that each macro of a chain doubles took as much memory as it liked, in a few steps.
#[test]
fn what_could_grow_large_is_refused_before_it_runs() {
    for grown in [
        format!("[\"x\"]{}.exists(a, a == name)", ".map(a, a + a)".repeat(30)),
        format!("[\"x\"]{}.exists(a, a == name)", ".map(a, [a, a])".repeat(30)),
        format!("[1]{}.exists(a, a.exists(b, b == name))", ".map(a, [a, a])".repeat(30)),
        format!("[[1]]{}.exists(a, a.exists(b, b == 2))", ".map(a, a + a)".repeat(30)),
        format!("[value(\"mode\")]{}.exists(a, a == name)", ".map(a, a + a)".repeat(8)),
        format!("[{{\"b\": [{}]}}].all(a, a.b.all(b, a.b.all(c, b == c)))", vec!["1"; 100].join(",")),
    ] {
        assert!(asked(&grown).unwrap_err().contains("steps for each robot"), "{grown}");
    }
    for usual in [
        "[\"x\"].map(a, a + a).exists(a, a == \"xx\")",
        "fleet + \"/\" + name == id",
        "health.reasons.exists(why, why.contains(\"nothing\") || size(why) > 3 && why.startsWith(\"a\")) || true",
        "labels.all(key, labels[key] == key)",
        "[\"a\", \"b\"].map(x, x + \"/\" + name).exists(x, x == id) || true",
        "value(\"mode\") + \"!\" == \"auto!\"",
    ] {
        assert_eq!(asked(usual), Ok(true), "{usual}");
    }
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

/// Texts of conditions, many of them plain, over what the robot has, what it lacks, and what is of another type.
fn conditions() -> impl Strategy<Value = String> {
    let asked = prop::sample::select(vec![
        r#"value("battery.soc")"#,
        r#"value("battery.cells[0]")"#,
        r#"value("mode")"#,
        r#"value("docked")"#,
        r#"value("odd")"#,
        r#"value("raw")"#,
        r#"value("nothing")"#,
        r#"freshness("pose")"#,
        r#"age_ms("pose.x")"#,
        r#"known("mode")"#,
        r#"known("nothing")"#,
        "link.up",
        "link.state",
        "battery.charge",
        "labels.site",
        "channels",
        "name",
    ]);
    let literal = prop::sample::select(vec![
        "0",
        "3",
        "0.15",
        "3.0",
        "-1",
        "9007199254740993",
        "9007199254740992.0",
        "true",
        "false",
        "null",
        "2u",
        r#""auto""#,
        r#""stale""#,
        r#""r1""#,
    ]);
    let operator = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let comparison =
        (asked.clone(), operator, literal, any::<bool>()).prop_map(|(asked, operator, literal, turned)| {
            if turned {
                format!("{literal} {operator} {asked}")
            } else {
                format!("{asked} {operator} {literal}")
            }
        });
    let leaf = prop_oneof![4 => comparison, 1 => asked.prop_map(str::to_owned)];
    leaf.prop_recursive(3, 12, 2, |part| {
        prop_oneof![
            part.clone().prop_map(|part| format!("!({part})")),
            (part.clone(), part.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            (part.clone(), part.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            (part.clone(), part.clone(), part).prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_plain_is_decided_as_the_interpreter_does(text in conditions()) {
        let Ok(expression) = Expression::parse(&text) else { return Ok(()) };
        let (fleet, robot, live) = (&*FLEET, ROBOT.parse().unwrap(), heard(NOW - S));
        let state = fleet.robot(&robot).unwrap();
        let state = state.read().unwrap();
        let view = View::new(&robot, &state, WallTime(NOW), Some(&live).into());
        prop_assert_eq!(expression.matches(&view), expression.interpret(&view), "{}", text);
    }
}

static FLEET: LazyLock<Fleet> = LazyLock::new(fleet);

#[test]
fn what_is_asked_most_is_plain() {
    for text in [
        r#"value("battery.soc") < 0.2 && labels.site == "s3""#,
        r#"!link.up && freshness("battery.soc") == "stale""#,
        r#"health.level == "error" || battery.charge <= 0.1"#,
    ] {
        let plain = format!("{:?}", Expression::parse(text).unwrap().plain);
        assert!(!plain.contains("Other"), "{plain}");
    }
}

#[test]
fn what_the_parser_says_is_said_for_a_person() {
    let nested = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    for (text, words) in [
        (nested.as_str(), "nested more than 48 deep"),
        ("labels.site = 'berlin'", "write == to compare"),
        ("link.up and true", "`and` is no operator: write &&"),
        ("link.up or true", "write ||"),
        ("", "ends too early"),
        ("link.up &&", "ends too early"),
        ("labels.site == \"berlin", "close its quotes"),
        ("link.up ) true", "`)` is not expected here"),
    ] {
        let said = Expression::parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(words), "{text}: {said}");
    }
}
