//! The real programs in one executable, so that `cargo test` always runs those of the sources beside it: the first
//! argument says which one to be.

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let which = args.next().unwrap_or_default();
    let named = |name: &str| std::iter::once(OsString::from(name)).chain(args).collect::<Vec<_>>();
    match OsStr::to_str(&which) {
        Some("gateway") => muster_gateway::cli::main(named("muster-gateway")),
        Some("agent") => muster_agent::cli::main(named("muster-agent")),
        Some("muster") => muster_gateway::muster::cli::main(named("muster")),
        _ => ExitCode::from(USAGE),
    }
}

/// Wrong usage, as in all of Muster's programs.
const USAGE: u8 = 2;
