//! Labels: what people call a robot by, such as `site=berlin`. A set of them comes from the agent's configuration, and
//! another from operators.
//!
//! A [`Labels`] holds only keys and values that are allowed, and no more than [`LABELS_MAX`]; texts from outside come
//! in through `FromStr` or serde and are refused with a sentence that names the label and what would be right.

use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};

use crate::limits::{LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX};

/// A label's name: `[A-Za-z0-9][A-Za-z0-9._/-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(Arc<str>);

/// What a label says: 1 to [`LABEL_VALUE_BYTES_MAX`] bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(Arc<str>);

/// At most [`LABELS_MAX`] labels, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

/// What is to become of some labels: a value sets one, `None` removes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPatch(pub BTreeMap<LabelKey, Option<LabelValue>>);

/// Why texts are not labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A key has a wrong length or character.
    #[error(
        "{text:?} is not a label's name: 1 to {LABEL_KEY_BYTES_MAX} of A-Z a-z 0-9 . _ / - starting with a letter or \
         digit"
    )]
    Key {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// A value is empty, too long, or has a control character.
    #[error(
        "{text:?} is not a label's value: 1 to {LABEL_VALUE_BYTES_MAX} bytes of text without control characters"
    )]
    Value {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// There are more labels than one source may give.
    #[error("{count} labels, but a robot has at most {LABELS_MAX} from one source; remove some")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
}

impl LabelKey {
    /// Returns the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LabelValue {
    /// Returns the value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Labels {
    /// Takes a set.
    pub fn new(labels: BTreeMap<LabelKey, LabelValue>) -> Result<Self, LabelError> {
        match labels.len() {
            0..=LABELS_MAX => Ok(Self(labels)),
            count => Err(LabelError::TooMany { count }),
        }
    }

    /// Returns the labels in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LabelKey, &LabelValue)> {
        self.0.iter()
    }

    /// Returns what the label of this key says.
    pub fn get(&self, key: &str) -> Option<&LabelValue> {
        self.0.get(key)
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the set with a patch applied.
    ///
    /// # Errors
    /// [`LabelError::TooMany`] if the result is.
    pub fn patched(&self, patch: &LabelPatch) -> Result<Self, LabelError> {
        let mut labels = self.0.clone();
        for (key, value) in &patch.0 {
            match value {
                Some(value) => drop(labels.insert(key.clone(), value.clone())),
                None => drop(labels.remove(key)),
            }
        }
        Self::new(labels)
    }
}

impl FromStr for LabelKey {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        let starts = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if starts && text.len() <= LABEL_KEY_BYTES_MAX && text.bytes().all(inner) {
            return Ok(Self(text.into()));
        }
        Err(LabelError::Key { text: shown(text) })
    }
}

impl FromStr for LabelValue {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() || text.len() > LABEL_VALUE_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(LabelError::Value { text: shown(text) });
        }
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for LabelKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LabelKey {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl TryFrom<String> for LabelValue {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<LabelKey> for String {
    fn from(key: LabelKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

impl From<LabelValue> for String {
    fn from(value: LabelValue) -> Self {
        value.0.as_ref().to_owned()
    }
}

impl fmt::Display for LabelKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for LabelKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Debug for LabelValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LabelsVisitor)
    }
}

/// Reads a map of texts, label by label, and stops at the first that is wrong or too much.
struct LabelsVisitor;

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = Labels;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("labels: a table of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = BTreeMap::new();
        while let Some(key) = map.next_key::<LabelKey>()? {
            if labels.len() == LABELS_MAX {
                let count = LABELS_MAX + 1 + map.size_hint().unwrap_or_default();
                return Err(A::Error::custom(LabelError::TooMany { count }));
            }
            let name = key.clone();
            let value =
                map.next_value().map_err(|error| A::Error::custom(format_args!("{name}: {error}")))?;
            if labels.insert(key, value).is_some() {
                return Err(A::Error::custom(format_args!("the label {name} is given twice; give it once")));
            }
        }
        Ok(Labels(labels))
    }
}

