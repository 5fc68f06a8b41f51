//! The agent's own figures, `muster.agent.*`: how it is, through the same pipe as every sample.
//!
//! | channel | unit | what |
//! |---|---|---|
//! | `muster.agent.uptime_s` | s | Since the agent started. |
//! | `muster.agent.cpu_s` | s | Processor time that its process used since then. |
//! | `muster.agent.rss_bytes` | By | Memory of its process that is resident. |
//! | `muster.agent.recorded` | 1 | Samples that went to the spool since the start, these too. |
//! | `muster.agent.refused` | 1 | Rows and lines that inputs were refused since the start. |
//! | `muster.agent.absent` | 1 | Samples left out since the start: their value is declared to be none. |
//! | `muster.agent.lost` | 1 | Samples lost since the start: the spool was full, or damaged. |
//! | `muster.agent.queue_bytes` | By | Rows between the inputs and the recorder, in memory. |
//! | `muster.agent.spool.samples` | 1 | Samples that wait for their acknowledgement. |
//! | `muster.agent.spool.urgent_samples` | 1 | Those of them in the urgent lane. |
//! | `muster.agent.spool.oldest_age_s` | s | The age of the oldest of them by its own time, of old segments at most. |
//! | `muster.agent.spool.bytes` | By | Bytes of the spool on disk. |
//! | `muster.agent.spool.limit_bytes` | By | The most that it may hold. |
//! | `muster.agent.spool.memory_mode` | - | Whether its disk fails and samples are kept in memory only. |
//! | `muster.agent.link.connects` | 1 | Sessions with a gateway since the start. |
//! | `muster.agent.link.rtt_ms` | ms | The round trip of the connection; over QUIC alone. |
//! | `muster.agent.link.ack_ms` | ms | From sending a batch to its acknowledgement, commit included, smoothed. |
//! | `muster.agent.link.sent_bytes` | By | Bytes sent since the start, with all overhead. |
//! | `muster.agent.refused_by.*` | 1 | The refusals by reason, the first 16 reasons. |
//!
//! One row every `self.every`, in the lane that is declared for them, live if none is. None is recorded with `--once`,
//! nor by an agent that has no input or reads files alone: what such a run stores is what it read. And none while no
//! gateway is reached, if nothing else was recorded since the last one or the spool's disk fails: a robot that is silent
//! and cut off does not fill its spool with how it is. What is not known is left out of a row.

mod process;
mod row;

use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    batcher::{Declaration, Manner, Stamped},
    config::{Config, Input},
    delivery::Stage,
    driver::DeliveryReport,
    intake::{Intake, Refused, Shown, Source},
    status::Asked,
};

pub use row::{FIGURES, Figure, markdown};

use row::Facts;

/// Records figures until it is dropped.
#[derive(Debug)]
pub struct OwnFigures(JoinHandle<()>);

/// Whether a program has put the agent inside itself, and may record through its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The program `muster-agent`.
    Program,
    /// Another program.
    Embedded,
}

/// Returns how often this agent records its own figures; `None` if it does not.
pub fn interval_of(config: &Config, host: Host) -> Option<Duration> {
    let reads_files_alone = config.input.iter().all(|input| matches!(input, Input::File { .. }));
    let is_replay = host == Host::Program && reads_files_alone;
    config.own.every.span().filter(|_| !config.once && !is_replay)
}

/// Returns units and interval of these channels, to stand behind what the configuration declares.
pub fn declarations(every: Duration) -> Vec<Declaration> {
    let pattern = |text: &str| text.parse().expect("the names of this module are patterns");
    let of_figure = |figure: &Figure| Declaration {
        unit: figure.unit.map(str::to_owned),
        interval_ns: Some(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)),
        ..Declaration::of(pattern(figure.channel))
    };
    FIGURES.iter().map(of_figure).collect()
}

impl OwnFigures {
    /// Starts to record a row every so often, the first one after that time. Call it within a runtime.
    pub fn start(asked: Asked, every: Duration) -> Self {
        let source = asked.intake.source(INPUT, Manner::Live);
        Self(tokio::spawn(run(asked, source, every)))
    }
}

impl Drop for OwnFigures {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(asked: Asked, source: Source, every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await; // the first one is at once
    let (mut line, mut quiet_at) = (0, 0);
    loop {
        tick.tick().await;
        let (respond, response) = oneshot::channel();
        if asked.ask.send(respond).await.is_err() {
            return;
        }
        let Ok(report) = response.await else { return };
        let recorded = asked.costs.samples();
        if !is_worth_it(&report, recorded > quiet_at) {
            continue;
        }
        line += 1;
        let row = row::of(&facts(&asked, &report, recorded));
        quiet_at = recorded + row.fields.len() as u64;
        let stamped = Stamped::at(row, asked.clock.wall(), asked.clock.mono());
        let shown = Shown { line, text: b"the agent's own figures" };
        if source.push(stamped, shown) == Err(Refused::Closed) {
            return;
        }
    }
}

/// Whether a row is worth its bytes; `others` says whether anything but figures was recorded since the last one.
fn is_worth_it(report: &DeliveryReport, others: bool) -> bool {
    let is_up = report.link.standing.stage == Stage::Up;
    is_up || others && report.spool_fault.is_none()
}

fn facts(asked: &Asked, report: &DeliveryReport, recorded: u64) -> Facts {
    let wall = asked.clock.wall();
    let process = process::look();
    let lost_at_start: u64 = asked.about.lost_at_start.iter().map(|(_, lost)| lost).sum();
    Facts {
        uptime: report.at.since(asked.started),
        cpu: process.cpu,
        rss_bytes: process.rss_bytes,
        recorded,
        refused: asked.intake.ledger().total(),
        refused_by: refused_by(&asked.intake),
        absent: asked.intake.left_out().map(|left_out| left_out.total()),
        lost: lost_at_start + report.lanes.iter().map(|lane| lane.lost).sum::<u64>(),
        queue_bytes: asked.intake.queued_bytes() as u64,
        samples: report.lanes.map(|lane| lane.samples),
        oldest_age: report.oldest.map(|oldest| wall.nanos_since(oldest)),
        spool_bytes: report.lanes.iter().map(|lane| lane.bytes).sum(),
        limit_bytes: asked.about.limit_bytes,
        memory_mode: report.spool_fault.is_some(),
        connects: report.link.sessions,
        rtt: report.link.rtt,
        ack_time: report.link.ack_time,
        sent_bytes: report.link.sent_bytes,
    }
}

/// Sums up refusals by reason, over all inputs and lanes, in the order of their first.
fn refused_by(intake: &Intake) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for refusal in intake.ledger().refusals() {
        if let Some((_, sum)) = sums.iter_mut().find(|(reason, _)| *reason == refusal.reason) {
            *sum += refusal.count;
        } else if sums.len() < REASONS_MAX {
            sums.push((refusal.reason, refusal.count));
        }
    }
    sums
}

/// What refusals of these rows are counted under.
const INPUT: &str = "self";

/// Reasons that have a channel of their own. There are about twenty in all, and a robot meets few; beyond it only the sum
/// grows.
pub const REASONS_MAX: usize = 16;

#[cfg(test)]
mod tests;
