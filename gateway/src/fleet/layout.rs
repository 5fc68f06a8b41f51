//! Which channels a robot has, and where each stands: robots that send the same share one.
//!
//! A fleet is many robots of few kinds. What all robots of a kind have in common, the names of their channels, is held
//! once, and looking a name up stays in the processor's cache however many robots are asked.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use muster_protocol::{
    id::{ChannelName, SchemaHash},
    schema::Schema,
};

use crate::sharing::Sharing;

/// Channels by name; the place of one is the same in every robot of this layout.
#[derive(Debug)]
pub(super) struct Layout {
    /// Ascending.
    names: Box<[ChannelName]>,
    by_name: HashMap<ChannelName, u32>,
    /// Where those channels stand in which an agent tells of itself.
    of_agent: Range<usize>,
    /// The places of the channels of each schema that was asked for.
    by_schema: RwLock<HashMap<SchemaHash, Arc<[Option<u32>]>>>,
}

/// Most schemas whose places are remembered. A kind of robot has few; with more, all are looked up again.
const SCHEMAS_MAX: usize = 32;

/// What a robot's state is does not depend on its layout, only how much memory the state takes.
static SHARED: Sharing<Layout> = Sharing::new();

impl Layout {
    /// Returns the layout of these channels, which ascend.
    pub(super) fn of(names: &[ChannelName]) -> Arc<Self> {
        debug_assert!(names.is_sorted_by(|a, b| a < b), "the names ascend");
        SHARED.of(names, |shared| *shared.names == *names, || Arc::new(Self::new(names)))
    }

    fn new(names: &[ChannelName]) -> Self {
        let by_name = names.iter().cloned().zip(0..).collect();
        // They begin alike, so that they stand together.
        let from = names.iter().position(ChannelName::is_of_agent).unwrap_or(names.len());
        let of_agent = from..from + names[from..].iter().take_while(|name| name.is_of_agent()).count();
        Self { names: names.into(), by_name, of_agent, by_schema: RwLock::default() }
    }

    /// Returns the names, ascending.
    pub(super) fn names(&self) -> &[ChannelName] {
        &self.names
    }

    /// Returns the place of a channel.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).map(|place| *place as usize)
    }

    /// Returns the places of the channels into which an object or an array of this name was flattened: of `pose` those
    /// that begin with `pose.` or `pose[`.
    pub(super) fn group(&self, name: &str) -> impl Iterator<Item = usize> {
        ['.', '['].into_iter().flat_map(move |separator| {
            let beginning = format!("{name}{separator}");
            let from = self.names.partition_point(|name| name.as_str() < beginning.as_str());
            let members = self.names[from..].iter().take_while(|name| name.as_str().starts_with(&beginning));
            from..from + members.count()
        })
    }

    /// Returns the places of those channels in which an agent tells of itself.
    pub(super) fn of_agent(&self) -> Range<usize> {
        self.of_agent.clone()
    }

    /// Returns the place of each channel of a schema, as far as it has one.
    pub(super) fn places(&self, schema: &Schema) -> Arc<[Option<u32>]> {
        let known =
            self.by_schema.read().unwrap_or_else(PoisonError::into_inner).get(&schema.hash()).cloned();
        known.unwrap_or_else(|| {
            let place = |name: &ChannelName| self.by_name.get(name).copied();
            let places: Arc<[_]> = schema.channels().iter().map(|channel| place(&channel.name)).collect();
            let mut by_schema = self.by_schema.write().unwrap_or_else(PoisonError::into_inner);
            if by_schema.len() >= SCHEMAS_MAX {
                by_schema.clear();
            }
            by_schema.insert(schema.hash(), places.clone());
            places
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rehearsal::schema;

    fn layout(names: &[&str]) -> Arc<Layout> {
        Layout::of(&names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn robots_with_the_same_channels_share_a_layout_and_others_do_not() {
        let one = layout(&["a", "b"]);
        assert!(Arc::ptr_eq(&one, &layout(&["a", "b"])));
        assert!(!Arc::ptr_eq(&one, &layout(&["a"])));
        assert!(!Arc::ptr_eq(&one, &layout(&["a", "b", "c"])));
    }

    #[test]
    fn a_schema_names_what_has_a_place_and_what_has_none_yet() {
        let schema = schema(&[("b", None, false), ("x", None, false), ("a", None, false)]);
        let layout = layout(&["a", "b"]);
        for _ in 0..2 {
            assert_eq!(*layout.places(&schema), [Some(1), None, Some(0)]);
        }
    }

    #[test]
    fn an_agents_own_channels_stand_together() {
        assert_eq!(layout(&["a", "muster.agent.cpu_s", "muster.agent.lost", "muster.b"]).of_agent(), 1..3);
        assert_eq!(layout(&["a", "z"]).of_agent().len(), 0);
        assert_eq!(layout(&[]).of_agent(), 0..0);
    }

    #[test]
    fn a_group_is_what_was_flattened_out_of_one_object_or_array() {
        let layout = layout(&["pose", "pose-x", "pose.x", "pose.y", "pose/z", "pose[0]", "poses.x"]);
        assert_eq!(layout.group("pose").collect::<Vec<_>>(), [2, 3, 5]);
        assert_eq!(layout.group("joint").count(), 0);
    }
}
