//! The fleet demo: a gateway, this machine as a robot, and four more, with a live table of what the gateway knows.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_examples::children::run_hidden().unwrap_or_else(muster_examples::fleet::main)
}
