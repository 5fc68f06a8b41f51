//! The arguments as they are typed. What they mean is decided elsewhere.

mod spool;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

pub(super) use spool::SpoolCommand;

/// Takes samples in on the robot, keeps them on disk until the gateway has them durably, and streams them over QUIC or
/// MQTT.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(super) struct LowArgs {
    /// What to do instead of running an agent
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) config: Option<PathBuf>,

    /// Who this robot is, as in warehouse/r17
    #[arg(long, value_name = "FLEET/ROBOT", global = true)]
    robot: Option<String>,

    /// Way to the gateway
    #[arg(long, value_name = "URL", help = GATEWAY_HELP, global = true)]
    gateway: Vec<String>,

    /// Certificates to trust (PEM), for quic and mqtts; a gateway's own is DATA/ca.pem
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<String>,

    /// Folder in which samples are kept until the gateway has them [default: ./muster-spool]
    #[arg(long, value_name = "DIR", global = true)]
    spool: Option<String>,

    /// Where samples come from, see below; repeat for others
    #[arg(long, value_name = "INPUT", global = true)]
    input: Vec<String>,

    /// Stop when every input has ended and everything is acknowledged
    #[arg(long)]
    once: bool,

    /// Form of the logs on stderr: human or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// Print the settings as they stand, as a configuration file with every key explained, and stop
    #[arg(long)]
    pub(super) print_config: bool,
}

/// What to do instead of running an agent.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Ask the agent that runs on the spool how it is: link, backlog, losses, refusals, clock, bytes sent
    Status {
        /// Form of the answer
        #[arg(short, value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Look at everything that an agent needs, and say what to do: names, gateways, certificates, clock, disk, inputs
    #[command(after_help = DOCTOR_HELP)]
    Doctor {
        /// Form of the answer
        #[arg(short, value_name = "FORM", default_value = "table")]
        output: Output,
    },
    /// Look into a spool that no agent has open: what it holds, what is damaged, what was lost
    #[command(subcommand)]
    Spool(SpoolCommand),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Tables for people
    Table,
    /// One line of JSON
    Json,
}

impl LowArgs {
    /// Parses the arguments, the first of which is the program's name.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }

    /// Returns the flags that were given and set a key: the key, the flag, and one text for each time.
    pub(super) fn flags(&self) -> Vec<(&'static str, &'static str, Vec<String>)> {
        let one = |text: &Option<String>| text.iter().cloned().collect();
        let mut flags = vec![
            ("robot", "--robot", one(&self.robot)),
            ("gateway", "--gateway", self.gateway.clone()),
            ("ca", "--ca", one(&self.ca)),
            ("spool.dir", "--spool", one(&self.spool)),
            ("input", "--input", self.input.clone()),
            ("once", "--once", self.once.then(|| "true".to_owned()).into_iter().collect()),
            ("log.format", "--log-format", one(&self.log_format)),
        ];
        flags.retain(|(_, _, texts)| !texts.is_empty());
        flags
    }
}

/// Not a doc comment, because the URLs in it are no links.
const GATEWAY_HELP: &str = "Way to the gateway: quic://HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT; repeat for \
others, tried in order [default: quic://127.0.0.1:4443]";

const DOCTOR_HELP: &str = "\
Give it the flags or the configuration file that the agent gets. A running agent is
not disturbed, and no robot is registered.

Exit codes: 0 nothing is broken; 1 something is; 2 wrong usage.";

const AFTER_HELP: &str = "\
Inputs:
  host                   this machine's CPU, memory, disk, network, temperature...
  stdin                  NDJSON on standard input
  file:PATH              an NDJSON file, also .gz, as fast as the spool accepts
  file:PATH?speed=1      the same at recorded pace; 8 is eight times as fast
  file:PATH?shift=now    the same, with all times moved so that the first is now
  file:PATH?speed=1&shift=now
  unix:PATH              a socket that takes NDJSON from local programs
  udp:IP:PORT            datagrams of NDJSON lines

Each setting can also stand in the configuration file, or in the environment:
spool.limit is MUSTER_AGENT_SPOOL__LIMIT. --print-config shows all of
them, each with its meaning. Logs go to stderr, at the level of RUST_LOG.

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 done, but
accepted samples were lost. Lines that inputs refuse are counted, shown and
told to the gateway, and do not change the exit code.";

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
        for name in ["gateway", "spool.dir"] {
            let key = PROGRAM.keys.iter().find(|key| key.name == name).unwrap();
            assert!(help.contains(&format!("[default: {}]", key.default.unwrap())), "{name} in {help}");
        }
    }

    #[test]
    fn every_flag_sets_a_key_of_the_table() {
        let typed = LowArgs::parse(
            "muster-agent --robot f/r --gateway mqtt://h:1 --ca c --spool s --input host --once --log-format json"
                .split(' ')
                .map(OsString::from),
        );
        let flags = typed.unwrap().flags();
        assert_eq!(flags.len(), 7);
        for (key, flag, texts) in flags {
            Settings::defaults(&PROGRAM).set(key, flag, &texts).unwrap();
        }
    }

    #[test]
    fn a_flag_that_is_written_like_its_key_is_answered_with_the_flag() {
        for (typed, flag) in [
            ("--spool-dir", "--spool"),
            ("--spool.dir", "--spool"),
            ("--spool_dir", "--spool"),
            ("--spooldir", "--spool"),
            ("--gateways", "--gateway"),
            ("--ca-file", "--ca"),
            ("--inputs", "--input"),
            ("--log.format", "--log-format"),
            ("--robot-id", "--robot"),
        ] {
            let said = LowArgs::parse(["muster-agent", typed, "x"].map(Into::into)).unwrap_err().to_string();
            assert!(said.contains(&format!("'{flag}'")), "{typed}: {said}");
        }
    }
}
