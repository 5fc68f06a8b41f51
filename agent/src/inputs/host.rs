//! The input `host`: this machine's own figures, once a second, as one row. It is live.
//!
//! | channel | unit | what |
//! |---|---|---|
//! | `host.cpu.usage`, `host.cpu.cores[N]` | 1 | busy fraction since the second before, 0 to 1 |
//! | `host.load.one`, `.five`, `.fifteen` | 1 | load averages over as many minutes |
//! | `host.memory.total`, `.available`, `.used` | By | |
//! | `host.memory.usage` | 1 | used fraction |
//! | `host.swap.total`, `.used` | By | |
//! | `host.disk[MOUNT].total`, `.available` | By | each mounted disk |
//! | `host.disk[MOUNT].usage` | 1 | used fraction |
//! | `host.net[NAME].received`, `.sent` | By/s | each interface but loopback |
//! | `host.temperature[SENSOR]` | Cel | what the machine's sensors say |
//! | `host.battery.soc` | 1 | charge, 0 to 1, the mean of several batteries |
//! | `host.battery.charging` | | whether any battery charges |
//! | `host.uptime` | s | since boot |
//!
//! What a machine does not have is left out. Units are UCUM. Disks are looked at every 10 seconds, for a stale network
//! mount may answer slowly. Lists are cut at 64 cores and 16 of everything else.

use std::{path::Path, time::Duration};

use muster_protocol::{
    glob::Glob,
    id::ChannelName,
    sample::{Row, Value},
};
use sysinfo::{Components, Disks, MemoryRefreshKind, Networks, System};

use crate::{
    batcher::{Declaration, Stamped},
    clock::Clock,
    intake::{Refused, Shown, Source},
};

use super::{
    End,
    stop::{Pause, ThreadStop},
};

/// How often the machine is looked at.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the disks once in so many seconds.
const DISKS_EVERY: u64 = 10;

const CORES_MAX: usize = 64;
const LIST_MAX: usize = 16;

const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// Keeps what rates need: the figures of the second before.
#[derive(Debug)]
pub struct Host {
    system: System,
    disks: Disks,
    networks: Networks,
    components: Components,
    samples: u64,
}

/// Fields of the row that is being made.
struct Fields(Vec<(ChannelName, Value)>);

/// Returns units and interval of the channels of this input, to stand behind what the configuration declares.
pub fn declarations() -> Vec<Declaration> {
    const UNITS: [(&str, &str); 13] = [
        ("host.cpu.*", "1"),
        ("host.load.*", "1"),
        ("host.*.usage", "1"),
        ("host.memory.*", "By"),
        ("host.swap.*", "By"),
        ("host.disk[*].total", "By"),
        ("host.disk[*].available", "By"),
        ("host.disk[*].usage", "1"),
        ("host.net[*].received", "By/s"),
        ("host.net[*].sent", "By/s"),
        ("host.temperature[*]", "Cel"),
        ("host.battery.soc", "1"),
        ("host.uptime", "s"),
    ];
    let of = |channels: &str| Declaration::of(pattern(channels));
    let declare =
        |(channels, unit): (&str, &str)| Declaration { unit: Some(unit.to_owned()), ..of(channels) };
    let every =
        |channels, seconds: u64| Declaration { interval_ns: Some(seconds * 1_000_000_000), ..of(channels) };
    let intervals =
        [every("host.disk[*", DISKS_EVERY * INTERVAL.as_secs()), every("host.*", INTERVAL.as_secs())];
    UNITS.into_iter().map(declare).chain(intervals).collect()
}

fn pattern(text: &str) -> Glob {
    text.parse().expect("the patterns of this file are patterns")
}

/// Records the machine's figures until it is stopped.
pub(super) fn run(source: &Source, clock: Clock, stop: &ThreadStop) -> End {
    let mut host = Host::new();
    let mut last = clock.mono();
    let mut due = last + INTERVAL;
    let mut line = 0;
    while stop.pause(due.since(clock.mono())) == Pause::Over {
        let now = clock.mono();
        // A late look starts a new cadence; it does not run after the old one.
        due = if now.since(due) < INTERVAL { due + INTERVAL } else { now + INTERVAL };
        line += 1;
        let row = host.sample(now.since(last));
        last = now;
        let shown = Shown { line, text: b"the machine's figures" };
        if source.push(Stamped::at(row, clock.wall(), clock.mono()), shown) == Err(Refused::Closed) {
            break;
        }
    }
    End::Stopped
}

