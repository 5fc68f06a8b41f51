//! The gateway's side of an MQTT connection.
//!
//! Input: whether it begins with a right CONNECT and of which version, how it is cut, what the client says.

use muster_gateway::link::mqtt::rehearsal::{Rehearsed, packet_bytes_max, rehearse};

use super::input::Input;

/// An MQTT client that says anything, to the listener as a state machine.
pub fn conversation(data: &[u8]) {
    let mut input = Input::new(data);
    let (choice, cut) = (input.byte(), usize::from(input.byte()) + 1);
    let said = [opening(choice), input.rest()].concat();
    let whole = rehearse(&said, said.len().max(1));
    assert_eq!(rehearse(&said, cut), whole, "how it is cut makes no difference");
    check(&whole, said.len());
}

fn check(rehearsed: &Rehearsed, said_bytes: usize) {
    assert!(rehearsed.payload_bytes_max <= packet_bytes_max().min(said_bytes));
    assert!(rehearsed.output.len() <= ANSWER_BYTES_MAX + ANSWER_FACTOR * said_bytes, "answers stay small");
    assert_eq!(pubacks(&rehearsed.output), rehearsed.confirmed, "PUBACKs are those that were asked for");
    let connected = rehearsed.heard.first().is_some_and(|first| first.starts_with("Connected"));
    assert!(connected || rehearsed.heard.len() <= 1 && rehearsed.robot.is_none(), "CONNECT comes first");
    let ended = |heard: &String| heard.starts_with("Ended");
    assert!(!rehearsed.heard.iter().rev().skip(1).any(ended), "nothing is heard after the end");
}

/// Reads the packets for the client, and returns the ids of the PUBACKs among them.
fn pubacks(output: &[u8]) -> Vec<u16> {
    let (mut ids, mut rest) = (Vec::new(), output);
    while let [first, after @ ..] = rest {
        let (mut bytes, mut places) = (0, 0);
        for byte in after.iter().take(4) {
            bytes |= usize::from(byte & 0x7f) << (7 * places);
            places += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let packet = after.get(places..places + bytes).expect("packets to the client are whole");
        if let (0x40, [high, low, ..]) = (*first, packet) {
            ids.push(u16::from_be_bytes([*high, *low]));
        }
        rest = after.get(places + bytes..).unwrap_or_default();
    }
    ids
}

/// Few inputs get past CONNECT by themselves.
fn opening(choice: u8) -> &'static [u8] {
    match choice % 3 {
        0 => b"",
        1 => b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c",
        _ => b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c",
    }
}

/// Most bytes of answers to nearly nothing: CONNACK, a frame, DISCONNECT with a reason.
const ANSWER_BYTES_MAX: usize = 2048;

/// Most bytes of answers to each byte: a frame for an acknowledgement is about as long as the frame before it.
const ANSWER_FACTOR: usize = 8;
