//! Conditions of robots.

use std::fmt::Write as _;

use muster_gateway::conditions::Code;
use muster_tests::{
    conditions::{Watched as _, raises},
    feeder::Feeder,
    gateway::Transport,
    outside::{mosquitto_pub, there},
    patience::wait_until,
};
use serde_json::json;

use super::{
    by_hand::{Robot, Spool},
    doctor, feed, forgetful, holds,
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
    let down =
        raises(&gateway, Code::LinkDown, Some(ROBOT)).says(&["the session ended: the robot closed it"]);
    assert_eq!(down.told()["since_from"], "log");
    let (code, table) = doctor(&scene, &gateway, &[]);
    assert_eq!(code, Some(0), "it only warns: {table}");
    for word in ["takes samples", "0 errors, 1 warning", "link_down", ROBOT, "RUNBOOK.md#link_down"] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let agent = plan.start();
    down.clears(&gateway);
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
    let marked = gateway.wait_for("times are marked", || gateway.holds(Code::TimesNotBelieved, Some(ROBOT)));
    let words = "1 channel with times before 2020, 1 channel with times from the future";
    assert!(marked["detail"].as_str().unwrap().contains(words), "{marked}");
    let stale = raises(&gateway, Code::ValuesStale, Some(ROBOT)).says(&["its link is up", "2 values"]);
    wait_until("a value makes it fresh again", || {
        feeder.send(2, &[json!({"ch": "a", "v": 2})]);
        !holds(&gateway, Code::ValuesStale, Some(ROBOT))
    });
    stale.clears(&gateway);
    // The newest value of b is an hour ahead of any that comes now: it is marked until then, as it has to be.
    assert!(holds(&gateway, Code::TimesNotBelieved, Some(ROBOT)));
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
    let marked = raises(&gateway, Code::TimesNotBelieved, Some(ROBOT));
    feeder.send(1, &[json!({"ch": "a", "v": 2})]);
    marked.clears(&gateway);
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
    let lost = gateway.wait_for("the loss is told", || gateway.holds(Code::SamplesLost, Some(ROBOT)));
    assert!(lost["detail"].as_str().unwrap().contains("1 malformed; 1 ever"), "{lost}");
    assert_eq!(lost["since_from"], "log", "{lost}");
}

#[test]
fn a_robot_that_makes_names_up_has_more_channels_than_are_kept_until_it_stops() {
    let scene = scene();
    let mut gateway = forgetful(&scene).start();
    let mut rows = String::new();
    for row in 0..17 {
        let names: Vec<String> = (0..1000).map(|name| format!("\"n{}\":1", row * 1000 + name)).collect();
        writeln!(rows, "{{\"ch\":\"c\",\"v\":{{{}}}}}", names.join(",")).unwrap();
    }
    let file = scene.file("rows.ndjson", rows);
    // An agent that ends may take longer for it than the condition stays.
    let agent = scene.agent(ROBOT).to(&gateway, Transport::Quic).file(&file).start();
    let many = raises(&gateway, Code::ChannelsNotKept, Some(ROBOT)).says(&["616 samples lately"]);
    many.clears(&gateway);
    drop(agent);
    // Nor is it told again by a gateway that starts.
    gateway.stop();
    gateway.start_again();
    assert!(!holds(&gateway, Code::ChannelsNotKept, Some(ROBOT)));
    let line = scene.file("one.ndjson", "{\"ch\":\"c\",\"v\":{\"n16999\":2}}\n");
    let _agent = scene.agent(ROBOT).to(&gateway, Transport::Quic).file(&line).start();
    let again = raises(&gateway, Code::ChannelsNotKept, Some(ROBOT)).says(&["1 sample lately, and 617 ever"]);
    again.clears(&gateway);
}

#[test]
fn a_clock_that_is_off_is_told_until_a_heartbeat_says_that_it_is_right() {
    let scene = scene();
    let gateway = scene.gateway();
    let mut robot = Robot::hello(&gateway, ROBOT, 1, &[SPOOL], -3600 * S);
    let skewed = raises(&gateway, Code::ClockSkew, Some(ROBOT));
    let skewed = skewed.says(&["behind the gateway's", "says that it is synchronised"]);
    robot.beat(&gateway, &[SPOOL], 0);
    skewed.clears(&gateway);
}

#[test]
fn a_batch_that_is_none_is_a_refusal_for_a_while() {
    let scene = scene();
    let gateway = forgetful(&scene).start();
    let mut robot = Robot::hello(&gateway, ROBOT, 1, &[SPOOL], 0);
    robot.send_nonsense(SPOOL);
    let refused = raises(&gateway, Code::BatchesRefused, Some(ROBOT));
    let refused = refused.says(&["1 refusal lately, the last one: malformed"]);
    let refusals = raises(&gateway, Code::Refusals, None).says(&["1 malformed"]);
    refused.clears(&gateway);
    refusals.clears(&gateway);
    feed(&scene, &gateway);
    assert!(!holds(&gateway, Code::Refusals, None), "what is taken is no refusal");
}

#[test]
fn a_spool_that_is_gone_leaves_unknown_samples_until_it_is_back() {
    let scene = scene();
    let gateway = scene.gateway();
    let wiped = Spool { epoch: 3, samples: 7 };
    drop(Robot::hello(&gateway, ROBOT, 1, &[SPOOL], 0));
    assert!(!holds(&gateway, Code::SamplesUnknown, Some(ROBOT)));
    drop(Robot::hello(&gateway, ROBOT, 2, &[wiped], 0));
    let unknown = raises(&gateway, Code::SamplesUnknown, Some(ROBOT)).says(&["up to 1,200 samples"]);
    let _back = Robot::hello(&gateway, ROBOT, 3, &[SPOOL, wiped], 0);
    unknown.clears(&gateway);
}

#[test]
fn two_processes_that_take_turns_are_a_conflict() {
    let scene = scene();
    let gateway = scene.gateway();
    let (one, other) = (Spool { epoch: 1, samples: 5 }, Spool { epoch: 3, samples: 5 });
    let mut links = vec![Robot::hello(&gateway, ROBOT, 1, &[one], 0)];
    links.push(Robot::hello(&gateway, ROBOT, 2, &[other], 0));
    links.push(Robot::hello(&gateway, ROBOT, 1, &[one], 0));
    let conflict =
        gateway.wait_for("the conflict is told", || gateway.holds(Code::IdentityConflict, Some(ROBOT)));
    let detail = conflict["detail"].as_str().unwrap();
    assert!(detail.contains("push each other out") && detail.contains("127.0.0.1:"), "{conflict}");
    assert_eq!((&conflict["severity"], &conflict["since_from"]), (&"error".into(), &"log".into()));
    let (code, table) = doctor(&scene, &gateway, &["-o", "csv"]);
    assert_eq!(code, Some(1), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("error,identity_conflict,cond/r1,"), "{table}");
}
