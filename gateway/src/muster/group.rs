//! `muster group`: expressions that operators save by name, for `--group`.

use std::{fmt, str::FromStr};

use muster_protocol::id::is_name;
use serde_json::{Value, json};

use super::{
    answer::{text, text_cell},
    client::{Client, Query},
    failure::Failure,
    robots::plain,
    table::{Look, Sheet},
};

/// A group's name, which is safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName(String);

impl FromStr for GroupName {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        is_name(typed).then(|| Self(typed.to_owned())).ok_or(
            "a group's name has letters, digits, `.`, `_` and `-`, at most 63, starting with a letter or digit",
        )
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Returns all groups, by name.
pub fn list(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut groups = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query: Query = vec![("limit", PAGE_GROUPS.to_string())];
        query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let mut page = client.json(PATH, &query)?;
        let Some(Value::Array(more)) = page.get_mut("groups").map(Value::take) else {
            return Err(client.not_ours(format!("{PATH} has no list `groups`")));
        };
        groups.extend(more);
        let next = text(&page, "/next_cursor").map(str::to_owned);
        if next.is_none() || next == cursor {
            return Ok(groups);
        }
        cursor = next;
    }
}

/// Returns one group.
pub fn show(client: &Client, name: &GroupName) -> Result<Value, Failure> {
    client.json(&format!("{PATH}/{name}"), &Query::new())
}

/// Saves an expression by a name, and returns the group once it is durable.
pub fn set(client: &Client, name: &GroupName, expression: &str) -> Result<Value, Failure> {
    let saved = client.put(&format!("{PATH}/{name}"), &json!({"where": expression}));
    saved.map_err(|failure| failure.spelled("EXPR", expression))
}

/// Removes a group.
pub fn delete(client: &Client, name: &GroupName) -> Result<(), Failure> {
    client.delete(&format!("{PATH}/{name}"))
}

/// Draws one line per group.
pub fn render(groups: &[Value], look: Look) -> String {
    let mut sheet = Sheet::new(&["group", "where"]);
    for group in groups {
        sheet.push(vec![text_cell(group, "/name"), text_cell(group, "/where")]);
    }
    sheet.render(look)
}

/// Returns the CSV row of a group under [`CSV_HEADER`].
pub fn csv(group: &Value) -> Vec<String> {
    CSV_HEADER.iter().map(|(_, pointer)| plain(group.pointer(pointer))).collect()
}

/// The columns of the CSV and where the API has them.
pub const CSV_HEADER: [(&str, &str); 2] = [("group", "/name"), ("where", "/where")];

const PATH: &str = "/v1/groups";

/// Groups asked for at once: a gateway keeps 256.
const PAGE_GROUPS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_url_can_have_as_it_is() {
        assert_eq!("low-battery.v2".parse::<GroupName>().unwrap().to_string(), "low-battery.v2");
        for bad in ["", "a/b", "..", "a b", "%2e"] {
            assert!(bad.parse::<GroupName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_group_stands_beside_its_expression() {
        let groups = [json!({"name": "low", "where": "value(\"soc\") < 0.2"})];
        let look = Look { width: None, color: false };
        assert_eq!(render(&groups, look), "group  where\nlow    value(\"soc\") < 0.2\n");
        assert_eq!(csv(&groups[0]), ["low", "value(\"soc\") < 0.2"]);
    }
}
