//! Makes loss records from indexes, and keeps those few that stand in what is evicted.

use std::collections::BTreeMap;

use muster_protocol::{
    id::{Epoch, Lane, Seq},
    limits::LOST_SEQS_MAX,
    loss::{Loss, LossReason, LostSeq},
    time::WallTime,
};

use super::index::IndexEntry;

/// Lists seqs as lost, in as many records as their number needs.
pub(super) fn losses_of(
    lane: Lane,
    epoch: Epoch,
    lost: &[(Seq, IndexEntry)],
    reason: LossReason,
) -> Vec<Loss> {
    let listed = |chunk: &[(Seq, IndexEntry)]| {
        let dated = || chunk.iter().filter(|(_, entry)| entry.samples > 0 && entry.t_min <= entry.t_max);
        Loss {
            epoch,
            lane,
            lost: chunk.iter().map(|(seq, entry)| LostSeq { seq: *seq, samples: entry.samples }).collect(),
            unnumbered: 0,
            t_min: dated().map(|(_, entry)| entry.t_min).min(),
            t_max: dated().map(|(_, entry)| entry.t_max).max(),
            reason,
        }
    };
    lost.chunks(LOST_SEQS_MAX).map(listed).collect()
}

/// Folds loss records that are about to be evicted with their segment into as few as possible, exact if they then take
/// at most `bytes_max`, else as plain counts: a year of evictions must not fill the spool with its own obituaries.
pub(super) fn fold(losses: Vec<Loss>, bytes_max: usize) -> Vec<Loss> {
    let mut by_key: BTreeMap<(Epoch, Lane, LossReason), Vec<Loss>> = BTreeMap::new();
    for loss in losses {
        by_key.entry((loss.epoch, loss.lane, loss.reason)).or_default().push(loss);
    }
    let exact: Vec<Loss> = by_key.values().flat_map(|group| merge(group)).collect();
    let seqs: usize = exact.iter().map(|loss| loss.lost.len()).sum();
    if seqs * LOST_SEQ_BYTES_MAX <= bytes_max {
        return exact;
    }
    by_key.values().map(|group| counted(group)).filter(|loss| loss.unnumbered > 0).collect()
}

/// Joins records of one epoch, lane and reason, listing each seq once.
fn merge(group: &[Loss]) -> Vec<Loss> {
    let all: BTreeMap<Seq, u32> =
        group.iter().flat_map(|loss| &loss.lost).map(|lost| (lost.seq, lost.samples)).collect();
    let all: Vec<LostSeq> = all.into_iter().map(|(seq, samples)| LostSeq { seq, samples }).collect();
    let blank = Loss { lost: Vec::new(), unnumbered: 0, ..counted(group) };
    let mut merged: Vec<Loss> =
        all.chunks(LOST_SEQS_MAX).map(|chunk| Loss { lost: chunk.to_vec(), ..blank.clone() }).collect();
    let unnumbered = group.iter().map(|loss| loss.unnumbered).sum();
    match merged.first_mut() {
        Some(first) => first.unnumbered = unnumbered,
        None => merged.push(Loss { unnumbered, ..blank }),
    }
    merged
}

/// Joins records of one epoch, lane and reason into a count.
fn counted(group: &[Loss]) -> Loss {
    let first = group.first().expect("a group has the record that made it");
    let ends = |end: fn(&Loss) -> Option<WallTime>| group.iter().filter_map(end);
    Loss {
        epoch: first.epoch,
        lane: first.lane,
        lost: Vec::new(),
        unnumbered: group.iter().map(Loss::samples).sum(),
        t_min: ends(|loss| loss.t_min).min(),
        t_max: ends(|loss| loss.t_max).max(),
        reason: first.reason,
    }
}

/// A lost seq in postcard: two varints.
const LOST_SEQ_BYTES_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(start: u64, lost: &[(u64, u32)]) -> Loss {
        Loss {
            epoch: Epoch { start, random: 0 },
            lane: Lane::Live,
            lost: lost.iter().map(|&(seq, samples)| LostSeq { seq: Seq(seq), samples }).collect(),
            unnumbered: 1,
            t_min: Some(WallTime(lost.len().try_into().unwrap())),
            t_max: Some(WallTime(9)),
            reason: LossReason::SpoolFull,
        }
    }

    #[test]
    fn folding_keeps_each_seq_while_there_is_room() {
        let folded = fold(vec![loss(1, &[(5, 10)]), loss(2, &[(1, 3)]), loss(1, &[(4, 7), (5, 10)])], 1000);
        assert_eq!(folded.len(), 2);
        assert_eq!(folded[0].lost, loss(1, &[(4, 7), (5, 10)]).lost);
        assert_eq!((folded[0].unnumbered, folded[0].t_min), (2, Some(WallTime(1))));
        assert_eq!(folded[1], loss(2, &[(1, 3)]));
        assert!(folded.iter().all(|loss| loss.check().is_ok()));
    }

    #[test]
    fn folding_keeps_the_counts_when_there_is_no_room() {
        let folded = fold(vec![loss(1, &[(5, 10)]), loss(1, &[(4, 7)])], 10);
        assert_eq!((folded.len(), folded[0].samples(), folded[0].lost.len()), (1, 19, 0));
    }
}
