//! Reads accepted records from any thread, also while the writer waits for the disk.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use bytes::Bytes;
use muster_protocol::{
    id::{Epoch, Lane, SchemaHash, Seq},
    message::NumberedHead,
    time::WallTime,
};

use super::{
    catalog::Shared,
    disk::Disk,
    format::{RecordKind, SegmentName},
    index::Standing,
    segment::{read_entry, read_schema},
};

/// Reads what the spools of an agent have accepted and not released: the one on the disk, and for a while one in memory.
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct SpoolReader {
    shelves: Arc<Mutex<Vec<Arc<Shared>>>>,
    /// The last id that any of them gave to a segment.
    last_id: Arc<AtomicU64>,
}

/// A record as the spool holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub kind: StoredKind,
    /// The payload as it crosses the link, at most [`BATCH_BYTES_MAX`](muster_protocol::limits::BATCH_BYTES_MAX).
    pub payload: Bytes,
    /// Samples in the batch; 0 for a loss record.
    pub samples: u32,
}

/// What a stored record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredKind {
    /// An encoded batch, which refers to a schema.
    Batch {
        /// The schema's hash, for [`SpoolReader::schema`].
        schema: SchemaHash,
    },
    /// A [`Loss`](muster_protocol::loss::Loss) in postcard.
    Loss,
}

/// Why a record that is held cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its bytes are damaged. The caller hands this to [`Spool::report_lost`](super::Spool::report_lost), or the
    /// record stays held for ever.
    #[error("{lane} record {seq} of epoch {epoch} in the spool is damaged; {samples} samples")]
    Corrupt {
        /// The lane.
        lane: Lane,
        /// The epoch.
        epoch: Epoch,
        /// The seq.
        seq: Seq,
        /// How many samples are lost with it.
        samples: u32,
    },
    /// The disk refused to read. It may answer later; if it never does, the record can be reported as lost.
    #[error("cannot read {lane} record {seq} of epoch {epoch} from the spool: {source}")]
    Io {
        /// The lane.
        lane: Lane,
        /// The epoch.
        epoch: Epoch,
        /// The seq.
        seq: Seq,
        /// What the disk says.
        source: io::Error,
    },
}

impl SpoolReader {
    /// Makes the catalog of a spool on `disk`, and shows what is in it.
    pub(super) fn shelve(&self, disk: Arc<dyn Disk>) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(disk, Arc::clone(&self.last_id)));
        self.lock().push(Arc::clone(&shared));
        shared
    }

    /// Shows a spool no more.
    pub(super) fn unshelve(&self, shared: &Arc<Shared>) {
        self.lock().retain(|kept| !Arc::ptr_eq(kept, shared));
    }

    fn shelves(&self) -> Vec<Arc<Shared>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the size of all segments in bytes, by lane.
    pub fn lane_bytes(&self) -> [u64; 3] {
        let mut bytes = [0; 3];
        for shelf in self.shelves() {
            for (sum, lane) in bytes.iter_mut().zip(shelf.catalog().lane_bytes()) {
                *sum += lane;
            }
        }
        bytes
    }

    /// Returns the earliest time in what is held and not released: of a segment that is still open exactly, of a sealed
    /// one the earliest that it ever held, because its index is on the disk.
    pub fn oldest(&self) -> Option<WallTime> {
        let shelves = self.shelves();
        shelves.iter().filter_map(|shelf| shelf.catalog().oldest()).min()
    }

    /// Reads a record; `None` if it is not accepted yet, or not held any more.
    pub fn read(&self, head: NumberedHead) -> Result<Option<Stored>, ReadError> {
        let NumberedHead { lane, epoch, seq } = head;
        let failed = |source| ReadError::Io { lane, epoch, seq, source };
        let found = self.shelves().into_iter().find_map(|shared| shared.locate(head).transpose());
        let Some(found) = found.transpose().map_err(failed)? else { return Ok(None) };
        let record = match found.entry.standing {
            Standing::Lost => None,
            Standing::Batch | Standing::Loss => {
                read_entry(found.file.as_ref(), found.name, seq, &found.entry).map_err(failed)?
            }
        };
        let Some((header, payload)) = record else {
            return Err(ReadError::Corrupt { lane, epoch, seq, samples: found.entry.samples });
        };
        let kind = match header.kind {
            RecordKind::Loss => StoredKind::Loss,
            _ => StoredKind::Batch { schema: header.schema },
        };
        Ok(Some(Stored { kind, payload, samples: header.samples }))
    }

    /// Reads a schema, encoded, for the batch `head`; `None` if the spool has it nowhere.
    ///
    /// Each segment repeats the schemas that it uses, so a damaged copy is replaced from another segment.
    pub fn schema(&self, head: NumberedHead, hash: SchemaHash) -> Result<Option<Bytes>, ReadError> {
        let NumberedHead { lane, epoch, seq } = head;
        let shelves = self.shelves();
        let own = |shared: &Arc<Shared>| shared.catalog().find(lane, epoch, seq).map(|segment| segment.name);
        let own = shelves.iter().find_map(|shared| own(shared).map(|name| (shared, name)));
        if let Some((shared, name)) = own {
            let failed = |source| ReadError::Io { lane, epoch, seq, source };
            if let Some(schema) = schema_in(shared, name, hash).map_err(failed)? {
                return Ok(Some(schema));
            }
        }
        let others = |shared: &Arc<Shared>| {
            let names: Vec<SegmentName> = shared.catalog().segments.keys().copied().collect();
            names.into_iter().find_map(|name| schema_in(shared, name, hash).ok().flatten())
        };
        Ok(shelves.iter().find_map(others))
    }
}

fn schema_in(shared: &Shared, name: SegmentName, hash: SchemaHash) -> io::Result<Option<Bytes>> {
    let loaded = shared.loaded(name)?;
    match loaded.index.schema(hash) {
        Some(entry) => read_schema(loaded.file.as_ref(), name, entry),
        None => Ok(None),
    }
}
