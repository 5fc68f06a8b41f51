//! The robot logs.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use flate2::read::MultiGzDecoder;
use muster_protocol::{
    ndjson::{Line, Parser},
    sample::Row,
};

/// The logs that are measured, in the order of the tables.
pub(super) const PX4: &str = "drone_px4_x21_bench_250hz";
pub(super) const ARDRONE: &str = "drone_ardrone_183hz";
const FRC: &str = "ground_frc_match";
const HUSKY: &str = "ground_husky_gps_odom_imu";

/// All logs.
#[derive(Debug)]
pub(super) struct Logs {
    logs: Vec<Log>,
}

/// A log of one robot.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) name: &'static str,
    /// The file, compressed.
    path: PathBuf,
    /// Its content: NDJSON.
    pub(super) text: Vec<u8>,
    /// Samples in it.
    pub(super) samples: u64,
}

impl Logs {
    /// Reads the logs of a folder.
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let logs = [PX4, ARDRONE, FRC, HUSKY].into_iter().map(|name| Log::read(folder, name));
        Ok(Self { logs: logs.collect::<anyhow::Result<_>>()? })
    }

    /// Returns the log with this name.
    pub(super) fn named(&self, name: &str) -> &Log {
        self.logs.iter().find(|log| log.name == name).expect("the names are those that were read")
    }

    /// Returns all logs.
    pub(super) fn all(&self) -> &[Log] {
        &self.logs
    }
}

impl Log {
    fn read(folder: &Path, name: &'static str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.ndjson.gz"));
        let file = File::open(&path).with_context(|| {
            format!("open {}; name the folder of the logs with --logs DIR", path.display())
        })?;
        let mut text = Vec::new();
        MultiGzDecoder::new(file).read_to_end(&mut text).with_context(|| format!("read {name}"))?;
        let mut log = Self { name, path, text, samples: 0 };
        log.samples = log.rows()?.iter().map(|row| row.fields.len() as u64).sum();
        ensure!(log.samples > 0, "{name} has no samples");
        Ok(log)
    }

    /// Returns the lines, with their line ends.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split_inclusive(|byte| *byte == b'\n')
    }

    /// Parses all lines.
    pub(super) fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut parser = Parser::default();
        let mut rows = Vec::new();
        for line in self.lines() {
            if let Line::Row(row) = parser.parse_line(line)? {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Writes the log several times over into one file: members of a gzip file are one stream.
    pub(super) fn repeat(&self, times: u32, folder: &Path) -> anyhow::Result<PathBuf> {
        let bytes = fs::read(&self.path).with_context(|| format!("read {}", self.path.display()))?;
        let path = folder.join(format!("{}x{times}.ndjson.gz", self.name));
        let mut out = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        for _ in 0..times {
            out.write_all(&bytes).context("write the repeated log")?;
        }
        Ok(path)
    }
}
