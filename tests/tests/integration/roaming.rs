//! A robot that moves from one network to another, in networks of the test's own.

use muster_tests::{
    fault::Story,
    gateway::{Gateway, Transport},
    netlab::{Conditions, GATEWAY, Lab, link::Delay},
    sandbox::{Own, alone},
};
use serde_json::Value;

use crate::scene;

#[test]
fn over_quic_a_session_goes_on_when_the_robots_address_changes() {
    let scene = scene();
    let on_it = || {
        let way =
            || Conditions::rated(20_000_000).delayed(Delay::Fixed(std::time::Duration::from_millis(20)));
        let lab = Lab::new(&scene.path(""), &[[way(), way()], [way(), way()]], 1);
        let gateway = scene.gateway_plan().reached_at(GATEWAY).start();
        let plan = lab.agent(scene.agent("faults/r1"), &gateway, Transport::Quic);
        let mut story = Story::with(&scene, gateway, plan);
        story.wait_for_traffic();
        let before = link(&story.gateway);
        for path in [1, 0, 1] {
            lab.roam(path);
            story.feed(20);
            story.wait_for_traffic();
        }
        let after = link(&story.gateway);
        assert_eq!(before["since"], after["since"], "{before} and {after}");
        for said in [story.agent.said(), story.gateway.said()] {
            assert_eq!(said.matches("session up").count(), 1, "one handshake for all paths:\n{said}");
        }
        let [carried, _] = lab.carried(1);
        assert!(carried > 10_000, "the other path carried {carried} bytes");
        story.drain();
        story.account()
    };
    if Lab::possible()
        && let Some(account) = alone(Own::Network, on_it)
    {
        account.assert_nothing_lost("roaming");
    }
}

fn link(gateway: &Gateway) -> Value {
    gateway.robot("faults/r1").expect("the gateway knows the robot")["link"].clone()
}
