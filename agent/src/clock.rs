//! The one place that asks the machine for the time.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use muster_protocol::{
    message,
    time::{MonoTime, WallTime},
};

/// The machine's clocks. Monotonic time counts from boot, as exactly as the system tells it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_since_boot: Duration,
    boot: u64,
}

impl Clock {
    /// Reads the boot's id and age once.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    #[expect(clippy::new_without_default, reason = "a clock that starts is an action")]
    pub fn new() -> Self {
        Self { origin: Instant::now(), origin_since_boot: since_boot(), boot: boot_id() }
    }

    /// Returns monotonic time since boot. It does not step when the wall clock does.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn mono(&self) -> MonoTime {
        MonoTime::default() + self.origin_since_boot + Instant::now().saturating_duration_since(self.origin)
    }

    /// Returns the wall clock as the machine shows it, right or wrong.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks")]
    pub fn wall(&self) -> WallTime {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => WallTime(nanos(after)),
            Err(before) => WallTime(-nanos(before.duration())),
        }
    }

    /// Returns both clocks, read together, as a batch or a Hello carries them.
    pub fn reading(&self) -> message::Clock {
        message::Clock { boot: self.boot, mono: self.mono(), wall: self.wall(), synchronised: synchronised() }
    }
}

/// The first 64 bits of the kernel's boot id; 0 where there is none.
fn boot_id() -> u64 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or_default()
}

/// How long the machine has been up, in hundredths of a second; zero where the kernel does not tell.
fn since_boot() -> Duration {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
}

/// Whether systemd's time service, the one most images run, says that the wall clock is synchronised.
fn synchronised() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}
