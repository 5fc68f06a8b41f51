//! What an agent may send and what it says of itself, over kills.

use muster_tests::{
    feeder::Feeder,
    gateway::Transport,
    patience::{wait_for, wait_until},
    process::Which,
    scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

const ROBOT: &str = "uplink/r1";
const LIMIT: u64 = 100_000;
const ROWS: usize = 100;
const FIELDS: usize = 20;

/// Asks the agent on the robot's spool; `None` if nobody answers.
fn status(scene: &Scene) -> Option<Value> {
    let spool = scene.path(format!("spool-{}", ROBOT.replace('/', "-")));
    let output = scene.run(Which::Agent, &["status", "--spool", spool.to_str().unwrap(), "-o", "json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Rows that do not compress: 16 kB in a chunk.
fn noise(chunk: usize) -> Vec<Value> {
    let number = |at: usize| {
        let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) as f64 / 1e3
    };
    let row = |row: usize| {
        let fields: Vec<f64> =
            (0..FIELDS).map(|field| number((chunk * ROWS + row) * FIELDS + field)).collect();
        json!({"ch": "noise", "v": fields})
    };
    (0..ROWS).map(row).collect()
}

#[test]
fn a_limit_of_the_day_holds_over_a_kill_and_what_waited_is_delivered_when_it_is_lifted() {
    for transport in Transport::ALL {
        let scene = scene();
        let gateway = scene.gateway();
        let socket = scene.path("input.sock");
        let plan = scene.agent(ROBOT).to(&gateway, transport);
        let limited =
            plan.clone().set("UPLINK__BYTES_PER_DAY", "100kB").input(format!("unix:{}", socket.display()));
        let mut agent = limited.start();
        let mut feeder = Feeder::new(&socket);
        for chunk in 0..12 {
            feeder.send(i64::try_from(chunk * ROWS).unwrap(), &noise(chunk));
        }
        let short =
            |report: &Value| ["urgent", "control"].contains(&report["uplink"]["sends"].as_str().unwrap());
        let before = wait_for("the limit is reached", || status(&scene).filter(short));
        let today = before["uplink"]["today"].as_u64().unwrap();
        assert!((LIMIT / 2..LIMIT * 11 / 10).contains(&today), "{before}");
        assert_eq!((&before["link"]["state"], &before["robot"]), (&json!("up"), &json!(ROBOT)));
        assert!(before["channels"]["top"][0]["channel"].as_str().unwrap().starts_with("noise["));
        agent.kill();
        assert_eq!(status(&scene), None);
        let mut agent = limited.start();
        let after = wait_for("it runs again", || status(&scene));
        assert!(after["uplink"]["today"].as_u64().unwrap() >= today, "{today} before, then {after}");
        wait_until("the count of before holds", || status(&scene).as_ref().is_some_and(short));
        agent.kill();
        plan.once().deliver();
        assert_eq!(gateway.sample_lines(ROBOT).lines().count(), 12 * ROWS * FIELDS, "{}", transport.name());
    }
}
