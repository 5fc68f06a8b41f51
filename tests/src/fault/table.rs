//! The table of faults: each done to the real programs a number of times, and what became of the samples.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    Account,
    damage::{self, Partition, SpoolPlace},
    kills, storms,
};
use crate::{
    gateway::Transport,
    patience::now,
    process::{self, Programs},
    scene::Scene,
};

/// A fault that can be done.
struct Fault {
    name: &'static str,
    /// Does it with this seed, and says how often it was injected.
    run: Act,
}

/// How a fault is done, with a seed.
type Act = Box<dyn Fn(&Scene, u64) -> Done>;

/// A fault that was done.
struct Done {
    injected: u64,
    account: Account,
}

/// What was typed.
struct Options {
    times: u64,
    kills: usize,
    /// Part of the names of the faults to do; all if empty.
    only: Vec<String>,
}

/// Runs what was asked for and prints the table; fails if a sample is doubled or not accounted for.
pub fn main() -> ExitCode {
    if let Some(code) = process::be_one() {
        return code;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            say(&format!("{error:#}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    let faults = faults(&options);
    let mut table = String::from(HEADER);
    let mut good = true;
    for fault in faults.iter().filter(|fault| options.wants(fault.name)) {
        say(&format!("doing {}", fault.name));
        let start = now();
        let (row, settled) = row(fault, options.times);
        say(&format!("done after {:.1} s", start.elapsed().as_secs_f64()));
        good &= settled;
        table.push_str(&row);
    }
    let _ = io::stdout().write_all(table.as_bytes());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { times: 1, kills: 50, only: Vec::new() };
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|text| text.parse().ok()).context("a number is missing");
            match arg.as_str() {
                "--times" => options.times = number()?,
                "--kills" => options.kills = usize::try_from(number()?)?,
                flag if flag.starts_with('-') => bail!("there is no flag {flag}"),
                _ => options.only.push(arg),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn faults(options: &Options) -> Vec<Fault> {
    let kills = options.kills;
    let mut faults = Vec::new();
    let mut add = |name, run: Act| faults.push(Fault { name, run });
    for (name, transport) in [
        ("SIGKILL of agent and gateway, QUIC", Transport::Quic),
        ("SIGKILL of agent and gateway, MQTT", Transport::Mqtt),
    ] {
        let run = move |scene: &Scene, seed| Done {
            injected: 2 * kills as u64,
            account: kills::run(scene, transport, kills, seed),
        };
        add(name, Box::new(run));
    }
    for (name, transport) in [
        ("bad network, QUIC: cut, stall, one-way, throttle, corrupt, drop, double, reorder", Transport::Quic),
        ("bad network, MQTT: cut, stall, half-close, throttle, corrupt", Transport::Mqtt),
    ] {
        let run = move |scene: &Scene, seed| {
            let storm = storms::run(scene, transport, STORM, seed);
            Done { injected: storm.harm.iter().map(|(_, count)| count).sum(), account: storm.account }
        };
        add(name, Box::new(run));
    }
    for (name, place) in [
        ("flipped byte in a spool segment: its header", SpoolPlace::SegmentHeader),
        ("flipped byte in a spool segment: a record's header", SpoolPlace::RecordHeader),
        ("flipped byte in a spool segment: a record's body", SpoolPlace::Body),
        ("flipped byte in a spool segment: its index", SpoolPlace::Index),
        ("flipped byte in a spool segment: its trailer", SpoolPlace::Trailer),
    ] {
        add(name, once(move |scene| damage::of_the_spool(scene, place)));
    }
    for (name, partition) in [
        ("flipped bytes in a sealed partition of the store", Partition::Sealed),
        ("flipped bytes in the open partition of the store", Partition::Open),
    ] {
        add(name, once(move |scene| damage::of_the_store(scene, partition)));
    }
    add("stale snap.*.generating in each partition", once(damage::stale_snapshots));
    disks(&mut add);
    faults
}

#[cfg(target_os = "linux")]
fn disks(add: &mut impl FnMut(&'static str, Act)) {
    use super::disks::{Trouble, start_on_a_full_disk, through_memory, under_the_spool, under_the_store};
    add("full disk under the spool", mounted(|scene| under_the_spool(scene, Trouble::Full)));
    add("disk under the spool goes read-only", mounted(|scene| under_the_spool(scene, Trouble::ReadOnly)));
    add("full disk under the spool, link up, room again", mounted(through_memory));
    add("full disk under the store", mounted(|scene| under_the_store(scene, Trouble::Full)));
    add("disk under the store goes read-only", mounted(|scene| under_the_store(scene, Trouble::ReadOnly)));
    add("gateway starts on a full disk", mounted(start_on_a_full_disk));
}

#[cfg(not(target_os = "linux"))]
fn disks(_add: &mut impl FnMut(&'static str, Act)) {}

#[cfg(target_os = "linux")]
fn mounted(run: impl Fn(&Scene) -> Account + Sync + 'static) -> Act {
    use crate::sandbox::{Own, alone};
    once(move |scene| alone(Own::Mounts, || run(scene)).expect("disks of a test's own need root"))
}

fn once(run: impl Fn(&Scene) -> Account + 'static) -> Act {
    Box::new(move |scene, _| Done { injected: 1, account: run(scene) })
}

/// Does one fault so often. Returns its row, and whether everything is accounted for.
fn row(fault: &Fault, times: u64) -> (String, bool) {
    let (mut injected, mut sum, mut failed) = (0, Account::default(), 0);
    for seed in 0..times {
        // One that fails its own checks is shown as such, and the others are still done.
        let done = panic::catch_unwind(AssertUnwindSafe(|| (fault.run)(&Scene::new(Programs::this()), seed)));
        match done {
            Ok(done) => {
                injected += done.injected;
                sum = sum.plus(&done.account);
            }
            Err(_) => failed += 1,
        }
    }
    let mut name = fault.name.to_owned();
    if failed > 0 {
        write!(name, " ({failed} of {times} FAILED)").expect("text grows");
    }
    let Account { produced, stored, lost, doubled, strange, .. } = sum;
    let refused = sum.produced_missing.saturating_sub(lost);
    let unaccounted = sum.unaccounted + strange + sum.overclaimed;
    let row = format!(
        "| {name} | {injected} | {produced} | {refused} | {stored} | {lost} | {doubled} | {unaccounted} |\n"
    );
    (row, failed == 0 && doubled + unaccounted == 0)
}

/// Progress and errors go to standard error; a closed one changes nothing.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

const USAGE: &str = "usage: faults [--times N] [--kills N] [PART OF A NAME]...\n\
     Does each fault N times to the real programs, and prints a Markdown table of what became of the samples.\n\
     Bad disks need root. Logs are read from ../shared/data/replay or MUSTER_LOGS.";

const HEADER: &str = "| fault | injected | samples produced | never accepted | stored | lost, accounted for | doubled | unaccounted |\n\
     | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";

const STORM: Duration = Duration::from_secs(20);
