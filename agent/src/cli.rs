//! `muster-agent`'s command line: what was typed becomes a [`Config`], once; what went wrong becomes one sentence and
//! an exit code.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but accepted samples were lost. Lines
//! that inputs refuse were never accepted: they are counted and shown, and do not change the exit code.

mod args;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use muster_program::{
    console::{Console, EXIT_FAILED, EXIT_LOSS, EXIT_USAGE},
    logging,
    overlay::{OverlayError, overlay},
};
use muster_protocol::settings::{Settings, SettingsError};

use crate::{
    config::{Config, ConfigError, PROGRAM},
    doctor,
    inspect::{self, Finding, Inspection},
    program, status,
};

use args::{Command, LowArgs, Output};

/// Runs the program with these arguments, the first of which is its name, until it is done.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match LowArgs::parse(args) {
        Ok(typed) => typed,
        Err(answer) => return CONSOLE.answer_for_usage(&answer),
    };
    if let Some(Command::Spool(command)) = &typed.command {
        return inspect_spool(&command.inspection());
    }
    match meaning(&typed) {
        Ok(Meaning::Print(text)) => CONSOLE.print(&text),
        Ok(Meaning::Run(config)) => run(*config),
        Ok(Meaning::Status(spool, output)) => show_status(&spool, output),
        Ok(Meaning::Doctor(patient, output)) => examine(patient.as_deref(), output),
        Err(error) => CONSOLE.fail(&error, EXIT_USAGE),
    }
}

/// What was asked for.
enum Meaning {
    /// Show this on stdout.
    Print(String),
    /// Be an agent.
    Run(Box<Config>),
    /// Ask the agent on this spool.
    Status(PathBuf, Output),
    /// Examine this, or say why it cannot be.
    Doctor(Result<Box<Patient>, String>, Output),
}

/// A configuration, and what is wrong with it that leaves it usable.
struct Patient {
    config: Config,
    problem: Option<String>,
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
    if let Some(Command::Doctor { output }) = typed.command {
        return Ok(Meaning::Doctor(patient(typed).map(Box::new).map_err(|error| error.to_string()), output));
    }
    let mut settings = Settings::defaults(&PROGRAM);
    if typed.command.is_some() {
        // Which robot it is, the agent says itself.
        settings.set("robot", "--robot", &["any/robot".to_owned()]).map_err(ConfigError::from)?;
    }
    overlay(&mut settings, typed.config.as_deref(), typed.flags())?;
    if let Some(Command::Status { output }) = typed.command {
        let config = Config::from_settings(&settings)?;
        return Ok(Meaning::Status(config.spool.dir, output));
    }
    let config = Config::from_settings(&settings);
    match config {
        // A file can be printed before it is complete, so that it can be completed.
        Ok(_) | Err(ConfigError::Settings(SettingsError::Missing { .. })) if typed.print_config => {
            Ok(Meaning::Print(settings.print()))
        }
        config => Ok(Meaning::Run(Box::new(config?))),
    }
}

/// Takes what an agent would be told. One that is not told who it is can be examined all the same.
fn patient(typed: &LowArgs) -> Result<Patient, MeaningError> {
    let mut settings = Settings::defaults(&PROGRAM);
    overlay(&mut settings, typed.config.as_deref(), typed.flags())?;
    let mut problem = None;
    let config = match Config::from_settings(&settings) {
        Err(ConfigError::Settings(error @ SettingsError::Missing { .. })) => {
            problem = Some(error.to_string());
            settings.set("robot", "--robot", &["any/robot".to_owned()]).map_err(ConfigError::from)?;
            Config::from_settings(&settings)
        }
        config => config,
    };
    Ok(Patient { config: config?, problem })
}

fn examine(patient: Result<&Patient, &String>, output: Output) -> ExitCode {
    let findings = match patient {
        Ok(patient) => doctor::examine(&patient.config, patient.problem.clone()),
        Err(why) => doctor::unusable(why.clone()),
    };
    let text = if output == Output::Json { doctor::json(&findings) } else { doctor::lines(&findings) };
    let printed = CONSOLE.print(&text);
    let is_broken = doctor::worst(&findings) == doctor::Level::Fail;
    if is_broken && printed == ExitCode::SUCCESS { ExitCode::from(EXIT_FAILED) } else { printed }
}

fn run(config: Config) -> ExitCode {
    if let Err(error) = logging::start(config.log.format) {
        return CONSOLE.fail(&error, EXIT_USAGE);
    }
    CONSOLE.end(program::run(config))
}

fn show_status(spool: &Path, output: Output) -> ExitCode {
    match status::ask(spool) {
        Ok((line, _)) if output == Output::Json => CONSOLE.print(&line),
        Ok((_, report)) => CONSOLE.print(&status::print(&report)),
        Err(error) => CONSOLE.fail(&error, EXIT_FAILED),
    }
}

fn inspect_spool(inspection: &Inspection) -> ExitCode {
    match inspect::run(inspection, &mut io::stdout().lock()) {
        Ok(Finding::Whole) => ExitCode::SUCCESS,
        Ok(Finding::Damaged) => ExitCode::from(EXIT_LOSS),
        Err(error) => CONSOLE.fail(&error, EXIT_FAILED),
    }
}

const CONSOLE: Console = Console { program: PROGRAM.name };
