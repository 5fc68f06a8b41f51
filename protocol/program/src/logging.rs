//! Logs on stderr: for people or as JSON, at the level of `RUST_LOG`.

use std::io::{self, IsTerminal as _};

use muster_protocol::settings::LogFormat;
use tracing_subscriber::{EnvFilter, filter::FromEnvError, filter::LevelFilter, fmt};

/// `RUST_LOG` is not a filter.
#[derive(Debug, thiserror::Error)]
#[error("RUST_LOG is no log filter: {reason}; write a level such as info or debug, or leave it out")]
pub struct LogFilterError {
    /// What is wrong with it.
    reason: FromEnvError,
}

/// Starts logging for the life of the process, with colour only on a terminal and without `NO_COLOR`. If the process
/// logs already, that stays as it is.
pub fn start(format: LogFormat) -> Result<(), LogFilterError> {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = filter.from_env().map_err(|reason| LogFilterError { reason })?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let colour = io::stderr().is_terminal() && !no_color;
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
    // An error says that a program which embeds this one logs already: its logs are the ones wanted.
    let _ = match format {
        LogFormat::Human => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    Ok(())
}
