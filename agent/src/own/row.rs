//! The table of the agent's own figures, and one row of them. Pure.

use std::{fmt::Write as _, time::Duration};

use muster_protocol::{
    id::ChannelName,
    sample::{Row, Value},
};

/// What is known of an agent at one moment; see [`FIGURES`].
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) uptime: Duration,
    pub(super) cpu: Option<Duration>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) recorded: u64,
    pub(super) refused: u64,
    /// By reason, at most [`REASONS_MAX`](super::REASONS_MAX).
    pub(super) refused_by: Vec<(&'static str, u64)>,
    /// `None` if no channel declares such values.
    pub(super) absent: Option<u64>,
    pub(super) lost: u64,
    pub(super) queue_bytes: u64,
    /// Samples that wait, by lane.
    pub(super) samples: [u64; 3],
    /// The age of the oldest that waits, in nanoseconds; `None` if none does.
    pub(super) oldest_age: Option<i64>,
    pub(super) spool_bytes: u64,
    pub(super) limit_bytes: u64,
    pub(super) memory_mode: bool,
    pub(super) connects: u64,
    pub(super) rtt: Option<Duration>,
    pub(super) ack_time: Option<Duration>,
    pub(super) sent_bytes: u64,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its channel, or the pattern of several.
    pub channel: &'static str,
    /// Its unit (UCUM); `None` of what has none.
    pub unit: Option<&'static str>,
    /// What it says.
    pub says: &'static str,
    /// Its value; of several channels, none here.
    of: fn(&Facts) -> Option<Value>,
}

/// Every figure, in the order of a row. The module's table is made of it.
pub const FIGURES: [Figure; 19] = [
    figure("muster.agent.uptime_s", "s", "Since the agent started.", |facts| Some(seconds(facts.uptime))),
    figure("muster.agent.cpu_s", "s", "Processor time that its process used since then.", |facts| {
        facts.cpu.map(seconds)
    }),
    figure("muster.agent.rss_bytes", "By", "Memory of its process that is resident.", |facts| {
        facts.rss_bytes.map(count)
    }),
    figure(
        "muster.agent.recorded",
        "1",
        "Samples that went to the spool since the start, these too.",
        |facts| Some(count(facts.recorded)),
    ),
    figure(
        "muster.agent.refused",
        "1",
        "Rows and lines that inputs were refused since the start.",
        |facts| Some(count(facts.refused)),
    ),
    figure(
        "muster.agent.absent",
        "1",
        "Samples left out since the start: their value is declared to be none.",
        |facts| facts.absent.map(count),
    ),
    figure(
        "muster.agent.lost",
        "1",
        "Samples lost since the start: the spool was full, or damaged.",
        |facts| Some(count(facts.lost)),
    ),
    figure(
        "muster.agent.queue_bytes",
        "By",
        "Rows between the inputs and the recorder, in memory.",
        |facts| Some(count(facts.queue_bytes)),
    ),
    figure("muster.agent.spool.samples", "1", "Samples that wait for their acknowledgement.", |facts| {
        Some(count(facts.samples.iter().sum()))
    }),
    figure("muster.agent.spool.urgent_samples", "1", "Those of them in the urgent lane.", |facts| {
        facts.samples.first().copied().map(count)
    }),
    figure(
        "muster.agent.spool.oldest_age_s",
        "s",
        "The age of the oldest of them by its own time, of old segments at most.",
        |facts| Some(Value::Float(tenths(facts.oldest_age.unwrap_or(0).max(0) as f64 / 1e9))),
    ),
    figure("muster.agent.spool.bytes", "By", "Bytes of the spool on disk.", |facts| {
        Some(count(facts.spool_bytes))
    }),
    figure("muster.agent.spool.limit_bytes", "By", "The most that it may hold.", |facts| {
        Some(count(facts.limit_bytes))
    }),
    Figure {
        unit: None,
        ..figure(
            "muster.agent.spool.memory_mode",
            "",
            "Whether its disk fails and samples are kept in memory only.",
            |facts| Some(Value::Bool(facts.memory_mode)),
        )
    },
    figure("muster.agent.link.connects", "1", "Sessions with a gateway since the start.", |facts| {
        Some(count(facts.connects))
    }),
    figure("muster.agent.link.rtt_ms", "ms", "The round trip of the connection; over QUIC alone.", |facts| {
        facts.rtt.map(millis)
    }),
    figure(
        "muster.agent.link.ack_ms",
        "ms",
        "From sending a batch to its acknowledgement, commit included, smoothed.",
        |facts| facts.ack_time.map(millis),
    ),
    figure("muster.agent.link.sent_bytes", "By", "Bytes sent since the start, with all overhead.", |facts| {
        Some(count(facts.sent_bytes))
    }),
    figure("muster.agent.refused_by.*", "1", "The refusals by reason, the first 16 reasons.", |_| None),
];

/// What stands before a reason.
const REFUSED_BY: &str = "muster.agent.refused_by.";

/// Returns a row of what is known.
pub(super) fn of(facts: &Facts) -> Row {
    let name = |text: &str| ChannelName::new(text).expect("the names of this file and of reasons are names");
    let known = FIGURES.iter().filter_map(|figure| Some((figure.channel.to_owned(), (figure.of)(facts)?)));
    let by_reason = facts.refused_by.iter();
    let by_reason = by_reason.map(|(reason, sum)| (format!("{REFUSED_BY}{reason}"), count(*sum)));
    let fields = known.chain(by_reason).map(|(channel, value)| (name(&channel), value)).collect();
    Row { t: None, lane: None, unit: None, fields }
}

/// Returns the table for a page.
pub fn markdown() -> String {
    let mut out = "| channel | unit | what |\n|---|---|---|\n".to_owned();
    for Figure { channel, unit, says, .. } in FIGURES {
        let _ = writeln!(out, "| `{channel}` | {} | {says} |", unit.unwrap_or("-"));
    }
    out
}

const fn figure(
    channel: &'static str,
    unit: &'static str,
    says: &'static str,
    of: fn(&Facts) -> Option<Value>,
) -> Figure {
    Figure { channel, unit: Some(unit), says, of }
}

fn count(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn seconds(span: Duration) -> Value {
    Value::Float(tenths(span.as_secs_f64()))
}

fn millis(span: Duration) -> Value {
    Value::Float(tenths(span.as_secs_f64() * 1000.0))
}

/// Rounds: digits that say nothing cost bytes.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
