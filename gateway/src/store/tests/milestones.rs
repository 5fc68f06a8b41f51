//! States of the fleet that are kept for questions about the past.

use bytes::Bytes;

use super::*;
use crate::store::Checkpoint;

/// Keeps a state of so many bytes that includes everything, made at a time.
fn keep(opened: &Opened, made: i64, bytes: usize) {
    let at = Offset(opened.reader.next().0 - 1);
    opened.checkpoints.keep_milestone(at, WallTime(made), &Bytes::from(vec![7; bytes])).unwrap();
}

fn found(opened: &Opened, by: i64) -> Option<usize> {
    opened.reader.milestone(WallTime(by)).unwrap().map(|state| state.len())
}

#[test]
fn a_milestone_is_kept_when_the_log_has_grown_by_eight_times_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    append(&mut opened.store, &records(1..9, 1024)).unwrap();
    keep(&opened, 100, 10);
    assert_eq!(opened.reader.first_milestone(), None, "so little is folded at once without one");
    fill(&mut opened, 3);
    keep(&opened, 200, 64 << 10);
    assert_eq!(found(&opened, 1000), None, "the log is not eight times as large");
    keep(&opened, 300, 10 << 10);
    assert_eq!((found(&opened, 299), found(&opened, 300)), (None, Some(10 << 10)));
    append(&mut opened.store, &records(1..9, 1024)).unwrap();
    keep(&opened, 400, 10 << 10);
    fill(&mut opened, 6);
    keep(&opened, 500, 11 << 10);
    assert_eq!((found(&opened, 450), found(&opened, 550)), (Some(10 << 10), Some(11 << 10)));
    assert_eq!(opened.reader.first_milestone(), Some(WallTime(300)));
}

#[test]
fn milestones_outlive_the_program_and_a_damaged_one_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    fill(&mut opened, 3);
    keep(&opened, 300, 100);
    fill(&mut opened, 5);
    keep(&opened, 500, 200);
    let opened = reopen(opened, folder.path());
    assert_eq!((found(&opened, 300), found(&opened, 500)), (Some(100), Some(200)));
    let mut files: Vec<_> =
        fs::read_dir(folder.path().join("milestones")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut bytes = fs::read(&files[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[1], bytes).unwrap();
    assert_eq!(found(&opened, 500), Some(100));
}

#[test]
fn what_the_log_does_not_go_on_behind_is_no_milestone_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Store::open(folder.path(), StoreConfig { retention_bytes: 0, ..small() }, LOG).unwrap();
    fill(&mut opened, 3);
    keep(&opened, 300, 100);
    fill(&mut opened, 4);
    for _ in 0..2 {
        let at = Offset(opened.reader.next().0 - 1);
        opened.checkpoints.write(&Checkpoint { at, sections: Vec::new() }).unwrap();
        append(&mut opened.store, &records(1..9, 1024)).unwrap();
    }
    let next = opened.reader.next();
    while opened.reader.first() < next {
        let at = Offset(opened.reader.next().0 - 1);
        opened.checkpoints.write(&Checkpoint { at, sections: Vec::new() }).unwrap();
        append(&mut opened.store, &records(1..9, 1024)).unwrap();
    }
    assert_eq!((found(&opened, 300), opened.reader.first_milestone()), (None, None));
    keep(&opened, 600, 100);
    assert_eq!(found(&opened, 600), Some(100), "the first one of a trimmed log is due at once");
    assert_eq!(fs::read_dir(folder.path().join("milestones")).unwrap().count(), 1);
}
