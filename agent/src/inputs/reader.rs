//! Reads lines from anything that blocks: standard input, files. One thread for each.

use std::{
    fmt,
    io::{ErrorKind, Read},
    time::Duration,
};

use muster_protocol::time::MonoTime;

use crate::intake::Refused;

use super::{
    End,
    feed::{Feeder, Parsed, shown},
    lines::{Line, LineCutter},
    replay::Replay,
    stop::{Pause, ThreadStop},
};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Longest single pause, so that a pause for ever is one that the operating system's clocks can count.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);

/// A reader thread's belongings.
pub(super) struct LineReader {
    pub(super) feeder: Feeder,
    pub(super) replay: Replay,
    pub(super) stop: ThreadStop,
}

/// Why the lines end early.
enum Early {
    Stopped,
}

impl LineReader {
    /// Reads to the end, to an error, or until it is stopped.
    pub(super) fn run(mut self, mut bytes: impl Read) -> End {
        let mut cutter = LineCutter::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        let ended = loop {
            match bytes.read(&mut chunk) {
                Ok(0) => break End::Whole,
                Ok(read) => cutter.push(chunk.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break End::Failed { why: error.to_string() },
            }
            while let Some(line) = cutter.poll_line() {
                if let Err(Early::Stopped) = self.take(line) {
                    return End::Stopped;
                }
            }
        };
        // A stream that broke may have broken inside its last line: then the line is refused and counted.
        if let Some(line) = cutter.finish()
            && let Err(Early::Stopped) = self.take(line)
        {
            return End::Stopped;
        }
        ended
    }

    fn take(&mut self, line: Line<'_>) -> Result<(), Early> {
        let Parsed::Row(mut row) = self.feeder.parse(line) else { return Ok(()) };
        let clock = self.feeder.clock();
        let due = self.replay.place(&mut row, clock.mono(), clock.wall());
        if let Some(due) = due {
            self.wait_until(due)?;
        }
        match self.feeder.push(row, shown(line)) {
            Err(Refused::Closed) => Err(Early::Stopped),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn wait_until(&self, due: MonoTime) -> Result<(), Early> {
        loop {
            let left = due.since(self.feeder.clock().mono());
            if left.is_zero() {
                return Ok(());
            }
            if self.stop.pause(left.min(PAUSE_MAX)) == Pause::Stopped {
                return Err(Early::Stopped);
            }
        }
    }
}

impl fmt::Debug for LineReader {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LineReader({})", self.feeder.source().input())
    }
}
