//! What the kernel says of this process.

use std::{fs, time::Duration};

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Processor time of all its threads.
    pub(super) cpu: Option<Duration>,
    /// Resident memory.
    pub(super) rss_bytes: Option<u64>,
}

/// The unit of times in /proc, whatever the kernel itself counts in (`USER_HZ`, time(7)).
const TICKS_PER_SECOND: u64 = 100;

/// Looks at this process. Two small reads of memory; nothing where there is no /proc.
pub(super) fn look() -> Process {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    Process { cpu: cpu_of(&read("/proc/self/stat")), rss_bytes: rss_of(&read("/proc/self/status")) }
}

/// Reads user and system time, the 14th and 15th field (proc(5)). The second is a name in parentheses, which may hold
/// anything.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_found_behind_any_name() {
        let stat = "77 (a) b) c) S 1 77 77 0 -1 4194560 900 0 0 0 250 30 0 0 20 0 5 0 12 1 2 3";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(2800)));
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        for nonsense in ["", "77 (a) S 1", "VmRSS: many kB"] {
            assert_eq!((cpu_of(nonsense), rss_of(nonsense)), (None, None), "{nonsense}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_both() {
        let process = look();
        assert!(
            process.cpu.is_some() && process.rss_bytes.is_some_and(|bytes| bytes > 1 << 20),
            "{process:?}"
        );
    }
}
