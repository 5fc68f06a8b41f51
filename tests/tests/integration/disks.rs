//! Disks that are full or fail lose nothing that was accepted.

use muster_tests::{
    fault::{
        Account,
        disks::{self, Trouble},
    },
    sandbox::{Own, alone},
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

#[test]
fn a_gateway_starts_on_a_full_disk_and_takes_everything_when_there_is_room() {
    nothing_is_lost("full at the start", disks::start_on_a_full_disk);
}

#[test]
fn with_a_full_disk_under_the_spool_samples_go_through_memory_until_there_is_room() {
    let scene = scene();
    if let Some(account) = alone(Own::Mounts, || disks::through_memory(&scene)) {
        account.assert_settled("through memory");
        assert_eq!(account.lost, account.produced_missing, "what did not arrive is counted: {account:?}");
    }
}

fn nothing_is_lost(what: &str, fault: impl FnOnce(&Scene) -> Account + Send) {
    let scene = scene();
    if let Some(account) = alone(Own::Mounts, || fault(&scene)) {
        account.assert_settled(what);
        assert_eq!(account.accepted_missing, 0, "{what}: {account:?}");
    }
}
