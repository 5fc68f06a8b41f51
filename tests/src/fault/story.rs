//! A local program that feeds an agent row by row while things happen to agent, gateway and what is between.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde_json::Value;

use super::Account;
use crate::{
    agent::AgentPlan,
    facts::{Facts, Words},
    feeder::{Answer, Feeder},
    gateway::{Gateway, Transport},
    logs::{self, ROW_CHANNEL},
    patience::{wait_for, wait_until, wait_within},
    process::Process,
    scene::Scene,
};

/// One agent, its gateway, and the rows that are fed: those of a log, over and over, each with a number of its own, by
/// which it can be told from all others.
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
    log: Vec<Value>,
}

/// The robot of all stories.
pub(super) const ROBOT: &str = "faults/r1";

impl Story {
    /// Begins with a gateway and an agent that reaches it directly.
    pub fn new(scene: &Scene, transport: Transport) -> Self {
        let gateway = scene.gateway();
        let plan = scene.agent(ROBOT).to(&gateway, transport);
        Self::with(scene, gateway, plan)
    }

    /// Begins with this gateway and this agent, which batches and syncs often, so that much is under way at any time.
    pub fn with(scene: &Scene, gateway: Gateway, plan: AgentPlan) -> Self {
        let plan = plan.set("BATCH__LINGER", "20ms").set("SPOOL__SYNC_EVERY", "10ms");
        let socket: PathBuf = scene.path("input.sock");
        let input = format!("unix:{}", socket.display());
        let agent = plan.clone().input(&input).start();
        let log = logs::numbered_rows(&logs::one(scene, "ground_husky"), LOG_ROWS_MAX);
        Self { gateway, plan, agent, input, feeder: Feeder::new(&socket), log }
    }

    /// Sends chunks of the next rows and learns that they were accepted.
    pub fn feed(&mut self, chunks: usize) {
        for _ in 0..chunks {
            let rows = self.next_rows();
            self.feeder.send(self.feeder.sent(), &rows);
        }
    }

    /// Offers the next chunk to an agent that may refuse it, or give no answer.
    pub fn offer(&mut self) -> Answer {
        let rows = self.next_rows();
        self.feeder.offer(self.feeder.sent(), &rows)
    }

    /// Returns the number of rows that were fed.
    pub fn rows_fed(&self) -> u64 {
        self.feeder.sent().unsigned_abs()
    }

    /// Feeds until the gateway has stored something that it had not before.
    pub fn wait_for_traffic(&mut self) {
        let before = self.stored();
        self.feed(1);
        wait_until("new samples are stored", || self.stored() > before);
    }

    /// Kills the agent while it has rows of which nobody knows whether it accepted them.
    pub fn kill_agent(&mut self) {
        let rows = self.next_rows();
        self.feeder.send_unasked(self.feeder.sent(), &rows);
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
        self.deliver();
    }

    /// Lets an agent without inputs deliver what the spool holds.
    pub fn deliver(&mut self) {
        let (code, said) = self.plan.clone().once().run();
        assert!(matches!(code, Some(0 | 3)), "it ended with {code:?}:\n{said}");
    }

    /// Ends the agent in order.
    pub fn stop_agent(&mut self) {
        self.feeder.disconnect();
        let status = self.agent.terminate();
        assert!(matches!(status.code(), Some(0 | 3)), "it ended with {status}:\n{}", self.agent.said());
    }

    /// Counts what became of all rows that were fed.
    pub fn account(&self) -> Account {
        let mut words = Words::default();
        let stored = self.gateway.samples(ROBOT, &mut words);
        let (mut produced, mut accepted) = (Facts::default(), Facts::default());
        let certain: &BTreeSet<i64> = self.feeder.accepted();
        for n in 0..self.feeder.sent() {
            let row = self.row(n);
            produced.add_row(&row, &mut words);
            if certain.contains(&n) {
                accepted.add_row(&row, &mut words);
            }
        }
        let lost = wait_for("the gateway knows the robot", || self.gateway.robot(ROBOT));
        let lost = lost["loss"]["samples"].as_u64().expect("a robot has a count of losses");
        let counts = (produced.len(), accepted.len(), stored.len(), lost);
        Account::new(counts, stored.differ_from(&accepted), stored.differ_from(&produced))
    }

    /// Counts what became of all rows, once it is all accounted for, which may take a moment after a restart.
    pub fn last_account(&self) -> Account {
        let settled = || Some(self.account()).filter(Account::is_settled);
        wait_within(SETTLES_WITHIN, settled).unwrap_or_else(|| self.account())
    }

    /// Returns the samples that the gateway counts as stored.
    pub fn stored(&self) -> u64 {
        self.stored_or_gone().unwrap_or(0)
    }

    /// Returns the samples of rows that are accepted for certain.
    pub fn accepted_samples(&self) -> u64 {
        let (mut facts, mut words) = (Facts::default(), Words::default());
        self.feeder.accepted().iter().for_each(|n| facts.add_row(&self.row(*n), &mut words));
        facts.len() as u64
    }

    /// Returns the samples that the gateway counts as stored, if it still serves.
    pub fn stored_or_gone(&self) -> Option<u64> {
        self.gateway.robot(ROBOT).and_then(|robot| robot["samples"].as_u64())
    }

    fn next_rows(&self) -> Vec<Value> {
        let next = self.feeder.sent();
        (next..next + CHUNK).map(|n| self.row(n)).collect()
    }

    fn row(&self, number: i64) -> Value {
        let at = usize::try_from(number).expect("rows are counted from 0") % self.log.len();
        let mut row = self.log[at].clone();
        row["v"][&ROW_CHANNEL[1..]] = number.into();
        row
    }
}

/// Rows of which the local program asks at once whether they were accepted.
const CHUNK: i64 = 10;

/// Rows of the log that are fed before they are fed again.
const LOG_ROWS_MAX: usize = 5_000;

/// How long a gateway may take to say what was lost after everything has come in.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);
