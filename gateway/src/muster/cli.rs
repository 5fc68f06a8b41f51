//! What was typed, what it means, and the exit code.

mod args;
mod ask;
mod print;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser};

use self::{
    args::{Command, Shape},
    ask::Asking,
    print::print,
};
use super::{
    client::{Access, Client},
    failure::{Failure, Outcome},
    notes::{Level, LogFormat},
    pages,
};

/// Runs the command line and returns its exit code: 0 done, 1 failed, 2 wrong usage, 3 done but data was lost.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed = match Typed::try_parse_from(args) {
        Ok(typed) => typed,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let log = typed.log_format;
    match run(typed) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(failure) if failure.is_closed_output() => ExitCode::SUCCESS,
        Err(failure) => {
            log.say(Level::Error, &failure.to_string());
            log.show(failure.excerpt().as_deref());
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What a Muster gateway knows of its robots.
///
/// Exit codes: 0 done; 1 failed, or `doctor` found an error; 2 wrong usage; 3 done, but the gateway knows of lost samples.
#[derive(Debug, Parser)]
#[command(name = "muster", version, arg_required_else_help = true)]
struct Typed {
    #[arg(long, value_name = "URL", global = true)]
    #[arg(help = "The gateway's HTTP address [default: $MUSTER_URL, else http://127.0.0.1:8080]")]
    url: Option<String>,
    #[arg(long, value_name = "T", global = true)]
    #[arg(help = "The token to show [default: the content of the file that $MUSTER_TOKEN_FILE names]")]
    token: Option<String>,
    /// The certificate authority to trust for https, in PEM
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// How lines on stderr are written
    #[arg(long, value_name = "FORMAT", default_value = "human", global = true)]
    log_format: LogFormat,
    #[command(flatten)]
    shape: Shape,
    #[command(subcommand)]
    command: Command,
}

fn run(typed: Typed) -> Result<Outcome, Failure> {
    match &typed.command {
        Command::Completions { shell } => print(&pages::completions(Typed::command(), *shell))?,
        Command::Man { of } => print(&man_page(of)?)?,
        _ => return ask(typed),
    }
    Ok(Outcome::Done)
}

fn man_page(of: &[String]) -> Result<String, Failure> {
    let page = pages::man(Typed::command(), of)?;
    page.ok_or_else(|| {
        Failure::Usage(format!("there is no command {:?}; `muster --help` lists them", of.join(" ")))
    })
}

fn ask(typed: Typed) -> Result<Outcome, Failure> {
    let client = Client::new(access(&typed)?)?;
    Asking { client, outer: typed.shape, log: typed.log_format }.carry_out(typed.command)
}

fn access(typed: &Typed) -> Result<Access, Failure> {
    let url =
        typed.url.clone().or_else(|| env::var("MUSTER_URL").ok()).unwrap_or_else(|| URL_DEFAULT.to_owned());
    let token = match (&typed.token, env::var_os("MUSTER_TOKEN_FILE")) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => Some(read_token(Path::new(&file))?),
        (None, None) => None,
    };
    Ok(Access { url, token, ca: typed.ca.clone() })
}

fn read_token(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file);
    let text =
        text.map_err(|source| Failure::File { action: "read the token in", path: file.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

/// Where a gateway without a configuration listens.
const URL_DEFAULT: &str = "http://127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{
        super::times::When,
        args::{Group, Output},
        *,
    };

    fn typed(line: &str) -> Result<Typed, clap::Error> {
        Typed::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn the_format_may_stand_before_or_behind_the_command() {
        for line in ["muster -o csv robots", "muster robots -o csv", "muster -o table robots -o csv"] {
            let typed = typed(line).unwrap();
            let Command::Robots(list) = typed.command else { panic!("{line}") };
            assert_eq!(list.shape.or(typed.shape), Output::Csv, "{line}");
        }
    }

    #[test]
    fn an_export_takes_times_that_start_with_a_minus() {
        let typed = typed("muster export a/b --since -15m --until 7 -o - --url http://x").unwrap();
        let Command::Export(export) = typed.command else { panic!("another command") };
        assert_eq!(export.since, Some(When::Ago(900_000_000_000)));
        assert_eq!(export.file, Path::new("-"));
        assert_eq!(typed.url.as_deref(), Some("http://x"));
    }

    #[test]
    fn expressions_and_orders_may_start_with_a_minus() {
        let typed = typed("muster robots --where -1<2 --sort -samples,id --at -15m --known now").unwrap();
        let Command::Robots(list) = typed.command else { panic!("another command") };
        assert_eq!(list.sort.as_deref(), Some("-samples,id"));
        let typed = Typed::try_parse_from(["muster", "group", "set", "low", "-1 < 2"]).unwrap();
        let Command::Group(Group::Set { name, expression, .. }) = typed.command else {
            panic!("another command")
        };
        assert_eq!((name.to_string().as_str(), expression.as_str()), ("low", "-1 < 2"));
    }

    #[test]
    fn every_command_has_an_example_that_it_takes() {
        let mut command = Typed::command();
        command.build();
        let named = |command: &clap::Command| command.get_name().to_owned();
        let (groups, mut all): (Vec<_>, Vec<_>) =
            command.get_subcommands().cloned().partition(clap::Command::has_subcommands);
        all.extend(groups.iter().filter(|c| named(c) != "help").flat_map(|c| c.get_subcommands().cloned()));
        for command in
            all.iter().chain(&groups).filter(|c| !["help", "completions", "man"].contains(&c.get_name()))
        {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<_> =
                help.lines().filter_map(|line| line.find("muster ").map(|at| &line[at..])).collect();
            assert!(!examples.is_empty(), "{}", named(command));
            for example in examples {
                Typed::try_parse_from(words(example)).unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }

    /// Splits a line as a shell does, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate();
        parts
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn wrong_usage_is_refused_by_name() {
        for (line, named) in [
            ("muster robot warehouse", "FLEET/ROBOT"),
            ("muster export a/b", "-o <FILE>"),
            ("muster export a/b -o x.csv --since yesterday", "RFC 3339"),
            ("muster robots --limit x", "--limit"),
            ("muster label a/b site", "KEY=VALUE"),
            ("muster robots --at yesterday", "RFC 3339"),
            ("muster status --known now", "--at"),
            ("muster robot a/b --at -1h --known ever", "ever"),
            ("muster robots --group a/b", "a group's name"),
            ("muster aggregate --fn min", "--of"),
            ("muster group set low", "<EXPR>"),
            ("muster group rename low", "rename"),
            ("muster nothing", "nothing"),
        ] {
            let error = typed(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(named), "{line}: {error}");
        }
    }
}
