//! Conditions of the gateway that need no disk of their own.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
};

use muster_gateway::conditions::Code;
use muster_tests::{
    broker::Broker,
    conditions::raises,
    outside::{Answered, publish_by_hand, there},
    patience::wait_until,
};
use serde_json::Value;

use super::{doctor, feed, forgetful, holds};
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
    assert!(!holds(&gateway, Code::BrokerDisconnected, None));
    broker.kill();
    let away = raises(&gateway, Code::BrokerDisconnected, None).says(&["127.0.0.1:"]);
    assert_eq!(doctor(&scene, &gateway, &[]).0, Some(1));
    broker.start_again();
    away.clears(&gateway);
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
        holds(&gateway, Code::CheckpointFailed, None)
    });
    let failed = raises(&gateway, Code::CheckpointFailed, None);
    let failed = failed.says(&["the last checkpoint was not saved", "checkpoints"]);
    assert!(gateway.metric("muster_checkpoint_failures_total").is_some_and(|times| times >= 1.0));
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    failed.clears(&gateway);
}

#[test]
fn connections_are_limited_by_files_and_full_at_their_bound() {
    if !there("prlimit", "util-linux") {
        return;
    }
    let scene = scene();
    let few = forgetful(&scene).started_by(&["prlimit", "--nofile=128:128"]);
    let mut gateway = few.clone().start();
    let limited = raises(&gateway, Code::ConnectionsLimited, None);
    let limited = limited.says(&["mqtt takes 48 connections, not the 10000"]);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.mqtt_port())).unwrap();
    let mut open: Vec<TcpStream> = (0..48).map(|_| connect()).collect();
    let full = raises(&gateway, Code::ConnectionsFull, None).says(&["mqtt has 48 of 48 connections"]);
    open.clear();
    full.clears(&gateway);
    // One too many is told for a while after there is room again.
    let open: Vec<TcpStream> = (0..49).map(|_| connect()).collect();
    wait_until("one is turned away", || {
        gateway.metric("muster_connections_turned_away_total{listener=\"mqtt\"}").is_some_and(|n| n >= 1.0)
    });
    drop(open);
    let full = raises(&gateway, Code::ConnectionsFull, None).says(&["turned"]);
    full.clears(&gateway);
    gateway.stop();
    let fitting = few.set("SESSION__MAX", "48").start();
    limited.clears(&fitting);
}

#[cfg(target_os = "linux")]
#[test]
fn files_run_short_where_the_limit_is_too_low_for_those_who_connect() {
    if !there("prlimit", "util-linux") {
        return;
    }
    let scene = scene();
    let mut gateway = scene.gateway();
    let own = fs::read_dir(format!("/proc/{}/fd", gateway.process_id())).unwrap().count();
    gateway.stop();
    // Of few files half are set aside for the store, and a quarter of the rest is for HTTP.
    let mqtt = |limit: usize| (limit - limit / 2) - (limit - limit / 2) / 4;
    let too_low = |limit: &usize| (own + mqtt(*limit)) * 10 > limit * 9;
    let limit =
        (own..1024).rev().find(too_low).expect("what the gateway itself needs is more than half of it");
    let nofile = format!("--nofile={limit}:{limit}");
    let gateway = scene.gateway_plan().started_by(&["prlimit", &nofile]).start();
    let mut open = Vec::new();
    wait_until("nine tenths of the files are open", || {
        open.push(TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.mqtt_port())).unwrap());
        holds(&gateway, Code::DescriptorsLow, None)
    });
    let low = raises(&gateway, Code::DescriptorsLow, None);
    let low = low.says(&[&format!("of {limit} file descriptors are open")]);
    open.clear();
    low.clears(&gateway);
}

#[test]
fn robots_beyond_those_that_may_come_are_turned_away_and_told_for_a_while() {
    let scene = scene();
    let gateway = forgetful(&scene).set("ROBOTS_MAX", "1").start();
    let say = |robot: &str| {
        publish_by_hand(gateway.mqtt_port(), &format!("muster/1/{robot}/json"), b"{\"ch\":\"a\",\"v\":1}")
    };
    assert_eq!((say("cond/one"), say("cond/two")), (Answered::Puback, Answered::Closed));
    let full = raises(&gateway, Code::RobotsFull, None);
    let full = full.says(&["holds 1 robots, as many as it may, and turned a new one away 1 time lately"]);
    assert_eq!(say("cond/one"), Answered::Puback, "who is known is not touched");
    full.clears(&gateway);
}

#[test]
fn a_certificate_that_an_operator_put_there_is_told_before_and_after_its_end() {
    if !there("openssl", "openssl") {
        return;
    }
    let scene = scene();
    let mut gateway = scene.gateway();
    assert!(!holds(&gateway, Code::CertificateExpiring, None), "its own has no end that matters");
    let own = fs::read(gateway.data().join("server.pem")).unwrap();
    let key = fs::read(gateway.data().join("server-key.pem")).unwrap();
    gateway.stop();

    certify(gateway.data(), "20200101000000Z", "20210101000000Z");
    gateway.start_again();
    let expired = raises(&gateway, Code::CertificateExpired, None).says(&["ended on 2021-01-01"]);
    gateway.stop();

    let next_week = Command::new("date").args(["-u", "-d", "7 days", "+%Y%m%d%H%M%SZ"]).output().unwrap();
    certify(gateway.data(), "20200101000000Z", String::from_utf8(next_week.stdout).unwrap().trim());
    gateway.start_again();
    let expiring = raises(&gateway, Code::CertificateExpiring, None).says(&["in 6 days"]);
    expired.clears(&gateway);
    gateway.stop();

    fs::write(gateway.data().join("server.pem"), own).unwrap();
    fs::write(gateway.data().join("server-key.pem"), key).unwrap();
    gateway.start_again();
    expiring.clears(&gateway);
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
