//! Each condition that can be made with real programs comes with its cause, says what it says, and clears with it.

mod by_hand;
#[cfg(target_os = "linux")]
mod disks;
mod of_gateway;
mod of_robots;

use muster_tests::{
    gateway::Gateway,
    patience::{wait_for, wait_until},
    process::Which,
    scene::Scene,
};
use serde_json::Value;

/// Returns the condition of this code, of a robot or of the gateway, if it holds.
fn holds(gateway: &Gateway, code: &str, robot: Option<&str>) -> Option<Value> {
    let page = gateway.try_ask(&format!("/v1/conditions?code={code}")).ok()?;
    let conditions = page["conditions"].as_array().expect("there is a list").clone();
    conditions.into_iter().find(|condition| condition["robot"].as_str() == robot)
}

/// Waits until a condition holds, and returns it.
fn comes(gateway: &Gateway, code: &str, robot: Option<&str>) -> Value {
    let condition = wait_for(&format!("{code} comes"), || holds(gateway, code, robot));
    let remedy = condition["remedy"].as_str().expect("there is a remedy");
    assert!(remedy.ends_with(&format!("see RUNBOOK.md#{code}")), "{condition}");
    let since = condition["since"].as_i64().expect("it is a time");
    let now = gateway.ask("/v1/conditions")["now"].as_i64().expect("it is a time");
    assert!(now - since < 3_600_000_000_000, "{condition}");
    condition
}

/// Waits until a condition that was told holds no more.
fn clears(gateway: &Gateway, code: &str, robot: Option<&str>) {
    wait_until(&format!("{code} clears"), || holds(gateway, code, robot).is_none());
}

/// Waits until the words stand in what a condition says.
fn says(condition: &Value, words: &[&str]) {
    let detail = condition["detail"].as_str().expect("there is a sentence");
    for word in words {
        assert!(detail.contains(word), "{word}: {condition}");
    }
}

/// Runs `muster doctor` and returns its exit code and what it printed.
fn doctor(scene: &Scene, gateway: &Gateway, args: &[&str]) -> (Option<i32>, String) {
    let output = scene.run(Which::Muster, &[&["--url", &gateway.http(), "doctor"], args].concat());
    (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
}
