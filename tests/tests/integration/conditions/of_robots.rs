//! Conditions of robots.

use std::fmt::Write as _;

use muster_tests::{
    feeder::Feeder,
    gateway::Transport,
    outside::{mosquitto_pub, there},
    patience::wait_until,
};
use serde_json::json;

use super::{
    by_hand::{Robot, Spool},
    clears, comes, doctor, holds, says,
};
use crate::scene;

const ROBOT: &str = "cond/r1";
const SPOOL: Spool = Spool { epoch: 1, samples: 1200 };
const S: i64 = 1_000_000_000;

#[test]
fn a_robot_whose_agent_ends_is_down_until_it_is_back() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Mqtt).input(format!("unix:{}", socket.display()));
    let mut agent = plan.start();
    agent.wait_to_say("session up");
    agent.terminate();
    let condition = comes(&gateway, "link_down", Some(ROBOT));
    says(&condition, &["the session ended: the robot closed it"]);
    assert_eq!(condition["since_from"], "log", "{condition}");
    let (code, table) = doctor(&scene, &gateway, &[]);
    assert_eq!(code, Some(0), "it only warns: {table}");
    for word in ["takes samples", "0 errors, 1 warning", "link_down", ROBOT, "RUNBOOK.md#link_down"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let agent = plan.start();
    clears(&gateway, "link_down", Some(ROBOT));
    drop(agent);
}

#[test]
fn a_robot_that_is_fed_nothing_is_stale_and_one_with_a_wrong_time_is_told_until_it_is_right() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Quic).input(format!("unix:{}", socket.display()));
    let _agent = plan.start();
    let mut feeder = Feeder::new(&socket);
    let hour_ahead = gateway.ask("/v1/fleet")["now"].as_i64().unwrap() + 3600 * S;
    feeder.send(0, &[json!({"t": 1, "ch": "a", "v": 1}), json!({"t": hour_ahead, "ch": "b", "v": 1})]);
    says(
        &comes(&gateway, "times_not_believed", Some(ROBOT)),
        &["1 channel with times before 2020, 1 channel with times from the future"],
    );
    says(&comes(&gateway, "values_stale", Some(ROBOT)), &["its link is up", "2 values"]);
    wait_until("a value makes it fresh again", || {
        feeder.send(2, &[json!({"ch": "a", "v": 2})]);
        holds(&gateway, "values_stale", Some(ROBOT)).is_none()
    });
    // The newest value of b is an hour ahead of any that comes now: it is marked until then, as it has to be.
    assert!(holds(&gateway, "times_not_believed", Some(ROBOT)).is_some());
}

#[test]
fn what_a_robot_says_of_its_own_health_is_told_until_it_is_well() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Mqtt).input(format!("unix:{}", socket.display()));
    let _agent = plan.start();
    let mut feeder = Feeder::new(&socket);
    feeder.send(0, &[json!({"ch": "health", "v": "error"})]);
    let condition = comes(&gateway, "health_error", Some(ROBOT));
    assert_eq!(condition["severity"], "error", "{condition}");
    feeder.send(1, &[json!({"ch": "health", "v": "ok"})]);
    clears(&gateway, "health_error", Some(ROBOT));
}

#[test]
fn a_time_before_2020_is_told_until_a_right_one_comes() {
    let scene = scene();
    let gateway = scene.gateway();
    let socket = scene.path("input.sock");
    let plan = scene.agent(ROBOT).to(&gateway, Transport::Quic).input(format!("unix:{}", socket.display()));
    let _agent = plan.start();
    let mut feeder = Feeder::new(&socket);
    feeder.send(0, &[json!({"t": 1, "ch": "a", "v": 1})]);
    comes(&gateway, "times_not_believed", Some(ROBOT));
    feeder.send(1, &[json!({"ch": "a", "v": 2})]);
    clears(&gateway, "times_not_believed", Some(ROBOT));
}

