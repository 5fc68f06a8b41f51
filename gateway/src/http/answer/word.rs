//! The words that answers use, as schemas: each is one of a few, named by the type that it comes from.

use muster_protocol::{
    id::Lane,
    loss::LossReason,
    sample::{StampedBy, ValueType},
};
use utoipa::openapi::schema::{Object, SchemaType, Type};

use crate::{
    conditions::{Code, Severity, SinceFrom},
    fleet::{Freshness, Level, LinkState, Mark, Standing},
    record::Transport,
};

/// Returns the name of a value's type.
pub(super) fn of_type(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Bool => "bool",
        ValueType::Int => "int",
        ValueType::Float => "float",
        ValueType::Text => "text",
        ValueType::Bytes => "bytes",
    }
}

/// Returns who stamped a sample.
pub(super) fn of_stamp(stamped_by: StampedBy) -> &'static str {
    match stamped_by {
        StampedBy::Agent => "agent",
        StampedBy::Input => "input",
    }
}

pub(super) fn value_type() -> Object {
    use ValueType::{Bool, Bytes, Float, Int, Text};
    one_of([Bool, Int, Float, Text, Bytes].map(of_type), "The type of the newest value.")
}

pub(super) fn stamped_by() -> Object {
    let words = [StampedBy::Agent, StampedBy::Input].map(of_stamp);
    one_of(words, "Who gave the newest value its time: the agent, or whoever gave it to the agent.")
}

pub(super) fn non_finite() -> Object {
    one_of(["NaN", "Infinity", "-Infinity"], "Only with a float that JSON cannot say; `v` is null then.")
}

pub(super) fn freshness() -> Object {
    use Freshness::{Fresh, Late, Never, Stale};
    let meaning = "Whether the value is recent for this channel. Only a fresh one may be taken for now.";
    one_of([Fresh, Late, Stale, Never].map(Freshness::as_str), meaning)
}

pub(super) fn link_state() -> Object {
    let words = [LinkState::Up, LinkState::Down].map(LinkState::as_str);
    one_of(words, "Whether a session is open and was heard within 45 s.")
}

pub(super) fn level() -> Object {
    use Level::{Error, Ok, Stale, Warn};
    one_of([Ok, Warn, Error, Stale].map(Level::as_str), "The worst of the reasons' levels.")
}

pub(super) fn mark() -> Object {
    let words = [Mark::Before2020, Mark::Ahead].map(Mark::as_str);
    one_of(words, "Only if the value's time is not believed: why. It ages by its time of acceptance then.")
}

pub(super) fn standing() -> Object {
    let meaning = "Whether anything that the robot accepted was missing when it told last.";
    one_of(Standing::ALL.map(Standing::as_str), meaning)
}

pub(super) fn lane() -> Object {
    one_of(Lane::ALL.map(Lane::as_str), "The lane of what is lost.")
}

pub(super) fn reported_by() -> Object {
    one_of(["agent", "gateway"], "Who recorded the loss.")
}

pub(super) fn loss_reason() -> Object {
    use LossReason::{
        Corrupt, DiskFailed, Malformed, Overrun, Oversize, Quarantined, Refused, Restored, SpoolFull,
    };
    let words =
        [SpoolFull, Corrupt, Refused, Oversize, DiskFailed, Restored, Quarantined, Malformed, Overrun];
    one_of(words.map(LossReason::as_str), "Why it is lost.")
}

pub(super) fn condition_code() -> Object {
    one_of(Code::all().map(Code::as_str), "What it is. RUNBOOK.md has a section for each.")
}

pub(super) fn severity() -> Object {
    one_of(Severity::ALL.map(Severity::as_str), "How grave it is.")
}

pub(super) fn since_from() -> Object {
    let words = [SinceFrom::Log, SinceFrom::Seen].map(SinceFrom::as_str);
    one_of(words, "Who says since when: a record of the log, or this run of the gateway, which saw it.")
}

pub(super) fn transport() -> Object {
    let words = [Transport::Quic, Transport::Mqtt, Transport::MqttJson].map(Transport::as_str);
    let words = words.into_iter().map(Some).chain([None]);
    Object::builder()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
        .enum_values(Some(words))
        .description(Some("How the robot is or was connected."))
        .build()
}

fn one_of(words: impl IntoIterator<Item = &'static str>, meaning: &str) -> Object {
    let text = Object::builder().schema_type(Type::String);
    text.enum_values(Some(words)).description(Some(meaning)).build()
}
