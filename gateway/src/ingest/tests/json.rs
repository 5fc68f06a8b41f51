//! Plain JSON: what its ticket promises, and how what is refused is counted.

use muster_protocol::loss::LossReason;

use super::*;

fn json(world: &World, payload: &'static str) -> Ticket {
    world.ingest.json(&robot(), Bytes::from_static(payload.as_bytes()))
}

/// One row of each of two lanes, and two lines that are refused.
const MIXED: &str = r#"{"ch": "battery.soc", "v": 0.5}
{"ch": "battery.soc", "v":
{"ch": "estop", "v": true, "lane": "urgent"}
no
"#;

#[test]
fn a_ticket_resolves_when_all_of_its_records_are_committed() {
    let world = World::new();
    let mut ticket = json(&world, MIXED);
    let records = world.log.take_records();
    assert_eq!(records.len(), 3);
    for record in records {
        assert_eq!(poll(&mut ticket), None);
        world.log.commit(record);
    }
    assert_eq!(poll(&mut ticket), Some(Ok(())));
}

#[test]
fn refused_lines_become_one_loss_with_their_count() {
    let world = World::new();
    json(&world, MIXED);
    let losses: Vec<_> = world
        .log
        .take_records()
        .into_iter()
        .filter_map(|entry| match entry.envelope.body {
            Body::Loss { head, loss } => Some((head, loss.reason, loss.unnumbered, loss.lost)),
            _ => None,
        })
        .collect();
    assert_eq!(losses, [(None, LossReason::Malformed, 2, vec![])]);
}

/// Guards: a row of more channels than a schema holds ended the connection, at each redelivery anew.
#[test]
fn a_row_that_no_schema_holds_is_refused_and_those_around_it_are_kept() {
    let world = World::new();
    let wide: Vec<String> = (0..5000).map(|n| format!("\"{n}\":true")).collect();
    let payload = format!(
        "{{\"ch\":\"a\",\"v\":1}}\n{{\"ch\":\"b\",\"v\":{{{}}}}}\n{{\"ch\":\"c\",\"v\":2}}",
        wide.join(",")
    );
    world.ingest.json(&robot(), payload.into());
    let (mut samples, mut refused) = (0, 0);
    for entry in world.log.take_records() {
        match entry.envelope.body {
            Body::Batch { info, .. } => samples += info.samples,
            Body::Loss { loss, .. } => refused += loss.unnumbered,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((samples, refused), (2, 1));
}

#[test]
fn each_lane_is_numbered_from_one_under_the_gateways_epoch() {
    let world = World::new();
    let epoch = world.ingest.0.config.instance.epoch();
    let mut heads = Vec::new();
    for _ in 0..2 {
        json(&world, MIXED);
        heads.extend(world.log.take_records().into_iter().filter_map(|entry| match entry.envelope.body {
            Body::Batch { head, .. } => Some(head),
            _ => None,
        }));
    }
    let head = |lane, seq| NumberedHead { epoch, lane, seq: Seq(seq) };
    assert_eq!(
        heads,
        [head(Lane::Urgent, 1), head(Lane::Live, 1), head(Lane::Urgent, 2), head(Lane::Live, 2)]
    );
}

#[test]
fn one_failed_record_fails_the_ticket() {
    let world = World::new();
    let mut ticket = json(&world, MIXED);
    let mut records = world.log.take_records();
    (records.remove(1).done)(Err(CommitError::DiskFull));
    for record in records {
        world.log.commit(record);
    }
    assert_eq!(poll(&mut ticket), Some(Err(Unhandled::DiskFull)));
}

#[test]
fn a_log_that_does_not_take_it_fails_the_ticket() {
    for (why, unhandled) in [
        (RejectReason::QueueFull, Unhandled::Busy),
        (RejectReason::DiskFull, Unhandled::DiskFull),
        (RejectReason::Closed, Unhandled::Stopping),
    ] {
        let world = World::new();
        world.log.refuse(Some(why));
        assert_eq!(poll(&mut json(&world, MIXED)), Some(Err(unhandled)));
    }
}

#[test]
fn what_nobody_sends_again_is_stored_or_counted_with_its_reason() {
    let world = World::new();
    let once = || world.ingest.json_once(&robot(), Bytes::from_static(MIXED.as_bytes()));
    let mut stored = once();
    assert_eq!(poll(&mut stored), None);
    world.log.commit_all();
    assert_eq!(poll(&mut stored), Some(Ok(())));
    assert_eq!(world.metrics.json_given_up(), 0);

    world.log.refuse(Some(RejectReason::QueueFull));
    assert_eq!(poll(&mut once()), Some(Ok(())));
    world.log.refuse(None);
    let mut late = once();
    for record in world.log.take_records() {
        (record.done)(Err(CommitError::DiskFull));
    }
    assert_eq!(poll(&mut late), Some(Ok(())));
    for reason in ["busy", "disk_full"] {
        assert!(world.counts(&format!("muster_json_given_up_samples_total{{reason=\"{reason}\"}} 4")));
    }
    assert_eq!(world.metrics.json_given_up(), 8);
}

#[test]
fn an_empty_payload_is_handled_at_once() {
    let world = World::new();
    assert_eq!(poll(&mut json(&world, "\n")), Some(Ok(())));
    assert_eq!(world.log.commit_all(), 0);
}

#[test]
fn plain_json_opens_one_session_and_leaves_an_agents_alone() {
    let world = World::new();
    json(&world, MIXED);
    json(&world, MIXED);
    assert_eq!(world.log.take_events().len(), 1);
    assert!(world.counts("muster_sessions{transport=\"mqtt_json\"} 1"));
    let mut agent = world.agent(1);
    assert!(world.counts("muster_sessions{transport=\"mqtt_json\"} 0"));
    assert!(world.counts("muster_sessions{transport=\"quic\"} 1"));
    world.log.take_events();
    json(&world, MIXED);
    assert_eq!((world.log.take_events(), agent.heard()), (vec![], vec![]));
    assert_eq!(world.ingest.live(&robot()).unwrap().transport, crate::record::Transport::Quic);
}

/// Guards: each try of a message that a broker held left a gap in the numbers, and the fold keeps every gap.
#[test]
fn what_finds_no_room_takes_no_numbers() {
    let world = World::new();
    world.log.refuse(Some(RejectReason::QueueFull));
    for _ in 0..3 {
        assert_eq!(poll(&mut json(&world, MIXED)), Some(Err(Unhandled::Busy)));
    }
    world.log.refuse(None);
    json(&world, MIXED);
    let seqs: Vec<_> = world
        .log
        .take_records()
        .into_iter()
        .filter_map(|entry| match entry.envelope.body {
            Body::Batch { head, .. } => Some(head.seq),
            _ => None,
        })
        .collect();
    assert_eq!(seqs, [Seq(1), Seq(1)], "one of each lane");
}
