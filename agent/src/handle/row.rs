//! Builds one row and records it.

use muster_protocol::{
    id::{ChannelName, Lane, ParseIdError},
    loss::LossReason,
    sample::{Row, Value},
    time::WallTime,
};

use crate::{batcher::Stamped, intake::Shown};

use super::{RecordError, Recorder};

/// A row in the making: samples of one time that stay together. Nothing is recorded before
/// [`record`](RowRecorder::record).
#[derive(Debug)]
#[must_use = "a row is recorded by `record`"]
pub struct RowRecorder<'a> {
    recorder: &'a Recorder,
    row: Row,
    /// The first channel whose name is not one.
    bad_name: Option<(String, ParseIdError)>,
}

/// What can be recorded as a value. Floats may be NaN or infinite, and come out with the same bits.
pub trait IntoValue {
    /// Returns the value. Integers that do not fit 64 signed bits become the nearest float, as in NDJSON.
    fn into_value(self) -> Value;
}

impl<'a> RowRecorder<'a> {
    pub(super) fn new(recorder: &'a Recorder) -> Self {
        let row = Row { t: None, lane: None, unit: None, fields: Vec::new() };
        Self { recorder, row, bad_name: None }
    }

    /// Adds a sample.
    pub fn field(mut self, channel: &str, value: impl IntoValue) -> Self {
        match ChannelName::new(channel) {
            Ok(name) => self.row.fields.push((name, value.into_value())),
            Err(error) => {
                self.bad_name.get_or_insert_with(|| (channel.to_owned(), error));
            }
        }
        self
    }

    /// Adds a sample of a channel whose name was checked before.
    pub fn channel(mut self, channel: &ChannelName, value: impl IntoValue) -> Self {
        self.row.fields.push((channel.clone(), value.into_value()));
        self
    }

    /// Sets the time; without it the row gets the time of [`record`](RowRecorder::record).
    pub fn at(mut self, t: WallTime) -> Self {
        self.row.t = Some(t);
        self
    }

    /// Sets the lane; without it the declared or default one is used.
    pub fn lane(mut self, lane: Lane) -> Self {
        self.row.lane = Some(lane);
        self
    }

    /// Sets the unit of the row's channels.
    pub fn unit(mut self, unit: &str) -> Self {
        self.row.unit = Some(unit.to_owned());
        self
    }

    /// Records the row. Never blocks. A refused row is counted and shown like a refused line of any input.
    pub fn record(self) -> Result<(), RecordError> {
        let Recorder { source, clock, .. } = self.recorder;
        let line = self.recorder.number_row();
        if let Some((text, error)) = self.bad_name {
            source.refuse(
                "bad_name",
                Some(LossReason::Malformed),
                &error,
                Shown { line, text: text.as_bytes() },
            );
            return Err(error.into());
        }
        let name = self.row.fields.first().map(|(name, _)| name.clone());
        let text = name.as_ref().map_or("", |name| name.as_str());
        let stamped = Stamped::at(self.row, clock.wall(), clock.mono());
        Ok(source.push(stamped, Shown { line, text: text.as_bytes() })?)
    }
}

macro_rules! into_value {
    ($($type:ty => |$value:ident| $expression:expr;)*) => {$(
        impl IntoValue for $type {
            fn into_value(self) -> Value {
                let $value = self;
                $expression
            }
        }
    )*};
}

into_value! {
    Value => |value| value;
    bool => |value| Value::Bool(value);
    i8 => |value| Value::Int(value.into());
    i16 => |value| Value::Int(value.into());
    i32 => |value| Value::Int(value.into());
    i64 => |value| Value::Int(value);
    u8 => |value| Value::Int(value.into());
    u16 => |value| Value::Int(value.into());
    u32 => |value| Value::Int(value.into());
    u64 => |value| i64::try_from(value).map_or(Value::Float(value as f64), Value::Int);
    f32 => |value| Value::Float(value.into());
    f64 => |value| Value::Float(value);
    &str => |value| Value::Text(value.to_owned());
    String => |value| Value::Text(value);
    &[u8] => |value| Value::Bytes(value.to_vec());
    Vec<u8> => |value| Value::Bytes(value);
}
