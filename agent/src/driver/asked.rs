//! What the driver answers when somebody asks how it is.

use std::time::Duration;

use muster_protocol::{
    id::Lane,
    time::{MonoTime, WallTime},
};
use tokio::sync::oneshot;

use super::Driver;
use crate::{delivery::Standing, link::Link, spool::Evicted, uplink};

/// A question; the answer goes there.
pub type Ask = oneshot::Sender<DeliveryReport>;

/// How delivery is.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// When it was asked.
    pub at: MonoTime,
    /// The link.
    pub link: LinkState,
    /// What waits and what was lost, by lane.
    pub lanes: [LaneReport; 3],
    /// The time of the oldest sample that waits, or of one before it in its segment.
    pub oldest: Option<WallTime>,
    /// Bytes sent and limits.
    pub uplink: uplink::Figures,
    /// Why the spool failed, if it did.
    pub spool_fault: Option<String>,
}

/// How the link is.
#[derive(Clone, Debug)]
pub struct LinkState {
    /// What delivery says.
    pub standing: Standing,
    /// The gateway that the session is with, or that was tried last; `None` before the first attempt.
    pub gateway: Option<String>,
    /// Why there is no link, if there is none.
    pub why_not: Option<String>,
    /// Attempts and links that failed since the last session.
    pub failures: u64,
    /// Sessions since the agent started.
    pub sessions: u64,
    /// The round trip, where the link knows it.
    pub rtt: Option<Duration>,
    /// The smoothed time from sending a batch to its acknowledgement.
    pub ack_time: Option<Duration>,
    /// Bytes that links sent since the agent started, with all overhead.
    pub sent_bytes: u64,
}

/// What one lane holds and has lost.
#[derive(Clone, Copy, Debug)]
pub struct LaneReport {
    /// The lane.
    pub lane: Lane,
    /// Samples that wait for their acknowledgement.
    pub samples: u64,
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Samples lost since the agent started.
    pub lost: u64,
}

/// What the driver remembers to answer with.
#[derive(Debug, Default)]
pub(super) struct Facts {
    lost: [u64; 3],
    failures: u64,
    why_not: Option<String>,
    pub(super) fault: Option<String>,
    /// What links sent that are gone.
    pub(super) sent_before: u64,
}

impl Facts {
    pub(super) fn lose(&mut self, evicted: &Evicted) {
        self.lost[evicted.lane().index()] += evicted.samples();
    }

    pub(super) fn no_link(&mut self, why: String) {
        self.failures += 1;
        self.why_not = Some(why);
    }

    /// Notes what is said of an attempt that still goes on.
    pub(super) fn doubt(&mut self, why: String) {
        self.why_not = Some(why);
    }

    pub(super) fn up(&mut self) {
        self.failures = 0;
        self.why_not = None;
    }
}

impl Driver {
    pub(super) fn report(&self) -> DeliveryReport {
        let (samples, bytes) = (self.delivery.samples_held(), self.reader.lane_bytes());
        let lanes = Lane::ALL.map(|lane| LaneReport {
            lane,
            samples: samples[lane.index()],
            bytes: bytes[lane.index()],
            lost: self.facts.lost[lane.index()],
        });
        let gateway = self.attempt.and_then(|(_, url)| self.urls.get(url));
        DeliveryReport {
            at: self.clock.mono(),
            link: LinkState {
                standing: self.delivery.standing(),
                gateway: gateway.map(ToString::to_string),
                why_not: self.facts.why_not.clone(),
                failures: self.facts.failures,
                sessions: self.delivery.figures().sessions,
                rtt: self.link.as_ref().and_then(Link::rtt),
                ack_time: self.delivery.ack_time(),
                sent_bytes: self.facts.sent_before + self.link.as_ref().map_or(0, Link::sent_bytes),
            },
            lanes,
            oldest: self.reader.oldest(),
            uplink: self.delivery.uplink(),
            spool_fault: self.facts.fault.clone(),
        }
    }
}
