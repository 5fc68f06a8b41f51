//! What each channel's newest value has to be, computed from the whole log in the plainest way, and compared with the
//! state that the gateway folded record by record, across crashes and checkpoints.

use std::collections::BTreeMap;

use muster_gateway::{
    fleet::Fleet,
    record::{Body, Envelope},
};
use muster_protocol::{
    batch,
    id::{ChannelName, Epoch, Lane, Offset, RobotId, Seq},
    sample::Value,
    time::WallTime,
};

use super::checker::SchemaOf;

/// Whether robots' clocks ever lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clocks {
    True,
    /// Times may have been repaired: only the samples are counted.
    Wrong,
}

/// The order of values. A stamp from the future counts as at most five seconds ahead, and one that is not believed, more
/// than a minute ahead, as the moment at which it came.
type Order = (WallTime, Epoch, Lane, Seq, u32);

/// One channel as the log has it.
#[derive(Default)]
struct Expected {
    samples: u64,
    newest: Option<(Order, Value)>,
}

/// Returns what differs.
pub(super) fn check(
    log: &[(Offset, Envelope)],
    schema: SchemaOf<'_>,
    fleet: &Fleet,
    clocks: Clocks,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (robot, channels) in expected(log, schema) {
        let Some(state) = fleet.robot(&robot) else {
            wrong.push(format!("the fleet does not know {robot}"));
            continue;
        };
        let state = state.read().expect("nothing panics under the lock");
        let link = state.read(WallTime(0), None).link;
        if state.channel_count() != channels.len() {
            wrong.push(format!("{robot} has {} channels, the log {}", state.channel_count(), channels.len()));
        }
        for (name, channel) in state.channels() {
            let Some(expected) = channels.get(name) else {
                wrong.push(format!("{robot} has a channel {name} that the log has not"));
                continue;
            };
            if channel.samples() != expected.samples {
                let (said, held) = (channel.samples(), expected.samples);
                wrong.push(format!("{robot} {name}: {said} samples, the log has {held}"));
            }
            let newest = expected.newest.as_ref().map(|(_, value)| value);
            let served = state.read_channel(channel, WallTime(0), &link);
            if clocks == Clocks::True && newest != Some(served.value()) {
                wrong.push(format!("{robot} {name}: {:?} is newest, not {newest:?}", served.value()));
            }
        }
    }
    wrong
}

fn expected(
    log: &[(Offset, Envelope)],
    schema: SchemaOf<'_>,
) -> BTreeMap<RobotId, BTreeMap<ChannelName, Expected>> {
    let mut robots: BTreeMap<RobotId, BTreeMap<ChannelName, Expected>> = BTreeMap::new();
    for (_, envelope) in log {
        let Body::Batch { head, info, payload } = &envelope.body else { continue };
        let Some(schema) = schema(&envelope.robot, info.schema) else { continue };
        let Ok(batch) = batch::decode(payload, &schema) else { continue };
        let channels = robots.entry(envelope.robot.clone()).or_default();
        for sample in batch.samples() {
            let Some(definition) = schema.get(sample.channel) else { continue };
            let channel = channels.entry(definition.name.clone()).or_default();
            channel.samples += 1;
            let came = envelope.received_at;
            let is_believed = sample.t.nanos_since(came) <= BELIEVED_NS_MAX;
            let t = if is_believed { sample.t.min(came.shifted(AHEAD_NS_MAX)) } else { came };
            let order = (t, head.epoch, head.lane, head.seq, sample.index);
            if channel.newest.as_ref().is_none_or(|(newest, _)| order > *newest) {
                channel.newest = Some((order, sample.value.to_value()));
            }
        }
    }
    robots
}

const AHEAD_NS_MAX: i64 = 5_000_000_000;

const BELIEVED_NS_MAX: i64 = 60_000_000_000;
