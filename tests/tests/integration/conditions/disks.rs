//! Conditions of the gateway's disk, on disks of the test's own.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use muster_gateway::conditions::Code;
use muster_tests::{
    conditions::{Watched as _, raises},
    dice::Dice,
    gateway::{Gateway, GatewayPlan, Transport},
    outside::{mosquitto_pub, there},
    patience::{wait_for, wait_until},
    sandbox::{Disk, Own, alone},
    scene::Scene,
};

use super::{doctor, forgetful, holds};
use crate::scene;

const ROBOT: &str = "cond/r1";

#[test]
fn a_disk_that_fills_up_is_told_before_nothing_is_taken_and_until_there_is_room() {
    if !there("mosquitto_pub", "mosquitto-clients") {
        return;
    }
    let scene = scene();
    alone(Own::Mounts, || {
        let disk = Disk::in_memory(&scene.path("data"), 128 * MIB);
        let gateway = forgetful(&scene).start();
        assert!(!holds(&gateway, Code::DiskNearlyFull, None));
        let ballast_and_more = 28 * usize::try_from(MIB).unwrap();
        let most = 128 * usize::try_from(MIB).unwrap() - ballast_and_more;
        fs::write(scene.path("data/other"), vec![0xa5; most]).unwrap();
        let nearly = raises(&gateway, Code::DiskNearlyFull, None).says(&["of the disk's 134.2 MB are free"]);

        disk.fill_up();
        let topic = format!("muster/1/{ROBOT}/json");
        wait_until("samples without a promise are dropped", || {
            mosquitto_pub(gateway.mqtt_port(), &["-q", "0", "-t", &topic, "-m", "{\"ch\":\"a\",\"v\":1}"]);
            holds(&gateway, Code::JsonGivenUp, None)
        });
        let given_up = raises(&gateway, Code::JsonGivenUp, None).says(&["disk full"]);
        let full = raises(&gateway, Code::StoreFull, None).says(&["nothing is taken: the log occupies"]);
        let (code, table) = doctor(&scene, &gateway, &[]);
        assert_eq!(code, Some(1), "{table}");
        assert!(table.contains("takes no samples") && table.contains("store_full"), "{table}");

        fs::remove_file(scene.path("data/other")).unwrap();
        disk.make_room();
        full.clears(&gateway);
        nearly.clears(&gateway);
        given_up.clears(&gateway);
        assert_eq!(doctor(&scene, &gateway, &[]).0, Some(0));
    });
}

#[test]
fn a_disk_that_hangs_makes_commits_slow_and_fills_the_queue() {
    if !there("fsfreeze", "util-linux") {
        return;
    }
    let scene = scene();
    alone(Own::Mounts, || {
        let _disk = Disk::ext4(&scene.path("data"), 256 * MIB);
        let plan = forgetful(&scene).set("COMMIT__QUEUE_SIZE", "64KiB").set("COMMIT__GROUP_SIZE", "64KiB");
        let gateway = plan.start();
        let rows = scene.file("rows.ndjson", noise(20_000));
        let agent = |name: &str| scene.agent(name).to(&gateway, Transport::Quic).file(&rows).once().start();
        let mut agents = vec![agent(ROBOT)];
        wait_until("it delivers", || gateway.robot(ROBOT).is_some_and(|robot| robot["samples"] != 0));
        let frozen = Frozen::new(scene.path("data"));
        // One agent alone keeps what is unacknowledged small.
        agents.extend((2..8).map(|number| agent(&format!("cond/r{number}"))));
        let slow = raises(&gateway, Code::CommitSlow, None).says(&["a commit is under way for"]);
        let queue = raises(&gateway, Code::CommitQueueFull, None).says(&["of 65.5 kB wait for a commit"]);
        let refusals = raises(&gateway, Code::Refusals, None).says(&["busy"]);
        drop(frozen);
        wait_until("the slow sync is over, and told", || {
            let slow = gateway.holds(Code::CommitSlow, None);
            slow.is_some_and(|slow| {
                slow["detail"].as_str().is_some_and(|says| says.contains("a sync took up to"))
            })
        });
        for agent in &mut agents {
            assert!(agent.wait().success(), "{}", agent.said());
        }
        queue.clears(&gateway);
        refusals.clears(&gateway);
        slow.clears(&gateway);
    });
}

