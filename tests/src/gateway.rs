//! A real gateway: started, asked over HTTP, killed, and started again on the same folder and ports.

use std::{
    io::{self, BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::mpsc::sync_channel,
    thread,
};

use serde_json::Value;

use crate::{
    facts::{Facts, Words},
    patience::{PATIENCE, wait_for},
    process::{Process, Programs, Which},
};

/// How to start a gateway.
#[derive(Clone, Debug)]
pub struct GatewayPlan {
    programs: Programs,
    data: PathBuf,
    listen: Listen,
    environment: Vec<(String, String)>,
    /// The program that starts it, with its arguments.
    starter: Vec<String>,
}

/// Where a gateway listens.
#[derive(Clone, Debug)]
struct Listen {
    http: String,
    quic: String,
    mqtt: String,
}

/// A way from an agent to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `quic://`
    Quic,
    /// `mqtt://`
    Mqtt,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    plan: GatewayPlan,
}

impl Transport {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Quic, Self::Mqtt];

    /// Returns its name, as in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Mqtt => "mqtt",
        }
    }
}

impl GatewayPlan {
    /// Plans a gateway on a folder, on free ports.
    pub(crate) fn new(programs: Programs, data: PathBuf) -> Self {
        let free = || "127.0.0.1:0".to_owned();
        let listen = Listen { http: free(), quic: free(), mqtt: free() };
        Self { programs, data, listen, environment: Vec::new(), starter: Vec::new() }
    }

    /// Is started by this program, which becomes it.
    #[must_use]
    pub fn started_by(mut self, starter: &[&str]) -> Self {
        self.starter = starter.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Sets a key by its environment variable, without the prefix.
    #[must_use]
    pub fn set(mut self, variable: &str, text: &str) -> Self {
        self.environment.push((format!("MUSTER_GATEWAY_{variable}"), text.to_owned()));
        self
    }

    /// Listens to agents on this address of its network, which may be one that others reach.
    #[must_use]
    pub fn reached_at(mut self, address: &str) -> Self {
        self.listen.quic = format!("{address}:0");
        self.listen.mqtt = format!("{address}:0");
        self.set("INSECURE_LISTEN", "true")
    }

    /// Takes another folder.
    #[must_use]
    pub fn on(mut self, data: PathBuf) -> Self {
        self.data = data;
        self
    }

    /// Starts it and waits until it serves.
    pub fn start(mut self) -> Gateway {
        let mut process = self.spawn();
        let ready = ready_line(&mut process);
        self.listen = Listen::of(&ready).unwrap_or_else(|| {
            panic!("the gateway is not ready: `{}`; it said:\n{}", ready.trim(), process.said())
        });
        Gateway { process, plan: self }
    }

    /// Starts it where it has to listen on the ports of before, which the system may give back only in a while.
    fn start_again(&self) -> Process {
        wait_for("the gateway starts on its ports again", || {
            let mut process = self.spawn();
            let ready = ready_line(&mut process);
            Listen::of(&ready).map(|_| process)
        })
    }

    fn spawn(&self) -> Process {
        let mut command = self.programs.command_by(&self.starter, Which::Gateway);
        let Listen { http, quic, mqtt } = &self.listen;
        command.args(["--http", http, "--quic", quic, "--mqtt", mqtt, "--data-dir"]).arg(&self.data);
        command.envs(self.environment.iter().cloned());
        Process::start(command, "muster-gateway", &self.data.with_extension("stderr")).unwrap()
    }
}

impl Listen {
    /// Reads the ready line.
    fn of(line: &str) -> Option<Self> {
        let mut words = line.trim_end().strip_prefix("muster-gateway ready ")?.split(' ');
        let mut next = |name: &str| Some(words.next()?.strip_prefix(name)?.to_owned());
        Some(Self { http: next("http=")?, quic: next("quic=")?, mqtt: next("mqtt=")? })
    }
}

impl Gateway {
    /// Kills it with SIGKILL, where it stands.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to shut down in order; fails the test if it ends with an error.
    pub fn stop(&mut self) {
        let status = self.process.terminate();
        assert!(status.success(), "the gateway ended with {status}; it said:\n{}", self.process.said());
    }

    /// Returns its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Returns how it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Starts it again on the same folder and ports, and waits until it serves.
    pub fn start_again(&mut self) {
        self.process = self.plan.start_again();
    }

