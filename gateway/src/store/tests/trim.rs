//! Freeing space on purpose.

use super::{damage::ruin, *};
use crate::store::{
    Checkpoint, OpenError,
    trim::{Goal, Stop, TrimError, Trimmed, plan_of_folder, trim_folder},
};

/// Keeps two checkpoints at these offsets.
fn checkpoints_at(opened: &mut Opened, older: u64, newer: u64) {
    for at in [older, newer] {
        opened.checkpoints.write(&Checkpoint { at: Offset(at), sections: Vec::new() }).unwrap();
    }
}

/// Fills some partitions, all covered by both checkpoints, and waits until they are sealed.
fn filled(root: &Path) -> Opened {
    let mut opened = open(root);
    fill(&mut opened, 6);
    let next = opened.reader.next().0;
    checkpoints_at(&mut opened, next - 2, next - 1);
    reopen(opened, root)
}

fn to_bytes(bytes: u64) -> Goal {
    Goal { to_bytes: Some(bytes), older_than: None }
}

#[test]
fn a_plan_says_what_goes_and_trimming_a_running_store_does_that() {
    let root = folder();
    let mut opened = filled(root.path());
    let used = opened.reader.status().disk_bytes;
    let plan = opened.reader.plan_trim(to_bytes(used / 2));
    assert!(!plan.going.is_empty() && plan.kept_bytes <= used / 2 && plan.stops.is_none(), "{plan:?}");
    assert_eq!(plan.going.len() + plan.kept, opened.reader.status().partitions);
    assert_eq!(plan.robots.len(), 3);
    let (first, last) = (&plan.going[0], plan.going.last().unwrap());
    let t_min = plan.robots.iter().map(|robot| robot.t_min).min();
    assert_eq!((first.first, last.end, t_min), (1, plan.first, Some(1)));
    assert_eq!(opened.reader.first(), Offset(1), "a plan drops nothing");

    let trimmed = opened.reader.trim(Offset(plan.first)).unwrap();
    assert_eq!(trimmed.partitions, plan.going.len());
    assert_eq!(opened.reader.first(), Offset(plan.first));
    assert_eq!(opened.reader.status().disk_bytes, used - trimmed.bytes);
    assert_holds_all(&opened.reader, Offset(plan.first));
    let next = i64::try_from(opened.reader.next().0).unwrap();
    append(&mut opened.store, &records(next..next + 8, 1024)).unwrap();
    let opened = reopen(opened, root.path());
    assert_holds_all(&opened.reader, Offset(plan.first));
    assert!(opened.reader.status().damaged.is_empty(), "it is no loss");
}

#[test]
fn a_folder_without_a_gateway_is_trimmed_likewise() {
    let root = folder();
    let opened = filled(root.path());
    let error = plan_of_folder(root.path(), to_bytes(0)).unwrap_err();
    assert!(matches!(error, TrimError::Open(OpenError::InUse { .. })), "{error}");
    let planned = opened.reader.plan_trim(to_bytes(0));
    drop(opened);
    let plan = plan_of_folder(root.path(), to_bytes(0)).unwrap();
    assert_eq!((&plan.going, &plan.robots), (&planned.going, &planned.robots));
    fs::create_dir_all(root.path().join("log/00000000000000000000.dropped/blobs")).unwrap();
    let trimmed = trim_folder(root.path(), Offset(plan.first)).unwrap();
    assert_eq!(trimmed.partitions, plan.going.len());
    assert_eq!(fs::read_dir(root.path().join("log")).unwrap().count(), plan.kept, "and what a crash left");
    let opened = open(root.path());
    assert_eq!(opened.reader.first(), Offset(plan.first));
    assert_holds_all(&opened.reader, Offset(plan.first));
}

