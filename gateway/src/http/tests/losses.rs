//! Completeness, the list of losses, and conflicts.

use super::*;

const T: i64 = 1_700_000_000 * S;

fn lost(seqs: &[u64], times: (i64, i64)) -> Body {
    let NumberedHead { epoch, lane, .. } = head(1);
    let lost = seqs.iter().map(|seq| LostSeq { seq: Seq(*seq), samples: 20 }).collect();
    let (t_min, t_max) = (Some(WallTime(times.0)), Some(WallTime(times.1)));
    let reason = LossReason::SpoolFull;
    let loss = Loss { epoch, lane, lost, unnumbered: 0, t_min, t_max, reason };
    Body::Loss { head: Some(NumberedHead { lane: Lane::Urgent, ..head(1) }), loss }
}

fn absent(first: u64, end: u64, reason: AbsenceReason) -> Body {
    let NumberedHead { epoch, lane, .. } = head(1);
    let ranges = vec![SeqRange { first: Seq(first), end: Seq(end) }];
    Body::Absence(Absence { epoch, lane, ranges, samples: (end - first) * 20, reason })
}

/// A robot with a batch, of which two batches were evicted, one was forgotten by this gateway and four came before it.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["x"]);
    world.record("f/r", absent(2, 6, AbsenceReason::BeforeThisGateway));
    world.batch("f/r", &schema, &[(T, &[(0, Sample::Int(1))])]);
    world.record("f/r", lost(&[6, 7], (T, T + S)));
    world.record("f/other", lost(&[1], (T, T)));
    world.record("f/r", absent(8, 9, AbsenceReason::Restored));
    world.hear("f/r", 60);
    let live = world.live.0.get_mut(&"f/r".parse().unwrap()).unwrap();
    (live.held[0].first, live.held[0].next) = (Seq(9), Seq(12));
    live.held[0].spooled = 1 + 80 + 40 + 20 + 60;
    world
}

#[test]
fn a_robot_accounts_for_everything_that_it_numbered() {
    let robot = world().serve().json("/v1/robots/f/r");
    let completeness = &robot["completeness"];
    assert_eq!((&completeness["standing"], &completeness["unknown_up_to"]), (&"behind".into(), &0.into()));
    assert_eq!(completeness["before_this_gateway"], serde_json::json!({"samples": 80, "batches": 4}));
    assert_eq!(completeness["on_robot"]["samples"], 60);
    let lost = completeness["lost"].as_array().unwrap();
    let epoch = serde_json::json!({"start": 1, "random": "0000000000000001"});
    assert_eq!(lost.len(), 2);
    let mut evicted = lost[0].clone();
    assert!(evicted.as_object_mut().unwrap().remove("last_at").unwrap().is_i64());
    assert_eq!(
        evicted,
        serde_json::json!({
            "reason": "spool_full", "lane": "live", "samples": 40, "batches": 2, "records": 1,
            "t_min": T, "t_max": T + S, "seqs": {"epoch": epoch, "first": 6, "last": 7}
        })
    );
    assert_eq!((&lost[1]["reason"], &lost[1]["samples"]), (&"restored".into(), &20.into()));
    assert_eq!((&robot["loss"]["samples"], &robot["loss"]["recent"][0]["o"]), (&60.into(), &5.into()));
    assert_eq!(robot["loss"]["by_reason"], serde_json::json!({"spool_full": 40, "restored": 20}));
}

