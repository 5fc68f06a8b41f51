use std::{collections::VecDeque, time::Duration};

use muster_protocol::{
    id::ChannelName,
    sample::{Row, Value},
    time::WallTime,
};

use super::*;
use crate::{
    batcher::Declaration,
    config::{AbsentValue, AbsentValues},
};

const SOON: Option<Duration> = Some(Duration::from_secs(10));
const NOW: Option<Duration> = Some(Duration::ZERO);

fn stamped(lane: Option<Lane>, name: &str) -> Stamped {
    let fields = vec![(ChannelName::new(name).unwrap(), Value::Int(1))];
    Stamped::new(Row { t: None, lane, unit: None, fields }, WallTime(0))
}

fn shown(line: u64) -> Shown<'static> {
    Shown { line, text: b"the line" }
}

fn intake(rows_max: usize) -> (Intake, Outlet) {
    let limits = Limits { rows_max, bytes_max: 1 << 20 };
    Intake::new(&IntakeConfig { live: limits, wait: limits, declarations: Arc::default() })
}

fn take(outlet: &mut Outlet, want: Want) -> (Vec<u64>, State) {
    let mut items = VecDeque::new();
    let state = outlet.take(want, NOW, &mut items);
    let line = |item| match item {
        Item::Row(row) => row.line,
        Item::Sync(_) => 0,
    };
    (items.into_iter().map(line).collect(), state)
}

#[test]
fn a_live_source_is_refused_and_counted_when_the_queue_is_full_and_urgent_rows_still_fit() {
    let (intake, mut outlet) = intake(8);
    let source = intake.source("udp:x", Manner::Live);
    for line in 1..=7 {
        source.push(stamped(None, "a"), shown(line)).unwrap();
    }
    let refused = source.push(stamped(Some(Lane::Bulk), "a"), shown(8)).unwrap_err();
    assert_eq!(refused, Refused::QueueFull { lane: Lane::Bulk });
    source.push(stamped(Some(Lane::Urgent), "a"), shown(9)).unwrap();
    assert!(source.push(stamped(Some(Lane::Urgent), "a"), shown(10)).is_err());
    assert_eq!(source.counts(), Counts { accepted: 0, refused: 2 });
    let refusals = intake.ledger().refusals();
    assert_eq!(
        refusals.iter().map(|refusal| refusal.lane).collect::<Vec<_>>(),
        [Some(Lane::Bulk), Some(Lane::Urgent)]
    );
    assert_eq!((refusals[0].reason, refusals[0].first.line), ("queue_full", 8));
    assert_eq!(take(&mut outlet, Want::All).0, [1, 2, 3, 4, 5, 6, 7, 9]);
    source.push(stamped(None, "a"), shown(11)).unwrap();
}

#[test]
fn a_declared_urgent_channel_has_the_reserved_room() {
    let urgent = Declaration { lane: Some(Lane::Urgent), ..Declaration::of("alarm".parse().unwrap()) };
    let limits = Limits { rows_max: 8, bytes_max: 1 << 20 };
    let declarations = Arc::new(Declarations::new(vec![urgent]));
    let (intake, _outlet) = Intake::new(&IntakeConfig { live: limits, wait: limits, declarations });
    let source = intake.source("host", Manner::Live);
    while source.push(stamped(None, "a"), shown(1)).is_ok() {}
    source.push(stamped(None, "alarm"), shown(1)).unwrap();
}

#[test]
fn bytes_are_bounded_and_one_row_fits_whatever_its_size() {
    let limits = Limits { rows_max: 100, bytes_max: 1000 };
    let (intake, mut outlet) =
        Intake::new(&IntakeConfig { live: limits, wait: limits, declarations: Arc::default() });
    let source = intake.source("host", Manner::Live);
    let mut large = stamped(None, "a");
    large.row.fields[0].1 = Value::Text("x".repeat(5000));
    source.push(large.clone(), shown(1)).unwrap();
    assert!(source.push(large.clone(), shown(2)).is_err());
    assert!(source.push(stamped(None, "a"), shown(3)).is_err());
    assert_eq!(take(&mut outlet, Want::All).0, [1]);
    source.push(large, shown(4)).unwrap();
}

