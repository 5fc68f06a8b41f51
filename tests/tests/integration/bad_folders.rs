//! Folders and ports that cannot be used: one sentence that names the thing and the remedy, and an exit code.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use muster_gateway::store::STORE_VERSION;
use muster_tests::{gateway::Transport, process::Which, scene::Scene};

use crate::scene;

/// Runs a gateway that cannot start, with these arguments beside quiet ones, and returns the sentence.
fn refused_gateway(scene: &Scene, data: &Path, args: &[&str]) -> String {
    let quiet = ["--http", "127.0.0.1:0", "--quic", "none", "--mqtt", "none", "--data-dir"];
    let mut all: Vec<&str> = quiet.into_iter().chain([data.to_str().unwrap()]).collect();
    for flag in args.chunks(2) {
        match all.iter().position(|arg| *arg == flag[0]) {
            Some(at) => all[at + 1] = flag[1],
            None => all.extend(flag),
        }
    }
    let output = scene.run(Which::Gateway, &all);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "it is not ready");
    sentence(&String::from_utf8(output.stderr).unwrap(), "muster-gateway: ")
}

/// Returns the one line in which a program says why it ended.
fn sentence(said: &str, program: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with(program)).collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(!said.contains("panicked"), "{said}");
    lines[0].to_owned()
}

