//! The description, asked over a connection.

use std::path::Path;

use super::{described::DESCRIPTION, *};

/// A fleet that has the robot and the group of the examples.
fn world(folder: &Path) -> World {
    Groups::open(folder).unwrap().set("low", "link.up").unwrap();
    let mut world = World { data_dir: folder.to_owned(), ..World::default() };
    let schema = world.schema(&["battery.soc", "mode"]);
    world.batch("warehouse/r17", &schema, &[(now().0, &[(0, Sample::Float(0.81))])]);
    world.record("warehouse/r17", loss(40));
    world.hear("warehouse/r17", 0);
    world
}

#[test]
fn each_path_answers_with_the_examples_of_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let server = world(folder.path()).serve();
    let mut paths = 0;
    for (path, item) in DESCRIPTION["paths"].as_object().unwrap() {
        let (mut path, mut query) = (path.clone(), Vec::new());
        for parameter in item["get"]["parameters"].as_array().into_iter().flatten() {
            let example = &parameter["example"];
            let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "path" => path = path.replace(&format!("{{{name}}}"), &example),
                "query" if example != "null" => query.push((name, example)),
                _ => {}
            }
        }
        let query: Vec<_> = query.iter().map(|(name, example)| (*name, example.as_str())).collect();
        let asked_for = asked(&path, &query);
        let answer = server.get(&asked_for);
        let media_type = answer.header("content-type").to_owned();
        // `charset` says nothing that the description does not.
        let media_type = media_type.strip_suffix("; charset=utf-8").filter(|short| *short == "text/plain");
        let media_type = media_type.unwrap_or(answer.header("content-type")).to_owned();
        let body = answer.body.unwrap();
        assert_eq!(answer.status, 200, "{asked_for}: {body}");
        described::assert_described(&asked_for, 200, &media_type, &body);
        paths += 1;
    }
    assert_eq!(paths, PATHS.len());
}

#[test]
fn a_copy_of_the_description_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = world(folder.path()).serve();
    let first = server.get("/openapi.json");
    assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
    let etag = first.header("etag").to_owned();
    let ask = |tags: &str| {
        let request = agent().get(server.url("/openapi.json")).header("if-none-match", tags);
        Answer::of(request.call().unwrap())
    };
    let again = ask(&format!("\"x\", {etag}"));
    assert_eq!(
        (again.status, again.header("etag"), again.body.as_deref().unwrap()),
        (304, etag.as_str(), "")
    );
    assert_eq!(ask("W/\"x\"").status, 200);
    // Ages are part of every other answer.
    assert_eq!(server.get("/v1/fleet").header("cache-control"), "no-store");
}
