//! What the kernel says that a process used.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use anyhow::Context as _;

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// CPU time in user and kernel mode, of all its threads and none of its children.
    pub(super) cpu: Duration,
    /// Bytes that it caused to be written to storage.
    pub(super) written: u64,
    /// The most memory that it had resident; 0 once it has ended.
    pub(super) peak: u64,
    /// The memory that it has resident; 0 once it has ended.
    pub(super) resident: u64,
    /// Whether it has ended and waits to be collected.
    pub(super) ended: bool,
}

impl Usage {
    /// Reads `/proc/PID/{stat,status,io}`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let stat = read("stat")?;
        let (ended, ticks) = state_and_ticks(&stat).context("understand the process's stat")?;
        let status = read("status")?;
        let kib = |name: &str| number_after(&status, name).unwrap_or(0) * 1024;
        let (peak, resident) = (kib("VmHWM:"), kib("VmRSS:"));
        let written = number_after(&read("io")?, "write_bytes:").context("understand the process's io")?;
        Ok(Self { cpu: Duration::from_millis(ticks * MS_PER_TICK), written, peak, resident, ended })
    }

    /// Returns what was used since an earlier look. The peak is that of the whole life.
    pub(super) fn since(self, earlier: Self) -> Self {
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        Self { cpu, written: self.written - earlier.written, ..self }
    }
}

/// Returns bytes received so far on the loopback interface of the calling thread's network, with the headers that the
/// kernel counts.
pub(super) fn loopback_bytes() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").context("read the counts of interfaces")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    bytes.context("find the loopback interface")
}

/// Returns what a folder takes on disk.
pub(super) fn on_disk(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += metadata.blocks() * BLOCK_BYTES;
        if metadata.is_dir() {
            bytes += on_disk(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// Returns the number behind a label at the start of a line.
pub(super) fn number_after(text: &str, label: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The process's name stands in parentheses and may hold anything: fields are counted behind it (proc(5)).
fn state_and_ticks(stat: &str) -> Option<(bool, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((*fields.first()? == "Z", number(11)? + number(12)?))
}

/// `USER_HZ` is 100 on Linux, whatever the kernel's own rate.
const MS_PER_TICK: u64 = 10;

/// The unit of `st_blocks`, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "7 (a b) c) Z 1 2 3 4 5 6 7 8 9 10 30 4 0 0";
        assert_eq!(state_and_ticks(stat), Some((true, 34)));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(!usage.ended && usage.peak > 0);
        assert!(loopback_bytes().is_ok());
    }
}
