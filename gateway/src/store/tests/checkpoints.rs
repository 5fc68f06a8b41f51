use super::*;
use crate::store::{Checkpoint, CheckpointError};

fn checkpoint(at: u64) -> Checkpoint {
    let sections =
        vec![("fleet".to_owned(), at.to_string().into()), ("windows".to_owned(), vec![0; 3].into())];
    Checkpoint { at: Offset(at), sections }
}

fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(root.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_newest_is_found_after_a_restart_and_two_are_kept() {
    let root = folder();
    let mut opened = open(root.path());
    assert_eq!(opened.checkpoints.latest(), None);
    append(&mut opened.store, &records(1..9, 10)).unwrap();
    for at in [2, 4, 4, 8] {
        opened.checkpoints.write(&checkpoint(at)).unwrap();
    }
    assert_eq!(files(root.path()).len(), 2);
    let opened = reopen(opened, root.path());
    let latest = opened.checkpoints.latest().unwrap();
    assert_eq!(latest, checkpoint(8));
    assert_eq!(latest.section("fleet").unwrap(), "8");
    assert_eq!(latest.section("other"), None);
}

#[test]
fn a_damaged_newest_one_is_passed_over_for_the_older() {
    let root = folder();
    let mut opened = open(root.path());
    append(&mut opened.store, &records(1..9, 10)).unwrap();
    opened.checkpoints.write(&checkpoint(3)).unwrap();
    opened.checkpoints.write(&checkpoint(7)).unwrap();
    let newest = files(root.path()).pop().unwrap();
    let good = fs::read(&newest).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&newest, bad).unwrap();
        assert_eq!(opened.checkpoints.latest(), Some(checkpoint(3)), "bit {bit}");
    }
    fs::write(&newest, &good[..good.len() - 1]).unwrap();
    let mut opened = reopen(opened, root.path());
    assert_eq!(opened.checkpoints.latest(), Some(checkpoint(3)));
    opened.checkpoints.write(&checkpoint(8)).unwrap();
    assert_eq!(opened.checkpoints.latest(), Some(checkpoint(8)));
}

#[test]
fn none_is_written_beyond_what_is_committed_or_backwards() {
    let root = folder();
    let mut opened = open(root.path());
    append(&mut opened.store, &records(1..9, 10)).unwrap();
    let beyond = opened.checkpoints.write(&checkpoint(9)).unwrap_err();
    assert!(matches!(beyond, CheckpointError::NotCommitted { at: Offset(9), committed: Offset(8) }));
    opened.checkpoints.write(&checkpoint(8)).unwrap();
    assert!(matches!(opened.checkpoints.write(&checkpoint(5)), Err(CheckpointError::Backwards { .. })));
}
