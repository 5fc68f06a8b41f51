//! Growing a schema channel by channel, as a robot's channels turn up.

use std::{collections::HashMap, sync::Arc};

use super::{ChannelDef, Schema, encode, is_unit, raw_channel};
use crate::{
    id::ChannelName,
    limits::{BATCH_BYTES_MAX, SCHEMA_CHANNELS_MAX, SCHEMA_RAW_BYTES_MAX},
};

/// Collects channels until the next [`Schema`] is asked for. Indexes never change; channels are only added.
#[derive(Debug, Default)]
pub struct SchemaBuilder {
    channels: Vec<ChannelDef>,
    indexes: HashMap<ChannelName, u32>,
    /// The channels in postcard, to know when they are too many.
    raw: Vec<u8>,
    schema: Option<Arc<Schema>>,
}

/// The schema has no room for another channel. Start a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the schema is full with {channels} channels")]
pub struct SchemaFull {
    /// Channels that it holds.
    pub channels: usize,
}

impl SchemaBuilder {
    /// Starts without channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the index of the channel with this name.
    pub fn index_of(&self, name: &ChannelName) -> Option<u32> {
        self.indexes.get(name).copied()
    }

    /// Returns how many channels there are.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Returns whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Adds a channel and returns its index. One that is already there keeps its definition; a unit that breaks the
    /// rules of [`ChannelDef::unit`] is left out.
    pub fn try_add(&mut self, channel: ChannelDef) -> Result<u32, SchemaFull> {
        match self.index_of(&channel.name) {
            Some(index) => Ok(index),
            None => self.try_add_all([channel]).map(|_| index_before(&self.channels)),
        }
    }

    /// Adds all of these channels or none, and returns the index of each, in their order. For many at once this is the
    /// quick way: whether a large schema has room is known only by compressing it, which is done once here.
    pub fn try_add_all(
        &mut self,
        channels: impl IntoIterator<Item = ChannelDef>,
    ) -> Result<Vec<u32>, SchemaFull> {
        let (count, raw_bytes) = (self.channels.len(), self.raw.len());
        let mut indexes = Vec::new();
        for channel in channels {
            let known = self.index_of(&channel.name);
            indexes.push(known.unwrap_or_else(|| self.add(channel)));
            if self.channels.len() > SCHEMA_CHANNELS_MAX || self.raw.len() > SCHEMA_RAW_BYTES_MAX {
                break;
            }
        }
        if self.channels.len() > count && !self.has_room() {
            self.forget(count, raw_bytes);
            return Err(SchemaFull { channels: count });
        }
        Ok(indexes)
    }

    /// Returns the schema of the channels so far; the same one until a channel is added.
    pub fn schema(&mut self) -> Arc<Schema> {
        Arc::clone(self.schema.get_or_insert_with(|| Arc::new(schema_of(&self.channels))))
    }

    fn add(&mut self, channel: ChannelDef) -> u32 {
        let unit = channel.unit.filter(|unit| is_unit(unit));
        let channel = ChannelDef { unit, ..channel };
        self.raw.extend(raw_channel(&channel));
        self.schema = None;
        self.channels.push(channel.clone());
        let index = index_before(&self.channels);
        self.indexes.insert(channel.name, index);
        index
    }

    /// Goes back to the first `count` channels, which take so many bytes in postcard.
    fn forget(&mut self, count: usize, raw_bytes: usize) {
        self.raw.truncate(raw_bytes);
        for channel in self.channels.drain(count..) {
            self.indexes.remove(&channel.name);
        }
    }

    /// Returns whether the channels make a schema. Only where they might not fit uncompressed are they compressed to
    /// find out.
    fn has_room(&self) -> bool {
        let count = self.channels.len();
        let surely = self.raw.len() + HEAD_BYTES_MAX <= BATCH_BYTES_MAX;
        count <= SCHEMA_CHANNELS_MAX && (surely || encode(count, &self.raw).is_ok())
    }
}

/// Returns the index of the last channel.
fn index_before(channels: &[ChannelDef]) -> u32 {
    u32::try_from(channels.len().saturating_sub(1)).expect("little more than SCHEMA_CHANNELS_MAX")
}

fn schema_of(channels: &[ChannelDef]) -> Schema {
    Schema::new(channels.to_vec()).expect("each channel was checked when it was added")
}

/// Bytes of an encoded schema that are not its channels.
const HEAD_BYTES_MAX: usize = 16;
