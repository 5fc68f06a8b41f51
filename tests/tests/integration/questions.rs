//! Questions about the fleet, typed on the operator's command line, against a real gateway and agents.

use std::process::Output;

use muster_tests::{
    gateway::{Gateway, Transport},
    process::Which,
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

/// Two robots that say how full they are, and one that does not.
fn with_robots(scene: &Scene) -> Gateway {
    let gateway = scene.gateway();
    for (at, (robot, lines)) in [
        ("shop/r1", "{\"ch\":\"battery.soc\",\"v\":0.15,\"unit\":\"1\"}\n"),
        ("shop/r2", "{\"ch\":\"battery.soc\",\"v\":0.9}\n{\"ch\":\"mode\",\"v\":\"auto\"}\n"),
        ("shop/r3", "{\"ch\":\"mode\",\"v\":\"idle\"}\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let log = scene.file(&format!("{at}.ndjson"), lines);
        let transport = Transport::ALL[at % Transport::ALL.len()];
        scene.agent(robot).to(&gateway, transport).file(&log).once().deliver();
    }
    gateway
}

fn run(scene: &Scene, gateway: &Gateway, args: &[&str]) -> Output {
    scene.run(Which::Muster, &[&["--url", &gateway.http()], args].concat())
}

/// Runs `muster` and returns what it printed on standard output and on standard error.
fn muster(scene: &Scene, gateway: &Gateway, args: &[&str]) -> (String, String) {
    let output = run(scene, gateway, args);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "muster {args:?} said {told}");
    (String::from_utf8(output.stdout).unwrap(), told)
}

#[test]
fn a_question_shows_the_channels_that_it_names_and_tells_who_is_undecided() {
    let scene = scene();
    let gateway = with_robots(&scene);
    let low = "value(\"battery.soc\") < 0.2";
    let (table, told) = muster(&scene, &gateway, &["robots", "--where", low]);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert_eq!(rows[0].split_whitespace().collect::<Vec<_>>(), ["robot", "battery.soc"]);
    assert!(rows[1].starts_with("shop/r1") && rows[1].contains("0.15 ("), "{table}");
    assert!(rows[1].contains("ago") && rows[1].contains("link down"), "no old value looks live: {table}");
    assert!(told.contains("1 robot matches"), "{told}");
    assert!(
        told.contains("1 robot is undecided") && told.contains("shop/r3: there is no value of"),
        "{told}"
    );

    let args = ["robots", "--fields", "mode,name", "--sort", "-mode", "-o", "csv"];
    let (csv, _) = muster(&scene, &gateway, &args);
    let firsts: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(firsts[0], ["robot", "mode", "mode.age_ms", "mode.freshness", "name"]);
    let named: Vec<_> = firsts[1..].iter().map(|row| (row[0], row[1], row[4])).collect();
    assert_eq!(named, [("shop/r3", "idle", "r3"), ("shop/r2", "auto", "r2"), ("shop/r1", "", "r1")]);

    let args = ["status", "--where", "known(\"mode\")", "-o", "json"];
    let status: Value = muster(&scene, &gateway, &args).0.parse().unwrap();
    assert_eq!(status["robots"], 2, "{status}");
}

#[test]
fn a_group_is_saved_used_and_deleted_and_robots_are_taken_together() {
    let scene = scene();
    let gateway = with_robots(&scene);
    let has = "known(\"battery.soc\")";
    let (saved, _) = muster(&scene, &gateway, &["group", "set", "charged", has]);
    assert!(saved.contains("charged") && saved.contains(has), "{saved}");
    let (listed, _) = muster(&scene, &gateway, &["group", "list", "-o", "ndjson"]);
    let listed: Value = listed.parse().unwrap();
    assert_eq!((&listed["name"], &listed["where"]), (&"charged".into(), &has.into()));

    let args =
        ["aggregate", "--group", "charged", "--by", "fleet", "--of", "battery.soc", "--fn", "max,count"];
    let (table, _) = muster(&scene, &gateway, &args);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["fleet", "robots", "of", "max", "count", "freshness", "oldest"]);
    assert_eq!(rows[1][..5], ["shop", "2", "battery.soc", "0.9", "2"], "{table}");
    assert!(table.contains("ago"), "{table}");

    let (_, told) = muster(&scene, &gateway, &["group", "delete", "charged"]);
    assert!(told.contains("charged is deleted"), "{told}");
    for (args, code) in [(&["group", "show", "charged"][..], 1), (&["robots", "--group", "charged"], 2)] {
        let output = run(&scene, &gateway, args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains("charged"), "{told}");
    }
}

#[test]
fn the_past_is_told_as_the_past() {
    let scene = scene();
    let gateway = with_robots(&scene);
    let then = gateway.ask("/v1/fleet")["now"].to_string();
    let log = scene.file("later.ndjson", "{\"ch\":\"battery.soc\",\"v\":0.5}\n");
    scene.agent("shop/r1").to(&gateway, Transport::Quic).file(&log).once().deliver();
    let (now, _) = muster(&scene, &gateway, &["robot", "shop/r1"]);
    assert!(now.contains("0.5") && !now.contains("THE PAST"), "{now}");
    for known in ["then", "now"] {
        let at = ["--at", &then, "--known", known];
        let (past, _) = muster(&scene, &gateway, &[&["robot", "shop/r1"][..], &at].concat());
        assert!(past.starts_with("THE PAST") && past.contains("0.15"), "{past}");
        let (status, _) = muster(&scene, &gateway, &[&["status"][..], &at].concat());
        assert!(status.contains("THE PAST"), "{status}");
        let (csv, told) = muster(
            &scene,
            &gateway,
            &[&["robots", "-o", "csv", "--fields", "battery.soc"][..], &at].concat(),
        );
        assert!(csv.contains("shop/r1,0.15,") && told.contains("the past: "), "{csv}{told}");
        let (table, _) = muster(&scene, &gateway, &[&["robots"][..], &at].concat());
        assert!(table.starts_with("THE PAST") && table.contains("shop/r1"), "{table}");
    }
    let (recent, _) = muster(&scene, &gateway, &["robots", "--at", "-0s"]);
    assert!(recent.starts_with("THE PAST") && recent.contains("shop/r3"), "{recent}");
}

#[test]
fn a_wrong_expression_has_a_caret_below_the_mistake() {
    let scene = scene();
    let gateway = scene.gateway();
    let wrong = "link.up && link.upp";
    for args in
        [&["robots", "--where", wrong][..], &["aggregate", "--where", wrong], &["group", "set", "x", wrong]]
    {
        let output = run(&scene, &gateway, args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].contains("nearest that it has is `link.up`"), "{told}");
        assert_eq!(lines[1].trim_start(), wrong, "{told}");
        let caret = lines[2].find('^').unwrap();
        assert_eq!(lines[1][caret..].split(' ').next(), Some("link.upp"), "{told}");
    }
    let output = run(&scene, &gateway, &["robots", "--where", "link.up &&& true"]);
    let told = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    let caret = lines[2].find('^').unwrap();
    assert_eq!(&lines[1][caret..], "& true", "{told}");
}
