//! What was typed.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

/// What is measured, and with which logs.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) parts: Vec<Part>,
    pub(super) logs: PathBuf,
    /// One short run of everything: to see that it works, not for figures.
    pub(super) quick: bool,
}

/// One measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Parsing, encoding and decoding on one thread.
    Codec,
    /// Logs at full speed through both programs.
    Throughput,
    /// Bytes on the link for each sample.
    Wire,
    /// From sample to acknowledgement.
    Latency,
    /// Most memory of both programs.
    Memory,
    /// Bytes written to disk for each byte of samples.
    Disk,
    /// A gateway with a full data folder.
    Start,
    /// An agent with a full spool.
    SpoolStart,
    /// Questions to a large fleet.
    Query,
    /// A fleet that comes back to a gateway that was killed.
    Reconnect,
    /// An hour's backlog over emulated links. Root only.
    Catchup,
    /// Live data on a link that the backlog saturates. Root only.
    LiveFirst,
}

/// How it is called.
pub(super) const USAGE: &str = "usage: bench [all|codec|throughput|wire|latency|memory|disk|start|spool/start|query|connections/reconnect|catchup|live-first]... [--logs DIR] [--quick]\n\
     BENCH_SESSIONS=N sets how many sessions come back in connections/reconnect [default: 1000].\n\
     BENCH_LINK=PART measures catchup over those links alone whose names contain this.\n\
     `all` is without the last two, which need root and emulate links in network namespaces.\n\
     DIR holds the robot logs as NDJSON, .gz too [default: ../shared/data/replay]";

impl Options {
    /// Parses the arguments behind the program's name.
    pub(super) fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { parts: Vec::new(), logs: LOGS_DEFAULT.into(), quick: false };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--logs" => options.logs = args.next().context("--logs needs a folder")?.into(),
                "--quick" => options.quick = true,
                "all" => options.parts.extend(Part::ANYWHERE),
                name => {
                    match Part::ANYWHERE.into_iter().chain(Part::ROOT_ONLY).find(|part| part.name() == name) {
                        Some(part) => options.parts.push(part),
                        None => bail!("there is no measure `{name}`"),
                    }
                }
            }
        }
        if options.parts.is_empty() {
            options.parts.extend(Part::ANYWHERE);
        }
        Ok(options)
    }
}

impl Part {
    const ANYWHERE: [Self; 10] = [
        Self::Codec,
        Self::Throughput,
        Self::Wire,
        Self::Latency,
        Self::Memory,
        Self::Disk,
        Self::Start,
        Self::SpoolStart,
        Self::Query,
        Self::Reconnect,
    ];
    const ROOT_ONLY: [Self; 2] = [Self::Catchup, Self::LiveFirst];

    /// Returns the name on the command line and in BENCHMARKS.md.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Codec => "codec",
            Self::Throughput => "throughput",
            Self::Wire => "wire",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Start => "start",
            Self::SpoolStart => "spool/start",
            Self::Query => "query",
            Self::Reconnect => "connections/reconnect",
            Self::Catchup => "catchup",
            Self::LiveFirst => "live-first",
        }
    }
}

const LOGS_DEFAULT: &str = "../shared/data/replay";
