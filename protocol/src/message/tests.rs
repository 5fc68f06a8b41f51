use proptest::prelude::*;

use super::*;
use crate::{
    limits::{FRAME_BODY_BYTES_MAX, LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX},
    loss::{LossReason, LostSeq},
};

const EPOCH: Epoch = Epoch { start: 1, random: 0x0102 };
const CLOCK: Clock = Clock { boot: 7, mono: MonoTime(300), wall: WallTime(1000), synchronised: true };

fn head(lane: Lane, seq: u64) -> NumberedHead {
    NumberedHead { epoch: EPOCH, lane, seq: Seq(seq) }
}

fn held() -> Vec<HeldLane> {
    let gone = vec![SeqRange { first: Seq(3), end: Seq(5) }];
    vec![HeldLane {
        epoch: EPOCH,
        lane: Lane::Live,
        first: Seq(1),
        next: Seq(9),
        samples: 20,
        spooled: 70,
        gone,
    }]
}

fn labels() -> Labels {
    let site = ("site".parse().unwrap(), "berlin".parse().unwrap());
    Labels::new([site].into()).unwrap()
}

fn loss() -> Loss {
    Loss {
        epoch: EPOCH,
        lane: Lane::Bulk,
        lost: vec![LostSeq { seq: Seq(4), samples: 10 }],
        unnumbered: 0,
        t_min: Some(WallTime(1000)),
        t_max: Some(WallTime(1015)),
        reason: LossReason::SpoolFull,
    }
}

fn lanes(ranges: &[(u64, u64)]) -> Vec<LaneRanges> {
    let range = |(first, end): &(u64, u64)| SeqRange { first: Seq(*first), end: Seq(*end) };
    vec![LaneRanges { epoch: EPOCH, lane: Lane::Live, ranges: ranges.iter().map(range).collect() }]
}

