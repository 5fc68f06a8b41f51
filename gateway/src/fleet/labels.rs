//! What a robot is called by: the agent's labels, and the operator's over them.
//!
//! Each record holds all labels of its source, so the newest of each source is the state. The agent's newest is that of
//! its last session: a record of an older session that the log took late overrides nothing.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use muster_protocol::{
    id::Offset,
    label::{LabelKey, LabelValue, Labels},
};

use crate::{
    record::{LabelSet, LabelSource},
    sharing::Sharing,
};

/// A robot's labels by source. In a merged reading the operator's value of a key hides the agent's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobotLabels {
    agent: Said,
    operator: Said,
}

/// What one source said last; nothing, until it said anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// The session and offset of the record.
    newest: (u64, Offset),
    /// Shared with all robots of which the same is said.
    #[serde(serialize_with = "write_labels", deserialize_with = "read_labels")]
    labels: Arc<Labels>,
}

static SHARED: Sharing<Labels> = Sharing::new();

impl RobotLabels {
    /// Folds in a record; operators' have no session, and are in the order of the log.
    pub(super) fn saw(&mut self, offset: Offset, session: u64, set: &LabelSet) {
        let (said, newest) = match set.by {
            LabelSource::Agent => (&mut self.agent, (session, offset)),
            LabelSource::Operator => (&mut self.operator, (0, offset)),
        };
        if said.newest < newest {
            *said = Said { newest, labels: shared(&set.labels) };
        }
    }

    /// Returns everything that one source says, hidden or not.
    pub fn of(&self, source: LabelSource) -> &Labels {
        match source {
            LabelSource::Agent => &self.agent.labels,
            LabelSource::Operator => &self.operator.labels,
        }
    }

    /// Returns the session and offset of the record that holds a source's labels, if there are any.
    pub fn record_of(&self, source: LabelSource) -> Option<(u64, Offset)> {
        let said = match source {
            LabelSource::Agent => &self.agent,
            LabelSource::Operator => &self.operator,
        };
        (!said.labels.is_empty()).then_some(said.newest)
    }

    /// Returns the label of this key, and who gave it.
    pub fn get(&self, key: &str) -> Option<(&LabelValue, LabelSource)> {
        let from = |source| self.of(source).get(key).map(|value| (value, source));
        from(LabelSource::Operator).or_else(|| from(LabelSource::Agent))
    }

    /// Returns all labels that are seen, in the order of their keys.
    pub fn merged(&self) -> BTreeMap<&LabelKey, (&LabelValue, LabelSource)> {
        let sources = [LabelSource::Agent, LabelSource::Operator];
        let each = |source| self.of(source).iter().map(move |(key, value)| (key, (value, source)));
        sources.into_iter().flat_map(each).collect()
    }

    /// Returns whether no source gives any.
    pub fn is_empty(&self) -> bool {
        self.agent.labels.is_empty() && self.operator.labels.is_empty()
    }
}

fn shared(labels: &Labels) -> Arc<Labels> {
    SHARED.of(labels, |shared| shared == labels, || Arc::new(labels.clone()))
}

fn write_labels<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
    labels.serialize(serializer)
}

fn read_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Labels>, D::Error> {
    Labels::deserialize(deserializer).map(|labels| shared(&labels))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(by: LabelSource, pairs: &[(&str, &str)]) -> LabelSet {
        let pair = |(key, value): &(&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
        LabelSet { by, labels: Labels::new(pairs.iter().map(pair).collect()).unwrap() }
    }

    fn shown(labels: &RobotLabels) -> Vec<String> {
        let merged = labels.merged().into_iter();
        merged.map(|(key, (value, source))| format!("{key}={value} {}", source.as_str())).collect()
    }

    #[test]
    fn the_operators_value_wins_and_its_removal_shows_the_agents_again() {
        let mut labels = RobotLabels::default();
        assert!(labels.is_empty());
        labels.saw(Offset(1), 7, &set(LabelSource::Agent, &[("site", "berlin"), ("line", "3")]));
        labels.saw(Offset(2), 0, &set(LabelSource::Operator, &[("site", "kiel"), ("owner", "ann")]));
        assert_eq!(shown(&labels), ["line=3 agent", "owner=ann operator", "site=kiel operator"]);
        assert_eq!(labels.get("site").unwrap().0.as_str(), "kiel");
        labels.saw(Offset(3), 0, &set(LabelSource::Operator, &[]));
        assert_eq!(shown(&labels), ["line=3 agent", "site=berlin agent"]);
        assert_eq!(labels.get("owner"), None);
    }

    #[test]
    fn what_an_older_session_said_and_the_log_took_late_overrides_nothing() {
        let mut labels = RobotLabels::default();
        labels.saw(Offset(5), 8, &set(LabelSource::Agent, &[("site", "new")]));
        labels.saw(Offset(6), 7, &set(LabelSource::Agent, &[("site", "old")]));
        assert_eq!(shown(&labels), ["site=new agent"]);
    }

    proptest! {
        #[test]
        fn any_order_and_repetition_gives_the_same(
            told in prop::collection::vec((0u64..3, any::<bool>(), prop::collection::btree_map("[a-c]", "[x-z]", 0..4)), 0..12),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let record = |at: usize| {
                let (session, is_agent, pairs) = &told[at];
                let by = if *is_agent { LabelSource::Agent } else { LabelSource::Operator };
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                (Offset(at as u64 + 1), *session, set(by, &pairs))
            };
            let fold = |places: &mut dyn Iterator<Item = usize>| {
                let mut labels = RobotLabels::default();
                for (offset, session, set) in places.map(record) {
                    labels.saw(offset, session, &set);
                }
                labels
            };
            let in_order = fold(&mut (0..told.len()));
            if !told.is_empty() {
                let any = order.iter().map(|index| index.index(told.len()));
                prop_assert_eq!(&fold(&mut any.chain((0..told.len()).rev())), &in_order);
            }
        }
    }
}
