//! Plain JSON from any MQTT client: rows that parse become batches under the gateway's own numbers, refused ones a
//! loss record. The ticket resolves when all of it is durable.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use muster_protocol::{
    batch::{BatchBuilder, EncodedBatch},
    id::{ChannelName, Lane, RobotId, Seq},
    loss::{Loss, LossReason},
    message::{Clock as ClockReading, NumberedHead},
    ndjson::Payload,
    sample::{Row, StampedBy, Value},
    schema::{ChannelDef, Schema, SchemaBuilder},
    time::WallTime,
};

use super::{
    Ingest,
    robot::{OpenSession, Robot, SessionGauge},
    session::unhandled,
};
use crate::{
    committer::{Decoded, Entry, RejectReason},
    fleet::LiveLink,
    link::port::{Ticket, Unhandled},
    record::{Body, Envelope, SessionEvent, Transport},
};

/// One record to commit, with what the fold and the log need beside it.
struct Numbered {
    body: Body,
    decoded: Option<Arc<Decoded>>,
}

/// Tells how it ended when the last of several records is committed.
struct Countdown {
    left: usize,
    result: Result<(), Unhandled>,
    settle: Option<Settle>,
}

/// What of a payload's records waits for its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    Nothing,
    Something,
}

/// Is called once, with how a payload ended.
type Settle = Box<dyn FnOnce(Result<(), Unhandled>) + Send>;

/// Takes a payload that its sender keeps until the ticket resolves.
pub(super) fn take(ingest: &Ingest, robot: &RobotId, payload: &[u8]) -> Ticket {
    let (issuer, ticket) = Ticket::new();
    let parsed = parse(ingest, robot, payload);
    store(ingest, robot, &parsed, Box::new(|result| issuer.resolve(result)));
    ticket
}

/// Takes a payload that nobody keeps: what cannot be stored is counted, and that is all that will be known of it.
pub(super) fn take_once(ingest: &Ingest, robot: &RobotId, payload: &[u8]) -> Ticket {
    let (issuer, ticket) = Ticket::new();
    let parsed = parse(ingest, robot, payload);
    let values: usize = parsed.rows.iter().map(|row| row.fields.len()).sum();
    let samples = parsed.refused + values as u64;
    let metrics = Arc::clone(&ingest.0.metrics);
    let settle = Box::new(move |result| {
        if let Err(why) = result {
            metrics.gave_up_json(why, samples);
        }
        issuer.resolve(Ok(()));
    });
    store(ingest, robot, &parsed, settle);
    ticket
}

fn parse(ingest: &Ingest, robot: &RobotId, payload: &[u8]) -> Payload {
    let parsed = ingest.0.parser.lock().unwrap_or_else(PoisonError::into_inner).parse_payload(payload);
    let samples: usize = parsed.rows.iter().map(|row| row.fields.len()).sum();
    ingest.0.metrics.received(Transport::MqttJson, samples as u64, payload.len());
    if let Some(error) = &parsed.first_error {
        tracing::warn!(%robot, refused = parsed.refused, "refused plain JSON: {error}");
    }
    parsed
}

fn store(ingest: &Ingest, robot: &RobotId, parsed: &Payload, settle: Settle) {
    let Some(robot) = ingest.admit(robot) else { return settle(Err(Unhandled::FullOfRobots)) };
    let session = hear(ingest, &robot);
    let (records, given) = number(ingest, &robot, &parsed.rows, parsed.refused);
    if commit(ingest, &robot, session, records, settle) == Queued::Nothing {
        // Each gap would cost the fold a little for good.
        robot.lock().take_back_json(&given);
    }
}

/// Takes a payload as a sign of life, and opens a session if none is open. Returns the session's number.
fn hear(ingest: &Ingest, robot: &Arc<Robot>) -> u64 {
    let shared = &ingest.0;
    let (mono, wall) = (shared.clock.mono(), shared.clock.wall());
    let mut state = robot.lock();
    if let Some(session) = &mut state.session {
        if session.outbox.is_none() {
            session.heard = mono;
            session.live.last_heard = wall;
        }
        return session.number;
    }
    let number = shared.next_session();
    let live = LiveLink {
        last_heard: wall,
        told_at: wall,
        held: Vec::new(),
        clock: None,
        transport: Transport::MqttJson,
        address: String::new(),
    };
    let gauge = SessionGauge::open(&shared.metrics, live.transport);
    state.session = Some(OpenSession {
        number,
        instance: None,
        outbox: None,
        heard: mono,
        live,
        told: None,
        sent: None,
        _gauge: gauge,
    });
    drop(state);
    let up = SessionEvent::Up {
        transport: Transport::MqttJson,
        address: String::new(),
        version: String::new(),
        clock: None,
        instance: None,
    };
    shared.commit_event(robot, number, up);
    number
}

