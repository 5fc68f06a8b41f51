//! Conditions in CEL, of robots that say much and of one that says nothing.
//!
//! Input: the expression.

use std::sync::{Arc, LazyLock};

use muster_gateway::{
    config::Config,
    fleet::{Fleet, Heard, LiveLink},
    query::{Expression, ExpressionError, Scene, Selection, Sort, View},
    record::{Body, Envelope, Transport},
};
use muster_protocol::{
    batch::{self, BatchBuilder},
    id::{ChannelName, Epoch, Lane, Offset, RobotId, Seq},
    message::{Clock, NumberedHead},
    sample::{StampedBy, Value},
    schema::{ChannelDef, Schema},
    time::{MonoTime, WallTime},
};

/// The moment of all questions.
const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

/// Longest expression that is put into another: both stay within what is taken.
const INNER_BYTES_MAX: usize = 2000;

static FLEET: LazyLock<Fleet> = LazyLock::new(fleet);

/// A text as a condition.
pub fn expressions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let expression = match Expression::parse(&text) {
        Ok(expression) => expression,
        Err(error) => return check_error(&error, &text),
    };
    let live = heard();
    let mut taken = 0;
    let robots = FLEET.robots();
    for robot in &*robots {
        let state = robot.read();
        let asked = |heard| expression.matches(&View::new(&robot.id, &state, NOW, heard));
        let answer = asked(Heard::Now(Some(&live)));
        assert_eq!(answer, asked(Heard::Now(Some(&live))), "the same question has the same answer");
        if !expression.is_heard() {
            assert_eq!(answer, asked(Heard::OnRecord), "it says that it does not depend on what is heard");
        }
        check_opposite(
            &text,
            &View::new(&robot.id, &state, NOW, Heard::Now(Some(&live))),
            answer.as_ref().ok(),
        );
        assert!(answer.as_ref().err().is_none_or(|undecided| !undecided.why.is_empty()));
        taken += usize::from(asked(Heard::Now(None)) == Ok(true));
    }
    let live: Option<&dyn muster_gateway::fleet::LiveLinks> = Some(&Silence);
    let scene = Scene { fleet: &FLEET, live, now: NOW, is_late: &|| false };
    let selection = Selection { conditions: vec![expression] };
    let found = selection.find(&scene, &Sort::default()).expect("it is never late");
    assert_eq!(found.robots.len(), taken, "a list has the robots that the expression takes");
    assert!(found.robots.len() as u64 + found.undecided.count <= robots.len() as u64);
}

fn check_error(error: &ExpressionError, text: &str) {
    let lines = text.lines().count().max(1) + 1;
    match error {
        ExpressionError::Syntax { line, column, .. } => {
            assert!((1..=lines).contains(line), "{error}");
            assert!((1..=text.chars().count() + 2).contains(column), "{error}");
        }
        ExpressionError::Unknown { column, reason } => {
            assert!((1..=text.chars().count() + 1).contains(column) && !reason.is_empty(), "{error}");
        }
        ExpressionError::Costly { steps, max } => assert!(steps > max),
        ExpressionError::TooLong { bytes } => assert_eq!(*bytes, text.len()),
    }
}

/// Checks that the opposite of a condition takes what the condition leaves out.
fn check_opposite(text: &str, view: &View<'_>, answer: Option<&bool>) {
    if text.len() > INNER_BYTES_MAX {
        return;
    }
    // It is nested deeper by one, and may be too deep or too costly now. A comment ends with its line.
    let Ok(opposite) = Expression::parse(&format!("!({text}\n)")) else { return };
    assert_eq!(opposite.matches(view).ok(), answer.map(|answer| !answer), "the opposite of {text}");
}

/// Nobody is heard.
struct Silence;

impl muster_gateway::fleet::LiveLinks for Silence {
    fn live(&self, _: &RobotId) -> Option<LiveLink> {
        None
    }

    fn count(&self) -> usize {
        0
    }
}

fn heard() -> LiveLink {
    LiveLink {
        last_heard: NOW,
        told_at: NOW,
        held: Vec::new(),
        clock: None,
        transport: Transport::Quic,
        address: "10.0.0.5:4312".to_owned(),
    }
}

/// Two robots with a value of each kind, one of which is old, and one without any.
fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    fleet.map(Config::default().mapping());
    let row = [
        ("a", Value::Int(3)),
        ("b", Value::Float(0.5)),
        ("mode", Value::Text("auto".into())),
        ("on", Value::Bool(true)),
        ("raw", Value::Bytes(vec![1, 2])),
        ("odd", Value::Float(f64::NAN)),
        ("least", Value::Int(i64::MIN)),
        ("long", Value::Text("long ".repeat(3000))),
        ("battery.soc", Value::Float(0.81)),
        ("battery.charging", Value::Bool(false)),
        ("pose.x", Value::Float(1.0)),
        ("pose.y", Value::Float(-0.0)),
    ];
    for (offset, (robot, age_s)) in (1..).zip([("f/r1", 1), ("f/r2", 600)]) {
        apply(&fleet, offset, robot, NOW.shifted(-age_s * 1_000_000_000), &row);
    }
    apply(&fleet, 3, "g/r3", NOW, &[("else", Value::Int(1))]);
    fleet
}

fn apply(fleet: &Fleet, offset: u64, robot: &str, t: WallTime, row: &[(&str, Value)]) {
    let channel = |name: &str| ChannelDef::named(ChannelName::new(name).expect("it is a name"));
    let channels = row.iter().map(|(name, _)| channel(name)).collect();
    let schema = Arc::new(Schema::new(channels).expect("its channels differ"));
    let fields: Vec<_> = (0..).zip(row.iter().map(|(_, value)| value.clone())).collect();
    let mut builder = BatchBuilder::new();
    builder.push_row(t, StampedBy::Input, &fields).expect("the row fits a batch");
    let clock = Clock { boot: 1, mono: MonoTime(5), wall: t, synchronised: true };
    let encoded = builder.finish(&schema, clock).remove(0);
    let decoded = batch::decode(&encoded.bytes, &schema).expect("it was encoded just now");
    let head = NumberedHead { epoch: Epoch { start: 1, random: 1 }, lane: Lane::Live, seq: Seq(offset) };
    let body = Body::Batch { head, info: encoded.info, payload: encoded.bytes };
    let robot: RobotId = robot.parse().expect("it is an id");
    let envelope = Envelope { received_at: t, robot, session: 1, body };
    fleet.apply(Offset(offset), &envelope, Some((&decoded, &schema)));
}