impl Host {
    /// Takes the first look. CPU usage and network rates need a second one.
    #[expect(clippy::new_without_default, reason = "looking at the machine is an action")]
    pub fn new() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        Self {
            system,
            disks: Disks::new(),
            networks: Networks::new_with_refreshed_list(),
            components: Components::new_with_refreshed_list(),
            samples: 0,
        }
    }

    /// Looks at the machine; rates are over `span`, the time since the look before.
    pub fn sample(&mut self, span: Duration) -> Row {
        let mut fields = Fields(Vec::with_capacity(64));
        self.cpu(&mut fields);
        self.memory(&mut fields);
        self.disks(&mut fields);
        self.network(&mut fields, span);
        self.temperatures(&mut fields);
        fields.battery(Path::new(POWER_SUPPLIES));
        fields.int("host.uptime", System::uptime());
        self.samples += 1;
        Row { t: None, lane: None, unit: None, fields: fields.0 }
    }

    fn cpu(&mut self, fields: &mut Fields) {
        self.system.refresh_cpu_usage();
        fields.float("host.cpu.usage", f64::from(self.system.global_cpu_usage()) / 100.0);
        for (number, core) in self.system.cpus().iter().take(CORES_MAX).enumerate() {
            fields.float(&format!("host.cpu.cores[{number}]"), f64::from(core.cpu_usage()) / 100.0);
        }
        let load = System::load_average();
        fields.float("host.load.one", load.one);
        fields.float("host.load.five", load.five);
        fields.float("host.load.fifteen", load.fifteen);
    }

    fn memory(&mut self, fields: &mut Fields) {
        self.system.refresh_memory_specifics(MemoryRefreshKind::everything());
        let (total, used) = (self.system.total_memory(), self.system.used_memory());
        fields.int("host.memory.total", total);
        fields.int("host.memory.available", self.system.available_memory());
        fields.int("host.memory.used", used);
        fields.fraction("host.memory.usage", used, total);
        fields.int("host.swap.total", self.system.total_swap());
        fields.int("host.swap.used", self.system.used_swap());
    }

    fn disks(&mut self, fields: &mut Fields) {
        if !self.samples.is_multiple_of(DISKS_EVERY) {
            return;
        }
        self.disks.refresh(true);
        let mut seen = Vec::new();
        for disk in self.disks.list() {
            // A device that is mounted several times, as in containers, is one disk.
            if disk.total_space() == 0 || seen.contains(&disk.name()) || seen.len() == LIST_MAX {
                continue;
            }
            seen.push(disk.name());
            let name = format!("host.disk[{}]", disk.mount_point().display());
            let (total, available) = (disk.total_space(), disk.available_space());
            fields.int(&format!("{name}.total"), total);
            fields.int(&format!("{name}.available"), available);
            fields.fraction(&format!("{name}.usage"), total.saturating_sub(available), total);
        }
    }

    fn network(&mut self, fields: &mut Fields, span: Duration) {
        self.networks.refresh(true);
        let mut interfaces: Vec<_> = self.networks.list().iter().filter(|(name, _)| *name != "lo").collect();
        interfaces.sort_by_key(|(name, _)| *name);
        for (name, traffic) in interfaces.into_iter().take(LIST_MAX) {
            let per_second = |bytes: u64| (bytes as f64 / span.as_secs_f64()).round();
            fields.float(&format!("host.net[{name}].received"), per_second(traffic.received()));
            fields.float(&format!("host.net[{name}].sent"), per_second(traffic.transmitted()));
        }
    }

    fn temperatures(&mut self, fields: &mut Fields) {
        self.components.refresh(true);
        let mut sensors: Vec<_> = self.components.list().iter().collect();
        sensors.sort_by_key(|sensor| sensor.label());
        for sensor in sensors.into_iter().take(LIST_MAX) {
            if let Some(degrees) = sensor.temperature() {
                fields.float(&format!("host.temperature[{}]", sensor.label()), f64::from(degrees));
            }
        }
    }
}

