//! The fields that a request chooses of each robot in a list.

use std::str::FromStr;

use muster_protocol::{glob::Glob, time::WallTime};
use serde_json::{Map, Value};

use super::answer::{Moment, RobotSummary, channel_values};
use crate::query::{Fact, Name, NameError, View};

/// The fields that a request chooses.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// Members and parts of the state, as paths.
    paths: Vec<Vec<String>>,
    /// Channels by pattern.
    globs: Vec<Glob>,
    /// Channels by name.
    channels: Vec<String>,
}

/// Parts of a robot's summary that have members of their own.
const PARTS: [&str; 15] = [
    "agent",
    "battery",
    "clock",
    "completeness",
    "conflict",
    "fleet",
    "freshness",
    "health",
    "labels",
    "link",
    "loss",
    "pose",
    "position",
    "robot",
    "version",
];

/// Most fields that a request chooses.
const FIELDS_MAX: usize = 64;

/// Most channels that patterns bring into one robot's line. A robot's own answer has all.
const CHANNELS_MAX: usize = 256;

impl Fields {
    /// Returns the channels and labels that are named, patterns aside.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        let labels = self.paths.iter().filter_map(|path| match &path[..] {
            [labels, key] if labels == "labels" => Some(Name::Label(key.clone())),
            _ => None,
        });
        let channels = self.channels.iter().filter_map(|channel| channel.parse().ok().map(Name::Channel));
        channels.chain(labels)
    }

    /// Returns what they choose of a robot.
    pub(super) fn of(&self, view: &View<'_>, moment: Moment) -> Value {
        let summary = serde_json::to_value(RobotSummary::of(view, moment)).expect("a summary is JSON");
        let Value::Object(summary) = summary else { unreachable!("a summary is an object") };
        let mut line = self.choose(&summary, view, moment);
        let mut values = channel_values(view, &self.channels, moment);
        for glob in &self.globs {
            let names = view.state().channels().map(|(name, _)| name.as_str());
            let matching = names.filter(|name| glob.matches(name)).take(CHANNELS_MAX);
            values.extend(channel_values(view, matching, moment));
        }
        if !self.channels.is_empty() || !self.globs.is_empty() {
            line.insert("values".to_owned(), Value::Object(values));
        }
        Value::Object(line)
    }

    fn choose(&self, summary: &Map<String, Value>, view: &View<'_>, moment: Moment) -> Map<String, Value> {
        let mut chosen = Map::new();
        for path in [["robot".to_owned()].as_slice()].into_iter().chain(self.paths.iter().map(Vec::as_slice))
        {
            if let Some(value) = at(summary, path).or_else(|| fact(view, &path.join("."), moment)) {
                insert(&mut chosen, path, value);
            }
        }
        chosen
    }
}

impl FromStr for Fields {
    type Err = FieldsError;

    /// Reads names separated by commas: parts and members of a robot's state, channels, and patterns of channels.
    fn from_str(text: &str) -> Result<Self, FieldsError> {
        let count = text.split(',').count();
        if count > FIELDS_MAX {
            return Err(FieldsError::TooMany { count });
        }
        let mut fields = Self::default();
        for name in text.split(',').map(str::trim) {
            let glob = name.parse::<Glob>().ok().filter(|_| name.contains(['*', '?']));
            let path = || name.split('.').map(str::to_owned).collect();
            match (glob, PARTS.contains(&name)) {
                (Some(glob), _) => fields.globs.push(glob),
                (None, true) => fields.paths.push(path()),
                (None, false) => match Name::parse(name)? {
                    Name::Channel(channel) => fields.channels.push(channel.as_str().to_owned()),
                    Name::Label(key) => fields.paths.push(vec!["labels".to_owned(), key]),
                    Name::Member(_) => fields.paths.push(path()),
                },
            }
        }
        Ok(fields)
    }
}

/// Why a text does not name fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldsError {
    /// One of them is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There are too many.
    #[error(
        "{count} fields are too many; at most {FIELDS_MAX} are taken, and `battery.*` names several channels at once"
    )]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

fn at(object: &Map<String, Value>, path: &[String]) -> Option<Value> {
    let (first, rest) = path.split_first()?;
    let mut found = object.get(first)?;
    for name in rest {
        found = found.get(name)?;
    }
    Some(found.clone())
}

fn insert(object: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        object.insert(first.clone(), value);
        return;
    }
    let inner = object.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

/// Returns a member that has no place in the summary, such as `link.up`.
fn fact(view: &View<'_>, name: &str, moment: Moment) -> Option<Value> {
    let Ok(name @ Name::Member(_)) = Name::parse(name) else { return None };
    Some(match view.fact(&name) {
        Fact::Unknown => Value::Null,
        Fact::Bool(value) => value.into(),
        // What is a number and has no place in the summary is a time.
        Fact::Int(nanos) => serde_json::to_value(moment.ints.time(WallTime(nanos))).expect("a time is JSON"),
        Fact::Float(value) => value.into(),
        Fact::Text(text) => text.into(),
        Fact::Texts(texts) => texts.into_iter().map(|text| Value::from(&*text)).collect(),
    })
}