#[test]
fn losses_are_listed_from_the_log_page_by_page() {
    let server = world().serve();
    let page = server.json("/v1/robots/f/r/losses?limit=1");
    let losses = page["losses"].as_array().unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!((&losses[0]["o"], &losses[0]["reported_by"]), (&3.into(), &"agent".into()));
    assert_eq!(losses[0]["lost"], serde_json::json!([{"seq": 6, "samples": 20}, {"seq": 7, "samples": 20}]));
    let page =
        server.json(&format!("/v1/robots/f/r/losses?cursor={}", page["next_cursor"].as_str().unwrap()));
    let losses = page["losses"].as_array().unwrap();
    assert_eq!((losses.len(), &page["next_cursor"]), (1, &Value::Null));
    assert_eq!((&losses[0]["reason"], &losses[0]["reported_by"]), (&"restored".into(), &"gateway".into()));
    assert_eq!(losses[0]["lost"], serde_json::json!([{"first": 8, "last": 8}]));
    let quoted = server.json("/v1/robots/f/r/losses?int64=string");
    assert_eq!((&quoted["losses"][0]["o"], &quoted["losses"][0]["samples"]), (&"3".into(), &"40".into()));
}

#[test]
fn a_robot_that_lost_nothing_has_no_losses() {
    let mut world = World::default();
    let schema = world.schema(&["x"]);
    world.batch("f/r", &schema, &[(T, &[(0, Sample::Int(1))])]);
    let server = world.serve();
    assert_eq!(server.json("/v1/robots/f/r/losses")["losses"], serde_json::json!([]));
    for (query, sentence) in
        [("?limit=0", "not from 1 to"), ("?cursor=x", "`next_cursor`"), ("?after=1", "not known here")]
    {
        let problem = server.problem(&format!("/v1/robots/f/r/losses{query}"));
        assert_eq!(problem["status"], 400);
        assert!(problem["detail"].as_str().unwrap().contains(sentence), "{problem}");
    }
    assert_eq!(server.problem("/v1/robots/f/none/losses")["status"], 404);
}

#[test]
fn a_cursor_that_is_trimmed_away_is_told_where_the_log_begins() {
    let mut world = world();
    world.log.first = 5;
    let server = world.serve();
    let problem = server.problem("/v1/robots/f/r/losses?cursor=3");
    assert_eq!((&problem["status"], &problem["first_offset"]), (&410.into(), &5.into()));
    assert_eq!(problem["parameter"], "cursor");
    // Nothing is gone that would have followed these.
    for cursor in ["", "?cursor=4", "?cursor=5"] {
        server.json(&format!("/v1/robots/f/r/losses{cursor}"));
    }
}

#[test]
fn damage_between_losses_is_told() {
    let mut world = world();
    world.log.end = End::Damage;
    let answer = world.serve().get("/v1/robots/f/r/losses");
    assert_eq!((answer.status, answer.header("muster-damaged")), (200, "50-59"));
}

#[test]
fn a_conflict_is_shown_with_its_reason() {
    let mut world = world();
    let up = |process: u8, address: &str| {
        let (instance, address) = (Some(InstanceId([process; 16])), address.to_owned());
        let (transport, version) = (Transport::Quic, String::new());
        Body::Session(SessionEvent::Up { transport, address, version, clock: None, instance })
    };
    world.record("f/r", up(1, "10.0.0.8:7"));
    world.record("f/r", up(0xab, "10.0.0.9:7"));
    let (instance, address) = (InstanceId([1; 16]), "10.0.0.8:7".to_owned());
    world.record("f/r", Body::Session(SessionEvent::Conflict { instance, address }));
    // Who had to wait is back.
    world.record("f/r", up(1, "10.0.0.8:7"));
    let server = world.serve();
    let robot = server.json("/v1/robots/f/r");
    let conflict = &robot["conflict"];
    let other = serde_json::json!({"address": "10.0.0.9:7", "instance": "ab".repeat(16)});
    assert_eq!(conflict["other"], other);
    assert!(conflict["since"].is_i64() && conflict["last_age_ms"].as_i64().unwrap() < 60_000);
    let reasons = robot["health"]["reasons"].to_string();
    assert!(reasons.contains("another process speaks for this robot too, from 10.0.0.9:7"), "{reasons}");
    assert_eq!(server.json("/v1/fleet")["conflicts"], 1);
    assert_eq!(server.json("/v1/robots/f/other")["conflict"], Value::Null);
}
