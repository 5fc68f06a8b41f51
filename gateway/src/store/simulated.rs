//! The log in memory, for simulations: what it holds is synced or not, and a crash takes what is not.
//!
//! It is the store's word on [`Committed`] where there is no disk, as the spool's fake disk is on the robot's side.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use muster_protocol::{
    id::{Offset, RobotId, SchemaHash},
    schema::Schema,
    time::WallTime,
};

use super::{Committed, Encoded, ReadError, account, manifest, tally::Tally};
use crate::record::{Body, Envelope};

/// A log in memory. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct SimulatedLog(Arc<Mutex<Inner>>);

#[derive(Clone, Debug, Default)]
struct Inner {
    synced: BTreeMap<Offset, Bytes>,
    schemas: BTreeMap<(RobotId, SchemaHash), Arc<Schema>>,
    written: Vec<Encoded>,
    /// Records synced so far.
    count: u64,
}

impl SimulatedLog {
    /// Writes records behind what there is. Nothing of them is promised.
    pub fn write(&self, records: Vec<Encoded>) {
        self.lock().written.extend(records);
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Vec<Committed> {
        let mut inner = self.lock();
        let written = std::mem::take(&mut inner.written);
        written.into_iter().map(|record| Committed { offset: inner.keep(record) }).collect()
    }

    /// Ends the program that writes the log: of what was written and not synced, the first `kept` records survive.
    pub fn crash(&self, kept: usize) {
        let mut inner = self.lock();
        let written = std::mem::take(&mut inner.written);
        for record in written.into_iter().take(kept) {
            inner.keep(record);
        }
    }

    /// Returns how many records are written and not synced.
    pub fn unsynced(&self) -> usize {
        self.lock().written.len()
    }

    /// Returns a copy of what is durable, as a backup holds it.
    #[must_use]
    pub fn copied(&self) -> Self {
        let inner = Inner { written: Vec::new(), ..self.lock().clone() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Loses records as a partition does that is damaged and set aside, and accounts for them as the store does: durably,
    /// behind what there is. `now` is when the loss is reported.
    pub fn quarantine(&self, offsets: Range<Offset>, now: WallTime) {
        let mut inner = self.lock();
        let lost = inner.take(&offsets);
        let (mut tally, mut accounts) = (Tally::default(), Vec::new());
        for (offset, bytes) in &lost {
            // What does not decode is not accounted for, and the caller's checks find it missing.
            let Ok(envelope) = Envelope::decode(bytes) else { continue };
            tally.add(*offset, &envelope.encode_with_head().0);
            if matches!(envelope.body, Body::Loss { .. } | Body::Absence(_)) {
                accounts.push(bytes.to_vec());
            }
        }
        let manifest = manifest::of((offsets.start, offsets.end), 0, &tally, accounts);
        for record in account::records_of(&manifest, now) {
            inner.keep(Encoded::new(&record, None));
        }
    }

    /// Returns the offset that the next record gets.
    pub fn next(&self) -> Offset {
        self.lock().next()
    }

    /// Returns every durable record from `from` on.
    pub fn records(&self, from: Offset) -> Vec<Result<(Offset, Envelope), ReadError>> {
        let read = |(offset, bytes): (&Offset, &Bytes)| {
            let offset = *offset;
            let envelope = Envelope::decode(bytes);
            envelope.map(|envelope| (offset, envelope)).map_err(|source| ReadError::Record { offset, source })
        };
        self.lock().synced.range(from..).map(read).collect()
    }

    /// Returns a schema that the log holds.
    pub fn schema(&self, robot: &RobotId, hash: SchemaHash) -> Option<Arc<Schema>> {
        self.lock().schemas.get(&(robot.clone(), hash)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, offsets: &Range<Offset>) -> BTreeMap<Offset, Bytes> {
        let mut taken = self.synced.split_off(&offsets.start);
        let mut after = taken.split_off(&offsets.end);
        self.synced.append(&mut after);
        taken
    }

    fn next(&self) -> Offset {
        Offset(Offset::FIRST.0 + self.count)
    }

    fn keep(&mut self, record: Encoded) -> Offset {
        let offset = self.next();
        self.count += 1;
        if let Some(used) = record.schema
            && let Some(schema) = used.encoded.and_then(|encoded| Schema::decode(&encoded).ok())
        {
            self.schemas.entry((record.head.robot, used.hash)).or_insert_with(|| Arc::new(schema));
        }
        self.synced.insert(offset, record.bytes.into());
        offset
    }
}