impl Fields {
    fn push(&mut self, name: &str, value: Value) {
        // The machine names disks and sensors: a name that is no channel name is left out.
        if let Ok(name) = ChannelName::new(name) {
            self.0.push((name, value));
        }
    }

    fn float(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.push(name, Value::Float(value));
        }
    }

    fn int(&mut self, name: &str, value: u64) {
        self.push(name, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn fraction(&mut self, name: &str, part: u64, whole: u64) {
        if whole > 0 {
            self.float(name, part as f64 / whole as f64);
        }
    }

    /// Reads what the kernel says of batteries; sysinfo does not know them.
    fn battery(&mut self, folder: &Path) {
        let read = |supply: &Path, file: &str| std::fs::read_to_string(supply.join(file)).unwrap_or_default();
        let supplies = std::fs::read_dir(folder).into_iter().flatten().flatten().take(LIST_MAX);
        let batteries: Vec<_> = supplies
            .map(|supply| supply.path())
            .filter(|supply| {
                read(supply, "type").trim() == "Battery" && read(supply, "scope").trim() != "Device"
            })
            .collect();
        let charges: Vec<f64> =
            batteries.iter().filter_map(|supply| read(supply, "capacity").trim().parse().ok()).collect();
        if charges.is_empty() {
            return;
        }
        let mean = charges.iter().sum::<f64>() / charges.len() as f64;
        self.float("host.battery.soc", (mean / 100.0).clamp(0.0, 1.0));
        let charging = batteries.iter().any(|supply| read(supply, "status").trim() == "Charging");
        self.push("host.battery.charging", Value::Bool(charging));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::Declarations;

    fn value<'a>(fields: &'a [(ChannelName, Value)], name: &str) -> &'a Value {
        fields.iter().find(|(channel, _)| channel.as_str() == name).map(|(_, value)| value).unwrap()
    }

    #[test]
    fn this_machine_has_figures_in_their_units() {
        let mut host = Host::new();
        let fields = host.sample(INTERVAL).fields;
        for fraction in ["host.cpu.usage", "host.memory.usage"] {
            let Value::Float(usage) = value(&fields, fraction) else { panic!("{fraction}") };
            assert!((0.0..=1.0).contains(usage), "{fraction} {usage}");
        }
        assert!(matches!(value(&fields, "host.memory.total"), Value::Int(total) if *total > 1 << 20));
        assert!(matches!(value(&fields, "host.uptime"), Value::Int(1..)));
    }

    #[test]
    fn every_channel_is_declared_with_its_interval_and_every_number_with_its_unit() {
        let declarations = Declarations::new(declarations());
        let mut host = Host::new();
        for (name, value) in host.sample(INTERVAL).fields {
            let channel = declarations.define(&name, None);
            let seconds = if name.as_str().starts_with("host.disk") { DISKS_EVERY } else { 1 };
            assert_eq!(channel.interval_ns, Some(seconds * 1_000_000_000), "{name}");
            assert!(channel.unit.is_some() || matches!(value, Value::Bool(_)), "{name}");
        }
        let unit = |name: &str| declarations.define(&ChannelName::new(name).unwrap(), None).unit.unwrap();
        assert_eq!(unit("host.memory.usage"), "1");
        assert_eq!(unit("host.memory.used"), "By");
    }

    #[test]
    fn a_battery_is_a_fraction() {
        let folder = tempfile::tempdir().unwrap();
        let write = |supply: &str, file: &str, text: &str| {
            std::fs::create_dir_all(folder.path().join(supply)).unwrap();
            std::fs::write(folder.path().join(supply).join(file), text).unwrap();
        };
        let mut none = Fields(Vec::new());
        none.battery(folder.path());
        assert!(none.0.is_empty());
        for (supply, capacity, status) in [("BAT0", "90\n", "Charging\n"), ("BAT1", "60\n", "Full\n")] {
            write(supply, "type", "Battery\n");
            write(supply, "capacity", capacity);
            write(supply, "status", status);
        }
        write("AC", "type", "Mains\n");
        let mut fields = Fields(Vec::new());
        fields.battery(folder.path());
        assert_eq!(value(&fields.0, "host.battery.soc"), &Value::Float(0.75));
        assert_eq!(value(&fields.0, "host.battery.charging"), &Value::Bool(true));
    }
}
