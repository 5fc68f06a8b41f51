//! Lines of JSON, and MQTT payloads of them.
//!
//! Input: how the stream is cut, then the text.

use muster_agent::inputs::lines::{LineCutter, LineText};
use muster_protocol::{
    batch::{self, BatchBuilder},
    id::ChannelName,
    limits::{LINE_BYTES_MAX, ROW_BYTES_MAX, UNIT_BYTES_MAX, VALUE_BYTES_MAX},
    message::Clock,
    ndjson::{Line, LineError, Parser, Payload},
    sample::{Row, StampedBy, Value},
    schema::{ChannelDef, SchemaBuilder},
    time::{MonoTime, WallTime},
};
use serde_json::Value as Json;

use super::input::Input;

/// Bytes as lines of an input, and as an MQTT payload.
pub fn ndjson(data: &[u8]) {
    let mut input = Input::new(data);
    let cut = usize::from(input.byte()) + 1;
    let text = input.rest();
    let whole = lines(text, text.len().max(1));
    assert_eq!(lines(text, cut), whole, "how it is cut makes no difference");
    let mut parser = Parser::default();
    let mut parsed = Payload::default();
    for text in &whole {
        let line = parser.parse_line(text);
        assert_eq!(Parser::default().parse_line(text), line, "names that were seen before change nothing");
        if let Ok(Line::Row(row)) = &line {
            check_row(row, text);
        }
        count(&mut parsed, line);
    }
    let payload = Parser::default().parse_payload(text);
    let told = text.iter().position(|byte| !b" \t\r\n".contains(byte)).map_or(&[][..], |at| &text[at..]);
    if told.starts_with(b"[") {
        check_array(&payload, text);
    } else {
        assert_eq!(payload, parsed, "a payload of lines is those lines");
    }
    for row in &payload.rows {
        round_trip(row);
    }
}

fn lines(text: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut cutter = LineCutter::default();
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut take = |number: u64, text: LineText<'_>| {
        match text {
            LineText::Whole(text) => lines.push(text.to_vec()),
            LineText::TooLong { bytes, .. } => {
                panic!("a line of {bytes} bytes in an input below {LINE_BYTES_MAX}")
            }
        }
        assert_eq!(number, lines.len() as u64);
    };
    for piece in text.chunks(piece) {
        cutter.push(piece);
        while let Some(line) = cutter.poll_line() {
            take(line.number, line.text);
        }
    }
    if let Some(line) = cutter.finish() {
        take(line.number, line.text);
    }
    lines
}

/// What an MQTT payload makes of a line.
fn count(parsed: &mut Payload, line: Result<Line, LineError>) {
    let error = match line {
        Ok(Line::Row(row)) => return parsed.rows.push(row),
        Ok(Line::Blank) => return,
        Ok(Line::Sync(id)) => {
            assert!(serde_json::from_str::<Json>(id.as_json()).is_ok(), "{id:?}");
            LineError::SyncNotHere
        }
        Err(error) => error,
    };
    assert!(!error.kind().is_empty() && !error.to_string().is_empty());
    parsed.refused += 1;
    parsed.first_error.get_or_insert(error);
}

/// Checks the limits of a row, and that another reader of JSON finds the same in its line.
fn check_row(row: &Row, line: &[u8]) {
    assert!(!row.fields.is_empty() && row.raw_bytes() <= ROW_BYTES_MAX);
    assert!(row.unit.as_ref().is_none_or(|unit| (1..=UNIT_BYTES_MAX).contains(&unit.len())));
    for (name, value) in &row.fields {
        assert_eq!(ChannelName::new(name.as_str()).as_ref(), Ok(name));
        assert!(!matches!(value, Value::Text(text) if text.len() > VALUE_BYTES_MAX));
        assert!(!matches!(value, Value::Float(number) if !number.is_finite()), "JSON has no such number");
    }
    let json: Json = match serde_json::from_slice(line) {
        Ok(json) => json,
        // In a key that is ignored nobody looks whether half a character is escaped: it is JSON all the same.
        Err(_) if has_escape(line) => return,
        Err(error) => panic!("a row is JSON: {error}"),
    };
    if let Some(t) = row.t {
        assert!(json["t"].as_i64().is_none_or(|nanos| WallTime(nanos) == t));
    }
    let mut expected = Vec::new();
    flatten(json["ch"].as_str().expect("a row has a channel"), &json["v"], &mut expected);
    let mut found: Vec<(String, Value)> =
        row.fields.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect();
    // To the other reader the integer -0 is a float.
    let is_zero = |value: &Value| matches!(value, Value::Int(0)) || matches!(value, Value::Float(0.0));
    for (_, value) in expected.iter_mut().chain(&mut found).filter(|(_, value)| is_zero(value)) {
        *value = Value::Int(0);
    }
    // The other reader keeps the last of keys that repeat, and sorts them.
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let repeats = found.windows(2).any(|pair| pair[0].0 == pair[1].0) || expected.len() < found.len();
    assert!(repeats || found == expected, "{found:?}, but another reader finds {expected:?}");
}

fn flatten(name: &str, json: &Json, out: &mut Vec<(String, Value)>) {
    let value = match json {
        Json::Null => return,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, float) => Value::Float(float.expect("a number")),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => {
            return items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(&format!("{name}[{at}]"), item, out));
        }
        Json::Object(items) => {
            return items.iter().for_each(|(key, item)| flatten(&format!("{name}.{key}"), item, out));
        }
    };
    out.push((name.to_owned(), value));
}

/// Checks that the elements of an array are what they are as lines.
fn check_array(payload: &Payload, text: &[u8]) {
    assert!((payload.refused == 0) == payload.first_error.is_none());
    let elements = match serde_json::from_slice(text) {
        Ok(Json::Array(elements)) => elements,
        Ok(_) => panic!("it starts with a bracket"),
        // An element may be nested as deep as the other reader goes; in the array it is one deeper.
        Err(error) if error.to_string().contains("recursion") => return,
        Err(error) => return assert!(payload.refused > 0 || has_escape(text), "no array: {error}"),
    };
    let refused = usize::try_from(payload.refused).expect("fewer than elements");
    assert!(payload.rows.len() + refused <= elements.len(), "{payload:?}");
}

fn has_escape(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"\\u")
}

/// Demands that a row comes back from a batch as it went in.
fn round_trip(row: &Row) {
    let mut schema = SchemaBuilder::new();
    let field = |(name, value): &(ChannelName, Value)| {
        let unit = row.unit.clone();
        let channel = ChannelDef { unit, ..ChannelDef::named(name.clone()) };
        schema.try_add(channel).map(|index| (index, value.clone()))
    };
    let Ok(fields) = row.fields.iter().map(field).collect::<Result<Vec<_>, _>>() else { return };
    let (t, by) = (row.t.unwrap_or_default(), StampedBy::Input);
    let mut builder = BatchBuilder::new();
    builder.push_row(t, by, &fields).expect("a line's row fits a batch");
    let clock = Clock { boot: 1, mono: MonoTime(2), wall: WallTime(3), synchronised: false };
    let schema = schema.schema();
    let batches = builder.finish(&schema, clock);
    let [encoded] = batches.as_slice() else { panic!("a row is never split") };
    let decoded = batch::decode(&encoded.bytes, &schema).expect("what was encoded here decodes");
    let samples = decoded.samples().map(|sample| (sample.channel, sample.value.to_value()));
    assert_eq!(samples.collect::<Vec<_>>(), fields);
    assert!(decoded.samples().all(|sample| (sample.t, sample.stamped_by, sample.row) == (t, by, 0)));
}
