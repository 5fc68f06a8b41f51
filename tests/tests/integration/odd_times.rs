//! Times that cannot be right, through the real programs: every sample is kept with the time that it came with, marked, and
//! pins nothing.

use muster_tests::{
    aloud::say_aloud,
    facts::{Facts, Words},
    feeder::Feeder,
    gateway::{Gateway, Transport},
    logs,
    patience::{wait_for, wait_until},
    process::Which,
    scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

const S: i64 = 1_000_000_000;

fn now(gateway: &Gateway) -> i64 {
    gateway.ask("/v1/fleet")["now"].as_i64().unwrap()
}

/// Runs `muster` for a robot and returns what it printed.
fn muster_robot(scene: &Scene, gateway: &Gateway, robot: &str, more: &[&str]) -> String {
    let url = gateway.http();
    let output = scene.run(Which::Muster, &[&["--url", &url, "robot", robot][..], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Each value ages by when it came, and says that its own time is not believed.
fn assert_marked_before_2020(robot: &Value, channels: usize) {
    let of = robot["channels"].as_object().unwrap();
    assert_eq!(
        (of.len(), &robot["clock"]["marked"]),
        (channels, &json!({"before_2020": channels, "ahead": 0}))
    );
    for (name, channel) in of {
        assert_eq!(channel["marked"], "before_2020", "{name}: {channel}");
        assert!(channel["t"].as_i64().unwrap() < 1000 * S, "{name} keeps its time: {channel}");
        let age_ms = channel["age_ms"].as_i64().unwrap();
        assert!((0..3_600_000).contains(&age_ms), "{name} is as old as its coming, not as 1970: {channel}");
    }
    let reason = format!("{channels} channels have times before 2020");
    let reasons = robot["health"]["reasons"].as_array().unwrap();
    let all_stale = robot["health"]["level"] == "stale";
    assert!(all_stale || reasons.contains(&reason.clone().into()), "{reasons:?}");
}

#[test]
fn a_recording_in_time_from_boot_keeps_every_sample_and_is_marked_now_and_as_of() {
    const ROBOT: &str = "bench/px4";
    let is_bench = |path: &std::path::PathBuf| path.to_string_lossy().contains("drone_px4_x21_bench");
    let Some(log) = logs::recorded().into_iter().find(is_bench) else {
        return say_aloud("SKIPPED: there is no log drone_px4_x21_bench_250hz, which is in time from boot");
    };
    let scene = scene();
    let gateway = scene.gateway();
    let before = now(&gateway);
    scene.agent(ROBOT).to(&gateway, Transport::Quic).file(&log).once().deliver();
    let after = now(&gateway);

    let mut words = Words::default();
    let expected = Facts::of_log(logs::open(&log), &mut words);
    let samples = expected.len();
    let robot = gateway.robot(ROBOT).unwrap();
    assert_eq!((robot["samples"].as_u64(), samples), (Some(891_534), 891_534), "as the data's page tells");
    gateway.samples(ROBOT, &mut words).assert_equals(expected, "equal times and zero stamps too", &words);
    assert_marked_before_2020(&robot, 304);

    let table = muster_robot(&scene, &gateway, ROBOT, &[]);
    assert_eq!(table.lines().filter(|line| line.ends_with("  before 2020")).count(), 304, "{table}");
    for known in ["then", "now"] {
        let path = |at: i64| format!("/v1/robots/{ROBOT}?at={at}&known={known}");
        assert_marked_before_2020(&gateway.ask(&path(after)), 304);
        let table = muster_robot(&scene, &gateway, ROBOT, &["--at", &after.to_string(), "--known", known]);
        assert_eq!(table.lines().filter(|line| line.ends_with("  before 2020")).count(), 304, "{table}");
        // Nothing had come by then, whatever the samples' own times say.
        for at in [before, 150 * S] {
            let told = gateway.try_ask(&path(at)).unwrap_err().to_string();
            assert!(told.contains("404"), "{known} at {at}: {told}");
        }
    }
}

const AHEAD: &str = "ahead/r1";

/// A place as the default mapping finds it.
fn fix(t: i64, lat: f64) -> Value {
    json!({"t": t, "ch": "gps", "v": {"lat": lat, "lon": 11.5}})
}

/// What is said of the robot's latitude, by its channel and by its position.
#[derive(Debug, PartialEq)]
struct Latitude {
    v: f64,
    marked: Option<String>,
    freshness: String,
    age_ms: i64,
}

fn latitude(robot: &Value) -> Latitude {
    let (channel, position) = (&robot["channels"]["gps.lat"], &robot["position"]);
    for same in ["freshness", "age_ms"] {
        assert_eq!(channel[same], position[same], "the position is as old as its channel: {robot}");
    }
    assert_eq!(channel["v"], position["latitude"], "{robot}");
    Latitude {
        v: channel["v"].as_f64().unwrap(),
        marked: channel.get("marked").map(|mark| mark.as_str().unwrap().to_owned()),
        freshness: channel["freshness"].as_str().unwrap().to_owned(),
        age_ms: channel["age_ms"].as_i64().unwrap(),
    }
}

/// Waits until so many samples are stored, and returns the robot as it was served first with them.
fn with_samples(gateway: &Gateway, samples: u64) -> Value {
    wait_for("the samples are stored", || {
        gateway.robot(AHEAD).filter(|robot| robot["samples"].as_u64() == Some(samples))
    })
}

#[test]
fn one_sample_twenty_minutes_in_the_future_is_marked_and_pins_neither_value_nor_age_nor_place_nor_the_past() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent(AHEAD).to(&gateway, Transport::Quic).input(format!("unix:{}", socket.display()));
    let mut agent = plan.start();
    let mut feeder = Feeder::new(&socket);
    let begin = now(&gateway);
    let usual: Vec<_> = (0..5).map(|n| fix(begin - (5 - n) * S / 10, 48.0)).collect();
    feeder.send(0, &usual);
    let first = latitude(&with_samples(&gateway, 10));
    assert_eq!((first.v, first.marked), (48.0, None));
    let before = now(&gateway);

    feeder.send(5, &[fix(before + 1200 * S, 1.0)]);
    let served = with_samples(&gateway, 12);
    let ahead = latitude(&served);
    assert_eq!((ahead.v, ahead.marked.as_deref()), (1.0, Some("ahead")), "{served}");
    assert!((0..60_000).contains(&ahead.age_ms), "it ages by its acceptance: {ahead:?}");
    assert_eq!(served["clock"]["marked"], json!({"before_2020": 0, "ahead": 2}));
    let table = muster_robot(&scene, &gateway, AHEAD, &[]);
    assert_eq!(table.lines().filter(|line| line.ends_with("  ahead")).count(), 2, "{table}");
    let between = now(&gateway);

    // The first that comes behind it is what is served, from its first moment on.
    feeder.send(6, &[fix(between, 49.0)]);
    let served = with_samples(&gateway, 14);
    let behind = latitude(&served);
    assert_eq!((behind.v, behind.marked), (49.0, None), "{served}");
    assert_eq!(served["clock"]["marked"], json!({"before_2020": 0, "ahead": 0}));
    let after = now(&gateway);

    // Its time says nothing about the pace either: what is silent turns stale as ever.
    wait_until("the place turns stale", || {
        gateway.robot(AHEAD).is_some_and(|robot| latitude(&robot).freshness == "stale")
    });
    for known in ["then", "now"] {
        let at = |at: i64| latitude(&gateway.ask(&format!("/v1/robots/{AHEAD}?at={at}&known={known}")));
        assert_eq!((at(before).v, at(before).marked), (48.0, None), "{known}");
        let ahead = at(between - 1);
        assert_eq!((ahead.v, ahead.marked.as_deref()), (1.0, Some("ahead")), "{known}");
        assert_eq!((at(after).v, at(after).marked), (49.0, None), "{known}");
        let silent = at(between + 5 * S + 1);
        assert_eq!((silent.v, &silent.freshness[..], silent.age_ms), (49.0, "stale", 5000), "{known}");
    }
    agent.terminate();
}
