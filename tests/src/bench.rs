//! The benchmarks: real processes, real files and real robot logs on this machine, printed as the Markdown tables of
//! BENCHMARKS.md.
//!
//! Each measure starts its own gateway on free loopback ports with its own temporary folders, and ends what it started.
//! CPU time, memory and disk writes are the kernel's (`/proc/PID/{stat,status,io}`), everything else is the wall clock.
//! What goes in is counted here and compared with what the gateway says it stored: a fast wrong run is an error.

#[cfg(target_os = "linux")]
mod catchup;
mod clock;
mod codec;
mod disk;
mod feeder;
mod gateway;
mod latency;
mod logs;
mod machine;
mod memory;
mod options;
mod paced;
mod process;
mod query;
mod reconnect;
mod replay;
mod spool_start;
mod start;
mod stats;
mod table;
mod throughput;
mod usage;
mod wire;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

#[cfg(target_os = "linux")]
use anyhow::Context as _;

use logs::Logs;
use options::{Options, Part};

/// Runs what was asked for, or one of the programs if this process was started to be one.
pub fn main() -> ExitCode {
    if let Some(code) = process::run_hidden().or_else(crate::process::be_one) {
        return code;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            say(&format!("{error:#}\n{}", options::USAGE));
            return ExitCode::from(2);
        }
    };
    match apart(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs with a loopback interface of its own, if this is root's process: else what others send is counted too.
#[cfg(target_os = "linux")]
fn apart(options: &Options) -> anyhow::Result<()> {
    use crate::{
        netlab,
        sandbox::{Own, alone, is_possible},
    };
    if !is_possible(Own::Network) || std::process::Command::new("ip").output().is_err() {
        say(
            "no right to a network of its own, or no `ip`: what others send over loopback while this runs is counted too",
        );
        return run(options);
    }
    let run = || {
        netlab::raise_loopback();
        run(options)
    };
    alone(Own::Network, run).context("root may have a network of its own")?
}

#[cfg(not(target_os = "linux"))]
fn apart(options: &Options) -> anyhow::Result<()> {
    run(options)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let logs = Logs::read(&options.logs)?;
    print(&machine::describe()?)?;
    for part in &options.parts {
        say(&format!("measuring {}", part.name()));
        let text = match part {
            Part::Codec => codec::measure(&logs)?,
            Part::Throughput => throughput::measure(&logs, options.quick)?,
            Part::Wire => wire::measure(&logs)?,
            Part::Latency => latency::measure(options.quick)?,
            Part::Memory => memory::measure(&logs, options.quick)?,
            Part::Start => start::measure(&logs, options.quick)?,
            Part::SpoolStart => spool_start::measure(&logs, options.quick)?,
            Part::Disk => disk::measure(&logs, options.quick)?,
            Part::Query => query::measure(options.quick)?,
            Part::Reconnect => reconnect::measure(options.quick)?,
            #[cfg(target_os = "linux")]
            Part::Catchup => catchup::measure(&logs, &options.logs.join("../links"), options.quick)?,
            #[cfg(target_os = "linux")]
            Part::LiveFirst => catchup::measure_live_first(&logs, options.quick)?,
            #[cfg(not(target_os = "linux"))]
            Part::Catchup | Part::LiveFirst => anyhow::bail!("links are emulated on Linux only"),
        };
        print(&format!("\n<!-- {} -->\n{text}", part.name()))?;
    }
    Ok(())
}

/// Results go to standard output.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Progress and errors go to standard error; a closed one changes nothing.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
