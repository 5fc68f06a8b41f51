use muster_protocol::{
    id::InstanceId,
    label::Labels,
    limits::{DRAINED_LANES_MAX, GONE_RANGES_MAX, HELD_LANES_MAX},
    loss::{LossReason, LostSeq},
    message::{Clock, DrainedLane, HeldLane, SeqRange},
    time::MonoTime,
};
use proptest::prelude::*;

use super::*;

fn robot() -> RobotId {
    "yard/r1".parse().unwrap()
}

fn number() -> NumberedHead {
    NumberedHead { epoch: Epoch { start: 3, random: 0x0102_0304 }, lane: Lane::Bulk, seq: Seq(9) }
}

fn loss(head: Option<NumberedHead>) -> Envelope {
    let lost = vec![LostSeq { seq: Seq(4), samples: 10 }, LostSeq { seq: Seq(5), samples: 2 }];
    let loss = Loss {
        epoch: number().epoch,
        lane: Lane::Live,
        lost,
        unnumbered: 1,
        t_min: Some(WallTime(-5)),
        t_max: Some(WallTime(70)),
        reason: LossReason::SpoolFull,
    };
    Envelope { received_at: WallTime(100), robot: robot(), session: 7, body: Body::Loss { head, loss } }
}

fn up() -> Envelope {
    let clock = Clock { boot: 1, mono: MonoTime(2), wall: WallTime(3), synchronised: true };
    let event = SessionEvent::Up {
        transport: Transport::Quic,
        address: "192.0.2.7:4443".to_owned(),
        version: "0.1.0".to_owned(),
        clock: Some(clock),
        instance: Some(InstanceId([7; 16])),
    };
    Envelope { received_at: WallTime(100), robot: robot(), session: 7, body: Body::Session(event) }
}

fn down() -> Envelope {
    Envelope { body: Body::Session(SessionEvent::Down { why: DownReason::Silent }), ..up() }
}

fn fix() -> Envelope {
    Envelope { body: Body::ClockFix(ClockFix { boot: 1, shift_ns: -3 }), ..up() }
}

fn told() -> SessionEvent {
    let held = HeldLane {
        epoch: Epoch { start: 1, random: 0x0102 },
        lane: Lane::Live,
        first: Seq(9),
        next: Seq(9),
        samples: 0,
        spooled: 70,
        gone: Vec::new(),
    };
    let clock = Clock { boot: 7, mono: MonoTime(300), wall: WallTime(1000), synchronised: true };
    SessionEvent::told(&[held], &[], clock)
}

fn labels(by: LabelSource) -> Envelope {
    let site = ("site".parse().unwrap(), "berlin".parse().unwrap());
    let labels = Labels::new([site].into()).unwrap();
    Envelope { body: Body::Labels(LabelSet { by, labels }), ..up() }
}

fn conflict() -> SessionEvent {
    SessionEvent::Conflict { instance: InstanceId([0xaa; 16]), address: "a:1".to_owned() }
}

#[test]
fn golden_bytes_of_what_a_robot_told() {
    let told = [2, 1, 1, 0x82, 2, 1, 9, 9, 0, 0x46, 0, 7, 0xac, 2, 0xd0, 0x0f, 1];
    assert_eq!(postcard::to_stdvec(&self::told()).unwrap(), told);
    let conflict = [&[3][..], &[0xaa; 16], &[3], b"a:1"].concat();
    assert_eq!(postcard::to_stdvec(&self::conflict()).unwrap(), conflict);
}

#[test]
fn what_a_robot_told_fits_a_record_whatever_its_numbers_are() {
    let gone = |count: u64| {
        let range = |n| SeqRange { first: Seq(u64::MAX - 3 * n - 5), end: Seq(u64::MAX - 3 * n - 4) };
        (0..count).rev().map(range).collect()
    };
    let lane = |count| HeldLane {
        epoch: Epoch { start: u64::MAX, random: u64::MAX },
        lane: Lane::Bulk,
        first: Seq(u64::MAX / 2),
        next: Seq(u64::MAX),
        samples: u64::MAX,
        spooled: u64::MAX,
        gone: gone(count),
    };
    let mut held = vec![lane(0); HELD_LANES_MAX];
    held[0] = lane(GONE_RANGES_MAX as u64);
    let drained =
        DrainedLane { epoch: held[0].epoch, lane: Lane::Bulk, next: Seq(u64::MAX), spooled: u64::MAX };
    let clock =
        Clock { boot: u64::MAX, mono: MonoTime(u64::MAX), wall: WallTime(i64::MIN), synchronised: true };
    let event = SessionEvent::told(&held, &[drained; DRAINED_LANES_MAX], clock);
    let record = Envelope { body: Body::Session(event), ..up() };
    let bytes: Bytes = record.encode().into();
    assert!(bytes.len() <= RECORD_BYTES_MAX);
    assert_eq!(Envelope::decode(&bytes).unwrap(), record);
}

