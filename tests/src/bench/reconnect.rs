//! How a fleet comes back to a gateway that was killed: sessions of real agents' links, each with a socket of its own,
//! all in one process and without spools, so that nothing but coming back is measured.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use muster_agent::{
    backoff::Backoff,
    config::{Config, GatewayUrl},
    delivery::{Action, Delivery, Who},
    link::{Identity, Link, LinkEvent},
};
use muster_protocol::{
    id::{InstanceId, RobotId},
    label::Labels,
    session::sender::{Sender, SenderConfig},
    time::MonoTime,
};
use tokio::{
    runtime::{self, Runtime},
    time::sleep,
};

use super::{
    clock,
    gateway::{Gateway, Via},
    process::Program,
    stats::digits,
    table::Table,
};

/// What coming back looked like.
#[derive(Clone, Copy, Debug)]
struct Shown {
    robots: usize,
    /// From the gateway's ready line until all were back.
    all_back: Duration,
    /// Most sessions that began within one second.
    peak: usize,
}

/// Robots with sessions, in this process.
struct Fleet {
    state: Arc<State>,
    robots: usize,
    /// Ends them when it is dropped.
    _runtime: Runtime,
}

/// What the robots' tasks share.
#[derive(Default)]
struct State {
    up: AtomicUsize,
    /// When sessions began.
    began: Mutex<Vec<MonoTime>>,
}

/// Everything that a robot needs.
struct Robot {
    url: GatewayUrl,
    identity: Identity,
    delivery: Delivery,
    link: Option<Link>,
    state: Arc<State>,
}

/// Measures in a process of its own, whose memory is set up for thousands of sockets.
pub(super) fn measure(quick: bool) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let robots = if quick { SESSIONS_QUICK } else { sessions()? };
    let log = folder.path().join("fleet.log");
    let mut fleet = Program::Fleet.start(&[robots.to_string().into()], &log)?;
    let mut output = fleet.take_output().context("take the fleet's output")?;
    let mut table = String::new();
    output.read_to_string(&mut table).context("read the fleet's table")?;
    fleet.finish(PATIENCE)?;
    Ok(table)
}

/// Is that process: runs with the number of sessions, and prints the table.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let robots = args.nth(1).and_then(|robots| robots.to_str()?.parse().ok());
    let table = robots.context("the number of sessions is missing").and_then(table);
    match table.and_then(|table| Ok(io::stdout().write_all(table.as_bytes())?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Kills a gateway with sessions, starts it again and counts.
fn table(robots: usize) -> anyhow::Result<String> {
    let columns = ["gateway killed and started again", "sessions", "all back", "peak", "mean"];
    let mut table = Table::new(&columns);
    for via in Via::ALL {
        let shown = run(via, robots)?;
        let mean = shown.robots as f64 / shown.all_back.as_secs_f64().max(1.0);
        table.row([
            via.name().to_owned(),
            shown.robots.to_string(),
            format!("{:.1} s", shown.all_back.as_secs_f64()),
            format!("{}/s", shown.peak),
            format!("{}/s", digits(mean)),
        ]);
    }
    Ok(table.finish())
}

fn run(via: Via, robots: usize) -> anyhow::Result<Shown> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let data = folder.path().join("data");
    let gateway = Gateway::start(&data)?;
    let addresses = gateway.addresses();
    let fleet = Fleet::start(&gateway.url(via), &gateway.ca(), robots)?;
    fleet.wait("all robots connect", |up| up == robots)?;
    gateway.kill()?;
    clock::pause(AWAY);
    let gateway = Gateway::start_on(&data, &addresses)?;
    let ready = clock::now();
    // Nobody may have noticed yet that the old one is gone: count those that came since.
    let began = || fleet.state.began.lock().map(|began| began.iter().filter(|at| **at >= ready).count());
    fleet.wait("all robots come back", |_| began().is_ok_and(|count| count >= robots))?;
    let began = fleet.state.began.lock().map_err(|_| anyhow::anyhow!("a robot panicked"))?.clone();
    let mut began: Vec<_> = began.into_iter().filter(|at| *at >= ready).collect();
    began.sort_unstable();
    let last = began.last().context("somebody came back")?;
    let shown = Shown { robots, all_back: last.since(ready), peak: peak(&began) };
    drop(fleet);
    gateway.stop()?;
    Ok(shown)
}

/// Returns the most times within any second.
fn peak(sorted: &[MonoTime]) -> usize {
    let within = |(at, first): (usize, &MonoTime)| {
        sorted[at..].partition_point(|time| time.since(*first) < Duration::from_secs(1))
    };
    sorted.iter().enumerate().map(within).max().unwrap_or(0)
}

impl Fleet {
    fn start(url: &str, ca: &std::path::Path, robots: usize) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start the robots' runtime")?;
        let url: GatewayUrl = url.parse()?;
        let state = Arc::new(State::default());
        for number in 0..robots {
            let robot = Robot::new(number, url.clone(), ca.to_owned(), state.clone())?;
            runtime.spawn(robot.live(START_PAUSE * u32::try_from(number)?));
        }
        Ok(Self { state, robots, _runtime: runtime })
    }

    /// Waits until it is so of the number of sessions.
    fn wait(&self, what: &str, mut is_so: impl FnMut(usize) -> bool) -> anyhow::Result<()> {
        let start = clock::now();
        loop {
            let up = self.state.up.load(Ordering::Relaxed);
            if is_so(up) {
                return Ok(());
            }
            ensure!(clock::since(start) < PATIENCE, "{what}: {up} of {} after {PATIENCE:?}", self.robots);
            clock::pause(LOOK_EVERY);
        }
    }
}

