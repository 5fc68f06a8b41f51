//! The channels of one robot: finds the channel of each column, and folds batches in column by column.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use serde::{Deserialize, Serialize, Serializer};

use muster_protocol::{
    batch::{DecodedBatch, Group},
    id::{ChannelName, SchemaHash},
    message::NumberedHead,
    schema::Schema,
    time::WallTime,
};

use super::{
    acceptance::Anchors,
    channel::{Candidate, Channel, Origin, Rank, Stamp, effective, happened},
    recent::RecentTimes,
};

/// The channels that a robot ever sent a value of, at most [`CHANNELS_MAX`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Channels {
    slots: Vec<Channel>,
    /// Whether an agent tells of itself in the channel of each slot.
    of_agent: Vec<bool>,
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

/// What is known of clocks when a batch is folded in, and of which time it is wanted.
#[derive(Clone, Copy)]
pub(super) struct Clocks<'a> {
    pub(super) anchors: &'a Anchors,
    /// Later samples are left out; `None` takes all.
    pub(super) until: Option<WallTime>,
}

/// What the columns of a group share: its newest row of each kind of stamp, and its newest distinct times.
struct GroupTimes {
    /// A row that an input stamped and one that the agent stamped, if there are both.
    newest: [Option<NewestRow>; 2],
    recent: RecentTimes,
    /// How many rows were looked at.
    rows: usize,
}

/// A row that is the newest of its kind.
#[derive(Clone, Copy)]
struct NewestRow {
    stamp: Stamp,
    rank: i64,
    /// Its place in the group.
    at: usize,
}

/// Four full schemas. A robot that names channels without end keeps its first ones; the rest is counted.
const CHANNELS_MAX: usize = 4 * muster_protocol::limits::SCHEMA_CHANNELS_MAX;

/// Most schemas whose slots are remembered. Batches in flight refer to a few at most.
const SCHEMAS_MAX: usize = 8;

impl Channels {
    /// Folds in a batch, or of it what is known to be of `until` or earlier.
    pub(super) fn apply(
        &mut self,
        head: &NumberedHead,
        origin: &Origin,
        (batch, schema): (&DecodedBatch, &Schema),
        Clocks { anchors, until }: Clocks<'_>,
    ) {
        let mut slots = self.by_schema.remove(&schema.hash()).unwrap_or_default();
        slots.resize(schema.channels().len(), None);
        for group in &batch.groups {
            let is_in_time = |at: usize| {
                until
                    .is_none_or(|until| happened(group.t[at], group.stamped_by[at], origin, anchors) <= until)
            };
            let times = GroupTimes::of(group, origin, is_in_time);
            for newest in times.newest.iter().flatten() {
                let (at, row) = (newest.at, group.row[newest.at]);
                for (field, column) in (0..).zip(&group.columns) {
                    let index = column.channel as usize;
                    let value = column.data.get(at).expect("a column has a value for each row of its group");
                    let candidate = Candidate {
                        rank: Rank::new(newest.stamp, newest.rank, head, (row, field)),
                        t: group.t[at],
                        stamped_by: group.stamped_by[at],
                        value,
                        definition: &schema.channels()[index],
                        origin,
                    };
                    if let Some(channel) = self.channel(&mut slots[index], &candidate) {
                        channel.offer(&candidate, anchors);
                    }
                }
            }
            for column in &group.columns {
                let samples = times.rows as u64;
                match slots[column.channel as usize] {
                    Some(slot) => self.slots[slot].count(&times.recent, samples),
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

    /// Returns the channels that tell of the robot and not of its agent, in no order, which is quicker.
    pub(super) fn of_robot(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().zip(&self.of_agent).filter(|(_, of_agent)| !**of_agent).map(|(channel, _)| channel)
    }

    /// Returns the channel of this name.
    pub(super) fn find(&self, name: &str) -> Option<&Channel> {
        self.by_name.get(name).map(|&slot| &self.slots[slot])
    }

    /// Returns the channels into which an object or an array of this name was flattened: of `pose` those that begin
    /// with `pose.` or `pose[`.
    pub(super) fn group<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Channel> {
        ['.', '['].into_iter().flat_map(move |separator| {
            let beginning = format!("{name}{separator}");
            let from = (Bound::Included(beginning.as_str()), Bound::Unbounded);
            let range = self.by_name.range::<str, _>(from);
            range
                .take_while(move |(name, _)| name.as_str().starts_with(&beginning))
                .map(|(_, &slot)| &self.slots[slot])
                .collect::<Vec<_>>()
        })
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
            self.of_agent.push(candidate.definition.name.is_of_agent());
        }
        slot.map(|slot| &mut self.slots[slot])
    }
}

impl GroupTimes {
    /// Looks at the times of those rows of a group that are taken.
    fn of(group: &Group, origin: &Origin, takes: impl Fn(usize) -> bool + Copy) -> Self {
        let rows = (0..group.t.len()).filter(move |at| takes(*at));
        let mut newest: [Option<NewestRow>; 2] = [None; 2];
        let mut count = 0;
        for at in rows.clone() {
            count += 1;
            let (t, stamped_by) = (group.t[at], group.stamped_by[at]);
            let stamp = Stamp::of(stamped_by, &origin.clock);
            let row = NewestRow { stamp, rank: stamp.rank_of(t, origin), at };
            let of_kind = &mut newest[usize::from(stamp == Stamp::Clock)];
            // Of equal times the last wins: row numbers ascend in a group.
            if of_kind.is_none_or(|best| row.rank >= best.rank) {
                *of_kind = Some(row);
            }
        }
        let times = rows.map(|at| effective(group.t[at], origin.received_at).0);
        Self { newest, recent: RecentTimes::of(times), rows: count }
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
        let of_agent = names.iter().map(ChannelName::is_of_agent).collect();
        let by_name = names.into_iter().zip(0..).collect();
        Self { slots, of_agent, by_name, by_schema: HashMap::new(), untracked: stored.untracked }
    }
}

impl Serialize for Channels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Storing { channels: self.iter().collect(), untracked: self.untracked }.serialize(serializer)
    }
}