/// Cuts a text from outside to a readable length.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Longest text from outside in a message, in characters. A message stays one readable sentence.
const SHOWN_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let pair = |(key, value): &(&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
        Labels::new(pairs.iter().map(pair).collect()).unwrap()
    }

    fn patch(pairs: &[(&str, Option<&str>)]) -> LabelPatch {
        let pair = |(key, value): &(&str, Option<&str>)| {
            (key.parse().unwrap(), value.map(|value| value.parse().unwrap()))
        };
        LabelPatch(pairs.iter().map(pair).collect())
    }

    #[test]
    fn keys_and_values_keep_to_their_bounds() {
        let longest = "k".repeat(LABEL_KEY_BYTES_MAX);
        for good in ["a", "9", "site", "example.com/rack-3_b", &longest] {
            assert_eq!(good.parse::<LabelKey>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "a b", "a=b", "ä", "a\n", &format!("{longest}k")] {
            assert!(matches!(bad.parse::<LabelKey>(), Err(LabelError::Key { .. })), "{bad:?}");
        }
        let longest = "ö".repeat(LABEL_VALUE_BYTES_MAX / 2);
        for good in ["x", "Berlin, hall 3", "=", " ", &longest] {
            assert_eq!(good.parse::<LabelValue>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "\u{7f}", &format!("{longest}x")] {
            assert!(matches!(bad.parse::<LabelValue>(), Err(LabelError::Value { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_patch_sets_and_removes_and_leaves_the_rest() {
        let before = labels(&[("site", "berlin"), ("line", "3")]);
        let after =
            before.patched(&patch(&[("site", Some("kiel")), ("line", None), ("none", None)])).unwrap();
        assert_eq!(after, labels(&[("site", "kiel")]));
        assert_eq!(after.get("site").unwrap().as_str(), "kiel");
        assert_eq!(after.patched(&LabelPatch::default()).unwrap(), after);
    }

    #[test]
    fn one_source_has_a_bounded_number_of_labels() {
        let pair = |n: usize| (format!("k{n:02}").parse().unwrap(), "v".parse().unwrap());
        let many = |count| (0..count).map(pair).collect::<BTreeMap<LabelKey, LabelValue>>();
        let most = Labels::new(many(LABELS_MAX)).unwrap();
        let one_more = most.patched(&patch(&[("another", Some("v"))]));
        assert_eq!(one_more, Err(LabelError::TooMany { count: LABELS_MAX + 1 }));
        assert_eq!(most.patched(&patch(&[("another", Some("v")), ("k00", None)])).unwrap().len(), LABELS_MAX);
        let encoded = postcard::to_stdvec(&many(LABELS_MAX + 1)).unwrap();
        assert!(postcard::from_bytes::<Labels>(&encoded).is_err());
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused() {
        let twice: [u8; 9] = [2, 1, b'a', 1, b'x', 1, b'a', 1, b'y'];
        assert!(postcard::from_bytes::<Labels>(&twice).is_err());
        let error = serde_json::from_str::<Labels>(r#"{"a":"x","a":"y"}"#).unwrap_err().to_string();
        assert!(error.contains("the label a is given twice"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key() {
        let error = serde_json::from_str::<Labels>(r#"{"site":""}"#).unwrap_err().to_string();
        assert!(error.starts_with("site: \"\" is not a label's value"), "{error}");
        let error = serde_json::from_str::<Labels>(r#"{"line":3}"#).unwrap_err().to_string();
        assert!(error.starts_with("line: ") && error.contains("expected a string"), "{error}");
    }

    proptest! {
        #[test]
        fn labels_come_back_as_they_went(pairs in prop::collection::btree_map("[a-z0-9][a-zA-Z0-9._/-]{0,62}", "[^\\p{Cc}]{1,40}", 0..20)) {
            let parsed = pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap()));
            let labels = Labels::new(parsed.collect()).unwrap();
            let encoded = postcard::to_stdvec(&labels).unwrap();
            prop_assert_eq!(&encoded, &postcard::to_stdvec(&pairs).unwrap());
            prop_assert_eq!(postcard::from_bytes::<Labels>(&encoded).unwrap(), labels);
        }

        #[test]
        fn any_bytes_are_labels_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(labels) = postcard::from_bytes::<Labels>(&bytes) {
                prop_assert!(labels.len() <= LABELS_MAX);
            }
        }
    }
}
