//! A gateway to measure: its own process on free ports.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use muster_gateway::muster::client::{Access, Client, Query};
use serde_json::Value;

use super::{
    clock,
    process::{Process, Program},
    usage::Usage,
};

/// How an agent reaches the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// QUIC.
    Quic,
    /// MQTT, not encrypted.
    Mqtt,
}

/// A gateway that serves.
#[derive(Debug)]
pub(super) struct Gateway {
    process: Process,
    client: Client,
    http: String,
    quic: String,
    mqtt: String,
    data: PathBuf,
    /// From starting the process to its ready line.
    pub(super) ready_after: Duration,
}

impl Via {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Quic, Self::Mqtt];

    /// Returns the name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::Mqtt => "MQTT",
        }
    }
}

impl Gateway {
    /// Starts a gateway on a data folder and waits until it serves.
    pub(super) fn start(data: &Path) -> anyhow::Result<Self> {
        Self::start_at(data, &["127.0.0.1:0"; 3].map(str::to_owned))
    }

    /// Starts one again where another was, once the system gives its ports back.
    pub(super) fn start_on(data: &Path, addresses: &[String; 3]) -> anyhow::Result<Self> {
        let start = clock::now();
        loop {
            match Self::start_at(data, addresses) {
                Err(_) if clock::since(start) < PORTS_WAIT => clock::pause(SETTLE_LOOK_EVERY),
                started => return started,
            }
        }
    }

    fn start_at(data: &Path, addresses: &[String; 3]) -> anyhow::Result<Self> {
        let mut args: Vec<OsString> = vec!["--data-dir".into(), data.into()];
        for (listener, address) in ["--http", "--quic", "--mqtt"].into_iter().zip(addresses) {
            args.extend([listener.into(), address.into()]);
        }
        let start = clock::now();
        let mut process = Program::Gateway.start(&args, &data.with_extension("log"))?;
        let output = process.take_output().context("take the gateway's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("read the gateway's ready line")?;
        let ready_after = clock::since(start);
        let address = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned)
        };
        let (Some(http), Some(quic), Some(mqtt)) = (address("http"), address("quic"), address("mqtt")) else {
            bail!("the gateway did not start: {}", process.words());
        };
        let client = Client::new(Access { url: format!("http://{http}"), ..Access::default() })?;
        Ok(Self { process, client, http, quic, mqtt, data: data.to_owned(), ready_after })
    }

    /// Returns the URL for an agent.
    pub(super) fn url(&self, via: Via) -> String {
        match via {
            Via::Quic => format!("quic://{}", self.quic),
            Via::Mqtt => format!("mqtt://{}", self.mqtt),
        }
    }

    /// Returns where it listens: HTTP, QUIC, MQTT.
    pub(super) fn addresses(&self) -> [String; 3] {
        [self.http.clone(), self.quic.clone(), self.mqtt.clone()]
    }

    /// Returns the certificate authority that agents trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// Returns the data folder.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns what the process used so far.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// Waits until it has nothing left to do, and returns what it used.
    pub(super) fn settled(&self) -> anyhow::Result<Usage> {
        let (mut before, mut quiet) = (self.usage()?, 0);
        for _ in 0..SETTLE_LOOKS_MAX {
            clock::pause(SETTLE_LOOK_EVERY);
            let usage = self.usage()?;
            ensure!(!usage.ended, "the gateway ended: {}", self.process.words());
            quiet = if usage.cpu == before.cpu && usage.written == before.written { quiet + 1 } else { 0 };
            before = usage;
            if quiet == SETTLED_AFTER_LOOKS {
                break;
            }
        }
        Ok(before)
    }

    /// Asks the API for one answer.
    pub(super) fn ask(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.client.json(path, &Query::new())?)
    }

    /// Asks the API, with parameters, and takes the answer to its last byte without reading what it says.
    pub(super) fn fetch(&self, path: &str, query: &Query) -> anyhow::Result<u64> {
        Ok(std::io::copy(&mut self.client.stream(path, query)?, &mut std::io::sink())?)
    }

    /// Asks the API for lines.
    pub(super) fn lines(&self, path: &str) -> anyhow::Result<impl Iterator<Item = std::io::Result<String>>> {
        Ok(self.client.stream(path, &Query::new())?.lines())
    }

    /// Returns one of its metrics, over all labels.
    pub(super) fn metric_sum(&self, name: &str) -> anyhow::Result<u64> {
        let of_name = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit(' ').next()?.parse::<u64>().ok()
        };
        let mut sum = 0;
        for line in self.lines("/metrics")? {
            sum += of_name(&line?).unwrap_or(0);
        }
        Ok(sum)
    }

    /// Shuts it down in order.
    pub(super) fn stop(self) -> anyhow::Result<ExitStatus> {
        self.process.stop()
    }

    /// Kills it.
    pub(super) fn kill(self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// How long ports of a process that was killed may be kept.
const PORTS_WAIT: Duration = Duration::from_secs(20);

/// It has settled when so many looks in a row saw neither CPU time nor writes.
const SETTLED_AFTER_LOOKS: u32 = 3;
const SETTLE_LOOK_EVERY: Duration = Duration::from_millis(200);

/// Then it is taken as it is: something periodic goes on.
const SETTLE_LOOKS_MAX: u32 = 25;
