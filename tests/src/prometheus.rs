//! A real Prometheus on a port of its own, with a configuration of the test's.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use serde_json::Value;

use crate::{patience::PATIENCE, patience::wait_for, process::Process, scene::Scene};

/// A running Prometheus. It ends with this.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    url: String,
}

impl Prometheus {
    /// Starts one in the scene's folder with this configuration, and waits until it answers.
    pub fn start(scene: &Scene, config: &str) -> Self {
        let config = scene.file("prometheus.yml", config);
        // Prometheus tells nobody which port it took. Whoever takes this one in between costs a try.
        wait_for("a Prometheus starts on a free port", || {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
            let listen = format!("127.0.0.1:{port}");
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", scene.path(format!("tsdb-{port}")).display()));
            command.arg(format!("--web.listen-address={listen}"));
            let stderr = scene.path(format!("prometheus-{port}.stderr"));
            let mut process = Process::start(command, "prometheus", &stderr).expect("it is there");
            let url = format!("http://{listen}");
            let ready = wait_for("the Prometheus is ready or ends", || match process.ended() {
                Some(_) => Some(false),
                None => get(&format!("{url}/-/ready")).map(|_| true),
            });
            ready.then_some(Self { process, url })
        })
    }

    /// Returns the `data` of an answer of its API.
    pub fn ask(&self, path: &str) -> Option<Value> {
        let answer: Value = serde_json::from_str(&get(&format!("{}{path}", self.url))?).ok()?;
        Some(answer["data"].clone())
    }

    /// Returns what it said.
    pub fn said(&self) -> String {
        self.process.said()
    }
}

fn get(url: &str) -> Option<String> {
    let config = ureq::Agent::config_builder().http_status_as_error(true).timeout_global(Some(PATIENCE));
    let client = ureq::Agent::new_with_config(config.build());
    client.get(url).call().ok()?.body_mut().read_to_string().ok()
}
