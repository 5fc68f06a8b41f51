//! How many encoded bytes each channel cost: what to slow down first where bytes cost money.
//!
//! Counted when a batch goes to the spool, so bytes that are never sent count too, and bytes sent twice once. Headers of
//! the network are no channel's.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use muster_protocol::{batch::EncodedBatch, schema::Schema};

use super::period::Calendar;

/// Counts by channel; shared by the recorder, which counts, and whoever asks.
#[derive(Debug, Default)]
pub struct ChannelCosts {
    inner: Mutex<Inner>,
}

/// What one channel cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The channel; empty for all that no longer fit the table.
    pub channel: String,
    /// Bytes since the agent started.
    pub bytes: u64,
    /// Bytes of this day of UTC.
    pub today: u64,
}

#[derive(Debug, Default)]
struct Inner {
    day: i64,
    channels: HashMap<String, Counts>,
    rest: Counts,
    samples: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    bytes: u64,
    today: u64,
}

/// Channels that are counted apart: those of a full schema. What comes beyond is counted together.
const CHANNELS_MAX: usize = 4096;

impl ChannelCosts {
    /// Counts a batch.
    pub fn count(&self, batch: &EncodedBatch, schema: &Schema) {
        let mut inner = self.inner();
        inner.turn_to(Calendar::Day.number(batch.info.clock.wall));
        inner.samples += u64::from(batch.info.samples);
        for column in &batch.columns {
            let name = schema.channels().get(column.channel as usize).map(|channel| channel.name.as_str());
            inner.counts(name.unwrap_or_default()).add(column.bytes.into());
        }
    }

    /// Returns how many samples were counted.
    pub fn samples(&self) -> u64 {
        self.inner().samples
    }

    /// Returns the channels that cost most today, at most so many, and all others together.
    pub fn top(&self, most: usize) -> (Vec<Cost>, Cost) {
        let inner = self.inner();
        let cost = |(name, counts): (&String, &Counts)| Cost {
            channel: name.clone(),
            bytes: counts.bytes,
            today: counts.today,
        };
        let mut all: Vec<Cost> = inner.channels.iter().map(cost).collect();
        all.sort_by(|a, b| (b.today, b.bytes, &a.channel).cmp(&(a.today, a.bytes, &b.channel)));
        let beyond = all.split_off(most.min(all.len()));
        let rest = Cost { channel: String::new(), bytes: inner.rest.bytes, today: inner.rest.today };
        let rest = beyond.iter().fold(rest, |rest, one| Cost {
            bytes: rest.bytes + one.bytes,
            today: rest.today + one.today,
            ..rest
        });
        (all, rest)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it counts")
    }
}

impl Inner {
    /// A day that the clock goes back to is not counted anew.
    fn turn_to(&mut self, day: i64) {
        if day > self.day {
            self.day = day;
            self.channels.values_mut().chain([&mut self.rest]).for_each(|counts| counts.today = 0);
        }
    }

    fn counts(&mut self, name: &str) -> &mut Counts {
        if !self.channels.contains_key(name) {
            if self.channels.len() == CHANNELS_MAX {
                return &mut self.rest;
            }
            self.channels.insert(name.to_owned(), Counts::default());
        }
        self.channels.get_mut(name).expect("it is there now")
    }
}

impl Counts {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.today += bytes;
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::{
        batch::BatchBuilder,
        message::Clock,
        sample::{StampedBy, Value},
        schema::{ChannelDef, SchemaBuilder},
        time::{MonoTime, WallTime},
    };

    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    fn count(costs: &ChannelCosts, names: &[String], day: i64) -> usize {
        let mut schema = SchemaBuilder::new();
        let fields: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let name = name.parse().unwrap();
                let def = ChannelDef { name, unit: None, interval_ns: None, on_change: false };
                let channel = schema.try_add(def).unwrap();
                let noise = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (channel, if at == 0 { Value::Int(1) } else { Value::Float(f64::from_bits(noise >> 2)) })
            })
            .collect();
        let mut batch = BatchBuilder::new();
        for row in 0..5 {
            batch.push_row(WallTime(row), StampedBy::Agent, &fields).unwrap();
        }
        let clock = Clock { boot: 1, mono: MonoTime(0), wall: WallTime(day * DAY), synchronised: false };
        let schema = schema.schema();
        batch
            .finish(&schema, clock)
            .iter()
            .map(|batch| {
                costs.count(batch, &schema);
                batch.bytes.len()
            })
            .sum()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("c{at}")).collect()
    }

    #[test]
    fn the_parts_of_the_channels_add_up_to_the_batches() {
        let costs = ChannelCosts::default();
        let whole = count(&costs, &names(10), 5) + count(&costs, &names(3), 5);
        let (top, rest) = costs.top(4);
        assert_eq!(top.len(), 4);
        let sum: u64 = top.iter().map(|cost| cost.today).sum();
        assert_eq!(sum + rest.today, whole as u64);
        assert!(top.windows(2).all(|pair| pair[0].today >= pair[1].today));
        assert!(!top.iter().any(|cost| cost.channel == "c0"), "a constant costs least: {top:?}");
    }

    #[test]
    fn a_new_day_counts_anew_and_a_step_back_does_not() {
        let costs = ChannelCosts::default();
        let first = count(&costs, &names(2), 5) as u64;
        let second = count(&costs, &names(2), 6) as u64;
        let third = count(&costs, &names(2), 5) as u64;
        let (_, all) = costs.top(0);
        assert_eq!((all.today, all.bytes), (second + third, first + second + third));
    }

    #[test]
    fn channels_beyond_the_table_are_counted_together() {
        let costs = ChannelCosts::default();
        for part in names(CHANNELS_MAX + 100).chunks(100) {
            count(&costs, part, 5);
        }
        let (top, rest) = costs.top(usize::MAX);
        assert_eq!(top.len(), CHANNELS_MAX);
        assert!(rest.bytes > 0);
    }
}
