use bytes::Bytes;
use muster_protocol::{
    batch::{BatchBuilder, EncodedBatch},
    id::{ChannelName, Epoch, Lane, SchemaHash, Seq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::MonoTime,
};

use super::*;
use crate::store::{Checkpoint, Committed};

fn schema_of(channels: usize) -> Arc<Schema> {
    let named = |number| ChannelDef::named(ChannelName::new(&format!("motor[{number}].current")).unwrap());
    Arc::new(Schema::new((0..channels).map(named).collect()).unwrap())
}

fn batch(schema: &Schema, seq: u64) -> Envelope {
    let clock = Clock { boot: 1, mono: MonoTime(1), wall: WallTime(1), synchronised: true };
    let mut builder = BatchBuilder::new();
    for row in 0..3 {
        let t = WallTime(i64::try_from(seq).unwrap() * 10 + row);
        builder.push_row(t, StampedBy::Input, &[(0, Value::Int(row)), (1, Value::Float(0.5))]).unwrap();
    }
    let EncodedBatch { bytes: payload, info, .. } = builder.finish(schema, clock).pop().unwrap();
    let head = NumberedHead { epoch: Epoch { start: 1, random: 2 }, lane: Lane::Live, seq: Seq(seq) };
    let body = Body::Batch { head, info, payload };
    Envelope { received_at: WallTime(0), robot: robot(1), session: 1, body }
}

fn append_batch(
    store: &mut Store,
    seq: u64,
    schema: &Schema,
    given: bool,
) -> Result<Vec<Committed>, StoreError> {
    let given: Option<(SchemaHash, Bytes)> = given.then(|| (schema.hash(), schema.encoded().clone()));
    store.append(&[Encoded::new(&batch(schema, seq), given)])
}

#[test]
fn every_partition_holds_the_schemas_that_it_uses() {
    let root = folder();
    let config = StoreConfig { retention_bytes: 0, partition_bytes: 4 << 10, ..small() };
    let mut opened = Store::open(root.path(), config.clone(), LOG).unwrap();
    let schema = schema_of(400);
    append_batch(&mut opened.store, 1, &schema, true).unwrap();
    for seq in 2..80 {
        append_batch(&mut opened.store, seq, &schema, false).unwrap();
    }
    let next = opened.reader.next().0;
    for at in [next - 2, next - 1] {
        opened.checkpoints.write(&Checkpoint { at: Offset(at), sections: Vec::new() }).unwrap();
    }
    append_batch(&mut opened.store, 80, &schema, false).unwrap();
    drop(opened);
    let opened = Store::open(root.path(), config, LOG).unwrap();
    assert!(opened.reader.first() > Offset(1));
    let found = opened.reader.schema(&robot(1), schema.hash()).unwrap();
    assert_eq!(found.channels(), schema.channels());
    assert!(opened.reader.schema(&robot(2), schema.hash()).is_none(), "a schema belongs to one robot");
    assert_eq!(opened.reader.status().blobs, 0);
}

#[test]
fn a_schema_of_an_old_partition_is_found_at_the_batch_that_uses_it() {
    let root = folder();
    let mut opened = open(root.path());
    let schema = schema_of(2);
    append_batch(&mut opened.store, 1, &schema, true).unwrap();
    fill(&mut opened, 4);
    let opened = reopen(opened, root.path());
    assert!(opened.reader.schema_at(Offset(1), &robot(1), schema.hash()).is_some());
    let reader = reopen(opened, root.path()).reader;
    assert!(reader.schema(&robot(1), schema.hash()).is_some());
}

#[test]
fn a_batch_without_its_schema_is_not_committed() {
    let root = folder();
    let mut opened = open(root.path());
    let refused = append_batch(&mut opened.store, 1, &schema_of(2), false).unwrap_err();
    assert!(matches!(refused, StoreError::NoSchema { .. }));
    let other = schema_of(3);
    let wrong = Encoded::new(&batch(&schema_of(2), 1), Some((other.hash(), other.encoded().clone())));
    assert!(opened.store.lacks_schema(&wrong));
    assert_eq!(opened.reader.next(), Offset(1));
}

#[test]
fn a_robot_that_sends_nothing_of_a_time_is_not_read() {
    let root = folder();
    let mut opened = open(root.path());
    let schema = schema_of(2);
    for seq in 1..30 {
        append_batch(&mut opened.store, seq, &schema, true).unwrap();
    }
    let found = |from, until| {
        let records = opened.reader.robot_records(&robot(1), WallTime(from), Some(WallTime(until)), None);
        records.map(|item| item.unwrap().0.0).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 10), [0_u64; 0]);
    assert_eq!(found(0, 11), [1]);
    assert_eq!(found(52, 61), [5, 6]);
    assert_eq!(found(53, 60), [0_u64; 0]);
}
