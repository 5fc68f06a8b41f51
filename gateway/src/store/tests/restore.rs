//! Backups of a running store and of one that rests, and what becomes of them.

use super::{
    check_whole,
    quarantine::{checkpoint_now, fill_with_batches, known},
    *,
};
use crate::{
    backup,
    store::{Checkpoint, Forgetting, Listing, OpenError, files_of},
};

const NEW_LOG: LogId = LogId([0x77; 16]);

#[test]
fn a_backup_of_a_resting_store_is_opened_as_another_log_that_knows_its_parent() {
    let root = folder();
    let mut opened = open(root.path());
    fill_with_batches(&mut opened, 3);
    checkpoint_now(&mut opened);
    let (before, next) = (known(&opened.reader), opened.reader.next());
    drop(opened);
    fs::write(root.path().join("quic-keys"), "secret").unwrap();
    let target = folder();
    let copied = backup::take(root.path(), &target.path().join("copy")).unwrap();
    assert!(!copied.running && copied.bytes > 0);
    let copy = target.path().join("copy");
    check_whole(&copy);
    assert!(Listing::read(&copy).unwrap().is_some());
    assert_eq!(fs::read_to_string(copy.join("quic-keys")).unwrap(), "secret");

    let restored = Store::open(&copy, small(), NEW_LOG).unwrap();
    assert_eq!((restored.reader.log_id(), restored.reader.parent_log()), (NEW_LOG, Some(LOG)));
    assert_eq!(restored.reader.forgetting(), Forgetting::Restored { since: next });
    assert_eq!(known(&restored.reader), before);
    assert!(restored.checkpoints.latest().is_some());
    drop(restored);
    let again = Store::open(&copy, small(), LogId([0x78; 16])).unwrap();
    assert_eq!((again.reader.log_id(), again.reader.parent_log()), (NEW_LOG, Some(LOG)), "only once");
    assert_eq!(again.reader.forgetting(), Forgetting::Restored { since: next });
    assert_eq!(open(root.path()).reader.log_id(), LOG, "the original is what it was");
}

#[test]
fn what_is_named_for_a_backup_stays_while_it_is_held() {
    let root = folder();
    let config = StoreConfig { retention_bytes: 2 << 20, ..small() };
    let mut opened = Store::open(root.path(), config, LOG).unwrap();
    let save = |opened: &mut Opened| {
        let at = Offset(opened.reader.next().0 - 1);
        opened.checkpoints.write(&Checkpoint { at, sections: Vec::new() }).unwrap();
    };
    fill(&mut opened, 3);
    save(&mut opened);
    save(&mut opened);
    let hold = opened.reader.hold();
    let (end, settled) = opened.store.seal().unwrap();
    settled.recv().unwrap();
    let files = hold.files(end).unwrap();
    assert!(files.iter().all(|file| !file.ends_with("store.lock") && !file.ends_with("store.ballast")));
    assert!(files.iter().filter(|file| file.ends_with("manifest")).count() >= 3, "{files:?}");
    let first = opened.reader.first();
    for _ in 0..4 {
        let partitions = opened.reader.status().partitions;
        fill(&mut opened, partitions + 1);
        save(&mut opened);
    }
    opened.store.housekeeping.settle();
    assert_eq!(opened.reader.first(), first);
    assert!(files.iter().all(|file| root.path().join(file).exists()));
    drop(hold);
    save(&mut opened);
    let partitions = opened.reader.status().partitions;
    fill(&mut opened, partitions + 1);
    opened.store.housekeeping.settle();
    assert!(opened.reader.first() > first, "retention goes on");
}

#[test]
fn a_copy_of_which_a_part_is_missing_is_not_opened() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 2);
    drop(opened);
    let target = folder();
    let copy = target.path().join("copy");
    backup::take(root.path(), &copy).unwrap();
    let file = files_of(&copy).unwrap().into_iter().find(|file| file.ends_with("manifest")).unwrap();
    fs::remove_file(copy.join(&file)).unwrap();
    let error = Store::open(&copy, small(), NEW_LOG).unwrap_err();
    assert!(matches!(&error, OpenError::NotWhole { file: named, .. } if *named == file), "{error}");
}

#[test]
fn a_backup_that_was_broken_off_is_not_taken_for_a_store() {
    let root = folder();
    drop(open(root.path()));
    let target = folder();
    let copy = target.path().join("copy");
    backup::take(root.path(), &copy).unwrap();
    fs::write(copy.join("store.version"), "muster backup, unfinished: not a data folder\n").unwrap();
    assert!(matches!(Store::open(&copy, small(), NEW_LOG), Err(OpenError::NotAStore { .. })));
}

#[test]
fn a_target_that_holds_something_or_is_inside_is_refused() {
    let root = folder();
    drop(open(root.path()));
    let target = folder();
    fs::write(target.path().join("mine"), "x").unwrap();
    let error = backup::take(root.path(), target.path()).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    assert!(
        backup::take(root.path(), &root.path().join("inside")).unwrap_err().to_string().contains("inside")
    );
    assert!(backup::take(&target.path().join("none"), &target.path().join("to")).is_err());
}

#[test]
fn a_folder_of_the_first_version_becomes_one_of_this_version() {
    let root = folder();
    drop(open(root.path()));
    fs::write(root.path().join("store.version"), format!("muster store 1\nlog {LOG}\n")).unwrap();
    assert_eq!(open(root.path()).reader.log_id(), LOG);
    let text = fs::read_to_string(root.path().join("store.version")).unwrap();
    assert_eq!(text, format!("muster store {}\nlog {LOG}\n", crate::store::STORE_VERSION));
}
