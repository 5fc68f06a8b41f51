//! A channel's newest value, with how old it is.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Count, Moment, Time, ms, value::SampleValue, word};
use crate::{
    fleet::{Channel as State, ChannelReading, Mark, Pace},
    query::View,
};

/// A channel's newest value, with how old it is. `v`, `f` and `b` are as in a line of samples.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Channel<'a> {
    #[serde(flatten)]
    value: SampleValue<'a>,
    /// The value's time: repaired where the agent stamped it by a clock that was off.
    t: Time,
    /// The value's time as it came, only if it was repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    raw_t: Option<Time>,
    /// How old the value is; null if nobody knows.
    #[schema(required = true, examples(430))]
    age_ms: Option<i64>,
    #[schema(schema_with = word::freshness)]
    freshness: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = word::mark)]
    marked: Option<&'static str>,
    /// When the next value is due after this one, declared or measured; null while it is not known.
    #[schema(required = true, examples(1000.0))]
    interval_ms: Option<f64>,
    /// Whether a value holds until it changes, for as long as the link is up.
    on_change: bool,
    #[schema(schema_with = word::value_type)]
    r#type: &'static str,
    /// The unit that was declared with the value.
    #[schema(required = true, examples("V"))]
    unit: Option<&'a str>,
    /// When the gateway received the value.
    received_at: Time,
    #[schema(schema_with = word::stamped_by)]
    stamped_by: &'static str,
    /// Samples that the channel ever had.
    samples: Count,
}

/// Returns those of the channels that ever had a value, as in the robot's own answer.
pub(in crate::http) fn channel_values<S: AsRef<str>>(
    view: &View<'_>,
    names: impl IntoIterator<Item = S>,
    moment: Moment,
) -> serde_json::Map<String, serde_json::Value> {
    let value = |name: S| {
        let name = name.as_ref();
        let (state, reading) = (view.state().channel(name)?, view.channel(name)?);
        let channel = serde_json::to_value(Channel::of(state, &reading, moment)).expect("a channel is JSON");
        Some((name.to_owned(), channel))
    };
    names.into_iter().filter_map(value).collect()
}

impl<'a> Channel<'a> {
    pub(super) fn of(state: &State, reading: &ChannelReading<'a>, moment: Moment) -> Self {
        let interval = match reading.pace {
            Pace::Every(interval) => interval,
            Pace::OnChange => None,
        };
        Self {
            value: SampleValue::new(reading.value(), moment.ints),
            t: moment.ints.time(reading.t),
            raw_t: reading.raw_t().map(|t| moment.ints.time(t)),
            age_ms: reading.age_ns.map(ms),
            freshness: reading.freshness.as_str(),
            marked: reading.mark.map(Mark::as_str),
            interval_ms: interval.map(|nanos| nanos as f64 / 1e6),
            on_change: reading.pace == Pace::OnChange,
            r#type: word::of_type(reading.value().kind()),
            unit: reading.unit(),
            received_at: moment.ints.time(reading.received_at()),
            stamped_by: word::of_stamp(reading.stamped_by()),
            samples: moment.ints.count(state.samples()),
        }
    }
}
