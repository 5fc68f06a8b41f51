//! What is wrong with the gateway itself.

#[cfg(test)]
mod tests;

use std::time::Duration;

use muster_protocol::{message::RefuseReason, time::WallTime};

use super::{
    Code, Found, Moment,
    facts::{CommitFacts, GatewayFacts, ListenerFacts},
    words::{bytes, count, nanos, span, tally, thousands},
};
use crate::store::{Damage, Manifest, Room, StoreStatus};

/// A certificate that ends within this is worth a warning: replacing one may take somebody's approval.
pub const CERTIFICATE_NS_WARN: i64 = 30 * 24 * 3_600 * 1_000_000_000;

/// A sync that takes longer holds every robot up; a good disk needs a few milliseconds.
pub const SYNC_SLOW: Duration = Duration::from_secs(1);

/// Syncs that take this long on average leave four groups a second.
pub const SYNC_SLOW_MEAN: Duration = Duration::from_millis(250);

/// A record that waits longer for its ack makes agents send it again.
pub const WAIT_SLOW: Duration = Duration::from_secs(2);

/// Room runs short when less of a disk than this is free, in percent, and less than [`FREE_BYTES_WARN`].
pub const FREE_PERCENT_WARN: u64 = 10;

/// So much free room is enough on a disk of any size.
pub const FREE_BYTES_WARN: u64 = 4 << 30;

/// Descriptors run short above this share of the limit, in percent.
pub const DESCRIPTORS_PERCENT_WARN: u64 = 90;

/// Finds what is wrong.
pub fn find(facts: &GatewayFacts, now: Moment) -> Vec<Found> {
    let store = &facts.store;
    let found = [
        store_full(store),
        blob_files(store),
        partition_damaged(store),
        broker_disconnected(facts),
        certificate(facts.certificate_end, now.wall),
        robots_full(facts),
        disk_nearly_full(store),
        loss_not_logged(store),
        checkpoint_failed(facts),
        commit_slow(&facts.commit),
        commit_queue_full(facts),
        json_given_up(facts),
        connections_full(&facts.listeners),
        descriptors_low(facts),
        connections_limited(&facts.listeners),
        refusals(facts),
    ];
    found.into_iter().flatten().collect()
}

fn store_full(store: &StoreStatus) -> Option<Found> {
    let detail = format!("nothing is taken: {}", occupied(store));
    store.refusing.then(|| Found::of_gateway(Code::StoreFull, detail))
}

fn disk_nearly_full(store: &StoreStatus) -> Option<Found> {
    let Room { retention_bytes, quota_bytes, free_bytes, total_bytes } = store.room;
    let is_short = free_bytes.zip(total_bytes).is_some_and(|(free, total)| {
        free < FREE_BYTES_WARN && free.saturating_mul(100) < total.saturating_mul(FREE_PERCENT_WARN)
    });
    // Retention should have acted long before; it cannot where checkpoints or backups hold partitions.
    let half_way = retention_bytes.saturating_add(quota_bytes.saturating_sub(retention_bytes) / 2);
    let is_behind = quota_bytes > retention_bytes && store.disk_bytes > half_way;
    let wrong = !store.refusing && (is_short || is_behind);
    wrong.then(|| Found::of_gateway(Code::DiskNearlyFull, occupied(store)))
}

fn occupied(store: &StoreStatus) -> String {
    let Room { quota_bytes, free_bytes, total_bytes, .. } = store.room;
    let used = format!("the log occupies {} of its quota of {}", bytes(store.disk_bytes), bytes(quota_bytes));
    match free_bytes.zip(total_bytes) {
        Some((free, total)) => format!("{used}; {} of the disk's {} are free", bytes(free), bytes(total)),
        None => used,
    }
}

fn blob_files(store: &StoreStatus) -> Option<Found> {
    let detail = || format!("{} in `blobs/` folders, where there should be none", count(store.blobs, "file"));
    (store.blobs > 0).then(|| Found::of_gateway(Code::BlobFiles, detail()))
}

fn partition_damaged(store: &StoreStatus) -> Option<Found> {
    let first: &Damage = store.damaged.first()?;
    let lost = store.damaged.iter().filter_map(|damage| damage.lost.as_ref());
    let samples: u64 = lost.map(Manifest::samples).sum();
    let ranges = count(store.damaged.len() as u64, "range");
    let detail = format!(
        "{ranges} of the log cannot be read, the first from offset {} to before {}: {}; it is known to have held {}",
        first.first,
        first.end,
        first.why,
        count(samples, "sample"),
    );
    Some(Found::of_gateway(Code::PartitionDamaged, detail))
}

fn loss_not_logged(store: &StoreStatus) -> Option<Found> {
    let partitions = count(store.unaccounted as u64, "damaged partition");
    let detail = || format!("what {partitions} held is not in loss records yet");
    (store.unaccounted > 0).then(|| Found::of_gateway(Code::LossNotLogged, detail()))
}

fn broker_disconnected(facts: &GatewayFacts) -> Option<Found> {
    let broker = facts.broker.as_ref().filter(|broker| !broker.connected)?;
    let detail = format!("the broker at {} does not have this gateway as a client", broker.address);
    Some(Found::of_gateway(Code::BrokerDisconnected, detail))
}

