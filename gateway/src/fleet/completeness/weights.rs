//! Samples by seq, for the last seqs of a lane: those that came after the robot told last how many there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use muster_protocol::id::Seq;

/// How many samples each of some seqs has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Weights {
    seqs: BTreeMap<Seq, u64>,
}

/// Most seqs that are told apart, the last ones. The others count as if the robot had told of them already, which makes
/// a backlog look smaller by as much until its next heartbeat.
const SEQS_MAX: usize = 64;

impl Weights {
    /// Adds a seq that was not there before.
    pub(super) fn insert(&mut self, seq: Seq, samples: u64) {
        if samples == 0 {
            return;
        }
        self.seqs.insert(seq, samples);
        if self.seqs.len() > SEQS_MAX {
            self.seqs.pop_first();
        }
    }

    /// Forgets those below `seq`.
    pub(super) fn forget_below(&mut self, seq: Seq) {
        self.seqs = self.seqs.split_off(&seq);
    }

    /// Returns the samples of those from `seq` on.
    pub(super) fn samples_from(&self, seq: Seq) -> u64 {
        self.seqs.range(seq..).map(|(_, samples)| samples).sum()
    }
}