#[test]
fn a_damaged_partition_is_told_until_retention_drops_it() {
    let scene = scene();
    let plan = small_partitions(&scene);
    let mut gateway = plan.clone().start();
    deliver(&scene, &gateway, noise(60_000));
    gateway.stop();
    let first = first_partition(gateway.data());
    flip_all_over(&first.join("db"));
    // What a database writes that is given values that are too long.
    fs::create_dir_all(first.join("blobs")).unwrap();
    fs::write(first.join("blobs/1"), vec![0xa5; 32 * 1024]).unwrap();
    gateway.start_again();
    let blobs = raises(&gateway, Code::BlobFiles, None).says(&["1 file in `blobs/` folders"]);
    meet_damage(&gateway);
    let damaged = raises(&gateway, Code::PartitionDamaged, None);
    let damaged = damaged.says(&["1 range of the log cannot be read, the first from offset 1 to before"]);
    assert!(gateway.metric("muster_store_damaged_ranges") == Some(1.0));
    gateway.stop();

    let small = plan.set("STORE__RETENTION_SIZE", "1MiB").set("STORE__QUOTA_SIZE", "1GiB").start();
    wait_until("retention drops it", || {
        deliver(&scene, &small, noise(20_000));
        !holds(&small, Code::PartitionDamaged, None)
    });
    damaged.clears(&small);
    blobs.clears(&small);
}

#[test]
fn what_a_damaged_partition_held_is_not_in_the_log_while_there_is_no_room_for_it() {
    let scene = scene();
    alone(Own::Mounts, || {
        let disk = Disk::in_memory(&scene.path("data"), 128 * MIB);
        let mut gateway = small_partitions(&scene).start();
        deliver(&scene, &gateway, noise(60_000));
        gateway.stop();
        flip_all_over(&first_partition(gateway.data()).join("db"));
        gateway.start_again();
        disk.fill_up();
        meet_damage(&gateway);
        let unsaid = raises(&gateway, Code::LossNotLogged, None).says(&["what 1 damaged partition held"]);
        let full = raises(&gateway, Code::StoreFull, None);
        disk.make_room();
        full.clears(&gateway);
        unsaid.clears(&gateway);
        let lost = gateway.robot(ROBOT).unwrap();
        assert!(lost["loss"]["samples"].as_u64().is_some_and(|samples| samples > 0), "{lost}");
    });
}

fn small_partitions(scene: &Scene) -> GatewayPlan {
    scene.gateway_plan().set("STORE__PARTITION_SIZE", "256KiB").set("STORE__CHECKPOINT_EVERY", "1s")
}

/// Reads everything, so that the damage is met.
fn meet_damage(gateway: &Gateway) {
    wait_until("the damage is met", || {
        gateway.serves_samples(ROBOT);
        holds(gateway, Code::PartitionDamaged, None)
    });
}

/// A file system on which nothing can be written, for as long as this lives.
struct Frozen(PathBuf);

impl Frozen {
    fn new(folder: PathBuf) -> Self {
        assert!(Command::new("fsfreeze").arg("-f").arg(&folder).status().unwrap().success());
        Self(folder)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Nothing can be unmounted that is frozen.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
    }
}

/// Returns rows that do not compress.
fn noise(rows: usize) -> String {
    let mut dice = Dice::new(7);
    let mut lines = String::new();
    for row in 0..rows {
        let (a, b) = (dice.below(u64::MAX), dice.below(u64::MAX));
        writeln!(lines, "{{\"t\":{},\"ch\":\"n\",\"v\":{{\"a\":0.{a},\"b\":0.{b}}}}}", row + 1).unwrap();
    }
    lines
}

fn deliver(scene: &Scene, gateway: &Gateway, rows: String) {
    let file = scene.file("rows.ndjson", rows);
    scene.agent(ROBOT).to(gateway, Transport::Quic).file(&file).once().deliver();
}

fn first_partition(data: &Path) -> PathBuf {
    let first = || fs::read_dir(data.join("log")).ok()?.flatten().map(|entry| entry.path()).min();
    wait_for("there is a partition", first)
}

/// Flips a bit in each page.
fn flip_all_over(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes.iter_mut().skip(1021).step_by(1021).for_each(|byte| *byte ^= 0x10);
    fs::write(file, bytes).unwrap();
}

const MIB: u64 = 1024 * 1024;