/// Makes records of rows, and returns them with the numbers that their batches were given.
fn number(
    ingest: &Ingest,
    robot: &Robot,
    rows: &[Row],
    mut refused: u64,
) -> (Vec<Numbered>, Range<[Seq; 3]>) {
    let shared = &ingest.0;
    let now = shared.clock.wall();
    let epoch = shared.config.instance.epoch();
    let clock = ClockReading { boot: epoch.random, mono: shared.clock.mono(), wall: now, synchronised: true };
    let mut records = Vec::new();
    let mut state = robot.lock();
    let first = state.json_next();
    for lane in Lane::ALL {
        let of_lane = |row: &&Row| row.lane.unwrap_or(Lane::Live) == lane;
        let rows: Vec<&Row> = rows.iter().filter(of_lane).collect();
        let (batches, too_wide) = encode(&mut state.json_channels, &rows, now, clock);
        refused += too_wide;
        for (encoded, schema) in batches {
            let head = NumberedHead { epoch, lane, seq: state.next_json_seq(lane) };
            let decoded =
                muster_protocol::batch::decode(&encoded.bytes, &schema).expect("it was just encoded");
            let body = Body::Batch { head, info: encoded.info, payload: encoded.bytes };
            records.push(Numbered { body, decoded: Some(Arc::new(Decoded { schema, batch: decoded })) });
        }
    }
    if refused > 0 {
        let reason = LossReason::Malformed;
        let (lane, times) = (Lane::Live, Some(now));
        let loss =
            Loss { epoch, lane, lost: Vec::new(), unnumbered: refused, t_min: times, t_max: times, reason };
        records.push(Numbered { body: Body::Loss { head: None, loss }, decoded: None });
    }
    (records, first..state.json_next())
}

/// Encodes rows of one lane, and returns how many were refused because they have more channels, or longer names, than a
/// schema holds. A full table of channels is started anew; what it held so far stays valid.
fn encode(
    channels: &mut SchemaBuilder,
    rows: &[&Row],
    now: WallTime,
    clock: ClockReading,
) -> (Vec<(EncodedBatch, Arc<Schema>)>, u64) {
    let (mut encoded, mut refused) = (Vec::new(), 0);
    let mut builder = BatchBuilder::new();
    let mut close = |builder: &mut BatchBuilder, channels: &mut SchemaBuilder| {
        if !builder.is_empty() {
            let schema = channels.schema();
            let batches = std::mem::replace(builder, BatchBuilder::new()).finish(&schema, clock);
            encoded.extend(batches.into_iter().map(|batch| (batch, Arc::clone(&schema))));
        }
    };
    for row in rows {
        let fields = index(channels, row).or_else(|| {
            close(&mut builder, channels);
            *channels = SchemaBuilder::new();
            index(channels, row)
        });
        let Some(fields) = fields else {
            refused += 1;
            continue;
        };
        let stamped_by = if row.t.is_some() { StampedBy::Input } else { StampedBy::Agent };
        let t = row.t.unwrap_or(now);
        if builder.is_full() || builder.push_row(t, stamped_by, &fields).is_err() {
            close(&mut builder, channels);
            builder.push_row(t, stamped_by, &fields).expect("the parser refuses rows that no batch can hold");
        }
    }
    close(&mut builder, channels);
    (encoded, refused)
}

/// Returns the row's fields by their channels' numbers, or `None` if the table of channels is full.
fn index(channels: &mut SchemaBuilder, row: &Row) -> Option<Vec<(u32, Value)>> {
    let known: Option<Vec<u32>> = row.fields.iter().map(|(name, _)| channels.index_of(name)).collect();
    let define = |(name, _): &(ChannelName, Value)| ChannelDef {
        unit: row.unit.clone(),
        ..ChannelDef::named(name.clone())
    };
    let indexes = match known {
        Some(indexes) => indexes,
        None => channels.try_add_all(row.fields.iter().map(define)).ok()?,
    };
    let values = row.fields.iter().map(|(_, value)| value.clone());
    Some(indexes.into_iter().zip(values).collect())
}

/// Queues all of the records or none: a sender that keeps trying must not store a part of them with each try.
fn commit(ingest: &Ingest, robot: &Robot, session: u64, records: Vec<Numbered>, settle: Settle) -> Queued {
    if records.is_empty() {
        settle(Ok(()));
        return Queued::Nothing;
    }
    let count_all = records.len();
    let countdown = Countdown { left: count_all, result: Ok(()), settle: Some(settle) };
    let countdown = Arc::new(Mutex::new(countdown));
    let entry = |Numbered { body, decoded }: Numbered| {
        let received_at = ingest.0.clock.wall();
        let envelope = Envelope { received_at, robot: robot.id.clone(), session, body };
        let schema =
            decoded.as_ref().map(|decoded| (decoded.schema.hash(), decoded.schema.encoded().clone()));
        let done = Arc::clone(&countdown);
        let done = Box::new(move |result: Result<_, _>| count(&done, result.map(drop).map_err(unhandled)));
        Entry { envelope, schema, decoded, done }
    };
    let entries = records.into_iter().map(entry).collect();
    let Err(why) = ingest.0.log.submit_all(entries) else { return Queued::Something };
    let why = match why {
        RejectReason::QueueFull => Unhandled::Busy,
        RejectReason::DiskFull => Unhandled::DiskFull,
        RejectReason::Closed => Unhandled::Stopping,
    };
    settle_now(&countdown, Err(why));
    // A log that takes records one by one may have taken some: those hold on to the countdown, or were counted.
    let held = Arc::strong_count(&countdown) > 1;
    let counted = countdown.lock().unwrap_or_else(PoisonError::into_inner).left < count_all;
    if held || counted { Queued::Something } else { Queued::Nothing }
}

fn count(countdown: &Mutex<Countdown>, result: Result<(), Unhandled>) {
    let ended = {
        let mut countdown = countdown.lock().unwrap_or_else(PoisonError::into_inner);
        countdown.left -= 1;
        countdown.result = countdown.result.and(result);
        (countdown.left == 0).then_some(countdown.result)
    };
    if let Some(result) = ended {
        settle_now(countdown, result);
    }
}

fn settle_now(countdown: &Mutex<Countdown>, result: Result<(), Unhandled>) {
    let settle = countdown.lock().unwrap_or_else(PoisonError::into_inner).settle.take();
    if let Some(settle) = settle {
        settle(result);
    }
}
