//! Tokens of promises kept. Only the spool can make them, so "sent before durable" and "forgotten before its loss was
//! recorded" do not compile elsewhere.

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    message::{NumberedHead, SeqRange},
};

use super::segment::SegmentId;

/// A batch or loss record is accepted: the sync that covers it has returned. Only what has this token may be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Spooled {
    head: NumberedHead,
    samples: u32,
    payload_bytes: u32,
    segment: SegmentId,
    durable: bool,
}

/// The spool no longer holds these seqs for delivery, and the loss record that lists them is synced. The sender
/// forgets them.
#[derive(Debug, PartialEq, Eq)]
pub struct Evicted {
    gone: Gone,
}

/// What a [`Spooled`] will say once the sync has returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) seq: Seq,
    pub(super) samples: u32,
    pub(super) payload_bytes: u32,
    pub(super) segment: SegmentId,
}

/// What an [`Evicted`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) lane: Lane,
    pub(super) epoch: Epoch,
    pub(super) range: SeqRange,
    pub(super) samples: u64,
    pub(super) segment: SegmentId,
}

impl Spooled {
    /// Call only after the sync that covers `pending` has returned.
    pub(super) fn mint((lane, epoch): (Lane, Epoch), pending: Pending, durable: bool) -> Self {
        let Pending { seq, samples, payload_bytes, segment } = pending;
        Self { head: NumberedHead { epoch, lane, seq }, samples, payload_bytes, segment, durable }
    }

    /// Returns its number.
    pub fn head(&self) -> NumberedHead {
        self.head
    }

    /// Returns how many samples the batch holds; 0 for a loss record.
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// Returns the length of the payload as it crosses the link.
    pub fn payload_bytes(&self) -> u32 {
        self.payload_bytes
    }

    /// Returns the segment that holds it.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Says whether it is on the disk. If not, it is in memory because the disk failed, and gone with the program.
    pub fn is_durable(&self) -> bool {
        self.durable
    }
}

impl Evicted {
    /// Call only after the loss record has been synced.
    pub(super) fn mint(gone: Gone) -> Self {
        Self { gone }
    }

    /// Returns the lane.
    pub fn lane(&self) -> Lane {
        self.gone.lane
    }

    /// Returns the epoch.
    pub fn epoch(&self) -> Epoch {
        self.gone.epoch
    }

    /// Returns the seqs that are gone; some may have been released before.
    pub fn range(&self) -> SeqRange {
        self.gone.range
    }

    /// Returns how many samples the loss records count: those that were not acknowledged.
    pub fn samples(&self) -> u64 {
        self.gone.samples
    }

    /// Returns the segment that held them.
    pub fn segment(&self) -> SegmentId {
        self.gone.segment
    }
}
