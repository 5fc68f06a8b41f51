//! Repaired times as they are served.

use super::*;

const START: i64 = 1_700_000_000 * S;

/// The robot's clocks `seconds` after its boot in 1970.
fn in_1970(seconds: i64) -> Clocks {
    let mono = MonoTime(u64::try_from(seconds * S).unwrap());
    Clocks { boot: 0xab, mono, wall: WallTime(seconds * S), synchronised: false }
}

/// A robot that lives in 1970: a row of its agent's, one of an input's, one of the agent's after its time was set.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["x"]);
    let told = Body::Session(SessionEvent::told(&[], &[], in_1970(100)));
    let offset = world.record("f/r", told);
    world.log.records[usize::try_from(offset.0).unwrap() - 1].1.received_at = WallTime(START + 100 * S);
    let agent = (StampedBy::Agent, in_1970(50));
    world.batch_of(
        "f/r",
        &schema,
        agent,
        &[(49 * S, &[(0, Sample::Int(1))]), (50 * S, &[(0, Sample::Int(2))])],
    );
    world.batch_of("f/r", &schema, (StampedBy::Input, in_1970(60)), &[(60 * S, &[(0, Sample::Int(3))])]);
    let set = Clocks { wall: WallTime(START + 200 * S), synchronised: true, ..in_1970(200) };
    world.batch_of("f/r", &schema, (StampedBy::Agent, set), &[(START + 200 * S, &[(0, Sample::Int(4))])]);
    world
}

fn values(server: &Server, query: &str) -> String {
    let body = server.get(&format!("/v1/robots/f/r/samples{query}")).body.unwrap();
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["v"].to_string();
    body.lines().map(value).collect::<Vec<_>>().join(" ")
}

#[test]
fn samples_have_their_repaired_time_and_beside_it_the_one_that_came() {
    let server = world().serve();
    let body = server.get("/v1/robots/f/r/samples").body.unwrap();
    let expected = [
        r#"{"t":1700000049000000000,"raw_t":49000000000,"ch":"x","v":1,"o":2,"i":0}"#,
        r#"{"t":1700000050000000000,"raw_t":50000000000,"ch":"x","v":2,"o":2,"i":1}"#,
        r#"{"t":60000000000,"ch":"x","v":3,"o":3,"i":0}"#,
        r#"{"t":1700000200000000000,"ch":"x","v":4,"o":4,"i":0}"#,
    ];
    assert_eq!(body.lines().collect::<Vec<_>>(), expected);
    let quoted = server.get("/v1/robots/f/r/samples?int64=string&to=1700000050000000000").body.unwrap();
    assert!(
        quoted.contains(r#"{"t":"1700000049000000000","raw_t":"49000000000","ch":"x","v":"1""#),
        "{quoted}"
    );
}

#[test]
fn times_select_by_the_repaired_time() {
    let server = world().serve();
    let at = |seconds: i64| START + seconds * S;
    assert_eq!(values(&server, &format!("?from={}", at(0))), "1 2 4");
    assert_eq!(values(&server, &format!("?from={}&to={}", at(50), at(51))), "2");
    assert_eq!(values(&server, &format!("?from={}&to={}", at(100), at(201))), "4");
    assert_eq!(values(&server, &format!("?to={}", at(0))), "3");
    assert_eq!(values(&server, &format!("?from={}&to={}", 49 * S, 51 * S)), "");
}

#[test]
fn a_robot_tells_its_clock_and_what_was_repaired() {
    let mut world = world();
    world.log.records.truncate(2);
    let robot = world.serve().json("/v1/robots/f/r");
    let clock = &robot["clock"];
    assert_eq!((&clock["boot"], &clock["repaired"]), (&"00000000000000ab".into(), &1.into()));
    assert_eq!(clock["skew_ms"].as_i64(), Some(-1_700_000_000_000));
    assert_eq!(clock["synchronised"], false);
    let channel = &robot["channels"]["x"];
    assert_eq!((&channel["t"], &channel["raw_t"]), (&(START + 50 * S).into(), &(50 * S).into()));
    assert_eq!((&channel["v"], &channel.get("marked")), (&2.into(), &None));
}
