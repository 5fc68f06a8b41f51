//! What a robot is called by, over HTTP.

use std::sync::atomic::{AtomicU64, Ordering};

use muster_protocol::label::{LabelError, LabelPatch, Labels};
use serde_json::json;

use super::*;
use crate::{
    ingest::{Labelling, NotLabelled},
    record::{LabelSet, LabelSource},
};

/// Folds each change at once, as the log would; or refuses it.
struct Folds {
    fleet: Arc<Fleet>,
    offset: AtomicU64,
    refuses: Option<NotLabelled>,
}

impl Labelling for Folds {
    fn label(&self, robot: &RobotId, patch: &LabelPatch) -> Result<(), NotLabelled> {
        if let Some(why) = &self.refuses {
            return Err(why.clone());
        }
        let state = self.fleet.robot(robot).unwrap();
        let labels = state.read().unwrap().labels().of(LabelSource::Operator).patched(patch)?;
        let body = Body::Labels(LabelSet { by: LabelSource::Operator, labels });
        let envelope = Envelope { received_at: now(), robot: robot.clone(), session: 0, body };
        self.fleet.apply(Offset(self.offset.fetch_add(1, Ordering::Relaxed)), &envelope, None);
        Ok(())
    }
}

/// A robot `a/1` whose agent says `site=berlin` and `line=3`.
fn served(refuses: Option<NotLabelled>) -> Server {
    let mut world = World::default();
    let labels = [("site", "berlin"), ("line", "3")];
    let labels = labels.map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()));
    let labels = Labels::new(labels.into()).unwrap();
    world.record("a/1", Body::Labels(LabelSet { by: LabelSource::Agent, labels }));
    let api = world.api();
    let labelling = Folds { fleet: api.fleet.clone(), offset: AtomicU64::new(100), refuses };
    Server::start(Arc::new(Api { labelling: Arc::new(labelling), ..api }))
}

