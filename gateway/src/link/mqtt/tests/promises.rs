//! A PUBACK means durable: when it is written, in which order, and when never.

use super::*;
use crate::link::port::Unhandled;

#[tokio::test]
async fn a_puback_is_not_written_before_the_ticket_resolves() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        client.publish(1, 7, JSON, b"{}").await;
        let (payload, issuer) = gateway.json().await;
        assert_eq!(&payload[..], b"{}");
        client.expect_nothing().await;
        issuer.resolve(Ok(()));
        client.expect_puback(7).await;
    }
}

#[tokio::test]
async fn pubacks_keep_the_order_of_the_publishes() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V4).await;
    let mut issuers = Vec::new();
    for packet_id in [3, 1, 2] {
        client.publish(1, packet_id, JSON, b"{}").await;
        issuers.push(gateway.json().await.1);
    }
    let first = issuers.remove(0);
    for later in issuers {
        later.resolve(Ok(()));
    }
    client.expect_nothing().await;
    first.resolve(Ok(()));
    for packet_id in [3, 1, 2] {
        client.expect_puback(packet_id).await;
    }
}

#[tokio::test]
async fn a_refusal_waits_for_its_turn_too() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    client.publish(1, 1, JSON, b"{}").await;
    client.publish(1, 2, "muster/1/f/other/json", b"{}").await;
    let (_, issuer) = gateway.json().await;
    client.expect_nothing().await;
    issuer.resolve(Ok(()));
    client.expect_puback(1).await;
    assert_eq!(client.read().await, Some((0x40, vec![0, 2, 0x87])));
}

#[tokio::test]
async fn qos_0_is_taken_without_an_answer_and_once() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    client.publish(0, 0, JSON, b"{}").await;
    gateway.json_once().await.resolve(Ok(()));
    client.expect_nothing().await;
}

#[tokio::test]
async fn what_was_not_handled_is_not_confirmed_and_ends_the_connection() {
    for (unhandled, code) in
        [(Unhandled::Busy, 0x89), (Unhandled::DiskFull, 0x97), (Unhandled::Stopping, 0x8b)]
    {
        let gateway = Gateway::start().await;
        for version in [V4, V5] {
            let mut client = gateway.connect(version).await;
            client.publish(1, 1, JSON, b"{}").await;
            client.publish(1, 2, JSON, b"{}").await;
            let (first, second) = (gateway.json().await.1, gateway.json().await.1);
            second.resolve(Ok(()));
            first.resolve(Err(unhandled));
            client.expect_end(code).await;
        }
    }
}

#[tokio::test]
async fn a_ticket_that_stays_open_ends_the_connection() {
    let settings =
        Settings { patience: Duration::from_millis(20), brake: Duration::ZERO, ..Settings::default() };
    let gateway = Gateway::start_with(settings).await;
    let mut client = gateway.connect(V5).await;
    client.publish(1, 1, JSON, b"{}").await;
    let (_, _open) = gateway.json().await;
    client.expect_end(0x89).await;
}

#[tokio::test]
async fn a_client_is_read_no_further_than_the_gateway_can_take() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V4).await;
    let most = super::super::promises::PROMISES_MAX;
    for _ in 0..most + 10 {
        client.publish(0, 0, JSON, b"{}").await;
    }
    let mut issuers = Vec::new();
    for _ in 0..most {
        issuers.push(gateway.json_once().await);
    }
    // Not even a ping is read now, so its answer can only follow the rest.
    client.write(&[0xc0, 0]).await;
    gateway.asked_nothing();
    for issuer in issuers {
        issuer.resolve(Ok(()));
    }
    for _ in 0..10 {
        gateway.json_once().await.resolve(Ok(()));
    }
    assert_eq!(client.read().await, Some((0xd0, vec![])));
}

#[tokio::test]
async fn what_came_before_a_fault_is_still_confirmed() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        client.publish(1, 1, JSON, b"{}").await;
        client.publish(2, 2, JSON, b"{}").await;
        gateway.json().await.1.resolve(Ok(()));
        client.expect_puback(1).await;
        client.expect_end(0x9b).await;
    }
}

#[tokio::test]
async fn shutdown_takes_nothing_new_and_confirms_what_is_handled() {
    let gateway = Gateway::start().await;
    let mut clients = Vec::new();
    for version in [V4, V5] {
        let mut client = gateway.connect_as(version, &format!("client-{version}"), 60).await;
        client.publish(1, 5, JSON, b"{}").await;
        clients.push((client, gateway.json().await.1));
    }
    gateway.stop.send(()).unwrap();
    for (mut client, issuer) in clients {
        issuer.resolve(Ok(()));
        client.expect_puback(5).await;
        client.expect_end(0x8b).await;
    }
    soon(gateway.task).await.unwrap();
    assert!(TcpStream::connect(gateway.address).await.is_err());
}
