//! Robots and the fleet at moments in the past.

use super::*;

/// One robot whose records were received at seconds 0, 10 and 20 of half an hour ago: the last is a backlog of second 5.
fn world() -> (World, i64) {
    let mut world = World::default();
    let schema = world.schema(&["battery.soc"]);
    let began = now().0 - 1800 * S;
    world.record("a/1", up());
    world.batch("a/1", &schema, &[(began, &[(0, Sample::Float(0.1))])]);
    world.batch("a/1", &schema, &[(began + 10 * S, &[(0, Sample::Float(0.3))])]);
    world.batch("a/1", &schema, &[(began + 5 * S, &[(0, Sample::Float(0.2))])]);
    world.record("b/1", loss(3));
    for ((_, envelope), second) in world.log.records.iter_mut().zip([0, 0, 10, 20, 30]) {
        envelope.received_at = WallTime(began + second * S);
    }
    (world, began)
}

fn up() -> Body {
    let (address, version) = ("10.0.0.5:4312".to_owned(), "0.1.0".to_owned());
    Body::Session(SessionEvent::Up {
        transport: Transport::Quic,
        address,
        version,
        clock: None,
        instance: None,
    })
}

#[test]
fn a_robot_is_told_as_it_was_known_then_or_as_it_is_known_now() {
    let (world, began) = world();
    let server = world.serve();
    let ask = |second: i64, known: &str| {
        let at = (began + second * S).to_string();
        server.json(&asked("/v1/robots/a/1", &[("at", &at), ("known", known)]))
    };
    let soc = |robot: &Value| robot["channels"]["battery.soc"]["v"].clone();
    assert_eq!(soc(&ask(6, "then")), 0.1);
    let now = ask(6, "now");
    assert_eq!((soc(&now), &now["channels"]["battery.soc"]["age_ms"]), (0.2.into(), &1000.into()));
    assert_eq!(now["as_of"], serde_json::json!({"at": began + 6 * S, "known": "now", "unreadable": 0}));
    assert_eq!(now["link"]["state"], "up");
    let late = ask(100, "then");
    assert_eq!((soc(&late), &late["channels"]["battery.soc"]["freshness"]), (0.3.into(), &"stale".into()));
    assert_eq!(late["now"], began + 100 * S);
    assert!(server.json("/v1/robots/a/1?known=then").get("as_of").is_none(), "now is the same either way");
}

