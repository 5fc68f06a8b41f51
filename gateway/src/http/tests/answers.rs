//! Whole answers: the fleet, its robots, problems, probes.

use super::*;

/// Three robots: `a/1` is heard and fresh, `a/2` lost samples and is silent, `b/1` still holds samples.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["battery.soc", "mode", "range"]);
    let t = now().0;
    let fields = [(0, Sample::Float(0.81)), (1, Sample::Text("auto".into())), (2, Sample::Float(f64::NAN))];
    world.batch("a/1", &schema, &[(t, &fields)]);
    world.batch("a/2", &schema, &[(t - 3600 * S, &[(0, Sample::Int(9))])]);
    world.record("a/2", loss(40));
    world.batch("b/1", &schema, &[(t, &fields), (t, &fields)]);
    world.hear("a/1", 0);
    world.hear("b/1", 3120);
    world
}

#[test]
fn the_fleet_is_counted_by_link_freshness_and_health() {
    let fleet = world().serve().json("/v1/fleet");
    assert_eq!(fleet["robots"], 3);
    assert_eq!(fleet["link"], serde_json::json!({"up": 2, "down": 1}));
    assert_eq!(fleet["freshness"], serde_json::json!({"fresh": 6, "late": 0, "stale": 1, "never": 0}));
    assert_eq!(fleet["health"], serde_json::json!({"ok": 2, "warn": 0, "error": 0, "stale": 1}));
    assert_eq!(fleet["samples"], 10);
    assert_eq!(fleet["loss"], serde_json::json!({"samples": 40, "robots": 1}));
    let completeness = serde_json::json!(
        {"whole": 1, "behind": 1, "not_told": 1, "before_this_gateway": 0, "unknown_up_to": 0}
    );
    assert_eq!((&fleet["completeness"], &fleet["on_robots"]), (&completeness, &3120.into()));
    assert_eq!(fleet["log"], serde_json::json!({"id": "07".repeat(16), "first": 1, "next": 5}));
    assert!(fleet["ingest"]["samples_per_s"].is_f64());
    assert_eq!(fleet["ingest"]["json_given_up"], 0);
    assert!((now().0 - fleet["now"].as_i64().unwrap()).abs() < 60 * S);
}

#[test]
fn a_robot_tells_values_with_their_freshness() {
    let robot = world().serve().json("/v1/robots/a/1");
    assert_eq!((&robot["robot"], &robot["fleet"], &robot["name"]), (&"a/1".into(), &"a".into(), &"1".into()));
    assert_eq!(robot["link"]["state"], "up");
    assert_eq!(robot["link"]["transport"], "quic");
    let soc = &robot["channels"]["battery.soc"];
    assert_eq!(
        (&soc["v"], &soc["freshness"], &soc["type"]),
        (&0.81.into(), &"fresh".into(), &"float".into())
    );
    assert!(soc["age_ms"].as_i64().unwrap() < 60_000);
    let range = &robot["channels"]["range"];
    assert_eq!((&range["v"], &range["f"]), (&Value::Null, &"NaN".into()));
    assert_eq!(robot["completeness"]["on_robot"]["samples"], 0);
    assert!(robot["completeness"]["whole_up_to"].is_i64());
    assert_eq!(robot["clock"]["skew_ms"], -250);
    assert_eq!(robot["log"]["samples"], 3);
}

