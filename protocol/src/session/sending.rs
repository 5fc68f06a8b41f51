//! What one lane has to send, as spans of seqs: which were acknowledged, which to try next, and in which order.
//!
//! Memory follows the number of spool segments, never of batches.

use std::collections::{BTreeSet, VecDeque};

use super::ranges::RangeSet;
use crate::{
    id::{Epoch, Seq},
    limits::RANGES_PER_LANE_MAX,
    message::SeqRange,
    time::MonoTime,
};

/// The unacknowledged part of a lane.
#[derive(Debug, Default)]
pub(super) struct LaneQueue {
    /// Oldest first.
    spans: Vec<SpanState>,
    /// Spooled while the session lives, oldest first. What falls out is found again through its span.
    fresh: VecDeque<(Epoch, Seq)>,
    /// Set by a full receive window: close the oldest gap first.
    oldest_first: bool,
}

/// The batches of one spool segment.
#[derive(Debug)]
struct SpanState {
    epoch: Epoch,
    segment: u64,
    first: Seq,
    next: Seq,
    acked: RangeSet,
    /// Given up for good: a loss record stands for them.
    refused: BTreeSet<Seq>,
    /// To be sent again, before anything new of this span.
    again: BTreeSet<Seq>,
    /// Everything below was sent in this session, acknowledged, or stands in `again`.
    cursor: Seq,
    /// The gateway takes nothing of the epoch before this time.
    parked_until: Option<MonoTime>,
}

/// Most fresh batches remembered apart from their spans: more than a window holds.
const FRESH_MAX: usize = 512;

impl LaneQueue {
    pub(super) fn add(&mut self, epoch: Epoch, segment: u64, range: SeqRange) {
        let last = self.spans.last_mut().filter(|span| span.epoch == epoch && span.segment == segment);
        match last {
            Some(span) if span.next == range.first => span.next = range.end,
            _ => self.spans.push(SpanState::new(epoch, segment, range)),
        }
    }

    pub(super) fn add_fresh(&mut self, epoch: Epoch, seq: Seq) {
        self.fresh.push_back((epoch, seq));
        if self.fresh.len() > FRESH_MAX {
            self.fresh.pop_front();
        }
    }

    /// Marks seqs acknowledged and returns those that were news.
    pub(super) fn ack(&mut self, epoch: Epoch, range: SeqRange) -> Vec<SeqRange> {
        let mut news = Vec::new();
        for span in self.spans.iter_mut().filter(|span| span.epoch == epoch) {
            news.extend(span.ack(range));
        }
        if !news.is_empty() {
            self.spans.retain(|span| !span.acked.covers(span.first, span.next));
            self.oldest_first &= self.gaps() >= RANGES_PER_LANE_MAX / 2;
        }
        news
    }

    /// Forgets seqs that the spool evicted.
    pub(super) fn evict(&mut self, epoch: Epoch, range: SeqRange) {
        for span in self.spans.iter_mut().filter(|span| span.epoch == epoch) {
            span.ack(range);
        }
        self.spans.retain(|span| !span.acked.covers(span.first, span.next));
    }

    pub(super) fn send_again(&mut self, epoch: Epoch, seq: Seq) {
        if let Some(span) = self.span_of(epoch, seq) {
            span.again.insert(seq);
        }
    }

    /// Stops sending a batch that was refused for good. Returns false if it is not held.
    pub(super) fn give_up(&mut self, epoch: Epoch, seq: Seq) -> bool {
        self.span_of(epoch, seq).is_some_and(|span| !span.acked.contains(seq) && span.refused.insert(seq))
    }

    /// Sends nothing of an epoch before `until`; the others go on.
    pub(super) fn park(&mut self, epoch: Epoch, until: MonoTime) {
        for span in self.spans.iter_mut().filter(|span| span.epoch == epoch) {
            span.parked_until = Some(until);
        }
    }

    /// Ends what is parked no longer than until now.
    pub(super) fn unpark(&mut self, now: MonoTime) {
        for span in &mut self.spans {
            span.parked_until = span.parked_until.filter(|until| *until > now);
        }
    }

