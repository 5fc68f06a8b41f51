//! Both ends in virtual time over a link that loses, doubles, delays and reorders frames and is cut, with restarts of
//! both sides, failing commits, a full queue, evictions, refusals and forgotten schemas. The [`world`]'s checker counts
//! every seq that was ever spooled against the log.

use std::time::Duration;

use proptest::prelude::*;

use crate::id::Lane;

mod world;

use world::{Weather, World};

/// One thing that happens. A script of these shrinks to the few that matter.
#[derive(Clone, Debug)]
enum Step {
    /// The robot records so many batches of a schema.
    Spool(Lane, u8, u8),
    /// The robot records a batch that the gateway will never take.
    SpoolMalformed(Lane),
    /// Time passes.
    Wait(u16),
    /// The link behaves so from now on.
    Weather(Weather),
    /// The connection breaks. The agent comes back by itself.
    Cut,
    /// The agent stops and starts anew on its spool.
    RestartAgent,
    /// The gateway is killed: of what waits for its commit, the first so many are in the log.
    RestartGateway(u8),
    /// The spool drops its oldest batches of a lane and records their loss.
    Evict(Lane, u8),
    /// The next commits fail.
    FailCommits(u8),
    /// A commit takes so long from now on.
    CommitMs(u16),
    /// The gateway's queue takes so many records.
    QueueBound(u8),
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![1 => Just(Lane::Urgent), 3 => Just(Lane::Live), 2 => Just(Lane::Bulk)]
}

fn weather() -> impl Strategy<Value = Weather> {
    (0..70_u8, 0..50_u8, 1..3000_u16).prop_map(|(loss, doubled, delay_ms)| Weather {
        loss_percent: loss,
        doubled_percent: doubled,
        delay_ms_max: delay_ms,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (lane(), 1..20_u8, 0..4_u8).prop_map(|(lane, count, schema)| Step::Spool(lane, count, schema)),
        1 => lane().prop_map(Step::SpoolMalformed),
        8 => (1..8000_u16).prop_map(Step::Wait),
        2 => weather().prop_map(Step::Weather),
        2 => Just(Step::Cut),
        1 => Just(Step::RestartAgent),
        2 => (0..10_u8).prop_map(Step::RestartGateway),
        2 => (lane(), 1..12_u8).prop_map(|(lane, count)| Step::Evict(lane, count)),
        1 => (1..10_u8).prop_map(Step::FailCommits),
        1 => (1..5000_u16).prop_map(Step::CommitMs),
        1 => (0..20_u8).prop_map(Step::QueueBound),
    ]
}

fn play(world: &mut World, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Spool(lane, count, schema) => (0..count).for_each(|_| world.spool(lane, schema)),
            Step::SpoolMalformed(lane) => world.spool_malformed(lane),
            Step::Wait(ms) => world.wait_ms(ms.into()),
            Step::Weather(weather) => world.weather = weather,
            Step::Cut => world.cut(),
            Step::RestartAgent => world.restart_agent(),
            Step::RestartGateway(committed) => world.restart_gateway(committed.into()),
            Step::Evict(lane, count) => world.evict(lane, count.into()),
            Step::FailCommits(count) => world.failing_commits = count.into(),
            Step::CommitMs(ms) => world.commit_time = Duration::from_millis(ms.into()),
            Step::QueueBound(bound) => world.queue_bound = bound.into(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_batch_is_stored_once_or_declared_lost(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(seed);
        play(&mut world, &steps);
        world.settle();
    }
}

#[test]
fn a_calm_link_sends_each_batch_once() {
    let mut world = World::new(1);
    world.wait_ms(1000);
    for _ in 0..500 {
        world.spool(Lane::Live, 0);
        world.wait_ms(20);
    }
    world.settle();
    assert_eq!(world.batches_sent, 500);
}

#[test]
fn a_link_that_loses_half_of_all_frames_opens_more_gaps_than_a_window_holds_and_still_drains() {
    let mut world = World::new(2);
    world.grant = 1024;
    world.weather = Weather { loss_percent: 50, doubled_percent: 10, delay_ms_max: 400 };
    for _ in 0..3000 {
        world.spool(Lane::Live, 0);
    }
    world.wait_ms(30_000);
    world.settle();
}

#[test]
fn more_epochs_than_a_hello_lists_drain_all_the_same() {
    let mut world = World::new(3);
    world.away = true;
    for _ in 0..150 {
        world.spool(Lane::Live, 0);
        world.spool(Lane::Bulk, 0);
        world.restart_agent();
    }
    world.settle();
}

#[test]
fn what_was_recorded_in_an_outage_longer_than_the_list_of_fresh_batches_drains() {
    let mut world = World::new(4);
    world.wait_ms(1000);
    for _ in 0..2000 {
        world.spool(Lane::Live, 0);
    }
    world.settle();
    assert_eq!(world.batches_sent, 2000);
}