#[test]
fn nothing_goes_that_the_older_checkpoint_does_not_cover() {
    let root = folder();
    let mut opened = open(root.path());
    fill(&mut opened, 3);
    let older = opened.reader.next().0 - 1;
    fill(&mut opened, 6);
    let mut opened = reopen(opened, root.path());
    let plan = opened.reader.plan_trim(to_bytes(0));
    assert_eq!((plan.going.len(), plan.stops), (0, Some(Stop::Checkpoints)), "there is none");
    let newer = opened.reader.next().0 - 1;
    checkpoints_at(&mut opened, older, newer);
    let plan = opened.reader.plan_trim(to_bytes(0));
    assert!(!plan.going.is_empty() && plan.first <= older + 1, "{plan:?}");
    assert_eq!(plan.stops, Some(Stop::Checkpoints));
    // Whoever asks for more gets no more.
    opened.reader.trim(Offset(u64::MAX)).unwrap();
    assert_eq!(opened.reader.first(), Offset(plan.first));
    drop(opened);
    assert_eq!(trim_folder(root.path(), Offset(u64::MAX)).unwrap(), Trimmed::default());
}

#[test]
fn the_partition_that_is_written_stays_whatever_is_asked() {
    let root = folder();
    let opened = filled(root.path());
    let plan = opened.reader.plan_trim(to_bytes(0));
    assert_eq!((plan.kept, plan.stops), (1, Some(Stop::Written)), "{plan:?}");
    opened.reader.trim(Offset(u64::MAX)).unwrap();
    assert_eq!(opened.reader.status().partitions, 1);
    assert_eq!(opened.reader.first(), Offset(plan.first));
}

#[test]
fn partitions_go_by_the_time_at_which_they_were_sealed() {
    let root = folder();
    let opened = filled(root.path());
    let sealed: Vec<i64> =
        opened.reader.plan_trim(to_bytes(0)).going.iter().map(|going| going.sealed_at.unwrap()).collect();
    let before = |then: i64| Goal { to_bytes: None, older_than: Some(WallTime(then)) };
    assert_eq!(opened.reader.plan_trim(before(sealed[0])).going.len(), 0);
    assert_eq!(opened.reader.plan_trim(before(sealed[0] + 1)).going[0].first, 1);
    assert_eq!(opened.reader.plan_trim(before(i64::MAX)).going.len(), sealed.len());
}

#[test]
fn while_a_backup_is_taken_nothing_goes() {
    let root = folder();
    let opened = filled(root.path());
    let hold = opened.reader.hold();
    assert!(matches!(opened.reader.trim(Offset(u64::MAX)), Err(TrimError::Held)));
    assert_eq!(opened.reader.first(), Offset(1));
    drop(hold);
    assert!(opened.reader.trim(Offset(u64::MAX)).unwrap().partitions > 0);
}

#[test]
fn what_is_no_store_and_a_backup_are_refused() {
    let root = folder();
    assert!(matches!(plan_of_folder(root.path(), to_bytes(0)), Err(TrimError::NoStore(_))));
    drop(filled(root.path()));
    fs::write(root.path().join("store.backup"), "").unwrap();
    assert!(matches!(trim_folder(root.path(), Offset(9)), Err(TrimError::Backup(_))));
}

/// Guards: what the log does not say yet of a damaged partition would go with it, and nobody would know of a loss.
#[test]
fn a_damaged_partition_goes_only_once_the_log_says_what_it_held() {
    let root = folder();
    drop(filled(root.path()));
    ruin(&root.path().join("log/00000000000000000001"));
    let mut opened = open(root.path());
    assert!(opened.reader.scan(Offset(1)).any(|item| item.is_err()), "reading finds the damage");
    let plan = opened.reader.plan_trim(to_bytes(0));
    assert_eq!((plan.going.len(), plan.stops), (0, Some(Stop::Unaccounted)));
    assert_eq!(opened.reader.trim(Offset(u64::MAX)).unwrap(), Trimmed::default());
    while !opened.store.account_next(WallTime(9)).unwrap().is_empty() {}
    assert_eq!(opened.reader.plan_trim(to_bytes(0)).going[0].first, 1);
    drop(opened);
    assert!(trim_folder(root.path(), Offset(2)).unwrap().partitions == 1);
}
