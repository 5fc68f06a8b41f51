//! Simulated worlds: the kept ones, and some hundred more.

use muster_tests::{
    aloud::say_aloud,
    world::{KEPT, Outcome, Trace, run, run_all},
};

/// The first of the fresh seeds.
const FROM: u64 = 1_000;

/// How many of them: they take well under a minute.
const SEEDS: u64 = 300;

#[test]
fn worlds_that_once_went_wrong_go_right() {
    for (seed, story) in KEPT {
        let outcome = run(*seed, Trace::Silent);
        assert!(outcome.wrong.is_empty(), "seed {seed} ({story}): {:#?}", outcome.wrong);
    }
}

#[test]
fn in_every_world_each_accepted_sample_is_stored_once_or_accounted_for() {
    let summary = run_all(FROM..FROM + SEEDS, |outcome| {
        let Outcome { seed, wrong, .. } = outcome;
        assert!(
            wrong.is_empty(),
            "seed {seed}: {wrong:#?}\ntell its story with: cargo run --release -p muster-tests --bin world -- --seed {seed} --trace"
        );
    });
    say_aloud(&format!("seeds {FROM}..{}\n{summary}", FROM + SEEDS));
}
