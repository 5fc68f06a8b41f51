//! A line of samples, as a schema: [`LineWriter`](crate::http::lines::LineWriter) writes it by hand, because millions
//! pass there.

use utoipa::ToSchema;

use super::{Count, Time, value::SampleValue};

/// A stored sample.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "only its description is used")]
pub(in crate::http) struct SampleLine<'a> {
    /// The sample's time: repaired where the agent stamped it by a clock that was off.
    t: Time,
    /// The time as it came, only if it was repaired.
    #[schema(nullable = false)]
    raw_t: Option<Time>,
    /// The channel.
    #[schema(examples("battery.soc"))]
    ch: &'a str,
    #[serde(flatten)]
    value: SampleValue<'a>,
    /// The offset of the sample's batch in the log.
    o: Count,
    /// The sample's index within its batch.
    i: u32,
}
