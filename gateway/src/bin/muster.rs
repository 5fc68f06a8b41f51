//! The operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_gateway::muster::cli::main(std::env::args_os())
}
