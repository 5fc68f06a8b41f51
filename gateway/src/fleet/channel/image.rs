//! The channels of a robot as a checkpoint holds them. What several have in common is written once, and is one in memory
//! again when it is read.

use std::{borrow::Cow, collections::HashMap, hash::Hash, sync::Arc};

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::ChannelName,
    sample::{StampedBy, Value},
    time::WallTime,
};

use super::{Channel, Newest, Origin, Rank};
use crate::fleet::recent::RecentTimes;

/// All channels of a robot.
#[derive(Serialize, Deserialize)]
pub(in crate::fleet) struct ChannelsImage<'a> {
    origins: Vec<Cow<'a, Origin>>,
    recents: Vec<Cow<'a, RecentTimes>>,
    channels: Vec<(ChannelName, ChannelImage<'a>)>,
    untracked: u64,
}

#[derive(Serialize, Deserialize)]
struct ChannelImage<'a> {
    newest: Vec<NewestImage<'a>>,
    recent: u32,
    samples: u64,
}

#[derive(Serialize, Deserialize)]
struct NewestImage<'a> {
    rank: Rank,
    t: WallTime,
    value: Cow<'a, Value>,
    stamped_by: StampedBy,
    unit: Option<Cow<'a, str>>,
    interval_ns: Option<u64>,
    on_change: bool,
    origin: u32,
}

/// Why an image is none of a robot's channels.
#[derive(Debug, thiserror::Error)]
pub(in crate::fleet) enum BadImage {
    #[error("a channel refers to what is not there")]
    Dangling,
    #[error("a channel has no value")]
    NoValue,
    #[error("the channels are not in the order of their names")]
    Disorder,
}

/// Values that are written once, in the order of their first use: equal states have equal images.
struct Table<'a, T> {
    values: Vec<&'a T>,
    places: HashMap<&'a T, u32>,
    last: Option<(&'a Arc<T>, u32)>,
}

impl<'a> ChannelsImage<'a> {
    /// Shows channels, which come by name.
    pub(in crate::fleet) fn of(
        channels: impl Iterator<Item = (&'a ChannelName, &'a Channel)>,
        untracked: u64,
    ) -> Self {
        let (mut origins, mut recents) = (Table::new(), Table::new());
        let image = |(name, channel): (&ChannelName, &'a Channel)| {
            let newest = channel.kinds().map(|newest| newest.image(&mut origins)).collect();
            let recent = recents.place(&channel.recent);
            (name.clone(), ChannelImage { newest, recent, samples: channel.samples })
        };
        let channels = channels.map(image).collect();
        let (origins, recents) = (origins.written(), recents.written());
        Self { origins, recents, channels, untracked }
    }

    /// Returns the channels by name, and how many samples are of others.
    pub(in crate::fleet) fn read(self) -> Result<(Vec<(ChannelName, Channel)>, u64), BadImage> {
        if !self.channels.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(BadImage::Disorder);
        }
        let origins: Vec<_> = self.origins.into_iter().map(|origin| Arc::new(origin.into_owned())).collect();
        let recents: Vec<_> = self.recents.into_iter().map(|recent| Arc::new(recent.into_owned())).collect();
        let read = |(name, image): (ChannelName, ChannelImage<'_>)| {
            let recent = recents.get(image.recent as usize).ok_or(BadImage::Dangling)?.clone();
            let newest = image.newest.into_iter().map(|newest| newest.read(&origins));
            let mut newest = newest.collect::<Result<Vec<_>, _>>()?;
            let others = newest.split_off(newest.len().min(1)).into();
            let first = newest.pop().ok_or(BadImage::NoValue)?;
            Ok((name, Channel { first, others, recent, samples: image.samples }))
        };
        let channels = self.channels.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok((channels, self.untracked))
    }
}

impl Newest {
    fn image<'a>(&'a self, origins: &mut Table<'a, Origin>) -> NewestImage<'a> {
        NewestImage {
            rank: self.rank,
            t: self.t,
            value: Cow::Borrowed(&self.value),
            stamped_by: self.stamped_by,
            unit: self.unit.as_deref().map(Cow::Borrowed),
            interval_ns: self.interval_ns,
            on_change: self.on_change,
            origin: origins.place(&self.origin),
        }
    }
}

impl NewestImage<'_> {
    fn read(self, origins: &[Arc<Origin>]) -> Result<Newest, BadImage> {
        Ok(Newest {
            rank: self.rank,
            t: self.t,
            value: self.value.into_owned(),
            stamped_by: self.stamped_by,
            unit: self.unit.map(Into::into),
            interval_ns: self.interval_ns,
            on_change: self.on_change,
            origin: origins.get(self.origin as usize).ok_or(BadImage::Dangling)?.clone(),
        })
    }
}

impl<'a, T: Clone + Eq + Hash> Table<'a, T> {
    fn new() -> Self {
        Self { values: Vec::new(), places: HashMap::new(), last: None }
    }

    fn place(&mut self, value: &'a Arc<T>) -> u32 {
        if let Some((last, place)) = self.last
            && Arc::ptr_eq(last, value)
        {
            return place;
        }
        let next = u32::try_from(self.values.len()).expect("channels are fewer");
        let place = *self.places.entry(value).or_insert(next);
        if place == next {
            self.values.push(value);
        }
        self.last = Some((value, place));
        place
    }

    fn written(self) -> Vec<Cow<'a, T>> {
        self.values.into_iter().map(Cow::Borrowed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::rehearsal::*;

    fn image() -> ChannelsImage<'static> {
        let schema = schema(&[("a", None, false), ("b", None, false)]);
        let batch = int_batch(&schema, &[0, 1], &[(NOW, 1), (NOW + 1, 2)], clock(1, NOW));
        let fleet = fold(&[batch_record(1, head(1, 1), NOW, (batch, schema))]);
        let state = fleet.robot(&robot(1)).unwrap();
        let bytes = postcard::to_stdvec(&state.read().unwrap().channels).unwrap();
        postcard::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn what_channels_share_is_written_once_and_shared_again() {
        let image = image();
        assert_eq!((image.origins.len(), image.recents.len(), image.channels.len()), (1, 1, 2));
        let (channels, _) = image.read().unwrap();
        let [(_, a), (_, b)] = &channels[..] else { panic!("two channels") };
        assert!(Arc::ptr_eq(&a.recent, &b.recent) && Arc::ptr_eq(&a.first.origin, &b.first.origin));
    }

    #[test]
    fn an_image_that_does_not_hold_together_is_refused() {
        let broken: [fn(&mut ChannelsImage<'_>); 5] = [
            |image| image.origins.clear(),
            |image| image.channels[1].1.recent = 1,
            |image| image.channels[1].1.newest.clear(),
            |image| image.channels.swap(0, 1),
            |image| image.channels[1].0 = image.channels[0].0.clone(),
        ];
        for spoil in broken {
            let mut image = image();
            spoil(&mut image);
            assert!(image.read().is_err());
        }
    }
}