/// One message of each kind.
fn one_of_each() -> Vec<Message> {
    let batch = head(Lane::Live, 2);
    vec![
        Message::Hello(Hello {
            robot: "demo/r1".parse().unwrap(),
            instance: InstanceId([0xaa; 16]),
            version: "0.1.0".to_owned(),
            held: held(),
            drained: vec![DrainedLane { epoch: EPOCH, lane: Lane::Bulk, next: Seq(4), spooled: 30 }],
            clock: CLOCK,
            labels: labels(),
        }),
        Message::Welcome(Welcome {
            instance: InstanceId([0xbb; 16]),
            log: LogId([0xcc; 16]),
            session: 5,
            window: Window { bytes: 1 << 20, batches: 256 },
            have: lanes(&[(1, 2)]),
            schemas: vec![SchemaHash([0xdd; 16])],
            now: WallTime(-1),
        }),
        Message::Heartbeat(Heartbeat { held: held(), clock: CLOCK }),
        Message::HeartbeatReply(HeartbeatReply { echo: MonoTime(300), now: WallTime(1000) }),
        Message::Batch(Numbered { head: batch, payload: Bytes::from_static(b"columns") }),
        Message::Schema(SchemaBody { payload: Bytes::from_static(b"channels") }),
        Message::NeedSchema(NeedSchema { batch, hash: SchemaHash([0xdd; 16]) }),
        Message::Loss(Numbered::from_loss(head(Lane::Urgent, 1), &loss())),
        Message::Ack(Ack { lanes: lanes(&[(1, 3)]) }),
        Message::Refuse(Refuse { batch, reason: RefuseReason::Busy, retry_after_ms: Some(250) }),
        Message::Bye(Bye { reason: ByeReason::Superseded, retry_after_ms: 180_000 }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn golden_bodies_of_each_kind() {
    let bodies: Vec<String> = one_of_each().iter().map(|message| hex(&message.to_frame().body)).collect();
    let (aa, bb, cc, dd) = ("aa".repeat(16), "bb".repeat(16), "cc".repeat(16), "dd".repeat(16));
    let held = "010182020101091446010305";
    let drained = "010182020204 1e".replace(' ', "");
    let clock = "07ac02d00f01";
    let labels = "0104736974650662 65726c696e".replace(' ', "");
    let batch = "0182020102";
    assert_eq!(
        bodies,
        [
            format!("0764656d6f2f7231{aa}05302e312e30{held}{drained}{clock}{labels}"),
            format!("{bb}{cc}0580804080020101820201010102{}{dd}01", "01"),
            format!("{held}{clock}"),
            "ac02d00f".to_owned(),
            format!("{batch}{}", hex(b"columns")),
            hex(b"channels"),
            format!("{batch}{dd}"),
            "018202000101820202 0104 0a0001d00f01ee0f00".replace(' ', ""),
            "0101820201010103".to_owned(),
            format!("{batch}0301fa01"),
            "01a0fe0a".to_owned(),
        ]
    );
}

/// Guards the sum of the limits: a spool and labels as large as may be would otherwise never be heard.
#[test]
fn the_largest_hello_fits_a_frame() {
    let key = |n| format!("{n:0LABEL_KEY_BYTES_MAX$}").parse().unwrap();
    let value = "x".repeat(LABEL_VALUE_BYTES_MAX);
    let labels = (0..LABELS_MAX).map(|n| (key(n), value.parse().unwrap())).collect();
    let epoch = Epoch { start: u64::MAX, random: u64::MAX };
    let end = u64::MAX - 1;
    let gone = |n: u64| SeqRange { first: Seq(end - 2 * n), end: Seq(end - 2 * n + 1) };
    let gone: Vec<_> = (1..=GONE_RANGES_MAX as u64).rev().map(gone).collect();
    let first = Seq(end - 3 * GONE_RANGES_MAX as u64);
    let (samples, spooled) = (u64::MAX, u64::MAX);
    let lane = |gone| HeldLane { epoch, lane: Lane::Bulk, first, next: Seq(end), samples, spooled, gone };
    let held = std::iter::once(lane(gone)).chain((1..HELD_LANES_MAX).map(|_| lane(Vec::new())));
    let drained = DrainedLane { epoch, lane: Lane::Bulk, next: Seq(u64::MAX), spooled };
    let hello = Message::Hello(Hello {
        robot: format!("{0}/{0}", "r".repeat(63)).parse().unwrap(),
        instance: InstanceId([0xff; 16]),
        version: "v".repeat(VERSION_BYTES_MAX),
        held: held.collect(),
        drained: vec![drained; DRAINED_LANES_MAX],
        clock: Clock {
            boot: u64::MAX,
            mono: MonoTime(u64::MAX),
            wall: WallTime(i64::MIN),
            synchronised: true,
        },
        labels: Labels::new(labels).unwrap(),
    });
    let frame = hello.to_frame();
    assert!(frame.body.len() <= FRAME_BODY_BYTES_MAX, "{} bytes", frame.body.len());
    assert_eq!(Message::from_frame(&frame), Ok(hello));
}

#[test]
fn each_kind_comes_back_as_it_went() {
    for message in one_of_each() {
        assert_eq!(Message::from_frame(&message.to_frame()), Ok(message));
    }
    let Message::Loss(numbered) = Message::Loss(Numbered::from_loss(head(Lane::Urgent, 1), &loss())) else {
        unreachable!()
    };
    assert_eq!(numbered.loss(), Ok(loss()));
}

#[test]
fn bytes_behind_a_body_are_refused() {
    for kind in [Kind::Hello, Kind::Welcome, Kind::Heartbeat, Kind::HeartbeatReply, Kind::Ack, Kind::Bye] {
        let message = one_of_each().into_iter().find(|message| message.to_frame().kind == kind).unwrap();
        let mut body = message.to_frame().body.to_vec();
        body.push(0);
        let frame = Frame { kind, body: body.into() };
        assert!(matches!(Message::from_frame(&frame), Err(MessageError::Malformed { .. })), "{kind:?}");
    }
}

#[test]
fn ranges_that_are_empty_touch_or_descend_are_refused() {
    for ranges in [&[(3, 3)][..], &[(0, 2)], &[(1, 3), (3, 5)], &[(5, 6), (1, 2)]] {
        let frame = Message::Ack(Ack { lanes: lanes(ranges) }).to_frame();
        assert_eq!(
            Message::from_frame(&frame),
            Err(MessageError::BadRanges { kind: Kind::Ack }),
            "{ranges:?}"
        );
    }
}

#[test]
fn a_lane_that_contradicts_itself_is_refused() {
    let range = |first, end| SeqRange { first: Seq(first), end: Seq(end) };
    let wrong: [fn(&mut HeldLane); 5] = [
        |lane| lane.first = Seq(0),
        |lane| lane.next = Seq(0),
        |lane| lane.spooled = lane.samples - 1,
        |lane| lane.gone = vec![SeqRange { first: lane.first, end: lane.first.next() }],
        |lane| lane.gone = vec![SeqRange { first: Seq(5), end: lane.next.next() }],
    ];
    for spoil in wrong {
        let mut lane = held().remove(0);
        spoil(&mut lane);
        let beat = Message::Heartbeat(Heartbeat { held: vec![lane.clone()], clock: CLOCK });
        let error = MessageError::BadHeld { kind: Kind::Heartbeat };
        assert_eq!(Message::from_frame(&beat.to_frame()), Err(error), "{lane:?}");
    }
    // The newest goes first over a link that has a backlog, so what is gone may well stand at the end.
    let mut lane = held().remove(0);
    lane.gone = vec![range(lane.first.0 + 1, lane.next.0)];
    let beat = Message::Heartbeat(Heartbeat { held: vec![lane], clock: CLOCK });
    assert_eq!(Message::from_frame(&beat.to_frame()), Ok(beat));
    let mut lane = held().remove(0);
    lane.gone = vec![range(5, 6), range(3, 4)];
    let beat = Message::Heartbeat(Heartbeat { held: vec![lane], clock: CLOCK });
    assert_eq!(Message::from_frame(&beat.to_frame()), Err(MessageError::BadRanges { kind: Kind::Heartbeat }));
}

#[test]
fn more_than_the_limits_is_refused_and_named() {
    let many = vec![held().remove(0); HELD_LANES_MAX + 1];
    let beat = Message::Heartbeat(Heartbeat { held: many, clock: CLOCK }).to_frame();
    let error = Message::from_frame(&beat).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "a Heartbeat frame with {} held lanes; at most {HELD_LANES_MAX} are allowed",
            HELD_LANES_MAX + 1
        )
    );
    let payload = Bytes::from(vec![0; BATCH_BYTES_MAX + 1]);
    let batch = Message::Batch(Numbered { head: head(Lane::Live, 1), payload }).to_frame();
    assert!(matches!(Message::from_frame(&batch), Err(MessageError::TooMany { .. })));
    for seq in [0, u64::MAX] {
        let none = Message::Batch(Numbered { head: head(Lane::Live, seq), payload: Bytes::new() }).to_frame();
        assert!(matches!(Message::from_frame(&none), Err(MessageError::Malformed { .. })), "{seq}");
    }
}

/// Guards: no range of seqs could hold the last seq, so a batch of that number was committed as often as it came; and
/// the sum of a hostile record's samples overflowed.
#[test]
fn a_loss_record_ends_before_the_last_number_and_its_samples_are_bounded() {
    let record = |loss: &Loss| Numbered::from_loss(head(Lane::Urgent, 1), loss).loss();
    let last = LostSeq { seq: Seq(u64::MAX), samples: 1 };
    assert_eq!(record(&Loss { lost: vec![last], ..loss() }), Err(LossError::Order.into()));
    let most = Loss { unnumbered: u64::MAX, ..loss() };
    assert_eq!(record(&most).unwrap().samples(), u64::MAX);
}

fn any_head() -> impl Strategy<Value = NumberedHead> {
    (any::<u64>(), any::<u64>(), 0..3_usize, 1..u64::MAX).prop_map(|(start, random, lane, seq)| {
        NumberedHead { epoch: Epoch { start, random }, lane: Lane::ALL[lane], seq: Seq(seq) }
    })
}

fn any_ranges() -> impl Strategy<Value = Vec<LaneRanges>> {
    let steps = proptest::collection::vec((1..1000_u64, 1..1000_u64), 0..40);
    proptest::collection::vec((any_head(), steps), 0..5).prop_map(|lanes| {
        let lane = |(head, steps): (NumberedHead, Vec<(u64, u64)>)| {
            let mut at = 0;
            let mut range = |(gap, length)| {
                let first = at + gap;
                at = first + length;
                SeqRange { first: Seq(first), end: Seq(at) }
            };
            let ranges = steps.into_iter().map(&mut range).collect();
            LaneRanges { epoch: head.epoch, lane: head.lane, ranges }
        };
        lanes.into_iter().map(lane).collect()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let payload = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    prop_oneof![
        any_ranges().prop_map(|lanes| Message::Ack(Ack { lanes })),
        (any_head(), payload()).prop_map(|(head, payload)| Message::Batch(Numbered { head, payload })),
        (any_head(), payload()).prop_map(|(head, payload)| Message::Loss(Numbered { head, payload })),
        payload().prop_map(|payload| Message::Schema(SchemaBody { payload })),
        (any_head(), any::<[u8; 16]>())
            .prop_map(|(batch, hash)| Message::NeedSchema(NeedSchema { batch, hash: SchemaHash(hash) })),
        (any_head(), any::<Option<u32>>()).prop_map(|(batch, retry_after_ms)| {
            Message::Refuse(Refuse { batch, reason: RefuseReason::WindowFull, retry_after_ms })
        }),
        (any_ranges(), any::<(u64, u32, u32, i64)>(), any::<[u8; 16]>()).prop_map(
            |(have, (session, bytes, batches, now), id)| {
                let (instance, log) = (InstanceId(id), LogId(id));
                let window = Window { bytes, batches };
                let schemas = vec![SchemaHash(id)];
                Message::Welcome(Welcome {
                    instance,
                    log,
                    session,
                    window,
                    have,
                    schemas,
                    now: WallTime(now),
                })
            }
        ),
        (any::<(u64, u64, i64, bool)>(), any_head(), any::<(u64, u64)>()).prop_map(
            |((boot, mono, wall, synchronised), head, (next, samples))| {
                let clock = Clock { boot, mono: MonoTime(mono), wall: WallTime(wall), synchronised };
                let NumberedHead { epoch, lane, seq } = head;
                let next = Seq(seq.0.saturating_add(next));
                let gone = Vec::new();
                let held = vec![HeldLane { epoch, lane, first: seq, next, samples, spooled: samples, gone }];
                Message::Heartbeat(Heartbeat { held, clock })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn any_message_comes_back_as_it_went(message in any_message()) {
        prop_assert_eq!(Message::from_frame(&message.to_frame()), Ok(message));
    }

    #[test]
    fn no_body_makes_a_decoder_panic(kind in 0..11_usize, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let kind = one_of_each()[kind].to_frame().kind;
        if let Ok(Message::Loss(numbered)) = Message::from_frame(&Frame { kind, body: body.into() }) {
            let _ = numbered.loss();
        }
    }

    #[test]
    fn a_damaged_body_is_a_message_or_an_error(which in 0..11_usize, flip in any::<prop::sample::Index>()) {
        let frame = one_of_each()[which].to_frame();
        let mut body = frame.body.to_vec();
        let bit = flip.index(body.len() * 8);
        body[bit / 8] ^= 1 << (bit % 8);
        let _ = Message::from_frame(&Frame { kind: frame.kind, body: body.into() });
    }
}
