//! Growing a schema channel by channel, as a robot's channels turn up.

use std::{collections::HashMap, sync::Arc};

use super::{ChannelDef, Schema, encode, is_unit, raw_channel};
use crate::{
    id::ChannelName,
    limits::{BATCH_BYTES_MAX, SCHEMA_CHANNELS_MAX},
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
        if let Some(index) = self.index_of(&channel.name) {
            return Ok(index);
        }
        let unit = channel.unit.filter(|unit| is_unit(unit));
        let channel = ChannelDef { unit, ..channel };
        let full = SchemaFull { channels: self.channels.len() };
        let before = self.raw.len();
        self.raw.extend(raw_channel(&channel));
        if !self.has_room_for_another() {
            self.raw.truncate(before);
            return Err(full);
        }
        let index = index_after(&self.channels);
        self.indexes.insert(channel.name.clone(), index);
        self.channels.push(channel);
        self.schema = None;
        Ok(index)
    }

    /// Returns the schema of the channels so far; the same one until a channel is added.
    pub fn schema(&mut self) -> Arc<Schema> {
        Arc::clone(self.schema.get_or_insert_with(|| Arc::new(schema_of(&self.channels))))
    }

    /// Returns whether the channels with the one in `raw` that is not counted yet still make a schema. Only where
    /// they might not fit uncompressed are they compressed to find out.
    fn has_room_for_another(&self) -> bool {
        let count = self.channels.len() + 1;
        let surely = self.raw.len() + HEAD_BYTES_MAX <= BATCH_BYTES_MAX;
        count <= SCHEMA_CHANNELS_MAX && (surely || encode(count, &self.raw).is_ok())
    }
}

fn index_after(channels: &[ChannelDef]) -> u32 {
    u32::try_from(channels.len()).expect("at most SCHEMA_CHANNELS_MAX")
}

fn schema_of(channels: &[ChannelDef]) -> Schema {
    Schema::new(channels.to_vec()).expect("each channel was checked when it was added")
}

/// Bytes of an encoded schema that are not its channels.
const HEAD_BYTES_MAX: usize = 16;
