//! When the gateway's log was seen to hold what.

use std::io::BufRead as _;

use anyhow::Context as _;
use serde_json::Value;

use super::clock;
use crate::gateway::Gateway;

/// Looks at the log's end.
#[derive(Debug)]
pub(super) struct Timing {
    /// The next offset, and the wall clock, in nanoseconds, when it was first seen.
    seen: Vec<(u64, i64)>,
}

impl Timing {
    pub(super) fn new() -> Self {
        Self { seen: Vec::new() }
    }

    /// Looks how far the log goes.
    pub(super) fn look(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let next =
            gateway.try_ask("/v1/fleet")?["log"]["next"].as_u64().context("a log has a next offset")?;
        if self.seen.last().is_none_or(|(last, _)| *last < next) {
            self.seen.push((next, clock::reading().wall.0));
        }
        Ok(())
    }

    /// Returns the seconds from the `t` of each probe on a channel to its being stored.
    pub(super) fn seconds(
        &self,
        gateway: &Gateway,
        (robot, channel): (&str, &str),
        sent: &[i64],
    ) -> anyhow::Result<Vec<f64>> {
        let path = format!("/v1/robots/{robot}/samples?channels={channel}");
        let mut seconds = Vec::with_capacity(sent.len());
        for line in gateway.lines(&path)?.lines() {
            let sample: Value = serde_json::from_str(&line?)?;
            let offset = sample["o"].as_u64().context("a sample has an offset")?;
            let number = sample["v"].as_u64().context("a probe has a number")?;
            let t = sent.get(usize::try_from(number)?).context("a probe that was never sent")?;
            let at = self.seen.partition_point(|(next, _)| *next <= offset);
            let (_, seen) = self.seen.get(at).context("the log was looked at to its end")?;
            seconds.push((seen - t) as f64 / 1e9);
        }
        anyhow::ensure!(seconds.len() == sent.len(), "{} of {} probes arrived", seconds.len(), sent.len());
        Ok(seconds)
    }
}
