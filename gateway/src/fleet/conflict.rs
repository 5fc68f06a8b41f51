//! Two processes with two spools that speak for one robot: a cloned disk image, or a name given twice.
//!
//! Nothing of either is mixed, because each has epochs of its own. They take turns: the newer one speaks, the older one
//! comes back after minutes, and each take-over is a record. So the conflict is over when nobody came back for a while.

use serde::{Deserialize, Serialize};

use muster_protocol::{
    id::{InstanceId, Offset},
    time::WallTime,
};

/// The fold of a robot's conflicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Conflicts {
    /// Spans in which take-overs followed each other within [`CONFLICT_NS_OVER`], ascending and apart, the last
    /// [`SPANS_MAX`].
    spans: Vec<(WallTime, WallTime)>,
    /// The last take-over.
    last: Option<(Offset, Other)>,
}

/// The process that had to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Other {
    at: WallTime,
    instance: InstanceId,
    address: String,
}

/// Another process speaks for the same robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Since when the two push each other out.
    pub since: WallTime,
    /// The last time that one did.
    pub last_at: WallTime,
    /// From where the process speaks that has to wait now.
    pub address: String,
    /// That process.
    pub instance: InstanceId,
}

/// A process that had to wait comes back after three minutes, and its backoff: after three times that it is gone.
pub const CONFLICT_NS_OVER: i64 = 600_000_000_000;

/// Only the last span is shown. Some more, so that the order of records does not matter.
const SPANS_MAX: usize = 8;

impl Conflicts {
    /// Takes a take-over.
    pub(super) fn saw(&mut self, offset: Offset, at: WallTime, instance: InstanceId, address: &str) {
        let near = |span: &(WallTime, WallTime)| {
            at.nanos_since(span.1) <= CONFLICT_NS_OVER && span.0.nanos_since(at) <= CONFLICT_NS_OVER
        };
        let joined = self.spans.iter().filter(|span| near(span));
        let span = joined.fold((at, at), |(first, last), span| (first.min(span.0), last.max(span.1)));
        self.spans.retain(|span| !near(span));
        let place = self.spans.partition_point(|known| *known < span);
        self.spans.insert(place, span);
        if self.spans.len() > SPANS_MAX {
            self.spans.remove(0);
        }
        if self.last.as_ref().is_none_or(|(known, _)| offset > *known) {
            self.last = Some((offset, Other { at, instance, address: address.to_owned() }));
        }
    }

    /// Returns the conflict that goes on at `now`.
    pub(super) fn read(&self, now: WallTime) -> Option<Conflict> {
        let (_, other) = self.last.as_ref()?;
        let (since, last_at) =
            *self.spans.iter().find(|(first, last)| (first..=last).contains(&&other.at))?;
        let goes_on = now.nanos_since(last_at) <= CONFLICT_NS_OVER;
        let Other { instance, address, .. } = other.clone();
        goes_on.then_some(Conflict { since, last_at, address, instance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: i64 = 60_000_000_000;

    fn seen(minutes: &[i64]) -> Conflicts {
        let mut conflicts = Conflicts::default();
        for (offset, minute) in (1..).zip(minutes) {
            let instance = InstanceId([u8::try_from(offset).unwrap(); 16]);
            conflicts.saw(Offset(offset), WallTime(minute * MIN), instance, &format!("a:{offset}"));
        }
        conflicts
    }

    #[test]
    fn a_conflict_lasts_while_take_overs_follow_each_other() {
        let conflicts = seen(&[0, 100, 103, 107]);
        let read = |minute: i64| conflicts.read(WallTime(minute * MIN));
        let conflict = read(110).unwrap();
        assert_eq!((conflict.since, conflict.last_at), (WallTime(100 * MIN), WallTime(107 * MIN)));
        assert_eq!((conflict.address.as_str(), conflict.instance), ("a:4", InstanceId([4; 16])));
        assert!(read(117).is_some());
        assert_eq!(read(118), None, "nobody came back");
    }

    #[test]
    fn no_take_over_is_no_conflict() {
        assert_eq!(Conflicts::default().read(WallTime(0)), None);
    }
}
