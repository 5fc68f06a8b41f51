//! The channels of one robot: finds the channel of each column, and folds batches in column by column.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use muster_protocol::{
    batch::{DecodedBatch, Group},
    id::ChannelName,
    message::NumberedHead,
    schema::Schema,
    time::WallTime,
};

use super::{
    acceptance::Anchors,
    channel::{BadImage, Candidate, Channel, ChannelsImage, Judge, Origin, Rank, Stamp, effective, happened},
    layout::Layout,
    recent::RecentTimes,
};

/// The channels that a robot ever sent a value of, at most [`CHANNELS_MAX`].
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "ChannelsImage<'static>")]
pub(super) struct Channels {
    layout: Arc<Layout>,
    /// The channel of each name of the layout.
    held: Vec<Channel>,
    /// Samples of channels beyond [`CHANNELS_MAX`]: in the log, but not in the state.
    untracked: u64,
}

/// Where a channel stands in a layout, if it is in it.
#[derive(Debug)]
pub struct Place {
    layout: Arc<Layout>,
    place: Option<usize>,
}

/// What is known of clocks when a batch is folded in, and of which time it is wanted.
#[derive(Clone, Copy)]
pub(super) struct Clocks<'a> {
    pub(super) anchors: &'a Anchors,
    /// Later samples are left out; `None` takes all.
    pub(super) until: Option<WallTime>,
}

/// A batch that is being folded in.
struct Folding<'a> {
    head: &'a NumberedHead,
    origin: &'a Arc<Origin>,
    schema: &'a Schema,
    anchors: &'a Anchors,
    /// The place of each channel of the schema, as far as it had one before the batch.
    places: Arc<[Option<u32>]>,
    /// Channels of which the batch has the first values, by their index in the schema.
    first: HashMap<u32, Channel>,
}

/// What the columns of a group share: its newest row of each kind of stamp, and its newest distinct times.
struct GroupTimes {
    /// A row that an input stamped and one that the agent stamped, if there are both.
    newest: [Option<NewestRow>; 2],
    recent: Arc<RecentTimes>,
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

/// Channels that are sampled together have the same recent times: what the last of them came to is remembered.
struct Merging<'a> {
    added: &'a Arc<RecentTimes>,
    last: Option<(Arc<RecentTimes>, Arc<RecentTimes>)>,
}

/// Four full schemas. A robot that names channels without end keeps its first ones; the rest is counted.
pub(super) const CHANNELS_MAX: usize = 4 * muster_protocol::limits::SCHEMA_CHANNELS_MAX;

impl Channels {
    /// Folds in a batch, or of it what is known to be of `until` or earlier.
    pub(super) fn apply(
        &mut self,
        head: &NumberedHead,
        origin: &Arc<Origin>,
        (batch, schema): (&DecodedBatch, &Schema),
        Clocks { anchors, until }: Clocks<'_>,
    ) {
        let (places, first) = (self.layout.places(schema), HashMap::new());
        let mut folding = Folding { head, origin, schema, anchors, places, first };
        let judge = Judge::new(anchors);
        for group in &batch.groups {
            let is_in_time = |at: usize| {
                until.is_none_or(|until| happened(group.t[at], group.stamped_by[at], origin, &judge) <= until)
            };
            let times = GroupTimes::of(group, origin, is_in_time);
            if times.rows > 0 {
                self.fold(&mut folding, group, &times);
            }
        }
        if !folding.first.is_empty() {
            let named =
                |(index, channel): (u32, _)| (schema.channels()[index as usize].name.clone(), channel);
            self.add(folding.first.into_iter().map(named).collect());
        }
    }