    /// Returns when the first parked epoch goes on.
    pub(super) fn parked_until(&self) -> Option<MonoTime> {
        self.spans.iter().filter_map(|span| span.parked_until).min()
    }

    pub(super) fn fill_oldest_gap_first(&mut self) {
        self.oldest_first = true;
        for span in &mut self.spans {
            span.cursor = span.first;
        }
    }

    /// Starts anew: nothing is on its way.
    pub(super) fn rewind(&mut self) {
        self.fresh.clear();
        self.oldest_first = false;
        for span in &mut self.spans {
            span.cursor = span.first;
            span.again.clear();
            span.parked_until = None;
        }
    }

    /// Takes the next fresh batch. There is none while the oldest gap comes first.
    pub(super) fn poll_fresh(&mut self) -> Option<(Epoch, Seq)> {
        if self.oldest_first {
            return None;
        }
        while let Some((epoch, seq)) = self.fresh.pop_front() {
            // What is parked is found again through its span.
            let sends = |span: &mut SpanState| span.wants(seq) && span.parked_until.is_none();
            if self.span_of(epoch, seq).is_some_and(sends) {
                return Some((epoch, seq));
            }
        }
        None
    }

    /// Takes the next batch of the backlog that is not in `flying`: of the newest segment first, in order within it.
    pub(super) fn poll_backlog(&mut self, flying: impl Fn(Epoch, Seq) -> bool) -> Option<(Epoch, Seq)> {
        let poll = |span: &mut SpanState| {
            if span.parked_until.is_some() {
                return None;
            }
            let epoch = span.epoch;
            span.poll(|seq| flying(epoch, seq)).map(|seq| (epoch, seq))
        };
        if self.oldest_first {
            self.spans.iter_mut().find_map(poll)
        } else {
            self.spans.iter_mut().rev().find_map(poll)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Returns whether the lane fills its oldest gap, which is done in small steps.
    pub(super) fn fills_gap(&self) -> bool {
        self.oldest_first
    }

    /// Returns how many runs of seqs are not acknowledged, as far as this end knows.
    fn gaps(&self) -> usize {
        self.spans.iter().map(|span| span.acked.ranges().len()).sum()
    }

    fn span_of(&mut self, epoch: Epoch, seq: Seq) -> Option<&mut SpanState> {
        let holds = |span: &&mut SpanState| span.epoch == epoch && span.first <= seq && seq < span.next;
        self.spans.iter_mut().rev().find(holds)
    }
}

impl SpanState {
    fn new(epoch: Epoch, segment: u64, range: SeqRange) -> Self {
        Self {
            epoch,
            segment,
            first: range.first,
            next: range.end,
            acked: RangeSet::default(),
            refused: BTreeSet::new(),
            again: BTreeSet::new(),
            cursor: range.first,
            parked_until: None,
        }
    }

    fn wants(&self, seq: Seq) -> bool {
        !self.acked.contains(seq) && !self.refused.contains(&seq)
    }

    fn ack(&mut self, range: SeqRange) -> Vec<SeqRange> {
        let (first, end) = (range.first.max(self.first), range.end.min(self.next));
        let mut news = Vec::new();
        let mut at = first;
        while at < end {
            let absent = self.acked.next_absent(at);
            if absent >= end {
                break;
            }
            let held = self.acked.ranges().iter().map(|held| held.first).find(|first| *first > absent);
            let until = held.map_or(end, |first| first.min(end));
            news.push(SeqRange { first: absent, end: until });
            at = until;
        }
        self.acked.insert_range(SeqRange { first, end });
        self.again.retain(|seq| *seq < first || *seq >= end);
        self.refused.retain(|seq| *seq < first || *seq >= end);
        news
    }

    /// Takes the lowest seq that is to be sent.
    fn poll(&mut self, flying: impl Fn(Seq) -> bool) -> Option<Seq> {
        loop {
            let new = self.acked.next_absent(self.cursor);
            let seq = match self.again.first() {
                Some(&again) if again <= new => again,
                _ if new < self.next => new,
                _ => return None,
            };
            self.again.remove(&seq);
            if seq == new {
                self.cursor = seq.next();
            }
            if self.wants(seq) && !flying(seq) {
                return Some(seq);
            }
        }
    }
}
