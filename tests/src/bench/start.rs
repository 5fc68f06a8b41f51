//! A gateway with a full data folder: filled, ended in order or killed, and started again.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use muster_protocol::label::Labels;
use serde_json::{Map, Value};

use super::{
    clock,
    codec::{self, Encoded},
    feeder::{self, Fed, Feed},
    gateway::{Gateway, Via},
    logs::Logs,
    stats::{digits, mib, per_second, si, spread},
    table::Table,
    usage::on_disk,
};

/// A start.
#[derive(Clone, Copy, Debug)]
struct Start {
    ready_after: Duration,
    peak: u64,
}

/// Fills a gateway and measures its starts.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let bytes = if quick { 32 * MIB } else { 1024 * MIB };
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let data = folder.path().join("data");
    let gateway = Gateway::start(&data)?;
    let before = gateway.settled()?;
    let start = clock::now();
    let fed = fill(&gateway, logs, bytes)?;
    let wall = clock::since(start);
    let used = gateway.usage()?.since(before);
    let records = gateway.metric_sum("muster_store_record_bytes")?;
    let robots = totals(&gateway)?;
    gateway.kill()?;
    let disk = on_disk(&data)?;

    let mut text = Table::new(&["filled over QUIC by 16 sessions at once", ""]);
    let mut line = |name: &str, value: String| text.row([name.to_owned(), value]);
    line("samples", si(fed.samples as f64));
    line("records, MiB", mib(records as f64));
    line("data folder, MiB", mib(disk as f64));
    line(
        "ingest",
        format!(
            "{} samples/s, {} MB/s of batches",
            si(per_second(fed.samples, wall)),
            digits(per_second(fed.bytes, wall) / 1e6)
        ),
    );
    line("samples / gateway CPU s", si(per_second(fed.samples, used.cpu)));
    line("disk bytes / batch byte", digits(used.written as f64 / fed.bytes as f64));
    line("gateway's VmHWM, MiB", mib(used.peak as f64));

    let mut table = Table::new(&["start", "ms until the ready line", "VmHWM then, MiB"]);
    let runs = if quick { 1 } else { RUNS };
    for (name, cache) in [
        ("killed, files in the page cache", Cache::Kept),
        ("killed, files not in the page cache", Cache::Dropped),
    ] {
        let starts = (0..runs).map(|run| {
            started_from_copy(&data, &folder.path().join(format!("{cache:?}{run}")), cache, &robots)
        });
        table.row(row(name, &starts.collect::<anyhow::Result<Vec<_>>>()?));
    }
    started(&data, &robots)?.0.stop()?;
    for (name, cache) in [
        ("ended in order, files in the page cache", Cache::Kept),
        ("ended in order, files not in the page cache", Cache::Dropped),
    ] {
        let starts = (0..runs).map(|_| {
            prepare(&data, cache)?;
            let (gateway, start) = started(&data, &robots)?;
            gateway.stop()?;
            Ok(start)
        });
        table.row(row(name, &starts.collect::<anyhow::Result<Vec<_>>>()?));
    }
    let (gateway, _) = started(&data, &robots)?;
    let start = clock::now();
    look_through(&gateway, &robots)?;
    let (took, peak) = (clock::since(start), gateway.usage()?.peak);
    gateway.stop()?;
    let name = format!("all of it read once, in {} s", digits(took.as_secs_f64()));
    table.row([name, String::new(), mib(peak as f64)]);
    Ok(text.finish() + &table.finish())
}

/// Reads every record of every robot, and asks for a channel that none has, so that reading is all that is done.
fn look_through(gateway: &Gateway, robots: &Value) -> anyhow::Result<()> {
    for id in robots.as_object().context("robots by id")?.keys() {
        let found = gateway.lines(&format!("/v1/robots/{id}/samples?channels=no.such.channel"))?.count();
        ensure!(found == 0, "{found} samples of a channel that does not exist");
    }
    Ok(())
}

fn row(name: &str, starts: &[Start]) -> Vec<String> {
    let ready: Vec<f64> = starts.iter().map(|start| start.ready_after.as_secs_f64() * 1e3).collect();
    let peaks: Vec<f64> = starts.iter().map(|start| start.peak as f64).collect();
    vec![name.to_owned(), spread(&ready, digits), spread(&peaks, mib)]
}

