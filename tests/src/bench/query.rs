//! Questions to a gateway that knows ten thousand robots with a hundred channels each.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use muster_gateway::muster::client::Query;
use muster_protocol::{
    batch::BatchBuilder,
    label::Labels,
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::WallTime,
};
use tokio::{runtime::Runtime, task::JoinSet};

use super::{
    clock,
    codec::Encoded,
    feeder::{self, Feed},
    gateway::{Gateway, Via},
    stats::{digits, mib, ms, quantile},
    table::Table,
};

/// How large the fleet is.
#[derive(Clone, Copy)]
struct Scale {
    robots: usize,
    channels: usize,
    /// Values of each channel: as many as a channel's pace is learned from.
    rows: usize,
    requests: usize,
}

const FULL: Scale = Scale { robots: 10_000, channels: 100, rows: 33, requests: 400 };
const QUICK: Scale = Scale { robots: 500, channels: 100, rows: 33, requests: 40 };

/// Robots that are fed at once.
const AT_ONCE: usize = 16;

/// Channels that are asked for in turn.
const OTHER_CHANNELS: usize = 20;

/// Sites that the robots are labelled with.
const SITES: usize = 10;

/// Fills a gateway and asks it.
pub(super) fn measure(quick: bool) -> anyhow::Result<String> {
    let scale = if quick { QUICK } else { FULL };
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let data = folder.path().join("data");
    let gateway = Gateway::start(&data)?;
    let empty = gateway.settled()?.resident;
    Runtime::new().context("start a runtime")?.block_on(fill(&gateway, scale))?;
    let fed = clock::reading().wall;
    let held = gateway.settled()?.resident.saturating_sub(empty);
    let fleet = gateway.ask("/v1/fleet")?;
    ensure!(fleet["robots"] == scale.robots, "the fleet is {fleet}");

    let Scale { robots, channels, requests, .. } = scale;
    let text =
        format!("{robots} robots with {channels} channels each, {requests} requests one after the other\n");
    let mut table = Table::new(&["question", "p50, ms", "p99, ms"]);
    for question in questions(fed) {
        let is_past = question.2.iter().flatten().any(|(name, _)| *name == "at");
        table.row(asked(&gateway, &question, if is_past { requests / 40 } else { requests })?);
    }

    let mut memory = Table::new(&["state in memory", ""]);
    let mut line = |name: &str, value: String| memory.row([name.to_owned(), value]);
    line("resident above an empty gateway, MiB", mib(held as f64));
    line("of each robot, KiB", digits(held as f64 / robots as f64 / 1024.0));
    line("of each channel, bytes", digits(held as f64 / (robots * channels) as f64));
    gateway.stop()?;
    let started = Gateway::start(&data)?;
    line("start after an orderly end, ms until the ready line", ms(started.ready_after.as_secs_f64()));
    started.kill()?;
    let started = Gateway::start(&data)?;
    line("start after SIGKILL, ms until the ready line", ms(started.ready_after.as_secs_f64()));
    started.stop()?;
    Ok(text + &table.finish() + &memory.finish())
}

