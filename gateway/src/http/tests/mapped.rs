//! Where a robot is, how full its battery is and what it runs, over HTTP.

use serde_json::json;

use super::*;

/// A robot that is heard and reports everything, and one whose values are an hour old.
pub(super) fn world() -> World {
    let mut world = World::default();
    let names = ["/fix.lat", "/fix.lon", "pose.x", "pose.y", "battery.soc", "battery.charging", "version"];
    let schema = world.schema(&names);
    let fields = [
        (0, Sample::Float(52.5)),
        (1, Sample::Float(13.25)),
        (2, Sample::Float(8.25)),
        (3, Sample::Int(2)),
        (4, Sample::Float(0.81)),
        (5, Sample::Bool(false)),
        (6, Sample::Text("2.3.1".into())),
    ];
    world.batch("a/1", &schema, &[(now().0, &fields)]);
    world.hear("a/1", 0);
    world.batch("a/2", &schema, &[(now().0 - 3600 * S, &fields)]);
    let other = world.schema(&["other"]);
    world.batch("a/3", &other, &[(now().0, &[(0, Sample::Int(1))])]);
    world
}

/// Takes the members off that depend on when the test runs.
fn lasting(mut mapped: Value) -> Value {
    let members = mapped.as_object_mut().unwrap();
    assert!(members.remove("t").unwrap().is_i64());
    assert!(members.remove("age_ms").unwrap().is_i64());
    mapped
}

#[test]
fn what_is_mapped_stands_in_the_whole_robot_and_in_the_list() {
    let server = world().serve();
    let robot = server.json("/v1/robots/a/1");
    for robot in [&robot, &server.json("/v1/robots")["robots"][0]] {
        let told = ["position", "pose", "battery", "version"].map(|name| lasting(robot[name].clone()));
        let [position, pose, battery, version] = told;
        assert_eq!(
            position,
            json!({"latitude": 52.5, "longitude": 13.25, "altitude": null, "channel": "/fix.lat", "freshness": "fresh"})
        );
        assert_eq!(
            pose,
            json!({"x": 8.25, "y": 2.0, "heading": null, "map": null, "channel": "pose.x", "freshness": "fresh"})
        );
        assert_eq!(
            battery,
            json!({"charge": 0.81, "charging": false, "problem": null, "channel": "battery.soc", "freshness": "fresh"})
        );
        assert_eq!(version, json!({"v": "2.3.1", "channel": "version", "freshness": "fresh"}));
    }
}

#[test]
fn an_old_position_never_looks_live_and_an_unknown_one_is_null() {
    let server = world().serve();
    let old = server.json("/v1/robots/a/2");
    for name in ["position", "pose", "battery", "version"] {
        assert_eq!(old[name]["freshness"], "stale", "{name}");
        assert!(old[name]["age_ms"].as_i64().unwrap() >= 3_600_000, "{name}");
    }
    let none = server.json("/v1/robots/a/3");
    assert_eq!(["position", "pose", "battery", "version"].map(|name| &none[name]), [&Value::Null; 4]);
}

#[test]
fn robots_are_found_by_what_is_mapped() {
    let server = world().serve();
    let found = |question: &str| {
        let listed = server.json(&asked("/v1/robots", &[("where", question)]));
        let robots = listed["robots"].as_array().unwrap().iter();
        robots.map(|robot| robot["robot"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("position.latitude > 52.0"), ["a/1", "a/2"]);
    assert_eq!(found("battery.charge < 0.9 && battery.freshness == \"fresh\""), ["a/1"]);
    assert_eq!(found("version == \"2.3.1\" && pose.x > 8.0 && link.up"), ["a/1"]);
}

/// Guards: an amount of old values that does not say so looks live.
#[test]
fn what_is_mapped_is_taken_together_with_its_freshness() {
    let server = world().serve();
    let of = "battery.charge,pose.x,position.latitude,version,channels";
    let answer = server.json(&asked("/v1/aggregate", &[("of", of)]));
    let of = &answer["groups"][0]["of"];
    for name in ["battery.charge", "pose.x", "position.latitude", "version"] {
        assert_eq!(
            (&of[name]["count"], &of[name]["freshness"]["fresh"]),
            (&2.into(), &1.into()),
            "{name}: {of}"
        );
        assert_eq!(of[name]["freshness"]["stale"], 1, "{name}");
        assert!(of[name]["oldest_age_ms"].as_i64().unwrap() >= 3_600_000, "{name}");
    }
    assert!(of["channels"].get("freshness").is_none(), "what no channel tells has no age: {of}");
}