impl Server {
    fn patch(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = agent().patch(self.url("/v1/robots/a/1/labels"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send(body).unwrap())
    }

    fn relabel(&self, body: &Value) -> Value {
        let answer = self.patch(&body.to_string(), &[MERGE_PATCH]);
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        serde_json::from_str(&answer.body.unwrap()).unwrap()
    }
}

const MERGE_PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

fn problem(answer: Answer) -> Value {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_str(&answer.body.unwrap()).unwrap();
    assert_eq!(problem["status"], answer.status);
    problem
}

#[test]
fn an_operators_label_hides_the_agents_until_it_is_removed() {
    let server = served(None);
    let told = server.relabel(&json!({"site": "kiel", "owner": "Ann, desk 3"}));
    assert_eq!(told["labels"], json!({"line": "3", "owner": "Ann, desk 3", "site": "kiel"}));
    let sources = json!({"line": "agent", "owner": "operator", "site": "operator"});
    assert_eq!(told["label_sources"], sources);
    assert_eq!(told["agent_labels"], json!({"line": "3", "site": "berlin"}));
    assert_eq!(server.json("/v1/robots/a/1/labels"), told);
    let robot = server.json("/v1/robots/a/1");
    assert_eq!((&robot["labels"], &robot["label_sources"]), (&told["labels"], &sources));
    assert_eq!(server.json("/v1/robots")["robots"][0]["labels"], told["labels"]);
    let told = server.relabel(&json!({"site": null, "never": null}));
    assert_eq!(told["labels"], json!({"line": "3", "owner": "Ann, desk 3", "site": "berlin"}));
    assert_eq!(told["label_sources"]["site"], "agent");
}

#[test]
fn plain_json_is_taken_too_and_an_empty_patch_changes_nothing() {
    let server = served(None);
    let answer = server.patch("{}", &[("content-type", "Application/JSON; charset=utf-8")]);
    assert_eq!(answer.status, 200);
    assert_eq!(server.json("/v1/robots/a/1/labels")["labels"], json!({"line": "3", "site": "berlin"}));
}

#[test]
fn each_wrong_label_is_named_with_what_would_be_right() {
    let server = served(None);
    for (body, label, words) in [
        ("", None, "as {\"site\": \"berlin\", \"old\": null}"),
        ("[1]", None, "expected an object"),
        ("{\"a\": \"x\"} {}", None, "trailing characters"),
        ("{\"a b\": \"x\"}", Some("a b"), "starting with a letter or digit"),
        ("{\"site\": 3}", Some("site"), "put it in quotes, as in {\"site\": \"3\"}"),
        ("{\"site\": {\"x\": 1}}", Some("site"), "a label is one text"),
        ("{\"site\": \"\"}", Some("site"), "null removes a label"),
        ("{\"site\": \"x\", \"site\": null}", Some("site"), "given twice"),
    ] {
        let problem = problem(server.patch(body, &[MERGE_PATCH]));
        assert_eq!(problem["status"], 400, "{problem}");
        assert_eq!(problem["type"], "urn:muster:problem:bad-label");
        assert_eq!(problem.get("label").and_then(Value::as_str), label, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    assert_eq!(server.json("/v1/robots/a/1/labels")["labels"], json!({"line": "3", "site": "berlin"}));
}

#[test]
fn a_body_that_is_too_large_or_for_nobody_is_refused() {
    let server = served(None);
    let large = format!("{{\"site\": \"{}\"}}", "x".repeat(64 * 1024));
    assert_eq!(problem(server.patch(&large, &[MERGE_PATCH]))["status"], 413);
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    let many = problem(server.patch(&Value::Object(many).to_string(), &[MERGE_PATCH]));
    assert!(many["detail"].as_str().unwrap().contains("65 labels, but a robot has at most 64"), "{many}");
    let request = agent().patch(server.url("/v1/robots/a/none/labels")).header(MERGE_PATCH.0, MERGE_PATCH.1);
    assert_eq!(problem(Answer::of(request.send("{}").unwrap()))["status"], 404);
    assert_eq!(server.problem("/v1/robots/a/none/labels")["status"], 404);
}

#[test]
fn what_the_store_does_not_take_is_said_with_when_to_come_back() {
    for why in [NotLabelled::Busy, NotLabelled::DiskFull, NotLabelled::Stopping] {
        let answer = served(Some(why.clone())).patch("{\"site\": \"kiel\"}", &[MERGE_PATCH]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{why}");
        assert!(problem(answer)["detail"].as_str().unwrap().contains(&why.to_string()));
    }
    let wrong = NotLabelled::Wrong(LabelError::TooMany { count: 65 });
    assert_eq!(served(Some(wrong)).patch("{}", &[MERGE_PATCH]).status, 400);
}

/// Guards: without authentication, any page in a browser on the gateway's machine could write.
#[test]
fn a_web_page_cannot_write() {
    let server = served(None);
    // What a page may send without asking before.
    for simple in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer = server.patch("{\"site\": \"x\"}", &[("content-type", simple)]);
        assert_eq!(problem(answer)["type"], "urn:muster:problem:bad-content-type", "{simple}");
        let posted = agent().post(server.url("/v1/robots/a/1/labels")).header("content-type", simple);
        assert_eq!(Answer::of(posted.send("{\"site\": \"x\"}").unwrap()).status, 405);
    }
    assert_eq!(problem(server.patch("{}", &[]))["status"], 415);
    // What it has to ask for before is answered without the words that would allow it.
    let asked = ureq::http::Request::builder()
        .method("OPTIONS")
        .uri(server.url("/v1/robots/a/1/labels"))
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "content-type")
        .body(())
        .unwrap();
    let asked = Answer::of(agent().run(asked).unwrap());
    assert_eq!(asked.status, 204);
    assert!(!asked.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
    // Nor may one that was loaded under a name that came to mean this machine.
    let answer = server.patch("{\"site\": \"x\"}", &[MERGE_PATCH, ("origin", "http://evil.example:8080")]);
    assert_eq!(problem(answer)["type"], "urn:muster:problem:from-a-page");
    assert_eq!(server.json("/v1/robots/a/1/labels")["labels"], json!({"line": "3", "site": "berlin"}));
}
