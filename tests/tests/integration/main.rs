//! The real programs, from outside: what goes in comes out, whatever happens between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod absence;
mod absent_values;
mod bad_folders;
mod bad_frames;
mod bad_lines;
mod bad_trust;
mod broker;
mod chaos;
mod conditions;
mod corpora;
mod damage;
mod deploy;
mod description;
#[cfg(target_os = "linux")]
mod disks;
mod doctor;
mod embedded;
mod freshness;
mod gateways;
mod hostile;
mod journey;
mod kills;
mod labels;
mod mappings;
mod odd_times;
mod operator;
mod own_figures;
mod plain_json;
mod questions;
mod restart;
#[cfg(target_os = "linux")]
mod roaming;
mod runbook;
mod silent_spans;
mod tidy;
#[cfg(target_os = "linux")]
mod trim;
mod uplink;
mod world;

use muster_tests::{process::Programs, scene::Scene};

/// Returns a folder of its own with the programs that were built beside this test.
fn scene() -> Scene {
    Scene::new(Programs::new(env!("CARGO_BIN_EXE_program")))
}
