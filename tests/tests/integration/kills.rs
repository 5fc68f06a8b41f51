//! What was accepted is stored exactly once, whoever is killed on the way.

use std::collections::BTreeSet;

use muster_tests::{
    agent::AgentPlan,
    facts::{Facts, Words},
    feeder::Feeder,
    gateway::{Gateway, Transport},
    logs::{self, ROW_CHANNEL},
    patience::wait_until,
    process::Process,
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

const ROBOT: &str = "kills/r1";

#[test]
fn over_quic_kills_of_gateway_and_agent_lose_and_double_nothing_that_was_accepted() {
    Story::new(&scene(), Transport::Quic).tell();
}

#[test]
fn over_mqtt_kills_of_gateway_and_agent_lose_and_double_nothing_that_was_accepted() {
    Story::new(&scene(), Transport::Mqtt).tell();
}

/// A local program feeds an agent row by row while gateway and agent are killed.
struct Story {
    gateway: Gateway,
    plan: AgentPlan,
    socket: String,
    agent: Process,
    feeder: Feeder,
    rows: Vec<Value>,
}

impl Story {
    fn new(scene: &Scene, transport: Transport) -> Self {
        let gateway = scene.gateway();
        let socket = scene.path("input.sock");
        let plan = scene.agent(ROBOT).to(&gateway, transport).set("BATCH__LINGER", "20ms");
        let input = format!("unix:{}", socket.display());
        let agent = plan.clone().input(&input).start();
        let rows = logs::numbered_rows(&logs::one(scene, "ground_husky"), ROWS);
        Self { gateway, plan, socket: input, agent, feeder: Feeder::new(&socket), rows }
    }

    fn tell(mut self) {
        for kill in 0..GATEWAY_KILLS {
            self.wait_for_traffic();
            if kill == 1 {
                self.kill_agent();
                self.wait_for_traffic();
            }
            // Straight after the rows were accepted: batches, acknowledgements and commits are under way.
            self.feed(5);
            self.gateway.kill();
            self.feed(15);
            if kill == 2 {
                self.kill_agent();
                self.feed(15);
            }
            self.gateway.start_again();
        }
        self.wait_for_traffic();
        while self.feed(1) {}
        self.drain();
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
        let before = self.stored();
        assert!(self.feed(10), "there are rows for the whole story");
        wait_until("new samples are stored", || self.stored() > before);
    }

    /// Kills the agent while it has rows of which nobody knows whether it accepted them, and starts it again.
    fn kill_agent(&mut self) {
        let next = self.next();
        let rows: Vec<_> = self.rows.iter().skip(next).take(CHUNK).cloned().collect();
        self.feeder.send_unasked(number(next), &rows);
        self.agent.kill();
        self.feeder.disconnect();
        self.agent = self.plan.clone().input(&self.socket).start();
    }

    /// Ends the agent in order, and lets one without inputs deliver the rest.
    fn drain(&mut self) {
        let status = self.agent.terminate();
        assert_eq!(status.code(), Some(0), "nothing was lost:\n{}", self.agent.said());
        self.plan.clone().once().deliver();
    }

    fn check(&self) {
        let mut words = Words::default();
        let stored = self.gateway.samples(ROBOT, &mut words);
        let numbers: BTreeSet<_> = stored.integers(ROW_CHANNEL, &words).into_iter().collect();
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
        stored.assert_equals(expected, "each stored row once and whole", &words);
        let loss = &self.gateway.robot(ROBOT).unwrap()["loss"]["samples"];
        assert_eq!(loss, 0, "no loss was declared either");
    }

    fn stored(&self) -> u64 {
        self.gateway.robot(ROBOT).and_then(|robot| robot["samples"].as_u64()).unwrap_or(0)
    }

    fn next(&self) -> usize {
        usize::try_from(self.feeder.sent()).unwrap()
    }
}

fn number(row: usize) -> i64 {
    i64::try_from(row).unwrap()
}

const GATEWAY_KILLS: usize = 3;

/// Rows of the whole story.
const ROWS: usize = 10_000;

/// Rows of which the local program asks at once whether they were accepted.
const CHUNK: usize = 50;
