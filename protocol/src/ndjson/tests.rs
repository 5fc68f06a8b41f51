//! The users' contract for NDJSON, sentence by sentence.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{id::Lane, limits::ROW_BYTES_MAX, time::WallTime};

fn line(text: &str) -> Result<Line, LineError> {
    Parser::default().parse_line(text.as_bytes())
}

fn row(text: &str) -> Row {
    match line(text) {
        Ok(Line::Row(row)) => row,
        other => panic!("{text}: {other:?}"),
    }
}

fn fields(text: &str) -> Vec<(String, Value)> {
    row(text).fields.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
}

/// The value of `{"ch":"x","v":VALUE}`.
fn value(json: &str) -> Value {
    fields(&format!(r#"{{"ch":"x","v":{json}}}"#)).remove(0).1
}

fn kind(text: &str) -> &'static str {
    match line(text) {
        Err(error) => error.kind(),
        other => panic!("{text}: {other:?}"),
    }
}

fn field(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

#[test]
fn objects_and_arrays_flatten_into_channels() {
    let text = r#"{"t": 1432235498025043042, "ch": "battery", "v": {"soc": 0.81, "cells": [3.7, 3], "charging": false,
        "state": {"name": "ok", "by": [[1], {"x": 2}]}}}"#;
    let expected = [
        field("battery.soc", Value::Float(0.81)),
        field("battery.cells[0]", Value::Float(3.7)),
        field("battery.cells[1]", Value::Int(3)),
        field("battery.charging", Value::Bool(false)),
        field("battery.state.name", Value::Text("ok".to_owned())),
        field("battery.state.by[0][0]", Value::Int(1)),
        field("battery.state.by[1].x", Value::Int(2)),
    ];
    assert_eq!(fields(text), expected);
    assert_eq!(row(text).t, Some(WallTime(1_432_235_498_025_043_042)));
}

