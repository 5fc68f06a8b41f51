//! `GET /v1/conditions`.

use serde_json::json;

use super::*;

/// A robot that lost samples, one that cannot be heard, and a gateway that refuses for lack of room.
fn server() -> Server {
    let mut world = World::default();
    world.record("f/a", loss(42));
    world.record("f/b", loss(7));
    world.hear("f/a", 0);
    world.hear("f/b", 0);
    world.facts = Some(|facts| facts.store.refusing = true);
    world.serve()
}

fn named(answer: &Value) -> Vec<(&str, Option<&str>)> {
    let conditions = answer["conditions"].as_array().unwrap();
    conditions.iter().map(|one| (one["code"].as_str().unwrap(), one["robot"].as_str())).collect()
}

#[test]
fn conditions_come_the_gravest_first_with_counts_and_what_to_do() {
    let answer = server().json("/v1/conditions");
    let expected = [("store_full", None), ("samples_lost", Some("f/a")), ("samples_lost", Some("f/b"))];
    assert_eq!(named(&answer), expected);
    assert_eq!(answer["counts"]["by_severity"], json!({"error": 1, "warn": 2, "info": 0}));
    assert_eq!(answer["counts"]["by_code"], json!({"samples_lost": 2, "store_full": 1}));
    assert!(answer["evaluated_age_ms"].is_u64() && answer["not_listed"] == 0, "{answer}");
    let lost = &answer["conditions"][1];
    assert_eq!(
        (&lost["severity"], &lost["since_from"], &lost["times"]),
        (&"warn".into(), &"log".into(), &1.into())
    );
    assert!(lost["since"].is_i64() && lost["detail"].as_str().unwrap().contains("42 spool full"), "{lost}");
    assert!(lost["remedy"].as_str().unwrap().ends_with("see RUNBOOK.md#samples_lost"), "{lost}");
    let quoted = server().json("/v1/conditions?int64=string");
    assert!(quoted["now"].is_string() && quoted["conditions"][0]["since"].is_string(), "{quoted}");
}

#[test]
fn conditions_are_chosen_by_severity_code_and_robot() {
    let server = server();
    for (query, count) in [
        ("severity=error", 1),
        ("severity=warn,error", 3),
        ("code=samples_lost", 2),
        ("code=samples_lost,store_full&severity=warn", 2),
        ("robot=f/b", 1),
        ("robot=f/nobody", 0),
    ] {
        let answer = server.json(&format!("/v1/conditions?{query}"));
        assert_eq!(named(&answer).len(), count, "{query}");
        assert_eq!(answer["counts"]["by_severity"]["warn"], 2, "counts are of all");
    }
    for (query, named) in [
        ("severity=bad", "is none of error, warn, info"),
        ("code=nothing", "store_full"),
        ("robot=x", "robot"),
        ("limit=0", "from 1 to 1000"),
        ("cursor=x", "next_cursor"),
    ] {
        let problem = server.problem(&format!("/v1/conditions?{query}"));
        assert!(problem["detail"].as_str().unwrap().contains(named), "{query}: {problem}");
    }
}

#[test]
fn pages_of_conditions_follow_each_other() {
    let server = server();
    let mut seen = Vec::new();
    let mut path = "/v1/conditions?limit=1".to_owned();
    loop {
        let page = server.json(&path);
        seen.extend(named(&page).into_iter().map(|(code, robot)| format!("{code} {}", robot.unwrap_or("-"))));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/conditions?limit=1&cursor={cursor}");
    }
    assert_eq!(seen, ["store_full -", "samples_lost f/a", "samples_lost f/b"]);
}

#[test]
fn metrics_count_conditions_by_code() {
    let text = server().get("/metrics").body.unwrap();
    for line in [
        "muster_conditions{code=\"store_full\",severity=\"error\"} 1",
        "muster_conditions{code=\"samples_lost\",severity=\"warn\"} 2",
        "muster_conditions{code=\"link_down\",severity=\"warn\"} 0",
        "muster_robots_link{state=\"up\"} 2",
        "muster_robots_lost_samples 49",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
