//! One sample from the future among those of now.

use super::*;
use crate::fleet::RobotState;

const MINUTES_20: i64 = 1200 * S;

fn batch(offset: u64, received_at: i64, rows: &[(i64, i64)]) -> Record {
    let schema = schema(&[("a", None, false)]);
    let batch = int_batch(&schema, &[0], rows, clock(1, received_at));
    batch_record(offset, head(1, offset), received_at, (batch, schema))
}

fn begun() -> Record {
    let body = up(Some(clock(1, NOW)), 1);
    Record { offset: Offset(1), envelope: envelope(robot(1), 1, NOW, body), batch: None }
}

/// Guards: for five seconds after it came, a sample from the future hid the values that came behind it.
#[test]
fn what_comes_behind_a_sample_from_the_future_replaces_it_at_once() {
    let usual: Vec<(i64, i64)> = (1..=10).map(|i| (NOW - i * 100 * MS, -i)).rev().collect();
    let (before, ahead) = (batch(2, NOW, &usual), batch(3, NOW + 100 * MS, &[(NOW + MINUTES_20, 7)]));
    let behind = batch(4, NOW + 200 * MS, &[(NOW + 190 * MS, 8)]);
    let of = |records: &[&Record], now| read_a(&fold(records.iter().copied()), now, Some(&heard(NOW)));
    let begun = begun();
    let (value, reading) = of(&[&begun, &before, &ahead], NOW + 110 * MS);
    assert_eq!((value, reading.mark, reading.age_ns), (Value::Int(7), Some(Mark::Ahead), Some(10 * MS)));
    for order in [[&begun, &before, &ahead, &behind], [&behind, &ahead, &before, &begun]] {
        let (value, reading) = of(&order, NOW + 210 * MS);
        assert_eq!((value, reading.mark, reading.age_ns), (Value::Int(8), None, Some(20 * MS)));
        // Its pace is that of the others: it does not make a value of now look live for twenty minutes.
        let (_, reading) = of(&order, NOW + 190 * MS + 2 * S + 1);
        assert_eq!(reading.freshness, Freshness::Late);
        assert_eq!(of(&order, NOW + 190 * MS + 5 * S + 1).1.freshness, Freshness::Stale);
    }
}

#[test]
fn a_sample_from_the_future_alone_ages_by_its_acceptance() {
    let log = [begun(), batch(2, NOW, &[(NOW + MINUTES_20, 7)])];
    for (later, freshness) in
        [(2 * S, Freshness::Fresh), (2 * S + 1, Freshness::Late), (5 * S + 1, Freshness::Stale)]
    {
        let (value, reading) = read_a(&fold(&log), NOW + later, Some(&heard(NOW)));
        assert_eq!((value, reading.age_ns, reading.freshness), (Value::Int(7), Some(later), freshness));
    }
}

#[test]
fn a_robot_whose_inputs_all_live_in_the_future_shows_its_newest() {
    let log: Vec<Record> = (0..5i64)
        .map(|n| {
            let rows = [(NOW + MINUTES_20 + n * S, 2 * n), (NOW + MINUTES_20 + n * S + 1, 2 * n + 1)];
            batch(u64::try_from(n).unwrap() + 2, NOW + n * S, &rows)
        })
        .collect();
    let (value, reading) = read_a(&fold(log.iter().rev()), NOW + 5 * S, Some(&heard(NOW)));
    assert_eq!((value, reading.mark, reading.age_ns), (Value::Int(9), Some(Mark::Ahead), Some(S)));
}

/// The moments at which a backlog happened, in which one sample says that it is of twenty minutes later.
#[test]
fn as_of_is_not_pinned_by_a_sample_from_the_future() {
    let log: Vec<Record> = [
        begun(),
        batch(2, NOW, &[(NOW, 1)]),
        batch(3, NOW + S, &[(NOW + MINUTES_20, 2)]),
        batch(4, NOW + 2 * S, &[(NOW + 2 * S, 3)]),
        batch(5, NOW + 3 * S, &[(NOW + 3 * S, 4)]),
    ]
    .into();
    let today = fold(&log).robot(&robot(1)).unwrap().read().unwrap().clone();
    for known in [Known::Then, Known::Now] {
        for (later, expected) in [(0, 1), (S, 2), (2 * S, 3), (3 * S, 4), (4 * S, 4)] {
            let as_of = AsOf { at: WallTime(NOW + later), known };
            let mut state = RobotState::default();
            let taken = log.iter().filter(|record| as_of.takes(&record.envelope));
            taken.clone().for_each(|record| state.learn_clocks(record.offset, &record.envelope));
            for record in taken {
                let batch = record.batch.as_ref().map(|(batch, schema)| (batch, &**schema));
                state.apply_as_of(as_of, record.offset, &record.envelope, batch);
            }
            state.finish_as_of(as_of, &today);
            let fleet = Fleet::of([(robot(1), state)]);
            let (value, reading) = read_a(&fleet, NOW + later, None);
            assert_eq!(value, Value::Int(expected), "{known:?} {later}");
            assert_eq!(reading.freshness, Freshness::Fresh, "{known:?} {later}");
        }
    }
}
