//! An agent over MQTT: its session, its frames, and the frames that go to it.

use super::*;
use crate::link::port::{OUTBOX_FRAMES_MAX, Transport};
use muster_protocol::message::{Bye, ByeReason, Message};

#[tokio::test]
async fn a_hello_opens_a_session_and_frames_come_in_order() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        let local = client.stream.local_addr().unwrap();
        client.publish(1, 1, CONTROL, &frame(Kind::Hello, b"hello").encode()).await;
        client.publish(1, 2, "muster/1/f/r/up/live", &frame(Kind::Batch, b"batch").encode()).await;
        let Asked::Opened(peer, _outbox) = gateway.asked().await else { panic!("no session") };
        let robot = Some("f/r".parse().unwrap());
        assert_eq!(peer, Peer { transport: Transport::Mqtt, address: local, robot });
        for (packet_id, expected) in [(1, frame(Kind::Hello, b"hello")), (2, frame(Kind::Batch, b"batch"))] {
            let Asked::Frame(frame, issuer) = gateway.asked().await else { panic!("no frame") };
            assert_eq!(frame, expected);
            client.expect_nothing().await;
            issuer.resolve(Ok(()));
            client.expect_puback(packet_id).await;
        }
        client.write(&[0xe0, 0]).await;
        assert_eq!(gateway.closed().await, Closed::ByPeer);
    }
}

#[tokio::test]
async fn frames_wait_for_the_subscription() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        client.publish(1, 1, CONTROL, &frame(Kind::Hello, b"").encode()).await;
        let Asked::Opened(_, outbox) = gateway.asked().await else { panic!("no session") };
        let Asked::Frame(_, _issuer) = gateway.asked().await else { panic!("no frame") };
        outbox.send(frame(Kind::Welcome, b"welcome")).unwrap();
        client.expect_nothing().await;
        client.subscribe(2, DOWN, 1).await;
        assert_eq!(client.read().await.unwrap().0, 0x90);
        let expected = publish(version, 1, 1, DOWN, &frame(Kind::Welcome, b"welcome").encode());
        let (kind, body) = client.read().await.unwrap();
        assert_eq!(packet(kind, &body), expected);
        client.write(&[0xe0, 0]).await;
        assert_eq!(gateway.closed().await, Closed::ByPeer);
    }
}

#[tokio::test]
async fn a_subscription_at_qos_0_gets_frames_at_qos_0() {
    let gateway = Gateway::start().await;
    let (mut client, outbox) = gateway.agent(V4).await;
    client.subscribe(4, DOWN, 0).await;
    assert_eq!(client.read().await, Some((0x90, vec![0, 4, 0])));
    outbox.send(frame(Kind::Ack, b"ack")).unwrap();
    let (kind, body) = client.read().await.unwrap();
    assert_eq!(packet(kind, &body), publish(V4, 0, 0, DOWN, &frame(Kind::Ack, b"ack").encode()));
}

#[tokio::test]
async fn a_session_that_closes_sends_its_farewell_last() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let (mut client, outbox) = gateway.agent(version).await;
        let bye = Bye { reason: ByeReason::Superseded, retry_after_ms: 60_000 };
        outbox.send(frame(Kind::Ack, b"ack")).unwrap();
        outbox.close(bye.clone());
        for expected in [frame(Kind::Ack, b"ack"), Message::Bye(bye).to_frame()] {
            let (kind, body) = client.read().await.unwrap();
            assert_eq!(kind, 0x32);
            assert!(body.ends_with(&expected.encode()));
        }
        client.expect_end(0x8e).await;
        assert_eq!(gateway.closed().await, Closed::BySession);
    }
}

#[tokio::test]
async fn no_more_is_sent_than_the_client_confirms() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let (mut client, outbox) = gateway.agent(version).await;
        for _ in 0..70 {
            outbox.send(frame(Kind::Ack, b"ack")).unwrap();
        }
        let mut packet_ids = Vec::new();
        for _ in 0..64 {
            let (kind, body) = client.read().await.unwrap();
            assert_eq!(kind, 0x32);
            packet_ids.push([body[2 + DOWN.len()], body[3 + DOWN.len()]]);
        }
        client.expect_nothing().await;
        for [high, low] in packet_ids {
            client.write(&[0x40, 2, high, low]).await;
        }
        for _ in 64..70 {
            assert_eq!(client.read().await.unwrap().0, 0x32);
        }
        client.write(&[0xe0, 0]).await;
        assert_eq!(gateway.closed().await, Closed::ByPeer);
    }
}

