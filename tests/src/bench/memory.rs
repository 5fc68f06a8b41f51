//! The most memory that each program had resident (`VmHWM`).

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{
    clock,
    gateway::{Gateway, Via},
    latency::{self, Pace},
    logs::{Logs, PX4},
    process::Program,
    replay::{self, Load},
    stats::{mib, spread},
    table::Table,
    usage::{Usage, on_disk},
};

/// Measures both programs under load, and an agent without a gateway.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let mut table = Table::new(&["VmHWM, MiB", "agent", "gateway"]);
    let runs = if quick { 1 } else { RUNS };
    let folder = tempfile::tempdir()?;
    let log = logs.named(PX4);
    let (short, long) = (log.repeat(1, folder.path())?, log.repeat(TIMES, folder.path())?);
    for (times, file) in [(1, &short), (TIMES, &long)] {
        for via in Via::ALL {
            let load = Load { file, samples: log.samples * u64::from(times), via };
            let peaks = (0..runs).map(|_| replay::run(load).map(|run| (run.agent.peak, run.gateway.peak)));
            let peaks: Vec<_> = peaks.collect::<anyhow::Result<_>>()?;
            table.row(row(&format!("{PX4} ×{times} at full speed, {}", via.name()), &peaks));
        }
    }
    for via in Via::ALL {
        let pace = Pace { via, rows: if quick { 200 } else { PACED_ROWS }, ..Pace::default() };
        let peaks = (0..runs).map(|_| latency::run(pace).map(|run| (run.agent.peak, run.gateway.peak)));
        let peaks: Vec<_> = peaks.collect::<anyhow::Result<_>>()?;
        table.row(row(&format!("100 urgent batches a second, {}; agent embedded", via.name()), &peaks));
    }
    let absent: Vec<_> = (0..runs).map(|_| without_gateway(&long)).collect::<anyhow::Result<_>>()?;
    let peaks: Vec<_> = absent.iter().map(|(peak, _)| *peak as f64).collect();
    let spooled: Vec<_> = absent.iter().map(|(_, spooled)| *spooled as f64).collect();
    let name = format!("{PX4} ×{TIMES} spooled, no gateway; {} MiB in the spool", spread(&spooled, mib));
    table.row([name, spread(&peaks, mib), "absent".to_owned()]);
    Ok(table.finish())
}

fn row(name: &str, peaks: &[(u64, u64)]) -> Vec<String> {
    let agents: Vec<f64> = peaks.iter().map(|(agent, _)| *agent as f64).collect();
    let gateways: Vec<f64> = peaks.iter().map(|(_, gateway)| *gateway as f64).collect();
    vec![name.to_owned(), spread(&agents, mib), spread(&gateways, mib)]
}

/// Lets an agent spool a whole file while nothing answers, and returns its peak and what the spool took on disk.
fn without_gateway(file: &std::path::Path) -> anyhow::Result<(u64, u64)> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let spool = folder.path().join("spool");
    // It was there once, so that the agent knows whom to trust and goes on trying.
    let gateway = Gateway::start(&folder.path().join("data"))?;
    let (url, ca) = (gateway.url(Via::Quic), gateway.ca());
    gateway.stop()?;
    let input = format!("file:{}", file.display());
    let args = replay::agent_args(&url, &ca, &spool, &input);
    let agent = Program::Agent.start(&args, &folder.path().join("agent.log"))?;
    let (mut before, mut quiet_since) = (Usage::default(), clock::now());
    let start = clock::now();
    while clock::since(quiet_since) < QUIET {
        clock::pause(LOOK_EVERY);
        let usage = agent.usage()?;
        ensure!(!usage.ended, "the agent ended: {}", agent.words());
        ensure!(clock::since(start) < PATIENCE, "the agent never came to rest");
        // Connecting again costs next to nothing; spooling does not.
        if usage.written != before.written {
            quiet_since = clock::now();
        }
        before = usage;
    }
    let spooled = on_disk(&spool)?;
    agent.stop()?;
    Ok((before.peak, spooled))
}

/// The outage that is spooled: ten times the log.
const TIMES: u32 = 10;
const RUNS: usize = 3;
const PACED_ROWS: u32 = 1000;

/// It has spooled everything when it wrote nothing for so long.
const QUIET: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(180);
