//! What was typed, what it means, and the exit code.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use muster_protocol::id::RobotId;
use serde_json::Value;

use super::{
    client::{Access, Client, Query},
    doctor,
    export::{self, Order, Target},
    failure::{Failure, Outcome},
    label, losses,
    notes::{Level, LogFormat},
    pages, robot, robots, status,
    table::{Look, write_csv},
    times::When,
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

#[derive(Clone, Copy, Debug, Args)]
struct Shape {
    /// How the result is written: table, json, ndjson or csv [default: table]
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a person
    Table,
    /// One JSON value, indented
    Json,
    /// One JSON value per line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The fleet in a few lines: robots, links, freshness, health, samples
    Status {
        #[command(flatten)]
        shape: Shape,
    },
    /// One line per robot
    Robots {
        #[arg(long, value_name = "F", allow_hyphen_values = true, help = SORT_HELP)]
        sort: Option<String>,
        /// The most robots to show
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// One robot's whole state: link, health, completeness, loss, clock, and each channel's newest value
    Robot {
        /// FLEET/ROBOT
        id: RobotId,
        #[command(flatten)]
        shape: Shape,
    },
    /// What a robot is called by: lists its labels, or sets (KEY=VALUE) and removes (KEY-) an operator's
    Label {
        /// FLEET/ROBOT
        id: RobotId,
        /// KEY=VALUE sets a label, KEY- removes it
        #[arg(value_name = "KEY=VALUE | KEY-")]
        changes: Vec<label::Change>,
        #[command(flatten)]
        shape: Shape,
    },
    /// What a robot lost, one line per loss record, the oldest first
    Losses {
        /// FLEET/ROBOT
        id: RobotId,
        /// The most losses to show
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// What is wrong with the gateway and its robots, and what to do; fails if anything is an error
    Doctor {
        /// The most conditions to show
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// Every stored sample of a robot into a file, .ndjson or .csv
    Export(Export),
    /// A script that completes this command line, as in `source <(muster completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The manual page in roff, as in `muster man robots | man -l -`
    Man {
        /// A command's own page
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Export {
    /// FLEET/ROBOT
    id: RobotId,
    /// From this time on: RFC 3339, -15m, or integer nanoseconds
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    since: Option<When>,
    /// Before this time
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    until: Option<When>,
    /// Only the channels that match; knows * and ?
    #[arg(long, value_name = "GLOB")]
    channels: Option<String>,
    /// The file, its format by its ending; `-` for NDJSON on stdout
    #[arg(short = 'o', value_name = "FILE", allow_hyphen_values = true)]
    file: PathBuf,
}

fn run(typed: Typed) -> Result<Outcome, Failure> {
    match &typed.command {
        Command::Completions { shell } => print(&pages::completions(Typed::command(), *shell))?,
        Command::Man { of } => print(&man_page(of.as_deref())?)?,
        _ => return ask(typed),
    }
    Ok(Outcome::Done)
}

fn man_page(of: Option<&str>) -> Result<String, Failure> {
    let page = pages::man(Typed::command(), of)?;
    page.ok_or_else(|| {
        let name = of.unwrap_or_default();
        Failure::Usage(format!("there is no command {name:?}; `muster --help` lists them"))
    })
}

/// Carries out a command that asks the gateway.
fn ask(typed: Typed) -> Result<Outcome, Failure> {
    let access = access(&typed)?;
    match typed.command {
        Command::Status { shape } => {
            let client = Client::new(access)?;
            let fleet = client.json("/v1/fleet", &Query::new())?;
            print_status(&client, &fleet, shape.or(typed.shape))?;
        }
        Command::Robots { sort, limit, shape } => {
            let listed = robots::fetch(&Client::new(access)?, sort.as_deref(), limit)?;
            print_robots(&listed.robots, shape.or(typed.shape))?;
            if listed.more {
                typed
                    .log_format
                    .say(Level::Warn, &format!("there are more robots than {limit}: raise --limit"));
            }
        }
        Command::Robot { id, shape } => {
            let state = Client::new(access)?.json(&format!("/v1/robots/{id}"), &Query::new())?;
            print_robot(&state, shape.or(typed.shape))?;
        }
        Command::Label { id, changes, shape } => {
            let labels = label::run(&Client::new(access)?, &id, &changes)?;
            print_labels(&labels, shape.or(typed.shape))?;
            if let Some(told) = label::left_over(&labels, &changes) {
                typed.log_format.say(Level::Warn, &told);
            }
        }
        Command::Losses { id, limit, shape } => {
            let listed = losses::fetch(&Client::new(access)?, &id, limit)?;
            print_losses(&listed.losses, shape.or(typed.shape))?;
            if listed.more {
                let told = format!("there are more losses than {limit}: raise --limit");
                typed.log_format.say(Level::Warn, &told);
            }
        }
        Command::Doctor { limit, shape } => {
            let client = Client::new(access)?;
            let report = doctor::fetch(&client, limit)?;
            print_report(&client, &report, shape.or(typed.shape))?;
            if report.more {
                let told = format!("there are more conditions than {limit}: raise --limit");
                typed.log_format.say(Level::Warn, &told);
            }
            return Ok(report.outcome());
        }
        Command::Export(export) => {
            let target = Target::new(&export.file, typed.shape.export_format()?)?;
            let Export { id, since, until, channels, .. } = export;
            let order = Order { robot: id, since, until, channels, target };
            return export::run(&Client::new(access)?, &order, typed.log_format);
        }
        Command::Completions { .. } | Command::Man { .. } => unreachable!("these ask nobody"),
    }
    Ok(Outcome::Done)
}

fn print_status(client: &Client, fleet: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&status::render(client.url(), fleet, look())),
        Output::Csv => {
            let (header, row) = status::csv(fleet);
            let header: Vec<_> = header.iter().map(String::as_str).collect();
            write_csv(io::stdout().lock(), &header, [row])
        }
        Output::Json | Output::Ndjson => print_json(fleet, output),
    }
}

fn print_robots(robots: &[Value], output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&robots::render(robots, look())),
        Output::Json => print_json(&Value::from(robots), output),
        Output::Ndjson => robots.iter().try_for_each(|robot| print_json(robot, output)),
        Output::Csv => {
            let header = robots::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, robots.iter().map(robots::csv))
        }
    }
}

fn print_losses(losses: &[Value], output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&losses::render(losses, look())),
        Output::Json => print_json(&Value::from(losses), output),
        Output::Ndjson => losses.iter().try_for_each(|loss| print_json(loss, output)),
        Output::Csv => {
            let header = losses::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, losses.iter().map(losses::csv))
        }
    }
}

