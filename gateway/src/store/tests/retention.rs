use super::*;
use crate::store::{Checkpoint, disk::bytes_of};

/// Keeps two checkpoints, so that everything before them may be dropped.
fn checkpoint_twice(opened: &mut Opened) {
    let next = opened.reader.next().0;
    for at in [next - 2, next - 1] {
        opened.checkpoints.write(&Checkpoint { at: Offset(at), sections: Vec::new() }).unwrap();
    }
}

fn open_limited(root: &Path, retention_bytes: u64, quota_bytes: u64) -> Opened {
    Store::open(root, StoreConfig { retention_bytes, quota_bytes, ..small() }, LOG).unwrap()
}

fn append_next(opened: &mut Opened) -> Result<Vec<Offset>, StoreError> {
    let next = i64::try_from(opened.reader.next().0).unwrap();
    append(&mut opened.store, &records(next..next + 8, 1024))
}

#[test]
fn the_oldest_partitions_are_dropped_and_their_disk_given_back() {
    const RETENTION: u64 = 6 << 20;
    let root = folder();
    let mut opened = open_limited(root.path(), RETENTION, 1 << 30);
    while opened.reader.status().disk_bytes < 2 * RETENTION {
        append_next(&mut opened).unwrap();
    }
    assert_eq!(opened.reader.first(), Offset(1));
    checkpoint_twice(&mut opened);
    append_next(&mut opened).unwrap();
    drop(opened.store); // waits for the housekeeping
    let status = opened.reader.status();
    assert!(status.first > Offset(1) && status.disk_bytes <= RETENTION, "{status:?}");
    let on_disk = bytes_of(&root.path().join("log"));
    assert!(on_disk <= RETENTION + (1 << 20), "{on_disk}");
    assert_eq!(fs::read_dir(root.path().join("log")).unwrap().count(), status.partitions);
    assert_holds_all(&opened.reader, status.first);
}

#[test]
fn nothing_is_dropped_above_the_older_checkpoint() {
    let root = folder();
    let mut opened = open_limited(root.path(), 0, 1 << 30);
    fill(&mut opened, 3);
    let older = Offset(opened.reader.next().0 - 1);
    opened.checkpoints.write(&Checkpoint { at: older, sections: Vec::new() }).unwrap();
    fill(&mut opened, 6);
    assert_eq!(opened.reader.first(), Offset(1), "one checkpoint may turn out to be damaged");
    let newer = Offset(opened.reader.next().0 - 1);
    opened.checkpoints.write(&Checkpoint { at: newer, sections: Vec::new() }).unwrap();
    append_next(&mut opened).unwrap();
    drop(opened.store);
    let first = opened.reader.first();
    assert!(first > Offset(1) && first <= older.next(), "{first} against {older}");
    assert_holds_all(&opened.reader, first);
}

#[test]
fn at_the_quota_nothing_is_taken_but_everything_is_served_until_there_is_room() {
    let root = folder();
    let mut opened = open_limited(root.path(), 3 << 20, 5 << 20);
    let refused = loop {
        if let Err(error) = append_next(&mut opened) {
            break error;
        }
    };
    assert!(matches!(refused, StoreError::DiskFull { quota, used, .. } if used > quota), "{refused}");
    assert!(opened.reader.status().refusing && !opened.store.has_room());
    drop(opened);
    let mut opened = open_limited(root.path(), 3 << 20, 5 << 20);
    assert_holds_all(&opened.reader, Offset(1));
    assert!(opened.reader.is_refusing(), "it is said before the first record is refused");
    assert!(matches!(append_next(&mut opened), Err(StoreError::DiskFull { .. })));
    checkpoint_twice(&mut opened);
    assert!(opened.store.has_room() && !opened.reader.status().refusing);
    append_next(&mut opened).unwrap();
    assert_holds_all(&opened.reader, opened.reader.first());
}

#[test]
fn iterators_end_with_trimmed_when_what_they_read_is_dropped() {
    let root = folder();
    let mut opened = open_limited(root.path(), 0, 1 << 30);
    fill(&mut opened, 6);
    let mut scan = opened.reader.scan(Offset(1));
    let mut of_robot = opened.reader.robot_records(&robot(1), WallTime(0), None, None);
    assert_eq!(scan.next().unwrap().unwrap().0, Offset(1));
    assert_eq!(of_robot.next().unwrap().unwrap().0, Offset(1));
    checkpoint_twice(&mut opened);
    append_next(&mut opened).unwrap();
    drop(opened.store);
    let first = opened.reader.first();
    assert!(first > Offset(300), "{first}");
    for items in [scan.by_ref().collect::<Vec<_>>(), of_robot.by_ref().collect()] {
        let (last, before) = items.split_last().unwrap();
        assert!(before.iter().all(Result::is_ok));
        assert!(
            matches!(last, Err(ReadError::Trimmed { first_held, .. }) if *first_held == first),
            "{last:?}"
        );
    }
    assert!(scan.next().is_none() && of_robot.next().is_none());
    let mut stale = opened.reader.robot_records(&robot(1), WallTime(0), Some(WallTime(9)), Some(Offset(3)));
    assert!(matches!(stale.next(), Some(Err(ReadError::Trimmed { .. }))));
}
