//! What may be typed: the commands, with the options of each.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use muster_protocol::id::RobotId;

use super::super::{
    client::Client, export, failure::Failure, group::GroupName, label, question::Question, times::When,
};

/// How a result is written.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Shape {
    /// How the result is written: table, json, ndjson or csv [default: table]
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    output: Option<Output>,
}

/// A form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For a person
    Table,
    /// One JSON value, indented
    Json,
    /// One JSON value per line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
}

/// By whose knowledge the past is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Known {
    /// By what the gateway knew at that moment
    Then,
    /// With what came later
    Now,
}

/// Which robots.
#[derive(Clone, Debug, Args)]
pub(super) struct Robots {
    /// Only robots that this CEL expression describes, such as 'link.up && value("battery.soc") < 0.2'
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    r#where: Option<String>,
    /// Only robots of this group; see `muster group`
    #[arg(long, value_name = "NAME")]
    group: Option<GroupName>,
    #[command(flatten)]
    moment: Moment,
}

/// As of when.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Moment {
    /// As it was at this time: RFC 3339, -15m, or integer nanoseconds
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    at: Option<When>,
    /// With --at: by what was known then, or with what came later [default: then]
    #[arg(long, value_name = "WHEN", requires = "at")]
    known: Option<Known>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The fleet in a few lines: robots, links, freshness, health, samples
    #[command(after_help = "Example: muster status --where 'labels.site == \"kiel\"' --at -15m")]
    Status {
        #[command(flatten)]
        robots: Robots,
        #[command(flatten)]
        shape: Shape,
    },
    /// One line per robot
    #[command(after_help = ROBOTS_EXAMPLE)]
    Robots(RobotList),
    /// One robot's whole state: link, health, completeness, loss, clock, and each channel's newest value
    #[command(after_help = "Example: muster robot warehouse/r17 --at 2026-03-01T12:00:00Z")]
    Robot {
        /// FLEET/ROBOT
        id: RobotId,
        #[command(flatten)]
        moment: Moment,
        #[command(flatten)]
        shape: Shape,
    },
    /// Robots taken together: one line per group and name, with how fresh the values are
    #[command(after_help = AGGREGATE_EXAMPLE)]
    Aggregate(Aggregate),
    /// Groups of robots: expressions that are saved by name, for --group
    #[command(subcommand, after_help = GROUP_EXAMPLE)]
    Group(Group),
    /// What a robot is called by: lists its labels, or sets (KEY=VALUE) and removes (KEY-) an operator's
    #[command(after_help = "Example: muster label warehouse/r17 site=kiel line-")]
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
    #[command(after_help = "Example: muster losses warehouse/r17 -o csv")]
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
    #[command(after_help = "Example: muster doctor -o ndjson")]
    Doctor {
        /// The most conditions to show
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        shape: Shape,
    },
    /// Every stored sample of a robot into a file, .ndjson or .csv
    #[command(after_help = "Example: muster export warehouse/r17 --since -15m --channels 'imu.*' -o imu.csv")]
    Export(Export),
    /// A script that completes this command line, as in `source <(muster completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// The manual page in roff, as in `muster man robots | man -l -`
    Man {
        /// A command's own page, as in `muster man group set`
        #[arg(value_name = "COMMAND")]
        of: Vec<String>,
    },
}

/// What is done with groups.
#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// All groups, by name
    #[command(after_help = "Example: muster group list -o csv")]
    List {
        #[command(flatten)]
        shape: Shape,
    },
    /// One group
    #[command(after_help = "Example: muster group show low")]
    Show {
        /// The group's name
        name: GroupName,
        #[command(flatten)]
        shape: Shape,
    },
    /// Saves an expression by a name, or another one by a name that is taken
    #[command(after_help = "Example: muster group set low 'value(\"battery.soc\") < 0.2'")]
    Set {
        /// The group's name
        name: GroupName,
        /// The CEL expression that describes its robots
        #[arg(value_name = "EXPR", allow_hyphen_values = true)]
        expression: String,
        #[command(flatten)]
        shape: Shape,
    },
    /// Removes a group; its robots stay
    #[command(after_help = "Example: muster group delete low")]
    Delete {
        /// The group's name
        name: GroupName,
    },
}