#[test]
fn a_waiting_source_waits_for_room_and_loses_nothing() {
    let (intake, mut outlet) = intake(4);
    let source = intake.source("file:x", Manner::Wait);
    let writer = std::thread::spawn(move || {
        (1..=1000).for_each(|line| source.push(stamped(None, "a"), shown(line)).unwrap());
        source.counts()
    });
    intake.seal();
    let (mut lines, mut items) = (Vec::new(), VecDeque::new());
    loop {
        let state = outlet.take(Want::All, SOON, &mut items);
        assert!(items.len() <= 4);
        lines.extend(items.drain(..).filter_map(|item| match item {
            Item::Row(row) => Some(row.line),
            Item::Sync(_) => None,
        }));
        if state.drained {
            break;
        }
    }
    assert!(lines.iter().copied().eq(1..=1000), "{lines:?}");
    assert_eq!(writer.join().unwrap(), Counts { accepted: 0, refused: 0 });
}

#[test]
fn rows_of_waiting_sources_stay_while_only_live_ones_are_wanted() {
    let (intake, mut outlet) = intake(8);
    let (wait, live) = (intake.source("stdin", Manner::Wait), intake.source("host", Manner::Live));
    wait.push(stamped(None, "a"), shown(1)).unwrap();
    live.push(stamped(None, "a"), shown(2)).unwrap();
    assert_eq!(take(&mut outlet, Want::Nothing).0, [0; 0]);
    assert_eq!(take(&mut outlet, Want::Live).0, [2]);
    assert_eq!(take(&mut outlet, Want::All).0, [1]);
}

#[test]
fn closing_wakes_who_waits_and_what_was_taken_is_still_handed_out() {
    let (intake, mut outlet) = intake(1);
    let source = intake.source("stdin", Manner::Wait);
    source.push(stamped(None, "a"), shown(1)).unwrap();
    let writer = std::thread::spawn(move || source.push(stamped(None, "a"), shown(2)));
    intake.close();
    assert_eq!(writer.join().unwrap(), Err(Refused::Closed));
    assert_eq!(take(&mut outlet, Want::Live), (vec![1], State { drained: false, closed: true }));
    assert_eq!(intake.ledger().total(), 0, "a file that is not read to its end refuses nothing");
}

#[test]
fn the_queue_is_drained_when_all_sources_are_gone_and_no_more_will_come() {
    let (intake, mut outlet) = intake(8);
    let source = intake.source("stdin", Manner::Wait);
    let connection = source.connection();
    drop(source);
    assert!(!take(&mut outlet, Want::All).1.drained);
    connection.push(stamped(None, "a"), shown(1)).unwrap();
    drop(connection);
    assert!(!take(&mut outlet, Want::All).1.drained, "a program may still register its own source");
    intake.seal();
    assert!(take(&mut outlet, Want::All).1.drained);
}

#[test]
fn a_poke_wakes_the_recorder_once() {
    let (intake, mut outlet) = intake(8);
    intake.poke();
    outlet.take(Want::All, None, &mut VecDeque::new());
    outlet.take(Want::All, NOW, &mut VecDeque::new());
}

#[test]
fn a_sync_answer_counts_exactly_what_came_before_it() {
    let (intake, mut outlet) = intake(8);
    let source = intake.source("unix:x", Manner::Live);
    let (answered, answer) = std::sync::mpsc::sync_channel(1);
    source.push(stamped(None, "a"), shown(1)).unwrap();
    source.refuse("not_json", Some(LossReason::Malformed), &"no", shown(2));
    source.sync(move |counts| answered.send(counts).unwrap()).unwrap();
    source.push(stamped(None, "a"), shown(4)).unwrap();
    source.refuse("not_json", Some(LossReason::Malformed), &"no", shown(5));
    let mut items = VecDeque::new();
    outlet.take(Want::All, NOW, &mut items);
    let mut requests = Vec::new();
    for item in items {
        match item {
            Item::Row(row) => row.origin.count_recorded(),
            Item::Sync(mut request) => {
                request.reached();
                requests.push(request);
            }
        }
    }
    requests.into_iter().for_each(SyncRequest::answer);
    assert_eq!(answer.recv().unwrap(), Counts { accepted: 1, refused: 1 });
    assert_eq!(source.counts(), Counts { accepted: 2, refused: 2 });
    let why = Why { reason: "spool_failed", lane: None, sentence: &"no" };
    outlet.give_back(source.origin(), 2, why);
    assert_eq!(source.counts(), Counts { accepted: 0, refused: 4 });
}

