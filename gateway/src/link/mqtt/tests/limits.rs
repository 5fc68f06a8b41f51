//! Bounds and deadlines.

use super::*;

#[tokio::test]
async fn qos_2_is_refused_in_either_version() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        client.publish(2, 1, JSON, b"{}").await;
        client.expect_end(0x9b).await;
    }
    gateway.asked_nothing();
}

#[tokio::test]
async fn a_packet_that_is_too_large_is_refused_by_its_length_alone() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect(version).await;
        client.write(&[0x32, 0x80, 0x80, 0x80, 0x01]).await; // a PUBLISH of 2 MiB begins
        client.expect_end(0x95).await;
    }
    let mut client = gateway.connect(V4).await;
    let largest = 256 * 1024 - (2 + JSON.len()) - 2 - 4;
    client.publish(1, 1, JSON, &vec![b' '; largest]).await;
    assert_eq!(gateway.json().await.0.len(), largest);
}

#[tokio::test]
async fn more_unconfirmed_publishes_than_announced_end_a_connection_of_mqtt_5() {
    let gateway = Gateway::start_with(Settings { receive_max: 2, ..Settings::default() }).await;
    let mut client = gateway.connect(V5).await;
    for packet_id in 1..=3 {
        client.publish(1, packet_id, JSON, b"{}").await;
    }
    client.expect_end(0x93).await;
}

#[tokio::test]
async fn the_reason_reaches_a_client_that_goes_on_sending() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect(V5).await;
    let more = publish(V5, 1, 2, JSON, &[b' '; 1000]).repeat(100);
    client.write(&[publish(V5, 2, 1, JSON, b"{}"), more].concat()).await;
    client.expect_end(0x9b).await;
}

#[tokio::test]
async fn silence_beyond_the_keep_alive_ends_the_connection() {
    let gateway = Gateway::start().await;
    for version in [V4, V5] {
        let mut client = gateway.connect_as(version, "quiet", 1).await;
        client.expect_end(0x8d).await;
    }
}

#[tokio::test]
async fn a_client_without_keep_alive_has_a_bound_too() {
    let gateway =
        Gateway::start_with(Settings { silence_max: Duration::from_millis(50), ..Settings::default() }).await;
    for version in [V4, V5] {
        let mut client = gateway.connect_as(version, "quiet", 0).await;
        client.expect_end(0x8d).await;
    }
}

#[tokio::test]
async fn a_connection_without_connect_is_closed() {
    let gateway =
        Gateway::start_with(Settings { connect_max: Duration::from_millis(50), ..Settings::default() }).await;
    let mut silent = Client::open(gateway.address, V4).await;
    assert_eq!(silent.read().await, None);
    let mut half = Client::open(gateway.address, V4).await;
    half.write(&connect(V4, "half", 60)[..5]).await;
    assert_eq!(half.read().await, None);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_and_counted() {
    let gateway = Gateway::start_with(Settings { connections_max: 1, ..Settings::default() }).await;
    let mut first = gateway.connect(V4).await;
    let mut second = Client::open(gateway.address, V4).await;
    assert_eq!(second.read().await, None);
    assert_eq!(gateway.count(|counters| &counters.too_many), 1);
    first.expect_nothing().await;
    first.write(&[0xe0, 0]).await;
    assert_eq!(first.read().await, None);
    // The place is free once the first task has ended, which is soon, but not known to a client.
    for _ in 0..1000 {
        let mut third = Client::open(gateway.address, V4).await;
        third.stream.write_all(&connect(V4, "third", 60)).await.ok();
        if third.read().await.is_some() {
            return;
        }
    }
    panic!("the place never became free");
}

#[tokio::test]
async fn a_panic_ends_one_connection_only() {
    let gateway = Gateway::start().await;
    let mut other = gateway.connect_as(V4, "other", 60).await;
    let (mut client, _outbox) = gateway.agent(V4).await;
    client.publish(1, 2, JSON, b"panic").await;
    assert_eq!(client.read().await, None);
    assert_eq!(gateway.closed().await, Closed::Failed);
    other.expect_nothing().await;
    while gateway.count(|counters| &counters.panics) == 0 {
        tokio::task::yield_now().await;
    }
}
