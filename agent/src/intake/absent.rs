//! The ledger of what is left out because its value is declared to be none: how many samples, by channel.
//!
//! They are no samples and no losses, but whoever declared them wants to see what it does: the first of a channel is
//! logged, and all are counted.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
};

use muster_protocol::{id::ChannelName, sample::Value};

/// Channels that are told apart; those beyond are counted together. More channels that send such values than a robot's
/// operator reads through.
const CHANNELS_MAX: usize = 1024;

/// Channels that a sentence names, those with the most samples.
const CHANNELS_SHOWN: usize = 16;

/// Counts samples that were left out; see the module. Shared by all inputs.
#[derive(Debug, Default)]
pub struct AbsentLedger(Mutex<LeftOut>);

/// How many samples were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// By channel.
    pub by_channel: BTreeMap<ChannelName, u64>,
    /// Of all channels beyond the first 1024.
    pub of_others: u64,
}

impl LeftOut {
    /// Returns how many samples in all.
    pub fn total(&self) -> u64 {
        self.by_channel.values().sum::<u64>() + self.of_others
    }
}

impl fmt::Display for LeftOut {
    /// Writes `1068 samples were left out, declared as absent: health.battery_v 1059, link.trip_ms 9`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} samples were left out, declared as absent", self.total())?;
        let mut channels: Vec<_> = self.by_channel.iter().collect();
        channels.sort_by_key(|(_, samples)| Reverse(**samples));
        let mut rest = self.total();
        for (at, (channel, samples)) in channels.into_iter().take(CHANNELS_SHOWN).enumerate() {
            rest -= samples;
            write!(out, "{} {channel} {samples}", if at == 0 { ":" } else { "," })?;
        }
        if rest > 0 { write!(out, ", all others {rest}") } else { Ok(()) }
    }
}

impl AbsentLedger {
    /// Returns what was left out so far.
    pub fn left_out(&self) -> LeftOut {
        self.inner().clone()
    }

    /// Counts a sample.
    pub(super) fn note(&self, channel: &ChannelName, value: &Value) {
        let mut inner = self.inner();
        if let Some(samples) = inner.by_channel.get_mut(channel) {
            *samples += 1;
        } else if inner.by_channel.len() < CHANNELS_MAX {
            inner.by_channel.insert(channel.clone(), 1);
            let value = words(value);
            tracing::info!(
                "left out: {channel} = {value}, declared as absent; more of it are counted without a word"
            );
        } else {
            inner.of_others += 1;
        }
    }

    fn inner(&self) -> MutexGuard<'_, LeftOut> {
        self.0.lock().expect("nothing panics while it holds the ledger")
    }
}

/// Writes a value as the configuration would.
fn words(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => format!("{value:?}"),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_bounded_and_every_sample_is_counted() {
        let ledger = AbsentLedger::default();
        for _ in 0..2 {
            for channel in 0..CHANNELS_MAX + 10 {
                ledger.note(&ChannelName::new(&channel.to_string()).unwrap(), &Value::Int(-1));
            }
        }
        let left_out = ledger.left_out();
        assert_eq!((left_out.by_channel.len(), left_out.of_others), (CHANNELS_MAX, 20));
        assert_eq!(left_out.total(), 2 * (CHANNELS_MAX as u64 + 10));
        assert!(
            left_out.to_string().ends_with(&format!(", all others {}", left_out.total() - 32)),
            "{left_out}"
        );
    }
}
