use bytes::Bytes;
use muster_protocol::{
    batch,
    id::{ChannelName, Lane, Seq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::{MonoTime, WallTime},
};

use super::*;
use crate::spool::{Entry, Spool, SpoolConfig, fake_disk::FakeDisk};

const CLOCK: Clock = Clock { boot: 1, mono: MonoTime(1), wall: WallTime(2), synchronised: true };

fn open(disk: &FakeDisk) -> Spool {
    let robot = "fleet/robot".parse().unwrap();
    let config = SpoolConfig { limit_bytes: 1024 * 1024, segment_bytes: 64 * 1024, robot };
    Spool::open(Arc::new(disk.clone()), config, 7).unwrap().0
}

/// A batch of three rows from `t` on: an integer, a float and a text.
fn entry(t: i64) -> Entry {
    let name = |name| ChannelName::new(name).unwrap();
    let defs = vec![
        ChannelDef::named(name("n")),
        ChannelDef { unit: Some("V".to_owned()), ..ChannelDef::named(name("volt")) },
    ];
    let schema = Schema::new(defs).unwrap();
    let mut builder = batch::BatchBuilder::new();
    for (at, value) in (t..).zip([Value::Int(t), Value::Float(0.5), Value::Float(f64::NAN)]) {
        let channel = u32::from(at > t);
        builder.push_row(WallTime(at), StampedBy::Input, &[(channel, value)]).unwrap();
    }
    let encoded = builder.finish(&schema, CLOCK).into_iter().next().unwrap();
    let info = encoded.info;
    let (samples, t_min, t_max) = (info.samples, info.t_min, info.t_max);
    Entry::Batch { bytes: encoded.bytes, samples, t_min, t_max, schema: Arc::new(schema) }
}

fn filled() -> FakeDisk {
    let disk = FakeDisk::new();
    let mut spool = open(&disk);
    for t in 1..=4 {
        spool.append(Lane::Live, &entry(t * 10)).unwrap();
        spool.sync().unwrap();
    }
    spool.append(Lane::Bulk, &entry(100)).unwrap();
    spool.sync().unwrap();
    drop(spool);
    disk.kill();
    disk
}

fn printed(disk: &FakeDisk, view: View, repair: bool) -> (Finding, String) {
    let mut out = Vec::new();
    let inspection = Inspection { view, folder: PathBuf::new(), repair };
    let before = disk.files();
    let finding = inspect(&inspection, Arc::new(disk.clone()), &mut out).unwrap();
    assert!(repair || before == disk.files(), "nothing is touched without being told to");
    (finding, String::from_utf8(out).unwrap())
}

fn live(disk: &FakeDisk) -> String {
    disk.files().into_keys().find(|path| path.starts_with("live/")).unwrap()
}

/// Flips a bit in the body of the second live batch.
fn spoil(disk: &FakeDisk) {
    let spool = open(disk);
    let epoch = spool.spans()[0].epoch;
    let stored = spool.reader().read(NumberedHead { epoch, lane: Lane::Live, seq: Seq(2) }).unwrap().unwrap();
    drop(spool);
    disk.kill();
    let payload: Bytes = stored.payload;
    let bytes = disk.files()[&live(disk)].clone();
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    disk.flip_bit(&live(disk), (at + payload.len() / 2) * 8);
}

#[test]
fn a_whole_spool_is_summed_up_listed_and_printed() {
    let disk = filled();
    let (finding, text) = printed(&disk, View::Check(Form::Table), false);
    assert_eq!(finding, Finding::Whole, "{text}");
    assert!(text.contains("of fleet/robot, start 1") && text.contains("4 batches, 12 samples"), "{text}");
    assert!(text.ends_with("\nwhole\n"), "{text}");
    let (_, json) = printed(&disk, View::Check(Form::Json), false);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["segments"], &json["lanes"][0]["samples"]), (&2.into(), &12.into()));
    let (_, lines) = printed(&disk, View::List(Form::Json, Each::Segment), false);
    assert_eq!(lines.lines().count(), 2);
    let (_, lines) = printed(&disk, View::List(Form::Table, Each::Record), false);
    assert_eq!(lines.lines().count(), 1 + 5);
    let (_, samples) = printed(&disk, View::Cat, false);
    let lines: Vec<&str> = samples.lines().collect();
    assert_eq!(lines.len(), 15);
    assert_eq!(lines[0], r#"{"t":10,"ch":"n","v":10}"#);
    assert_eq!(lines[1], r#"{"t":11,"ch":"volt","v":0.5,"unit":"V"}"#);
    assert_eq!(lines[2], r#"{"t":12,"ch":"volt","v":null,"f":"NaN","unit":"V"}"#);
    assert!(lines[12].contains(r#""lane":"bulk""#), "{}", lines[12]);
}

#[test]
fn damage_is_found_named_and_only_repaired_when_told_to() {
    for sealed in [false, true] {
        let disk = filled();
        if sealed {
            open(&disk).close().unwrap();
            disk.kill();
        }
        spoil(&disk);
        let (finding, text) = printed(&disk, View::Check(Form::Table), false);
        assert_eq!(finding, Finding::Damaged, "{text}");
        assert!(text.contains("record 2 is damaged; 3 samples"), "{text}");
        let (_, samples) = printed(&disk, View::Cat, false);
        assert_eq!(samples.lines().count(), 12, "what is whole is printed");
        let (finding, text) = printed(&disk, View::Check(Form::Table), true);
        assert_eq!(finding, Finding::Damaged, "lost is lost: {text}");
        assert!(text.contains("recorded 1 damaged batches as lost, 3 samples"), "{text}");
        assert!(text.contains("lost (corrupt): 3 samples"), "{text}");
        let (_, again) = printed(&disk, View::Check(Form::Table), true);
        assert!(again.contains("recorded 0 damaged batches"), "told once: {again}");
        assert!(!again.contains("damaged:"), "{again}");
    }
}

#[test]
fn each_flipped_bit_is_noticed() {
    let disk = filled();
    open(&disk).close().unwrap();
    disk.kill();
    let path = live(&disk);
    let bytes = disk.files()[&path].clone();
    for bit in (0..bytes.len() * 8).step_by(11) {
        let disk = FakeDisk::new();
        disk.put(&path, &bytes);
        disk.flip_bit(&path, bit);
        let (finding, text) = printed(&disk, View::Check(Form::Table), false);
        let newer = (bit / 8).checked_sub(4).is_some_and(|at| at < 4);
        assert!(finding == Finding::Damaged || newer || text.contains("not sealed"), "bit {bit}: {text}");
    }
}

#[test]
fn a_torn_tail_is_shown_and_is_no_damage() {
    let disk = filled();
    let mut bytes = disk.files()[&live(&disk)].clone();
    bytes.extend_from_slice(&[1; 50]);
    disk.put(&live(&disk), &bytes);
    let (finding, text) = printed(&disk, View::Check(Form::Table), false);
    assert_eq!(finding, Finding::Whole, "{text}");
    assert!(text.contains("torn: 50 bytes"), "{text}");
    let (_, text) = printed(&disk, View::Check(Form::Table), true);
    assert!(text.contains("cut 50 torn bytes"), "{text}");
    assert!(!printed(&disk, View::Check(Form::Table), false).1.contains("torn"));
}

#[test]
fn a_spool_in_use_and_a_folder_without_one_are_refused() {
    let disk = filled();
    let _spool = open(&disk);
    disk.put("LOCK", &[]);
    for view in [View::Check(Form::Table), View::Cat] {
        let inspection = Inspection { view, folder: PathBuf::new(), repair: true };
        let error = inspect(&inspection, Arc::new(disk.clone()), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, Failure::Read(InspectError::InUse { .. })), "{error}");
    }
    let inspection = Inspection { view: View::Cat, folder: PathBuf::new(), repair: false };
    let error = inspect(&inspection, Arc::new(FakeDisk::new()), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Failure::Read(InspectError::NotASpool { .. })), "{error}");
}
