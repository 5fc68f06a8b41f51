//! Runs worlds one after the other, and tells what came of them.

use std::{cell::Cell, fmt, process::ExitCode};

use muster_gateway::clock::VirtualClock;

use super::{Trace, World, checker::Tally, fault::Injected};

/// What came of a world.
pub struct Outcome {
    /// The number that decided everything.
    pub seed: u64,
    /// What was not as it has to be; empty if all was.
    pub wrong: Vec<String>,
    tally: Tally,
    injected: Injected,
}

/// What came of many worlds; shown as the table of the faults and what became of the samples.
#[derive(Default)]
pub struct Summary {
    worlds: u64,
    /// Seeds of worlds in which something was wrong.
    pub failed: Vec<u64>,
    tally: Tally,
    injected: Injected,
    by_fault: std::collections::BTreeMap<super::Fault, Tally>,
}

thread_local! {
    /// One clock for all worlds of a thread: they live one after the other.
    static CLOCK: Cell<Option<&'static VirtualClock>> = const { Cell::new(None) };
}

/// Lets the world of a seed live.
pub fn run(seed: u64, trace: Trace) -> Outcome {
    let clock = CLOCK.get().unwrap_or_else(|| Box::leak(Box::default()));
    CLOCK.set(Some(clock));
    let (tally, injected, wrong) = World::new(seed, clock, trace).live();
    Outcome { seed, wrong, tally, injected }
}

impl Summary {
    /// Counts a world in.
    pub fn add(&mut self, outcome: &Outcome) {
        self.worlds += 1;
        if !outcome.wrong.is_empty() {
            self.failed.push(outcome.seed);
        }
        self.tally.add(&outcome.tally);
        self.injected.add(&outcome.injected);
        for (fault, _) in outcome.injected.iter() {
            self.by_fault.entry(fault).or_default().add(&outcome.tally);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "| fault | injected | per 1,000 worlds | produced | accepted | stored | lost, recorded | absent, recorded | gone with its spool | doubled | unaccounted |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
        for (fault, count) in self.injected.iter() {
            let per_mille = count * 1000 / self.worlds.max(1);
            let tally = &self.by_fault[&fault];
            writeln!(out, "| {} | {count} | {per_mille} | {}", fault.as_str(), cells(tally))?;
        }
        writeln!(out, "| all {} worlds | | | {}", self.worlds, cells(&self.tally))?;
        let lost: Vec<String> =
            self.tally.lost.iter().map(|(reason, samples)| format!("{samples} {reason}")).collect();
        writeln!(out)?;
        writeln!(out, "Lost by reason: {}.", lost.join(", "))?;
        writeln!(out, "States as of the past compared with what was served: {}.", self.tally.compared)?;
        writeln!(
            out,
            "Absent without a record: {}. Counts of single seqs off by: {}.",
            self.tally.before, self.tally.miscounted
        )
    }
}

fn cells(tally: &Tally) -> String {
    let lost: u64 = tally.lost.values().sum();
    let Tally { produced, accepted, stored, absent, before, unknown, doubled, unaccounted, .. } = tally;
    let absent = absent + before;
    format!(
        "{produced} | {accepted} | {stored} | {lost} | {absent} | {unknown} | {doubled} | {unaccounted} |"
    )
}

/// Lets the worlds of many seeds live, on as many threads as there are processors, and returns them in order.
pub fn run_all(seeds: std::ops::Range<u64>, mut told: impl FnMut(&Outcome)) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let mut summary = Summary::default();
    let mut from = seeds.start;
    while from < seeds.end {
        let end = seeds.end.min(from + threads * SEEDS_AT_ONCE);
        let outcomes = std::thread::scope(|scope| {
            let part = |thread| {
                move || {
                    (from..end)
                        .filter(|seed| seed % threads == thread)
                        .map(|seed| run(seed, Trace::Silent))
                        .collect::<Vec<_>>()
                }
            };
            let parts: Vec<_> = (0..threads).map(|thread| scope.spawn(part(thread))).collect();
            parts
                .into_iter()
                .flat_map(|part| part.join().expect("a world that panics has printed why"))
                .collect::<Vec<_>>()
        });
        for outcome in &outcomes {
            told(outcome);
            summary.add(outcome);
        }
        from = end;
    }
    summary
}

/// Worlds that a thread lives through before the next ones are shared out.
const SEEDS_AT_ONCE: u64 = 32;

/// The program `world`: `--seed X [--trace]` for one world, `--seeds N [--from S]` for many.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        let trace = if args.iter().any(|arg| arg == "--trace") { Trace::Aloud } else { Trace::Silent };
        let outcome = run(seed, trace);
        eprintln!("{:?}", outcome.tally);
        outcome.wrong.iter().for_each(|wrong| eprintln!("wrong: {wrong}"));
        return if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let Some(seeds) = number("--seeds") else {
        eprintln!("usage: world --seeds N [--from SEED] | --seed SEED [--trace]");
        return ExitCode::from(2);
    };
    let from = number("--from").unwrap_or(1);
    let summary = run_all(from..from + seeds, |outcome| {
        if let Some(wrong) = outcome.wrong.first() {
            let seed = outcome.seed;
            eprintln!("seed {seed}: {wrong} (tell its story with: --seed {seed} --trace)");
        }
    });
    eprintln!("{summary}");
    eprintln!("seeds {from}..{}: {} failed {:?}", from + seeds, summary.failed.len(), summary.failed);
    if summary.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
