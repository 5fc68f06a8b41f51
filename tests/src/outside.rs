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

/// Publishes one payload at `QoS` 1 over MQTT 3.1.1, put together by hand, and waits for the answer.
pub fn publish_by_hand(port: u16, topic: &str, payload: &[u8]) -> Answered {
    ByHand::connect(port).publish(topic, payload)
}

/// A connection over MQTT 3.1.1 whose packets are put together by hand.
#[derive(Debug)]
pub struct ByHand {
    stream: TcpStream,
}

impl ByHand {
    /// Connects, and waits until the gateway has accepted.
    pub fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the gateway listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
        let connect = [&text("MQTT")[..], &[4, 2, 0, 60], &text("by-hand")].concat();
        stream.write_all(&packet(0x10, &connect)).expect("the gateway takes a CONNECT");
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).expect("the gateway answers to a CONNECT");
        assert_eq!(connack, [0x20, 2, 0, 0], "accepted, without a session");
        Self { stream }
    }

    /// Publishes one payload at `QoS` 1 and waits for the answer. Once the connection is closed it stays so.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Answered {
        let publish = [&text(topic)[..], &[0, 1], payload].concat();
        if self.stream.write_all(&packet(0x32, &publish)).is_err() {
            return Answered::Closed;
        }
        let mut puback = [0; 4];
        match self.stream.read(&mut puback[..1]) {
            Ok(1) if puback[0] == 0x40 => {
                self.stream.read_exact(&mut puback[1..]).expect("packets come whole");
                Answered::Puback
            }
            Ok(0) | Err(_) => Answered::Closed,
            Ok(_) => panic!("neither a PUBACK nor the end: {puback:02x?}"),
        }
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
