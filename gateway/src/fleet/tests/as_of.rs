//! Robots as they were at a moment in the past.

use super::*;
use crate::fleet::RobotState;

/// Folds the records of one robot, in the order given, onto a state that includes those before.
fn past<'a>(
    base: RobotState,
    records: impl Iterator<Item = &'a Record> + Clone,
    as_of: AsOf,
    today: &RobotState,
) -> RobotState {
    let mut state = base;
    let taken = records.filter(|record| as_of.takes(&record.envelope));
    if as_of.known == Known::Now {
        taken.clone().for_each(|record| state.learn_clocks(record.offset, &record.envelope));
    }
    for record in taken {
        let batch = record.batch.as_ref().map(|(batch, schema)| (batch, &**schema));
        state.apply_as_of(as_of, record.offset, &record.envelope, batch);
    }
    state.finish_as_of(as_of, today);
    state
}

fn state_of(fleet: &Fleet, id: &RobotId) -> RobotState {
    fleet.robot(id).map_or_else(RobotState::default, |state| state.read().unwrap().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_known_now_does_not_depend_on_the_order_or_on_where_the_fold_begins(
        log in any_log(),
        at in prop_oneof![NOW - 5..NOW + 12, NOW + 5 * S..NOW + 7 * S],
        swaps in prop::collection::vec((any::<Index>(), any::<Index>()), 0..40),
        cut in any::<Index>(),
    ) {
        let as_of = AsOf { at: WallTime(at), known: Known::Now };
        let id = robot(1);
        let of_robot: Vec<&Record> = log.iter().filter(|record| record.envelope.robot == id).collect();
        let today = state_of(&fold(&log), &id);
        let whole = past(RobotState::default(), of_robot.iter().copied(), as_of, &today);
        let mut shuffled = of_robot.clone();
        for (a, b) in swaps {
            if !shuffled.is_empty() {
                let (a, b) = (a.index(shuffled.len()), b.index(shuffled.len()));
                shuffled.swap(a, b);
            }
        }
        prop_assert_eq!(&past(RobotState::default(), shuffled.into_iter(), as_of, &today), &whole);
        // A milestone is made 5 s before the moment or earlier.
        if at >= NOW + 6 * S {
            let (before, behind) = of_robot.split_at(cut.index(of_robot.len() + 1));
            let milestone = state_of(&fold(before.iter().copied()), &id);
            prop_assert_eq!(&past(milestone, behind.iter().copied(), as_of, &today), &whole);
        }
    }

    #[test]
    fn what_was_known_then_is_what_was_served_then(log in any_log(), served in any::<Index>(), cut in any::<Index>()) {
        let id = robot(1);
        // What was served at a moment is the fold of a log up to there, whose records came in time.
        let mut log = log;
        log.sort_by_key(|record| record.envelope.received_at);
        (1..).zip(&mut log).for_each(|(offset, record)| record.offset = Offset(offset));
        let at = log[served.index(log.len())].envelope.received_at;
        let served: Vec<&Record> = log.iter().filter(|record| record.envelope.received_at <= at).collect();
        let was = state_of(&fold(served.iter().copied()), &id);
        let today = state_of(&fold(&log), &id);
        let milestone = served.len().min(cut.index(log.len() + 1));
        let base = state_of(&fold(&log[..milestone]), &id);
        let behind = log[milestone..].iter().filter(|record| record.envelope.robot == id);
        let as_of = AsOf { at, known: Known::Then };
        prop_assert_eq!(past(base, behind, as_of, &today), was);
    }
}

fn reading(state: &RobotState, at: i64) -> (i64, Freshness) {
    let view = crate::query::View::new(&ROBOT, state, WallTime(at), Heard::OnRecord);
    let channel = view.channel("a").unwrap();
    let Value::Int(value) = *channel.value() else { panic!("an integer") };
    (value, channel.freshness)
}

static ROBOT: std::sync::LazyLock<RobotId> = std::sync::LazyLock::new(|| robot(1));

/// A value of `t` that was received at `received_at`.
fn value(offset: u64, t: i64, received_at: i64, value: i64) -> Record {
    let schema = schema(&[("a", Some(S.unsigned_abs()), false)]);
    let batch = int_batch(&schema, &[0], &[(t, value)], clock(1, received_at.min(t)));
    batch_record(offset, head(1, offset), received_at, (batch, schema))
}

#[test]
fn a_backlog_that_came_later_is_known_now_and_was_not_then() {
    let log = [
        value(1, NOW, NOW, 1),
        value(2, NOW + 100 * S, NOW + 100 * S, 3),
        value(3, NOW + 8 * S, NOW + 101 * S, 2),
    ];
    let today = state_of(&fold(&log), &ROBOT);
    let of = |known, at: i64| {
        let as_of = AsOf { at: WallTime(at), known };
        reading(&past(RobotState::default(), log.iter(), as_of, &today), at)
    };
    assert_eq!(of(Known::Then, NOW + 9 * S), (1, Freshness::Stale));
    assert_eq!(of(Known::Now, NOW + 9 * S), (2, Freshness::Fresh));
    assert_eq!(of(Known::Now, NOW + 7 * S), (1, Freshness::Stale));
    // Inside a span without a sample it is stale, however fresh it became since.
    assert_eq!(of(Known::Now, NOW + 50 * S), (2, Freshness::Stale));
    assert_eq!(of(Known::Then, NOW + 103 * S), (3, Freshness::Late));
}

#[test]
fn a_sample_counts_for_the_moment_at_which_it_happened_whatever_its_clock_said() {
    // One from the future, and one from a clock that was never set: both were accepted when they were received.
    let ahead = value(2, NOW + 1200 * S, NOW + 10 * S, 2);
    let unset = value(3, 7, NOW + 20 * S, 3);
    let log = [value(1, NOW, NOW, 1), ahead, unset];
    let today = state_of(&fold(&log), &ROBOT);
    let value_at = |at: i64| {
        let as_of = AsOf { at: WallTime(at), known: Known::Now };
        reading(&past(RobotState::default(), log.iter(), as_of, &today), at).0
    };
    assert_eq!(value_at(NOW + 9 * S), 1);
    assert_eq!(value_at(NOW + 16 * S), 2);
    assert_eq!(value_at(NOW + 600 * S), 2, "the newest by the rule that is served");
}

#[test]
fn what_is_known_now_has_the_losses_of_today() {
    let lost = Record {
        offset: Offset(2),
        envelope: envelope(
            robot(1),
            1,
            NOW + 50 * S,
            Body::Loss {
                head: None,
                loss: Loss {
                    epoch: head(1, 1).epoch,
                    lane: Lane::Live,
                    lost: vec![LostSeq { seq: Seq(9), samples: 40 }],
                    unnumbered: 0,
                    t_min: None,
                    t_max: None,
                    reason: LossReason::SpoolFull,
                },
            },
        ),
        batch: None,
    };
    let log = [value(1, NOW, NOW, 1), lost];
    let today = state_of(&fold(&log), &ROBOT);
    let lost = |known| {
        let as_of = AsOf { at: WallTime(NOW + S), known };
        past(RobotState::default(), log.iter(), as_of, &today).totals().lost_samples()
    };
    assert_eq!((lost(Known::Then), lost(Known::Now)), (0, 40));
}
