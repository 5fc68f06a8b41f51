//! Not written yet.

use crate::config::Config;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was delivered.
    Done,
    /// Data was lost.
    DoneWithLoss,
}

/// Runs.
#[expect(clippy::needless_pass_by_value, reason = "a run owns what it was told")]
pub fn run(config: Config) -> anyhow::Result<Outcome> {
    anyhow::bail!("not written yet: {config:?}")
}
