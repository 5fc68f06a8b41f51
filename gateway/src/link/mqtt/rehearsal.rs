//! A conversation without a socket, for tests and fuzzers outside this crate: bytes in, and what was made of them.
//!
//! It drives the `Conversation` as its connection does, with a gateway behind it that takes everything at once.

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;
use muster_protocol::{
    frame::{Frame, Kind},
    id::RobotId,
};

use super::{
    Settings,
    conversation::{Conversation, Delivery, Heard, Message},
    topics::{self, Leaf},
};

/// What one conversation came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// What was heard, as text, without what asks for nothing.
    pub heard: Vec<String>,
    /// Every byte for the client.
    pub output: Vec<u8>,
    /// The packet ids that were confirmed, in order.
    pub confirmed: Vec<u16>,
    /// Longest payload that was handed on, in bytes.
    pub payload_bytes_max: usize,
    /// Whose topics the client used.
    pub robot: Option<RobotId>,
}

/// Lets a client say these bytes, cut into pieces of this many bytes, until it has said all or is sent away.
///
/// # Panics
/// If `piece` is 0, or the conversation takes nothing of an input: its connection would spin.
pub fn rehearse(bytes: &[u8], piece: usize) -> Rehearsed {
    let mut conversation = Conversation::new(Settings::default(), 1);
    let mut rehearsed = Rehearsed::default();
    'client: for piece in bytes.chunks(piece) {
        let mut input = BytesMut::from(piece);
        while !input.is_empty() {
            let before = input.len();
            let heard = conversation.handle_input(&mut input);
            assert!(input.len() < before, "each call takes something");
            let over = rehearsed.take(heard, &mut conversation);
            rehearsed.output.extend(conversation.output().split());
            if over {
                break 'client;
            }
        }
    }
    rehearsed.robot = conversation.robot().cloned();
    rehearsed
}

/// Returns the largest packet that a client may send, in bytes.
pub fn packet_bytes_max() -> usize {
    Settings::default().packet_bytes_max as usize
}

/// Reads the name of a topic: its robot, and the rest of the name after it.
pub fn topic(name: &str) -> Option<(RobotId, String)> {
    let topic = topics::parse(name).ok()?;
    let rest = match topic.leaf {
        Leaf::Control => "up/control".to_owned(),
        Leaf::Lane(lane) => format!("up/{lane}"),
        Leaf::Down => "down".to_owned(),
        Leaf::Json => "json".to_owned(),
    };
    Some((topic.robot, rest))
}

/// Reads a filter: its robot, and whether it covers the topic on which frames go to it.
pub fn filter(text: &str) -> Option<(RobotId, bool)> {
    topics::parse_filter(text).ok().map(|filter| (filter.robot, filter.covers_down))
}

/// Returns the topic on which frames go to a robot.
pub fn down(robot: &RobotId) -> String {
    topics::down(robot)
}

impl Rehearsed {
    /// Does what the connection would. Returns whether it is over.
    fn take(&mut self, heard: Heard, conversation: &mut Conversation) -> bool {
        if !matches!(heard, Heard::Nothing) {
            self.heard.push(format!("{heard:?}"));
        }
        match heard {
            Heard::Message(message, packet_id) => {
                let bytes = match &message {
                    Message::Hello(frame) | Message::Frame(frame) => frame.body.len(),
                    Message::Json(payload) => payload.len(),
                };
                self.payload_bytes_max = self.payload_bytes_max.max(bytes);
                if let Some(id) = packet_id {
                    self.confirm(id, PubackReasonCode::Success, conversation);
                }
                if !matches!(message, Message::Json(_)) && conversation.delivery() == Delivery::Open {
                    let frame = Frame { kind: Kind::Ack, body: b"ack"[..].into() };
                    if let Err(ending) = conversation.deliver(&frame) {
                        return self.take(Heard::Ended(ending), conversation);
                    }
                }
            }
            Heard::Refused(_, packet_id) => {
                self.confirm(packet_id, PubackReasonCode::NotAuthorized, conversation);
            }
            Heard::Ended(ending) => {
                let _ = (ending.to_string(), ending.closed());
                conversation.end(&ending);
                return true;
            }
            Heard::Nothing | Heard::Connected { .. } | Heard::Confirmed => {}
        }
        false
    }

    fn confirm(&mut self, packet_id: u16, reason: PubackReasonCode, conversation: &mut Conversation) {
        if conversation.can_confirm() {
            conversation.confirm(packet_id, reason);
            self.confirmed.push(packet_id);
        }
    }
}
