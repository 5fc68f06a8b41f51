//! `muster-agent`'s command line: what was typed becomes a [`Config`], once; what went wrong becomes one sentence and
//! an exit code.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but data was lost.

mod args;

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use muster_protocol::settings::{Settings, SettingsError};

use crate::{
    config::{Config, ConfigError, PROGRAM},
    logging,
    program::{self, Outcome},
    status,
};

use args::{Command, LowArgs, Output};

/// Runs the program with these arguments, the first of which is its name, until it is done.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match LowArgs::parse(args) {
        Ok(typed) => typed,
        Err(answer) => return answer_for_usage(&answer),
    };
    match meaning(&typed) {
        Ok(Meaning::Print(text)) => print(&text),
        Ok(Meaning::Run(config)) => run(*config),
        Ok(Meaning::Status(spool, output)) => show_status(&spool, output),
        Err(error) => fail(&error, EXIT_USAGE),
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
}

/// Why what was typed means nothing.
#[derive(Debug, thiserror::Error)]
enum MeaningError {
    #[error("cannot read the configuration file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Lays file, environment and flags over the defaults.
fn meaning(typed: &LowArgs) -> Result<Meaning, MeaningError> {
    let mut settings = Settings::defaults(&PROGRAM);
    if typed.command.is_some() {
        // Which robot it is, the agent says itself.
        settings.set("robot", "--robot", &["any/robot".to_owned()]).map_err(ConfigError::from)?;
    }
    if let Some(path) = &typed.config {
        let shown = path.display().to_string();
        let text = read(path).map_err(|source| MeaningError::File { path: shown.clone(), source })?;
        settings.read_file(&text, &shown).map_err(ConfigError::from)?;
    }
    settings.read_environment(std::env::vars_os()).map_err(ConfigError::from)?;
    for (key, flag, texts) in typed.flags() {
        settings.set(key, flag, &texts).map_err(ConfigError::from)?;
    }
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

fn run(config: Config) -> ExitCode {
    if let Err(error) = logging::start(config.log.format) {
        return fail(&error, EXIT_USAGE);
    }
    match program::run(config) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::DoneWithLoss) => ExitCode::from(EXIT_LOSS),
        Err(error) => fail(&sentence(&error), EXIT_FAILED),
    }
}

fn show_status(spool: &Path, output: Output) -> ExitCode {
    match status::ask(spool) {
        Ok((line, _)) if output == Output::Json => print(&line),
        Ok((_, report)) => print(&status::print(&report)),
        Err(error) => fail(&error, EXIT_FAILED),
    }
}

/// Reads a file that somebody wrote by hand; a larger one is not what was meant.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(0..=CONFIG_BYTES_MAX) => Ok(text),
        _ => Err(io::Error::other(format!("it is longer than {CONFIG_BYTES_MAX} bytes"))),
    }
}

/// Shows help or the version on stdout, or on stderr what is wrong with the arguments.
fn answer_for_usage(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        let text = answer.render().to_string();
        return fail(&text.trim_start_matches("error: ").trim_end(), EXIT_USAGE);
    }
    match answer.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_FAILED),
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("cannot write to standard output: {error}"), EXIT_FAILED),
    }
}

/// Joins an error and its causes. One that was already told in the words of the error above it is not told again.
fn sentence(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// Says on stderr what went wrong.
fn fail(sentence: &dyn fmt::Display, code: u8) -> ExitCode {
    // Nobody is left to tell if stderr is closed; the exit code still says it.
    let _ = writeln!(io::stderr(), "{}: {sentence}", PROGRAM.name);
    ExitCode::from(code)
}

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_LOSS: u8 = 3;

/// Largest configuration file. Thousands of channel rules fit; a log given by mistake does not.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
