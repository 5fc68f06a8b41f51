//! `muster-gateway`'s command line: what was typed becomes a [`Config`], once; what went wrong becomes one sentence and
//! an exit code.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but data was lost.

mod age;
mod args;
mod store;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use muster_program::{
    console::{Console, EXIT_FAILED, EXIT_USAGE, sentence},
    logging,
    overlay::{OverlayError, overlay},
};
use muster_protocol::settings::Settings;

use crate::{
    backup,
    config::{Config, ConfigError, PROGRAM},
    program,
};

use args::{Command, LowArgs};

/// Runs the program with these arguments, the first of which is its name, until it is done.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match LowArgs::parse(args) {
        Ok(typed) => typed,
        Err(answer) => return CONSOLE.answer_for_usage(&answer),
    };
    if let Some(Command::Store { action }) = &typed.command {
        return store::run(action);
    }
    match meaning(&typed) {
        Ok(Meaning::Print(text)) => CONSOLE.print(&text),
        Ok(Meaning::Run(config)) => run(*config),
        Ok(Meaning::Backup(config, to)) => take_backup(&config, &to),
        Err(error) => CONSOLE.fail(&error, EXIT_USAGE),
    }
}

/// What was asked for.
enum Meaning {
    /// Show this on stdout.
    Print(String),
    /// Be a gateway.
    Run(Box<Config>),
    /// Copy the data folder there.
    Backup(Box<Config>, PathBuf),
}

/// Why what was typed means nothing.
#[derive(Debug, thiserror::Error)]
enum MeaningError {
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Lays file, environment and flags over the defaults.
fn meaning(typed: &LowArgs) -> Result<Meaning, MeaningError> {
    let mut settings = Settings::defaults(&PROGRAM);
    overlay(&mut settings, typed.config.as_deref(), typed.flags())?;
    let config = Box::new(Config::from_settings(&settings)?);
    Ok(match &typed.command {
        _ if typed.print_config => Meaning::Print(settings.print()),
        Some(Command::Backup { dir }) => Meaning::Backup(config, dir.clone()),
        Some(Command::Store { .. }) | None => Meaning::Run(config),
    })
}

fn run(config: Config) -> ExitCode {
    if let Err(error) = logging::start(config.log.format) {
        return CONSOLE.fail(&error, EXIT_USAGE);
    }
    CONSOLE.end(program::run(config))
}

fn take_backup(config: &Config, to: &Path) -> ExitCode {
    match backup::take(&config.data_dir, to) {
        Ok(copied) => {
            let of = if copied.running { "the running gateway's" } else { "the" };
            let (log, files, bytes) = (copied.log, copied.files, copied.bytes);
            CONSOLE
                .print(&format!("copied {of} log {log} to {}: {files} files, {bytes} bytes\n", to.display()))
        }
        Err(error) => CONSOLE.fail(&sentence(&error.into()), EXIT_FAILED),
    }
}

const CONSOLE: Console = Console { program: PROGRAM.name };
