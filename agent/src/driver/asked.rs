//! What the driver answers when somebody asks how it is.

use muster_protocol::{id::Lane, time::MonoTime};
use tokio::sync::oneshot;

use super::Driver;
use crate::{delivery::Standing, spool::Evicted, uplink};

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
            },
            lanes,
            uplink: self.delivery.uplink(),
            spool_fault: self.facts.fault.clone(),
        }
    }
}
