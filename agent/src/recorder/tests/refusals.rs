//! What the inputs were refused becomes loss records: summed up, counted once.

use muster_protocol::loss::Loss;

use super::*;
use crate::spool::StoredKind;

impl Bench {
    fn losses(&self) -> Vec<Loss> {
        let stored = self.spooled().into_iter().filter_map(|head| self.reader.read(head).unwrap());
        let losses = stored.filter(|stored| stored.kind == StoredKind::Loss);
        losses.map(|stored| postcard::from_bytes(&stored.payload).unwrap()).collect()
    }
}

fn nonsense(source: &Source, count: usize) {
    for _ in 0..count {
        source.refuse("not_json", Some(LossReason::Malformed), &"no", Shown { line: 2, text: b"" });
    }
}

#[test]
fn refusals_are_told_soon_then_at_most_every_ten_seconds_and_once_each() {
    let mut bench = Bench::new();
    let source = bench.intake.source("unix:x", Manner::Live);
    nonsense(&source, 3);
    source.refuse("bad_sync", None, &"held no samples", Shown { line: 2, text: b"" });
    bench.advance(millis(2000));
    let [loss] = &bench.losses()[..] else { panic!("{:?}", bench.losses()) };
    assert_eq!((loss.reason, loss.unnumbered, loss.t_min), (LossReason::Malformed, 3, None));
    for _ in 0..40 {
        nonsense(&source, 5);
        bench.advance(millis(1000));
    }
    bench.advance(millis(10_000));
    let losses = bench.losses();
    assert_eq!(losses.iter().map(|loss| loss.unnumbered).sum::<u64>(), 3 + 200);
    assert!((4..=6).contains(&losses.len()), "{}", losses.len());
    assert!(bench.spooled().iter().all(|head| head.lane == Lane::Urgent));
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn rows_that_find_the_queue_full_are_told_with_their_lane_and_times() {
    let mut bench = Bench::new();
    let source = bench.intake.source("unix:x", Manner::Live);
    let mut refused = 0;
    for number in 0..400 {
        let mut row = stamped(Some(Lane::Bulk), Value::Bytes(vec![0; 16_000]));
        row.t = WallTime(number);
        row.row.fields.push((ChannelName::new("b").unwrap(), Value::Int(1)));
        refused += u64::from(source.push(row, Shown { line: 1, text: b"" }).is_err());
    }
    assert!(refused > 100);
    bench.advance(millis(2000));
    let [loss] = &bench.losses()[..] else { panic!("{:?}", bench.losses()) };
    assert_eq!((loss.reason, loss.lane, loss.unnumbered), (LossReason::Overrun, Lane::Bulk, 2 * refused));
    assert_eq!(loss.t_max, Some(WallTime(399)));
}

#[test]
fn what_was_refused_last_is_told_before_the_inputs_count_as_drained_and_when_the_agent_stops() {
    let mut bench = Bench::new();
    let source = bench.intake.source("file:x", Manner::Wait);
    nonsense(&source, 2);
    bench.intake.seal();
    drop(source);
    bench.advance(Duration::ZERO);
    assert!(matches!(bench.events.last(), Some((RecorderEvent::InputsDrained, _))));
    assert_eq!(bench.losses()[0].unnumbered, 2);

    let bench = Bench::new();
    nonsense(&bench.intake.source("unix:x", Manner::Live), 4);
    let disk = bench.disk.clone();
    let last = bench.core.finish(&reading, &bench.outlet);
    assert!(last.events.iter().any(|event| matches!(event, RecorderEvent::Spooled(_))) && !last.lost);
    disk.power_cut(1);
    let (spool, recovered) = Spool::open(Arc::new(disk), config(LIMIT_BYTES), 99).unwrap();
    let [span] = &recovered.spans[..] else { panic!("{:?}", recovered.spans) };
    let head = NumberedHead { epoch: span.epoch, lane: span.lane, seq: span.first };
    let loss: Loss = postcard::from_bytes(&spool.reader().read(head).unwrap().unwrap().payload).unwrap();
    assert_eq!(loss.unnumbered, 4);
}
