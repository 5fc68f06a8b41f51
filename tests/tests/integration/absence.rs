//! A gateway that is not there: the agent takes everything in, in little memory, and delivers it later.

use muster_tests::{
    aloud::say_aloud,
    facts::{Facts, Words},
    gateway::Transport,
    logs,
    patience::{PATIENCE, wait_within},
};

use crate::scene;

#[test]
fn without_a_gateway_the_agent_spools_in_little_memory_and_delivers_everything_later() {
    let scene = scene();
    // One that was there before, so that the agent knows its address and whom to trust.
    let mut gateway = scene.gateway();
    gateway.kill();
    let log = logs::one(&scene, "drone_px4");
    let ending = if log.extension().is_some_and(|ending| ending == "gz") { ".gz" } else { "" };
    let mut plan =
        scene.agent("absence/r1").to(&gateway, Transport::Quic).once().logging("info,muster_agent=debug");
    for copy in 0..COPIES {
        let name = scene.path(format!("copy-{copy}.ndjson{ending}"));
        std::os::unix::fs::symlink(&log, &name).unwrap();
        plan = plan.file(&name);
    }
    let mut agent = plan.start();
    let taken = || agent.said().matches("was read to its end").count() == COPIES;
    assert!(wait_within(2 * PATIENCE, || taken().then_some(())).is_some(), "the logs are taken");
    assert!(!agent.said().contains("session up"), "there was no gateway all the time");
    let spooled = agent.memory_peak_kib();
    gateway.start_again();

    let mut peak = spooled;
    let status = wait_within(2 * PATIENCE, || {
        peak = peak.max(agent.memory_peak_kib());
        agent.ended()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", agent.said());
    let mut words = Words::default();
    let expected = Facts::of_log(logs::open(&log), &mut words).times(COPIES);
    gateway.samples("absence/r1", &mut words).assert_equals(expected, "all copies", &words);

    let Some(peak) = peak else { return say_aloud("MEMORY IS NOT MEASURED: this system has no /proc") };
    say_aloud(&format!("memory of the agent: {spooled:?} KiB while it spooled, {peak} KiB in all"));
    assert!(peak <= MEMORY_KIB_MAX, "{peak} KiB, {spooled:?} of them while the gateway was absent");
}

const COPIES: usize = 2;

const MEMORY_KIB_MAX: u64 = 30 * 1024;
