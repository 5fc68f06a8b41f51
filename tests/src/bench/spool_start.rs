//! An agent that starts on a spool full of backlog: how soon the first fresh sample is with the gateway, and how much
//! memory it takes, at its start and while it drains.

use std::{ffi::OsString, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use muster_agent::spool::{Entry, RealDisk, Spool, SpoolConfig};
use muster_protocol::id::Lane;

use super::{
    clock,
    codec::{self, Encoded},
    gateway::{Gateway, Via},
    logs::Logs,
    process::Program,
    replay::{ROBOT, agent_args},
    stats::{digits, mib},
    table::Table,
    usage::on_disk,
};

/// Fills a spool, and measures an agent that starts on it.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let bytes = if quick { 64 * MIB } else { 2048 * MIB };
    let log = logs.all().iter().max_by_key(|log| log.samples).context("there is a log")?;
    let encoded = codec::encode(log)?;
    let mut table = Table::new(&[
        "backlog, as a killed agent left it",
        "spool, MiB",
        "ms from start until a fresh sample is stored",
        "VmHWM then, MiB",
        "VmHWM after draining for a while, MiB",
        "spool then, MiB",
    ]);
    for via in Via::ALL {
        table.row(run(&encoded, bytes, via, quick)?);
    }
    Ok(table.finish())
}

fn run(encoded: &Encoded, bytes: u64, via: Via, quick: bool) -> anyhow::Result<Vec<String>> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let spool = folder.path().join("spool");
    let samples = fill(&spool, encoded, bytes)?;
    let before = on_disk(&spool)?;
    let fresh = folder.path().join("fresh.ndjson");
    fs::write(&fresh, "{\"ch\":\"bench.fresh\",\"v\":1}\n").context("write the fresh sample")?;
    let config = folder.path().join("agent.toml");
    fs::write(&config, "[spool]\nlimit = \"4GiB\"\n").context("write the configuration")?;

    let gateway = Gateway::start(&folder.path().join("data"))?;
    let input = format!("file:{}", fresh.display());
    let mut args = agent_args(&gateway.url(via), &gateway.ca(), &spool, &input);
    args.extend([OsString::from("--config"), config.into()]);
    let start = clock::now();
    let agent = Program::Agent.start(&args, &folder.path().join("agent.log"))?;
    let stored = || {
        gateway
            .ask(&format!("/v1/robots/{ROBOT}"))
            .is_ok_and(|robot| !robot["channels"]["bench.fresh"].is_null())
    };
    while !stored() {
        ensure!(clock::since(start) < PATIENCE, "no fresh sample is stored: {}", agent.words());
        clock::pause(LOOK_EVERY);
    }
    let (took, peak_at_start) = (clock::since(start), agent.usage()?.peak);
    clock::pause(if quick { Duration::from_secs(1) } else { DRAIN });
    let usage = agent.usage()?;
    ensure!(!usage.ended, "the agent ended: {}", agent.words());
    let after = on_disk(&spool)?;
    agent.kill()?;
    gateway.stop()?;
    Ok(vec![
        format!("{}, {samples} samples", via.name()),
        mib(before as f64),
        digits(took.as_secs_f64() * 1e3),
        mib(peak_at_start as f64),
        mib(usage.peak as f64),
        mib(after as f64),
    ])
}

/// Fills a spool with a log's batches, again and again, and leaves it as a kill would. Returns the samples in it.
fn fill(folder: &Path, log: &Encoded, bytes: u64) -> anyhow::Result<u64> {
    let config = SpoolConfig {
        limit_bytes: 4 * 1024 * MIB,
        segment_bytes: 4 * MIB,
        robot: ROBOT.parse().context("parse the robot")?,
    };
    let (mut spool, _) = Spool::open(Arc::new(RealDisk::new(folder)), config, 1)?;
    let mut samples = 0;
    for (number, batch) in log.batches.iter().cycle().enumerate() {
        let (t_min, t_max) = (batch.info.t_min, batch.info.t_max);
        let schema = Arc::clone(&log.schema);
        let entry =
            Entry::Batch { bytes: batch.bytes.clone(), samples: batch.info.samples, t_min, t_max, schema };
        spool.append(Lane::Live, &entry)?;
        samples += u64::from(batch.info.samples);
        if number % SYNC_BATCHES == 0 {
            spool.sync()?;
            if spool.used_bytes() >= bytes {
                break;
            }
        }
    }
    Ok(samples)
}

const MIB: u64 = 1024 * 1024;

/// Batches that share a sync while the spool is filled: it is not the filling that is measured.
const SYNC_BATCHES: usize = 256;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long the agent drains before its memory is looked at again.
const DRAIN: Duration = Duration::from_secs(20);

/// Far beyond what is measured.
const PATIENCE: Duration = Duration::from_secs(120);
