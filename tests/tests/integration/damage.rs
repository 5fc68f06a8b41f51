//! Flipped bytes end in nothing lost, or in loss records with the right numbers.

use muster_tests::fault::damage::{self, SpoolPlace};

use crate::scene;

#[test]
fn flipped_bytes_in_a_spool_lose_what_they_hit_and_that_is_counted() {
    for place in SpoolPlace::ALL {
        let account = damage::of_the_spool(&scene(), place);
        if place.has_samples() {
            account.assert_lost_and_counted(&format!("{place:?}"));
        } else {
            account.assert_nothing_lost(&format!("{place:?}"));
        }
    }
}

#[test]
fn half_written_snapshots_of_a_store_lose_nothing() {
    damage::stale_snapshots(&scene()).assert_nothing_lost("stale snapshots");
}
