//! After an outage: how fast a backlog gets through a link while live data flow, and how long fresh and urgent samples
//! take meanwhile.
//!
//! A drone's log is spooled while there is no gateway. Then the gateway is back, and the same log comes again as live
//! data, at its recorded pace. Numbered probes among it are timed from their `t` to the moment in which the gateway's
//! log is seen to hold them.

mod flow;
mod timing;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{
    clock,
    logs::{ARDRONE, Log, Logs},
    stats::{digits, mib, quantile},
    table::Table,
};
use crate::{
    agent::AgentPlan,
    gateway::{Gateway, Transport},
    netlab::{Conditions, GATEWAY, Lab, link::Delay, traces},
    patience::wait_within,
    process::Programs,
    sandbox::{Own, alone},
    scene::Scene,
};

use flow::{Flow, Sent};
use timing::Timing;

/// A link under a name, up and down.
struct Case {
    name: String,
    ways: [Conditions; 2],
    /// How many times as fast as recorded the live data come.
    live: u32,
    /// Whether both transports are measured at the same time, each over a link of its own: where it takes minutes, and
    /// the link, not the machine, is what limits.
    at_once: bool,
}

/// What a run showed.
struct Run {
    backlog_samples: u64,
    backlog_bytes: u64,
    /// Bytes of the backlog that were still in the spool when time was up.
    left: u64,
    took: Duration,
    /// Bytes of IP that the link carried up meanwhile.
    carried: u64,
    /// Seconds from `t` to the log, of each probe.
    live: Vec<f64>,
    urgent: Vec<f64>,
}

impl Run {
    /// How much of the backlog went through.
    fn through(&self) -> f64 {
        1.0 - self.left as f64 / self.backlog_bytes as f64
    }

    fn caught_up_after(&self) -> String {
        let seconds = digits(self.took.as_secs_f64());
        if self.left == 0 { seconds } else { format!("{:.0} % in {seconds}", 100.0 * self.through()) }
    }
}

/// Measures an hour's backlog over several links. `links` is the folder of those that were recorded.
pub(super) fn measure(logs: &Logs, links: &Path, quick: bool) -> anyhow::Result<String> {
    let mut cases = vec![
        Case {
            name: "unlimited".to_owned(),
            ways: [Conditions::unlimited(), Conditions::unlimited()],
            live: 1,
            at_once: false,
        },
        Case {
            name: "1 Mbit/s, 5 % loss, 80 ms each way".to_owned(),
            ways: [slow(80).lossy(50), slow(80).lossy(50)],
            live: 1,
            at_once: true,
        },
    ];
    for recorded in traces::all(links)? {
        let ways = [recorded.up, recorded.down];
        cases.push(Case { name: recorded.name.to_owned(), ways, live: 1, at_once: true });
    }
    if let Ok(part) = std::env::var("BENCH_LINK") {
        cases.retain(|case| case.name.contains(&part));
    }
    table(logs, &cases, if quick { 1 } else { TIMES_AN_HOUR })
}

/// Measures live data of half a link of 1 Mbit/s that the backlog saturates.
pub(super) fn measure_live_first(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let name = "1 Mbit/s, 20 ms each way, live at half".to_owned();
    let case = Case { name, ways: [slow(20), slow(20)], live: LIVE_AT_HALF, at_once: false };
    table(logs, &[case], if quick { 1 } else { TIMES_LIVE_FIRST })
}

fn slow(delay_ms: u64) -> Conditions {
    Conditions::rated(1_000_000).delayed(Delay::Fixed(Duration::from_millis(delay_ms)))
}

fn table(logs: &Logs, cases: &[Case], times: u32) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "link",
        "via",
        "backlog samples",
        "MiB",
        "caught up after s",
        "times recorded pace",
        "carried kbit/s",
        "live p50 s",
        "p99",
        "most",
        "urgent p50 s",
        "p99",
        "most",
    ]);
    let log = logs.named(ARDRONE);
    let recorded = log_seconds(log) * f64::from(times);
    for case in cases {
        for (via, run) in Transport::ALL.into_iter().zip(runs(case, log, times)?) {
            let (seconds, through) = (run.took.as_secs_f64(), run.through());
            let of = |times: &[f64]| {
                let at = |at| if times.is_empty() { "-".to_owned() } else { digits(quantile(times, at)) };
                [0.5, 0.99, 1.0].map(at)
            };
            let cells = [
                case.name.clone(),
                via.name().to_uppercase(),
                run.backlog_samples.to_string(),
                mib(run.backlog_bytes as f64),
                run.caught_up_after(),
                digits(recorded * through / seconds),
                digits(run.carried as f64 * 8.0 / 1000.0 / seconds),
            ];
            table.row(cells.into_iter().chain(of(&run.live)).chain(of(&run.urgent)));
        }
    }
    Ok(table.finish())
}

fn log_seconds(log: &Log) -> f64 {
    flow::span(&flow::rows(log)).as_secs_f64()
}