#[test]
fn lines_that_do_not_parse_are_samples_lost() {
    if !there("mosquitto_pub", "mosquitto-clients") {
        return;
    }
    let scene = scene();
    let gateway = scene.gateway();
    let topic = format!("muster/1/{ROBOT}/json");
    let output = mosquitto_pub(gateway.mqtt_port(), &["-q", "1", "-t", &topic, "-m", "{\"t\":1,\"ch\":"]);
    assert!(output.status.success(), "{output:?}");
    let condition = comes(&gateway, "samples_lost", Some(ROBOT));
    says(&condition, &["1 malformed; 1 ever"]);
    assert_eq!(condition["since_from"], "log", "{condition}");
}

#[test]
fn a_robot_that_makes_names_up_has_more_channels_than_are_kept() {
    let scene = scene();
    let gateway = scene.gateway();
    let mut rows = String::new();
    for row in 0..17 {
        let names: Vec<String> = (0..1000).map(|name| format!("\"n{}\":1", row * 1000 + name)).collect();
        writeln!(rows, "{{\"ch\":\"c\",\"v\":{{{}}}}}", names.join(",")).unwrap();
    }
    let file = scene.file("rows.ndjson", rows);
    scene.agent(ROBOT).to(&gateway, Transport::Quic).file(&file).once().deliver();
    says(&comes(&gateway, "channels_not_kept", Some(ROBOT)), &["616 samples so far"]);
}

#[test]
fn a_clock_that_is_off_is_told_until_a_heartbeat_says_that_it_is_right() {
    let scene = scene();
    let gateway = scene.gateway();
    let mut robot = Robot::hello(&gateway, ROBOT, 1, &[SPOOL], -3600 * S);
    says(
        &comes(&gateway, "clock_skew", Some(ROBOT)),
        &["behind the gateway's", "says that it is synchronised"],
    );
    robot.beat(&gateway, &[SPOOL], 0);
    clears(&gateway, "clock_skew", Some(ROBOT));
}

#[test]
fn a_batch_that_is_none_is_a_refusal() {
    let scene = scene();
    let gateway = scene.gateway();
    let mut robot = Robot::hello(&gateway, ROBOT, 1, &[SPOOL], 0);
    robot.send_nonsense(SPOOL);
    says(&comes(&gateway, "batches_refused", Some(ROBOT)), &["1 refusal lately, the last one: malformed"]);
    says(&comes(&gateway, "refusals", None), &["1 malformed"]);
    assert_eq!(holds(&gateway, "refusals", None).unwrap()["severity"], "info");
}

#[test]
fn a_spool_that_is_gone_leaves_unknown_samples_until_it_is_back() {
    let scene = scene();
    let gateway = scene.gateway();
    let wiped = Spool { epoch: 3, samples: 7 };
    drop(Robot::hello(&gateway, ROBOT, 1, &[SPOOL], 0));
    assert!(holds(&gateway, "samples_unknown", Some(ROBOT)).is_none());
    drop(Robot::hello(&gateway, ROBOT, 2, &[wiped], 0));
    says(&comes(&gateway, "samples_unknown", Some(ROBOT)), &["up to 1,200 samples"]);
    let _back = Robot::hello(&gateway, ROBOT, 3, &[SPOOL, wiped], 0);
    clears(&gateway, "samples_unknown", Some(ROBOT));
}

#[test]
fn two_processes_that_take_turns_are_a_conflict() {
    let scene = scene();
    let gateway = scene.gateway();
    let (one, other) = (Spool { epoch: 1, samples: 5 }, Spool { epoch: 3, samples: 5 });
    let mut links = vec![Robot::hello(&gateway, ROBOT, 1, &[one], 0)];
    links.push(Robot::hello(&gateway, ROBOT, 2, &[other], 0));
    links.push(Robot::hello(&gateway, ROBOT, 1, &[one], 0));
    let condition = comes(&gateway, "identity_conflict", Some(ROBOT));
    says(&condition, &["push each other out", "127.0.0.1:"]);
    assert_eq!((&condition["severity"], &condition["since_from"]), (&"error".into(), &"log".into()));
    let (code, table) = doctor(&scene, &gateway, &["-o", "csv"]);
    assert_eq!(code, Some(1), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("error,identity_conflict,cond/r1,"), "{table}");
}
