//! `spool check|list|cat` as an operator runs them: what they print, and their exit codes, on which scripts rely.
#![expect(clippy::unwrap_used, reason = "a test that cannot be prepared fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use muster_agent::spool::{Entry, RealDisk, Spool, SpoolConfig};
use muster_protocol::{
    batch::BatchBuilder,
    id::{ChannelName, Lane},
    message::Clock,
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::{MonoTime, WallTime},
};
use tempfile::TempDir;

/// Every way to look into a spool.
const VIEWS: [&[&str]; 6] = [
    &["check"],
    &["check", "-o", "json"],
    &["list"],
    &["list", "--records"],
    &["list", "-o", "json"],
    &["cat"],
];

const BATCHES: i64 = 40;

fn spool(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-agent"));
    command.env_clear().arg("spool").args(args).arg(dir).output().unwrap()
}

/// Returns the exit code and what was said, on either stream.
fn said(args: &[&str], dir: &Path) -> (Option<i32>, String) {
    let output = spool(args, dir);
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn open(dir: &Path) -> Spool {
    let robot = "fleet/robot".parse().unwrap();
    let config = SpoolConfig { limit_bytes: 8 << 20, segment_bytes: 1 << 20, robot };
    Spool::open(Arc::new(RealDisk::new(dir)), config, 7).unwrap().0
}

/// A folder with a spool of batches of one sample, which no agent has open.
fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let schema = Arc::new(Schema::new(vec![ChannelDef::named(ChannelName::new("n").unwrap())]).unwrap());
    let clock = Clock { boot: 1, mono: MonoTime(1), wall: WallTime(2), synchronised: true };
    for t in 0..BATCHES {
        let mut builder = BatchBuilder::new();
        builder.push_row(WallTime(t), StampedBy::Input, &[(0, Value::Int(t))]).unwrap();
        let encoded = builder.finish(&schema, clock).remove(0);
        let (samples, t_min, t_max) = (encoded.info.samples, encoded.info.t_min, encoded.info.t_max);
        let schema = Arc::clone(&schema);
        spool
            .append(Lane::Live, &Entry::Batch { bytes: encoded.bytes, samples, t_min, t_max, schema })
            .unwrap();
    }
    spool.sync().unwrap();
    spool.close().unwrap();
    dir
}

/// Flips a bit in the middle of the records.
fn spoil(dir: &Path) {
    let segments = fs::read_dir(dir.join("live")).unwrap().map(|entry| entry.unwrap().path());
    let path: PathBuf = segments.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_spool_ends_with_zero() {
    let dir = filled();
    for view in VIEWS {
        let (code, text) = said(view, dir.path());
        assert_eq!(code, Some(0), "{view:?}: {text}");
    }
    assert!(said(&["check"], dir.path()).1.ends_with("\nwhole\n"));
    let samples = String::from_utf8(spool(&["cat"], dir.path()).stdout).unwrap();
    assert_eq!(samples.lines().last(), Some(r#"{"t":39,"ch":"n","v":39}"#));
    assert_eq!(samples.lines().count(), 40);
}

#[test]
fn a_damaged_spool_ends_with_three_before_and_after_it_is_repaired() {
    let dir = filled();
    spoil(dir.path());
    for view in VIEWS {
        let (code, text) = said(view, dir.path());
        assert_eq!(code, Some(3), "{view:?}: {text}");
    }
    let whole = String::from_utf8(spool(&["cat"], dir.path()).stdout).unwrap();
    assert_eq!(whole.lines().count(), 39, "what is whole is printed");
    let (code, text) = said(&["check", "--repair"], dir.path());
    assert!(code == Some(3) && text.contains("recorded 1 damaged batches as lost, 1 samples"), "{text}");
    let (code, text) = said(&["check"], dir.path());
    assert!(code == Some(3) && text.contains("lost (corrupt): 1 samples"), "lost is lost: {text}");
}

#[test]
fn a_spool_in_use_and_what_is_none_end_with_one_and_a_sentence() {
    let dir = filled();
    let held = open(dir.path());
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("holiday.jpg"), "no spool").unwrap();
    let absent = foreign.path().join("absent");
    for (dir, why) in
        [(dir.path(), "in use"), (foreign.path(), "holds no spool"), (&absent, "holds no spool")]
    {
        for view in VIEWS.into_iter().chain([&["check", "--repair"][..]]) {
            let (code, text) = said(view, dir);
            assert!(code == Some(1) && text.contains(why), "{view:?}: {code:?}: {text}");
            assert!(text.starts_with("muster-agent: ") && text.lines().count() == 1, "{text}");
        }
    }
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1, "a folder that is no spool stays as it is");
    drop(held);
    assert_eq!(said(&["check"], dir.path()).0, Some(0));
}

#[test]
fn wrong_usage_ends_with_two() {
    for args in [&["check"][..], &["chek", "."], &["list", "-o", "xml", "."], &[]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_muster-agent")).arg("spool").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
