//! The agent's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_agent::cli::main(std::env::args_os())
}