/// Guards: both values were stored, with the same time.
#[test]
fn a_channel_has_one_value_in_a_line_and_may_have_another_in_the_next() {
    let mut parser = Parser::default();
    let mut parse = |text: &str| parser.parse_line(text.as_bytes());
    for _ in 0..2 {
        assert!(matches!(parse(r#"{"ch":"x","v":{"a":1,"b":2}}"#), Ok(Line::Row(_))));
        let error = parse(r#"{"ch":"x","v":{"b":0,"a":1,"a":2}}"#).unwrap_err();
        assert!(error.to_string().contains("`x.a` has two values"), "{error}");
    }
    // More names than are remembered, and each comes again in its own row.
    for n in 0..2 * crate::limits::SCHEMA_CHANNELS_MAX {
        let text = format!(r#"{{"ch":"x{n}","v":{{"a":1,"a":2}}}}"#);
        assert_eq!(parse(&text).unwrap_err().kind(), "duplicate_key");
        assert!(parse(r#"{"ch":"x","v":{"a":1}}"#).is_ok());
    }
}

#[test]
fn a_scalar_is_the_channel_itself() {
    assert_eq!(fields(r#"{"ch":"/imu/data","v":1}"#), [field("/imu/data", Value::Int(1))]);
    assert_eq!(fields(r#"{"ch":"mode","v":"auto"}"#), [field("mode", Value::Text("auto".to_owned()))]);
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_ignored() {
    let text = r#"{"v":{"a":1},"x":[{"t":1},null],"lane":"urgent","unit":"V","ch":"c","t":5}"#;
    let row = row(text);
    assert_eq!((row.t, row.lane, row.unit.as_deref()), (Some(WallTime(5)), Some(Lane::Urgent), Some("V")));
    assert_eq!(row.fields.len(), 1);
}

#[test]
fn a_time_is_an_integer_or_rfc_3339_or_left_out() {
    let t = |t: &str| row(&format!(r#"{{"t":{t},"ch":"x","v":1}}"#)).t;
    assert_eq!(t("-5"), Some(WallTime(-5)));
    assert_eq!(t("9223372036854775807"), Some(WallTime(i64::MAX)));
    assert_eq!(t(r#""1970-01-01T00:00:01.000000002Z""#), Some(WallTime(1_000_000_002)));
    assert_eq!(t("null"), None);
    assert_eq!(row(r#"{"ch":"x","v":1}"#).t, None);
    let long = format!("\"2026-03-01T12:00:00.{}Z\"", "0".repeat(80));
    for bad in ["1.5", "1e9", "true", "[]", "{}", r#""yesterday""#, "9223372036854775808", &long] {
        assert_eq!(kind(&format!(r#"{{"t":{bad},"ch":"x","v":1}}"#)), "bad_t", "{bad}");
    }
}

#[test]
fn integers_that_fit_64_bits_stay_integers() {
    for integer in [0, -1, 7, i64::MAX, i64::MIN] {
        assert_eq!(value(&integer.to_string()), Value::Int(integer));
    }
    assert_eq!(value("-0"), Value::Int(0));
    assert_eq!(fields(r#"{"ch":"x","v":[-0,-0.0, -0 ]}"#)[2].1, Value::Int(0));
}

#[test]
fn all_other_numbers_are_the_nearest_float() {
    assert_eq!(value("-0.0"), Value::Float(-0.0));
    assert_eq!(value("1.0"), Value::Float(1.0));
    assert_eq!(value("1e2"), Value::Float(100.0));
    assert_eq!(value("9223372036854775808"), Value::Float(9_223_372_036_854_775_808.0));
    assert_eq!(value("-9223372036854775809"), Value::Float(-9_223_372_036_854_775_808.0));
    assert_eq!(value("18446744073709551615"), Value::Float(18_446_744_073_709_551_615.0));
    assert_eq!(
        value("123456789012345678901234567890"),
        Value::Float(123_456_789_012_345_678_901_234_567_890.0)
    );
    assert_eq!(value("5e-324"), Value::Float(f64::from_bits(1)));
    assert_eq!(value("0.1"), Value::Float(0.1));
}

#[test]
fn null_is_skipped_and_a_line_of_nulls_is_blank() {
    assert_eq!(fields(r#"{"ch":"x","v":{"a":null,"b":[null,2]}}"#), [field("x.b[1]", Value::Int(2))]);
    for blank in ["", " \t\r\n", r#"{"ch":"x","v":null}"#, r#"{"ch":"x","v":{}}"#, r#"{"ch":"x","v":[null]}"#]
    {
        assert_eq!(line(blank), Ok(Line::Blank), "{blank}");
    }
}

#[test]
fn a_sync_line_gives_its_id_as_it_was_written() {
    for id in ["17", "-0", "1.50e3", r#""a\u0041 }:""#, "null", "true"] {
        let Ok(Line::Sync(found)) = line(&format!("{{ \"sync\" : {id} }}\r\n")) else { panic!("{id}") };
        assert_eq!(found.as_json(), id);
    }
    let long = format!("{{\"sync\":\"{}\"}}", "x".repeat(127));
    for bad in
        [r#"{"sync":[1]}"#, r#"{"sync":{}}"#, r#"{"sync":1,"ch":"x"}"#, r#"{"ch":"x","v":1,"sync":1}"#, &long]
    {
        assert_eq!(kind(bad), "bad_sync", "{bad}");
    }
}

#[test]
fn every_refusal_has_its_kind() {
    let cases = [
        ("hello", "not_json"),
        (r#"{"ch":"x","v":1"#, "not_json"),
        (r#"{"ch":"x","v":1} {}"#, "not_json"),
        (r#"{"ch":"x","v":01}"#, "not_json"),
        (r#"{"ch":"x","v":NaN}"#, "not_json"),
        (r#"{"ch":"x","v":1e999}"#, "not_json"),
        (r#"{"ch":"x","v":"\ud800"}"#, "not_json"),
        ("[1]", "not_object"),
        ("5", "not_object"),
        (r#""x""#, "not_object"),
        (r#"{"v":1}"#, "no_ch"),
        ("{}", "no_ch"),
        (r#"{"ch":"x"}"#, "no_value"),
        (r#"{"ch":"","v":1}"#, "bad_ch"),
        (r#"{"ch":"a\nb","v":1}"#, "bad_ch"),
        (r#"{"ch":5,"v":1}"#, "bad_ch"),
        (r#"{"ch":null,"v":1}"#, "bad_ch"),
        (r#"{"ch":"x","v":1,"v":2}"#, "duplicate_key"),
        (r#"{"ch":"x","ch":"x","v":2}"#, "duplicate_key"),
        (r#"{"t":1,"t":1,"ch":"x","v":2}"#, "duplicate_key"),
        (r#"{"ch":"x","v":{"a":1,"a":2}}"#, "duplicate_key"),
        (r#"{"ch":"x","v":{"a":{"b":1},"c":3,"a.b":2}}"#, "duplicate_key"),
        (r#"{"ch":"x","v":{"a":[1],"a[0]":1}}"#, "duplicate_key"),
        (r#"{"ch":"x","v":1,"lane":"fast"}"#, "bad_lane"),
        (r#"{"ch":"x","v":1,"lane":3}"#, "bad_lane"),
        (r#"{"ch":"x","v":1,"unit":""}"#, "bad_unit"),
        (r#"{"ch":"x","v":1,"unit":"123456789012345678901234567890123"}"#, "bad_unit"),
        (r#"{"ch":"x","v":1,"unit":7}"#, "bad_unit"),
        (r#"{"ch":"x","v":{"a\u0007":1}}"#, "bad_name"),
    ];
    for (text, expected) in cases {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn limits_are_exact() {
    let ch = |bytes| format!(r#"{{"ch":"{}","v":1}}"#, "x".repeat(bytes));
    assert!(line(&ch(200)).is_ok());
    assert_eq!(kind(&ch(201)), "bad_ch");
    let text = |bytes| format!(r#"{{"ch":"x","v":"{}"}}"#, "x".repeat(bytes));
    assert!(line(&text(16 * 1024)).is_ok());
    assert_eq!(kind(&text(16 * 1024 + 1)), "text_too_long");
    let array = |elements| format!(r#"{{"ch":"x","v":[{}]}}"#, vec!["1"; elements].join(","));
    assert_eq!(fields(&array(64)).len(), 64);
    assert_eq!(kind(&array(65)), "array_too_long");
    let nested = |depth| format!(r#"{{"ch":"x","v":{}1{}}}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(line(&nested(16)).is_ok());
    assert_eq!(kind(&nested(17)), "too_deep");
    assert_eq!(kind(&nested(10_000)), "too_deep");
    let named = |bytes| format!(r#"{{"ch":"x","v":{{"{}":1}}}}"#, "y".repeat(bytes));
    assert!(line(&named(510)).is_ok());
    assert_eq!(kind(&named(511)), "bad_name");
    let short = r#"{"ch":"x","v":1}"#;
    let padded = |bytes: usize| short.to_owned() + &" ".repeat(bytes - short.len());
    assert!(line(&(padded(LINE_BYTES_MAX) + "\r\n")).is_ok());
    assert_eq!(kind(&padded(LINE_BYTES_MAX + 1)), "line_too_long");
}

#[test]
fn a_row_that_parses_fits_a_batch() {
    let of_texts = |count: usize| {
        let texts = (0..count).map(|key| format!(r#""{key}":"{}""#, "x".repeat(1000)));
        format!(r#"{{"ch":"x","v":{{{}}}}}"#, texts.collect::<Vec<_>>().join(","))
    };
    assert!(row(&of_texts(28)).raw_bytes() <= ROW_BYTES_MAX);
    assert_eq!(kind(&of_texts(29)), "row_too_large");
}

#[test]
fn limits_can_be_set_but_text_never_above_what_a_batch_holds() {
    let limits = ParserLimits { line_bytes_max: 100_000, array_elements_max: 2, text_bytes_max: usize::MAX };
    let mut parser = Parser::new(limits);
    assert_eq!(parser.parse_line(br#"{"ch":"x","v":[1,2,3]}"#).unwrap_err().kind(), "array_too_long");
    let long = format!(r#"{{"ch":"x","v":"{}"}}"#, "x".repeat(20_000));
    assert_eq!(parser.parse_line(long.as_bytes()).unwrap_err().kind(), "text_too_long");
}

#[test]
fn a_refusal_names_the_place_and_the_remedy() {
    let error = line(&format!(r#"{{"ch":"x","v":{{"scan":[{}]}}}}"#, vec!["1"; 65].join(","))).unwrap_err();
    let expected =
        "the array `v.scan` has more than 64 elements; send fewer, or raise the limit of this input";
    assert_eq!(error.to_string(), expected);
    assert_eq!(Parser::default().parse_line(b"{\"ch\":\"\xff\"}"), Err(LineError::NotUtf8 { at: 7 }));
}

#[test]
fn nesting_below_an_unknown_key_is_skipped_without_recursion() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(fields(&format!(r#"{{"x":{deep},"ch":"c","v":1}}"#)), [field("c", Value::Int(1))]);
    assert_eq!(kind(&format!(r#"{{"sync":{deep}}}"#)), "bad_sync");
    assert_eq!(kind(&format!(r#"{{"t":{deep},"ch":"c","v":1}}"#)), "bad_t");
}

#[test]
fn a_refused_line_leaves_nothing_behind() {
    let mut parser = Parser::default();
    assert!(parser.parse_line(br#"{"v":{"a":1,"b":[1,2,}"#).is_err());
    assert!(parser.parse_line(br#"{"v":{"a":1}}"#).is_err());
    assert_eq!(parser.parse_line(br#"{"ch":"x"}"#), Err(LineError::NoValue));
    let Ok(Line::Row(row)) = parser.parse_line(br#"{"ch":"x","v":2}"#) else { panic!("a row") };
    assert_eq!(row.fields, [(ChannelName::new("x").unwrap(), Value::Int(2))]);
}

#[test]
fn more_names_than_are_remembered_still_parse() {
    let mut parser = Parser::default();
    for turn in 0..10_000 {
        let text = format!(r#"{{"ch":"c{turn}","v":1}}"#);
        assert!(matches!(parser.parse_line(text.as_bytes()), Ok(Line::Row(_))));
    }
}

/// Guards: a form feed before a bracket was passed over as if JSON had it for space, and what followed was confirmed.
#[test]
fn only_the_space_of_json_stands_before_an_array() {
    let refused = |text: &str| Parser::default().parse_payload(text.as_bytes()).refused;
    assert_eq!(refused(" \t\r\n[]"), 0);
    assert_eq!(refused("\u{c}[]"), 1);
}

#[test]
fn a_payload_is_a_line_or_lines_or_an_array() {
    let payload = |text: &str| Parser::default().parse_payload(text.as_bytes());
    let a = r#"{"ch":"x","v":1}"#;
    for (text, rows) in [
        (a.to_owned(), 1),
        (format!("{a}\n{a}\r\n\n{a}"), 3),
        (format!("[{a},\n {a}]"), 2),
        (" [] ".to_owned(), 0),
        (String::new(), 0),
    ] {
        let parsed = payload(&text);
        assert_eq!((parsed.rows.len(), parsed.refused, parsed.first_error), (rows, 0, None), "{text}");
    }
}

#[test]
fn the_rows_around_a_refused_one_in_a_payload_are_kept() {
    let a = r#"{"ch":"x","v":1}"#;
    let cases = [
        (format!("{a}\nbad\n{a}\n{{}}"), 2, 2, "not_json"),
        (format!("[{a},7,{a}]"), 2, 1, "not_object"),
        (format!("[{a},{{\"ch\":5,\"v\":1}},,{a}]"), 2, 2, "bad_ch"),
        (format!("[{a},{a}"), 2, 1, "not_json"),
        (format!("[{a}] {a}"), 1, 1, "not_json"),
        (format!("{a}\n{{\"sync\":1}}"), 1, 1, "bad_sync"),
    ];
    for (text, rows, refused, kind) in cases {
        let parsed = Parser::default().parse_payload(text.as_bytes());
        let found = (parsed.rows.len(), parsed.refused, parsed.first_error.unwrap().kind());
        assert_eq!(found, (rows, refused, kind), "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_parse_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Parser::default().parse_line(&bytes);
        let _ = Parser::default().parse_payload(&bytes);
    }

    #[test]
    fn anything_like_json_parses_without_panic(
        parts in vec(
            prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"", "\\", "\"ch\"", "\"v\"", "-0", "1.5", " ", "\n"]),
            0..40,
        ),
    ) {
        let text = parts.concat();
        let _ = Parser::default().parse_line(text.as_bytes());
        let _ = Parser::default().parse_payload(text.as_bytes());
    }

    #[test]
    fn every_finite_float_comes_in_with_its_bits(bits: u64) {
        let float = f64::from_bits(bits);
        prop_assume!(float.is_finite());
        prop_assert_eq!(value(&format!("{float:e}")), Value::Float(float));
        prop_assert_eq!(value(&serde_json::to_string(&float).unwrap()), Value::Float(float));
    }

    #[test]
    fn every_integer_and_text_comes_in_as_it_is(integer: i64, text: String) {
        prop_assert_eq!(value(&integer.to_string()), Value::Int(integer));
        prop_assert_eq!(value(&serde_json::to_string(&text).unwrap()), Value::Text(text));
    }
}
