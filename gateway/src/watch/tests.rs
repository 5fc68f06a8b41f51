//! A fleet that is watched.

use muster_protocol::time::WallTime;

use super::*;
use crate::fleet::rehearsal::{batch_record, clock, head, int_batch, robot, schema};

/// A gateway with nothing wrong, and robots that were never refused anything.
struct Well;

impl Sources for Well {
    fn gateway(&mut self, _: Moment) -> GatewayFacts {
        GatewayFacts::default()
    }

    fn refused(&self, _: &RobotId) -> Refused {
        Refused::default()
    }
}

/// Nobody is connected.
struct Nobody;

impl LiveLinks for Nobody {
    fn live(&self, _: &RobotId) -> Option<crate::fleet::LiveLink> {
        None
    }

    fn count(&self) -> usize {
        0
    }
}

/// A fleet whose robots sent one value of each of so many channels, stamped in 1970.
fn fleet(robots: u64, channels: u32) -> Fleet {
    let names: Vec<String> = (0..channels).map(|channel| format!("c{channel}")).collect();
    let defined: Vec<_> = names.iter().map(|name| (name.as_str(), None, false)).collect();
    let schema = schema(&defined);
    let places: Vec<u32> = (0..channels).collect();
    let now: WallTime = Clock::new().wall();
    let fleet = Fleet::default();
    for number in 0..robots {
        let batch = int_batch(&schema, &places, &[(1, 1)], clock(1, now.0));
        let mut record = batch_record(number + 1, head(1, 1), now.0, (batch, schema.clone()));
        record.envelope.robot = robot(number);
        record.apply_to(&fleet);
    }
    fleet
}

fn watch(fleet: Fleet) -> Watch {
    let clock = Clock::new();
    Watch::new(
        (Arc::new(fleet), Arc::new(Nobody)),
        Box::new(Well),
        Arc::new(Metrics::new()),
        clock,
        Duration::from_secs(300),
    )
}

#[test]
fn what_is_shown_is_true_from_the_start_and_counted_by_code() {
    let watch = watch(fleet(3, 2));
    let evaluation = watch.board().read();
    assert_eq!(evaluation.fleet.robots, 3);
    assert_eq!(evaluation.count(Code::TimesNotBelieved), 3);
    assert_eq!(evaluation.count_of(Severity::Warn), 3, "that links are down is not settled yet");
    assert_eq!(evaluation.conditions.len(), 3);
}

#[test]
fn ten_thousand_robots_with_a_hundred_channels_are_evaluated_in_a_moment() {
    let mut watch = watch(fleet(10_000, 100));
    let took = watch.evaluate();
    let evaluation = watch.board().read();
    assert_eq!((evaluation.fleet.robots, evaluation.count(Code::TimesNotBelieved)), (10_000, 10_000));
    // Of a test's build, on a machine that does other things: far from what would be too long.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn the_thread_ends_when_it_is_dropped() {
    let watch = watch(Fleet::default());
    let board = watch.board();
    drop(watch.start().unwrap());
    assert_eq!(board.read().conditions, []);
}
