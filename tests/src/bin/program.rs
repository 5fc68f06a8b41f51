//! The real programs in one executable, so that `cargo test` always runs those of the sources beside it: the first
//! argument says which one to be.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_tests::process::be_one().unwrap_or(ExitCode::from(USAGE))
}

/// Wrong usage, as in all of Muster's programs.
const USAGE: u8 = 2;
