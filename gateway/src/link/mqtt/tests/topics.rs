//! Who may publish and subscribe where, and what a client is told about the listener.

use super::*;

#[tokio::test]
async fn connack_tells_a_client_of_mqtt_5_what_this_listener_is() {
    let gateway = Gateway::start().await;
    let mut client = Client::open(gateway.address, V5).await;
    client.write(&connect(V5, "", 0)).await;
    let (kind, body) = client.read().await.unwrap();
    let mut expected = vec![0, 0, 0];
    expected.extend([0x21, 0, 64]); // receive maximum
    expected.extend([0x27, 0, 4, 0, 0]); // maximum packet size, 256 KiB
    expected.extend([0x24, 1]); // maximum QoS
    expected.extend([0x25, 0]); // no retained messages
    expected.extend([0x2a, 0]); // no shared subscriptions
    expected.extend([0x29, 0]); // no subscription identifiers
    expected.extend([0x13, 0x02, 0x58]); // server keep-alive, ten minutes
    expected.extend([0x12, 0, 8]); // assigned client identifier
    expected.extend(b"client-1");
    expected[2] = u8::try_from(expected.len() - 3).unwrap();
    assert_eq!((kind, body), (0x20, expected));
}

#[tokio::test]
async fn a_client_without_a_name_is_taken_unless_it_wants_to_be_remembered() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect_as(V4, "", 60).await;
    client.expect_nothing().await;
    let mut remembered = Client::open(gateway.address, V4).await;
    let mut packet = connect(V4, "", 60);
    packet[9] = 0; // no clean session
    remembered.write(&packet).await;
    assert_eq!(remembered.read().await, Some((0x20, vec![0, 2])));
    remembered.expect_end(0).await;
    let mut long = Client::open(gateway.address, V5).await;
    long.write(&connect(V5, &"x".repeat(257), 60)).await;
    assert_eq!(long.read().await, Some((0x20, vec![0, 0x85, 0])));
}

#[tokio::test]
async fn a_will_is_taken_and_ignored() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut body = text("MQTT");
        body.extend([version, 0x2e, 0, 60]); // clean, will, will QoS 1, will retain
        body.extend(if version == V5 { vec![0] } else { vec![] });
        body.extend(text("willing"));
        body.extend(if version == V5 { vec![0] } else { vec![] });
        body.extend([text("foreign/#"), text("gone")].concat());
        let mut client = Client::open(gateway.address, version).await;
        client.write(&packet(0x10, &body)).await;
        assert_eq!(client.read().await.unwrap().0, 0x20);
        client.expect_nothing().await;
    }
}

#[tokio::test]
async fn other_versions_of_mqtt_are_told_so() {
    let gateway = Gateway::start().await;
    let mqtt_3_1 = [&text("MQIsdp")[..], &[3, 2, 0, 60], &text("old")].concat();
    for body in [mqtt_3_1, [&text("MQTT")[..], &[6, 2, 0, 60], &text("new")].concat()] {
        let mut client = Client::open(gateway.address, V4).await;
        client.write(&packet(0x10, &body)).await;
        assert_eq!(client.read().await, Some((0x20, vec![0, 1])));
        client.expect_end(0).await;
    }
}

#[tokio::test]
async fn the_first_topic_binds_the_connection_to_its_robot() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    client.publish(1, 1, JSON, b"{}").await;
    gateway.json().await.1.resolve(Ok(()));
    client.expect_puback(1).await;
    for (packet_id, topic, reason) in [
        (2, "muster/1/f/other/json", 0x87),
        (3, "elsewhere", 0x87),
        (4, DOWN, 0x87),
        (5, "muster/1/f/r/jason", 0x90),
        (6, "muster/1/f/r/up/fast", 0x90),
        (7, "muster/1/f/+/json", 0x90),
    ] {
        client.publish(1, packet_id, topic, b"{}").await;
        assert_eq!(
            client.read().await,
            Some((0x40, vec![0, packet_id.try_into().unwrap(), reason])),
            "{topic}"
        );
    }
    client.subscribe(8, "muster/1/f/other/down", 1).await;
    assert_eq!(client.read().await, Some((0x90, vec![0, 8, 0, 0x87])));
    assert_eq!(gateway.count(|counters| &counters.refused_topics), 6);
    gateway.asked_nothing();
}

