//! Each condition comes with its cause, says what it says, and clears with it: over the real programs where that takes
//! seconds, and over the same code in virtual time where a rule that nobody can set makes it take longer.

mod by_hand;
mod coverage;
#[cfg(target_os = "linux")]
mod disks;
mod in_virtual_time;
mod of_gateway;
mod of_robots;
mod of_values;

use muster_gateway::conditions::Code;
use muster_tests::{
    conditions::Watched as _,
    gateway::{Gateway, GatewayPlan, Transport},
    process::Which,
    scene::Scene,
};

/// Returns whether a condition holds.
fn holds(gateway: &Gateway, code: Code, robot: Option<&str>) -> bool {
    gateway.holds(code, robot).is_some()
}

/// Returns a gateway for which *lately* is as short as it can be.
fn forgetful(scene: &Scene) -> GatewayPlan {
    scene.gateway_plan().set("CONDITIONS__LATELY", "5s")
}

/// Runs `muster doctor` and returns its exit code and what it printed.
fn doctor(scene: &Scene, gateway: &Gateway, args: &[&str]) -> (Option<i32>, String) {
    let output = scene.run(Which::Muster, &[&["--url", &gateway.http(), "doctor"], args].concat());
    (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
}

/// Delivers a row.
fn feed(scene: &Scene, gateway: &Gateway) {
    let file = scene.file("row.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    scene.agent("cond/feeder").to(gateway, Transport::Quic).file(&file).once().deliver();
}
