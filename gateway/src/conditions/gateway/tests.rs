//! The gateway's own conditions, from facts.

use muster_protocol::{id::Offset, time::MonoTime};

use super::*;
use crate::{
    committer::CommitFigures,
    conditions::{
        facts::{BrokerFacts, Descriptors, Failure, RobotsFacts},
        lately::Episode,
    },
};

const GIB: u64 = 1 << 30;
const NOW: Moment = Moment { mono: MonoTime(0), wall: WallTime(1_764_000_000_000_000_000) };
const EPISODE: Episode = Episode { since: WallTime(7), last: NOW.mono, count: 1200 };

/// A gateway with nothing wrong.
fn well() -> GatewayFacts {
    let room = Room {
        retention_bytes: 64 * GIB,
        quota_bytes: 80 * GIB,
        free_bytes: Some(100 * GIB),
        total_bytes: Some(200 * GIB),
    };
    let lately = CommitFigures {
        groups: 100,
        sync_max: Duration::from_millis(20),
        sync_sum: Duration::from_millis(300),
        wait_max: Duration::from_millis(40),
    };
    let busy_for = Some(Duration::from_millis(3));
    let commit = CommitFacts { lately, busy_for, queue_bytes: 10, queue_bound_bytes: 100 };
    let mqtt = ListenerFacts { name: "mqtt", open: 9, max: 10, configured: 10, turned_away: None };
    GatewayFacts {
        store: StoreStatus { disk_bytes: 64 * GIB, room, ..StoreStatus::default() },
        commit,
        refused: Vec::new(),
        json_given_up: Vec::new(),
        checkpoint: None,
        broker: Some(BrokerFacts { address: "broker:1883".to_owned(), connected: true }),
        certificate_end: Some(NOW.wall.shifted(CERTIFICATE_NS_WARN)),
        listeners: vec![mqtt],
        descriptors: Descriptors { open: Some(90), max: 100 },
        robots: RobotsFacts { max: 1000, turned_away: None },
    }
}

