//! `muster-gateway store trim` on a disk that is full: through a running gateway, and without one.

use std::fmt::Write as _;

use muster_tests::{
    dice::Dice,
    facts::{Facts, Words},
    gateway::{Gateway, Transport},
    patience::wait_until,
    process::Which,
    sandbox::{Disk, Own, alone},
    scene::Scene,
};
use serde_json::Value;

use crate::scene;

/// Room for a ballast, some partitions, and the room without which nothing is taken.
const DISK_BYTES: u64 = 96 * 1024 * 1024;

/// Rows of texts that do not compress, so that few fill a partition.
fn log(rows: u64) -> String {
    let mut dice = Dice::new(rows);
    (0..rows).fold(String::new(), |mut log, row| {
        let text = (0..512).fold(String::new(), |text, _| text + &format!("{:016x}", dice.next()));
        let _ = writeln!(log, "{{\"t\":{},\"ch\":\"noise\",\"v\":\"{text}\"}}", row + 1);
        log
    })
}

fn deliver(scene: &Scene, gateway: &Gateway, robot: &str, rows: u64) {
    let log = scene.file(&format!("{}.ndjson", robot.replace('/', "-")), log(rows));
    scene.agent(robot).to(gateway, Transport::Quic).file(&log).once().deliver();
}

/// Runs `store trim` and returns its exit code and its JSON.
fn trim(scene: &Scene, gateway: &Gateway, args: &[&str]) -> (Option<i32>, Value) {
    let data = gateway.data().to_str().unwrap();
    let output = scene.run(Which::Gateway, &[&["store", "trim", data, "-o", "json"], args].concat());
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), answer)
}

/// Starts a gateway on a small disk and fills some partitions that nothing keeps from going.
fn with_partitions(scene: &Scene) -> Gateway {
    let plan = scene.gateway_plan().set("STORE__PARTITION_SIZE", "1MiB").set("STORE__CHECKPOINT_EVERY", "1s");
    let mut gateway = plan.start();
    deliver(scene, &gateway, "trim/old", 2400);
    for robot in ["trim/a", "trim/b"] {
        // A gateway that ends in order leaves a checkpoint.
        gateway.stop();
        gateway.start_again();
        deliver(scene, &gateway, robot, 1);
    }
    gateway
}

#[test]
fn a_full_disk_is_freed_by_a_running_gateway_and_without_one() {
    let scene = scene();
    alone(Own::Mounts, || {
        let disk = Disk::in_memory(&scene.path("data"), DISK_BYTES);
        let mut gateway = with_partitions(&scene);
        disk.fill_up();
        wait_until("it has no room", || gateway.try_ask("/readyz").is_err());
        let late = scene.file("late.ndjson", log(4));
        let plan = scene.agent("trim/late").to(&gateway, Transport::Quic).file(&late);
        let mut agent = plan.start();
        agent.wait_to_say("session up");

        let (code, plan) = trim(&scene, &gateway, &["--to-size", "16MiB"]);
        assert_eq!((code, &plan["trimmed"]), (Some(1), &Value::Null), "nobody agreed: {plan}");
        assert_eq!(plan["plan"]["robots"][0]["robot"], "trim/old", "{plan}");
        let (code, done) = trim(&scene, &gateway, &["--to-size", "16MiB", "--yes"]);
        assert_eq!((code, &done["plan"]), (Some(0), &plan["plan"]), "{done}");
        assert!(done["trimmed"]["bytes"].as_u64() > Some(9 << 20), "{done}");
        wait_until("what waited is stored", || {
            gateway.robot("trim/late").is_some_and(|robot| robot["samples"] == 4)
        });
        agent.terminate();
        let first = gateway.ask("/v1/fleet")["log"]["first"].as_u64();
        assert_eq!(first, done["plan"]["first"].as_u64());
        assert_eq!(gateway.ask("/v1/fleet")["loss"]["samples"], 0, "what went is no loss");

        disk.fill_up();
        gateway.kill();
        let (code, offline) = trim(&scene, &gateway, &["--older-than", "0s", "--yes"]);
        assert!(offline["trimmed"]["bytes"].as_u64() > Some(9 << 20), "exit code {code:?}: {offline}");
        gateway.start_again();
        deliver(&scene, &gateway, "trim/after", 3);
        let mut words = Words::default();
        let expected = Facts::of_log(log(3).as_bytes(), &mut words);
        gateway.samples("trim/after", &mut words).assert_equals(expected, "after the trim", &words);
        assert_eq!(gateway.ask("/v1/fleet")["loss"]["samples"], 0);
        gateway.stop();
        let data = gateway.data().to_str().unwrap();
        let checked = scene.run(Which::Gateway, &["store", "check", data]);
        assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    });
}
