//! When what an agent says is gone, and the log lacks, is absent for good.
//!
//! An agent releases what some gateway acknowledged, and evicts what it reports by a loss record. So a batch that is
//! gone and not in the log was released to an earlier gateway or to an earlier life of this one, or its loss record is
//! still on its way. Those travel in the urgent lanes: the judgement begins with what one Hello or heartbeat says, and
//! waits until everything that the urgent lanes held then has come in or is gone itself.
//!
//! The samples follow from sums: what the agent says it ever had and does not hold, less what the log holds of that.
//! The judgement begins only when both are sums over the same seqs.

use std::collections::BTreeMap;

use super::window::{LaneWindow, Told};
use crate::{
    id::{Epoch, Lane, Seq},
    limits::ABSENT_RANGES_MAX,
    loss::{Absence, AbsenceReason},
    message::SeqRange,
    session::ranges::RangeSet,
};

/// What one Hello or heartbeat said is gone and the log lacked.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    /// Of each urgent lane, where loss records may still be on their way: the seq after its last, and what is gone.
    urgent: BTreeMap<Epoch, (Seq, RangeSet)>,
    lanes: Vec<JudgedLane>,
}

#[derive(Clone, Debug)]
struct JudgedLane {
    epoch: Epoch,
    lane: Lane,
    gone: RangeSet,
    /// Samples of what is gone, as the agent says.
    gone_samples: u64,
    /// Samples of what is gone and committed.
    settled_samples: u64,
}

impl Judgement {
    /// Begins with the lanes of which the log lacks something that is gone, and can count what it holds.
    pub(super) fn begin(windows: &BTreeMap<(Epoch, Lane), LaneWindow>, told: Vec<Told>) -> Option<Self> {
        let mut urgent = BTreeMap::new();
        let mut lanes = Vec::new();
        for told in told {
            if told.lane == Lane::Urgent {
                urgent.insert(told.epoch, (told.next, told.gone.clone()));
            }
            let Some(window) = windows.get(&(told.epoch, told.lane)) else { continue };
            if window.lacks(&told.gone).is_empty() {
                continue;
            }
            let Some(settled_samples) = window.settled_samples(&told) else { continue };
            let Told { epoch, lane, gone, gone_samples, .. } = told;
            lanes.push(JudgedLane { epoch, lane, gone, gone_samples, settled_samples });
        }
        (!lanes.is_empty()).then_some(Self { urgent, lanes })
    }

    /// Takes what the agent says is gone by now. Where an urgent record went without having come in, it was evicted,
    /// and what it said travels on in a later one: then everything that the urgent lanes hold now is waited for.
    pub(super) fn handle_told(&mut self, windows: &BTreeMap<(Epoch, Lane), LaneWindow>, told: &[Told]) {
        let urgent = told.iter().filter(|told| told.lane == Lane::Urgent);
        let now: BTreeMap<_, _> = urgent.map(|told| (told.epoch, (told.next, told.gone.clone()))).collect();
        let carried_on = self.urgent.iter().any(|(epoch, (next, known))| {
            let gone = now.get(epoch).map_or_else(|| below(*next), |(_, gone)| gone.clone());
            let mut newly = gone.without(known);
            newly.remove_range(SeqRange { first: *next, end: Seq(u64::MAX) });
            windows.get(&(*epoch, Lane::Urgent)).is_some_and(|window| !window.lacks(&newly).is_empty())
        });
        if carried_on {
            self.urgent = now;
            return;
        }
        self.urgent.retain(|epoch, _| now.contains_key(epoch));
        for (epoch, (_, known)) in &mut self.urgent {
            if let Some((_, gone)) = now.get(epoch) {
                known.clone_from(gone);
            }
        }
    }

    /// Returns whether nothing is left to judge.
    pub(super) fn is_over(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Takes seqs that were committed.
    pub(super) fn handle_settled(&mut self, at: (Epoch, Lane), range: SeqRange, samples: u64) {
        for lane in &mut self.lanes {
            if (lane.epoch, lane.lane) == at && lane.gone.contains(range.first) {
                lane.settled_samples = lane.settled_samples.saturating_add(samples);
            }
        }
    }

    /// Returns the next absence, once the loss records that were on their way are in.
    pub(super) fn poll(
        &mut self,
        windows: &BTreeMap<(Epoch, Lane), LaneWindow>,
        lost: AbsenceReason,
    ) -> Option<Absence> {
        if !self.urgent.iter().all(|(epoch, (next, gone))| is_in(windows, *epoch, *next, gone)) {
            return None;
        }
        self.lanes.retain(|lane| {
            window_of(windows, lane).is_some_and(|window| !window.lacks(&lane.gone).is_empty())
        });
        let undecided = |lane: &JudgedLane| {
            window_of(windows, lane).is_some_and(|window| window.claimed.intersects(&lane.gone))
        };
        let at = self.lanes.iter().position(|lane| !undecided(lane))?;
        let judged = self.lanes.swap_remove(at);
        let window = window_of(windows, &judged)?;
        let lacking = window.lacks(&judged.gone);
        let ranges: Vec<_> = lacking.ranges().iter().take(ABSENT_RANGES_MAX).copied().collect();
        let reason = if lacking.intersects(&window.before) { AbsenceReason::BeforeThisGateway } else { lost };
        let samples = judged.gone_samples.saturating_sub(judged.settled_samples);
        let JudgedLane { epoch, lane, .. } = judged;
        if lacking.ranges().len() > ranges.len() {
            // The rest comes as a further absence; all samples stand at the first.
            self.lanes.push(JudgedLane { settled_samples: judged.gone_samples, ..judged });
        }
        Some(Absence { epoch, lane, ranges, samples, reason })
    }
}

fn window_of<'a>(
    windows: &'a BTreeMap<(Epoch, Lane), LaneWindow>,
    lane: &JudgedLane,
) -> Option<&'a LaneWindow> {
    windows.get(&(lane.epoch, lane.lane))
}

fn below(next: Seq) -> RangeSet {
    std::iter::once(SeqRange { first: Seq::FIRST, end: next }).collect()
}

/// Returns whether an urgent lane holds nothing any more below `next` that the log lacks.
fn is_in(windows: &BTreeMap<(Epoch, Lane), LaneWindow>, epoch: Epoch, next: Seq, gone: &RangeSet) -> bool {
    let missing = below(next).without(gone);
    match windows.get(&(epoch, Lane::Urgent)) {
        Some(window) => missing.without(&window.committed).is_empty(),
        None => missing.is_empty(),
    }
}
