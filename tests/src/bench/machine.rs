//! The machine that the figures are of.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    clock,
    stats::{digits, per_second, si},
    table::Table,
    usage::number_after,
};

/// Says what the machine is, and how fast its disk really is.
pub(super) fn describe() -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let memory = number_after(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let control = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let cores = thread::available_parallelism().map_or(0, usize::from);

    let mut table = Table::new(&["machine", ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("processor", model.map_or("unknown", |(_, name)| name.trim()).to_owned());
    row("cores", cores.to_string());
    row("memory", format!("{} GiB", digits(memory.unwrap_or(0) as f64 / 1_048_576.0)));
    row("kernel", format!("Linux {}", kernel.trim()));
    row("TCP's congestion control", control.trim().to_owned());
    row("load before (1, 5, 15 min)", load.join(", "));
    row("disk, 1 MiB writes, one fdatasync at the end", format!("{} MB/s", digits(disk_mb_per_s()?)));
    row("disk, 4 KiB writes, fdatasync after each", format!("{} /s", si(syncs_per_s()?)));
    Ok(table.finish())
}

fn disk_mb_per_s() -> anyhow::Result<f64> {
    let mut file = scratch()?;
    let block: Vec<u8> = noise(BLOCK_BYTES);
    let start = clock::now();
    for _ in 0..BLOCKS {
        file.write_all(&block).context("write to the disk")?;
    }
    file.sync_data().context("sync the disk")?;
    Ok((BLOCKS * BLOCK_BYTES) as f64 / 1e6 / clock::since(start).as_secs_f64())
}

/// Overwrites one file in place, so that only data has to be synced.
fn syncs_per_s() -> anyhow::Result<f64> {
    let mut file = scratch()?;
    let page = noise(4096);
    let start = clock::now();
    let mut syncs = 0;
    while clock::since(start) < SYNC_FOR {
        if syncs % 256 == 0 {
            file.rewind().context("go back in the file")?;
        }
        file.write_all(&page).context("write to the disk")?;
        file.sync_data().context("sync the disk")?;
        syncs += 1;
    }
    Ok(per_second(syncs, clock::since(start)))
}

fn scratch() -> anyhow::Result<File> {
    tempfile::tempfile().context("create a temporary file")
}

/// Bytes that no disk compresses.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

const BLOCK_BYTES: usize = 1024 * 1024;
const BLOCKS: usize = 256;
const SYNC_FOR: Duration = Duration::from_secs(2);
