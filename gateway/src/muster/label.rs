//! `muster label`: what a robot is called by, and what operators change of it.

use std::{collections::BTreeMap, str::FromStr};

use muster_protocol::{
    id::RobotId,
    label::{LabelKey, LabelValue},
};
use serde_json::{Value, json};

use super::{
    answer::text,
    client::{Client, Query},
    failure::Failure,
    table::{Cell, Look, Sheet, Tone},
};

/// One change as it is typed: `KEY=VALUE` sets a label, `KEY-` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    key: LabelKey,
    /// `None` removes.
    value: Option<LabelValue>,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let key = |text: &str| text.parse::<LabelKey>().map_err(|error| error.to_string());
        if let Some((name, value)) = typed.split_once('=') {
            let value: LabelValue =
                value.parse().map_err(|error| format!("{error}; {name}- removes a label"))?;
            return Ok(Self { key: key(name)?, value: Some(value) });
        }
        match typed.strip_suffix('-') {
            Some(name) => Ok(Self { key: key(name)?, value: None }),
            None => Err("write KEY=VALUE to set a label, or KEY- to remove it".to_owned()),
        }
    }
}

/// Makes the changes, if there are any, and returns what the robot is called by then.
pub fn run(client: &Client, robot: &RobotId, changes: &[Change]) -> Result<Value, Failure> {
    let path = format!("/v1/robots/{robot}/labels");
    let mut patch: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for Change { key, value } in changes {
        if patch.insert(key.as_str(), value.as_ref().map(LabelValue::as_str)).is_some() {
            return Err(Failure::Usage(format!("the label {key} is given twice: give it once")));
        }
    }
    if patch.is_empty() { client.json(&path, &Query::new()) } else { client.patch(&path, &json!(patch)) }
}

/// Returns what is to be said of a removal that leaves a label: the agent says it, and operators cannot silence it.
pub fn left_over(labels: &Value, changes: &[Change]) -> Option<String> {
    let removed = changes.iter().filter(|change| change.value.is_none()).map(|change| change.key.as_str());
    let left: Vec<_> = removed.filter(|key| labels["labels"].get(*key).is_some()).collect();
    (!left.is_empty()).then(|| {
        format!(
            "the robot's own configuration says {}: change it below [labels] there, or set another value here, which hides it",
            left.join(", ")
        )
    })
}

/// Draws one line per label.
pub fn render(labels: &Value, look: Look) -> String {
    let mut sheet = Sheet::new(&["label", "value", "source"]);
    for [_, key, value, source] in rows(labels) {
        let tone = if source == "operator" { Tone::Plain } else { Tone::Dim };
        sheet.push(vec![Cell::new(key), Cell::new(value), Cell::toned(source, tone)]);
    }
    sheet.render(look)
}

/// Returns one CSV row per label under [`CSV_HEADER`].
pub fn csv(labels: &Value) -> impl Iterator<Item = Vec<String>> {
    rows(labels).map(|row| row.map(str::to_owned).to_vec())
}

/// The columns of [`csv()`].
pub const CSV_HEADER: [&str; 4] = ["robot", "label", "value", "source"];

/// Writes `site=berlin, line=3 (agent)` for a robot's view: what operators gave needs no word.
pub fn line(state: &Value) -> String {
    let told = rows(state).map(|[_, key, value, source]| match source {
        "operator" => format!("{key}={value}"),
        _ => format!("{key}={value} ({source})"),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn rows(labels: &Value) -> impl Iterator<Item = [&str; 4]> {
    let robot = text(labels, "/robot").unwrap_or_default();
    let each = labels.get("labels").and_then(Value::as_object).into_iter().flatten();
    each.map(move |(key, value)| {
        let source = labels["label_sources"].get(key).and_then(Value::as_str).unwrap_or("-");
        [robot, key.as_str(), value.as_str().unwrap_or("-"), source]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Value {
        json!({
            "robot": "a/1", "labels": {"line": "3", "site": "kiel, hall 2"},
            "label_sources": {"line": "agent", "site": "operator"}
        })
    }

    #[test]
    fn a_change_is_typed_as_in_kubectl() {
        let change = |typed: &str| typed.parse::<Change>().unwrap();
        let set = change("site=a=b");
        assert_eq!((set.key.as_str(), set.value.unwrap().as_str()), ("site", "a=b"));
        assert_eq!(change("old-"), Change { key: "old".parse().unwrap(), value: None });
        for (typed, words) in [
            ("site", "KEY=VALUE"),
            ("site=", "site- removes a label"),
            ("a b=x", "is not a label's name"),
            ("-", "is not a label's name"),
        ] {
            let error = typed.parse::<Change>().unwrap_err();
            assert!(error.contains(words), "{typed}: {error}");
        }
    }

    #[test]
    fn each_label_stands_beside_its_source() {
        let text = render(&labels(), Look { width: None, color: false });
        let rows: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["line", "3", "agent"]);
        assert_eq!(rows[2], ["site", "kiel,", "hall", "2", "operator"]);
        assert_eq!(line(&labels()), "line=3 (agent), site=kiel, hall 2");
        assert_eq!(csv(&labels()).next().unwrap(), ["a/1", "line", "3", "agent"]);
    }

    #[test]
    fn a_removal_that_leaves_the_agents_label_says_where_it_comes_from() {
        let told = left_over(&labels(), &["line-".parse().unwrap(), "old-".parse().unwrap()]).unwrap();
        assert!(told.contains("says line: change it below [labels]"), "{told}");
        assert_eq!(left_over(&labels(), &["old-".parse().unwrap(), "site=x".parse().unwrap()]), None);
    }
}