/// What a list of robots takes.
#[derive(Debug, Args)]
pub(super) struct RobotList {
    #[command(flatten)]
    pub(super) robots: Robots,
    #[arg(long, value_name = "F,F", allow_hyphen_values = true, help = SORT_HELP)]
    pub(super) sort: Option<String>,
    /// Show these columns: members (link.state), labels (labels.site), channels (battery.soc, battery.*)
    #[arg(long, value_name = "F,F")]
    pub(super) fields: Option<String>,
    /// The most robots to show
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) shape: Shape,
}

/// What an aggregation takes.
#[derive(Debug, Args)]
pub(super) struct Aggregate {
    /// What the robots of a group have in common, such as labels.site [default: all are one group]
    #[arg(long, value_name = "F,F")]
    pub(super) by: Option<String>,
    /// What is computed of them, such as battery.soc
    #[arg(long, value_name = "F,F")]
    pub(super) of: Option<String>,
    /// How: count, min, max, mean, sum, p1 to p99 [default: count,min,max,mean]
    #[arg(long = "fn", value_name = "FN,FN", requires = "of")]
    pub(super) functions: Option<String>,
    #[command(flatten)]
    pub(super) robots: Robots,
    #[command(flatten)]
    pub(super) shape: Shape,
}

/// What an export takes.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// FLEET/ROBOT
    pub(super) id: RobotId,
    /// From this time on: RFC 3339, -15m, or integer nanoseconds
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(super) since: Option<When>,
    /// Before this time
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(super) until: Option<When>,
    /// Only the channels that match; knows * and ?
    #[arg(long, value_name = "GLOB")]
    pub(super) channels: Option<String>,
    /// The file, its format by its ending; `-` for NDJSON on stdout
    #[arg(short = 'o', value_name = "FILE", allow_hyphen_values = true)]
    pub(super) file: PathBuf,
}

impl Shape {
    /// What was said behind the command wins over what was said before it.
    pub(super) fn or(self, outer: Self) -> Output {
        self.output.or(outer.output).unwrap_or(Output::Table)
    }

    pub(super) fn export_format(self) -> Result<Option<export::Format>, Failure> {
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

impl Robots {
    /// Returns the question; a time that counts back is counted from the gateway's now, which is asked for.
    pub(super) fn question(self, client: &Client) -> Result<Question, Failure> {
        let Self { r#where, group, moment } = self;
        Ok(Question { r#where, group, ..moment.question(client)? })
    }
}

impl Moment {
    /// Returns the question about one robot.
    pub(super) fn question(self, client: &Client) -> Result<Question, Failure> {
        let at = match self.at {
            None => None,
            Some(When::At(time)) => Some(time),
            Some(ago @ When::Ago(_)) => Some(ago.resolve(client.now()?)),
        };
        Ok(Question { at, known: self.known.map(Known::as_str), ..Question::default() })
    }
}

impl Known {
    fn as_str(self) -> &'static str {
        match self {
            Self::Then => "then",
            Self::Now => "now",
        }
    }
}

const SORT_HELP: &str =
    "Sort by members, labels or channels, the first first; with a - in front, descending [default: id]";

const ROBOTS_EXAMPLE: &str = "\
Examples:
  muster robots --where 'link.up && value(\"battery.soc\") < 0.2' --sort battery.soc
  muster robots --group low --fields labels.site,link.state,battery.* --at -15m";

const AGGREGATE_EXAMPLE: &str =
    "Example: muster aggregate --by labels.site --of battery.soc --fn count,min,p50 --where link.up";

const GROUP_EXAMPLE: &str = "\
Examples:
  muster group set low 'known(\"battery.soc\") && value(\"battery.soc\") < 0.2'
  muster robots --group low";