#[test]
fn lists_counts_and_aggregates_are_told_of_the_past_too() {
    let (world, began) = world();
    let server = world.serve();
    let at = (began + 15 * S).to_string();
    for known in ["then", "now"] {
        let when = [("at", at.as_str()), ("known", known), ("where", r#"value("battery.soc") > 0.2"#)];
        let page = server.json(&asked("/v1/robots", &when));
        assert_eq!((&page["matched"], &page["robots"][0]["robot"]), (&1.into(), &"a/1".into()), "{known}");
        assert_eq!(page["as_of"]["known"], known);
        // The other robot had not reported yet.
        assert_eq!(server.json(&asked("/v1/fleet", &when[..2]))["robots"], 1);
        let of = [when[0], when[1], ("of", "battery.soc")];
        assert_eq!(server.json(&asked("/v1/aggregate", &of))["groups"][0]["of"]["battery.soc"]["max"], 0.3);
    }
}

#[test]
fn an_answer_about_the_past_has_nothing_that_is_of_now() {
    let (world, began) = world();
    let server = world.serve();
    let then = server.json(&asked("/v1/fleet", &[("at", &(began + 15 * S).to_string())]));
    let now = server.json("/v1/fleet");
    for part in ["ingest", "sessions", "log"] {
        assert!(then.get(part).is_none() && now.get(part).is_some(), "{part}: {then}");
    }
    assert_eq!((&then["as_of"]["known"], &now["log"]["next"]), (&"then".into(), &6.into()));
}

/// Guards: each page folded the moment anew, and with what is known now a robot could turn up behind the reader.
#[test]
fn pages_of_the_past_are_read_from_one_fold() {
    for known in ["then", "now"] {
        let (mut world, began) = world();
        for robot in ["c/1", "d/1"] {
            world.record(robot, loss(3));
            world.log.records.last_mut().unwrap().1.received_at = WallTime(began + 40 * S);
        }
        let (at, reads) = ((began + 60 * S).to_string(), world.log.reads.clone());
        let server = world.serve();
        for more in [&[][..], &[("where", "samples >= 0")], &[("sort", "-samples")]] {
            let mut names = Vec::new();
            let mut cursor: Option<String> = None;
            let mut read = Vec::new();
            for _ in 0..4 {
                let mut parameters = vec![("at", at.as_str()), ("known", known), ("limit", "1")];
                parameters.extend(more);
                parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let page = server.json(&asked("/v1/robots", &parameters));
                names.push(page["robots"][0]["robot"].as_str().unwrap().to_owned());
                read.push(reads.swap(0, Ordering::SeqCst));
                cursor = page["next_cursor"].as_str().map(str::to_owned);
            }
            names.sort();
            assert_eq!((names.join(" ").as_str(), &cursor), ("a/1 b/1 c/1 d/1", &None), "{known} {more:?}");
            assert!(read[0] > 0 && read[1..] == [0, 0, 0], "{known} {more:?}: {read:?}");
        }
        // A cursor of a fleet that is not kept goes on in a new fold.
        let parameters = [("at", at.as_str()), ("known", known), ("cursor", "past:ffff:after:b/1")];
        assert_eq!(server.json(&asked("/v1/robots", &parameters))["robots"][0]["robot"], "c/1");
        assert!(reads.load(Ordering::SeqCst) > 0);
    }
}

#[test]
fn the_fold_goes_on_from_a_milestone() {
    let (mut world, began) = world();
    let mut api = World { log: std::mem::take(&mut world.log), ..World::default() };
    // A state that only a milestone can have: the log before it is gone.
    let milestone = {
        let mut before = World::default();
        let schema = before.schema(&["battery.soc", "mode"]);
        let fields = [(0, Sample::Float(0.05)), (1, Sample::Text("auto".into()))];
        before.batch("a/1", &schema, &[(began - 60 * S, &fields)]);
        before.api().fleet.to_bytes()
    };
    api.log.records.remove(0);
    api.log.first = 2;
    api.log.milestones = vec![(WallTime(began - 30 * S), milestone)];
    let server = api.serve();
    let at = |second: i64| (began + second * S).to_string();
    let robot = server.json(&asked("/v1/robots/a/1", &[("at", &at(6))]));
    assert_eq!(robot["channels"]["mode"]["v"], "auto");
    assert_eq!(robot["channels"]["battery.soc"]["v"], 0.1);
    let problem = server.problem(&asked("/v1/robots/a/1", &[("at", &at(-31))]));
    assert_eq!((&problem["status"], &problem["type"]), (&410.into(), &"urn:muster:problem:trimmed".into()));
    assert!(problem["detail"].as_str().unwrap().contains("it goes back to"), "{problem}");
}

#[test]
fn a_milestone_of_another_version_is_passed_over() {
    let (mut world, began) = world();
    world.log.milestones = vec![(WallTime(began - 30 * S), vec![1, 2, 3])];
    let server = world.serve();
    let robot = server.json(&asked("/v1/robots/a/1", &[("at", &(began + 6 * S).to_string())]));
    assert_eq!(robot["channels"]["battery.soc"]["v"], 0.1);
}

#[test]
fn what_is_damaged_is_counted_in_the_answer() {
    let (mut world, began) = world();
    world.log.end = End::Damage;
    let server = world.serve();
    let at = (began + 2000 * S).min(now().0 - S).to_string();
    let robot = server.json(&asked("/v1/robots/a/1", &[("at", &at)]));
    assert_eq!(robot["as_of"]["unreadable"], 1);
}

#[test]
fn a_moment_that_makes_no_sense_is_refused() {
    let (world, began) = world();
    let server = world.serve();
    let (before, then) = ((began - S).to_string(), began.to_string());
    for (parameters, status, words) in [
        (&[("at", "2200-01-01T00:00:00Z")][..], 400, "in the future"),
        (&[("at", &then), ("known", "later")], 400, "neither `then` nor `now`"),
        (&[("at", "yesterday")], 400, "RFC 3339"),
        (&[("at", &before)], 404, "had not reported to this gateway by then"),
    ] {
        let problem = server.problem(&asked("/v1/robots/a/1", parameters));
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}
