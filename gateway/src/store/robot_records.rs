//! Reading one robot's part of the log, through the partitions' indexes.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use muster_protocol::id::{Offset, RobotId};

use super::{
    index::{self, IndexError},
    partition::State,
    reader::{Item, ReadError},
    scan::decode,
    shared::{Located, Shared},
    tally::Span,
};

/// Iterates over one robot's records by offset; see
/// [`StoreReader::robot_records`](super::StoreReader::robot_records). Holds the offsets found in one partition and a
/// bounded number of records.
#[derive(Debug)]
pub struct RobotRecords {
    shared: Arc<Shared>,
    robot: RobotId,
    span: Span,
    /// Everything up to here was looked up in an index.
    looked_to: Offset,
    /// What the indexes named and was not read yet.
    wanted: VecDeque<Offset>,
    ahead: VecDeque<(Offset, Bytes)>,
    ended: bool,
}

impl RobotRecords {
    pub(super) fn new(shared: Arc<Shared>, robot: RobotId, span: Span, after: Option<Offset>) -> Self {
        let looked_to = after.unwrap_or(Offset(shared.first().0.saturating_sub(1)));
        let (wanted, ahead) = (VecDeque::new(), VecDeque::new());
        Self { shared, robot, span, looked_to, wanted, ahead, ended: false }
    }

    /// Looks up more offsets in the index of the next partition; `false` at the end of what is committed.
    fn look_up(&mut self) -> Result<bool, ReadError> {
        let at = self.looked_to.next();
        let Some(located) = self.locate(at)? else { return Ok(false) };
        let (found, looked_to) = match located.partition.state() {
            _ if at >= located.end => (Vec::new(), None),
            State::Open(open) => {
                let tally = open.tally.read().unwrap_or_else(PoisonError::into_inner);
                let matches = tally.matching(&self.robot, self.span, self.looked_to);
                (matches.offsets, matches.looked_to)
            }
            State::Sealed(_) => {
                let path = located.partition.index_file();
                let found = index::matching(&path, &self.robot, self.span, self.looked_to);
                (found.or_else(|error| self.read_all(&located, &error))?, None)
            }
            State::Quarantined(_) => (Vec::new(), None),
        };
        let last = Offset(located.resume.0.saturating_sub(1));
        self.looked_to = looked_to.unwrap_or(last).min(last);
        self.wanted.extend(found.into_iter().filter(|offset| *offset < located.end));
        let lost_from = located.end.max(at);
        if lost_from < located.resume && looked_to.is_none() {
            // said before the records that are left of it, so that nothing is missed silently
            let why = super::status::why_damaged(&located.partition);
            return Err(ReadError::Damaged { first: lost_from, end: located.resume, why });
        }
        Ok(true)
    }

    fn locate(&self, at: Offset) -> Result<Option<Located>, ReadError> {
        let first_held = self.shared.first();
        if at < first_held {
            return Err(ReadError::Trimmed { at, first_held });
        }
        if at >= self.shared.next() {
            return Ok(None);
        }
        Ok(self.shared.locate(at))
    }

    /// Stands in for an index file that is damaged: every offset of the partition.
    fn read_all(&self, located: &Located, error: &IndexError) -> Result<Vec<Offset>, ReadError> {
        let at = self.looked_to.next();
        let first_held = self.shared.first();
        if located.partition.first < first_held {
            return Err(ReadError::Trimmed { at, first_held });
        }
        tracing::warn!(partition = %located.partition.folder.display(), %error, "read a partition without its index");
        Ok((at.0..located.end.0).map(Offset).collect())
    }

    /// Reads the next wanted record, and those that stand beside it and are wanted too.
    fn fill(&mut self) -> Result<(), ReadError> {
        let Some(&at) = self.wanted.front() else { return Ok(()) };
        let Some(located) = self.locate(at)? else { return Ok(()) };
        let stop = self.wanted.iter().zip(at.0..).take_while(|(wanted, at)| wanted.0 == *at).count() as u64;
        let records = self.shared.read_records(&located, at, Offset(at.0.saturating_add(stop)));
        if let Err(ReadError::Damaged { end, .. }) = &records {
            self.wanted.retain(|offset| offset >= end);
            self.looked_to = self.looked_to.max(Offset(end.0.saturating_sub(1)));
        }
        self.ahead = records?.into();
        self.wanted.drain(..self.ahead.len().min(self.wanted.len()));
        Ok(())
    }

    /// Returns whether there may be more.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.wanted.is_empty() {
            return self.look_up();
        }
        self.fill().map(|()| true)
    }
}

impl Iterator for RobotRecords {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while !self.ended {
            while let Some((offset, bytes)) = self.ahead.pop_front() {
                match decode(offset, &bytes) {
                    Ok((_, envelope)) if envelope.robot != self.robot => {}
                    item => return Some(item),
                }
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.ended = !matches!(error, ReadError::Damaged { .. });
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