#[test]
fn golden_bytes_of_labels_and_their_version() {
    let bytes = labels(LabelSource::Operator).encode();
    assert_eq!(bytes[..8], [2, 6, 0, 0, 7, 0, 0, 0]);
    assert_eq!(bytes[80..], *b"yard/r1\x01\x01\x04site\x06berlin");
    assert_eq!(labels(LabelSource::Agent).encode()[87], 0);
    for (version, kind) in [(1, 6), (2, 3)] {
        let mut bytes = labels(LabelSource::Agent).encode();
        (bytes[0], bytes[1]) = (version, kind);
        let found = Envelope::peek(&bytes).unwrap_err();
        assert_eq!(found, RecordError::BadField { field: "version", found: version.into() });
    }
}

#[test]
fn golden_bytes_of_a_record() {
    let mut expected = vec![1, 3, 0, 0, 7, 0, 0, 0];
    for field in [100_i64, 7, 0, 0, 0, 0, 100, 100] {
        expected.extend_from_slice(&field.to_le_bytes());
    }
    expected.extend_from_slice(&[2, 0, 0, 0]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&expected), b"yard/r1\x01\x02");
    expected.extend_from_slice(&crc.to_le_bytes());
    expected.extend_from_slice(b"yard/r1\x01\x02");
    assert_eq!(down().encode(), expected);
}

#[test]
fn a_numbered_record_keeps_its_number_where_the_format_says() {
    let bytes = loss(Some(number())).encode();
    assert_eq!(bytes[1..8], [2, 1, 2, 7, 0, 0, 0]);
    assert_eq!(bytes[24..32], 3_u64.to_le_bytes());
    assert_eq!(bytes[32..40], 0x0102_0304_u64.to_le_bytes());
    assert_eq!(bytes[40..48], 9_u64.to_le_bytes());
    assert_eq!(bytes[48..56], 13_u64.to_le_bytes());
    assert_eq!(bytes[56..64], (-5_i64).to_le_bytes());
    assert_eq!(bytes[64..72], 70_i64.to_le_bytes());
}

#[test]
fn records_round_trip_and_their_head_is_read_from_their_first_bytes() {
    let events = [told(), conflict()].map(|event| Envelope { body: Body::Session(event), ..up() });
    let others = [LabelSource::Agent, LabelSource::Operator].map(labels).into_iter().chain(events);
    for record in [loss(None), loss(Some(number())), up(), down(), fix()].into_iter().chain(others) {
        let bytes: Bytes = record.encode().into();
        assert_eq!(Envelope::decode(&bytes).unwrap(), record);
        let head = Envelope::peek(&bytes[..HEAD_BYTES + robot().as_str().len()]).unwrap();
        assert_eq!(head, record.head());
    }
}

#[test]
fn each_damage_has_its_error() {
    let good = down().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Envelope::decode(&bytes.into()).unwrap_err()
    };
    assert_eq!(with(0, 3), RecordError::UnknownVersion { found: 3 });
    assert_eq!(with(1, 9), RecordError::BadField { field: "kind", found: 9 });
    assert_eq!(with(2, 2), RecordError::BadField { field: "flags", found: 2 });
    assert_eq!(with(3, 3), RecordError::BadField { field: "lane", found: 3 });
    assert_eq!(with(6, 1), RecordError::BadField { field: "reserved", found: 0x100 });
    assert!(matches!(with(75, 1), RecordError::BadField { field: "payload length", .. }));
    assert!(matches!(with(4, 6), RecordError::Trailing { .. }));
    assert!(matches!(with(72, 3), RecordError::Truncated { .. }));
    assert!(matches!(with(80, b'/'), RecordError::Robot(_)));
    assert!(matches!(with(8, 1), RecordError::BadCrc { .. }));
}

proptest! {
    #[test]
    fn every_bit_flip_is_found(flip in any::<prop::sample::Index>()) {
        let mut bytes = loss(Some(number())).encode();
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Envelope::decode(&bytes.into()).is_err());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), valid_start in any::<bool>()) {
        let mut bytes = bytes;
        let kind = bytes.get(8).map_or(1, |byte| 1 + byte % 6);
        if valid_start && bytes.len() > 8 {
            bytes[..8].copy_from_slice(&[1, kind, 1, 0, 7, 0, 0, 0]);
        }
        let _ = Envelope::peek(&bytes);
        let _ = Envelope::decode(&bytes.into());
    }
}
