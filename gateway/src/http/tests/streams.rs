//! `/samples`: exact, resumable, and never half a stream that looks whole.

use std::io::Read;

use proptest::prelude::*;

use super::*;

const T: i64 = 1_432_235_498_025_043_042;

fn lines(server: &Server, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/v1/robots/f/r/samples{query}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/x-ndjson"), "{query}");
    answer.body.unwrap().lines().map(str::to_owned).collect()
}

/// Each type of value, twice, and a record of another robot between.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["battery.soc", "cells[0]", "mode", "on", "raw"]);
    let fields = [
        (0, Sample::Float(0.81)),
        (1, Sample::Int(-3)),
        (2, Sample::Text("a\"b\u{e9}".into())),
        (3, Sample::Bool(true)),
        (4, Sample::Bytes(vec![0xfb, 0xff])),
    ];
    world.batch("f/r", &schema, &[(T, &fields)]);
    world.batch("f/other", &schema, &[(T, &fields)]);
    let second = [(0, Sample::Float(-0.0)), (0, Sample::Float(f64::INFINITY)), (1, Sample::Int(i64::MAX))];
    world.batch("f/r", &schema, &[(T + 2, &second[..2]), (T + 1, &second[2..])]);
    world
}

#[test]
fn each_sample_is_a_line_as_the_contract_says() {
    let expected = [
        r#"{"t":1432235498025043042,"ch":"battery.soc","v":0.81,"o":1,"i":0}"#,
        r#"{"t":1432235498025043042,"ch":"cells[0]","v":-3,"o":1,"i":1}"#,
        r#"{"t":1432235498025043042,"ch":"mode","v":"a\"bé","o":1,"i":2}"#,
        r#"{"t":1432235498025043042,"ch":"on","v":true,"o":1,"i":3}"#,
        r#"{"t":1432235498025043042,"ch":"raw","v":null,"b":"+/8=","o":1,"i":4}"#,
        r#"{"t":1432235498025043044,"ch":"battery.soc","v":-0.0,"o":3,"i":0}"#,
        r#"{"t":1432235498025043044,"ch":"battery.soc","v":null,"f":"Infinity","o":3,"i":1}"#,
        r#"{"t":1432235498025043043,"ch":"cells[0]","v":9223372036854775807,"o":3,"i":2}"#,
    ];
    let server = world().serve();
    assert_eq!(lines(&server, ""), expected);
    let quoted = lines(&server, "?int64=string");
    assert_eq!(quoted[1], r#"{"t":"1432235498025043042","ch":"cells[0]","v":"-3","o":"1","i":1}"#);
}

#[test]
fn time_and_channels_select_samples() {
    let server = world().serve();
    let positions = |query: &str| -> String {
        let position = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            format!("{}:{}", line["o"], line["i"])
        };
        lines(&server, query).iter().map(position).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(positions(&format!("?from={}", T + 1)), "3:0 3:1 3:2");
    assert_eq!(positions(&format!("?to={}", T + 2)), "1:0 1:1 1:2 1:3 1:4 3:2");
    assert_eq!(positions(&format!("?from={}&to={}", T + 1, T + 2)), "3:2");
    assert_eq!(positions(&format!("?from={T}&to={T}")), "");
    assert_eq!(positions("?from=2015-05-21T19:11:38.025043044Z"), "3:0 3:1");
    assert_eq!(positions("?channels=battery.*"), "1:0 3:0 3:1");
    assert_eq!(positions("?channels=cells[0]"), "1:1 3:2");
    assert_eq!(positions("?channels=cells[?],m*"), "1:1 1:2 3:2");
    assert_eq!(positions("?channels=nothing"), "");
    assert_eq!(positions("?after=1:3"), "1:4 3:0 3:1 3:2");
    assert_eq!(positions("?after=2:0"), "3:0 3:1 3:2");
    assert_eq!(positions("?after=3:2"), "");
}

#[test]
fn a_cursor_that_is_trimmed_away_is_told_where_the_log_begins() {
    let mut world = world();
    world.log.first = 3;
    let problem = world.serve().problem("/v1/robots/f/r/samples?after=2:9");
    assert_eq!((&problem["status"], &problem["first_offset"]), (&410.into(), &3.into()));
}

/// Enough rows for several chunks.
fn long_world(batches: usize) -> World {
    let mut world = World::default();
    let schema = world.schema(&["a.channel.with.a.name.of.some.length"]);
    for batch in 0..batches {
        let fields: Vec<[(u32, Sample); 1]> =
            (0..500).map(|row| [(0, Sample::Int(i64::try_from(batch * 500 + row).unwrap()))]).collect();
        let rows: Vec<(i64, &[(u32, Sample)])> =
            fields.iter().zip(0..).map(|(fields, row)| (T + row, &fields[..])).collect();
        world.batch("f/r", &schema, &rows);
    }
    world
}

#[test]
fn a_long_stream_comes_whole_and_in_order() {
    let lines = lines(&long_world(40).serve(), "");
    assert_eq!(lines.len(), 20_000);
    for (number, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!("\"v\":{number},")), "{line}");
    }
}

