//! Several ways to the gateway: an agent takes the next one when one does not answer.

use std::net::{TcpListener, UdpSocket};

use muster_tests::{
    facts::{Facts, Words},
    gateway::Transport,
    logs,
};

use crate::scene;

#[test]
fn an_agent_whose_first_gateway_url_does_not_answer_delivers_over_the_next() {
    let scene = scene();
    let gateway = scene.gateway();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = logs::one(&scene, "ground_frc");
    let plan = scene.agent("gateways/r1").arg("--gateway").arg(format!("mqtt://{free}"));
    plan.to(&gateway, Transport::Quic).file(&log).once().deliver();
    let mut words = Words::default();
    let expected = Facts::of_log(logs::open(&log), &mut words);
    gateway.samples("gateways/r1", &mut words).assert_equals(expected, "over the second URL", &words);
    assert_eq!(gateway.robot("gateways/r1").unwrap()["link"]["transport"], "quic");
}

#[test]
fn an_agent_that_is_killed_and_comes_back_over_another_transport_loses_and_doubles_nothing() {
    let scene = scene();
    let gateway = scene.gateway();
    let log = logs::one(&scene, "ground_husky");
    let socket = scene.path("input.sock");
    let plan = scene.agent("gateways/r2");
    let first = plan.clone().to(&gateway, Transport::Quic).set("SPOOL__SYNC_EVERY", "10ms");
    let mut agent = first.input(format!("unix:{}", socket.display())).start();
    let mut feeder = muster_tests::feeder::Feeder::new(&socket);
    let rows = logs::numbered_rows(&log, 2000);
    for (n, chunk) in rows.chunks(500).enumerate() {
        feeder.send(i64::try_from(n * 500).unwrap(), chunk);
    }
    agent.kill();
    plan.to(&gateway, Transport::Mqtt).once().deliver();
    let mut words = Words::default();
    let mut expected = Facts::default();
    for row in &rows {
        expected.add_row(row, &mut words);
    }
    assert_eq!(feeder.accepted().len(), rows.len());
    gateway.samples("gateways/r2", &mut words).assert_equals(expected, "each row once", &words);
}

/// Guards: a URL with a wrong port was given up after 10 s of silence, without a word before.
#[test]
fn a_quic_url_where_nobody_listens_is_explained_while_it_is_still_tried() {
    let scene = scene();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ca = scene.gateway().ca();
    let plan = scene.agent("ways/wrong").arg("--gateway").arg(format!("quic://{free}"));
    let mut agent = plan.arg("--ca").arg(ca.to_str().unwrap()).start();
    agent.wait_to_say(&format!("no link: no program takes UDP at {free}; check the port"));
    assert!(!agent.said().contains("no answer within"), "said before the attempt was over");
    assert_eq!(agent.terminate().code(), Some(0));
}
