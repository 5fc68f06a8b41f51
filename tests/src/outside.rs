//! What others speak: their programs, such as `mosquitto_pub`, and bare MQTT by hand.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Output},
};

use crate::{aloud::say_aloud, patience::PATIENCE};

/// Returns whether to go on with a test that calls this program of this Debian package. Fails the test if it is
/// missing, unless `MUSTER_SKIP_EXTERNAL=1` says to go on without, which is said aloud.
pub fn there(program: &str, package: &str) -> bool {
    if Command::new(program).arg("--help").output().is_ok() {
        return true;
    }
    assert!(
        skipped(),
        "{program} is missing: install it (apt-get install {package}), or set MUSTER_SKIP_EXTERNAL=1 to go on without"
    );
    say_aloud(&format!("SKIPPED: {program} is missing, and MUSTER_SKIP_EXTERNAL=1 says to go on without"));
    false
}

/// Returns whether tests go on without what they need from outside.
pub fn skipped() -> bool {
    std::env::var("MUSTER_SKIP_EXTERNAL").is_ok_and(|text| text == "1")
}

/// Publishes with `mosquitto_pub`.
pub fn mosquitto_pub(port: u16, args: &[&str]) -> Output {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(args);
    command.output().expect("it is there")
}

/// How a gateway answers to a message over MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// With a PUBACK.
    Puback,
    /// By closing the connection.
    Closed,
}

/// Publishes one small payload at `QoS` 1 over MQTT 3.1.1, put together by hand, and waits for the answer.
pub fn publish_by_hand(port: u16, topic: &str, payload: &[u8]) -> Answered {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    let connect = [&text("MQTT")[..], &[4, 2, 0, 60], &text("by-hand")].concat();
    let publish = [&text(topic)[..], &[0, 1], payload].concat();
    stream.write_all(&packet(0x10, &connect)).expect("the gateway takes a CONNECT");
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect("the gateway answers to a CONNECT");
    assert_eq!(connack, [0x20, 2, 0, 0], "accepted, without a session");
    stream.write_all(&packet(0x32, &publish)).expect("the gateway takes a PUBLISH");
    let mut first = [0];
    match stream.read(&mut first) {
        Ok(1) if first == [0x40] => Answered::Puback,
        Ok(0) | Err(_) => Answered::Closed,
        Ok(_) => panic!("neither a PUBACK nor the end: {first:02x?}"),
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        out.push(u8::try_from(length % 128).expect("it is below 128") | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    [&out[..], body].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("topics are short");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}