#[test]
fn a_robot_that_is_not_heard_claims_nothing() {
    let robot = world().serve().json("/v1/robots/a/2");
    assert_eq!((&robot["link"]["state"], &robot["health"]["level"]), (&"down".into(), &"stale".into()));
    assert_eq!(robot["channels"]["battery.soc"]["freshness"], "stale");
    assert_eq!(
        (&robot["completeness"]["whole_up_to"], &robot["completeness"]["on_robot"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(robot["loss"]["by_reason"]["spool_full"], 40);
}

#[test]
fn a_robot_with_a_backlog_is_not_called_whole() {
    let robot = world().serve().json("/v1/robots/b/1");
    let completeness = &robot["completeness"];
    assert_eq!(
        (&completeness["standing"], &completeness["on_robot"]["samples"]),
        (&"behind".into(), &3120.into())
    );
    // Up to its last batch that is here.
    let told = now().0 - completeness["age_ms"].as_i64().unwrap() * 1_000_000;
    assert!(completeness["whole_up_to"].as_i64().unwrap() <= told);
}

#[test]
fn pages_follow_each_other_in_any_order() {
    let mut world = World::default();
    for number in 0..7_u32 {
        world.record(&format!("f/r{number}"), loss(number % 3 + 1));
    }
    let server = world.serve();
    let listed = |sort: &str| {
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = server.json(&format!("/v1/robots?limit=3&sort={sort}{cursor}"));
            let robots = page["robots"].as_array().unwrap();
            ids.extend(robots.iter().map(|robot| robot["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return ids.join(" ") };
            assert_eq!(robots.len(), 3);
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(listed("id"), "r0 r1 r2 r3 r4 r5 r6");
    assert_eq!(listed("-id"), "r6 r5 r4 r3 r2 r1 r0");
    assert_eq!(listed("lost"), "r0 r3 r6 r1 r4 r2 r5");
    assert_eq!(listed("-lost"), "r2 r5 r1 r4 r0 r3 r6");
    for sort in ["health", "-last_heard", "link", "on_robot", "samples"] {
        assert_eq!(listed(sort).split(' ').count(), 7, "{sort}");
    }
}

#[test]
fn a_summary_has_what_a_list_shows() {
    let page = world().serve().json("/v1/robots?limit=1");
    let robot = &page["robots"][0];
    assert_eq!((&robot["robot"], &robot["link"]["state"]), (&"a/1".into(), &"up".into()));
    assert_eq!(robot["freshness"]["fresh"], 3);
    assert_eq!((&robot["samples"], &robot["channels"]), (&3.into(), &3.into()));
    assert!(robot["newest_age_ms"].is_i64());
    assert_eq!(page["next_cursor"], "after:a/1");
}

#[test]
fn javascript_gets_64_bit_integers_in_quotes() {
    let server = world().serve();
    let robot = server.json("/v1/robots/a/2?int64=string");
    let channel = &robot["channels"]["battery.soc"];
    assert_eq!(channel["v"], "9");
    assert!(channel["t"].is_string() && channel["age_ms"].is_i64());
    assert!(server.json("/v1/fleet?int64=string")["now"].is_string());
}

#[test]
fn what_cannot_be_understood_is_refused_with_a_sentence() {
    let server = world().serve();
    let many = format!("/v1/robots/a/1/samples?channels={}", "a,".repeat(64));
    let table = [
        ("/v1/fleet?x=1", 400, "x", "is not known here; the nearest one is"),
        ("/v1/robots?limt=1", 400, "limt", "the nearest one is `limit`"),
        ("/v1/robots?limit=0", 400, "limit", "from 1 to 1000"),
        ("/v1/robots?limit=x", 400, "limit", "invalid digit"),
        ("/v1/robots?sort=link.name", 400, "sort", "nearest that it has"),
        ("/v1/robots?cursor=name", 400, "cursor", "`next_cursor`"),
        ("/v1/robots?where=a", 400, "where", "a robot has no `a`"),
        ("/v1/robots/a/1?int64=yes", 400, "int64", "neither `string` nor `number`"),
        ("/v1/robots/a/1/samples?from=now", 400, "from", "not an RFC 3339 time"),
        ("/v1/robots/a/1/samples?channels=", 400, "channels", "pattern"),
        (many.as_str(), 400, "channels", "at most 64"),
        ("/v1/robots/a/1/samples?after=7", 400, "after", "is not a cursor"),
        ("/v1/robots/a/1/samples?after=5:0", 400, "after", "has not reached offset 5"),
        ("/healthz?verbose=1", 400, "verbose", "not known here"),
        ("/v1/robots/a/9", 404, "", "no robot a/9 has ever reported"),
        ("/v1/robots/a/9/samples", 404, "", "no robot a/9 has ever reported"),
        ("/v1/robots/a/%2e%2e", 404, "", "`..` is not a name"),
        ("/v1/robots/a/%ff", 400, "", "cannot be understood"),
        ("/openapi", 404, "", "nothing at /openapi; GET / lists"),
        ("/v1/robots/a", 404, "", "nothing at /v1/robots/a"),
    ];
    for (path, status, parameter, sentence) in table {
        let problem = server.problem(path);
        assert_eq!(problem["status"], status, "{path}: {problem}");
        assert_eq!(problem["parameter"].as_str().unwrap_or(""), parameter, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(sentence), "{path}: {problem}");
        assert!(problem["type"].as_str().unwrap().starts_with("urn:muster:problem:"), "{problem}");
        assert!(problem["title"].is_string());
    }
}

#[test]
fn another_method_is_refused_with_those_that_are_allowed() {
    let server = world().serve();
    let answer = Answer::of(agent().post(server.url("/v1/fleet")).send("{}").unwrap());
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD,OPTIONS"));
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.body.unwrap().contains("`Allow` names those"));
}

#[test]
fn options_tells_the_methods_of_a_path_that_is_there() {
    let server = world().serve();
    let answer = Answer::of(agent().options(server.url("/v1/robots/a/1")).call().unwrap());
    assert_eq!((answer.status, answer.header("allow")), (204, "GET,HEAD,OPTIONS"));
    assert_eq!(answer.body.unwrap(), "");
    assert_eq!(Answer::of(agent().options(server.url("/v1")).call().unwrap()).status, 404);
}

#[test]
fn head_answers_like_get_without_a_body() {
    let server = world().serve();
    for (path, media_type) in
        [("/v1/fleet", "application/json"), ("/v1/robots/a/1/samples", "application/x-ndjson")]
    {
        let answer = Answer::of(agent().head(server.url(path)).call().unwrap());
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type));
        assert_eq!(answer.body.unwrap(), "");
    }
}

#[test]
fn long_answers_and_streams_are_compressed_for_who_takes_it() {
    let server = world().serve();
    let ask = |method: &str, path: &str| {
        let request = ureq::http::Request::builder().method(method).uri(server.url(path));
        let request = request.header("accept-encoding", "gzip").body(()).unwrap();
        let mut response = agent().run(request).unwrap();
        let body = response.body_mut().read_to_vec().unwrap();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        ((header("content-encoding"), header("vary")), body)
    };
    let (gzip, by_encoding) = (Some("gzip".to_owned()), Some("accept-encoding".to_owned()));
    for path in ["/openapi.json", "/v1/robots", "/v1/robots/a/1/samples?channels=mode"] {
        let (headers, body) = ask("GET", path);
        assert_eq!(headers, (gzip.clone(), by_encoding.clone()), "{path}");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
        assert!(text.starts_with('{') && text.ends_with("}\n"), "{path}: {text}");
        // HEAD says what GET would.
        assert_eq!(ask("HEAD", path), ((gzip.clone(), by_encoding.clone()), Vec::new()), "{path}");
    }
    assert_eq!(ask("GET", "/healthz"), ((None, by_encoding), b"ok\n".to_vec()));
}

#[test]
fn probes_tell_liveness_and_readiness_apart() {
    let server = World { not_ready: Some("the disk is full; make room".into()), ..world() }.serve();
    assert_eq!(server.get("/healthz").body.unwrap(), "ok\n");
    let problem = server.problem("/readyz");
    assert_eq!(
        (&problem["status"], &problem["detail"]),
        (&503.into(), &"the disk is full; make room".into())
    );
    assert_eq!(world().serve().get("/readyz").status, 200);
}

#[test]
fn the_index_lists_the_paths() {
    let server = world().serve();
    let index = server.get("/").body.unwrap();
    for path in PATHS {
        let shown = path.replace("{fleet}", "FLEET").replace("{robot}", "ROBOT").replace("{name}", "NAME");
        assert!(path == "/" || index.contains(&shown), "{path}");
    }
}

#[test]
fn metrics_are_openmetrics_with_bounded_labels() {
    let server = world().serve();
    server.json("/v1/robots/a/1");
    server.problem("/v1/robots/a/9");
    server.problem("/nothing/here");
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = answer.body.unwrap();
    for line in [
        "muster_http_requests_total{path=\"/v1/robots/{fleet}/{robot}\",status=\"200\"} 1",
        "muster_http_requests_total{path=\"/v1/robots/{fleet}/{robot}\",status=\"404\"} 1",
        "muster_http_requests_total{path=\"other\",status=\"404\"} 1",
        "muster_robots 3",
        "muster_robots_complete{standing=\"whole\"} 1",
        "muster_robots_complete{standing=\"behind\"} 1",
        "muster_robots_complete{standing=\"not_told\"} 1",
        "muster_log_next_offset 5",
        "muster_store_partitions 3",
        "muster_commit_queue_bytes 17",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
