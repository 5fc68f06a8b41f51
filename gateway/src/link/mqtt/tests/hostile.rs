//! Bytes that are not MQTT, or nearly. Nothing panics, nothing grows, and the listener serves on.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{
    super::conversation::{Conversation, Heard},
    *,
};

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let gateway = Gateway::start().await;
    let mut good = gateway.connect_as(V5, "good", 60).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x00\xa5\x01\x00",
        &[0xff; 16],
        &[0; 16],
        &[0x10, 0],
        &[0x10, 2, 0, 4],
        &publish(V4, 1, 1, JSON, b"{}"),
        &[0xc0, 0],
    ] {
        let mut bad = Client::open(gateway.address, V4).await;
        bad.write(garbage).await;
        assert_eq!(bad.read().await, None, "{garbage:02x?}");
    }
    good.expect_nothing().await;
    gateway.asked_nothing();
    let tls = Conversation::new(Settings::default(), 1).handle_input(&mut BytesMut::from(&[0x16, 3][..]));
    let Heard::Ended(ending) = tls else { panic!("{tls:?}") };
    assert!(ending.to_string().contains("mqtts"), "{ending}");
}

#[tokio::test]
async fn packets_out_of_place_end_the_connection() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        for (packet, code) in [
            (connect(version, "again", 60), 0x82),
            (packet(0x20, &[0, 0]), 0x82),
            (packet(0x40, &[0, 1]), 0x82),
            (packet(0x50, &[0, 1]), 0x82),
            (packet(0x62, &[0, 1]), 0x82),
            (packet(0x00, &[]), 0x81),
            (publish(version, 1, 0, JSON, b"{}"), 0x81),
            (publish(version, 3, 1, JSON, b"{}"), 0x81),
        ] {
            let mut client = gateway.connect(version).await;
            client.write(&packet).await;
            client.expect_end(code).await;
        }
    }
    gateway.asked_nothing();
}

/// Feeds bytes to a conversation in pieces, as the connection does, and returns what it made of them.
fn converse(bytes: &[u8], piece: usize) -> Vec<Heard> {
    let mut conversation = Conversation::new(Settings::default(), 1);
    let mut heard = Vec::new();
    for piece in bytes.chunks(piece) {
        let mut input = BytesMut::from(piece);
        while !input.is_empty() {
            let before = input.len();
            heard.push(conversation.handle_input(&mut input));
            assert!(input.len() < before, "each call takes something, or the connection would spin");
            match heard.last() {
                Some(Heard::Ended(ending)) => {
                    let _ = (ending.to_string(), ending.closed());
                    conversation.end(ending);
                    assert!(conversation.output().len() < 64 * 1024, "answers stay small");
                    return heard;
                }
                Some(Heard::Message(_, Some(packet_id))) => {
                    conversation.confirm(
                        *packet_id,
                        mqtt_protocol_core::mqtt::result_code::PubackReasonCode::Success,
                    );
                }
                Some(Heard::Refused(_, packet_id)) => {
                    conversation.confirm(
                        *packet_id,
                        mqtt_protocol_core::mqtt::result_code::PubackReasonCode::NotAuthorized,
                    );
                }
                _ => {}
            }
            let _ = (conversation.delivery(), conversation.deliver(&frame(Kind::Ack, b"ack")));
        }
    }
    heard
}

/// One whole exchange of an agent that also sends JSON.
fn exchange(version: u8) -> Vec<u8> {
    let properties: &[u8] = if version == V5 { &[0] } else { &[] };
    let mut bytes = connect(version, "agent", 60);
    bytes.extend(packet(0x82, &[&[0, 9][..], properties, &text(DOWN), &[1]].concat()));
    bytes.extend(publish(version, 1, 1, CONTROL, &frame(Kind::Hello, b"hello").encode()));
    bytes.extend(publish(version, 1, 2, "muster/1/f/r/up/bulk", &frame(Kind::Batch, b"batch").encode()));
    bytes.extend(publish(version, 0, 0, JSON, br#"{"ch":"a","v":1}"#));
    bytes.extend(publish(version, 1, 3, "muster/1/f/r2/json", b"{}").iter().filter(|_| version == V5));
    bytes.extend(packet(0x40, &[0, 1]));
    bytes.extend(packet(0xa2, &[&[0, 10][..], properties, &text(DOWN)].concat()));
    bytes.extend([0xc0, 0, 0xe0, 0]);
    bytes
}

#[test]
fn an_exchange_is_heard_the_same_however_it_is_cut() {
    for version in [V4, V5] {
        let bytes = exchange(version);
        let messages = |heard: Vec<Heard>| -> Vec<String> {
            let matters = |heard: &Heard| !matches!(heard, Heard::Nothing);
            heard.iter().filter(|heard| matters(heard)).map(|heard| format!("{heard:?}")).collect()
        };
        let whole = messages(converse(&bytes, bytes.len()));
        assert_eq!(whole.len(), if version == V5 { 7 } else { 6 }, "{whole:#?}");
        assert!(whole.last().unwrap().contains("ByPeer"), "{whole:#?}");
        for piece in 1..bytes.len() {
            assert_eq!(messages(converse(&bytes, piece)), whole);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1..300_usize) {
        converse(&bytes, piece);
    }

    #[test]
    fn no_bytes_after_a_connect_panic(
        version in prop_oneof![Just(V4), Just(V5)],
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..100),
        piece in 1..200_usize,
    ) {
        converse(&[connect(version, "c", 1), packet(first, &body)].concat(), piece);
    }

    #[test]
    fn no_damaged_exchange_panics(
        version in prop_oneof![Just(V4), Just(V5)],
        flips in proptest::collection::vec(any::<prop::sample::Index>(), 1..4),
        piece in 1..200_usize,
    ) {
        let mut bytes = exchange(version);
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        converse(&bytes, piece);
    }
}