fn certificate(end: Option<WallTime>, now: WallTime) -> Option<Found> {
    let left = end?.nanos_since(now);
    let day = |end: WallTime| end.to_string().chars().take(10).collect::<String>();
    let day = day(end?);
    if left <= 0 {
        let detail = format!("the certificate ended on {day}, {} ago: agents refuse it", nanos(left));
        return Some(Found::of_gateway(Code::CertificateExpired, detail).seen_since(end));
    }
    let detail = || format!("the certificate ends on {day}, in {}", nanos(left));
    (left < CERTIFICATE_NS_WARN).then(|| Found::of_gateway(Code::CertificateExpiring, detail()))
}

fn robots_full(facts: &GatewayFacts) -> Option<Found> {
    let episode = facts.robots.turned_away?;
    let (max, times) = (thousands(facts.robots.max), count(episode.count, "time"));
    let detail = format!(
        "this gateway holds {max} robots, as many as it may, and turned a new one away {times} lately"
    );
    Some(Found::of_gateway(Code::RobotsFull, detail).seen_since(Some(episode.since)))
}

fn checkpoint_failed(facts: &GatewayFacts) -> Option<Found> {
    let failure = facts.checkpoint.as_ref()?;
    let detail = format!("the last checkpoint was not saved: {}", failure.why);
    Some(Found::of_gateway(Code::CheckpointFailed, detail))
}

fn commit_slow(commit: &CommitFacts) -> Option<Found> {
    let lately = &commit.lately;
    if let Some(busy_for) = commit.busy_for.filter(|busy_for| *busy_for >= SYNC_SLOW) {
        let detail = format!("a commit is under way for {}", span(busy_for));
        return Some(Found::of_gateway(Code::CommitSlow, detail));
    }
    let groups = u32::try_from(lately.groups).unwrap_or(u32::MAX);
    let mean = lately.sync_sum.checked_div(groups)?;
    let is_slow = lately.sync_max >= SYNC_SLOW || mean >= SYNC_SLOW_MEAN || lately.wait_max >= WAIT_SLOW;
    let detail = || {
        format!(
            "in the last half minute a sync took up to {} ({} on average), and a record waited up to {} for its commit",
            span(lately.sync_max),
            span(mean),
            span(lately.wait_max),
        )
    };
    is_slow.then(|| Found::of_gateway(Code::CommitSlow, detail()))
}

fn commit_queue_full(facts: &GatewayFacts) -> Option<Found> {
    let commit = &facts.commit;
    let busy = facts.refused.iter().find(|(reason, _)| *reason == RefuseReason::Busy);
    let queue =
        format!("{} of {} wait for a commit", bytes(commit.queue_bytes), bytes(commit.queue_bound_bytes));
    if let Some((_, episode)) = busy {
        let refused = thousands(episode.count);
        let detail = format!("{refused} batches were refused because the queue was full; now {queue}");
        return Some(Found::of_gateway(Code::CommitQueueFull, detail).seen_since(Some(episode.since)));
    }
    // A tenth is left: the next burst is refused.
    let is_full = commit.queue_bytes.saturating_mul(10) > commit.queue_bound_bytes.saturating_mul(9);
    is_full.then(|| Found::of_gateway(Code::CommitQueueFull, queue))
}

fn refusals(facts: &GatewayFacts) -> Option<Found> {
    let since = Some(facts.refused.iter().map(|(_, episode)| episode.since).min()?);
    let counts = facts.refused.iter().map(|(reason, episode)| (reason.as_str(), episode.count));
    let detail = format!("batches refused lately: {}", tally(counts));
    Some(Found::of_gateway(Code::Refusals, detail).seen_since(since))
}

fn json_given_up(facts: &GatewayFacts) -> Option<Found> {
    let since = Some(facts.json_given_up.iter().map(|(_, episode)| episode.since).min()?);
    let counts = facts.json_given_up.iter().map(|(reason, episode)| (*reason, episode.count));
    let detail = format!("samples of plain JSON dropped lately, in no loss record: {}", tally(counts));
    Some(Found::of_gateway(Code::JsonGivenUp, detail).seen_since(since))
}

fn connections_full(listeners: &[ListenerFacts]) -> Option<Found> {
    let is_full = |listener: &&ListenerFacts| listener.open >= listener.max || listener.turned_away.is_some();
    let full: Vec<_> = listeners.iter().filter(is_full).collect();
    let since = full.iter().filter_map(|listener| listener.turned_away).map(|episode| episode.since).min();
    let shown = full.iter().map(|listener| {
        let turned_away = listener.turned_away.map_or(0, |episode| episode.count);
        let ListenerFacts { name, open, max, .. } = listener;
        format!("{name} has {open} of {max} connections and turned {turned_away} away lately")
    });
    let detail = shown.collect::<Vec<_>>().join("; ");
    (!full.is_empty()).then(|| Found::of_gateway(Code::ConnectionsFull, detail).seen_since(since))
}

fn connections_limited(listeners: &[ListenerFacts]) -> Option<Found> {
    let short = listeners.iter().find(|listener| listener.max < listener.configured)?;
    let ListenerFacts { name, max, configured, .. } = short;
    let detail = format!("{name} takes {max} connections, not the {configured} of session.max");
    Some(Found::of_gateway(Code::ConnectionsLimited, detail))
}

fn descriptors_low(facts: &GatewayFacts) -> Option<Found> {
    let (open, max) = (facts.descriptors.open?, facts.descriptors.max);
    let is_low = open.saturating_mul(100) > max.saturating_mul(DESCRIPTORS_PERCENT_WARN);
    let detail = || format!("{} of {} file descriptors are open", thousands(open), thousands(max));
    is_low.then(|| Found::of_gateway(Code::DescriptorsLow, detail()))
}
