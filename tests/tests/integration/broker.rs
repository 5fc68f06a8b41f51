//! Through an ordinary broker, a real Mosquitto without persistence: end-to-end acks decide, whoever is killed.

use std::{collections::BTreeSet, time::Duration};

use muster_tests::{
    agent::AgentPlan,
    broker::Broker,
    facts::{Facts, Words},
    feeder::Feeder,
    gateway::{Gateway, GatewayPlan},
    logs::{self, ROW_CHANNEL},
    outside::there,
    patience::{now, wait_until},
    process::Process,
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

const ROBOT: &str = "broker/r1";

#[test]
fn a_real_log_comes_out_of_a_broker_exactly_as_it_went_in() {
    let Some((scene, broker)) = stage() else { return };
    let gateway = behind(&scene, &broker).start();
    let log = logs::one(&scene, "ground_husky");
    to(&scene, &broker, ROBOT).file(&log).once().deliver();
    let mut words = Words::default();
    let expected = Facts::of_log(logs::open(&log), &mut words);
    gateway.samples(ROBOT, &mut words).assert_equals(expected, "through a broker", &words);
    let robot = gateway.robot(ROBOT).unwrap();
    assert_eq!(robot["link"]["transport"], "mqtt", "{robot}");
    wait_until("a robot that left in order is shown as gone", || gateway.ask("/v1/fleet")["sessions"] == 0);
}

#[test]
fn kills_of_broker_gateway_and_agent_lose_and_double_nothing_that_was_accepted() {
    let Some((scene, broker)) = stage() else { return };
    Story::new(&scene, broker).tell();
}

#[test]
fn a_gateway_that_comes_late_is_found_in_seconds() {
    let Some((scene, broker)) = stage() else { return };
    let log = logs::one(&scene, "ground_husky");
    let mut agent = to(&scene, &broker, ROBOT).file(&log).once().start();
    broker.wait_to_say("as muster-broker-r1");
    let gateway = behind(&scene, &broker).start();
    let from = now();
    let status = agent.wait();
    assert_eq!(status.code(), Some(0), "{}", agent.said());
    let took = now() - from;
    assert!(took < Duration::from_secs(30), "Hello is said again every few seconds: {took:?}");
    let mut words = Words::default();
    let expected = Facts::of_log(logs::open(&log), &mut words);
    gateway.samples(ROBOT, &mut words).assert_equals(expected, "after a late gateway", &words);
}

#[test]
fn a_gateway_that_starts_anew_has_its_robots_again_before_they_miss_it() {
    let Some((scene, broker)) = stage() else { return };
    let mut gateway = behind(&scene, &broker).start();
    let socket = scene.path("input.sock");
    let agent = to(&scene, &broker, ROBOT).input(format!("unix:{}", socket.display())).start();
    let mut feeder = Feeder::new(&socket);
    let rows = logs::numbered_rows(&logs::one(&scene, "ground_husky"), 100);
    feeder.send(0, &rows[..50]);
    wait_until("the first rows are stored", || stored(&gateway) > 0);
    let from = now();
    gateway.kill();
    gateway.start_again();
    let before = stored(&gateway);
    feeder.send(50, &rows[50..]);
    wait_until("the next rows are stored", || stored(&gateway) > before);
    let took = now() - from;
    assert!(took < Duration::from_secs(20), "the agent is asked to say Hello, and comes at once: {took:?}");
    assert!(!agent.said().contains("WARN"), "{}", agent.said());
}

#[test]
fn a_gateway_tells_whether_it_has_its_broker() {
    let Some((scene, mut broker)) = stage() else { return };
    let gateway = behind(&scene, &broker).start();
    let metric = format!("muster_broker_connected{{broker=\"{}\"}}", &broker.url()["mqtt://".len()..]);
    wait_until("it is connected", || gateway.metric(&metric) == Some(1.0));
    broker.kill();
    wait_until("it is not", || gateway.metric(&metric) == Some(0.0));
    broker.start_again();
    wait_until("it is connected again", || gateway.metric(&metric) == Some(1.0));
}

#[test]
fn a_robot_that_is_cut_off_is_shown_as_gone_at_once() {
    let Some((scene, broker)) = stage() else { return };
    let gateway = behind(&scene, &broker).start();
    let mut agent = to(&scene, &broker, ROBOT).input(format!("unix:{}", scene.path("s").display())).start();
    wait_until("the robot is there", || gateway.ask("/v1/fleet")["sessions"] == 1);
    let from = now();
    agent.kill();
    wait_until("the robot is gone", || gateway.ask("/v1/fleet")["sessions"] == 0);
    let took = now() - from;
    assert!(took < Duration::from_secs(20), "by the agent's will, not by silence: {took:?}");
}

#[test]
fn plain_json_comes_through_a_broker_and_waits_there_for_a_gateway_that_is_away() {
    let Some((scene, broker)) = stage() else { return };
    let mut gateway = behind(&scene, &broker).start();
    let topic = "muster/1/broker/plain/json";
    let lines = |from: i64, to: i64| {
        let line = |t: i64| format!("{{\"t\":{t},\"ch\":\"a\",\"v\":{t}}}\n");
        scene.file(&format!("{from}.ndjson"), (from..to).map(line).collect::<String>())
    };
    gateway_is_there(&broker, 1);
    broker.publish_lines(topic, &lines(0, 100));
    wait_until("what came first is stored", || plain(&gateway).len() == 100);
    gateway.kill();
    broker.publish_lines(topic, &lines(100, 1000));
    gateway.start_again();
    wait_until("what waited is stored", || plain(&gateway).len() == 1000);
    // What could not be read is counted; a message that is too large for the gateway stops at the broker; and neither
    // keeps what follows.
    broker.publish(topic, "no JSON");
    let large = scene.file("large", "x".repeat(300 * 1024));
    broker.publish_lines(topic, &large);
    broker.publish("muster/1/broker/plain/jsom", "{}");
    broker.publish("muster/1/broker/plain/up/live", "no frame");
    broker.publish_lines(topic, &lines(1000, 1100));
    wait_until("what came last is stored", || plain(&gateway).len() == 1100);
    assert_eq!(plain(&gateway), (0..1100).collect::<Vec<_>>(), "each once, nothing killed under way");
    let robot = gateway.robot("broker/plain").unwrap();
    assert_eq!(robot["loss"]["by_reason"]["malformed"], 1, "{robot}");
}

#[test]
fn plain_json_that_only_the_broker_had_goes_with_the_broker() {
    let Some((scene, mut broker)) = stage() else { return };
    let mut gateway = behind(&scene, &broker).start();
    let topic = "muster/1/broker/plain/json";
    gateway_is_there(&broker, 1);
    gateway.kill();
    broker.publish(topic, r#"{"t":1,"ch":"a","v":1}"#);
    broker.kill();
    broker.start_again();
    gateway.start_again();
    gateway_is_there(&broker, 2);
    broker.publish(topic, r#"{"t":2,"ch":"a","v":2}"#);
    wait_until("what came later is stored", || plain(&gateway).contains(&2));
    assert_eq!(plain(&gateway), [2], "a PUBACK of this broker promised nothing else");
}

/// A local program feeds an agent row by row while broker, gateway and agent are killed.
struct Story {
    broker: Broker,
    gateway: Gateway,
    plan: AgentPlan,
    input: String,
    agent: Process,
    feeder: Feeder,
    rows: Vec<Value>,
}

impl Story {
    fn new(scene: &Scene, broker: Broker) -> Self {
        let gateway = behind(scene, &broker).start();
        let socket = scene.path("input.sock");
        let plan = to(scene, &broker, ROBOT).set("BATCH__LINGER", "20ms").set("SPOOL__SYNC_EVERY", "10ms");
        let input = format!("unix:{}", socket.display());
        let agent = plan.clone().input(&input).start();
        let rows = logs::numbered_rows(&logs::one(scene, "ground_husky"), ROWS);
        Self { broker, gateway, plan, input, agent, feeder: Feeder::new(&socket), rows }
    }

    fn tell(mut self) {
        for round in 0..ROUNDS {
            self.wait_for_traffic();
            self.feed(3);
            match round % 4 {
                0 => self.broker.kill(),
                1 => self.gateway.kill(),
                2 => self.kill_agent(),
                _ => {
                    self.gateway.kill();
                    self.broker.kill();
                }
            }
            self.feed(5);
            match round % 4 {
                0 => self.broker.start_again(),
                1 => self.gateway.start_again(),
                2 => {}
                _ => {
                    self.broker.start_again();
                    self.gateway.start_again();
                }
            }
        }
        self.wait_for_traffic();
        while self.feed(1) {}
        let status = self.agent.terminate();
        assert_eq!(status.code(), Some(0), "nothing was lost:\n{}", self.agent.said());
        self.plan.clone().once().deliver();
        self.check();
    }

    /// Sends chunks of the next rows and learns that they were accepted. Returns whether any were left.
    fn feed(&mut self, chunks: usize) -> bool {
        let next = self.next();
        let rows: Vec<_> = self.rows.iter().skip(next).take(chunks * CHUNK).cloned().collect();
        for (n, chunk) in rows.chunks(CHUNK).enumerate() {
            self.feeder.send(number(next + n * CHUNK), chunk);
        }
        !rows.is_empty()
    }

    /// Feeds until the gateway has stored something that it had not before.
    fn wait_for_traffic(&mut self) {
        let before = stored(&self.gateway);
        assert!(self.feed(2), "there are rows for the whole story");
        wait_until("new samples are stored", || stored(&self.gateway) > before);
    }

    /// Kills the agent while it has rows of which nobody knows whether it accepted them, and starts it again.
    fn kill_agent(&mut self) {
        let next = self.next();
        let rows: Vec<_> = self.rows.iter().skip(next).take(CHUNK).cloned().collect();
        self.feeder.send_unasked(number(next), &rows);
        self.agent.kill();
        self.feeder.disconnect();
        self.agent = self.plan.clone().input(&self.input).start();
    }

    fn check(&self) {
        let mut words = Words::default();
        let samples = self.gateway.samples(ROBOT, &mut words);
        let numbers: BTreeSet<_> = samples.integers(ROW_CHANNEL, &words).into_iter().collect();
        let accepted = self.feeder.accepted();
        assert!(accepted.len() > self.rows.len() / 2, "most rows were accepted for certain");
        let missing: Vec<_> = accepted.difference(&numbers).take(10).collect();
        assert!(missing.is_empty(), "accepted, but not stored: rows {missing:?}");
        let mut expected = Facts::default();
        for (n, row) in self.rows.iter().enumerate() {
            if numbers.contains(&number(n)) {
                expected.add_row(row, &mut words);
            }
        }
        samples.assert_equals(expected, "each stored row once and whole", &words);
        let loss = &self.gateway.robot(ROBOT).unwrap()["loss"]["samples"];
        assert_eq!(loss, 0, "no loss was declared either");
    }

    fn next(&self) -> usize {
        usize::try_from(self.feeder.sent()).unwrap()
    }
}

/// A folder and a broker, if there is a Mosquitto.
fn stage() -> Option<(Scene, Broker)> {
    if !there("mosquitto", "mosquitto") || !there("mosquitto_pub", "mosquitto-clients") {
        return None;
    }
    let scene = scene();
    let broker = Broker::start(&scene);
    Some((scene, broker))
}

fn behind(scene: &Scene, broker: &Broker) -> GatewayPlan {
    scene.gateway_plan().set("MQTT__BROKER__URL", &broker.url())
}

fn to(scene: &Scene, broker: &Broker, robot: &str) -> AgentPlan {
    // One robot has no crowd to keep out of the way of.
    let plan = scene.agent(robot).set("LINK__RETURN_SPREAD", "1s");
    plan.arg("--gateway").arg(broker.url())
}

/// Waits until a gateway has subscribed so many times: before that the broker keeps nothing for it.
fn gateway_is_there(broker: &Broker, times: usize) {
    broker.wait_to_say_times("1 muster/1/+/+/json", times);
}

fn stored(gateway: &Gateway) -> u64 {
    gateway.robot(ROBOT).and_then(|robot| robot["samples"].as_u64()).unwrap_or(0)
}

/// Returns the integers that the robot of plain JSON has sent, in order.
fn plain(gateway: &Gateway) -> Vec<i64> {
    let mut words = Words::default();
    let mut all = gateway.samples("broker/plain", &mut words).integers("a", &words);
    all.sort_unstable();
    all
}

fn number(row: usize) -> i64 {
    i64::try_from(row).unwrap()
}

/// Each party is killed several times, and broker and gateway together.
const ROUNDS: usize = 12;

/// Rows of the whole story.
const ROWS: usize = 8_000;

/// Rows of which the local program asks at once whether they were accepted.
const CHUNK: usize = 50;
