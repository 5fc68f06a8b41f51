use std::{io::Write, os::unix::fs::FileExt, path::PathBuf};

use super::*;
use crate::store::folder::partition_name;

fn partitions(root: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(root.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// Overwrites all of a database's log but its very start.
pub(super) fn ruin(partition: &Path) {
    let file = fs::File::options().write(true).open(partition.join("db")).unwrap();
    let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
    file.write_all_at(&vec![0xa5; bytes - 4096], 4096).unwrap();
}

/// Reads what can be read, and what is said about the rest.
fn read_around(reader: &StoreReader) -> (Vec<u64>, Vec<(Offset, Offset)>) {
    let (mut held, mut damaged) = (Vec::new(), Vec::new());
    for item in reader.scan(Offset(1)) {
        match item {
            Ok((offset, _)) => held.push(offset.0),
            Err(ReadError::Damaged { first, end, .. }) => damaged.push((first, end)),
            Err(other) => panic!("{other}"),
        }
    }
    (held, damaged)
}

#[test]
fn a_damaged_sealed_partition_is_set_aside_and_the_others_are_served() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 4);
    drop(opened);
    let second = partitions(root.path())[1].clone();
    ruin(&second);
    let opened = open(root.path());
    let (held, damaged) = read_around(&opened.reader);
    let [(first, end)] = damaged[..] else { panic!("{damaged:?}") };
    assert_eq!(second.file_name().unwrap().to_str().unwrap(), partition_name(first));
    let expected: Vec<u64> = (1..first.0).chain(end.0..opened.reader.next().0).collect();
    assert_eq!(held, expected);

    let opened = reopen(opened, root.path());
    let status = opened.reader.status();
    let [damage] = &status.damaged[..] else { panic!("{status:?}") };
    assert_eq!((damage.first, damage.end), (first, end));
    let manifest = damage.lost.as_ref().unwrap();
    assert_eq!((manifest.first, manifest.end), (first, end));
    assert_eq!(manifest.robots.iter().map(|robot| robot.records).sum::<u64>(), end.0 - first.0);
    assert_eq!(read_around(&opened.reader), (held, vec![(first, end)]));
}

#[test]
fn a_robots_history_says_what_is_damaged_and_goes_on() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 4);
    drop(opened);
    ruin(&partitions(root.path())[1]);
    let opened = open(root.path());
    let of = |number| {
        let records = opened.reader.robot_records(&robot(number), WallTime(0), None, None);
        let (held, damaged): (Vec<_>, Vec<_>) = records.partition(Result::is_ok);
        (held.len() as u64, damaged.len())
    };
    let counts = [of(0), of(1), of(2)];
    let (held, damaged) = read_around(&opened.reader);
    assert_eq!(damaged.len(), 1);
    assert_eq!(counts.iter().map(|(held, _)| held).sum::<u64>(), held.len() as u64);
    assert!(counts.iter().all(|(_, damaged)| *damaged == 1), "{counts:?}");
}

#[test]
fn offsets_of_a_damaged_newest_partition_are_never_given_again() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 2);
    let next = opened.reader.next();
    drop(opened);
    ruin(partitions(root.path()).last().unwrap());
    for file in fs::read_dir(partitions(root.path()).last().unwrap()).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
    let mut opened = open(root.path());
    let given = append(&mut opened.store, &records(0..3, 10)).unwrap();
    assert!(given[0] >= next, "{} against {next}", given[0]);
    let (held, damaged) = read_around(&opened.reader);
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].1, given[0]);
    assert_eq!(held.last(), Some(&given[2].0));
    let opened = reopen(opened, root.path());
    assert_eq!(opened.reader.status().damaged.len(), 1);
    assert_eq!(read_around(&opened.reader), (held, damaged));
}

#[test]
fn a_half_written_snapshot_does_not_keep_a_partition_shut() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 3);
    drop(opened);
    for partition in partitions(root.path()) {
        fs::write(partition.join("snap.0000000000000000.generating"), b"half").unwrap();
    }
    let opened = open(root.path());
    assert_holds_all(&opened.reader, Offset(1));
    assert!(opened.reader.status().damaged.is_empty());
}

#[test]
fn a_damaged_snapshot_is_rebuilt_from_the_log() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 3);
    drop(opened);
    let snapshots = partitions(root.path()).into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let snapshots = snapshots.map(|entry| entry.unwrap().path());
    for path in snapshots.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")) {
        fs::write(path, b"not a snapshot at all").unwrap();
    }
    let opened = open(root.path());
    assert_holds_all(&opened.reader, Offset(1));
    assert!(opened.reader.status().damaged.is_empty());
}

#[test]
fn index_and_manifest_are_rebuilt_or_done_without() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 4);
    drop(opened);
    let folders = partitions(root.path());
    fs::remove_file(folders[0].join("manifest")).unwrap();
    fs::write(folders[1].join("manifest"), b"MSTM nonsense").unwrap();
    fs::remove_file(folders[1].join("index")).unwrap();
    fs::File::options().append(true).open(folders[2].join("index")).unwrap().write_all(b"x").unwrap();
    fs::File::options()
        .write(true)
        .open(folders[2].join("index"))
        .unwrap()
        .write_all_at(b"xxxx", 20)
        .unwrap();
    let opened = open(root.path());
    assert_holds_all(&opened.reader, Offset(1));
    let all = |number| opened.reader.robot_records(&robot(number), WallTime(0), None, None);
    let counted: usize = (0..3).map(|number| all(number).map(Result::unwrap).count()).sum();
    assert_eq!(counted as u64, opened.reader.next().0 - 1);
    let opened = reopen(opened, root.path());
    assert_holds_all(&opened.reader, Offset(1));
    assert!(
        folders[..2].iter().all(|folder| folder.join("manifest").exists() && folder.join("index").exists())
    );
}

#[test]
fn one_damaged_record_costs_one_record() {
    let root = folder();
    let mut opened = open(root.path());
    let encoded: Vec<Encoded> = records(1..4, 50)
        .iter()
        .map(|record| {
            let mut encoded = Encoded::new(record, None);
            if record.received_at == WallTime(2) {
                *encoded.bytes.last_mut().unwrap() ^= 1;
            }
            encoded
        })
        .collect();
    opened.store.append(&encoded).unwrap();
    let items: Vec<_> = opened.reader.scan(Offset(1)).collect();
    assert!(matches!(
        items[..],
        [Ok((Offset(1), _)), Err(ReadError::Record { offset: Offset(2), .. }), Ok((Offset(3), _))]
    ));
}
