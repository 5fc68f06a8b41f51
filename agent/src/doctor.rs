//! `muster-agent doctor`: looks at everything that an agent with this configuration would need, and says what to do.
//!
//! ```text
//!   configuration ──► probe: names, UDP, TCP, TLS, clock, disk, inputs, a running agent ──► facts ──► judge ──► findings
//! ```
//!
//! It promises to disturb nobody: no robot is registered, because no Hello is said; a running agent keeps its spool, its
//! sockets and its session; what is written to the disk is one small file, which is removed again. `probe` finds out
//! and decides nothing, `judge` decides and finds out nothing.

mod certificate;
mod facts;
mod judge;
mod print;
mod probe;

use crate::config::Config;

pub use judge::{Finding, Level, worst};
pub use print::{json, lines};

/// Examines a configuration, and what it names. `problem` says what is wrong with it that leaves the rest usable.
/// Takes some seconds where nothing answers; blocks.
pub fn examine(config: &Config, problem: Option<String>) -> Vec<Finding> {
    judge::judge(&probe::look(config, problem))
}

/// Says what is wrong with a configuration that leaves nothing to be examined.
pub fn unusable(why: String) -> Vec<Finding> {
    vec![judge::unusable(why)]
}
