//! Folders that the first and the second version wrote, kept in `gateway/fixtures/store-v1` and `store-v2`, their files
//! compressed. Every later version reads them: a change that cannot is a new version of the format beside these.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use flate2::read::GzDecoder;

use muster_protocol::{
    batch::{self, BatchBuilder},
    id::{ChannelName, Epoch, Lane, Seq},
    loss::{Loss, LossReason, LostSeq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::MonoTime,
};

use super::*;
use crate::store::Checkpoint;

const EPOCH: Epoch = Epoch { start: 2, random: 0x0123_4567_89ab_cdef };

fn schema() -> Schema {
    let names = ["battery.soc", "mode"].map(|name| ChannelDef::named(ChannelName::new(name).unwrap()));
    Schema::new(names.into()).unwrap()
}

fn numbered(seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane: Lane::Live, seq: Seq(seq) }
}

/// What the fixture holds: session events that fill two partitions, then a batch and a loss.
fn written() -> Vec<(Envelope, Option<Bytes>)> {
    let mut all: Vec<_> = records(1..129, 1024).into_iter().map(|record| (record, None)).collect();
    let schema = schema();
    let mut builder = BatchBuilder::new();
    for row in 0..5_i32 {
        let fields = [(0, Value::Float(0.5 + f64::from(row))), (1, Value::Text("auto".to_owned()))];
        builder.push_row(WallTime(1_000 + i64::from(row)), StampedBy::Input, &fields).unwrap();
    }
    let clock = Clock { boot: 7, mono: MonoTime(9), wall: WallTime(1_010), synchronised: true };
    let encoded = builder.finish(&schema, clock).remove(0);
    let body = Body::Batch { head: numbered(1), info: encoded.info, payload: encoded.bytes };
    let of = |body| Envelope { received_at: WallTime(2_000), robot: robot(0), session: 9, body };
    all.push((of(body), Some(schema.encoded().clone())));
    let lost = vec![LostSeq { seq: Seq(2), samples: 30 }];
    let (t_min, t_max) = (Some(WallTime(1_100)), Some(WallTime(1_200)));
    let reason = LossReason::SpoolFull;
    let loss = Loss { epoch: EPOCH, lane: Lane::Live, lost, unnumbered: 0, t_min, t_max, reason };
    all.push((of(Body::Loss { head: Some(numbered(3)), loss }), None));
    all
}

fn write(root: &Path) {
    let mut opened = open(root);
    for group in written().chunks(8) {
        let encoded: Vec<Encoded> = group
            .iter()
            .map(|(record, schema)| {
                let schema =
                    schema.clone().map(|encoded| (Schema::decode(&encoded).unwrap().hash(), encoded));
                Encoded::new(record, schema)
            })
            .collect();
        opened.store.append(&encoded).unwrap();
    }
    let sections = vec![("state".to_owned(), Bytes::from_static(b"as of the last record"))];
    let at = Offset(opened.reader.next().0 - 1);
    opened.checkpoints.write(&Checkpoint { at, sections }).unwrap();
}

fn assert_holds_what_was_written(root: &Path) {
    let opened = open(root);
    let held: Vec<Envelope> = scan(&opened.reader, Offset(1)).into_iter().map(|(_, record)| record).collect();
    let expected: Vec<Envelope> = written().into_iter().map(|(record, _)| record).collect();
    assert!(held == expected, "{} records, as they were written", held.len());
    assert!(opened.reader.status().partitions >= 2, "sealed and open partitions");
    let latest = opened.checkpoints.latest().unwrap();
    assert_eq!(latest.section("state").unwrap(), "as of the last record");
    let Body::Batch { info, payload, .. } = &held[128].body else { panic!("a batch") };
    let schema = opened.reader.schema(&robot(0), info.schema).unwrap();
    let decoded = batch::decode(payload, &schema).unwrap();
    assert_eq!(decoded.samples().count(), 10);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Unpacks `NAME.gz` files and copies the others.
fn unpack(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            unpack(&path, &to.join(name));
        } else {
            let mut bytes = Vec::new();
            GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
            fs::write(to.join(name.strip_suffix(".gz").unwrap()), bytes).unwrap();
        }
    }
}

#[test]
fn a_folder_of_an_earlier_version_is_read_and_written_on() {
    for name in ["store-v1", "store-v2"] {
        let root = folder();
        unpack(&fixture(name), root.path());
        assert_holds_what_was_written(root.path());
        let mut opened = open(root.path());
        let next = opened.reader.next();
        assert_eq!(append(&mut opened.store, &records(500..501, 10)).unwrap(), [next]);
    }
}

#[test]
fn a_folder_that_this_version_writes_holds_the_same() {
    let root = folder();
    write(root.path());
    assert_holds_what_was_written(root.path());
}
