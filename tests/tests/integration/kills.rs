//! What was accepted is stored exactly once, whoever is killed on the way.

use muster_tests::{fault::kills, gateway::Transport};

use crate::scene;

#[test]
fn over_quic_fifty_kills_each_of_gateway_and_agent_lose_and_double_nothing_that_was_accepted() {
    kills::run(&scene(), Transport::Quic, KILLS, 1).assert_nothing_lost("over QUIC");
}

#[test]
fn over_mqtt_fifty_kills_each_of_gateway_and_agent_lose_and_double_nothing_that_was_accepted() {
    kills::run(&scene(), Transport::Mqtt, KILLS, 2).assert_nothing_lost("over MQTT");
}

/// Of each.
const KILLS: usize = 50;
