//! `muster-gateway store check|list|trim`: a report on stdout and an exit code.

mod trim;

use std::{fmt::Write as _, process::ExitCode};

use muster_program::console::{EXIT_FAILED, EXIT_LOSS, sentence};
use muster_protocol::time::WallTime;

use super::{
    CONSOLE,
    args::{OutputForm, StoreAction, StoreTarget},
};
use crate::store::check::{Depth, PartitionReport, PartitionState, Report};

/// Looks at a store and says what is there.
pub(super) fn run(action: &StoreAction) -> ExitCode {
    let (target, depth, repair) = match action {
        StoreAction::Check { target, repair } => (target, Depth::Check, *repair),
        StoreAction::List { target } => (target, Depth::List, false),
        StoreAction::Trim { target, to_size, older_than, yes } => {
            return trim::run(target, (*to_size, *older_than), *yes);
        }
    };
    // the database panics where it is damaged; each panic is caught and becomes a finding
    std::panic::set_hook(Box::new(|_| {}));
    let report = Report::of(&target.dir, depth, repair);
    let _ = std::panic::take_hook();
    match report {
        Ok(report) => show(&report, depth, target),
        Err(error) => CONSOLE.fail(&sentence(&error.into()), EXIT_FAILED),
    }
}

fn show(report: &Report, depth: Depth, target: &StoreTarget) -> ExitCode {
    let text = match target.output {
        OutputForm::Table => table(report, depth),
        OutputForm::Json => match serde_json::to_string(report) {
            Ok(json) => json + "\n",
            Err(error) => return CONSOLE.fail(&error, EXIT_FAILED),
        },
    };
    let printed = CONSOLE.print(&text);
    let lossy = depth == Depth::Check && !report.is_whole();
    if lossy && printed == ExitCode::SUCCESS { ExitCode::from(EXIT_LOSS) } else { printed }
}

fn table(report: &Report, depth: Depth) -> String {
    let mut out = String::new();
    let (log, first, next) = (&report.log, report.first, report.next);
    let _ = writeln!(out, "log {log}: offsets {first} to before {next}");
    let _ = writeln!(
        out,
        "{:>12} {:>12} {:<12} {:>9} {:>11} {:>6} {:>11} {:>11}  from / to",
        "first", "end", "state", "records", "samples", "robots", "bytes", "on disk"
    );
    for partition in &report.partitions {
        row(&mut out, partition);
    }
    for (first, end) in &report.missing {
        let _ = writeln!(out, "missing: offsets {first} to before {end}");
    }
    for (at, whole) in &report.checkpoints {
        let _ = writeln!(out, "checkpoint at {at}: {}", if *whole { "whole" } else { "damaged" });
    }
    for (reason, lost) in &report.lost {
        let _ = writeln!(out, "lost: {reason}: {} batches, {} samples", lost.batches, lost.samples);
    }
    for path in &report.left_over {
        let _ = writeln!(out, "left over from a crash, without meaning: {}", path.display());
    }
    for path in &report.backup_differs {
        let _ = writeln!(out, "not as it was backed up: {}", path.display());
    }
    for done in &report.repaired {
        let _ = writeln!(out, "repaired: {done}");
    }
    if depth == Depth::Check {
        out.push_str(if report.is_whole() { "whole\n" } else { "damaged\n" });
    }
    out
}

fn row(out: &mut String, partition: &PartitionReport) {
    let state = match partition.state {
        PartitionState::Sealed => "sealed",
        PartitionState::Open => "open",
        PartitionState::Quarantined => "quarantined",
    };
    let PartitionReport { first, end, records, samples, robots, record_bytes, disk_bytes, .. } = partition;
    let time = |t: Option<i64>| t.map_or("-".to_owned(), |t| WallTime(t).to_string());
    let (from, to) = (time(partition.t_min), time(partition.t_max));
    let _ = writeln!(
        out,
        "{first:>12} {end:>12} {state:<12} {records:>9} {samples:>11} {robots:>6} {record_bytes:>11} {disk_bytes:>11}  {from} / {to}"
    );
    for finding in &partition.findings {
        let _ = writeln!(out, "             {finding}");
    }
}
