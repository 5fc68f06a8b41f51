//! What robots call their places and batteries, found by the gateway over the real programs.

use muster_tests::{gateway::Transport, logs, patience::wait_until, process::Which};
use serde_json::Value;

use crate::scene;

#[test]
fn a_recorded_drive_has_a_position_and_a_pose_that_say_how_old_they_are() {
    let scene = scene();
    let gateway = scene.gateway();
    let log = logs::one(&scene, "ground_husky");
    scene.agent("yard/husky").to(&gateway, Transport::Quic).file(&log).once().deliver();
    let robot = gateway.robot("yard/husky").unwrap();
    if robot["channels"].get("/fix.lat").is_none() {
        return; // Generated in the place of the real one, which is not here.
    }
    let (position, pose) = (&robot["position"], &robot["pose"]);
    assert!((42.0..43.0).contains(&position["latitude"].as_f64().unwrap()), "{position}");
    assert!((-72.0..-71.0).contains(&position["longitude"].as_f64().unwrap()), "{position}");
    // Times before 2020 are not believed, so these values are as old as their arrival; whatever it is, both say the same.
    let of_channel = |name: &str| robot["channels"][name]["freshness"].clone();
    assert_eq!(position["channel"], "/fix.lat");
    assert_eq!(position["freshness"], of_channel("/fix.lat"));
    let heading = pose["heading"].as_f64().unwrap();
    assert!(heading.abs() <= std::f64::consts::PI, "{pose}");
    let odometry = of_channel("/husky_velocity_controller/odom.px");
    assert_eq!((&pose["map"], &pose["freshness"]), (&"odom".into(), &odometry));
    assert_eq!((&robot["battery"], &robot["version"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_configured_mapping_and_a_threshold_judge_what_comes_in() {
    let scene = scene();
    let rule = "[{ name = \"low battery\", channel = \"bms.percent*0.01\", below = 0.2, level = \"error\" }]";
    let plan = scene.gateway_plan().set("THRESHOLD", rule);
    let plan = plan.set("MAP__CHARGE", "bms.percent*0.01").set("MAP__CHARGING", "bms.state");
    let gateway = plan.set("MAP__VERSION", "build").start();
    let log = scene.file(
        "log.ndjson",
        "{\"ch\":\"bms\",\"v\":{\"percent\":12,\"state\":\"charging\"}}\n{\"ch\":\"build\",\"v\":\"7f3a\"}\n",
    );
    // The test may take longer than a value without a pace stays fresh.
    let plan = scene.agent("yard/r1").set("CHANNEL", "[{ match = \"*\", interval = \"1h\" }]");
    plan.to(&gateway, Transport::Mqtt).file(&log).once().deliver();
    wait_until("the threshold is seen", || {
        gateway.robot("yard/r1").is_some_and(|robot| robot["health"]["level"] == "error")
    });
    let robot = gateway.robot("yard/r1").unwrap();
    let reasons = robot["health"]["reasons"].as_array().unwrap();
    assert!(reasons.contains(&"low battery: bms.percent is 0.12, below 0.2".into()), "{reasons:?}");
    assert_eq!((&robot["battery"]["charge"], &robot["battery"]["charging"]), (&0.12.into(), &true.into()));
    assert_eq!(robot["version"]["v"], "7f3a");
    let output = scene.run(Which::Muster, &["--url", &gateway.http(), "robot", "yard/r1"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("12 %, charging (bms.percent, fresh, "), "{told}");
}

#[test]
fn a_mapping_that_cannot_be_is_refused_at_the_start() {
    let scene = scene();
    let config = scene.file("gateway.toml", "[map]\nlatitude = [\"a\"]\n");
    let output = scene.run(Which::Gateway, &["--config", config.to_str().unwrap(), "--print-config"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("map.latitude has 1 channels and map.longitude has 9"), "{told}");
}
