//! A local program that feeds an agent row by row while things happen to agent, gateway and what is between.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::Account;
use crate::{
    agent::AgentPlan,
    facts::{Facts, Words},
    feeder::Feeder,
    gateway::{Gateway, Transport},
    logs,
    patience::{wait_for, wait_until},
    process::Process,
    scene::Scene,
};

/// One agent, its gateway, and the rows that are fed. Rows are numbered, so that each can be told from all others.
#[derive(Debug)]
pub struct Story {
    /// The gateway.
    pub gateway: Gateway,
    /// How the agent is started, but for its input.
    pub plan: AgentPlan,
    /// The agent.
    pub agent: Process,
    input: String,
    feeder: Feeder,
    rows: Vec<Value>,
}

/// The robot of all stories.
pub(super) const ROBOT: &str = "faults/r1";

impl Story {
    /// Begins with a gateway and an agent that reaches it directly.
    pub fn new(scene: &Scene, transport: Transport, rows: usize) -> Self {
        let gateway = scene.gateway();
        let plan = scene.agent(ROBOT).to(&gateway, transport);
        Self::with(scene, gateway, plan, rows)
    }

    /// Begins with this gateway and this agent, which batches and syncs often, so that much is under way at any time.
    pub fn with(scene: &Scene, gateway: Gateway, plan: AgentPlan, rows: usize) -> Self {
        let plan = plan.set("BATCH__LINGER", "20ms").set("SPOOL__SYNC_EVERY", "10ms");
        let socket: PathBuf = scene.path("input.sock");
        let input = format!("unix:{}", socket.display());
        let agent = plan.clone().input(&input).start();
        let rows = logs::numbered_rows(&logs::one(scene, "ground_husky"), rows);
        Self { gateway, plan, agent, input, feeder: Feeder::new(&socket), rows }
    }

    /// Sends chunks of the next rows and learns that they were accepted. Returns whether any were left.
    pub fn feed(&mut self, chunks: usize) -> bool {
        let next = self.next();
        let rows: Vec<_> = self.rows.iter().skip(next).take(chunks * CHUNK).cloned().collect();
        for (n, chunk) in rows.chunks(CHUNK).enumerate() {
            self.feeder.send(number(next + n * CHUNK), chunk);
        }
        !rows.is_empty()
    }

    /// Feeds all rows that are left.
    pub fn feed_rest(&mut self) {
        while self.feed(1) {}
    }

    /// Returns how many rows are still to be fed.
    pub fn rows_left(&self) -> usize {
        self.rows.len() - self.next()
    }

    /// Feeds until the gateway has stored something that it had not before.
    pub fn wait_for_traffic(&mut self) {
        let before = self.stored();
        assert!(self.feed(1), "there are rows for the whole story");
        wait_until("new samples are stored", || self.stored() > before);
    }

    /// Kills the agent while it has rows of which nobody knows whether it accepted them.
    pub fn kill_agent(&mut self) {
        let next = self.next();
        let rows: Vec<_> = self.rows.iter().skip(next).take(CHUNK).cloned().collect();
        self.feeder.send_unasked(number(next), &rows);
        self.agent.kill();
        self.feeder.disconnect();
    }

    /// Starts the agent that was ended or killed.
    pub fn start_agent(&mut self) {
        self.agent = self.plan.clone().input(&self.input).start();
    }

    /// Ends the agent in order, and lets one without inputs deliver the rest.
    pub fn drain(&mut self) {
        self.stop_agent();
        self.plan.clone().once().deliver();
    }

    /// Ends the agent in order.
    pub fn stop_agent(&mut self) {
        self.feeder.disconnect();
        let status = self.agent.terminate();
        assert_eq!(status.code(), Some(0), "it ended in order:\n{}", self.agent.said());
    }

    /// Counts what became of all rows that were fed.
    pub fn account(&self) -> Account {
        let mut words = Words::default();
        let stored = self.gateway.samples(ROBOT, &mut words);
        let (mut produced, mut accepted) = (Facts::default(), Facts::default());
        let certain: &BTreeSet<i64> = self.feeder.accepted();
        for (n, row) in self.rows.iter().take(self.next()).enumerate() {
            produced.add_row(row, &mut words);
            if certain.contains(&number(n)) {
                accepted.add_row(row, &mut words);
            }
        }
        let lost = wait_for("the gateway knows the robot", || self.gateway.robot(ROBOT));
        let lost = lost["loss"]["samples"].as_u64().expect("a robot has a count of losses");
        let counts = (produced.len(), accepted.len(), stored.len(), lost);
        Account::new(counts, stored.differ_from(&accepted), stored.differ_from(&produced))
    }

    /// Returns the samples that the gateway counts as stored.
    pub fn stored(&self) -> u64 {
        self.gateway.robot(ROBOT).and_then(|robot| robot["samples"].as_u64()).unwrap_or(0)
    }

    fn next(&self) -> usize {
        usize::try_from(self.feeder.sent()).expect("rows are few").min(self.rows.len())
    }
}

fn number(row: usize) -> i64 {
    i64::try_from(row).expect("rows are few")
}

/// Rows of which the local program asks at once whether they were accepted.
const CHUNK: usize = 10;
