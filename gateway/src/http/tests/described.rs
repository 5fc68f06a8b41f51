//! Holds answers against the API's description: every answer that a test gets, and every example.
//!
//! The schemas that are derived use a small part of JSON Schema, so a small reader of it is enough; what it does not know
//! it refuses. It demands more than JSON Schema does: a member that is not described is an error.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

/// The description as it is served.
pub(in crate::http) static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&crate::http::openapi::text()).unwrap());

/// Fails unless this status, and this body if it is JSON, are described for the path.
pub(in crate::http) fn assert_described(path: &str, status: u16, media_type: &str, body: &str) {
    let path = path.split('?').next().unwrap();
    let Some(item) = DESCRIPTION["paths"][crate::http::template_of(path)].as_object() else { return };
    // What is the same for every path is said once, in words.
    if status == 405 {
        return;
    }
    let status = status.to_string();
    let response =
        item.values().map(|operation| &operation["responses"][&status]).find(|one| one.is_object());
    let response = response.unwrap_or_else(|| panic!("{path}: the status {status} is not described"));
    let schema = &response["content"][media_type]["schema"];
    assert!(schema.is_object() || body.is_empty(), "{path}: {media_type:?} is not described for {status}");
    if media_type.ends_with("json") && !body.is_empty() {
        for line in body.lines().filter(|_| media_type.ends_with("x-ndjson")).chain(
            // A document of one value.
            Some(body).filter(|_| !media_type.ends_with("x-ndjson")),
        ) {
            assert_fits(schema, &serde_json::from_str(line).unwrap(), path);
        }
    }
}

/// Fails unless the value fits the schema.
pub(in crate::http) fn assert_fits(schema: &Value, value: &Value, what: &str) {
    if let Err(why) = fits(schema, value) {
        panic!("{what}: {why}");
    }
}

fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    valid(schema, value)?;
    let (Some(members), Some(known)) = (value.as_object(), members_of(schema)) else { return Ok(()) };
    match members.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(format!("`{name}` is not described")),
        None => Ok(()),
    }
}

fn valid(schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, said) in schema.as_object().ok_or("a schema is an object")? {
        let list = || said.as_array().into_iter().flatten();
        match keyword.as_str() {
            "$ref" => valid(resolved(said), value)?,
            "allOf" => list().try_for_each(|part| valid(part, value))?,
            "oneOf" | "anyOf" => {
                let (fitting, why): (Vec<_>, Vec<_>) =
                    list().map(|part| fits(part, value)).partition(Result::is_ok);
                if fitting.is_empty() {
                    let why: Vec<_> = why.into_iter().filter_map(Result::err).collect();
                    return Err(format!("fits none of its forms: {}", why.join("; ")));
                }
                if keyword == "oneOf" && fitting.len() > 1 {
                    return Err(format!("fits {} of its forms, and may fit one", fitting.len()));
                }
            }
            "type" if !is_of_type(said, value) => return Err(format!("{value} is not of type {said}")),
            "enum" if !list().any(|word| word == value) => return Err(format!("{value} is none of {said}")),
            "minimum" if value.as_f64().is_some_and(|value| value < said.as_f64().unwrap()) => {
                return Err(format!("{value} is below {said}"));
            }
            "required" => {
                if let Some(name) = list().find(|name| value.get(name.as_str().unwrap()).is_none()) {
                    return Err(format!("{name} is missing"));
                }
            }
            "properties" => {
                for (name, part) in said.as_object().unwrap() {
                    let found = value.get(name);
                    found
                        .map_or(Ok(()), |value| fits(part, value).map_err(|why| format!("{name}: {why}")))?;
                }
            }
            "additionalProperties" if said == &Value::Bool(true) => {}
            "additionalProperties" => {
                let named = |name: &str| schema["properties"].get(name).is_some();
                for (name, member) in value.as_object().into_iter().flatten().filter(|(name, _)| !named(name))
                {
                    fits(said, member).map_err(|why| format!("{name}: {why}"))?;
                }
            }
            "items" => value.as_array().into_iter().flatten().try_for_each(|item| fits(said, item))?,
            "type" | "enum" | "minimum" | "maximum" | "pattern" | "format" | "description" | "examples"
            | "default" | "maxLength" | "contentEncoding" | "propertyNames" => {}
            other => return Err(format!("this test does not know the keyword {other}")),
        }
    }
    Ok(())
}

/// Returns the members that a schema describes, unless it takes any.
fn members_of(schema: &Value) -> Option<BTreeSet<&str>> {
    if let Some(reference) = schema.get("$ref") {
        return members_of(resolved(reference));
    }
    if schema.get("additionalProperties").is_some() || schema == &serde_json::json!({"type": "object"}) {
        return None;
    }
    let mut known: BTreeSet<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for part in ["allOf", "anyOf", "oneOf"].iter().filter_map(|kind| schema[kind].as_array()).flatten() {
        known.extend(members_of(part)?);
    }
    Some(known)
}

fn resolved(reference: &Value) -> &'static Value {
    let pointer = reference.as_str().unwrap().trim_start_matches('#');
    DESCRIPTION.pointer(pointer).unwrap_or_else(|| panic!("{reference} is not there"))
}

fn is_of_type(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    };
    types.as_array().map_or_else(|| is(types), |types| types.iter().any(is))
}

#[test]
fn what_is_not_as_described_is_found() {
    let schema = &serde_json::json!({"$ref": "#/components/schemas/SampleLine"});
    let whole = serde_json::json!({"t": 1, "ch": "x", "v": 0.5, "o": 1, "i": 0});
    assert_eq!(fits(schema, &whole), Ok(()));
    for (name, member, why) in [
        ("more", 1.into(), "`more` is not described"),
        ("i", 0.5.into(), "not of type"),
        ("o", (-1).into(), "below 0"),
        ("f", "nan".into(), "none of"),
    ] {
        let mut line = whole.clone();
        line[name] = member;
        let found = fits(schema, &line).unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    let mut line = whole.clone();
    line.as_object_mut().unwrap().remove("ch");
    assert_eq!(fits(schema, &line), Err("\"ch\" is missing".to_owned()));
}
