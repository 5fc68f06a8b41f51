//! Muster's tests over the real programs, and what they share: starting and ending programs, waiting with a deadline,
//! and a checker that reads logs and answers for itself, apart from the code that it checks.
#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails by a panic, and shows what its programs said"
)]

pub mod agent;
pub mod aloud;
pub mod bench;
pub mod broker;
pub mod chaos;
pub mod conditions;
pub mod dice;
pub mod facts;
pub mod fault;
pub mod feeder;
pub mod fuzz;
pub mod gateway;
pub mod logs;
#[cfg(target_os = "linux")]
pub mod netlab;
pub mod outside;
pub mod patience;
pub mod process;
pub mod prometheus;
pub mod python;
#[cfg(target_os = "linux")]
pub mod sandbox;
pub mod scene;
pub mod world;
