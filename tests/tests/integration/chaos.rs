//! A network that cuts, stalls, half-closes, throttles, corrupts, drops, doubles and reorders loses and doubles
//! nothing.

use std::time::Duration;

use muster_tests::{aloud::say_aloud, fault::storms, gateway::Transport};

use crate::scene;

#[test]
fn a_storm_over_quic_loses_and_doubles_nothing() {
    weather(Transport::Quic, 11);
}

#[test]
fn a_storm_over_mqtt_loses_and_doubles_nothing() {
    weather(Transport::Mqtt, 12);
}

fn weather(transport: Transport, seed: u64) {
    let storm = storms::run(&scene(), transport, LASTS, seed);
    say_aloud(&format!("storm over {} with seed {seed}: {:?}", transport.name(), storm.harm));
    storm.account.assert_nothing_lost(transport.name());
    assert!(storm.harm.len() >= KINDS_MIN, "too little was done: {:?}", storm.harm);
}

/// Long enough for a round of all moods.
const LASTS: Duration = Duration::from_secs(12);

/// Kinds of harm that a round does for certain.
const KINDS_MIN: usize = 4;
