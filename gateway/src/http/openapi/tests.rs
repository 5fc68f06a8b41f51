//! The description tells of every path, and is checked in as it is.

use std::{collections::BTreeSet, env, fs, path::Path};

use axum::http::HeaderValue;
use serde_json::Value;

use super::{
    super::{
        PATHS,
        tests::described::{DESCRIPTION, assert_described},
    },
    names, text,
};

/// Set to renew the file.
const RENEW: &str = "MUSTER_RENEW_OPENAPI";

#[test]
fn the_file_that_is_checked_in_is_the_description() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if env::var_os(RENEW).is_some() {
        fs::write(&file, text()).unwrap();
    }
    assert!(
        fs::read_to_string(&file).is_ok_and(|found| found == text()),
        "the API has changed and gateway/openapi.json has not: look at what \
         `{RENEW}=1 cargo test -p muster-gateway --lib openapi` makes of it, and commit it"
    );
}

#[test]
fn every_path_is_described_and_no_other() {
    let described: BTreeSet<&str> =
        DESCRIPTION["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, BTreeSet::from(PATHS));
    assert_eq!(DESCRIPTION["openapi"], "3.1.0");
}

#[test]
fn each_path_has_an_example_that_fits_its_schema() {
    for (path, item) in DESCRIPTION["paths"].as_object().unwrap() {
        for (status, response) in operations(item).flat_map(|one| one["responses"].as_object().unwrap()) {
            for (media_type, content) in response["content"].as_object().into_iter().flatten() {
                let example = &content["example"];
                assert!(!example.is_null(), "{path} {status}: there is no example");
                let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                assert_described(path, status.parse().unwrap(), media_type, &text);
            }
        }
    }
}

#[test]
fn each_parameter_has_a_meaning_and_a_kind() {
    for (path, item) in DESCRIPTION["paths"].as_object().unwrap() {
        for parameter in operations(item).filter_map(|one| one["parameters"].as_array()).flatten() {
            assert!(parameter["description"].is_string() && parameter["schema"].is_object(), "{path}");
            assert_eq!(parameter["required"], parameter["in"] == "path", "{path}: {parameter}");
        }
    }
}

/// Returns what can be asked of a path.
fn operations(item: &Value) -> impl Iterator<Item = &Value> {
    item.as_object().unwrap().values().filter(|one| one["responses"].is_object())
}

#[test]
fn entity_tags_are_compared_weakly() {
    let etag = HeaderValue::from_static("W/\"a-1\"");
    for (tags, same) in [
        ("W/\"a-1\"", true),
        ("\"a-1\"", true),
        ("\"b\", W/\"a-1\"", true),
        ("*", true),
        ("\"a\"", false),
        ("", false),
    ] {
        assert_eq!(names(&HeaderValue::from_static(tags), &etag), same, "{tags}");
    }
}
