//! Disks that are full or fail lose nothing that was accepted.

use muster_tests::{
    fault::{
        Account,
        disks::{self, Trouble},
    },
    ground::{Own, alone},
    scene::Scene,
};

use crate::scene;

#[test]
fn a_full_disk_under_the_spool_loses_nothing_that_was_accepted() {
    nothing_is_lost("full spool", |scene| disks::under_the_spool(scene, Trouble::Full));
}

#[test]
fn a_read_only_disk_under_the_spool_loses_nothing_that_was_accepted() {
    nothing_is_lost("read-only spool", |scene| disks::under_the_spool(scene, Trouble::ReadOnly));
}

#[test]
fn a_full_disk_under_the_store_loses_nothing_that_was_accepted() {
    nothing_is_lost("full store", |scene| disks::under_the_store(scene, Trouble::Full));
}

#[test]
fn a_read_only_disk_under_the_store_loses_nothing_that_was_accepted() {
    nothing_is_lost("read-only store", |scene| disks::under_the_store(scene, Trouble::ReadOnly));
}

fn nothing_is_lost(what: &str, fault: impl FnOnce(&Scene) -> Account + Send) {
    let scene = scene();
    if let Some(account) = alone(Own::Mounts, || fault(&scene)) {
        account.assert_settled(what);
        assert_eq!(account.accepted_missing, 0, "{what}: {account:?}");
    }
}