impl Robot {
    fn new(number: usize, url: GatewayUrl, ca: PathBuf, state: Arc<State>) -> anyhow::Result<Self> {
        let robot: RobotId = format!("storm/r{number}").parse()?;
        let config = Config::new(&robot).link;
        let seed = u64::try_from(number)?;
        let mut instance = [7; 16];
        instance[..8].copy_from_slice(&seed.to_le_bytes());
        let who = Who {
            robot: robot.clone(),
            instance: InstanceId(instance),
            version: "bench",
            labels: Labels::default(),
        };
        let backoff = Backoff::new(config.backoff_min.duration(), config.backoff_max.duration(), seed)
            .with_return_spread(config.return_spread.duration());
        let sender = Sender::new(SenderConfig::DEFAULT);
        let delivery = Delivery::new(who, sender, backoff, 1, config.heartbeat_every.duration());
        Ok(Self { url, identity: Identity { robot, ca: Some(ca) }, delivery, link: None, state })
    }

    /// Lives until the runtime ends.
    async fn live(mut self, pause: Duration) {
        sleep(pause).await;
        loop {
            while let Some(action) = self.delivery.poll_action(clock::now()) {
                self.act(action).await;
            }
            let due = self.delivery.poll_timeout().map_or(LOOK_EVERY, |due| due.since(clock::now()));
            let was_up = self.delivery.figures().up;
            tokio::select! {
                event = event(&mut self.link) => self.hear(event),
                () = sleep(due) => self.delivery.handle_timeout(clock::reading(), clock::now()),
            }
            self.note(was_up);
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Connect(_) => match Link::connect(&self.url, &self.identity).await {
                Ok(link) => {
                    let queue_time = link.queue_time();
                    self.delivery.handle_connected(queue_time, clock::reading(), clock::now());
                    self.link = Some(link);
                }
                Err(_) => self.delivery.handle_closed(clock::now()),
            },
            Action::Send(stream, frame) => {
                // A link that takes no more says so by its end.
                let _ = self.link.as_ref().map(|link| link.send(stream, &frame));
            }
            Action::Disconnect => self.link = None,
            // Without a spool there is nothing to read, to release or to count.
            _ => {}
        }
    }

    fn hear(&mut self, event: LinkEvent) {
        let now = clock::now();
        match event {
            // A frame that is none closes the link, which is what the next action says.
            LinkEvent::Frame(frame) => drop(self.delivery.handle_frame(&frame, now)),
            LinkEvent::Closed(_) => {
                self.link = None;
                self.delivery.handle_closed(now);
            }
            LinkEvent::ClosedByGateway(_) => {
                self.link = None;
                self.delivery.handle_closed_by_gateway(now);
            }
        }
    }

    fn note(&self, was_up: bool) {
        match (was_up, self.delivery.figures().up) {
            (false, true) => {
                self.state.up.fetch_add(1, Ordering::Relaxed);
                if let Ok(mut began) = self.state.began.lock() {
                    began.push(clock::now());
                }
            }
            (true, false) => _ = self.state.up.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }
}

async fn event(link: &mut Option<Link>) -> LinkEvent {
    match link {
        Some(link) => link.event().await,
        None => std::future::pending().await,
    }
}

/// Reads how many sessions to measure with.
fn sessions() -> anyhow::Result<usize> {
    match std::env::var("BENCH_SESSIONS") {
        Ok(text) => text.parse().context("BENCH_SESSIONS is a number"),
        Err(_) => Ok(SESSIONS),
    }
}

const SESSIONS: usize = 1000;
const SESSIONS_QUICK: usize = 100;

/// How long the gateway is away before it is started again.
const AWAY: Duration = Duration::from_secs(2);

/// Between two first connections: how the fleet arrives at first is not measured.
const START_PAUSE: Duration = Duration::from_millis(3);

const LOOK_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_of_any_second_not_of_whole_ones() {
        let at = |millis: u64| MonoTime(millis * 1_000_000);
        assert_eq!(peak(&[at(0), at(900), at(1100), at(1800), at(3000)]), 3);
        assert_eq!(peak(&[]), 0);
    }
}
