//! A robot's program that embeds the agent and records one small row every ten milliseconds. It runs as a process of
//! its own and prints, in nanoseconds of one clock, when each row was handed over and when acknowledgements were seen:
//! `push ROW NANOS` and `released BATCHES NANOS`.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use muster_agent::{
    batcher::{Manner, Stamped},
    clock::Clock,
    config::{Config, GatewayUrl},
    delivery::Figures,
    intake::{Shown, Source},
    own::Host,
    program::{Outcome, Running},
};
use muster_protocol::{
    id::{ChannelName, Lane},
    sample::{Row, Value},
    time::MonoTime,
};
use tokio::{
    runtime,
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::replay::ROBOT;

/// Runs with `URL CA SPOOL LANE ROWS`.
pub(super) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: impl Iterator<Item = OsString>) -> anyhow::Result<()> {
    let args: Vec<OsString> = args.skip(1).collect();
    let [url, ca, spool, lane, rows] = args.as_slice() else { anyhow::bail!("wrong arguments") };
    let text = |arg: &OsString| arg.to_str().map(str::to_owned).context("an argument that is not UTF-8");
    let mut config = Config::new(&ROBOT.parse()?);
    config.gateway = vec![text(url)?.parse::<GatewayUrl>()?];
    config.ca = Some(PathBuf::from(ca));
    config.spool.dir = PathBuf::from(spool);
    config.once = true;
    let (lane, rows): (Lane, u32) = (text(lane)?.parse()?, text(rows)?.parse()?);

    let clock = Clock::new();
    // As the agent's own program: one thread for everything that waits.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (pushed, released) = runtime.block_on(async {
        let mut running = Running::start(&config, Host::Program)?;
        let source = running.intake().source("paced", Manner::Live);
        running.seal();
        let (up, seen) = (running.figures(), running.figures());
        let pusher = thread::spawn(move || push(&source, up, clock, (lane, rows)));
        let watcher = thread::spawn(move || watch(seen, clock));
        running.done().await;
        let outcome = running.finish().await?;
        ensure!(outcome == Outcome::Done, "samples were lost");
        let pushed = pusher.join().map_err(|_| anyhow::anyhow!("the pusher panicked"))??;
        let released = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        anyhow::Ok((pushed, released))
    })?;
    runtime.shutdown_background();

    let mut out = io::stdout().lock();
    for (row, at) in pushed.iter().enumerate() {
        writeln!(out, "push {row} {}", at.0)?;
    }
    for (batches, at) in released {
        writeln!(out, "released {batches} {}", at.0)?;
    }
    Ok(())
}

/// Hands rows over, once the link is up, and returns when.
fn push(
    source: &Source,
    mut up: watch::Receiver<Figures>,
    clock: Clock,
    (lane, rows): (Lane, u32),
) -> anyhow::Result<Vec<MonoTime>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        up.wait_for(|figures| figures.up).await.context("wait for the link")?;
        let names = (0..FLOATS).map(|at| ChannelName::new(&format!("paced.f{at}")));
        let names: Vec<ChannelName> = names.collect::<Result<_, _>>()?;
        let number = ChannelName::new(NUMBER)?;
        let mut pace = interval(EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pushed = Vec::with_capacity(rows as usize);
        for row in 0..rows {
            pace.tick().await;
            let mut fields = vec![(number.clone(), Value::Int(row.into()))];
            fields
                .extend(names.iter().map(|name| (name.clone(), Value::Float((f64::from(row) * 0.1).sin()))));
            let row = Row { t: None, lane: Some(lane), unit: None, fields };
            pushed.push(clock.mono());
            source.push(Stamped::new(row, clock.wall()), Shown { line: 0, text: b"" })?;
        }
        Ok(pushed)
    })
}

/// Notes when batches were acknowledged, until the agent ends.
fn watch(mut figures: watch::Receiver<Figures>, clock: Clock) -> anyhow::Result<Vec<(u64, MonoTime)>> {
    let runtime = runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(async {
        let mut released = Vec::new();
        while figures.changed().await.is_ok() {
            let now = clock.mono();
            let count = figures.borrow_and_update().released;
            if released.last().is_none_or(|(last, _)| *last < count) {
                released.push((count, now));
            }
        }
        released
    }))
}

/// The channel that numbers the rows, by which the log says which rows shared a batch.
pub(super) const NUMBER: &str = "paced.n";

/// Further samples of a row.
const FLOATS: u32 = 8;

/// A hundred rows a second.
const EVERY: Duration = Duration::from_millis(10);
