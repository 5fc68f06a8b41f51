//! How many bytes go to the disk for each byte of samples.

use std::path::Path;

use anyhow::{Context as _, ensure};

use super::{
    clock,
    gateway::Via,
    logs::{Log, Logs},
    replay::{self, Load, Run},
    stats::{digits, mib, spread},
    table::Table,
    usage::Usage,
};
use crate::{
    gateway::{Gateway, Transport},
    patience::wait_within,
    process::Programs,
    scene::Scene,
};

/// Measures each log at full speed, and at a pace at which batches are those of a robot.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    Ok(format!("{}{}", full_speed(logs, quick)?, paced(logs, quick)?))
}

/// Each log over QUIC, several times over so that what is written once hardly counts.
fn full_speed(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "log",
        "encoded MiB",
        "agent wrote MiB",
        "per encoded byte",
        "gateway wrote MiB",
        "per encoded byte",
        "data folder MiB after",
        "per encoded byte",
        "spool MiB after",
    ]);
    let folder = tempfile::tempdir()?;
    let times = if quick { 1 } else { TIMES };
    for log in logs.all() {
        let file = log.repeat(times, folder.path())?;
        let load = Load { file: &file, samples: log.samples * u64::from(times), via: Via::Quic };
        let runs = (0..if quick { 1 } else { RUNS }).map(|_| replay::run(load));
        let runs: Vec<Run> = runs.collect::<anyhow::Result<_>>()?;
        let of = |figure: fn(&Run) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
        table.row([
            format!("{} ×{times}", log.name),
            spread(&of(|run| run.encoded as f64), mib),
            spread(&of(|run| run.agent.written as f64), mib),
            spread(&of(|run| run.agent.written as f64 / run.encoded as f64), digits),
            spread(&of(|run| run.gateway.written as f64), mib),
            spread(&of(|run| run.gateway.written as f64 / run.encoded as f64), digits),
            spread(&of(|run| run.data_on_disk as f64), mib),
            spread(&of(|run| run.data_on_disk as f64 / run.encoded as f64), digits),
            spread(&of(|run| run.spool_on_disk as f64), mib),
        ]);
    }
    Ok(table.finish())
}

/// Each log as agents without configuration batch and sync it, and in batches of one second: at so many times its recorded
/// pace, with a linger and an interval of syncs that are as much shorter.
fn paced(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "log",
        "batches and syncs every",
        "via",
        "encoded B/sample",
        "agent's disk B/sample",
        "per encoded byte",
        "agent's `write_bytes` B/sample",
        "gateway's disk B/sample",
        "per encoded byte",
        "gateway's `write_bytes` B/sample",
    ]);
    let speed = if quick { 4 * SPEED } else { SPEED };
    for log in logs.all() {
        for (every, via) in EVERY_MS.into_iter().flat_map(|every| Transport::ALL.map(|via| (every, via))) {
            let Written { agent, gateway, encoded } = written_at_pace(log, via, (every, speed))?;
            let each = |bytes: u64| digits(bytes as f64 / log.samples as f64);
            let mut cells =
                vec![log.name.to_owned(), format!("{every} ms"), via.name().to_uppercase(), each(encoded)];
            for Bytes { disk, process } in [agent, gateway] {
                let per_byte = disk.map(|disk| digits(disk as f64 / encoded as f64));
                let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                cells.extend([cell(disk.map(each)), cell(per_byte), each(process)]);
            }
            table.row(cells);
        }
    }
    Ok(table.finish())
}

/// Bytes that went to disk.
struct Written {
    agent: Bytes,
    gateway: Bytes,
    encoded: u64,
}

/// What one program wrote.
struct Bytes {
    /// What its file system wrote to the device, if there is one of its own to look at.
    disk: Option<u64>,
    /// What the kernel counts for the process: whole folios of the page cache, of which it may write less.
    process: u64,
}

/// Bytes written to the disks of agent and gateway so far; none without disks of their own.
type Devices<'a> = &'a dyn Fn() -> Option<[u64; 2]>;

/// Runs with disks of their own, where there is a right to have such.
#[cfg(target_os = "linux")]
fn written_at_pace(log: &Log, via: Transport, pace: (u32, u32)) -> anyhow::Result<Written> {
    use crate::sandbox::{Disk, Own, alone, is_possible};
    let scene = Scene::new(Programs::this());
    if !is_possible(Own::Mounts) {
        return run_at_pace(&scene, (log, via, pace), &|| None);
    }
    let with_disks = || {
        let disks = ["spool-bench-r1", "data"].map(|folder| Disk::ext4(&scene.path(folder), DISK_BYTES));
        let written = || Some([disks[0].written(), disks[1].written()]);
        run_at_pace(&scene, (log, via, pace), &written)
    };
    alone(Own::Mounts, with_disks).context("disks of their own need root")?
}

#[cfg(not(target_os = "linux"))]
fn written_at_pace(log: &Log, via: Transport, pace: (u32, u32)) -> anyhow::Result<Written> {
    run_at_pace(&Scene::new(Programs::this()), (log, via, pace), &|| None)
}

fn run_at_pace(
    scene: &Scene,
    (log, via, (every, speed)): (&Log, Transport, (u32, u32)),
    devices: Devices<'_>,
) -> anyhow::Result<Written> {
    let file = log.repeat(1, &scene.path(""))?;
    let gateway = scene.gateway();
    let before = (Usage::of(gateway.process_id())?.written, devices());
    let every = format!("{}us", 1000 * every / speed);
    let plan = scene.agent(replay::ROBOT).to(&gateway, via).once();
    let plan = plan.set("BATCH__LINGER", &every).set("SPOOL__SYNC_EVERY", &every);
    let mut agent = plan.input(format!("file:{}?speed={speed}", Path::display(&file))).start();
    let mut wrote = 0;
    let ended = wait_within(replay::PATIENCE, || {
        // An ended process can be looked at until it is collected.
        let usage = Usage::of(agent.id()).ok()?;
        wrote = usage.written;
        usage.ended.then_some(())
    });
    ended.context("the agent delivers the log")?;
    ensure!(agent.wait().success(), "the agent ended badly: {}", agent.said());
    let encoded = metric(&gateway, "muster_ingest_bytes_total")?;
    let stored = metric(&gateway, "muster_ingest_samples_total")?;
    ensure!(stored == log.samples, "{} samples went in, but {stored} are stored", log.samples);
    clock::pause(replay::REST);
    let after = (Usage::of(gateway.process_id())?.written, devices());
    let disks = after.1.zip(before.1).map(|(after, before)| [after[0] - before[0], after[1] - before[1]]);
    Ok(Written {
        agent: Bytes { disk: disks.map(|[agent, _]| agent), process: wrote },
        gateway: Bytes { disk: disks.map(|[_, gateway]| gateway), process: after.0 - before.0 },
        encoded,
    })
}

fn metric(gateway: &Gateway, name: &str) -> anyhow::Result<u64> {
    let mut sum = 0;
    for line in std::io::BufRead::lines(gateway.lines("/metrics")?) {
        let line = line?;
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']));
        sum += rest.and_then(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

const TIMES: u32 = 8;
const RUNS: usize = 3;

/// How often batches close and are synced: as without configuration, and every second.
const EVERY_MS: [u32; 2] = [250, 1000];

/// A second of the log in an eighth of one.
const SPEED: u32 = 8;

/// Room for the gateway's ballast and everything that is paced; most of it is never written.
#[cfg(target_os = "linux")]
const DISK_BYTES: u64 = 512 * 1024 * 1024;
