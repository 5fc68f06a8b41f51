//! `muster-agent doctor` against real programs: what is there, what is wrong, and that nothing is disturbed by it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    thread,
};

use muster_tests::{
    feeder::Feeder,
    gateway::{Gateway, Transport},
    process::Which,
    scene::Scene,
};
use serde_json::{Value, json};

use crate::scene;

/// Runs it, and returns its exit code and its findings.
fn doctor(scene: &Scene, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let spool = scene.path("spool-doctor-r1");
    let all = [&["doctor", "-o", "json", "--robot", "doctor/r1", "--spool", spool.to_str().unwrap()], args];
    let output = scene.run(Which::Agent, &all.concat());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), answer["findings"].as_array().unwrap().clone())
}

/// Returns the finding of a check, and of a subject where there are several.
fn finding<'a>(findings: &'a [Value], check: &str, subject: &str) -> &'a Value {
    let of = |finding: &&Value| {
        finding["check"] == check && finding["subject"].as_str().unwrap().contains(subject)
    };
    findings.iter().find(of).unwrap_or_else(|| panic!("no {check} {subject} in {findings:?}"))
}

fn assert_finds(findings: &[Value], (check, subject): (&str, &str), level: &str, words: &str) {
    let found = finding(findings, check, subject);
    assert_eq!(found["level"], level, "{found}");
    assert!(found["says"].as_str().unwrap().contains(words), "`{words}` is missing in {found}");
}

fn urls(gateway: &Gateway) -> [String; 2] {
    Transport::ALL.map(|transport| gateway.url(transport))
}

#[test]
fn a_gateway_that_can_be_reached_is_called_well_and_hears_of_no_robot() {
    let scene = scene();
    let gateway = scene.gateway();
    let [quic, mqtt] = urls(&gateway);
    let ca = gateway.ca();
    let socket = format!("unix:{}", scene.path("input.sock").display());
    let args = ["--gateway", &quic, "--gateway", &mqtt, "--ca", ca.to_str().unwrap(), "--input", &socket];
    let (code, findings) = doctor(&scene, &args);
    assert_eq!(code, Some(0), "{findings:?}");
    assert_finds(&findings, ("gateway", &quic), "ok", "speaks muster/1");
    assert_finds(&findings, ("gateway", &mqtt), "ok", "speaks MQTT");
    assert_finds(&findings, ("ca", ""), "ok", "1 certificate");
    assert_finds(&findings, ("input", &socket), "ok", "can start");
    assert_finds(&findings, ("agent", ""), "ok", "none runs");
    assert!(!scene.path("spool-doctor-r1").exists(), "no spool was made");

    // A running agent goes on as if nobody had looked.
    let agent = scene.agent("doctor/r1").to(&gateway, Transport::Quic).input(&socket).start();
    let mut feeder = Feeder::new(&scene.path("input.sock"));
    feeder.send(0, &[json!({"ch": "a", "v": 1})]);
    agent.wait_to_say("session up");
    let before = gateway.robot("doctor/r1").unwrap()["link"]["since"].clone();
    let (code, findings) = doctor(&scene, &args);
    assert_eq!(code, Some(0), "{findings:?}");
    assert_finds(&findings, ("agent", ""), "ok", "link up");
    assert_finds(&findings, ("input", &socket), "ok", "by the running agent");
    feeder.send(1, &[json!({"ch": "a", "v": 2})]);
    assert_eq!(feeder.accepted().len(), 2);
    assert_eq!(gateway.robot("doctor/r1").unwrap()["link"]["since"], before, "its session lives on");
    assert_eq!(gateway.ask("/v1/fleet")["robots"], 1, "nobody else was heard of");
    assert!(!agent.said().contains("ERROR"), "{}", agent.said());
}

