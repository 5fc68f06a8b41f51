//! An ordinary broker: a real Mosquitto that keeps nothing on disk, killed and started again at will.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output},
};

use crate::{
    outside::mosquitto_pub,
    patience::{wait_for, wait_until},
    process::Process,
    scene::Scene,
};

/// A running Mosquitto on a port of its own, open to everybody on this machine.
#[derive(Debug)]
pub struct Broker {
    process: Process,
    port: u16,
    config: PathBuf,
}

impl Broker {
    /// Starts one in the scene's folder and waits until it takes connections.
    pub fn start(scene: &Scene) -> Self {
        // Mosquitto takes no port 0. Whoever takes this one in between costs a try.
        wait_for("a broker starts on a free port", || {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
            // `user` matters only to one that is started as root, and would leave a folder that is root's.
            let config = format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nlog_dest stderr\n{LOG}"
            );
            let config = scene.file(&format!("mosquitto-{port}.conf"), config);
            let process = spawn(&config, port)?;
            Some(Self { process, port, config })
        })
    }

    /// Kills it with SIGKILL; what it had is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its port, with nothing.
    pub fn start_again(&mut self) {
        let Self { port, config, .. } = &*self;
        self.process = wait_for("the broker starts on its port again", || spawn(config, *port));
    }

    /// Returns its URL.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Waits until it has written this to its log.
    pub fn wait_to_say(&self, words: &str) {
        self.process.wait_to_say(words);
    }

    /// Waits until it has written this so many times to its log, over all its starts.
    pub fn wait_to_say_times(&self, words: &str, times: usize) {
        let often = || self.process.said().matches(words).count() >= times;
        wait_until("the broker has said it so often", often);
    }

    /// Publishes a message at `QoS` 1 as a client of MQTT 3.1.1; returns when the broker has confirmed it.
    pub fn publish(&self, topic: &str, message: &str) {
        assert_good(&mosquitto_pub(self.port, &["-V", "mqttv311", "-q", "1", "-t", topic, "-m", message]));
    }

    /// Publishes each line of a file as a message at `QoS` 1; returns when the broker has confirmed all.
    pub fn publish_lines(&self, topic: &str, file: &std::path::Path) {
        let lines = std::fs::File::open(file).expect("the file can be read");
        let mut command = Command::new("mosquitto_pub");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-q", "1", "-t", topic, "-l"]);
        assert_good(&command.stdin(lines).output().expect("it is there"));
    }
}

/// What tests wait for: connections and subscriptions.
const LOG: &str = "log_type error\nlog_type warning\nlog_type notice\nlog_type subscribe\n";

fn assert_good(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Starts a Mosquitto, and waits until it takes connections or ends.
fn spawn(config: &std::path::Path, port: u16) -> Option<Process> {
    let mut command = Command::new("mosquitto");
    command.arg("-c").arg(config);
    let mut process = Process::start(command, "mosquitto", &config.with_extension("stderr")).unwrap();
    let takes = wait_for("the broker listens or ends", || match process.ended() {
        Some(_) => Some(false),
        None => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(|_| true),
    });
    takes.then_some(process)
}
