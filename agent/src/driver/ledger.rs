//! Writes the counts of bytes sent beside the driver: on a thread that may block, one record at a time.

use std::{io, sync::Arc};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    spool::Disk,
    uplink::ledger::{self, Record},
};

/// Where the counts are kept, and what is being written.
#[derive(Default)]
pub(super) struct Ledger {
    disk: Option<Arc<dyn Disk>>,
    writing: Option<JoinHandle<Written>>,
}

/// What became of a record.
pub(super) type Written = (Record, io::Result<()>);

impl Ledger {
    pub(super) fn new(disk: Option<Arc<dyn Disk>>) -> Self {
        Self { disk, writing: None }
    }

    /// Begins to write a record. There is never a second one before [`Ledger::written`] returned the first.
    pub(super) fn write(&mut self, record: Record) {
        let Some(disk) = self.disk.clone() else { return };
        self.writing = Some(spawn_blocking(move || (record, ledger::save(disk.as_ref(), &record))));
    }

    /// Waits until a record is written; for ever if none is. Cancel-safe.
    pub(super) async fn written(&mut self) -> Written {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await.expect("writing the counts does not panic, and is never cancelled");
        self.writing = None;
        written
    }

    /// Writes the last record and waits for it.
    pub(super) async fn finish(&mut self, last: Option<Record>) -> Option<io::Error> {
        if self.writing.is_some() {
            // The last record says more than what it reports.
            let _ = self.written().await;
        }
        self.disk.as_ref()?;
        self.write(last?);
        self.written().await.1.err()
    }
}