#[test]
fn what_is_wrong_with_a_gateway_is_told_apart() {
    let scene = scene();
    let mut gateway = scene.gateway();
    let other = scene.gateway_plan().on(scene.path("other")).start();
    let [quic, mqtt] = urls(&gateway);
    let (ca, wrong_ca) = (gateway.ca(), other.ca());
    let missing = scene.path("none.pem");
    let of = |url: &str, ca: &std::path::Path| {
        let (code, findings) = doctor(&scene, &["--gateway", url, "--ca", ca.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{findings:?}");
        findings
    };
    assert_finds(&of(&quic, &wrong_ca), ("gateway", ""), "fail", "is not trusted");
    assert_finds(&of(&quic, &missing), ("ca", "none.pem"), "fail", "cannot be used");
    let (code, findings) = doctor(&scene, &["--gateway", &quic]);
    assert_eq!(code, Some(1));
    assert_finds(&findings, ("ca", ""), "fail", "none is named");

    let port = gateway.address(Transport::Mqtt).port();
    assert_finds(
        &of(&format!("quic://127.0.0.1:{port}"), &ca),
        ("gateway", ""),
        "fail",
        "no program takes UDP",
    );
    let port = gateway.address(Transport::Quic).port();
    assert_finds(
        &of(&format!("mqtt://127.0.0.1:{port}"), &ca),
        ("gateway", ""),
        "fail",
        "no program takes TCP",
    );
    assert_finds(
        &of(&format!("mqtts://{}", gateway.address(Transport::Mqtt)), &ca),
        ("gateway", ""),
        "fail",
        ":",
    );
    let http = gateway.http().replace("http:", "mqtt:");
    assert_finds(&of(&http, &ca), ("gateway", ""), "fail", "not an MQTT server");
    assert_finds(&of("quic://no-such-host.invalid:4443", &ca), ("gateway", ""), "fail", "has no address");
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let deaf = format!("quic://{}", deaf.local_addr().unwrap());
    assert_finds(&of(&deaf, &ca), ("gateway", ""), "fail", "");

    gateway.kill();
    for url in [&quic, &mqtt] {
        assert_finds(&of(url, &ca), ("gateway", ""), "fail", "no program takes");
    }
}

#[test]
fn one_way_that_works_is_enough_and_strangers_are_named() {
    let scene = scene();
    let gateway = scene.gateway();
    let stranger = stranger();
    let stranger = format!("mqtt://{stranger}");
    let quic = gateway.url(Transport::Quic);
    let ca = gateway.ca();
    let args = ["--gateway", &stranger, "--gateway", &quic, "--ca", ca.to_str().unwrap()];
    let (code, findings) = doctor(&scene, &args);
    assert_eq!(code, Some(0), "{findings:?}");
    assert_finds(&findings, ("gateway", &stranger), "warn", "is not an MQTT server");
}

/// Listens where something else than a gateway is.
fn stranger() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 256]);
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n");
        }
    });
    address
}

#[test]
fn what_is_wrong_on_the_robot_is_told_in_lines_for_people() {
    let scene = scene();
    let gateway = scene.gateway();
    let mqtt = gateway.url(Transport::Mqtt);
    let data = gateway.data().to_str().unwrap();
    let before = fs::read_dir(data).unwrap().count();
    let missing = format!("file:{}", scene.path("none.ndjson").display());
    let output =
        scene.run(Which::Agent, &["doctor", "--gateway", &mqtt, "--spool", data, "--input", &missing]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in [
        "FAIL  configuration: robot is not set",
        &format!("FAIL  spool {data}: is the data folder of a gateway; give the agent a folder of its own"),
        &format!("FAIL  input {missing}: cannot be read"),
        &format!("ok    gateway {mqtt}: "),
    ] {
        assert!(told.lines().any(|told| told.starts_with(line)), "`{line}` is missing in:\n{told}");
    }
    assert_eq!(fs::read_dir(data).unwrap().count(), before, "nothing was left there");
    let unknown = scene.file("agent.toml", "spol = 1\n");
    let output = scene.run(Which::Agent, &["doctor", "--config", unknown.to_str().unwrap()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("FAIL  configuration: ") && told.contains("spol"), "{told}");
}