#[test]
fn an_input_counts_what_its_connections_count() {
    let (intake, _outlet) = intake(8);
    let input = intake.source("unix:x", Manner::Live);
    let connections = [input.connection(), input.connection()];
    for connection in &connections {
        connection.origin().count_recorded();
        connection.refuse("not_json", Some(LossReason::Malformed), &"not JSON", shown(1));
        assert_eq!(connection.counts(), Counts { accepted: 1, refused: 1 });
    }
    assert_eq!(input.counts(), Counts { accepted: 2, refused: 2 });
}

fn with_absent(rows_max: usize) -> (Intake, Outlet) {
    let limits = Limits { rows_max, bytes_max: 1 << 20 };
    let values = AbsentValues::try_from(vec![AbsentValue::Int(-1), AbsentValue::Float(f64::NAN)]).unwrap();
    let rule = Declaration { absent: Some(values), ..Declaration::of("range.*".parse().unwrap()) };
    let declarations = Arc::new(Declarations::new(vec![rule]));
    Intake::new(&IntakeConfig { live: limits, wait: limits, declarations })
}

fn row_of(fields: &[(&str, Value)]) -> Stamped {
    let fields = fields.iter().map(|(name, value)| (ChannelName::new(name).unwrap(), value.clone()));
    Stamped::new(Row { t: None, lane: None, unit: None, fields: fields.collect() }, WallTime(7))
}

#[test]
fn a_value_that_is_none_is_left_out_and_counted_by_channel_whatever_the_input() {
    let (none, _) = intake(8);
    let (intake, mut outlet) = with_absent(8);
    for manner in [Manner::Live, Manner::Wait] {
        let source = intake.source("input", manner);
        let row = [("range.a", Value::Float(-1.0)), ("range.b", Value::Int(3)), ("speed", Value::Int(-1))];
        source.push(row_of(&row), shown(1)).unwrap();
        source
            .push(row_of(&[("range.b", Value::Float(f64::NAN)), ("range.a", Value::Int(-1))]), shown(2))
            .unwrap();
        let mut items = VecDeque::new();
        outlet.take(Want::All, NOW, &mut items);
        let [Item::Row(row)] = &items.make_contiguous()[..] else { panic!("one row is left: {items:?}") };
        let kept: Vec<_> =
            row.row.row.fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        assert_eq!(kept, [("range.b", Value::Int(3)), ("speed", Value::Int(-1))], "{manner:?}");
        assert_eq!(source.counts(), Counts::default(), "what is no sample is not refused");
    }
    let left_out = intake.left_out().unwrap();
    let by_channel: Vec<_> =
        left_out.by_channel.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!((by_channel, left_out.total()), (vec![("range.a", 4), ("range.b", 2)], 6));
    assert_eq!(left_out.to_string(), "6 samples were left out, declared as absent: range.a 4, range.b 2");
    assert_eq!((intake.ledger().total(), outlet.take_untold()), (0, vec![]));
    assert_eq!(none.left_out(), None, "no channel declares any");
}

/// Guards: a value that is none was lost like a sample when its row found no room.
#[test]
fn a_value_that_is_none_is_neither_refused_nor_lost_when_there_is_no_room() {
    let (intake, outlet) = with_absent(1);
    let source = intake.source("udp:x", Manner::Live);
    source.push(row_of(&[("range.a", Value::Int(-1))]), shown(1)).unwrap();
    source.push(row_of(&[("speed", Value::Int(0))]), shown(1)).unwrap();
    let both = [("range.a", Value::Int(-1)), ("range.b", Value::Int(3))];
    source.push(row_of(&both), shown(2)).unwrap_err();
    let lost: u64 = outlet.take_untold().iter().map(|untold| untold.samples).sum();
    assert_eq!((lost, source.counts().refused), (1, 1));
    // A row that came empty is a mistake of whoever sent it, as ever.
    assert_eq!(source.push(row_of(&[]), shown(3)).unwrap_err().kind(), "row_empty");
    intake.close();
    source.push(row_of(&[("range.a", Value::Int(-1))]), shown(4)).unwrap();
}
