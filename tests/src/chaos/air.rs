//! What everything that crosses a proxy has in common: the mood, the dice, and the count of what was done.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::schedule::Mood;
use crate::dice::Dice;

/// The mood as one connection or flow meets it.
#[derive(Clone, Debug)]
pub(super) struct Air {
    mood: watch::Receiver<Mood>,
    pub(super) harm: Arc<Harm>,
    pub(super) dice: Dice,
}

/// How often what was done.
#[derive(Debug, Default)]
pub(super) struct Harm {
    counts: [AtomicU64; NAMES.len()],
}

/// What can be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Cut,
    HalfClosed,
    Stalled,
    Throttled,
    Corrupted,
    Dropped,
    Doubled,
    Reordered,
}

const NAMES: [&str; 8] =
    ["cut", "half-closed", "stalled", "throttled", "corrupted", "dropped", "doubled", "reordered"];

impl Harm {
    pub(super) fn done(&self, deed: Deed) {
        self.counts[deed as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        NAMES.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

impl Air {
    pub(super) fn new(mood: watch::Receiver<Mood>, harm: Arc<Harm>, dice: Dice) -> Self {
        Self { mood, harm, dice }
    }

    /// Returns the air of one of many connections or flows.
    pub(super) fn for_user(&self, user: u64) -> Self {
        let mut mood = self.mood.clone();
        mood.mark_unchanged();
        Self { mood, harm: Arc::clone(&self.harm), dice: self.dice.for_user(user) }
    }

    /// Returns the mood.
    pub(super) fn mood(&self) -> Mood {
        *self.mood.borrow()
    }

    /// Waits until the mood is one of these.
    pub(super) async fn wait_for(&mut self, wanted: impl Fn(Mood) -> bool) -> Mood {
        match self.mood.wait_for(|mood| wanted(*mood)).await.map(|mood| *mood) {
            Ok(mood) => mood,
            // The proxy is going, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits as long as so many bytes take at this rate.
    pub(super) async fn wait_for_bytes(&self, bytes: usize, per_second: u64) {
        sleep(Duration::from_secs_f64(bytes as f64 / per_second.max(1) as f64)).await;
    }

    /// Changes one bit.
    pub(super) fn corrupt(&mut self, bytes: &mut [u8]) {
        let at = usize::try_from(self.dice.below(bytes.len() as u64)).expect("pieces are small");
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << self.dice.below(8);
            self.harm.done(Deed::Corrupted);
        }
    }
}
