//! What is kept of a look at a robot's channels is what another look would find.

use super::*;

/// Moments around those at which the values of [`any_log`] turn late and stale, and far from them.
fn any_moment() -> impl Strategy<Value = WallTime> {
    let turns = prop_oneof![Just(0), Just(2 * S), Just(5 * S), Just(7 * S), Just(10 * S), Just(65 * S)];
    let near = (turns, -30i64..30).prop_map(|(turn, near)| NOW + turn + near);
    prop_oneof![4 => near, 1 => -20 * S..120 * S, 1 => any::<i64>()].prop_map(WallTime)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_was_found_before_is_found_again(
        log in any_log(),
        asked in prop::collection::vec((any::<bool>(), any_moment()), 1..200),
    ) {
        let mut state = RobotState::default();
        let mut asked = asked.into_iter();
        for record in &log {
            let batch = record.batch.as_ref().map(|(batch, schema)| (batch, &**schema));
            state.apply(record.offset, &record.envelope, batch);
            for (is_up, now) in asked.by_ref().take(8) {
                let link = if is_up { LinkState::Up } else { LinkState::Down };
                // A copy keeps nothing of what was asked before.
                prop_assert_eq!(state.survey(now, link), state.clone().survey(now, link));
            }
        }
    }
}
