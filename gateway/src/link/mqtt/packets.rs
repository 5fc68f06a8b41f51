//! Packets from the gateway to a client, in the client's version of MQTT.

use mqtt_protocol_core::mqtt::{
    Version,
    packet::{
        AssignedClientIdentifier, MaximumPacketSize, MaximumQos, Packet, Property, Qos, ReasonString,
        ReceiveMaximum, RetainAvailable, ServerKeepAlive, SharedSubscriptionAvailable,
        SubscriptionIdentifierAvailable, v3_1_1, v5_0,
    },
    result_code::{
        ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, PubackReasonCode, SubackReasonCode,
        SubackReturnCode, UnsubackReasonCode,
    },
};

use bytes::Bytes;

/// What a client of MQTT 5 is told about this listener in CONNACK.
pub(super) struct Welcome {
    /// Most `PUBLISHes` at `QoS` 1 that may wait for their PUBACK.
    pub(super) receive_max: u16,
    /// Largest packet.
    pub(super) packet_bytes_max: u32,
    /// The keep-alive to use instead of the client's own, in seconds.
    pub(super) keep_alive: Option<u16>,
    /// The name given to a client that came without one.
    pub(super) client_id: Option<String>,
}

const BUILDS: &str = "all fields are set and in range";

pub(super) fn accepted(version: Version, welcome: &Welcome) -> Packet {
    if version == Version::V3_1_1 {
        return refused_or_accepted_3(ConnectReturnCode::Accepted);
    }
    let mut properties: Vec<Property> = vec![
        ReceiveMaximum::new(welcome.receive_max).expect(BUILDS).into(),
        MaximumPacketSize::new(welcome.packet_bytes_max).expect(BUILDS).into(),
        MaximumQos::new(1).expect(BUILDS).into(),
        // A retained message would outlive its freshness; the flag is ignored, and an honest client does not set it.
        RetainAvailable::new(0).expect(BUILDS).into(),
        SharedSubscriptionAvailable::new(0).expect(BUILDS).into(),
        SubscriptionIdentifierAvailable::new(0).expect(BUILDS).into(),
    ];
    if let Some(seconds) = welcome.keep_alive {
        properties.push(ServerKeepAlive::new(seconds).expect(BUILDS).into());
    }
    if let Some(id) = &welcome.client_id {
        properties.push(AssignedClientIdentifier::new(id).expect(BUILDS).into());
    }
    let connack = v5_0::Connack::builder()
        .session_present(false)
        .reason_code(ConnectReasonCode::Success)
        .props(properties)
        .build();
    connack.expect(BUILDS).into()
}

/// Refuses a CONNECT, in the words of either version.
pub(super) fn not_accepted(version: Version, old: ConnectReturnCode, new: ConnectReasonCode) -> Packet {
    if version == Version::V3_1_1 {
        return refused_or_accepted_3(old);
    }
    v5_0::Connack::builder().session_present(false).reason_code(new).build().expect(BUILDS).into()
}

fn refused_or_accepted_3(code: ConnectReturnCode) -> Packet {
    v3_1_1::Connack::builder().session_present(false).return_code(code).build().expect(BUILDS).into()
}

/// Confirms a PUBLISH. MQTT 3.1.1 knows no reason: callers confirm there only what succeeded.
pub(super) fn puback(version: Version, packet_id: u16, reason: PubackReasonCode) -> Packet {
    if version == Version::V3_1_1 {
        return v3_1_1::Puback::builder().packet_id(packet_id).build().expect(BUILDS).into();
    }
    let puback = v5_0::Puback::builder().packet_id(packet_id);
    let puback = if reason == PubackReasonCode::Success { puback } else { puback.reason_code(reason) };
    puback.build().expect(BUILDS).into()
}

pub(super) fn suback(version: Version, packet_id: u16, codes: Vec<SubackReasonCode>) -> Packet {
    if version == Version::V5_0 {
        return v5_0::Suback::builder()
            .packet_id(packet_id)
            .reason_codes(codes)
            .build()
            .expect(BUILDS)
            .into();
    }
    let codes = codes.into_iter().map(|code| match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        _ => SubackReturnCode::Failure,
    });
    v3_1_1::Suback::builder().packet_id(packet_id).return_codes(codes.collect()).build().expect(BUILDS).into()
}

pub(super) fn unsuback(version: Version, packet_id: u16, codes: Vec<UnsubackReasonCode>) -> Packet {
    if version == Version::V5_0 {
        return v5_0::Unsuback::builder()
            .packet_id(packet_id)
            .reason_codes(codes)
            .build()
            .expect(BUILDS)
            .into();
    }
    v3_1_1::Unsuback::builder().packet_id(packet_id).build().expect(BUILDS).into()
}

/// A message to the client; with a packet id at `QoS` 1, without at `QoS` 0.
pub(super) fn publish(version: Version, topic: &str, packet_id: Option<u16>, payload: &Bytes) -> Packet {
    let qos = if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    if version == Version::V5_0 {
        let publish = v5_0::Publish::builder().topic_name(topic).expect(BUILDS).qos(qos);
        let publish = if let Some(id) = packet_id { publish.packet_id(id) } else { publish };
        return publish.payload(&payload[..]).build().expect(BUILDS).into();
    }
    let publish = v3_1_1::Publish::builder().topic_name(topic).expect(BUILDS).qos(qos);
    let publish = if let Some(id) = packet_id { publish.packet_id(id) } else { publish };
    publish.payload(&payload[..]).build().expect(BUILDS).into()
}

/// A farewell. MQTT 3.1.1 has none from the server.
pub(super) fn disconnect(code: DisconnectReasonCode, why: Option<&str>) -> Packet {
    let disconnect = v5_0::Disconnect::builder().reason_code(code);
    let why = why.and_then(|text| ReasonString::new(text).ok());
    match why {
        Some(why) => disconnect.props(vec![why.into()]).build(),
        None => disconnect.build(),
    }
    .expect(BUILDS)
    .into()
}
