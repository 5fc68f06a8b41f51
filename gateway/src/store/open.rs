//! Opening a store: the folder, its lock, its partitions, its checkpoints.

use std::{path::Path, sync::Arc};

use muster_protocol::id::{LogId, Offset};

use super::{
    CheckpointStore, Disk, Forgetting, OpenError, OsDisk, Store, StoreConfig, StoreReader,
    ballast::Ballast,
    begin, checkpoint,
    database::DatabaseError,
    folder::Folder,
    partition::{Partition, State},
    recovery::{io_error, recover},
    seal::Housekeeping,
    shared::Shared,
    tail::Tail,
};

/// An open store, by who uses which part of it.
#[derive(Debug)]
pub struct Opened {
    /// For the committer.
    pub store: Store,
    /// For everyone who reads.
    pub reader: StoreReader,
    /// For whoever folds the log into state.
    pub checkpoints: CheckpointStore,
}

impl Store {
    /// Opens the store of a data folder, or makes it with `new_log` as the id of its log. Takes seconds where the
    /// last process did not seal its partition; blocks the thread.
    pub fn open(root: &Path, config: StoreConfig, new_log: LogId) -> Result<Opened, OpenError> {
        Self::open_on(Arc::new(OsDisk), root, config, new_log)
    }

    /// Opens a store whose syncs go through `disk`.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        root: &Path,
        config: StoreConfig,
        new_log: LogId,
    ) -> Result<Opened, OpenError> {
        let folder = Folder::open(&*disk, root, new_log)?;
        let checkpoints = folder.checkpoints();
        let promised = checkpoint::newest_in(&checkpoints)
            .map_err(|source| io_error("read checkpoints in", &checkpoints, source))?;
        let mut ballast = Ballast::open(&*disk, &folder.ballast(), config.ballast_bytes);
        let shared = Arc::new(Shared::new(folder, disk, config));
        let found = recover(&shared, &mut ballast, promised)?;
        shared.publish(found.next);
        let forgetting = Forgetting::read(root).map_err(|source| io_error("read", root, source))?;
        shared.set_forgetting(forgetting);
        let housekeeping = Housekeeping::start(Arc::clone(&shared))
            .map_err(|source| io_error("start housekeeping of", root, source))?;
        let (partition, tail) = match found.newest {
            Some(newest) => reopen(newest)?,
            None => begin_at(&shared, found.next)?,
        };
        found.unsealed.into_iter().for_each(|partition| housekeeping.seal(partition));
        let State::Open(open) = partition.state() else { unreachable!("it was found or made open") };
        let reserved = shared.folder.reserved().unwrap_or(Offset(0));
        let checkpoints = CheckpointStore::open(Arc::clone(&shared))
            .map_err(|source| io_error("read checkpoints in", &checkpoints, source))?;
        let reader = StoreReader::new(Arc::clone(&shared));
        let mut store = Self {
            shared,
            housekeeping,
            ballast,
            partition,
            open,
            tail,
            accounting: None,
            reserved,
            failed: false,
        };
        store.has_room(); // so that a full disk shows before the first record is refused
        Ok(Opened { store, reader, checkpoints })
    }
}

/// Goes on writing the newest partition.
fn reopen(partition: Arc<Partition>) -> Result<(Arc<Partition>, Tail), OpenError> {
    if let State::Open(open) = partition.state() {
        open.thaw();
    }
    let tail = Tail::open(&partition.folder).map_err(|source| io_error("open", &partition.folder, source))?;
    Ok((partition, tail))
}

fn begin_at(shared: &Arc<Shared>, next: Offset) -> Result<(Arc<Partition>, Tail), OpenError> {
    let begun = begin(shared, next).map_err(|error| {
        let source = match error {
            DatabaseError::Io(source) => source,
            DatabaseError::Damaged { why } => std::io::Error::other(why),
        };
        io_error("begin partition", &shared.folder.partition(next), source)
    })?;
    Ok((begun.0, begun.2))
}