fn assert_has(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "`{word}` is missing in: {sentence}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_remedy() {
    let scene = scene();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp_address = tcp.local_addr().unwrap().to_string();
    let udp_address = udp.local_addr().unwrap().to_string();
    for (flag, address) in [("--http", &tcp_address), ("--mqtt", &tcp_address), ("--quic", &udp_address)] {
        let said = refused_gateway(&scene, &scene.path("data"), &[flag, address]);
        assert_has(&said, &[address, flag, "in use"]);
    }
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named_with_its_remedy() {
    let scene = scene();
    // Below a file no one can make a folder, not even root.
    let below = scene.file("file", "").join("data");
    let said = refused_gateway(&scene, &below, &[]);
    assert_has(&said, &[below.to_str().unwrap(), "cannot be written", "--data-dir"]);
}

#[test]
fn a_data_folder_that_another_gateway_uses_is_named_with_its_remedy() {
    let scene = scene();
    let gateway = scene.gateway();
    let said = refused_gateway(&scene, gateway.data(), &[]);
    assert_has(&said, &[gateway.data().to_str().unwrap(), "in use by another gateway", "--data-dir"]);
    assert_eq!(gateway.ask("/v1/fleet")["robots"], 0, "the other one serves on");
}

#[test]
fn a_spool_that_another_agent_uses_is_named_with_its_remedy() {
    let scene = scene();
    let plan = scene.agent("folders/r1");
    let socket = scene.path("input.sock");
    let first = plan.clone().input(format!("unix:{}", socket.display())).start();
    first.wait_to_say("spool open");
    let (code, said) = scene.agent("folders/r1").once().run();
    assert_eq!(code, Some(1), "{said}");
    let spool = scene.path("spool-folders-r1");
    assert_has(
        &sentence(&said, "muster-agent: "),
        &[spool.to_str().unwrap(), "in use by another agent", "--spool"],
    );
}

#[test]
fn the_folder_of_the_other_program_is_refused_untouched() {
    let scene = scene();
    let mut gateway = scene.gateway();
    scene.agent("folders/r1").to(&gateway, Transport::Mqtt).once().deliver();
    gateway.stop();
    let (data, spool) = (gateway.data().to_owned(), scene.path("spool-folders-r1"));
    let before = (content(&data), content(&spool));
    let said = refused_gateway(&scene, &spool, &[]);
    assert_has(&said, &[spool.to_str().unwrap(), "spool of an agent", "--data-dir", "nothing was changed"]);
    let output = scene.run(
        Which::Agent,
        &[
            "--robot",
            "folders/r1",
            "--once",
            "--spool",
            data.to_str().unwrap(),
            "--gateway",
            "mqtt://127.0.0.1:1",
        ],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = sentence(&String::from_utf8(output.stderr).unwrap(), "muster-agent: ");
    assert_has(
        &said,
        &[data.to_str().unwrap(), "data folder of a gateway", "--spool", "nothing was changed"],
    );
    assert!(before == (content(&data), content(&spool)), "nothing was touched");
}

#[test]
fn a_store_of_a_newer_version_is_refused_untouched() {
    let scene = scene();
    let mut gateway = scene.gateway();
    gateway.stop();
    let data = gateway.data();
    let version = fs::read_to_string(data.join("store.version")).unwrap();
    let newer = STORE_VERSION + 1;
    let newer_text =
        version.replace(&format!("muster store {STORE_VERSION}"), &format!("muster store {newer}"));
    fs::write(data.join("store.version"), newer_text).unwrap();
    let before = content(data);
    let said = refused_gateway(&scene, data, &[]);
    assert_has(&said, &[data.to_str().unwrap(), &format!("store version {newer}"), "update the gateway"]);
    assert!(before == content(data), "nothing was touched");
}

#[test]
fn a_spool_of_a_newer_version_is_refused_untouched() {
    let scene = scene();
    let mut gateway = scene.gateway();
    gateway.kill();
    let log = scene.file("log.ndjson", "{\"ch\":\"a\",\"v\":1}\n");
    let plan = scene.agent("folders/r1").to(&gateway, Transport::Mqtt);
    let mut agent = plan.clone().file(&log).logging("debug").start();
    agent.wait_to_say("was read to its end");
    agent.terminate();
    let spool = scene.path("spool-folders-r1");
    // The version and its inverted bits stand behind the magic; see the spool's format.
    let mut marker = fs::read(spool.join("SPOOL")).unwrap();
    marker[4..8].copy_from_slice(&[2, 0, !2, !0]);
    fs::write(spool.join("SPOOL"), marker).unwrap();
    let before = content(&spool);
    let (code, said) = plan.once().run();
    assert_eq!(code, Some(1), "{said}");
    let said = sentence(&said, "muster-agent: ");
    assert_has(&said, &[spool.to_str().unwrap(), "version 2", "update the agent", "nothing was changed"]);
    assert!(before == content(&spool), "nothing was touched");
}

#[test]
fn a_damaged_segment_of_the_spool_is_told_as_loss_and_the_rest_is_delivered() {
    let scene = scene();
    let mut gateway = scene.gateway();
    gateway.kill();
    let plan = scene.agent("folders/r1").to(&gateway, Transport::Mqtt).set("BATCH__LINGER", "1ms");
    let socket = scene.path("input.sock");
    let mut agent = plan.clone().input(format!("unix:{}", socket.display())).start();
    let mut feeder = muster_tests::feeder::Feeder::new(&socket);
    for n in 0..10 {
        feeder.send(n, &[serde_json::json!({"ch": "a", "v": n})]);
    }
    agent.kill();
    let segments: Vec<_> = fs::read_dir(scene.path("spool-folders-r1/live")).unwrap().flatten().collect();
    let segment = segments[0].path();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&segment, bytes).unwrap();

    gateway.start_again();
    let (code, said) = plan.once().run();
    assert_eq!(code, Some(3), "done, but with loss: {said}");
    assert!(said.contains("samples in the spool are lost"), "{said}");
    let robot = gateway.robot("folders/r1").unwrap();
    let (stored, lost) = (robot["samples"].as_u64().unwrap(), robot["loss"]["samples"].as_u64().unwrap());
    assert!(
        lost > 0 && stored > 0 && stored + lost == 10,
        "every sample is stored or accounted for: {robot}"
    );
}

/// Reads all files of a folder: locks are empty, and sockets are none.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(content(&path));
        } else if path.is_file() {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