fn questions(fed: WallTime) -> Vec<Question> {
    let at = fed.0.to_string();
    let all = "count,min,max,mean,p50,p95";
    let query = |parameters: &[(&'static str, &str)]| -> Query {
        parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    };
    let label = r#"value("battery.soc") < 0.2 && labels.site == "s3""#;
    let fresh = r#"!link.up && freshness("battery.soc") == "stale""#;
    let health = r#"health.level == "error""#;
    let past = |known: &str| query(&[("at", &at), ("known", known)]);
    let (robots, one) = ("/v1/robots", "/v1/robots/f/r77");
    let by_site = query(&[("by", "labels.site"), ("of", "battery.soc"), ("fn", all)]);
    // More channels in turn than the gateway keeps columns of.
    let unkept = (1..=OTHER_CHANNELS).map(|n| format!(r#"value("joint[{n}].x") < 0.0"#));
    let unkept = unkept.map(|text| query(&[("where", &text)])).collect();
    let same = |name, path, query| (name, path, vec![query]);
    vec![
        same("page of 100 by id", robots, query(&[])),
        same("where: a value and a label, 1 robot in 50", robots, query(&[("where", label)])),
        ("where: a value of which no column is kept", robots, unkept),
        same("where: link and freshness", robots, query(&[("where", fresh)])),
        same("where: health, which looks at each channel", robots, query(&[("where", health)])),
        same("page of 100 sorted by a channel", robots, query(&[("sort", "-battery.soc")])),
        same("aggregate of a channel by label", "/v1/aggregate", by_site),
        same("fleet in counts, which looks at each channel", "/v1/fleet", query(&[])),
        same("one robot as of the past, known then", one, past("then")),
        same("one robot as of the past, known now", one, past("now")),
        same("fleet in counts as of the past, known then", "/v1/fleet", past("then")),
    ]
}

/// What is asked: its name in the table, a path, and parameters that take turns.
type Question = (&'static str, &'static str, Vec<Query>);

fn asked(gateway: &Gateway, question: &Question, requests: usize) -> anyhow::Result<[String; 3]> {
    let (name, path, queries) = question;
    let once = |turn: usize| -> anyhow::Result<Duration> {
        let query = &queries[turn % queries.len()];
        let start = clock::now();
        let bytes = gateway.fetch(path, query)?;
        ensure!(bytes > 0, "{path} answered nothing");
        Ok(clock::since(start))
    };
    once(0)?;
    let mut seconds = Vec::new();
    for turn in 1..=requests.max(3) {
        seconds.push(once(turn)?.as_secs_f64());
    }
    Ok([(*name).to_owned(), ms(quantile(&seconds, 0.5)), ms(quantile(&seconds, 0.99))])
}

async fn fill(gateway: &Gateway, scale: Scale) -> anyhow::Result<()> {
    let mut feeding = JoinSet::new();
    for number in 0..scale.robots {
        if feeding.len() >= AT_ONCE
            && let Some(fed) = feeding.join_next().await
        {
            fed??;
        }
        let (url, ca) = (gateway.url(Via::Quic).parse()?, gateway.ca());
        feeding.spawn(async move {
            let log = encoded(number, scale)?;
            let robot = format!("f/r{number}").parse()?;
            let site = (format!("s{}", number % SITES)).parse()?;
            let labels = Labels::new([("site".parse()?, site)].into())?;
            let bytes = log.bytes();
            feeder::feed(Feed { url, ca, robot, log: &log, bytes, labels }).await.map(drop)
        });
    }
    while let Some(fed) = feeding.join_next().await {
        fed??;
    }
    Ok(())
}

/// Returns what a robot sends: a battery, and channels of numbers.
fn encoded(robot: usize, scale: Scale) -> anyhow::Result<Encoded> {
    let names = (1..scale.channels).map(|n| format!("joint[{}].{}", n / 4, ["x", "y", "z", "w"][n % 4]));
    let names = ["battery.soc".to_owned()].into_iter().chain(names);
    let channels = names.map(|name| Ok(ChannelDef::named(name.parse()?))).collect::<anyhow::Result<_>>()?;
    let schema = Arc::new(Schema::new(channels).context("a schema of a hundred channels")?);
    let mut builder = BatchBuilder::new();
    let (now, charge) = (clock::reading(), (robot * 37 % 1000) as f64 / 1000.0);
    for row in 0..scale.rows {
        let value = |channel: u32| {
            let of_channel = if channel == 0 { charge } else { f64::from(channel) + row as f64 / 8.0 };
            (channel, Value::Float(of_channel))
        };
        let before = i64::try_from(scale.rows - row).unwrap_or(i64::MAX) * 1_000_000_000;
        let fields: Vec<_> = (0..u32::try_from(scale.channels)?).map(value).collect();
        builder.push_row(now.wall.shifted(-before), StampedBy::Input, &fields)?;
    }
    Ok(Encoded { batches: builder.finish(&schema, now), schema })
}
