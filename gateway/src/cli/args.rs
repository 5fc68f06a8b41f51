//! The arguments as they are typed. What they mean is decided elsewhere.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use muster_protocol::settings::Size;

use super::age::Age;

/// Takes the telemetry of a fleet in over QUIC and MQTT, keeps it durably, and serves its state over HTTP.
#[derive(Debug, Parser)]
#[command(name = "muster-gateway", version, after_help = AFTER_HELP)]
pub(super) struct LowArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Folder of everything that the gateway keeps [default: ./muster-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Where the API is served: IP:PORT, or none [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,

    /// Where agents connect over QUIC: IP:PORT, or none [default: 127.0.0.1:4443]
    #[arg(long, value_name = "ADDR")]
    quic: Option<String>,

    /// Where agents and MQTT clients connect: IP:PORT, or none [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<String>,

    /// Listen for other machines although nothing is authenticated
    #[arg(long)]
    insecure_listen: bool,

    /// Form of the logs on stderr: human or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Print the settings as they stand, as a configuration file with every key explained, and stop
    #[arg(long)]
    pub(super) print_config: bool,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do instead of being a gateway.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Copies the data folder, also while a gateway runs on it
    #[command(after_help = BACKUP_HELP)]
    Backup {
        /// Where to: a folder that is new or empty
        dir: PathBuf,
    },
    /// Looks at the store of a data folder on which no gateway runs, or frees space in it
    Store {
        #[command(subcommand)]
        action: StoreAction,
    },
}

/// What to do with a store.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum StoreAction {
    /// Reads everything and verifies every check sum
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        target: StoreTarget,
        /// Set damaged partitions aside, rebuild what can be rebuilt, and clear what a crash left
        #[arg(long)]
        repair: bool,
    },
    /// Lists the partitions and what they hold
    List {
        #[command(flatten)]
        target: StoreTarget,
    },
    /// Frees space: drops the oldest partitions, also while a gateway runs
    #[command(after_help = TRIM_HELP)]
    Trim {
        #[command(flatten)]
        target: StoreTarget,
        /// The most that the log may occupy, as in 10GiB
        #[arg(long, value_name = "SIZE", required_unless_present = "older_than")]
        to_size: Option<Size>,
        /// Drop what was received before: how long ago, as in 30d, or an RFC 3339 time
        #[arg(long, value_name = "TIME")]
        older_than: Option<Age>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct StoreTarget {
    /// The data folder, or a backup
    pub(super) dir: PathBuf,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = OutputForm::Table)]
    pub(super) output: OutputForm,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputForm {
    /// For people
    Table,
    /// One JSON object
    Json,
}

impl LowArgs {
    /// Parses the arguments, the first of which is the program's name.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }

    /// Returns the flags that were given and set a key: the key, the flag, and its text.
    pub(super) fn flags(&self) -> Vec<(&'static str, &'static str, Vec<String>)> {
        let one = |text: &Option<String>| text.iter().cloned().collect();
        let insecure_listen = self.insecure_listen.then(|| "true".to_owned());
        let mut flags = vec![
            ("data_dir", "--data-dir", one(&self.data_dir)),
            ("http", "--http", one(&self.http)),
            ("quic", "--quic", one(&self.quic)),
            ("mqtt.listen", "--mqtt", one(&self.mqtt)),
            ("insecure_listen", "--insecure-listen", one(&insecure_listen)),
            ("log.format", "--log-format", one(&self.log_format)),
        ];
        flags.retain(|(_, _, texts): &(_, _, Vec<String>)| !texts.is_empty());
        flags
    }
}

const AFTER_HELP: &str = "\
Port 0 takes a free port. When the gateway serves, it prints one line with the
addresses on standard output. On first start it makes its own certificate
authority; agents trust DATA/ca.pem.

Each setting can also stand in the configuration file, or in the environment:
window.size is MUSTER_GATEWAY_WINDOW__SIZE. --print-config shows all of
them, each with its meaning. Logs go to stderr, at the level of RUST_LOG.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but data was lost.";

const BACKUP_HELP: &str = "\
The data folder is the one of --data-dir or the configuration; give these flags
before `backup`. To restore, copy DIR to where a gateway is to run and start it
there: the log gets a new id, and what robots released since the backup is
reported as lost with the reason `restored`. `store check DIR` verifies a copy.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration.";

const CHECK_HELP: &str = "\
Nothing in DIR is changed without --repair. Each partition is copied to the
folder for temporary files while it is looked at.

Exit codes: 0 whole; 1 failed; 2 wrong usage; 3 damaged, or something was lost.";

const TRIM_HELP: &str = "\
It says what goes, of which robots, and asks. What goes is not counted as lost: the
log begins later, as after retention. It never drops what the older of the two
checkpoints does not cover, nor the partition that is written. It needs no free
space, so it also helps on a full disk.

Exit codes: 0 done; 1 failed, not agreed to, or the goal is not reached; 2 wrong usage.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use muster_protocol::settings::Settings;

    use super::*;
    use crate::config::PROGRAM;

    #[test]
    fn the_command_line_is_well_formed() {
        LowArgs::command().debug_assert();
    }

    #[test]
    fn defaults_in_the_help_are_those_of_the_table() {
        let help: String = LowArgs::command()
            .get_arguments()
            .filter_map(|arg| arg.get_help())
            .map(ToString::to_string)
            .collect();
        for name in ["data_dir", "http", "quic", "mqtt.listen"] {
            let key = PROGRAM.keys.iter().find(|key| key.name == name).unwrap();
            assert!(help.contains(&format!("[default: {}]", key.default.unwrap())), "{name} in {help}");
        }
    }

    #[test]
    fn every_flag_sets_a_key_of_the_table() {
        let typed = LowArgs::parse(
            "muster-gateway --data-dir d --http none --quic none --mqtt none --insecure-listen --log-format json"
                .split(' ')
                .map(OsString::from),
        );
        let flags = typed.unwrap().flags();
        assert_eq!(flags.len(), 6);
        for (key, flag, texts) in flags {
            Settings::defaults(&PROGRAM).set(key, flag, &texts).unwrap();
        }
    }
}
