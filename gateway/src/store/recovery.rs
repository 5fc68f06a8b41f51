//! Opening the partitions of a folder at start: sealed ones by their manifest alone, the others by reading the heads
//! of their records, damaged ones not at all.

use std::{
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use muster_protocol::id::Offset;

use super::{
    ballast::Ballast,
    database::{Database, DatabaseError},
    disk::{bytes_of, is_full, replace, sync_all_of},
    folder::OpenError,
    forgetting::Forgetting,
    manifest::Manifest,
    pack::{Take, Unpacker},
    partition::{LOST_FILE, Open, Partition, QUARANTINED_FILE, Quarantine, Sealed, State},
    shared::Shared,
    tail::Tail,
    tally::Tally,
};
use crate::record::Envelope;

/// What was found in a folder.
pub(super) struct Recovered {
    /// The newest partition, if it can be written on.
    pub(super) newest: Option<Arc<Partition>>,
    /// Partitions that still have to be sealed.
    pub(super) unsealed: Vec<Arc<Partition>>,
    /// The offset that the next record gets.
    pub(super) next: Offset,
    /// Records are damaged that may be listed nowhere.
    pub(super) forgot: bool,
}

/// Adds all partitions of the folder to `shared`. `promised` is an offset that was certainly committed.
pub(super) fn recover(
    shared: &Shared,
    ballast: &mut Ballast,
    promised: Option<Offset>,
) -> Result<Recovered, OpenError> {
    let log = shared.folder.log();
    let firsts = shared.folder.partitions().map_err(|source| io_error("read", &log, source))?;
    let mut found = Recovered { newest: None, unsealed: Vec::new(), next: Offset::FIRST, forgot: false };
    let newest = firsts.last().copied();
    let mut broken_at = None;
    for first in firsts {
        let (partition, unlisted) = load(shared, ballast, first)?;
        found.forgot |= unlisted;
        let end = match partition.state() {
            State::Sealed(sealed) => Some(sealed.end),
            State::Quarantined(_) => None,
            State::Open(open) => {
                let end = open.end();
                if Some(first) == newest {
                    found.newest = Some(Arc::clone(&partition));
                } else {
                    found.unsealed.push(Arc::clone(&partition));
                }
                end
            }
        };
        broken_at = if end.is_none() { Some(first) } else { None };
        found.next = end.unwrap_or(first).max(first);
        shared.add(partition);
    }
    settle_next(shared, &mut found, broken_at, promised);
    shared.all().iter().for_each(|partition| shared.unaccounted.push(partition));
    if found.forgot {
        let forgot = Forgetting::Quarantined { since: found.next };
        let noted = forgot.note(&*shared.disk, &shared.folder.root);
        noted.map_err(|source| io_error("note damage in", &shared.folder.root, source))?;
    }
    Ok(found)
}

/// Decides which offset comes next. Where the end of the log is damaged, what was given to the lost records is not
/// known: the log goes on above everything that was ever reserved, in a partition of its own.
fn settle_next(shared: &Shared, found: &mut Recovered, broken_at: Option<Offset>, promised: Option<Offset>) {
    let noted = found.newest.as_ref().and_then(|partition| Tail::read(&partition.folder));
    let promised = noted.max(promised.map(Offset::next)).unwrap_or(Offset::FIRST);
    if broken_at.is_none() && promised <= found.next {
        return;
    }
    tracing::error!(
        found = %found.next, %promised,
        "committed records at the end of the log are damaged; the log goes on behind what they may have numbered"
    );
    found.forgot = true;
    found.unsealed.extend(found.newest.take());
    let reserved = shared.folder.reserved().unwrap_or(found.next);
    found.next = reserved.max(promised).max(found.next.next());
}

/// Loads a partition, and says whether records of it are damaged that may be listed nowhere.
fn load(shared: &Shared, ballast: &mut Ballast, first: Offset) -> Result<(Arc<Partition>, bool), OpenError> {
    let folder = shared.folder.partition(first);
    let of = |state| Arc::new(Partition::new(first, folder.clone(), state));
    if let Ok(why) = fs::read_to_string(folder.join(QUARANTINED_FILE)) {
        let quarantine = Quarantine { why, disk_bytes: bytes_of(&folder) };
        return Ok((of(State::Quarantined(Arc::new(quarantine))), false));
    }
    if let Some(manifest) =
        Manifest::read(&folder.join("manifest")).filter(|manifest| manifest.first == first)
    {
        return Ok((of(State::Sealed(Arc::new(Sealed::new(&manifest, &folder)))), false));
    }
    match read_unsealed(shared, ballast, first, &folder) {
        Ok(open) => {
            let partition = of(State::Open(Arc::new(open)));
            let cut = note_what_is_cut(shared, &partition);
            let cut = cut.map_err(|source| io_error("list what is damaged of", &folder, source))?;
            Ok((partition, cut))
        }
        Err(DatabaseError::Io(source)) => Err(io_error("open partition", &folder, source)),
        Err(DatabaseError::Damaged { why }) => {
            let partition =
                of(State::Quarantined(Arc::new(Quarantine { why: String::new(), disk_bytes: 0 })));
            shared.quarantine(&partition, &why);
            Ok((partition, true))
        }
    }
}

/// Writes down what a partition held at the last checkpoint and holds no more, and returns whether it may be more: the
/// database can lose its end and open as if nothing was.
fn note_what_is_cut(shared: &Shared, partition: &Partition) -> io::Result<bool> {
    let State::Open(open) = partition.state() else { return Ok(false) };
    let end = open.end().unwrap_or(partition.first);
    let promised = Tail::read(&partition.folder).is_some_and(|noted| noted > end);
    let Some(was) = Manifest::read(&partition.partial_file()) else { return Ok(promised) };
    let holds = open.manifest(partition.first, end).map_err(io::Error::other)?;
    if let Some(lost) = was.without(&holds) {
        replace(&*shared.disk, &partition.folder.join(LOST_FILE), &lost.encode())?;
    }
    Ok(promised || was.end > end)
}

/// Opens a partition that has no manifest and counts what it holds by the heads of its records.
fn read_unsealed(
    shared: &Shared,
    ballast: &mut Ballast,
    first: Offset,
    folder: &Path,
) -> Result<Open, DatabaseError> {
    let open = || Database::open(folder, shared.config.write_cache_bytes, Arc::clone(&shared.disk));
    let database = match open() {
        Err(DatabaseError::Io(error)) if is_full(&error) && ballast.is_there() => {
            tracing::warn!("the disk is full: the ballast is given up to open the log");
            ballast.give_up().map_err(DatabaseError::Io)?;
            open()?
        }
        other => other?,
    };
    let counted = count(&database, first)?;
    if counted.cut_short {
        database.remove_from(counted.end)?;
    }
    // nothing may be acknowledged as a duplicate that only the page cache holds
    database.flush_and_sync()?;
    sync_all_of(&*shared.disk, folder).map_err(DatabaseError::Io)?;
    Ok(Open::frozen(Arc::new(database), counted.tally, counted.record_bytes, counted.end))
}

struct Counted {
    tally: Tally,
    record_bytes: u64,
    end: Offset,
    /// The last record misses parts.
    cut_short: bool,
}

fn count(database: &Database, first: Offset) -> Result<Counted, DatabaseError> {
    let mut tally = Tally::default();
    let mut unpacker = Unpacker::new(first, Take::Head);
    let mut heads: Vec<(Offset, Bytes)> = Vec::new();
    let mut damage = None;
    let mut record_bytes = 0;
    database.visit_entries(first, |key, value| {
        record_bytes += value.len() as u64;
        let unpacked = unpacker.push(key, value, &mut heads);
        damage = unpacked.err().map(|error| error.to_string());
        for (offset, bytes) in heads.drain(..) {
            match Envelope::peek(&bytes) {
                Ok(head) => tally.add(offset, &head),
                Err(error) => damage = Some(format!("offset {offset}: {error}")),
            }
        }
        if damage.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if let Some(why) = damage {
        return Err(DatabaseError::Damaged { why });
    }
    for (robot, hash) in database.schema_keys()? {
        tally.add_schema(&robot, hash);
    }
    Ok(Counted { tally, record_bytes, end: unpacker.next(), cut_short: unpacker.is_inside_a_record() })
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { action, path: PathBuf::from(path), source }
}
