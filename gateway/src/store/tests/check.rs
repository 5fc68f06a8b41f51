//! Looking at a store offline, and repairing it.

use std::os::unix::fs::FileExt as _;

use super::{
    damage::ruin,
    quarantine::{account, checkpoint_now, fill_with_batches, known, partition},
    *,
};
use crate::store::check::{CheckError, Depth, PartitionState, Report};

/// A store of two sealed partitions and an open one, with a checkpoint.
fn made() -> TempDir {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 3);
    checkpoint_now(&mut opened);
    root
}

fn check(root: &Path) -> Report {
    Report::of(root, Depth::Check, false).unwrap()
}

fn repair(root: &Path) -> Report {
    Report::of(root, Depth::Check, true).unwrap()
}

fn flip(file: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Every file with its content, to see that nothing is changed.
fn contents(root: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = crate::store::files_of(root).unwrap();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(root.join(path)).unwrap())).collect()
}

#[test]
fn a_whole_store_is_whole_and_nothing_in_it_is_changed() {
    let root = made();
    let before = contents(root.path());
    let report = check(root.path());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.partitions.len(), 3);
    assert_eq!(report.partitions.last().unwrap().state, PartitionState::Open);
    assert_eq!(report.checkpoints.len(), 1);
    assert!(report.lost["spool_full"].batches > 2);
    let listed = Report::of(root.path(), Depth::List, false).unwrap();
    for (one, other) in report.partitions.iter().zip(&listed.partitions) {
        assert_eq!(
            (one.first, one.end, one.records, one.samples),
            (other.first, other.end, other.records, other.samples)
        );
    }
    assert!(contents(root.path()) == before);
    assert_eq!(report.next, open(root.path()).reader.next().0);
}

#[test]
fn a_store_in_use_is_refused_and_what_is_none_too() {
    let root = folder();
    let _opened = open(root.path());
    let error = Report::of(root.path(), Depth::Check, false).unwrap_err();
    assert!(error.to_string().contains("in use by another gateway"), "{error}");
    assert!(matches!(Report::of(folder().path(), Depth::List, false), Err(CheckError::NoStore(_))));
}

#[test]
fn damaged_files_beside_the_records_are_found_and_rebuilt() {
    let root = made();
    flip(&partition(root.path(), 0).join("index"), 40);
    flip(&partition(root.path(), 1).join("manifest"), 40);
    let checkpoint = fs::read_dir(root.path().join("checkpoints")).unwrap().next().unwrap().unwrap().path();
    flip(&checkpoint, 30);
    fs::write(partition(root.path(), 1).join("snap.0000000000000000.generating"), "half").unwrap();
    fs::create_dir(root.path().join("log/00000000000000009999.new")).unwrap();
    let report = check(root.path());
    assert!(!report.is_whole());
    assert!(report.partitions[0].findings[0].contains("index"), "{report:?}");
    assert!(report.partitions[1].findings[0].contains("manifest"), "{report:?}");
    assert_eq!(report.checkpoints.iter().filter(|(_, whole)| !whole).count(), 1);
    assert_eq!(report.left_over.len(), 2);
    let repaired = repair(root.path());
    assert!(repaired.repaired.len() >= 5, "{repaired:?}");
    assert!(repaired.is_whole(), "{repaired:?}");
    let again = check(root.path());
    assert!(again.is_whole() && again.left_over.is_empty(), "{again:?}");
}

#[test]
fn a_damaged_partition_is_set_aside_by_a_repair_and_accounted_for_at_the_next_start() {
    let root = made();
    let before = known(&open(root.path()).reader);
    ruin(&partition(root.path(), 1));
    let report = check(root.path());
    assert!(!report.partitions[1].findings.is_empty(), "{report:?}");
    assert_eq!(report.partitions[1].state, PartitionState::Sealed, "nothing was changed");
    let repaired = repair(root.path());
    assert_eq!(repaired.partitions[1].state, PartitionState::Quarantined);
    let mut opened = open(root.path());
    account(&mut opened).unwrap();
    assert_eq!(known(&opened.reader), before);
    drop(opened);
    let report = check(root.path());
    assert!(!report.is_whole() && report.lost["quarantined"].samples > 0, "{report:?}");
}

#[test]
fn the_end_of_the_open_partition_that_is_gone_is_found() {
    let root = made();
    let open = partition(root.path(), 2);
    let tail = crate::store::tail::Tail::open(&open).unwrap();
    tail.note(Offset(1_000_000));
    let report = check(root.path());
    assert!(report.partitions[2].findings[0].contains("are gone"), "{report:?}");
}