#[tokio::test]
async fn an_agent_that_takes_nothing_is_dropped() {
    let gateway = Gateway::start().await;
    let (_client, outbox) = gateway.agent(V5).await;
    // It confirms nothing, so the window fills, then the outbox.
    let mut sent = 0;
    while outbox.send(frame(Kind::Ack, b"ack")).is_ok() {
        sent += 1;
        tokio::task::yield_now().await;
    }
    assert!(sent <= OUTBOX_FRAMES_MAX + 64, "{sent}");
    assert_eq!(gateway.closed().await, Closed::SlowReader);
}

#[tokio::test]
async fn an_agent_whose_socket_is_full_is_dropped() {
    let gateway = Gateway::start().await;
    let (mut client, outbox) = gateway.agent(V4).await;
    client.subscribe(4, DOWN, 0).await;
    client.read().await.unwrap();
    let large = Frame { kind: Kind::Ack, body: vec![0; 60_000].into() };
    let mut sent = 0;
    while outbox.send(large.clone()).is_ok() {
        sent += large.body.len();
        assert!(sent < 64 * 1024 * 1024, "no socket buffer is that large");
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.closed().await, Closed::SlowReader);
}

#[tokio::test]
async fn an_agent_that_confirms_nothing_for_long_is_dropped() {
    let settings = Settings { stall_max: Duration::from_millis(20), receive_max: 2, ..Settings::default() };
    let gateway = Gateway::start_with(settings).await;
    let (_client, outbox) = gateway.agent(V4).await;
    for _ in 0..2 {
        outbox.send(frame(Kind::Ack, b"ack")).unwrap();
    }
    assert_eq!(gateway.closed().await, Closed::SlowReader);
}

#[tokio::test]
async fn a_bad_frame_ends_the_connection() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let (mut client, _outbox) = gateway.agent(version).await;
        let mut bytes = frame(Kind::Batch, b"batch").encode().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        client.publish(1, 2, "muster/1/f/r/up/live", &bytes).await;
        client.expect_end(0x99).await;
        assert_eq!(gateway.closed().await, Closed::BrokeProtocol);
    }
}

#[tokio::test]
async fn a_session_starts_with_a_hello_on_control() {
    let gateway = Gateway::start().await;
    for (topic, kind) in [(CONTROL, Kind::Heartbeat), ("muster/1/f/r/up/live", Kind::Hello)] {
        for version in [V4, V5] {
            let mut client = gateway.connect(version).await;
            client.publish(1, 2, topic, &frame(kind, b"").encode()).await;
            client.expect_end(0x82).await;
        }
    }
    gateway.asked_nothing();
}

#[tokio::test]
async fn a_connection_that_breaks_is_lost_not_ended() {
    let gateway = Gateway::start().await;
    let (client, _outbox) = gateway.agent(V5).await;
    drop(client);
    assert_eq!(gateway.closed().await, Closed::Lost);
}

#[tokio::test]
async fn a_frame_that_the_client_cannot_take_ends_the_connection() {
    let gateway = Gateway::start().await;
    let mut client = Client::open(gateway.address, V5).await;
    let mut body = [&text("MQTT")[..], &[V5, 2, 0, 60]].concat();
    body.extend([5, 0x27, 0, 0, 0, 200]); // maximum packet size
    body.extend(text("small"));
    client.write(&packet(0x10, &body)).await;
    assert_eq!(client.read().await.unwrap().0, 0x20);
    client.subscribe(2, DOWN, 1).await;
    assert_eq!(client.read().await.unwrap().0, 0x90);
    client.publish(1, 1, CONTROL, &frame(Kind::Hello, b"").encode()).await;
    let Asked::Opened(_, outbox) = gateway.asked().await else { panic!("no session") };
    let Asked::Frame(_, issuer) = gateway.asked().await else { panic!("no frame") };
    issuer.resolve(Ok(()));
    client.expect_puback(1).await;
    outbox.send(frame(Kind::Welcome, &[0; 200])).unwrap();
    client.expect_end(0x83).await;
    assert_eq!(gateway.closed().await, Closed::BrokeProtocol);
}

#[tokio::test]
async fn a_hello_that_is_said_again_begins_the_session_anew() {
    let gateway = Gateway::start().await;
    let (mut client, older) = gateway.agent(V4).await;
    client.publish(0, 0, CONTROL, &frame(Kind::Hello, b"again").encode()).await;
    let Asked::Opened(_, newer) = gateway.asked().await else { panic!("no session") };
    let Asked::Frame(hello, _) = gateway.asked().await else { panic!("no frame") };
    assert_eq!(hello, frame(Kind::Hello, b"again"));
    assert_eq!(gateway.closed().await, Closed::Superseded);
    assert!(older.send(frame(Kind::Ack, b"old")).is_err(), "nobody listens to the older one");
    newer.send(frame(Kind::Welcome, b"new")).unwrap();
    let (kind, body) = client.read().await.unwrap();
    assert_eq!(kind & 0xf0, 0x30);
    assert!(body.ends_with(&frame(Kind::Welcome, b"new").encode()));
}