/// Whether the kernel may still hold the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Kept,
    Dropped,
}

/// Starts a gateway on a copy, so that each run finds the same folder, and kills it.
fn started_from_copy(data: &Path, copy: &Path, cache: Cache, robots: &Value) -> anyhow::Result<Start> {
    copy_folder(data, copy)?;
    prepare(copy, cache)?;
    let (gateway, start) = started(copy, robots)?;
    gateway.kill()?;
    fs::remove_dir_all(copy).context("remove the copy")?;
    Ok(start)
}

/// Starts a gateway and checks that it serves what was served before.
fn started(data: &Path, robots: &Value) -> anyhow::Result<(Gateway, Start)> {
    let gateway = Gateway::start(data)?;
    let start = Start { ready_after: gateway.ready_after, peak: gateway.usage()?.peak };
    let now = totals(&gateway)?;
    ensure!(now == *robots, "after the start it serves {now}, and before it was {robots}");
    Ok((gateway, start))
}

/// Returns what must be equal before and after: everything of each robot that is no age and no link.
fn totals(gateway: &Gateway) -> anyhow::Result<Value> {
    let page = gateway.ask("/v1/robots?limit=1000")?;
    let robots = page["robots"].as_array().context("a page has robots")?;
    ensure!(!robots.is_empty(), "no robots are served");
    let mut totals = Map::new();
    for robot in robots {
        let id = robot["robot"].as_str().context("a robot has an id")?;
        let whole = gateway.ask(&format!("/v1/robots/{id}"))?;
        let channels = whole["channels"].as_object().context("a robot has channels")?;
        let channels = channels.iter().map(|(name, channel)| {
            let kept = ["v", "t", "samples", "type", "unit", "received_at"].map(|key| channel[key].clone());
            (name.clone(), Value::from(kept.to_vec()))
        });
        let channels: Map<String, Value> = channels.collect();
        let kept = [&whole["samples"], &whole["loss"], &whole["log"]["batches"]].map(Clone::clone);
        let kept = kept.into_iter().chain([Value::Object(channels)]).collect::<Vec<_>>();
        totals.insert(id.to_owned(), Value::from(kept));
    }
    Ok(Value::Object(totals))
}

fn fill(gateway: &Gateway, logs: &Logs, bytes: u64) -> anyhow::Result<Fed> {
    let logs: Vec<Encoded> = logs.all().iter().map(codec::encode).collect::<anyhow::Result<_>>()?;
    let logs: &'static [Encoded] = logs.leak();
    let logs_bytes: u64 = logs.iter().map(Encoded::bytes).sum();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sessions = tokio::task::JoinSet::new();
        for (robot, log) in (0..SESSIONS).zip(logs.iter().cycle()) {
            sessions.spawn(feeder::feed(Feed {
                url: gateway.url(Via::Quic).parse()?,
                ca: gateway.ca(),
                robot: format!("bench/r{robot}").parse()?,
                log,
                bytes: bytes * log.bytes() / logs_bytes / (SESSIONS / logs.len() as u64),
                labels: Labels::default(),
            }));
        }
        let mut all = Fed::default();
        while let Some(fed) = sessions.join_next().await {
            let fed = fed.context("feed the gateway")??;
            all.bytes += fed.bytes;
            all.samples += fed.samples;
        }
        Ok(all)
    })
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() {
            // A gateway that was killed leaves its control socket.
            fs::copy(entry.path(), &target).with_context(|| format!("copy to {}", target.display()))?;
        }
    }
    Ok(())
}

/// Syncs all files, so that a start has the disk to itself, and lets the kernel forget them if that is wanted.
fn prepare(folder: &Path, cache: Cache) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            prepare(&path, cache)?;
            continue;
        }
        File::open(&path)
            .and_then(|file| file.sync_all())
            .with_context(|| format!("sync {}", path.display()))?;
        if cache == Cache::Dropped {
            // `dd` asks the kernel to forget one file; nothing else of the machine is touched.
            let mut dd = Command::new("dd");
            dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
            ensure!(dd.status().context("run dd")?.success(), "dd could not drop {}", path.display());
        }
    }
    Ok(())
}

const MIB: u64 = 1024 * 1024;

/// A fleet of so many robots, four of each log, each log repeated equally often.
const SESSIONS: u64 = 16;

const RUNS: usize = 3;