/// Changes one thing and returns the one condition that follows from it.
fn only(change: impl FnOnce(&mut GatewayFacts)) -> Found {
    let mut facts = well();
    change(&mut facts);
    let found = find(&facts, NOW);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn assert_says(found: &Found, code: Code, words: &[&str]) {
    assert_eq!((found.code, found.robot.as_ref()), (code, None));
    for word in words {
        assert!(found.detail.contains(word), "{word}: {}", found.detail);
    }
}

#[test]
fn a_gateway_that_is_well_has_no_condition() {
    assert_eq!(find(&well(), NOW), []);
}

#[test]
fn a_store_that_refuses_says_how_much_room_there_is() {
    let found = only(|facts| {
        facts.store.refusing = true;
        facts.store.room.free_bytes = Some(7_000_000);
    });
    assert_says(&found, Code::StoreFull, &["68.7 GB of its quota of 85.9 GB", "7.0 MB of the disk's"]);
}

#[test]
fn room_runs_short_by_share_and_by_bytes_or_when_retention_cannot_help() {
    let with = |free_bytes, total_bytes| {
        let mut facts = well();
        facts.store.room =
            Room { free_bytes: Some(free_bytes), total_bytes: Some(total_bytes), ..facts.store.room };
        find(&facts, NOW).len()
    };
    assert_eq!(with(3 * GIB, 100 * GIB), 1);
    assert_eq!(with(5 * GIB, 100 * GIB), 0, "enough for a while, whatever the disk's size");
    assert_eq!(with(3 * GIB, 20 * GIB), 0, "more than a tenth");
    let found = only(|facts| facts.store.disk_bytes = 73 * GIB);
    assert_says(&found, Code::DiskNearlyFull, &["78.4 GB of its quota of 85.9 GB"]);
    let mut facts = well();
    facts.store.room.quota_bytes = facts.store.room.retention_bytes;
    assert_eq!(find(&facts, NOW), [], "at its quota all the time, as configured");
}

#[test]
fn damage_is_told_with_its_offsets_and_why() {
    let why = "bad check sum".to_owned();
    let damage = Damage { first: Offset(5), end: Offset(90), why, lost: None };
    let found = only(|facts| facts.store.damaged = vec![damage]);
    assert_says(&found, Code::PartitionDamaged, &["1 range ", "offset 5 to before 90", "bad check sum"]);
    let found = only(|facts| facts.store.unaccounted = 2);
    assert_says(&found, Code::LossNotLogged, &["2 damaged partitions"]);
    assert_says(&only(|facts| facts.store.blobs = 1), Code::BlobFiles, &["1 file "]);
}

#[test]
fn a_broker_that_is_away_is_named() {
    let away = BrokerFacts { address: "broker:1883".to_owned(), connected: false };
    let found = only(|facts| facts.broker = Some(away));
    assert_says(&found, Code::BrokerDisconnected, &["broker:1883"]);
    let mut none = well();
    none.broker = None;
    assert_eq!(find(&none, NOW), []);
}

#[test]
fn a_certificate_is_told_a_month_before_its_end_and_when_it_is_over() {
    let ending = only(|facts| facts.certificate_end = Some(NOW.wall.shifted(CERTIFICATE_NS_WARN - 1)));
    assert_says(&ending, Code::CertificateExpiring, &["2025-12-24", "in 29 days"]);
    let over = only(|facts| facts.certificate_end = Some(NOW.wall));
    assert_says(&over, Code::CertificateExpired, &["ended on 2025-11-24"]);
    let mut unknown = well();
    unknown.certificate_end = None;
    assert_eq!(find(&unknown, NOW), []);
}

#[test]
fn a_checkpoint_that_is_not_saved_says_why() {
    let why = "read-only file system".to_owned();
    let found = only(|facts| facts.checkpoint = Some(Failure { at: NOW.wall, why }));
    assert_says(&found, Code::CheckpointFailed, &["read-only"]);
}

#[test]
fn commits_are_slow_by_their_longest_sync_their_mean_the_longest_wait_or_the_one_under_way() {
    let lately = well().commit.lately;
    let slow = [
        CommitFigures { sync_max: SYNC_SLOW, ..lately },
        CommitFigures { sync_sum: SYNC_SLOW_MEAN * 100, ..lately },
        CommitFigures { wait_max: WAIT_SLOW, ..lately },
    ];
    for lately in slow {
        let found = only(|facts| facts.commit.lately = lately);
        assert_says(&found, Code::CommitSlow, &["in the last half minute"]);
    }
    let found = only(|facts| facts.commit.busy_for = Some(Duration::from_secs(200)));
    assert_says(&found, Code::CommitSlow, &["under way for 3 min"]);
    let mut idle = well();
    idle.commit = CommitFacts { queue_bound_bytes: 100, ..CommitFacts::default() };
    assert_eq!(find(&idle, NOW), []);
}

#[test]
fn a_queue_that_is_nearly_full_is_told_before_it_refuses_and_while_it_did_lately() {
    let found = only(|facts| facts.commit.queue_bytes = 91);
    assert_says(&found, Code::CommitQueueFull, &["91 B of 100 B"]);
    let mut facts = well();
    facts.refused = vec![(RefuseReason::Busy, EPISODE), (RefuseReason::Malformed, EPISODE)];
    let found = find(&facts, NOW);
    assert_says(&found[0], Code::CommitQueueFull, &["1,200 batches were refused"]);
    assert_says(&found[1], Code::Refusals, &["1,200 busy, 1,200 malformed"]);
    assert_eq!(found[1].since.unwrap().0, EPISODE.since);
}

#[test]
fn what_was_dropped_of_plain_json_is_told_by_reason() {
    let found = only(|facts| facts.json_given_up = vec![("disk_full", EPISODE)]);
    assert_says(&found, Code::JsonGivenUp, &["1,200 disk full"]);
}

#[test]
fn a_listener_is_full_at_its_bound_and_while_it_turned_connections_away_lately() {
    let found = only(|facts| facts.listeners[0].open = 10);
    assert_says(&found, Code::ConnectionsFull, &["mqtt has 10 of 10"]);
    let found = only(|facts| facts.listeners[0].turned_away = Some(EPISODE));
    assert_says(&found, Code::ConnectionsFull, &["9 of 10", "turned 1200 away"]);
    let found = only(|facts| facts.listeners[0].configured = 11);
    assert_says(&found, Code::ConnectionsLimited, &["takes 10 connections, not the 11"]);
    let found = only(|facts| facts.descriptors.open = Some(91));
    assert_says(&found, Code::DescriptorsLow, &["91 of 100"]);
}

#[test]
fn a_gateway_that_is_full_of_robots_says_since_when() {
    let found = only(|facts| facts.robots.turned_away = Some(EPISODE));
    assert_says(
        &found,
        Code::RobotsFull,
        &["holds 1,000 robots", "turned a new one away 1,200 times lately"],
    );
    assert_eq!(found.since.unwrap().0, EPISODE.since);
}
