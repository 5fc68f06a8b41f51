//! Conditions of the gateway that need no disk of their own.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
};

use muster_tests::{
    broker::Broker,
    gateway::{Gateway, Transport},
    outside::there,
    patience::wait_until,
    scene::Scene,
};
use serde_json::Value;

use super::{clears, comes, doctor, holds, says};
use crate::scene;

#[test]
fn a_gateway_with_nothing_wrong_says_so() {
    let scene = scene();
    let gateway = scene.gateway();
    let page = gateway.ask("/v1/conditions");
    let wrong: Vec<&Value> = page["conditions"].as_array().unwrap().iter().collect();
    // The disk and the limit of files are this machine's.
    let own = ["disk_nearly_full", "connections_limited"];
    let code = |condition: &Value| condition["code"].as_str().unwrap().to_owned();
    assert!(wrong.iter().all(|condition| own.contains(&code(condition).as_str())), "{page}");
    let (code, table) = doctor(&scene, &gateway, &[]);
    assert_eq!(code, Some(0), "{table}");
    assert!(table.contains("takes samples"), "{table}");
    let (code, json) = doctor(&scene, &gateway, &["-o", "json"]);
    let json: Value = json.parse().unwrap();
    assert_eq!(
        (code, &json["ready"], &json["counts"]["by_severity"]["error"]),
        (Some(0), &true.into(), &0.into())
    );
}

#[test]
fn a_broker_that_is_away_is_told_until_it_is_back() {
    if !there("mosquitto", "mosquitto") {
        return;
    }
    let scene = scene();
    let mut broker = Broker::start(&scene);
    let gateway = scene.gateway_plan().set("MQTT__BROKER__URL", &broker.url()).start();
    wait_until("it is connected", || {
        let port = broker.url().rsplit(':').next().unwrap().to_owned();
        gateway.metric(&format!("muster_broker_connected{{broker=\"127.0.0.1:{port}\"}}")) == Some(1.0)
    });
    assert!(holds(&gateway, "broker_disconnected", None).is_none());
    broker.kill();
    says(&comes(&gateway, "broker_disconnected", None), &["127.0.0.1:"]);
    assert_eq!(doctor(&scene, &gateway, &[]).0, Some(1));
    broker.start_again();
    clears(&gateway, "broker_disconnected", None);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_told_until_it_can() {
    let scene = scene();
    let gateway = scene.gateway_plan().set("STORE__CHECKPOINT_EVERY", "1s").start();
    let (folder, aside) = (gateway.data().join("checkpoints"), gateway.data().join("aside"));
    feed(&scene, &gateway);
    fs::rename(&folder, &aside).unwrap();
    fs::write(&folder, "no folder").unwrap();
    wait_until("it fails", || {
        feed(&scene, &gateway);
        holds(&gateway, "checkpoint_failed", None).is_some()
    });
    says(&comes(&gateway, "checkpoint_failed", None), &["the last checkpoint was not saved", "checkpoints"]);
    assert!(gateway.metric("muster_checkpoint_failures_total").is_some_and(|times| times >= 1.0));
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    clears(&gateway, "checkpoint_failed", None);
}

#[test]
fn connections_are_limited_by_files_and_full_at_their_bound() {
    if !there("prlimit", "util-linux") {
        return;
    }
    let scene = scene();
    let gateway = scene.gateway_plan().started_by(&["prlimit", "--nofile=128:128"]).start();
    says(&comes(&gateway, "connections_limited", None), &["mqtt takes 48 connections, not the 10000"]);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.mqtt_port())).unwrap();
    let mut open: Vec<TcpStream> = (0..48).map(|_| connect()).collect();
    says(&comes(&gateway, "connections_full", None), &["mqtt has 48 of 48 connections"]);
    open.clear();
    clears(&gateway, "connections_full", None);
    // One too many is told for a while after there is room again.
    let open: Vec<TcpStream> = (0..49).map(|_| connect()).collect();
    wait_until("one is turned away", || {
        gateway.metric("muster_connections_turned_away_total{listener=\"mqtt\"}").is_some_and(|n| n >= 1.0)
    });
    drop(open);
    let full = comes(&gateway, "connections_full", None);
    assert!(full["detail"].as_str().unwrap().contains("turned"), "{full}");
}

#[test]
fn a_certificate_that_an_operator_put_there_is_told_before_and_after_its_end() {
    if !there("openssl", "openssl") {
        return;
    }
    let scene = scene();
    let mut gateway = scene.gateway();
    assert!(holds(&gateway, "certificate_expiring", None).is_none(), "its own has no end that matters");
    let own = fs::read(gateway.data().join("server.pem")).unwrap();
    let key = fs::read(gateway.data().join("server-key.pem")).unwrap();
    gateway.stop();

    certify(gateway.data(), "20200101000000Z", "20210101000000Z");
    gateway.start_again();
    says(&comes_whenever(&gateway, "certificate_expired"), &["ended on 2021-01-01"]);
    gateway.stop();

    let next_week = Command::new("date").args(["-u", "-d", "7 days", "+%Y%m%d%H%M%SZ"]).output().unwrap();
    certify(gateway.data(), "20200101000000Z", String::from_utf8(next_week.stdout).unwrap().trim());
    gateway.start_again();
    says(&comes_whenever(&gateway, "certificate_expiring"), &["in 6 days"]);
    assert!(holds(&gateway, "certificate_expired", None).is_none());
    gateway.stop();

    fs::write(gateway.data().join("server.pem"), own).unwrap();
    fs::write(gateway.data().join("server-key.pem"), key).unwrap();
    gateway.start_again();
    assert!(holds(&gateway, "certificate_expiring", None).is_none());
}

/// A condition whose time is that of a certificate, which may be years ago.
fn comes_whenever(gateway: &Gateway, code: &str) -> Value {
    muster_tests::patience::wait_for(code, || holds(gateway, code, None))
}

/// Puts a certificate with these dates, and its key, into a data folder.
fn certify(data: &Path, from: &str, to: &str) {
    let run = |command: &mut Command| {
        let output = command.current_dir(data).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let config = "[ca]\ndefault_ca=own\n[own]\ndatabase=issued\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\n\
                  policy=any\nx509_extensions=more\n[more]\nsubjectAltName=DNS:localhost\n[any]\ncommonName=supplied\n[req]\ndistinguished_name=name\n[name]\n";
    fs::write(data.join("openssl.cnf"), config).unwrap();
    fs::write(data.join("issued"), "").unwrap();
    fs::write(data.join("serial"), "01\n").unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let request = ["-subj", "/CN=localhost", "-keyout", "server-key.pem", "-out", "request.pem"];
    run(Command::new("openssl").args(["req", "-new", "-config", "openssl.cnf"]).args(curve).args(request));
    let dates = ["-startdate", from, "-enddate", to];
    let files =
        ["-in", "request.pem", "-keyfile", "server-key.pem", "-out", "server.pem", "-notext", "-batch"];
    run(Command::new("openssl").args(["ca", "-selfsign", "-config", "openssl.cnf"]).args(dates).args(files));
}

/// Delivers a row.
fn feed(scene: &Scene, gateway: &Gateway) {
    let file = scene.file("row.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    scene.agent("cond/feeder").to(gateway, Transport::Quic).file(&file).once().deliver();
}
