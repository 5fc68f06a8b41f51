//! One partition, read from its first entry to its last.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use muster_protocol::{
    id::{Offset, RobotId, SchemaHash},
    loss::LossReason,
};
use serde::Serialize;

use super::{CheckError, Depth, Lost, at};
use crate::{
    record::{Body, Envelope},
    store::{
        OsDisk,
        database::{Database, blobs_in},
        disk::bytes_of,
        folder::partition_name,
        index,
        manifest::{self, Manifest},
        pack::{Take, Unpacker},
        partition::QUARANTINED_FILE,
        schemas,
        tail::Tail,
        tally::Tally,
    },
};

/// What is in a partition, and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct PartitionReport {
    /// The offset of its first record.
    pub first: u64,
    /// The offset after its last record.
    pub end: u64,
    /// In which state it is.
    pub state: PartitionState,
    /// Records.
    pub records: u64,
    /// Samples in its batches.
    pub samples: u64,
    /// Robots that it holds something of.
    pub robots: usize,
    /// The earliest time in it, in nanoseconds since 1970; `None` without records.
    pub t_min: Option<i64>,
    /// The latest time in it.
    pub t_max: Option<i64>,
    /// Bytes of its records.
    pub record_bytes: u64,
    /// Bytes that it occupies on the disk.
    pub disk_bytes: u64,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// The state of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Complete and described by its files.
    Sealed,
    /// The one that is written, or one that the next start will seal.
    Open,
    /// Damaged and set aside.
    Quarantined,
}

/// What was seen, and what can be done about it.
pub(super) struct Looked {
    pub(super) report: PartitionReport,
    pub(super) folder: PathBuf,
    /// The files as they should be, if the records are whole and the files are not.
    pub(super) rebuilt: Vec<(&'static str, Vec<u8>)>,
    /// Why it has to be set aside, if so.
    pub(super) unreadable: Option<String>,
}

/// Most sentences about records of one partition.
const FINDINGS_MAX: usize = 16;

/// How a sentence ends about what a repair puts right.
pub(super) const CAN_BE_REBUILT: &str = "it can be rebuilt";

type LostByReason = BTreeMap<LossReason, Lost>;

pub(super) fn look(log: &Path, first: Offset, depth: Depth) -> Result<(Looked, LostByReason), CheckError> {
    let folder = log.join(partition_name(first));
    let manifest = Manifest::read(&folder.join("manifest")).filter(|manifest| manifest.first == first);
    let aside = fs::read_to_string(folder.join(QUARANTINED_FILE)).ok();
    let state = match (&aside, &manifest) {
        (Some(_), _) => PartitionState::Quarantined,
        (None, Some(_)) => PartitionState::Sealed,
        (None, None) => PartitionState::Open,
    };
    let mut looked = Looked {
        report: PartitionReport::new(first, state, bytes_of(&folder)),
        rebuilt: Vec::new(),
        unreadable: None,
        folder,
    };
    if let Some(why) = aside {
        looked.report.findings.push(format!("it was set aside: {why}"));
    }
    if let Some(manifest) = &manifest {
        looked.report.describe(manifest);
    } else if looked.folder.join("manifest").exists() {
        looked.report.findings.push(format!("its manifest is damaged; {CAN_BE_REBUILT}"));
    }
    let mut lost = LostByReason::new();
    let read = state != PartitionState::Quarantined && (depth == Depth::Check || manifest.is_none());
    if read {
        lost = looked.read(first, manifest.as_ref())?;
    }
    Ok((looked, lost))
}

impl PartitionReport {
    fn new(first: Offset, state: PartitionState, disk_bytes: u64) -> Self {
        Self {
            first: first.0,
            end: first.0,
            state,
            records: 0,
            samples: 0,
            robots: 0,
            t_min: None,
            t_max: None,
            record_bytes: 0,
            disk_bytes,
            findings: Vec::new(),
        }
    }

    fn describe(&mut self, manifest: &Manifest) {
        self.end = manifest.end.0;
        self.records = manifest.robots.iter().map(|robot| robot.records).sum();
        self.samples = manifest.samples();
        self.robots = manifest.robots.len();
        self.t_min = manifest.robots.iter().map(|robot| robot.t_min.0).min();
        self.t_max = manifest.robots.iter().map(|robot| robot.t_max.0).max();
        self.record_bytes = manifest.record_bytes;
    }

    fn finds(&mut self, what: String) {
        match self.findings.len() {
            0..FINDINGS_MAX => self.findings.push(what),
            FINDINGS_MAX => self.findings.push("there is more like this".to_owned()),
            _ => {}
        }
    }
}

impl Looked {
    /// Reads all records from a copy, and compares the files beside them.
    fn read(&mut self, first: Offset, manifest: Option<&Manifest>) -> Result<LostByReason, CheckError> {
        let scratch = Scratch::copy(&self.folder, first)?;
        let mut pass = Pass::default();
        let database = match Database::open(&scratch.0, CACHE_BYTES, Arc::new(OsDisk)) {
            Ok(database) => database,
            Err(error) => {
                self.is_unreadable(format!("the database does not open: {error}"));
                return Ok(pass.lost);
            }
        };
        let next = pass.run(&database, first, &mut self.report);
        let seen = manifest::of(
            (first, next.end),
            next.record_bytes,
            &pass.tally,
            std::mem::take(&mut pass.accounts),
        );
        if let Some(why) = next.broken {
            self.is_unreadable(why);
        } else if manifest.is_some_and(|manifest| manifest.end > next.end) {
            self.is_unreadable(format!("the records from offset {} on are gone", next.end));
        } else {
            self.compare(&pass.tally, &seen, manifest);
        }
        if manifest.is_none() {
            self.report.describe(&seen);
            let noted = Tail::read(&self.folder).unwrap_or_default();
            if noted > next.end {
                self.report.finds(format!("the records from offset {} to before {noted} are gone", next.end));
            }
        }
        if blobs_in(&scratch.0) > 0 {
            self.report.finds("values stand in files of their own".to_owned());
        }
        Ok(pass.lost)
    }