/// Runs over each transport.
fn runs(case: &Case, log: &Log, times: u32) -> anyhow::Result<Vec<Run>> {
    ensure!(Lab::possible(), "an emulated link needs `ip` and `nsenter`");
    let all = Transport::ALL.into_iter();
    if !case.at_once {
        return all.map(|via| run(case, via, log, times)).collect();
    }
    thread::scope(|scope| {
        let runs: Vec<_> = all.map(|via| scope.spawn(move || run(case, via, log, times))).collect();
        let joined = runs.into_iter().map(|run| run.join().map_err(|_| anyhow::anyhow!("a run panicked"))?);
        joined.collect()
    })
}

fn run(case: &Case, via: Transport, log: &Log, times: u32) -> anyhow::Result<Run> {
    let name = format!("{}, {}", case.name, via.name());
    let run = measured(case, via, log, times).with_context(|| name.clone())?;
    super::say(&format!("{name}: caught up after {} s", run.caught_up_after()));
    Ok(run)
}

fn measured(case: &Case, via: Transport, log: &Log, times: u32) -> anyhow::Result<Run> {
    alone(Own::Network, || run_in_lab(case, via, log, times)).context("an emulated link needs root")?
}

fn run_in_lab(case: &Case, via: Transport, log: &Log, times: u32) -> anyhow::Result<Run> {
    let scene = Scene::new(Programs::this());
    let lab = Lab::new(&scene.path(""), std::slice::from_ref(&case.ways), SEED);
    let mut gateway = scene.gateway_plan().reached_at(GATEWAY).start();
    let plan = lab.agent(scene.agent(ROBOT), &gateway, via);
    gateway.kill();
    let file = log.repeat(times, &scene.path(""))?;
    spool(&plan, &file)?;
    let spooled = segments(&scene);
    let backlog_bytes = bytes(&spooled);
    let backlog_samples = log.samples * u64::from(times);
    gateway.start_again();

    let (socket, rows) = (scene.path("live.sock"), flow::rows(log));
    let (start, carried) = (clock::now(), lab.carried(0)[0]);
    let mut agent = plan.clone().input(format!("unix:{}", socket.display())).start();
    let flow = Flow::start(&socket, rows, case.live);
    let mut timing = Timing::new();
    while clock::since(start) < LONGEST && !segments(&scene).is_disjoint(&spooled) {
        timing.look(&gateway)?;
        clock::pause(LOOK_EVERY);
    }
    let (took, carried) = (clock::since(start), lab.carried(0)[0] - carried);
    let left = bytes(segments(&scene).intersection(&spooled));
    let sent = flow.stop()?;
    if left > 0 {
        // What is left is not timed, but it has to arrive too.
        lab.open(0);
    }
    let all = wait_within(END_WAIT, || {
        timing.look(&gateway).ok()?;
        stored(&gateway).filter(|stored| *stored >= backlog_samples + sent.samples)
    });
    agent.terminate();
    if all.is_none() {
        plan.once().deliver();
    }
    // What was committed between the last look and the count of the samples.
    timing.look(&gateway)?;
    let stored = stored(&gateway).context("the gateway knows the robot")?;
    let expected = backlog_samples + sent.samples;
    ensure!(stored == expected, "{expected} samples went in, but {stored} are stored");
    let Sent { live, urgent, .. } = &sent;
    let seconds = |channel, sent: &[i64]| timing.seconds(&gateway, (ROBOT, channel), sent);
    let (live, urgent) = (seconds(flow::LIVE, live)?, seconds(flow::URGENT, urgent)?);
    Ok(Run { backlog_samples, backlog_bytes, left, took, carried, live, urgent })
}

/// Lets an agent take a log in while there is no gateway.
fn spool(plan: &AgentPlan, file: &Path) -> anyhow::Result<()> {
    let mut agent = plan.clone().file(file).logging("info,muster_agent=debug").start();
    let taken = wait_within(PATIENCE, || agent.said().contains("was read to its end").then_some(()));
    taken.context("the log is taken in")?;
    agent.terminate();
    Ok(())
}

/// Returns what files take together.
fn bytes<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> u64 {
    files.into_iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum()
}

fn stored(gateway: &Gateway) -> Option<u64> {
    gateway.robot(ROBOT)?["samples"].as_u64()
}

/// Returns the segments in the spool.
fn segments(scene: &Scene) -> BTreeSet<PathBuf> {
    let lanes = ["urgent", "live", "bulk"].map(|lane| scene.path(format!("spool-bench-r1/{lane}")));
    let files = lanes.into_iter().flat_map(|lane| fs::read_dir(lane).into_iter().flatten().flatten());
    files.map(|file| file.path()).collect()
}

const ROBOT: &str = "bench/r1";
const SEED: u64 = 3;

/// The drone's log takes 138 seconds.
const TIMES_AN_HOUR: u32 = 26;
const TIMES_LIVE_FIRST: u32 = 4;

/// With which the drone's log takes half of 1 Mbit/s.
const LIVE_AT_HALF: u32 = 3;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long an hour's log may take to be spooled.
const PATIENCE: Duration = Duration::from_secs(180);

/// A backlog that takes longer shows its speed by then: a link of 1 Mbit/s needs three quarters of it.
const LONGEST: Duration = Duration::from_secs(720);

/// How long what is still under way may take when the backlog is through or the link is open.
const END_WAIT: Duration = Duration::from_secs(60);
