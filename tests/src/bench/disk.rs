//! How many bytes go to the disk for each byte of samples.

use super::{
    gateway::Via,
    logs::Logs,
    replay::{self, Load, Run},
    stats::{digits, mib, spread},
    table::Table,
};

/// Measures each log at full speed over QUIC, several times over so that what is written once hardly counts.
pub(super) fn measure(logs: &Logs, quick: bool) -> anyhow::Result<String> {
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

const TIMES: u32 = 8;
const RUNS: usize = 3;
