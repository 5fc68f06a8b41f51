//! The channels of one robot: finds the channel of each column, and folds batches in column by column.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize, Serializer};

use muster_protocol::{
    batch::{DecodedBatch, Group},
    id::{ChannelName, SchemaHash},
    message::NumberedHead,
    schema::Schema,
    time::WallTime,
};

use super::{
    channel::{Candidate, Channel, Origin, Rank, effective},
    recent::RecentTimes,
};

/// The channels that a robot ever sent a value of, at most [`CHANNELS_MAX`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Channels {
    slots: Vec<Channel>,
    by_name: BTreeMap<ChannelName, usize>,
    /// The slot of each channel of a schema, as far as known.
    by_schema: HashMap<SchemaHash, Vec<Option<usize>>>,
    /// Samples of channels beyond [`CHANNELS_MAX`]: in the log, but not in the state.
    untracked: u64,
}

/// What a checkpoint holds, as it is read.
#[derive(Deserialize)]
struct Stored {
    channels: BTreeMap<ChannelName, Channel>,
    untracked: u64,
}

/// The same, as it is written: nothing is copied, because the committer waits.
#[derive(Serialize)]
struct Storing<'a> {
    channels: BTreeMap<&'a ChannelName, &'a Channel>,
    untracked: u64,
}

/// What the columns of a group share: its newest row, and its newest distinct times.
struct GroupTimes {
    /// The newest row's place in the group.
    at: usize,
    effective: WallTime,
    recent: RecentTimes,
}

/// Four full schemas. A robot that names channels without end keeps its first ones; the rest is counted.
const CHANNELS_MAX: usize = 4 * muster_protocol::limits::SCHEMA_CHANNELS_MAX;

/// Most schemas whose slots are remembered. Batches in flight refer to a few at most.
const SCHEMAS_MAX: usize = 8;

impl Channels {
    /// Folds in a batch.
    pub(super) fn apply(
        &mut self,
        head: &NumberedHead,
        origin: &Origin,
        batch: &DecodedBatch,
        schema: &Schema,
    ) {
        let mut slots = self.by_schema.remove(&schema.hash()).unwrap_or_default();
        slots.resize(schema.channels().len(), None);
        for group in &batch.groups {
            let Some(times) = GroupTimes::of(group, origin.received_at) else { continue };
            let (t, stamped_by, row) = (group.t[times.at], group.stamped_by[times.at], group.row[times.at]);
            for (field, column) in (0..).zip(&group.columns) {
                let (index, samples) = (column.channel as usize, column.data.len() as u64);
                let definition = &schema.channels()[index];
                let value =
                    column.data.get(times.at).expect("a column has a value for each row of its group");
                let rank = Rank::new(times.effective, head, row, field);
                let candidate = Candidate { rank, t, stamped_by, value, definition, origin };
                match self.channel(&mut slots[index], &candidate) {
                    Some(channel) => channel.apply(&candidate, &times.recent, samples),
                    None => self.untracked += samples,
                }
            }
        }
        if self.by_schema.len() >= SCHEMAS_MAX {
            self.by_schema.clear();
        }
        self.by_schema.insert(schema.hash(), slots);
    }

    /// Returns the channels by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ChannelName, &Channel)> {
        self.by_name.iter().map(|(name, &slot)| (name, &self.slots[slot]))
    }

    /// Returns the channels in no order, which is quicker.
    pub(super) fn values(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter()
    }

    /// Returns how many channels there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns how many samples belong to channels that are not kept.
    pub(super) fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Finds or adds the channel of a candidate and remembers its slot. `None` if there is no room for another.
    fn channel(&mut self, slot: &mut Option<usize>, candidate: &Candidate<'_>) -> Option<&mut Channel> {
        if slot.is_none() {
            *slot = self.by_name.get(&candidate.definition.name).copied();
        }
        if slot.is_none() && self.slots.len() < CHANNELS_MAX {
            self.by_name.insert(candidate.definition.name.clone(), self.slots.len());
            *slot = Some(self.slots.len());
            self.slots.push(Channel::new(candidate));
        }
        slot.map(|slot| &mut self.slots[slot])
    }
}

impl GroupTimes {
    /// Looks at the times of a group's rows. `None` for a group without rows.
    fn of(group: &Group, received_at: WallTime) -> Option<Self> {
        let times = group.t.iter().map(|&t| effective(t, received_at));
        // Of equal times the last wins: row numbers ascend in a group.
        let (at, effective) = times.clone().enumerate().max_by_key(|&(_, t)| t)?;
        Some(Self { at, effective, recent: RecentTimes::of(times.map(|t| t.0)) })
    }
}

impl PartialEq for Channels {
    /// Compares what is known, not in which order it came.
    fn eq(&self, other: &Self) -> bool {
        self.untracked == other.untracked && self.iter().eq(other.iter())
    }
}

impl From<Stored> for Channels {
    fn from(stored: Stored) -> Self {
        let (names, slots): (Vec<_>, Vec<_>) = stored.channels.into_iter().unzip();
        let by_name = names.into_iter().zip(0..).collect();
        Self { slots, by_name, by_schema: HashMap::new(), untracked: stored.untracked }
    }
}

impl Serialize for Channels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Storing { channels: self.iter().collect(), untracked: self.untracked }.serialize(serializer)
    }
}
