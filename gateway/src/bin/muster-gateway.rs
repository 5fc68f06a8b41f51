//! The gateway's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_gateway::cli::main(std::env::args_os())
}