    /// Returns what it wrote to standard error, over all its starts.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Returns the URL for agents.
    pub fn url(&self, transport: Transport) -> String {
        format!("{}://{}", transport.name(), self.address(transport))
    }

    /// Returns the address that agents connect to.
    pub fn address(&self, transport: Transport) -> SocketAddr {
        let at = match transport {
            Transport::Quic => &self.plan.listen.quic,
            Transport::Mqtt => &self.plan.listen.mqtt,
        };
        at.parse().expect("a ready line has addresses")
    }

    /// Returns the port of its MQTT listener.
    pub fn mqtt_port(&self) -> u16 {
        self.address(Transport::Mqtt).port()
    }

    /// Returns the URL of its API.
    pub fn http(&self) -> String {
        format!("http://{}", self.plan.listen.http)
    }

    /// Returns the file that agents have to trust.
    pub fn ca(&self) -> PathBuf {
        self.plan.data.join("ca.pem")
    }

    /// Returns its data folder.
    pub fn data(&self) -> &Path {
        &self.plan.data
    }

    /// Returns the JSON that a path answers with; an error has its problem's detail.
    pub fn try_ask(&self, path: &str) -> anyhow::Result<Value> {
        let (status, mut body) = self.get(path)?;
        let mut text = Vec::new();
        body.read_to_end(&mut text)?;
        anyhow::ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&text));
        Ok(serde_json::from_slice(&text)?)
    }

    /// Returns the JSON that a path answers with.
    pub fn ask(&self, path: &str) -> Value {
        self.try_ask(path).unwrap()
    }

    /// Returns the value of a metric with its labels, as in `muster_sessions{transport="quic"}`.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let value = |line: String| line.strip_prefix(name)?.trim().parse().ok();
        self.lines("/metrics").ok()?.lines().map_while(Result::ok).find_map(value)
    }

    /// Returns a robot's state, once the gateway knows it.
    pub fn robot(&self, robot: &str) -> Option<Value> {
        self.try_ask(&format!("/v1/robots/{robot}")).ok()
    }

    /// Reads a robot's stored samples.
    pub fn samples(&self, robot: &str, words: &mut Words) -> Facts {
        let (status, body) = self.get(&format!("/v1/robots/{robot}/samples")).unwrap();
        assert!(matches!(status, 200 | 404), "samples of {robot}: {status}");
        if status == 404 { Facts::default() } else { Facts::of_samples(BufReader::new(body), words) }
    }

    /// Returns whether it sends a robot's stored samples to their end.
    pub fn serves_samples(&self, robot: &str) -> bool {
        let body = self.get(&format!("/v1/robots/{robot}/samples"));
        body.is_ok_and(|(status, mut body)| status == 200 && io::copy(&mut body, &mut io::sink()).is_ok())
    }

    /// Returns the lines of a robot's stored samples as they are sent.
    pub fn sample_lines(&self, robot: &str) -> String {
        let (status, mut body) = self.get(&format!("/v1/robots/{robot}/samples")).unwrap();
        assert_eq!(status, 200, "samples of {robot}");
        let mut text = String::new();
        body.read_to_string(&mut text).expect("the samples are text to their end");
        text
    }

    /// Returns the lines of an answer as they come.
    pub(crate) fn lines(&self, path: &str) -> anyhow::Result<impl BufRead + use<>> {
        let (status, body) = self.get(path)?;
        anyhow::ensure!(status == 200, "{path}: {status}");
        Ok(BufReader::new(body))
    }

    fn get(&self, path: &str) -> anyhow::Result<(u16, impl Read + use<>)> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let client = ureq::Agent::new_with_config(config.build());
        let answer = client.get(format!("{}{path}", self.http())).call()?;
        Ok((answer.status().as_u16(), answer.into_body().into_reader()))
    }
}

/// Reads the one line of a gateway that serves; empty when it ended instead.
fn ready_line(process: &mut Process) -> String {
    let stdout = process.take_stdout();
    let (told, line) = sync_channel(1);
    // A pipe has no read with a deadline. The thread ends with the process that writes to it.
    thread::spawn(move || {
        let mut text = String::new();
        let _ = BufReader::new(stdout).read_line(&mut text);
        let _ = told.send(text);
    });
    line.recv_timeout(PATIENCE).unwrap_or_default()
}