#[tokio::test]
async fn a_subscription_binds_too() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    client.subscribe(1, "muster/1/f/r/#", 2).await;
    assert_eq!(client.read().await, Some((0x90, vec![0, 1, 0, 1])));
    client.publish(1, 2, "muster/1/f/other/json", b"{}").await;
    assert_eq!(client.read().await, Some((0x40, vec![0, 2, 0x87])));
}

#[tokio::test]
async fn a_wrong_topic_ends_a_connection_that_cannot_be_told() {
    for (topic, code) in [("muster/1/f/r/jason", 0x90), ("elsewhere", 0x87)] {
        let gateway = Gateway::start().await;
        let mut old = gateway.connect(V4).await;
        old.publish(1, 1, topic, b"{}").await;
        old.expect_end(0).await;
        let mut new = gateway.connect(V5).await;
        new.publish(0, 0, topic, b"{}").await;
        new.expect_end(code).await;
    }
}

#[tokio::test]
async fn suback_says_what_was_granted_in_either_version() {
    let gateway = Gateway::start().await;
    for (version, foreign, invalid, shared) in [(V4, 0x80, 0x80, 0x80), (V5, 0x87, 0x8f, 0x9e)] {
        let mut client = gateway.connect_as(version, "subscriber", 60).await;
        for (filter, qos, code) in [
            ("#", 1, foreign),
            ("muster/1/+/r/down", 1, foreign),
            ("muster/1/f/r/#/x", 1, invalid),
            ("$share/g/muster/1/f/r/down", 1, shared),
            (DOWN, 0, 0),
            (DOWN, 1, 1),
            (DOWN, 2, 1),
        ] {
            client.subscribe(3, filter, qos).await;
            let (kind, body) = client.read().await.unwrap();
            assert_eq!((kind, body.last()), (0x90, Some(&code)), "{filter}");
        }
    }
}

#[tokio::test]
async fn unsubscribing_is_confirmed() {
    let gateway = Gateway::start().await;
    for (version, answer) in [(V4, vec![0, 4]), (V5, vec![0, 4, 0, 0, 0x11])] {
        let mut client = gateway.connect_as(version, "subscriber", 60).await;
        client.subscribe(3, DOWN, 1).await;
        assert_eq!(client.read().await.unwrap().0, 0x90);
        let mut body = vec![0, 4];
        body.extend(if version == V5 { vec![0] } else { vec![] });
        body.extend([text(DOWN), text("unknown")].concat());
        client.write(&packet(0xa2, &body)).await;
        assert_eq!(client.read().await, Some((0xb0, answer)));
    }
}

#[tokio::test]
async fn the_retain_flag_is_ignored() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    let mut retained = publish(V5, 1, 1, JSON, b"{}");
    retained[0] |= 1;
    client.write(&retained).await;
    gateway.json().await.1.resolve(Ok(()));
    client.expect_puback(1).await;
}

#[tokio::test]
async fn a_newer_connection_of_the_same_client_takes_over() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let (mut old, outbox) = gateway.agent(version).await;
        let mut new = gateway.connect_as(version, "agent", 60).await;
        new.subscribe(9, DOWN, 1).await;
        assert_eq!(new.read().await.unwrap().0, 0x90);
        old.expect_end(0x8e).await;
        assert_eq!(gateway.closed().await, Closed::Superseded);
        outbox.send(frame(Kind::Ack, b"")).unwrap_err();
        new.expect_nothing().await;
        new.write(&[0xe0, 0]).await;
        assert_eq!(new.read().await, None);
    }
}

#[tokio::test]
async fn the_same_name_under_another_robot_takes_nothing_over() {
    let gateway = Gateway::start().await;
    let mut first = gateway.connect(V5).await;
    first.subscribe(1, DOWN, 1).await;
    first.read().await.unwrap();
    let mut second = gateway.connect(V5).await;
    second.subscribe(1, "muster/1/f/r2/down", 1).await;
    second.read().await.unwrap();
    first.expect_nothing().await;
    second.expect_nothing().await;
}
