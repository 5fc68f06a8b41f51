//! The operator's command line against a real gateway.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use muster_tests::{
    gateway::{Gateway, Transport},
    process::Which,
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

/// Values that an export must not change.
const LOG: &str = concat!(
    "{\"t\":1,\"ch\":\"battery\",\"v\":{\"soc\":0.81,\"cells\":[3.7,-0.0],\"charging\":false}}\n",
    "{\"t\":2,\"ch\":\"note\",\"v\":\"a \\\"quoted\\\", two-line\\ntext\"}\n",
    "{\"t\":3,\"ch\":\"count\",\"v\":9223372036854775807}\n",
    "{\"t\":4,\"ch\":\"count\",\"v\":1e300}\n",
);

fn with_robots(scene: &Scene) -> Gateway {
    let gateway = scene.gateway();
    let log = scene.file("log.ndjson", LOG);
    for (robot, transport) in ["shop/r1", "shop/r2"].into_iter().zip(Transport::ALL) {
        scene.agent(robot).to(&gateway, transport).file(&log).once().deliver();
    }
    gateway
}

/// Runs `muster` and returns what it printed.
fn muster(scene: &Scene, gateway: &Gateway, args: &[&str]) -> String {
    let output = scene.run(Which::Muster, &[&["--url", &gateway.http()], args].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "muster {args:?} said {told}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn muster_shows_the_fleet_its_robots_and_one_of_them() {
    let scene = scene();
    let gateway = with_robots(&scene);
    let status = muster(&scene, &gateway, &["status"]);
    assert!(status.contains("robots") && status.contains('2'), "{status}");
    let status: Value = muster(&scene, &gateway, &["status", "-o", "json"]).parse().unwrap();
    assert_eq!((&status["robots"], &status["samples"]), (&2.into(), &14.into()), "{status}");

    let table = muster(&scene, &gateway, &["robots"]);
    assert!(table.contains("shop/r1") && table.contains("shop/r2"), "{table}");
    let lines = muster(&scene, &gateway, &["robots", "-o", "ndjson"]);
    let robots: Vec<Value> = lines.lines().map(|line| line.parse().unwrap()).collect();
    let names: BTreeSet<_> = robots.iter().map(|robot| robot["robot"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["shop/r1", "shop/r2"]));

    let robot = muster(&scene, &gateway, &["robot", "shop/r1"]);
    assert!(robot.contains("battery.soc") && robot.contains("0.81"), "{robot}");
    let robot: Value = muster(&scene, &gateway, &["robot", "shop/r1", "-o", "json"]).parse().unwrap();
    assert_eq!(robot["channels"]["count"]["v"], 1e300, "{robot}");
}

#[test]
fn exports_hold_what_the_api_serves_of_the_samples() {
    let scene = scene();
    let gateway = with_robots(&scene);
    for robot in ["shop/r1", "shop/r2"] {
        let ndjson = scene.path("export.ndjson");
        muster(&scene, &gateway, &["export", robot, "-o", ndjson.to_str().unwrap()]);
        let served = gateway.sample_lines(robot);
        assert_eq!(fs::read_to_string(ndjson).unwrap(), served);

        let csv = scene.path("export.csv");
        muster(&scene, &gateway, &["export", robot, "-o", csv.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(csv).unwrap(), as_csv(&served));
    }
}

#[test]
fn an_unknown_robot_is_named_and_the_exit_code_says_failed() {
    let scene = scene();
    let gateway = scene.gateway();
    for args in [&["robot", "shop/none"][..], &["export", "shop/none", "-o", "x.csv"]] {
        let output = scene.run(Which::Muster, &[&["--url", &gateway.http()], args].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("shop/none") && told.lines().count() == 1, "{told}");
    }
    assert!(!scene.path("x.csv").exists(), "nothing is left behind");
}

/// Writes samples as CSV, as RFC 4180 has it.
fn as_csv(lines: &str) -> String {
    let mut csv = "t,ch,type,v,o,i,raw_t\n".to_owned();
    for line in lines.lines() {
        let sample: Value = line.parse().unwrap();
        // The value as it stands in the line, since a number has more than one spelling.
        let (_, rest) = line.split_once("\"v\":").unwrap();
        let (spelled, _) = rest.rsplit_once(",\"o\":").unwrap();
        let (kind, value) = match &sample["v"] {
            Value::Bool(_) => ("bool", spelled.to_owned()),
            Value::Number(number) if number.is_i64() => ("int", spelled.to_owned()),
            Value::Number(_) => ("float", spelled.to_owned()),
            Value::String(text) if text.contains(['"', ',', '\n']) => {
                ("text", format!("\"{}\"", text.replace('"', "\"\"")))
            }
            Value::String(text) => ("text", text.clone()),
            other => panic!("{other} is no scalar"),
        };
        let channel = sample["ch"].as_str().unwrap();
        writeln!(csv, "{},{channel},{kind},{value},{},{},", sample["t"], sample["o"], sample["i"]).unwrap();
    }
    csv
}
