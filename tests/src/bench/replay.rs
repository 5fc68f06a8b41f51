//! One log through an agent and a gateway, as fast as they take it.

use std::{ffi::OsString, path::Path, time::Duration};

use anyhow::{Context as _, ensure};

use super::{
    clock,
    gateway::{Gateway, Via},
    process::Program,
    usage::{self, Usage},
};

/// What a run is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load<'a> {
    pub(super) file: &'a Path,
    /// Samples in the file.
    pub(super) samples: u64,
    pub(super) via: Via,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) samples: u64,
    /// From starting the agent to its end, when everything was acknowledged.
    pub(super) wall: Duration,
    pub(super) agent: Usage,
    pub(super) gateway: Usage,
    /// Bytes of the encoded batches, as the gateway counted them.
    pub(super) encoded: u64,
    /// Batches that the gateway refused for now, and batches that came twice.
    pub(super) resent: u64,
    /// Bytes on the loopback interface, both ways, all headers.
    pub(super) loopback: u64,
    /// What the gateway's data folder takes on disk afterwards.
    pub(super) data_on_disk: u64,
    /// What the agent's spool takes on disk afterwards.
    pub(super) spool_on_disk: u64,
}

/// Runs `load` with a fresh agent against a fresh gateway, and checks that every sample arrived.
pub(super) fn run(load: Load<'_>) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let gateway = Gateway::start(&folder.path().join("data"))?;
    let spool = folder.path().join("spool");
    let input = format!("file:{}", load.file.display());
    let args = agent_args(&gateway.url(load.via), &gateway.ca(), &spool, &input);
    let args: Vec<OsString> = args.into_iter().chain(["--once".into()]).collect();

    let gateway_before = gateway.settled()?;
    let loopback_before = usage::loopback_bytes()?;
    let start = clock::now();
    let agent = Program::Agent.start(&args, &folder.path().join("agent.log"))?.finish(PATIENCE)?;
    let wall = clock::since(start);
    let loopback = usage::loopback_bytes()? - loopback_before;
    let gateway_after = gateway.settled()?;

    let stored = gateway.metric_sum("muster_ingest_samples_total")?;
    ensure!(stored == load.samples, "{} samples went in, but {stored} are stored", load.samples);
    let run = Run {
        samples: stored,
        wall,
        agent,
        gateway: gateway_after.since(gateway_before),
        encoded: gateway.metric_sum("muster_ingest_bytes_total")?,
        resent: gateway.metric_sum("muster_ingest_refusals_total")?
            + gateway.metric_sum("muster_ingest_duplicates_total")?,
        loopback,
        data_on_disk: usage::on_disk(gateway.data())?,
        spool_on_disk: usage::on_disk(&spool)?,
    };
    gateway.stop()?;
    Ok(run)
}

/// Returns the arguments of an agent.
pub(super) fn agent_args(url: &str, ca: &Path, spool: &Path, input: &str) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--robot".into(), ROBOT.into(), "--gateway".into(), url.into()];
    args.extend(["--ca".into(), ca.into(), "--spool".into(), spool.into()]);
    args.extend(["--input".into(), input.into()]);
    args
}

/// The robot of all measures with one.
pub(super) const ROBOT: &str = "bench/r1";

/// No run takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// After this long without data a gateway has written what it has to.
pub(super) const REST: Duration = Duration::from_secs(2);
