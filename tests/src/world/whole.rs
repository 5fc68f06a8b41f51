//! What the gateway says of each robot's completeness, once a world has settled: nothing is still to come.

use std::collections::BTreeSet;

use muster_gateway::fleet::{Fleet, Standing};
use muster_protocol::id::RobotId;

/// Returns each robot that is called behind, or said to hold something, though its spool is drained. A robot whose disk
/// refused to be read may have told of one seq too many, and is asked for it until its next Hello.
pub(super) fn check(fleet: &Fleet, refused: &BTreeSet<RobotId>) -> Vec<String> {
    let mut wrong = Vec::new();
    fleet.visit(|robot, state| {
        let told = state.completeness(None);
        let holds_some = told.on_robot.is_some_and(|on_robot| on_robot.samples > 0);
        if holds_some || told.standing == Standing::Behind && !refused.contains(robot) {
            wrong.push(format!("{robot} is called behind, and is not: {told:?}"));
        }
        true
    });
    wrong
}
