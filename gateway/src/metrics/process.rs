//! The process's own figures under the names that all Prometheus clients use, read from Linux's `/proc` when someone asks.
//! Elsewhere, and where a file cannot be read, they are left out.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::process::{Resource, getrlimit};

/// What the system knows of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of processor time, of all threads.
    pub cpu_s: Option<f64>,
    /// Bytes of memory that are resident.
    pub resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// Most file descriptors that may be open; `None` without a limit.
    pub max_fds: Option<u64>,
    /// When it was started, in seconds since 1970.
    pub started_s: Option<f64>,
}

/// Encodes [`Usage`].
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Usage {
    /// Reads everything as it is now. Reads files: not on the async runtime's threads.
    pub fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name stands in brackets and may hold blanks; what follows it does not.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - FIRST_FIELD)?.parse::<u64>().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident_kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse().ok());
        let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted_s =
            booted.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_S;
        Self {
            cpu_s: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
            resident_bytes: resident_kib.map(|kib: u64| kib * 1024),
            virtual_bytes: field(23),
            threads: field(20),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
            max_fds: getrlimit(Resource::Nofile).current,
            started_s: booted_s.zip(field(22)).map(|(booted, after)| booted as f64 + seconds(after)),
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let usage = Usage::read();
        let mut counter = |name: &str, help: &str, unit: &Unit, value: Option<f64>| match value {
            None => Ok(()),
            Some(value) => {
                let counter = ConstCounter::new(value);
                let metric = encoder.encode_descriptor(name, help, Some(unit), counter.metric_type())?;
                counter.encode(metric)
            }
        };
        counter("process_cpu", "Processor time", &Unit::Seconds, usage.cpu_s)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| match value {
            None => Ok(()),
            Some(value) => {
                let gauge = ConstGauge::new(value);
                let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
                gauge.encode(metric)
            }
        };
        let figure = |value: Option<u64>| value.map(|value| value as f64);
        let bytes = Some(&Unit::Bytes);
        gauge("process_resident_memory", "Memory that is resident", bytes, figure(usage.resident_bytes))?;
        gauge("process_virtual_memory", "Address space", bytes, figure(usage.virtual_bytes))?;
        gauge(
            "process_start_time",
            "When it was started, since 1970",
            Some(&Unit::Seconds),
            usage.started_s,
        )?;
        gauge("process_open_fds", "Open file descriptors", None, figure(usage.open_fds))?;
        gauge("process_max_fds", "Most file descriptors", None, figure(usage.max_fds))?;
        gauge("process_threads", "Threads", None, figure(usage.threads))
    }
}

/// The number of the first field behind the name in `/proc/PID/stat` (proc(5)).
const FIRST_FIELD: usize = 3;

/// The unit of times in `/proc`: Linux has shown programs the same since ever, on every machine.
const TICKS_PER_S: f64 = 100.0;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_linux_tells_everything() {
        let usage = Usage::read();
        assert!(usage.cpu_s.is_some_and(|seconds| seconds < 1e6), "{usage:?}");
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{usage:?}");
        assert!(usage.virtual_bytes > usage.resident_bytes, "{usage:?}");
        assert!(usage.threads.is_some_and(|threads| (1..10_000).contains(&threads)), "{usage:?}");
        assert!(usage.open_fds.is_some_and(|fds| (3..100_000).contains(&fds)), "{usage:?}");
        assert!(usage.started_s.is_some_and(|at| (1.6e9..4e9).contains(&at)), "{usage:?}");
    }
}