#[test]
fn a_stream_that_cannot_be_finished_does_not_look_finished() {
    for end in [End::Error, End::Panic] {
        let mut world = long_world(40);
        world.log.end = end;
        world.serve().breaks_off("/v1/robots/f/r/samples");
    }
}

#[test]
fn damage_breaks_a_stream_off_once_and_is_then_told_in_the_head() {
    let mut world = world();
    world.log.end = End::Damage;
    let server = world.serve();
    server.breaks_off("/v1/robots/f/r/samples");
    let answer = server.get("/v1/robots/f/r/samples?after=1:3");
    assert_eq!((answer.status, answer.header("muster-damaged")), (200, "50-59"));
    assert_eq!(answer.body.unwrap().lines().count(), 4);
}

#[test]
fn a_batch_that_cannot_be_decoded_is_damage() {
    let mut world = world();
    let schemas = std::mem::take(&mut world.log.schemas);
    let other = world.schema(&["after"]);
    world.batch("f/r", &other, &[(T, &[(0, Sample::Int(5))])]);
    world.log.schemas.extend(schemas);
    for (_, envelope) in &mut world.log.records[..2] {
        let Body::Batch { payload, .. } = &mut envelope.body else { unreachable!() };
        *payload = payload.slice(..payload.len() - 1);
    }
    let server = world.serve();
    server.breaks_off("/v1/robots/f/r/samples");
    let answer = server.get("/v1/robots/f/r/samples");
    assert_eq!(answer.header("muster-damaged"), "1-1");
    assert_eq!(answer.body.unwrap().lines().count(), 4);
}

#[test]
fn a_client_that_leaves_stops_the_reader() {
    let mut world = long_world(40);
    world.log.end = End::Never;
    let (told, dropped) = mpsc::sync_channel(1);
    world.log.dropped = Mutex::new(Some(told));
    let server = world.serve();
    let response = agent().get(server.url("/v1/robots/f/r/samples")).call().unwrap();
    let mut some = vec![0; 300_000];
    let mut body = response.into_body().into_reader();
    body.read_exact(&mut some).unwrap();
    assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
    drop(body);
    assert_ne!(dropped.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Timeout));
}

#[test]
fn head_stops_the_reader_too() {
    let mut world = long_world(4);
    world.log.end = End::Never;
    let (told, dropped) = mpsc::sync_channel(1);
    world.log.dropped = Mutex::new(Some(told));
    let server = world.serve();
    let answer = Answer::of(agent().head(server.url("/v1/robots/f/r/samples")).call().unwrap());
    assert_eq!(answer.status, 200);
    assert_ne!(dropped.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Timeout));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_splits_by_after_give_the_same_lines(
        rows in prop::collection::vec((0i64..20, 1usize..4), 1..60),
        per_batch in 1usize..20,
        cuts in prop::collection::btree_set(0usize..60, 0..5),
        from in 0i64..5,
    ) {
        let mut world = World::default();
        let schema = world.schema(&["a", "b", "c"]);
        let fields: Vec<Vec<(u32, Sample)>> = rows
            .iter()
            .map(|(t, count)| (0..3).take(*count).map(|channel| (channel, Sample::Int(*t))).collect())
            .collect();
        let rows: Vec<(i64, &[(u32, Sample)])> =
            rows.iter().zip(&fields).map(|((t, _), fields)| (T + t, &fields[..])).collect();
        for rows in rows.chunks(per_batch) {
            world.batch("f/r", &schema, rows);
        }
        let server = world.serve();
        let query = format!("?from={}&channels=b,c", T + from);
        let whole = lines(&server, &query);
        let mut parts: Vec<String> = Vec::new();
        for cut in cuts.iter().map(|cut| cut % (whole.len() + 1)).chain([whole.len()]) {
            // What a client has read before it lost the connection, and what it asks for next.
            let after = parts.last().map_or(String::new(), |line| {
                let line: Value = serde_json::from_str(line).unwrap();
                format!("&after={}:{}", line["o"], line["i"])
            });
            let rest = lines(&server, &format!("{query}{after}"));
            let take = cut.saturating_sub(parts.len());
            parts.extend(rest.into_iter().take(take));
        }
        prop_assert_eq!(parts, whole);
    }
}
