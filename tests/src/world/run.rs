//! Runs worlds one after the other, and tells what came of them.

use std::{cell::Cell, process::ExitCode};

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

/// The program `world`.
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
        outcome.wrong.iter().for_each(|wrong| eprintln!("{wrong}"));
        return if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (from, seeds) = (number("--from").unwrap_or(1), number("--seeds").unwrap_or(100));
    let mut failed = 0;
    let mut all = Tally::default();
    for seed in from..from + seeds {
        let outcome = run(seed, Trace::Silent);
        if !outcome.wrong.is_empty() {
            failed += 1;
            eprintln!("seed {seed}: {}", outcome.wrong[0]);
        }
        all.produced += outcome.tally.produced;
        all.accepted += outcome.tally.accepted;
        all.stored += outcome.tally.stored;
    }
    eprintln!("{seeds} seeds, {failed} failed; {all:?}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
