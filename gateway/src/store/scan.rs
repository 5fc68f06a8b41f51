//! Reading the log in order.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use muster_protocol::id::Offset;

use super::{
    reader::{Item, ReadError},
    shared::Shared,
    status::why_damaged,
};
use crate::record::Envelope;

/// Iterates over the log by offset; see [`StoreReader::scan`](super::StoreReader::scan). Holds a bounded number of
/// records and no partition: what is dropped meanwhile ends it with [`ReadError::Trimmed`].
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    at: Offset,
    ahead: VecDeque<(Offset, Bytes)>,
    ended: bool,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, from: Offset) -> Self {
        Self { shared, at: from, ahead: VecDeque::new(), ended: false }
    }

    /// Returns the offset that is read next: the cursor to go on from later.
    pub fn at(&self) -> Offset {
        self.at
    }

    /// Reads ahead. Goes on behind what is damaged.
    fn fill(&mut self) -> Result<(), ReadError> {
        let (at, first_held) = (self.at, self.shared.first());
        let located = match self.shared.locate(at) {
            Some(located) if at >= first_held => located,
            _ => return Err(ReadError::Trimmed { at, first_held }),
        };
        if at >= located.end {
            let why = why_damaged(&located.partition);
            return Err(ReadError::Damaged { first: at, end: located.resume, why });
        }
        self.ahead = self.shared.read_records(&located, at, Offset(u64::MAX))?.into();
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.ended {
            return None;
        }
        if self.ahead.is_empty() {
            if self.at >= self.shared.next() {
                return None;
            }
            if let Err(error) = self.fill() {
                match &error {
                    ReadError::Damaged { end, .. } => self.at = *end,
                    _ => self.ended = true,
                }
                return Some(Err(error));
            }
        }
        let (offset, bytes) = self.ahead.pop_front()?;
        self.at = offset.next();
        Some(decode(offset, &bytes))
    }
}

pub(super) fn decode(offset: Offset, bytes: &Bytes) -> Item {
    match Envelope::decode(bytes) {
        Ok(envelope) => Ok((offset, envelope)),
        Err(source) => Err(ReadError::Record { offset, source }),
    }
}
