//! What may be typed behind `fleet`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use muster_protocol::settings::Span;

/// A gateway, this machine as a robot and four more, live in the terminal.
///
/// Keys: arrows choose a robot, k kills its agent, s starts it again, q ends the demo.
#[derive(Debug, Parser)]
#[command(name = "fleet", version)]
pub(super) struct Options {
    /// Replay the first four .ndjson and .ndjson.gz logs of this folder [default: ../shared/data/replay if it is there]
    #[arg(long, value_name = "DIR", conflicts_with = "simulate")]
    logs: Option<PathBuf>,
    /// Simulate the four robots, also where there are logs
    #[arg(long)]
    simulate: bool,
    /// Keep all data in this folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// End by itself after this time, such as 20s
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Span>,
    /// Kill the agent of this robot, to see it late, stale and down
    #[arg(long, value_name = "ROBOT")]
    pub(super) kill: Option<String>,
    /// When to kill it
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "kill")]
    after: Span,
}

impl Options {
    /// Returns how long to run; `None` until it is ended.
    pub(super) fn span(&self) -> Option<Duration> {
        self.span.map(Span::duration)
    }

    /// Returns when to kill what is to be killed.
    pub(super) fn after(&self) -> Duration {
        self.after.duration()
    }

    /// Returns the logs to replay, sorted by name; none where the robots are to be simulated.
    pub(super) fn logs(&self) -> anyhow::Result<Vec<PathBuf>> {
        if self.simulate {
            return Ok(Vec::new());
        }
        let Some(folder) = &self.logs else {
            let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(LOGS_DEFAULT);
            let found =
                [Path::new(LOGS_DEFAULT), &beside].into_iter().find_map(|folder| logs_in(folder).ok());
            return Ok(found.unwrap_or_default());
        };
        let logs = logs_in(folder).with_context(|| format!("read the logs in {}", folder.display()))?;
        anyhow::ensure!(!logs.is_empty(), "{} holds no .ndjson and no .ndjson.gz", folder.display());
        Ok(logs)
    }
}

fn logs_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.canonicalize()?;
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".ndjson") || name.ends_with(".ndjson.gz") {
            logs.push(entry.path());
        }
    }
    logs.sort();
    Ok(logs)
}

/// Where real robot logs lie beside a checkout.
const LOGS_DEFAULT: &str = "../shared/data/replay";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_folder_without_logs_is_named() {
        let options = Options::parse_from(["fleet", "--logs", env!("CARGO_MANIFEST_DIR")]);
        assert!(options.logs().unwrap_err().to_string().contains("holds no .ndjson"));
    }
}
