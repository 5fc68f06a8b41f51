//! Plain JSON: its ticket stands for all of it.

use super::*;

const TWO_GOOD_ONE_BAD: &[u8] =
    b"{\"ch\":\"a\",\"v\":1}\n{\"ch\":\"b\",\"lane\":\"urgent\",\"v\":2.5}\nnot json\n";

#[test]
fn the_ticket_resolves_when_the_last_record_is_committed_and_refused_samples_are_counted() {
    let bench = Bench::new();
    let mut ticket = pin!(bench.ingest.json(&robot(), Bytes::from_static(TWO_GOOD_ONE_BAD)));
    let mut entries = std::mem::take(&mut *bench.log.entries.lock().unwrap());
    let bodies: Vec<_> = entries.iter().map(|entry| &entry.envelope.body).collect();
    assert!(
        matches!(
            bodies[..],
            [
                Body::Session(SessionEvent::Up { .. }),
                Body::Batch { .. },
                Body::Batch { .. },
                Body::Loss { head: None, .. }
            ]
        ),
        "{bodies:?}"
    );
    let Body::Loss { loss, .. } = bodies[3] else { panic!() };
    assert_eq!((loss.unnumbered, loss.reason), (1, LossReason::Malformed));
    for (number, entry) in entries.drain(..).enumerate() {
        assert_eq!(now_or_never(ticket.as_mut()), None, "{number} records are committed");
        (entry.done)(Ok(Committed::for_test(Offset(number as u64 + 1))));
    }
    assert_eq!(now_or_never(ticket), Some(Ok(())));
    assert!(
        bench.metric("muster_sessions{transport=\"mqtt_json\"} 1"),
        "{}",
        bench.metrics.encode(&Gauges::default())
    );
}

#[test]
fn one_failed_record_fails_the_ticket() {
    let bench = Bench::new();
    let ticket = bench.ingest.json(&robot(), Bytes::from_static(TWO_GOOD_ONE_BAD));
    let mut entries = std::mem::take(&mut *bench.log.entries.lock().unwrap());
    (entries.remove(1).done)(Err(CommitError::DiskFull));
    for entry in entries {
        (entry.done)(Ok(Committed::for_test(Offset(1))));
    }
    assert_eq!(now_or_never(ticket), Some(Err(Unhandled::DiskFull)));
}

#[test]
fn a_full_queue_fails_the_ticket() {
    let bench = Bench::new();
    bench.log.refuse(Some(RejectReason::QueueFull));
    let ticket = bench.ingest.json(&robot(), Bytes::from_static(TWO_GOOD_ONE_BAD));
    assert_eq!(now_or_never(ticket), Some(Err(Unhandled::Busy)));
}

#[test]
fn each_payload_gets_numbers_of_its_own() {
    let bench = Bench::new();
    for _ in 0..3 {
        let _ = bench.ingest.json(&robot(), Bytes::from_static(b"{\"ch\":\"a\",\"v\":1}"));
    }
    let seqs = bench.commit().into_iter().filter_map(|envelope| match envelope.body {
        Body::Batch { head, .. } => Some((head.epoch.start, head.lane, head.seq.0)),
        _ => None,
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [(4, Lane::Live, 1), (4, Lane::Live, 2), (4, Lane::Live, 3)]);
}