    /// Folds in the columns of a group.
    fn fold(&mut self, folding: &mut Folding<'_>, group: &Group, times: &GroupTimes) {
        let mut merging = Merging { added: &times.recent, last: None };
        for (field, column) in (0..).zip(&group.columns) {
            let index = column.channel;
            let definition = &folding.schema.channels()[index as usize];
            let candidates = times.newest.iter().flatten().map(|newest| {
                let at = newest.at;
                Candidate {
                    rank: Rank::new(newest.stamp, newest.rank, folding.head, (group.row[at], field)),
                    t: group.t[at],
                    stamped_by: group.stamped_by[at],
                    value: column.data.get(at).expect("a column has a value for each row of its group"),
                    definition,
                    origin: folding.origin,
                }
            });
            let has_room = self.held.len() + folding.first.len() < CHANNELS_MAX;
            let held = match folding.places[index as usize] {
                Some(place) => Some(&mut self.held[place as usize]),
                None => folding.first.get_mut(&index),
            };
            if let Some(channel) = held {
                candidates.for_each(|candidate| channel.offer(&candidate, folding.anchors));
                channel.count(times.rows as u64, |recent| merging.of(recent));
            } else if has_room {
                let mut candidates = candidates;
                let newest = candidates.next().expect("a group with rows has a newest one");
                let mut channel = Channel::new(&newest, times.recent.clone(), times.rows as u64);
                candidates.for_each(|candidate| channel.offer(&candidate, folding.anchors));
                folding.first.insert(index, channel);
            } else {
                self.untracked += times.rows as u64;
            }
        }
    }

    /// Returns the channels by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ChannelName, &Channel)> {
        self.layout.names().iter().zip(&self.held)
    }

    /// Returns the channels that tell of the robot and not of its agent.
    pub(super) fn of_robot(&self) -> impl Iterator<Item = &Channel> {
        let of_agent = self.layout.of_agent();
        self.held[..of_agent.start].iter().chain(&self.held[of_agent.end..])
    }

    /// Returns the channel of this name.
    pub(super) fn find(&self, name: &str) -> Option<&Channel> {
        self.layout.find(name).map(|place| &self.held[place])
    }

    /// Returns the channel of this name, and remembers its place for the next robot, which mostly has the same layout.
    pub(super) fn find_by(&self, name: &str, last: &mut Option<Place>) -> Option<&Channel> {
        let place = match last {
            Some(last) if Arc::ptr_eq(&last.layout, &self.layout) => last.place,
            _ => {
                let place = self.layout.find(name);
                *last = Some(Place { layout: self.layout.clone(), place });
                place
            }
        };
        place.map(|place| &self.held[place])
    }

    /// Returns the channels into which an object or an array of this name was flattened: of `pose` those that begin
    /// with `pose.` or `pose[`.
    pub(super) fn group(&self, name: &str) -> impl Iterator<Item = &Channel> {
        self.layout.group(name).map(|place| &self.held[place])
    }

    /// Returns how many channels there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Returns how many samples belong to channels that are not kept.
    pub(super) fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Starts with these, whose names are distinct and in any order.
    pub(super) fn new(mut channels: Vec<(ChannelName, Channel)>, untracked: u64) -> Self {
        channels.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (names, held): (Vec<_>, _) = channels.into_iter().unzip();
        Self { layout: Layout::of(&names), held, untracked }
    }

    /// Adds channels that are new.
    fn add(&mut self, mut added: Vec<(ChannelName, Channel)>) {
        added.extend(self.layout.names().iter().cloned().zip(std::mem::take(&mut self.held)));
        *self = Self::new(added, self.untracked);
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
        Self { newest, recent: Arc::new(RecentTimes::of(times)), rows: count }
    }
}

impl Merging<'_> {
    /// Returns what a channel's recent times become.
    fn of(&mut self, before: &Arc<RecentTimes>) -> Arc<RecentTimes> {
        if let Some((last, became)) = &self.last
            && Arc::ptr_eq(last, before)
        {
            return became.clone();
        }
        let became = Arc::new(before.merged(self.added));
        self.last = Some((before.clone(), became.clone()));
        became
    }
}

impl Default for Channels {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl PartialEq for Channels {
    fn eq(&self, other: &Self) -> bool {
        self.untracked == other.untracked && self.iter().eq(other.iter())
    }
}

impl TryFrom<ChannelsImage<'_>> for Channels {
    type Error = BadImage;

    fn try_from(image: ChannelsImage<'_>) -> Result<Self, BadImage> {
        let (channels, untracked) = image.read()?;
        Ok(Self::new(channels, untracked))
    }
}

impl Serialize for Channels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ChannelsImage::of(self.iter(), self.untracked).serialize(serializer)
    }
}
