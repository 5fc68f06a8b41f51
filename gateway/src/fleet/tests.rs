//! The properties of the fold as a whole.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use muster_protocol::{
    batch::DecodedBatch,
    id::{InstanceId, Lane, Offset, Seq},
    label::Labels,
    loss::{Absence, AbsenceReason, Loss, LossReason, LostSeq},
    message::{Clock, HeldLane, NumberedHead, SeqRange},
    sample::{StampedBy, Value},
    schema::Schema,
    time::{MonoTime, WallTime},
};

use super::{rehearsal::*, *};
use crate::record::{Body, DownReason, LabelSet, LabelSource, SessionEvent};

mod ahead;
mod as_of;
mod clocks;
mod survey;

/// Guards: a robot that an operator labels was not heard by that, nor one whose labels are written again.
#[test]
fn a_label_is_no_sign_of_life() {
    let labels = Labels::new([("site".parse().unwrap(), "berlin".parse().unwrap())].into()).unwrap();
    let by = |by, at| {
        let set = LabelSet { by, labels: labels.clone() };
        Record {
            offset: Offset(at),
            envelope: envelope(robot(1), 0, NOW + S, Body::Labels(set)),
            batch: None,
        }
    };
    let began = Record { offset: Offset(1), envelope: envelope(robot(1), 1, NOW, up(None, 1)), batch: None };
    let last_heard = |records: &[Record]| {
        let fleet = fold(records);
        let state = fleet.robot(&robot(1)).unwrap();
        let reading = state.read().unwrap().read(WallTime(NOW + 2 * S), None);
        reading.link.last_heard
    };
    assert_eq!(last_heard(&[began.clone(), by(LabelSource::Operator, 2)]), Some(WallTime(NOW)));
    assert_eq!(last_heard(&[began, by(LabelSource::Agent, 2)]), Some(WallTime(NOW)));
}

fn any_body() -> impl Strategy<Value = (Body, Option<(DecodedBatch, Arc<Schema>)>)> {
    let schemas = [
        schema(&[("a", None, false), ("b", Some(7), false), ("c", None, true)]),
        schema(&[("c", None, false), ("a", Some(9), false)]),
    ];
    let time = prop_oneof![NOW - 20..NOW + 20, 0i64..5, NOW + 5 * S - 3..NOW + 100 * S];
    let rows = prop::collection::vec((time, 0i64..4), 1..50);
    let clocks = (0u64..3, prop_oneof![NOW - 20 * S..NOW + 20 * S, 0i64..9], any::<bool>())
        .prop_map(|(boot, wall, synchronised)| Clock { synchronised, ..clock(boot, wall) });
    let batches = (any::<bool>(), rows, 0u64..3, 1u64..5, clocks.clone(), any::<bool>());
    let batches = batches.prop_map(move |(which, rows, start, seq, clock, twice)| {
        let schema = schemas[usize::from(which)].clone();
        let channels: &[u32] = if twice { &[0, 1, 0] } else { &[1] };
        let mut batch = int_batch(&schema, channels, &rows, clock);
        for (stamped_by, (_, value)) in batch.groups[0].stamped_by.iter_mut().zip(&rows) {
            *stamped_by = if *value > 1 { StampedBy::Agent } else { StampedBy::Input };
        }
        let body = Body::Batch { head: head(start, seq), info: batch.info, payload: Bytes::new() };
        (body, Some((batch, schema)))
    });
    let losses = (1u64..9, any::<bool>()).prop_map(|(seq, full)| {
        let reason = if full { LossReason::SpoolFull } else { LossReason::Corrupt };
        let lost = vec![LostSeq { seq: Seq(seq), samples: 10 }];
        let head = head(1, 1);
        let loss = Loss {
            epoch: head.epoch,
            lane: head.lane,
            lost,
            unnumbered: 1,
            t_min: None,
            t_max: None,
            reason,
        };
        (Body::Loss { head: None, loss }, None)
    });
    let tolds = (0u64..3, 1u64..30, 0u64..20, clocks.clone()).prop_map(|(start, first, more, clock)| {
        let (epoch, lane, next) = (head(start, 1).epoch, Lane::Live, Seq(first + more));
        let (samples, spooled, gone) = (more * 10, (first + more) * 10, Vec::new());
        let held = vec![HeldLane { epoch, lane, first: Seq(first), next, samples, spooled, gone }];
        (Body::Session(SessionEvent::Told { held, clock }), None)
    });
    let absences = (0u64..3, any::<bool>()).prop_map(|(start, restored)| {
        let reason = if restored { AbsenceReason::Restored } else { AbsenceReason::BeforeThisGateway };
        let (epoch, lane) = (head(start, 1).epoch, Lane::Live);
        (Body::Absence(Absence { epoch, lane, ranges: Vec::new(), samples: 7, reason }), None)
    });
    let conflicts = (0u8..7).prop_map(|other| {
        let (instance, address) = (InstanceId([other; 16]), format!("10.0.0.{other}:1"));
        (Body::Session(SessionEvent::Conflict { instance, address }), None)
    });
    let sources = prop_oneof![Just(LabelSource::Agent), Just(LabelSource::Operator)];
    let labels = (sources, prop::option::of("[x-z]")).prop_map(|(by, value)| {
        let label = value.map(|value| ("site".parse().unwrap(), value.parse().unwrap()));
        (Body::Labels(LabelSet { by, labels: Labels::new(label.into_iter().collect()).unwrap() }), None)
    });
    let downs = prop_oneof![Just(DownReason::Lost), Just(DownReason::Closed)];
    prop_oneof![
        6 => batches,
        1 => losses,
        2 => tolds,
        1 => absences,
        2 => labels,
        2 => conflicts,
        2 => (prop::option::of(clocks), 0u8..7).prop_map(|(clock, process)| (up(clock, process), None)),
        1 => downs.prop_map(|why| (Body::Session(SessionEvent::Down { why }), None)),
    ]
}

