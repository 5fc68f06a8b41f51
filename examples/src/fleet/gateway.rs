//! The demo's gateway: started on free ports, known by its ready line, asked over HTTP.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::{Context as _, bail};
use muster_gateway::muster::client::{Access, Client, Query};
use serde_json::Value;

use super::folder::Folder;
use crate::children::{Program, Running};

/// A gateway that serves.
#[derive(Debug)]
pub(super) struct Gateway {
    running: Running,
    ready: Ready,
    client: Client,
    ca: PathBuf,
}

/// What the ready line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) http: SocketAddr,
    pub(super) quic: SocketAddr,
    pub(super) mqtt: SocketAddr,
}

impl Gateway {
    /// Starts a gateway on free ports and waits until it serves.
    pub(super) fn start(folder: &Folder) -> anyhow::Result<Self> {
        let data = folder.join("gateway");
        let mut args: Vec<OsString> = vec!["--data-dir".into(), data.clone().into()];
        for listener in ["--http", "--quic", "--mqtt"] {
            args.extend([listener.into(), "127.0.0.1:0".into()]);
        }
        let mut running = Program::Gateway.start(&args, &folder.join("gateway.log"))?;
        let mut line = String::new();
        let output = running.take_output().context("take the gateway's output")?;
        BufReader::new(output).read_line(&mut line).context("read the gateway's ready line")?;
        let Some(ready) = parse_ready(&line) else {
            bail!("the gateway did not start: {}", running.last_words());
        };
        let access = Access { url: format!("http://{}", ready.http), ..Access::default() };
        Ok(Self { running, ready, client: Client::new(access)?, ca: data.join("ca.pem") })
    }

    /// Returns what the ready line said.
    pub(super) fn ready(&self) -> Ready {
        self.ready
    }

    /// Returns the URL to open.
    pub(super) fn url(&self) -> String {
        self.client.url().to_owned()
    }

    /// Returns the file with the certificate authority that agents trust.
    pub(super) fn ca(&self) -> &PathBuf {
        &self.ca
    }

    /// Asks the API.
    pub(super) fn ask(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.client.json(path, &Query::new())?)
    }

    /// Fails if the gateway has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.running.ended()? {
            None => Ok(()),
            Some(status) => bail!("the gateway ended ({status}): {}", self.running.last_words()),
        }
    }
}

/// Reads `muster-gateway ready http=ADDR quic=ADDR mqtt=ADDR`.
fn parse_ready(line: &str) -> Option<Ready> {
    let rest = line.trim().strip_prefix("muster-gateway ready ")?;
    let address = |name: &str| {
        rest.split(' ')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
            .and_then(|text| text.parse().ok())
    };
    Some(Ready { http: address("http")?, quic: address("quic")?, mqtt: address("mqtt")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_the_three_addresses() {
        let ready =
            parse_ready("muster-gateway ready http=127.0.0.1:1 quic=127.0.0.1:2 mqtt=127.0.0.1:3\n").unwrap();
        assert_eq!([ready.http, ready.quic, ready.mqtt].map(|address| address.port()), [1, 2, 3]);
        for line in
            ["", "error: port in use", "muster-gateway ready http=none quic=127.0.0.1:2 mqtt=127.0.0.1:3"]
        {
            assert_eq!(parse_ready(line), None, "{line}");
        }
    }
}
