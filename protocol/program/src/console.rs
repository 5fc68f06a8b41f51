//! What a program leaves behind: its result on stdout, or one sentence on stderr, and an exit code.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// It failed.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const EXIT_USAGE: u8 = 2;
/// Done, but data was lost that had been accepted, or damage was found.
pub const EXIT_LOSS: u8 = 3;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done, or it was stopped in order.
    Done,
    /// Accepted samples were lost; loss records say which. What was refused was never accepted.
    DoneWithLoss,
}

/// Where a program says how it went.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// The program's name, which begins each sentence.
    pub program: &'static str,
}

impl Console {
    /// Ends a run, with one sentence if it failed.
    pub fn end(&self, run: anyhow::Result<Outcome>) -> ExitCode {
        match run {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::DoneWithLoss) => ExitCode::from(EXIT_LOSS),
            Err(error) => self.fail(&sentence(&error), EXIT_FAILED),
        }
    }

    /// Shows help or the version on stdout, or on stderr what is wrong with the arguments.
    pub fn answer_for_usage(&self, answer: &clap::Error) -> ExitCode {
        if answer.use_stderr() {
            let text = answer.render().to_string();
            return self.fail(&text.trim_start_matches("error: ").trim_end(), EXIT_USAGE);
        }
        match answer.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(EXIT_FAILED),
        }
    }

    /// Writes a result to stdout.
    pub fn print(&self, text: &str) -> ExitCode {
        match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => self.fail(&format_args!("cannot write to standard output: {error}"), EXIT_FAILED),
        }
    }

    /// Says on stderr what went wrong.
    pub fn fail(&self, sentence: &dyn fmt::Display, code: u8) -> ExitCode {
        // Nobody is left to tell if stderr is closed; the exit code still says it.
        let _ = writeln!(io::stderr(), "{}: {sentence}", self.program);
        ExitCode::from(code)
    }
}

/// Joins an error and its causes. One that was already told in the words of the error above it is not told again.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("the disk is full").context("write a: the disk is full").context("start");
        assert_eq!(sentence(&error), "start: write a: the disk is full");
    }
}
