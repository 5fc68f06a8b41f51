//! Conditions that take minutes or an hour to come or to go: one robot and one gateway, the real code of both, and a
//! clock that a test moves.

use std::time::Duration;

use muster_gateway::conditions::{Code, code::Clears};
use muster_tests::{
    conditions::{Watched as _, raises},
    world::stage::{ROBOT, Stage},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// Checks that a condition cleared as long after its last event as it says that it does.
fn assert_clears_after(code: Code, took: Duration, slack: Duration) {
    let Clears::After(span, _) = code.clears() else { panic!("{code:?} has no span of its own") };
    assert!((span..=span + slack).contains(&took), "{code:?} cleared after {took:?}, not {span:?}");
}

#[test]
fn a_robot_that_records_more_than_its_link_carries_has_a_backlog_that_grows_and_gets_old() {
    let stage = Stage::new(64 * MIB);
    stage.go_on(MINUTE);
    stage.limits_uplink(Some(1500));
    let growing = raises(&stage, Code::BacklogGrowing, Some(ROBOT)).says(&["it holds", "3 min ago"]);
    assert!(stage.holds(Code::BacklogOld, Some(ROBOT)).is_none(), "it is minutes old");
    let old =
        raises(&stage, Code::BacklogOld, Some(ROBOT)).says(&["it is connected, but whole only up to 1"]);
    growing.goes_on(&stage);
    stage.limits_uplink(None);
    growing.clears(&stage);
    old.clears(&stage);
    assert!(stage.holds(Code::SamplesLost, Some(ROBOT)).is_none(), "nothing is lost");
}

#[test]
fn samples_that_a_full_spool_loses_are_told_for_an_hour() {
    let stage = Stage::new(MIB);
    stage.go_on(MINUTE);
    stage.cuts_off(true);
    stage.go_on(6 * MINUTE);
    stage.stops_recording();
    stage.cuts_off(false);
    let lost = raises(&stage, Code::SamplesLost, Some(ROBOT)).says(&["spool full"]);
    assert_eq!(lost.told()["since_from"], "log");
    // What is evicted before the robot is back is told with it, the last of it within seconds.
    let back = stage.age();
    lost.clears(&stage);
    assert_clears_after(Code::SamplesLost, stage.age().saturating_sub(back), MINUTE);
}

#[test]
fn a_cloned_robot_is_a_conflict_until_one_of_the_two_stays_away() {
    let stage = Stage::new(8 * MIB);
    stage.go_on(MINUTE);
    stage.clones_robot();
    let conflict = raises(&stage, Code::IdentityConflict, Some(ROBOT)).says(&["push each other out"]);
    assert_eq!(conflict.told()["since_from"], "log");
    stage.stops_recording();
    stage.go_on(20 * MINUTE);
    conflict.goes_on(&stage);
    stage.ends_clone();
    let alone = stage.age();
    conflict.clears(&stage);
    // They take turns of three minutes: the last one began before the clone was gone, or the robot's own comes after it.
    assert_clears_after(Code::IdentityConflict, stage.age().saturating_sub(alone) + 3 * MINUTE, 7 * MINUTE);
}

#[test]
fn a_link_that_breaks_again_and_again_is_unstable_until_it_holds() {
    let stage = Stage::new(8 * MIB);
    stage.go_on(MINUTE);
    stage.stops_recording();
    for _ in 0..4 {
        stage.breaks_connection();
        stage.go_on(MINUTE);
    }
    // A link that breaks is back within a second or two: nobody would know of it.
    assert!(stage.holds(Code::LinkDown, Some(ROBOT)).is_none());
    let unstable = raises(&stage, Code::LinkUnstable, Some(ROBOT)).says(&["connected 5 times within 10 min"]);
    stage.go_on(4 * MINUTE);
    unstable.goes_on(&stage);
    unstable.clears(&stage);
    assert!(stage.age() < 12 * MINUTE + 10 * SECOND, "{:?}", stage.age());
}
