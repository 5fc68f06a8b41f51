//! The drone logs at full speed.

use super::{
    gateway::Via,
    logs::{ARDRONE, Logs, PX4},
    replay::{self, Load, Run},
    stats::{digits, per_second, si, spread},
    table::Table,
};

/// Measures both drone logs, once as they are and once several times over, by both transports.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
    let columns = [
        "log",
        "via",
        "samples",
        "wall s",
        "samples/s",
        "samples / agent CPU s",
        "samples / gateway CPU s",
        "agent disk B/sample",
        "gateway disk B/sample",
        "loopback B/sample",
        "batches sent again",
    ];
    let mut table = Table::new(&columns);
    let folder = tempfile::tempdir()?;
    for name in [PX4, ARDRONE] {
        let log = logs.named(name);
        for times in if quick { &[1][..] } else { &[1, TIMES][..] } {
            let file = log.repeat(*times, folder.path())?;
            for via in Via::ALL {
                let load = Load { file: &file, samples: log.samples * u64::from(*times), via };
                let runs = (0..if quick { 1 } else { RUNS }).map(|_| replay::run(load));
                let runs: Vec<Run> = runs.collect::<anyhow::Result<_>>()?;
                table.row(row(&format!("{name} ×{times}"), via, &runs));
            }
        }
    }
    Ok(table.finish())
}

fn row(name: &str, via: Via, runs: &[Run]) -> Vec<String> {
    let of = |figure: fn(&Run) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
    let samples = runs.first().map_or(0, |run| run.samples);
    vec![
        name.to_owned(),
        via.name().to_owned(),
        si(samples as f64),
        spread(&of(|run| run.wall.as_secs_f64()), digits),
        spread(&of(|run| per_second(run.samples, run.wall)), si),
        spread(&of(|run| per_second(run.samples, run.agent.cpu)), si),
        spread(&of(|run| per_second(run.samples, run.gateway.cpu)), si),
        spread(&of(|run| run.agent.written as f64 / run.samples as f64), digits),
        spread(&of(|run| run.gateway.written as f64 / run.samples as f64), digits),
        spread(&of(|run| run.loopback as f64 / run.samples as f64), digits),
        spread(&of(|run| run.resent as f64), |batches| format!("{batches:.0}")),
    ]
}

/// So often the longer file holds the log: starting and ending the programs then hardly counts.
const TIMES: u32 = 8;

const RUNS: usize = 5;
