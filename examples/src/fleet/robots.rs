//! The demo's robots: an agent process each, and for a simulated one a thread that is the robot's own program.

use std::{
    convert::Infallible,
    ffi::OsString,
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    folder::Folder,
    gateway::Gateway,
    plan::{Planned, Source, Transport},
};
use crate::{
    children::{Program, Running},
    simulator::{Simulator, TICK_MS},
    wifi::{self, Carrier, Gate},
};

/// All robots of the demo.
#[derive(Debug)]
pub(super) struct Robots {
    robots: Vec<Robot>,
}

/// One robot.
#[derive(Debug)]
pub(super) struct Robot {
    planned: Planned,
    folder: PathBuf,
    address: SocketAddr,
    agent: Agent,
    /// Ends the robot's own program when it is dropped.
    _program: Option<SyncSender<Infallible>>,
}

/// What became of an agent.
#[derive(Debug)]
enum Agent {
    Running(Running),
    Killed,
    Ended(String),
}

impl Robots {
    /// Starts them all.
    pub(super) fn start(plan: Vec<Planned>, gateway: &Gateway, folder: &Folder) -> anyhow::Result<Self> {
        let mut robots = Vec::new();
        for planned in plan {
            robots.push(Robot::start(planned, gateway, folder)?);
        }
        Ok(Self { robots })
    }

    /// Iterates over the robots in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Robot> {
        self.robots.iter()
    }

    /// Starts a log anew that has ended, and notes an agent that has failed.
    pub(super) fn tend(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        self.robots.iter_mut().try_for_each(|robot| robot.tend(gateway))
    }

    /// Kills the agent of a robot, by its place.
    pub(super) fn kill(&mut self, place: usize) {
        if let Some(robot) = self.robots.get_mut(place) {
            robot.kill();
        }
    }

    /// Kills the agent of a robot, by its name.
    pub(super) fn kill_named(&mut self, name: &str) {
        self.robots.iter_mut().filter(|robot| robot.planned.is_named(name)).for_each(Robot::kill);
    }

    /// Starts an agent that does not run, by its robot's place.
    pub(super) fn restart(&mut self, place: usize, gateway: &Gateway) -> anyhow::Result<()> {
        match self.robots.get_mut(place) {
            Some(robot) if !matches!(robot.agent, Agent::Running(_)) => robot.start_agent(gateway),
            _ => Ok(()),
        }
    }
}

impl Drop for Robots {
    /// Asks all agents to end before waiting for each.
    fn drop(&mut self) {
        for robot in &mut self.robots {
            if let Agent::Running(running) = &mut robot.agent {
                running.ask_to_end();
            }
        }
    }
}

impl Robot {
    fn start(planned: Planned, gateway: &Gateway, folder: &Folder) -> anyhow::Result<Self> {
        let home = folder.join(&planned.name);
        fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
        let ready = gateway.ready();
        let (carrier, mut address) = match planned.transport {
            Transport::Quic => (Carrier::Udp, ready.quic),
            Transport::Mqtt => (Carrier::Tcp, ready.mqtt),
        };
        let mut program = None;
        if let Source::Simulated(seed) = planned.source {
            let gate = Gate::default();
            address = wifi::start(carrier, address, &gate).context("start the simulated Wi-Fi")?;
            let (stop, stopped) = mpsc::sync_channel(1);
            let socket = home.join(SOCKET);
            thread::spawn(move || drive(seed, &socket, &gate, &stopped));
            program = Some(stop);
        }
        let agent = Agent::Ended("not started".to_owned());
        let mut robot = Self { planned, folder: home, address, agent, _program: program };
        robot.start_agent(gateway)?;
        Ok(robot)
    }

    /// Returns `fleet/robot`.
    pub(super) fn name(&self) -> &str {
        &self.planned.name
    }

    /// Says what the robot is.
    pub(super) fn source(&self) -> &'static str {
        match self.planned.source {
            Source::Host => "this machine",
            Source::Log(_) => "log, replayed",
            Source::Simulated(_) => "simulated",
        }
    }

    /// Says what became of the agent; nothing while it runs.
    pub(super) fn trouble(&self) -> Option<&str> {
        match &self.agent {
            Agent::Running(_) => None,
            Agent::Killed => Some("killed"),
            Agent::Ended(why) => Some(why),
        }
    }

    fn start_agent(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let args = self.arguments(gateway.ca());
        self.agent = Agent::Running(Program::Agent.start(&args, &self.folder.join("agent.log"))?);
        Ok(())
    }

    fn arguments(&self, ca: &Path) -> Vec<OsString> {
        let (scheme, trust) = match self.planned.transport {
            Transport::Quic => ("quic", vec!["--ca".into(), ca.into()]),
            Transport::Mqtt => ("mqtt", Vec::new()),
        };
        let mut input = OsString::new();
        let mut once = Vec::new();
        match &self.planned.source {
            Source::Host => input.push("host"),
            Source::Log(log) => {
                input.push("file:");
                input.push(log);
                input.push("?speed=1&shift=now");
                once.push("--once".into());
            }
            Source::Simulated(_) => {
                input.push("unix:");
                input.push(self.folder.join(SOCKET));
            }
        }
        let mut args: Vec<OsString> = vec!["--robot".into(), self.planned.name.clone().into()];
        args.extend(["--gateway".into(), format!("{scheme}://{}", self.address).into()]);
        args.extend(["--spool".into(), self.folder.join("spool").into(), "--input".into(), input]);
        args.extend(trust.into_iter().chain(once));
        args
    }

    fn tend(&mut self, gateway: &Gateway) -> anyhow::Result<()> {
        let Agent::Running(running) = &mut self.agent else { return Ok(()) };
        match running.ended()? {
            None => Ok(()),
            Some(status) if status.success() && matches!(self.planned.source, Source::Log(_)) => {
                self.start_agent(gateway)
            }
            Some(status) => {
                self.agent = Agent::Ended(format!("{status}: {}", running.last_words()));
                Ok(())
            }
        }
    }

    fn kill(&mut self) {
        if let Agent::Running(running) = &mut self.agent {
            running.kill();
            self.agent = Agent::Killed;
        }
    }
}

/// Is the simulated robot's program: writes its lines to its agent's socket, whether or not the agent is there.
fn drive(seed: u64, socket: &Path, gate: &Gate, stopped: &Receiver<Infallible>) {
    let mut robot = Simulator::new(seed);
    let mut agent: Option<UnixStream> = None;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(TICK_MS)) {
        let text = robot.tick().join("\n") + "\n";
        gate.set(robot.wifi_is_up());
        agent = agent.or_else(|| UnixStream::connect(socket).ok());
        if agent.as_mut().is_some_and(|stream| stream.write_all(text.as_bytes()).is_err()) {
            agent = None;
        }
    }
}

/// The socket of a simulated robot's agent, in the robot's folder.
const SOCKET: &str = "agent.sock";