    fn is_unreadable(&mut self, why: String) {
        self.report.finds(why.clone());
        self.unreadable.get_or_insert(why);
    }

    /// Compares index and manifest of a sealed partition with what its records give.
    fn compare(&mut self, tally: &Tally, seen: &Manifest, manifest: Option<&Manifest>) {
        let has_damaged_manifest = manifest.is_none() && self.folder.join("manifest").exists();
        if let Some(manifest) = manifest {
            let of = |manifest: &Manifest| {
                (
                    manifest.end,
                    manifest.samples(),
                    manifest.robots.iter().map(|robot| robot.records).sum::<u64>(),
                )
            };
            if of(manifest) != of(seen) {
                self.report
                    .finds(format!("its manifest says something else than its records; {CAN_BE_REBUILT}"));
                self.rebuilt.push(("manifest", seen.encode()));
            }
        } else if has_damaged_manifest {
            self.rebuilt.push(("manifest", seen.encode()));
        }
        let index = index::encode(tally);
        let is_sealed = manifest.is_some() || has_damaged_manifest;
        if is_sealed && fs::read(self.folder.join("index")).ok().as_ref() != Some(&index) {
            self.report.finds(format!("its index is damaged; {CAN_BE_REBUILT}"));
            self.rebuilt.push(("index", index));
        }
    }
}

/// What one pass over the records gathers.
#[derive(Default)]
struct Pass {
    tally: Tally,
    accounts: Vec<Vec<u8>>,
    lost: LostByReason,
    wanted: BTreeSet<(RobotId, SchemaHash)>,
}

/// How a pass ended.
struct Ended {
    end: Offset,
    record_bytes: u64,
    broken: Option<String>,
}

impl Pass {
    fn run(&mut self, database: &Database, first: Offset, report: &mut PartitionReport) -> Ended {
        let mut unpacker = Unpacker::new(first, Take::Whole);
        let mut records: Vec<(Offset, Bytes)> = Vec::new();
        let (mut broken, mut record_bytes) = (None, 0);
        let visited = database.visit_entries(first, |key, value| {
            record_bytes += value.len() as u64;
            broken = unpacker.push(key, value, &mut records).err().map(|error| error.to_string());
            for (offset, bytes) in records.drain(..) {
                self.take(offset, &bytes, report);
            }
            if broken.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let broken = broken.or_else(|| visited.err().map(|error| error.to_string()));
        for (robot, hash) in &self.wanted {
            self.tally.add_schema(robot, *hash);
            let stored = database.schema(robot, *hash).ok().flatten().map(Bytes::from);
            if stored.and_then(|encoded| schemas::decode(*hash, &encoded)).is_none() {
                report.finds(format!("schema {hash} of robot {robot} is missing or damaged"));
            }
        }
        Ended { end: unpacker.next(), record_bytes, broken }
    }

    fn take(&mut self, offset: Offset, bytes: &Bytes, report: &mut PartitionReport) {
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                report.finds(format!("the record at offset {offset}: {error}"));
                if let Ok(head) = Envelope::peek(bytes) {
                    self.tally.add(offset, &head);
                }
                return;
            }
        };
        self.tally.add(offset, &envelope.head());
        match &envelope.body {
            Body::Batch { info, .. } => {
                self.wanted.insert((envelope.robot.clone(), info.schema));
            }
            Body::Loss { loss, .. } => {
                let sum = self.lost.entry(loss.reason).or_default();
                sum.batches += loss.lost.len() as u64;
                sum.samples += loss.samples();
                self.accounts.push(bytes.to_vec());
            }
            Body::Absence(absence) => {
                if let Some(reason) = absence.reason.loss() {
                    self.lost.entry(reason).or_default().samples += absence.samples;
                }
                self.accounts.push(bytes.to_vec());
            }
            _ => {}
        }
    }
}

/// A copy of a partition's database that goes when this does.
struct Scratch(PathBuf);

impl Scratch {
    fn copy(partition: &Path, first: Offset) -> Result<Self, CheckError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("muster-check-{process}-{count}-{}", partition_name(first));
        let scratch = Self(std::env::temp_dir().join(name));
        let copied: io::Result<()> = (|| {
            fs::create_dir_all(&scratch.0)?;
            for entry in fs::read_dir(partition)? {
                let entry = entry?;
                let name = entry.file_name();
                let wanted = name == "db" || name == "conf" || name.to_string_lossy().starts_with("snap.");
                if wanted && entry.file_type()?.is_file() {
                    fs::copy(entry.path(), scratch.0.join(name))?;
                }
            }
            Ok(())
        })();
        copied.map_err(at("copy for a look", partition))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CACHE_BYTES: u64 = 16 << 20;
