//! Reads accepted records from any thread, also while the writer waits for the disk.

use std::{io, sync::Arc};

use bytes::Bytes;
use muster_protocol::{
    id::{Epoch, Lane, SchemaHash, Seq},
    message::NumberedHead,
};

use super::{
    catalog::Shared,
    format::{RecordKind, SegmentName},
    index::Standing,
    segment::{read_entry, read_schema},
};

/// Reads what the spool has accepted and not released. Cheap to clone.
#[derive(Clone)]
pub struct SpoolReader {
    pub(super) shared: Arc<Shared>,
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
    /// Returns the size of all segments in bytes, by lane.
    pub fn lane_bytes(&self) -> [u64; 3] {
        self.shared.catalog().lane_bytes()
    }

    /// Reads a record; `None` if it is not accepted yet, or not held any more.
    pub fn read(&self, head: NumberedHead) -> Result<Option<Stored>, ReadError> {
        let NumberedHead { lane, epoch, seq } = head;
        let failed = |source| ReadError::Io { lane, epoch, seq, source };
        let Some(found) = self.shared.locate(head).map_err(failed)? else { return Ok(None) };
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
        let own = self.shared.catalog().find(lane, epoch, seq).map(|segment| segment.name);
        if let Some(name) = own {
            let failed = |source| ReadError::Io { lane, epoch, seq, source };
            if let Some(schema) = self.schema_in(name, hash).map_err(failed)? {
                return Ok(Some(schema));
            }
        }
        let others: Vec<SegmentName> = self.shared.catalog().segments.keys().copied().collect();
        let mut others = others.into_iter().filter(|name| Some(*name) != own);
        Ok(others.find_map(|name| self.schema_in(name, hash).ok().flatten()))
    }

    fn schema_in(&self, name: SegmentName, hash: SchemaHash) -> io::Result<Option<Bytes>> {
        let loaded = self.shared.loaded(name)?;
        match loaded.index.schema(hash) {
            Some(entry) => read_schema(loaded.file.as_ref(), name, entry),
            None => Ok(None),
        }
    }
}