fn print_labels(labels: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&label::render(labels, look())),
        Output::Csv => write_csv(io::stdout().lock(), &label::CSV_HEADER, label::csv(labels)),
        Output::Json | Output::Ndjson => print_json(labels, output),
    }
}

fn print_report(client: &Client, report: &doctor::Report, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&doctor::render(client.url(), report, look())),
        Output::Json => print_json(&report.json(), output),
        Output::Ndjson => report.conditions.iter().try_for_each(|condition| print_json(condition, output)),
        Output::Csv => {
            let header = doctor::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, report.conditions.iter().map(doctor::csv))
        }
    }
}

fn print_robot(state: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&robot::render(state, look())),
        Output::Csv => write_csv(io::stdout().lock(), &robot::CSV_HEADER, robot::csv(state)),
        Output::Json | Output::Ndjson => print_json(state, output),
    }
}

fn print_json(value: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => print(&format!("{value:#}\n")),
        _ => print(&format!("{value}\n")),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn look() -> Look {
    Look::of_stdout(env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
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

impl Shape {
    /// What was said behind the command wins over what was said before it.
    fn or(self, outer: Self) -> Output {
        self.output.or(outer.output).unwrap_or(Output::Table)
    }

    fn export_format(self) -> Result<Option<export::Format>, Failure> {
        match self.output {
            None => Ok(None),
            Some(Output::Ndjson) => Ok(Some(export::Format::Ndjson)),
            Some(Output::Csv) => Ok(Some(export::Format::Csv)),
            Some(Output::Table | Output::Json) => Err(Failure::Usage(
                "an export is NDJSON or CSV: name a file that ends in .ndjson or .csv".to_owned(),
            )),
        }
    }
}

const SORT_HELP: &str =
    "Sort by id, health, last_heard, link, lost, on_robot or samples; with a - in front, descending";

/// Where a gateway without a configuration listens.
const URL_DEFAULT: &str = "http://127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

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
            let Command::Robots { shape, .. } = typed.command else { panic!("{line}") };
            assert_eq!(shape.or(typed.shape), Output::Csv, "{line}");
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
    fn wrong_usage_is_refused_by_name() {
        for (line, named) in [
            ("muster robot warehouse", "FLEET/ROBOT"),
            ("muster export a/b", "-o <FILE>"),
            ("muster export a/b -o x.csv --since yesterday", "RFC 3339"),
            ("muster robots --limit x", "--limit"),
            ("muster label a/b site", "KEY=VALUE"),
            ("muster nothing", "nothing"),
        ] {
            let error = typed(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(named), "{line}: {error}");
        }
    }
}