/// Gives what a record names a seq that no other record of the log has.
fn numbered(body: Body, offset: u64) -> Body {
    let seq = Seq(offset);
    match body {
        Body::Batch { head, info, payload } => {
            Body::Batch { head: NumberedHead { seq, ..head }, info, payload }
        }
        Body::Loss { head, mut loss } => {
            loss.lost[0].seq = seq;
            Body::Loss { head, loss }
        }
        Body::Absence(absence) => {
            Body::Absence(Absence { ranges: vec![SeqRange { first: seq, end: seq.next() }], ..absence })
        }
        other => other,
    }
}

/// A log: offsets ascend with gaps, sessions belong to one robot and have at most one start.
fn any_log() -> impl Strategy<Value = Vec<Record>> {
    let record = (any_body(), 1u64..4, 0u64..3, -3i64..10);
    prop::collection::vec(record, 1..40).prop_map(|bodies| {
        let (mut offset, mut begun) = (0, std::collections::BTreeSet::new());
        let mut log = Vec::new();
        for ((body, batch), gap, number, later) in bodies {
            offset += gap;
            let session = 10 * number + offset / 20;
            let starts = matches!(body, Body::Session(SessionEvent::Up { .. }));
            if starts && !begun.insert(session) {
                continue;
            }
            let envelope = envelope(robot(number), session, NOW + later, numbered(body, offset));
            log.push(Record { offset: Offset(offset), envelope, batch });
        }
        log
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_permutation_and_repetition_of_the_records_gives_the_same_state(
        log in any_log(),
        swaps in prop::collection::vec((any::<Index>(), any::<Index>()), 0..60),
        again in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let in_order = fold(&log);
        let mut shuffled: Vec<&Record> = log.iter().collect();
        shuffled.extend(again.iter().map(|index| index.get(&log)));
        for (a, b) in swaps {
            let (a, b) = (a.index(shuffled.len()), b.index(shuffled.len()));
            shuffled.swap(a, b);
        }
        let other = fold(shuffled);
        prop_assert!(other == in_order, "{other:#?}\n{in_order:#?}");
        prop_assert_eq!(other.next(), in_order.next());
    }

    #[test]
    fn a_checkpoint_and_the_tail_give_what_the_whole_log_gives(log in any_log(), cut in any::<Index>()) {
        let whole = fold(&log);
        let checkpoint = fold(&log[..cut.index(log.len())]).to_bytes();
        let restored = Fleet::from_bytes(&checkpoint).unwrap();
        prop_assert_eq!(restored.to_bytes(), checkpoint);
        for record in &log {
            let expected = record.offset >= fold(&log[..cut.index(log.len())]).next();
            prop_assert_eq!(record.apply_to(&restored), expected);
        }
        prop_assert!(restored == whole);
        prop_assert!(Fleet::from_bytes(&whole.to_bytes()).unwrap() == whole);
    }

    #[test]
    fn damaged_checkpoints_do_not_panic(log in any_log(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = fold(&log).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = Fleet::from_bytes(&bytes);
        let _ = Fleet::from_bytes(&bytes[..at]);
    }
}

#[test]
fn a_checkpoint_of_another_version_is_refused() {
    assert_eq!(Fleet::from_bytes(&[9]).unwrap_err(), CheckpointError::Version { found: Some(9) });
    assert_eq!(Fleet::from_bytes(&[]).unwrap_err(), CheckpointError::Version { found: None });
}

/// What a channel's reading says, without the value.
#[derive(Clone, Copy, Debug)]
struct Read {
    t: i64,
    raw_t: Option<i64>,
    mark: Option<Mark>,
    age_ns: Option<i64>,
    freshness: Freshness,
}

/// Reads the value and the freshness of robot 1's channel `a`.
fn read_a(fleet: &Fleet, now: i64, live: Option<&LiveLink>) -> (Value, Read) {
    let robot = fleet.robot(&robot(1)).unwrap();
    let robot = robot.read().unwrap();
    let reading = robot.read(WallTime(now), live);
    let (_, channel) = robot.channels().find(|(name, _)| name.as_str() == "a").unwrap();
    let read = robot.read_channel(channel, WallTime(now), &reading.link);
    let ChannelReading { t, mark, age_ns, freshness, .. } = read;
    (read.value().clone(), Read { t: t.0, raw_t: read.raw_t().map(|t| t.0), mark, age_ns, freshness })
}

#[test]
fn one_stamp_from_the_future_does_not_freeze_a_channel() {
    let schema = schema(&[("a", None, false)]);
    let rows = |rows: &[(i64, i64)]| (int_batch(&schema, &[0], rows, clock(1, NOW)), schema.clone());
    let future = batch_record(1, head(1, 1), NOW, rows(&[(NOW + 3600 * S, 1)]));
    let normal = batch_record(2, head(1, 2), NOW + 6 * S, rows(&[(NOW + 6 * S, 2)]));
    let fleet = fold([&future]);
    let (value, reading) = read_a(&fleet, NOW + S, Some(&heard(NOW)));
    assert_eq!((value, reading.mark, reading.age_ns), (Value::Int(1), Some(Mark::Ahead), Some(S)));
    normal.apply_to(&fleet);
    let (value, reading) = read_a(&fleet, NOW + 7 * S, Some(&heard(NOW)));
    assert_eq!((value, reading.mark, reading.age_ns), (Value::Int(2), None, Some(S)));
}

#[test]
fn a_robot_that_lives_in_1970_ages_by_acceptance() {
    let schema = schema(&[("a", None, false)]);
    let boot = |mono: i64| Clock { mono: MonoTime(u64::try_from(mono).unwrap()), ..clock(1, mono) };
    let begun = Record {
        offset: Offset(1),
        envelope: envelope(robot(1), 1, NOW, up(Some(boot(500 * S)), 1)),
        batch: None,
    };
    let rows = (int_batch(&schema, &[0], &[(490 * S, 7)], boot(490 * S)), schema.clone());
    let sample = batch_record(2, head(1, 1), NOW + S, rows);
    let (_, reading) = read_a(&fold([&begun, &sample]), NOW + S, Some(&heard(NOW)));
    assert_eq!(reading.mark, Some(Mark::Before2020));
    assert_eq!((reading.age_ns, reading.freshness), (Some(11 * S), Freshness::Stale));
    // Without the session's start nothing tells when it was accepted, and then it does not look live.
    let (_, reading) = read_a(&fold([&sample]), NOW + S, Some(&heard(NOW)));
    assert_eq!((reading.age_ns, reading.freshness), (None, Freshness::Stale));
}

#[test]
fn a_killed_robot_turns_late_then_stale_then_down() {
    let schema = schema(&[("a", None, false)]);
    let rows: Vec<(i64, i64)> = (0..40).map(|i| (NOW + i * 100 * MS - 4 * S, i)).collect();
    let record =
        batch_record(1, head(1, 1), NOW, (int_batch(&schema, &[0], &rows, clock(1, NOW)), schema.clone()));
    let fleet = fold([&record]);
    let at = |after: i64| {
        let live = heard(NOW);
        let (_, channel) = read_a(&fleet, NOW + after, Some(&live));
        let robot = fleet.robot(&robot(1)).unwrap();
        let reading = robot.read().unwrap().read(WallTime(NOW + after), Some(&live));
        (channel.freshness, reading.link.state, reading.health.level)
    };
    assert_eq!(at(S), (Freshness::Fresh, LinkState::Up, Level::Ok));
    assert_eq!(at(3 * S), (Freshness::Late, LinkState::Up, Level::Warn));
    assert_eq!(at(6 * S), (Freshness::Stale, LinkState::Up, Level::Stale));
    assert_eq!(at(46 * S), (Freshness::Stale, LinkState::Down, Level::Stale));
}

#[test]
fn what_an_agent_tells_of_itself_makes_no_robot_look_live() {
    let schema = schema(&[("a", None, false), ("muster.agent.uptime_s", Some(3_600 * 1_000_000_000), false)]);
    let rows = [(NOW, 1)];
    let record =
        batch_record(1, head(1, 1), NOW, (int_batch(&schema, &[0, 1], &rows, clock(1, NOW)), schema.clone()));
    let fleet = fold([&record]);
    let bytes = fleet.to_bytes();
    for fleet in [fleet, Fleet::from_bytes(&bytes).unwrap()] {
        let robot = fleet.robot(&robot(1)).unwrap();
        let reading = robot.read().unwrap().read(WallTime(NOW + 60 * S), Some(&heard(NOW + 60 * S)));
        assert_eq!(reading.freshness, Freshnesses { stale: 1, ..Freshnesses::default() });
        assert_eq!(reading.health.level, Level::Stale);
        assert_eq!(robot.read().unwrap().channel_count(), 2, "it is served all the same");
    }
}

#[test]
fn losses_and_samples_are_counted_once() {
    let head = head(1, 1);
    let loss = Loss {
        epoch: head.epoch,
        lane: head.lane,
        lost: vec![LostSeq { seq: Seq(4), samples: 30 }, LostSeq { seq: Seq(5), samples: 12 }],
        unnumbered: 0,
        t_min: None,
        t_max: None,
        reason: LossReason::SpoolFull,
    };
    let body = Body::Loss { head: Some(head), loss };
    let record = Record { offset: Offset(3), envelope: envelope(robot(1), 1, NOW, body), batch: None };
    let fleet = fold([&record, &record]);
    let robot = fleet.robot(&robot(1)).unwrap();
    let robot = robot.read().unwrap();
    assert_eq!((robot.totals().lost_samples(), robot.totals().records), (42, 1));
    assert_eq!(robot.read(WallTime(NOW + S), Some(&heard(NOW))).health.level, Level::Warn);
    assert_eq!(
        robot.read(WallTime(NOW + 2 * LOSS_NS_WARN), Some(&heard(NOW + 2 * LOSS_NS_WARN))).health.level,
        Level::Ok
    );
}

/// Guards: what a hostile agent says that it lost overflowed the sums.
#[test]
fn losses_beyond_all_counting_stay_at_the_most() {
    let loss = |seq, reason| {
        let (lost, unnumbered, lane) = (Vec::new(), u64::MAX, Lane::Live);
        let loss = Loss { epoch: head(1, 1).epoch, lane, lost, unnumbered, t_min: None, t_max: None, reason };
        let body = Body::Loss { head: Some(head(1, seq)), loss };
        Record { offset: Offset(seq), envelope: envelope(robot(1), 1, NOW, body), batch: None }
    };
    let records = [LossReason::Corrupt, LossReason::Corrupt, LossReason::Refused];
    let records = [loss(1, records[0]), loss(2, records[1]), loss(3, records[2])];
    let fleet = fold(&records);
    let robot = fleet.robot(&robot(1)).unwrap();
    assert_eq!(robot.read().unwrap().totals().lost_samples(), u64::MAX);
}

#[test]
fn a_declared_interval_counts_before_the_measured_one() {
    let schema = schema(&[("a", Some(60_000_000_000), false)]);
    let rows: Vec<(i64, i64)> = (0..10).map(|i| (NOW + i * MS, i)).collect();
    let record =
        batch_record(1, head(1, 1), NOW, (int_batch(&schema, &[0], &rows, clock(1, NOW)), schema.clone()));
    let (_, reading) = read_a(&fold([&record]), NOW + 100 * S, None);
    assert_eq!(reading.freshness, Freshness::Fresh);
}
