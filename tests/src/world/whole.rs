//! What the gateway says of each robot's completeness, once a world has settled: nothing is still to come.

use muster_gateway::fleet::{Fleet, Standing};

/// Returns each robot that is called behind, or said to hold something, though its spool is drained.
pub(super) fn check(fleet: &Fleet) -> Vec<String> {
    let mut wrong = Vec::new();
    fleet.visit(None, |robot, state| {
        let told = state.completeness(None);
        if told.standing == Standing::Behind || told.on_robot.is_some_and(|on_robot| on_robot.samples > 0) {
            wrong.push(format!("{robot} is called behind, and is not: {told:?}"));
        }
        true
    });
    wrong
}
