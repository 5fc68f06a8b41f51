//! From handing a sample to the agent to the acknowledgement of its batch: spooled and synced on the robot, sent,
//! committed and synced on the gateway, acknowledged.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{BufRead as _, BufReader},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    gateway::{Gateway, Via},
    paced,
    process::Program,
    replay::ROBOT,
    stats::{ms, quantile, spread},
    table::Table,
    usage::Usage,
};

/// What a run is of: a hundred rows a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) via: Via,
    pub(super) lane: &'static str,
    pub(super) rows: u32,
}

/// What a run showed.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Seconds from sample to acknowledgement, of each row.
    seconds: Vec<f64>,
    batches: usize,
    pub(super) agent: Usage,
    pub(super) gateway: Usage,
}

impl Default for Pace {
    fn default() -> Self {
        Self { via: Via::Quic, lane: "urgent", rows: 100 }
    }
}

/// Measures the urgent lane, where each row is a batch, and the live lane as it is without configuration.
pub(super) fn measure(quick: bool) -> anyhow::Result<String> {
    let columns = [
        "100 rows/s, ms to the ack",
        "via",
        "rows",
        "batches",
        "p50",
        "p99",
        "most",
        "agent CPU",
        "gateway CPU",
    ];
    let mut table = Table::new(&columns);
    for lane in ["urgent", "live"] {
        for via in Via::ALL {
            let pace = Pace { via, lane, rows: if quick { 200 } else { ROWS } };
            let runs = (0..if quick { 1 } else { RUNS }).map(|_| run(pace));
            let runs: Vec<Run> = runs.collect::<anyhow::Result<_>>()?;
            let of = |figure: &dyn Fn(&Run) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
            let seconds = f64::from(pace.rows) / 100.0;
            let share = |share: f64| format!("{share:.1} %");
            table.row([
                format!("{lane} lane"),
                via.name().to_owned(),
                pace.rows.to_string(),
                spread(&of(&|run| run.batches as f64), |batches| format!("{batches:.0}")),
                spread(&of(&|run| quantile(&run.seconds, 0.5)), ms),
                spread(&of(&|run| quantile(&run.seconds, 0.99)), ms),
                spread(&of(&|run| quantile(&run.seconds, 1.0)), ms),
                spread(&of(&|run| run.agent.cpu.as_secs_f64() / seconds * 100.0), share),
                spread(&of(&|run| run.gateway.cpu.as_secs_f64() / seconds * 100.0), share),
            ]);
        }
    }
    Ok(table.finish())
}

/// Runs once, with a fresh agent and a fresh gateway.
pub(super) fn run(pace: Pace) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir().context("create a temporary folder")?;
    let gateway = Gateway::start(&folder.path().join("data"))?;
    let before = gateway.settled()?;
    let args: [OsString; 5] = [
        gateway.url(pace.via).into(),
        gateway.ca().into(),
        folder.path().join("spool").into(),
        pace.lane.into(),
        pace.rows.to_string().into(),
    ];
    let mut agent = Program::Paced.start(&args, &folder.path().join("agent.log"))?;
    let output = agent.take_output().context("take the program's output")?;
    // It prints only at its end; a full pipe would keep it from ending.
    let reader = std::thread::spawn(move || BufReader::new(output).lines().collect::<Result<Vec<_>, _>>());
    let agent = agent.finish(PATIENCE)?;
    let gateway_usage = gateway.settled()?.since(before);
    let lines = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let batches = rows_of_batches(&gateway)?;
    let seconds = seconds_of_rows(&lines, &batches)?;
    ensure!(seconds.len() == pace.rows as usize, "{} of {} rows arrived", seconds.len(), pace.rows);
    gateway.stop()?;
    Ok(Run { seconds, batches: batches.len(), agent, gateway: gateway_usage })
}

/// Asks the gateway's log which rows came in which batch, in the order of their commits.
fn rows_of_batches(gateway: &Gateway) -> anyhow::Result<Vec<Vec<usize>>> {
    let mut batches: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    let path = format!("/v1/robots/{ROBOT}/samples?channels={}", paced::NUMBER);
    for line in gateway.lines(&path)? {
        let sample: Value = serde_json::from_str(&line?).context("read a stored sample")?;
        let offset = sample["o"].as_u64().context("a sample has an offset")?;
        let row = sample["v"].as_u64().context("a row has a number")?;
        batches.entry(offset).or_default().push(usize::try_from(row)?);
    }
    Ok(batches.into_values().collect())
}

/// Batches of one lane are released in the order of their commits: the n-th release is that of the n-th batch.
fn seconds_of_rows(lines: &[String], batches: &[Vec<usize>]) -> anyhow::Result<Vec<f64>> {
    let (mut pushed, mut seconds) = (Vec::new(), Vec::new());
    let mut released = 0;
    for line in lines {
        let mut words = line.split(' ');
        let what = words.next();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).context("two numbers");
        let (count, at) = (number()?, number()?);
        match what {
            Some("push") => pushed.push(at),
            Some("released") => {
                let upto = usize::try_from(count)?.min(batches.len());
                for row in batches.get(released..upto).unwrap_or_default().iter().flatten() {
                    let since = pushed.get(*row).context("a row that was never pushed")?;
                    seconds.push(Duration::from_nanos(at - since).as_secs_f64());
                }
                released = upto;
            }
            _ => anyhow::bail!("the program printed {line:?}"),
        }
    }
    Ok(seconds)
}

const ROWS: u32 = 2000;
const RUNS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_share_a_batch_are_acknowledged_together() {
        let lines = [
            "push 0 0",
            "push 1 1000000000",
            "push 2 2000000000",
            "released 0 5",
            "released 1 3000000000",
            "released 2 4000000000",
        ];
        let lines = lines.map(str::to_owned);
        assert_eq!(seconds_of_rows(&lines, &[vec![0], vec![1, 2]]).unwrap(), [3.0, 3.0, 2.0]);
    }
}
