//! Records for tests of what is folded from them, and of what is asked of that.

use std::sync::Arc;

use bytes::Bytes;
use muster_protocol::{
    batch::{self, BatchBuilder, BatchInfo, Column, DecodedBatch, Group},
    column::ColumnData,
    id::{ChannelName, Epoch, InstanceId, Lane, Offset, RobotId, Seq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::{MonoTime, WallTime},
};

use super::{Fleet, LiveLink};
use crate::record::{Body, Envelope, SessionEvent, Transport};

pub(crate) const NOW: i64 = 1_800_000_000_000_000_000;
pub(crate) const MS: i64 = 1_000_000;
pub(crate) const S: i64 = 1_000 * MS;

/// A record with its decoded batch, if it is one.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) offset: Offset,
    pub(crate) envelope: Envelope,
    pub(crate) batch: Option<(DecodedBatch, Arc<Schema>)>,
}

impl Record {
    pub(crate) fn apply_to(&self, fleet: &Fleet) -> bool {
        fleet.apply(
            self.offset,
            &self.envelope,
            self.batch.as_ref().map(|(batch, schema)| (batch, &**schema)),
        )
    }
}

pub(crate) fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Fleet {
    let fleet = Fleet::default();
    for record in records {
        record.apply_to(&fleet);
    }
    fleet
}

pub(crate) fn robot(number: u64) -> RobotId {
    format!("f/r{number}").parse().unwrap()
}

pub(crate) fn clock(boot: u64, wall: i64) -> Clock {
    Clock {
        boot,
        mono: MonoTime(u64::try_from(wall.rem_euclid(100 * S)).unwrap()),
        wall: WallTime(wall),
        synchronised: true,
    }
}

pub(crate) fn schema(channels: &[(&str, Option<u64>, bool)]) -> Arc<Schema> {
    let define = |&(name, interval_ns, on_change): &(&str, Option<u64>, bool)| ChannelDef {
        interval_ns,
        on_change,
        ..ChannelDef::named(ChannelName::new(name).unwrap())
    };
    Arc::new(Schema::new(channels.iter().map(define).collect()).unwrap())
}

/// A batch of one group: rows of (t, value), the same value in each of the channels.
pub(crate) fn int_batch(
    schema: &Schema,
    channels: &[u32],
    rows: &[(i64, i64)],
    clock: Clock,
) -> DecodedBatch {
    let count = u32::try_from(rows.len()).unwrap();
    let t: Vec<WallTime> = rows.iter().map(|&(t, _)| WallTime(t)).collect();
    let column = |&channel: &u32| Column {
        channel,
        data: ColumnData::Int(rows.iter().map(|&(_, value)| value).collect()),
    };
    let info = BatchInfo {
        schema: schema.hash(),
        rows: count,
        samples: count * u32::try_from(channels.len()).unwrap(),
        t_min: t.iter().copied().min().unwrap(),
        t_max: t.iter().copied().max().unwrap(),
        clock,
    };
    let stamped_by = vec![StampedBy::Input; rows.len()];
    let columns = channels.iter().map(column).collect();
    let group = Group { t, stamped_by, row: (0..count).collect(), columns };
    DecodedBatch { info, groups: vec![group], order: vec![0; rows.len()] }
}

pub(crate) fn head(start: u64, seq: u64) -> NumberedHead {
    NumberedHead { epoch: Epoch { start, random: 1 }, lane: Lane::Live, seq: Seq(seq) }
}

pub(crate) fn envelope(robot: RobotId, session: u64, received_at: i64, body: Body) -> Envelope {
    Envelope { received_at: WallTime(received_at), robot, session, body }
}

pub(crate) fn batch_record(
    offset: u64,
    head: NumberedHead,
    received_at: i64,
    batch: (DecodedBatch, Arc<Schema>),
) -> Record {
    let body = Body::Batch { head, info: batch.0.info, payload: Bytes::new() };
    Record { offset: Offset(offset), envelope: envelope(robot(1), 1, received_at, body), batch: Some(batch) }
}

pub(crate) fn up(clock: Option<Clock>, process: u8) -> Body {
    let (address, version) = ("10.0.0.5:4312".to_owned(), "0.1.0".to_owned());
    let instance = Some(InstanceId([process; 16]));
    Body::Session(SessionEvent::Up { transport: Transport::Quic, address, version, clock, instance })
}

pub(crate) fn heard(at: i64) -> LiveLink {
    LiveLink {
        last_heard: WallTime(at),
        told_at: WallTime(at),
        held: Vec::new(),
        clock: None,
        transport: Transport::Quic,
        address: "10.0.0.5:4312".to_owned(),
    }
}

/// A batch of one sample of each channel, all at `t`, received then.
pub(crate) fn row_record(offset: u64, robot: RobotId, t: i64, row: &[(&str, Value)]) -> Record {
    let names: Vec<_> = row.iter().map(|(name, _)| (*name, None, false)).collect();
    let schema = schema(&names);
    let fields: Vec<(u32, Value)> = (0..).zip(row.iter().map(|(_, value)| value.clone())).collect();
    let mut builder = BatchBuilder::new();
    builder.push_row(WallTime(t), StampedBy::Input, &fields).unwrap();
    let [encoded] = <[_; 1]>::try_from(builder.finish(&schema, clock(1, t))).unwrap();
    let decoded = batch::decode(&encoded.bytes, &schema).unwrap();
    let mut record = batch_record(offset, head(1, offset), t, (decoded, schema));
    record.envelope.robot = robot;
    record
}
