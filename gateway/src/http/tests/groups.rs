//! Questions that are saved by name.

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

fn server(folder: &tempfile::TempDir) -> Server {
    let mut world = World { data_dir: folder.path().to_owned(), ..World::default() };
    for robot in ["f/r1", "f/r2", "g/r1"] {
        world.record(robot, loss(1));
    }
    world.serve()
}

fn save(server: &Server, name: &str, body: &str) -> Answer {
    sent("PUT", &server.url(&format!("/v1/groups/{name}")), &[JSON], body)
}

#[test]
fn a_group_is_saved_used_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    assert_eq!(server.json("/v1/groups")["groups"], serde_json::json!([]));
    assert_eq!(save(&server, "ours", r#"{"where": "fleet == \"f\""}"#).status, 201);
    let robots = server.json("/v1/robots?group=ours");
    assert_eq!((&robots["matched"], &robots["robots"][1]["robot"]), (&2.into(), &"f/r2".into()));
    let both = server.json(&asked("/v1/robots", &[("group", "ours"), ("where", r#"name == "r1""#)]));
    assert_eq!((&both["matched"], &both["robots"][0]["robot"]), (&1.into(), &"f/r1".into()));
    assert_eq!(server.json("/v1/fleet?group=ours")["robots"], 2);
    assert_eq!(save(&server, "ours", r#"{"where": "fleet == \"g\""}"#).status, 200);
    assert_eq!(server.json("/v1/aggregate?group=ours")["robots"], 1);
    assert_eq!(server.json("/v1/groups/ours")["where"], "fleet == \"g\"");
    assert_eq!(sent("DELETE", &server.url("/v1/groups/ours"), &[], "").status, 204);
    assert_eq!(server.problem("/v1/groups/ours")["type"], "urn:muster:problem:unknown-group");
    assert_eq!(sent("DELETE", &server.url("/v1/groups/ours"), &[], "").status, 404);
}

#[test]
fn groups_come_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    for name in ["c", "a", "b"] {
        save(&server, name, r#"{"where": "link.up"}"#);
    }
    let first = server.json("/v1/groups?limit=2");
    assert_eq!((&first["groups"][1]["name"], &first["next_cursor"]), (&"b".into(), &"b".into()));
    let second = server.json("/v1/groups?limit=2&cursor=b");
    assert_eq!((&second["groups"][0]["name"], &second["next_cursor"]), (&"c".into(), &Value::Null));
}

#[test]
fn what_is_no_group_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let problem = |answer: Answer| -> Value { serde_json::from_str(&answer.body.unwrap()).unwrap() };
    let wrong = problem(save(&server, "a", r#"{"where": "link.upp"}"#));
    assert_eq!((&wrong["status"], &wrong["position"]["column"]), (&400.into(), &1.into()));
    for (name, body, words) in [
        ("a", "link.up", "is not an object"),
        ("a", "{}", "missing field `where`"),
        ("a", r#"{"where": "link.up", "color": 1}"#, "unknown field `color`"),
        ("-a", r#"{"where": "link.up"}"#, "is not a group's name"),
    ] {
        let wrong = problem(save(&server, name, body));
        assert!(wrong["status"] == 400 && wrong["detail"].as_str().unwrap().contains(words), "{wrong}");
    }
    let url = server.url("/v1/groups/a");
    let page = [JSON, ("origin", "https://evil.example")];
    assert_eq!(sent("PUT", &url, &page, r#"{"where": "link.up"}"#).status, 403);
    assert_eq!(sent("DELETE", &url, &page[1..], "").status, 403);
    assert_eq!(sent("PUT", &url, &[("content-type", "text/plain")], r#"{"where": "link.up"}"#).status, 415);
    assert_eq!(server.json("/v1/groups")["groups"], serde_json::json!([]));
}
