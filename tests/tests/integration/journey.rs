//! One sample's whole journey: from a log into an agent, over a link, into the store, and out of the API.

use std::thread;

use muster_tests::{
    facts::{Facts, Words},
    gateway::Transport,
    logs,
};

use crate::scene;

#[test]
fn every_log_comes_out_exactly_as_it_went_in_over_quic_and_over_mqtt() {
    let scene = scene();
    let gateway = scene.gateway();
    let logs = logs::all(&scene);
    let robot = |n: usize, transport: Transport| format!("replay/{}-{n}", transport.name());
    for (n, log) in logs.iter().enumerate() {
        thread::scope(|threads| {
            for transport in Transport::ALL {
                let agent = scene.agent(&robot(n, transport)).to(&gateway, transport).file(log).once();
                threads.spawn(move || agent.deliver());
            }
        });
        let mut words = Words::default();
        let expected = Facts::of_log(logs::open(log), &mut words);
        for transport in Transport::ALL {
            let stored = gateway.samples(&robot(n, transport), &mut words);
            let what = format!("{} over {}", log.display(), transport.name());
            stored.assert_equals(expected.clone(), &what, &words);
        }
    }
}
