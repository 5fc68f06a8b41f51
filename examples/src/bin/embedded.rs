//! A robot's program with the agent inside it: no second process, no socket.
//!
//!     cargo run --release -p muster-examples --bin embedded -- mqtt://127.0.0.1:1883 [FLEET/ROBOT] [SECONDS]
//!
//! A control loop must never wait for telemetry, so recording never blocks. What cannot be taken is refused with a
//! reason, which the program counts here; what was taken is on disk when `flush` returns, and reaches the gateway also
//! if that is away for hours.

use std::{env, time::Duration};

use anyhow::Context as _;
use muster_agent::{
    config::Config,
    handle::{Agent, Recorder},
};
use muster_examples::clock;
use muster_protocol::id::Lane;

fn main() -> anyhow::Result<()> {
    let mut words = env::args().skip(1);
    let gateway = words.next().context("usage: embedded GATEWAY-URL [FLEET/ROBOT] [SECONDS]")?;
    let robot = words.next().unwrap_or_else(|| "demo/embedded".to_owned());
    let seconds: u32 =
        words.next().map_or(Ok(60), |text| text.parse()).context("read SECONDS as a whole number")?;

    let mut config = Config::new(&robot.parse()?);
    config.gateway = vec![gateway.parse()?];
    config.spool.dir = env::temp_dir().join(format!("muster-embedded-{}", robot.replace('/', "-")));
    let agent = Agent::start(config).context("start the agent")?;

    let refused = control(&agent.recorder(), seconds);

    let counts = agent.flush(Duration::from_secs(10)).context("wait until all is on disk")?;
    for refusal in agent.refusals() {
        tell(&format!("refused {} times: {}", refusal.count, refusal.first.why));
    }
    tell(&format!(
        "{} rows on disk, {} refused, {refused} of them seen here",
        counts.accepted, counts.refused
    ));
    agent.shutdown().context("shut down")?;
    Ok(())
}

/// Is the control loop: 50 times a second it moves a joint and records what it did. Returns how many rows were refused.
fn control(recorder: &Recorder, seconds: u32) -> u32 {
    const HERTZ: u32 = 50;
    let mut refused = 0;
    let mut note = |recorded: Result<(), _>| refused += u32::from(recorded.is_err());
    note(recorder.row().lane(Lane::Urgent).field("event", "control loop started").record());
    for step in 0..seconds * HERTZ {
        let angle = (f64::from(step) / f64::from(HERTZ)).sin();
        note(
            recorder
                .row()
                .unit("rad")
                .field("joint.angle", angle)
                .field("joint.step", i64::from(step))
                .record(),
        );
        if step.is_multiple_of(HERTZ) {
            note(recorder.record("battery.soc", 1.0 - f64::from(step) / 1e6));
        }
        clock::pause(Duration::from_secs(1) / HERTZ);
    }
    note(recorder.record("a name\nthat is none", 1.0));
    refused
}

#[expect(clippy::print_stdout, reason = "the result of a program")]
fn tell(line: &str) {
    println!("{line}");
}
